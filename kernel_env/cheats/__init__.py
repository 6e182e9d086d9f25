"""Look for cheats in recorded episodes: what no honest solution needs."""

from kernel_env.cheats.audit import CHEATS, Audit, Flag, audit, save

__all__ = ["CHEATS", "Audit", "Flag", "audit", "save"]
