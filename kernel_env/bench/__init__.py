"""Measure the costs of operations on this machine, each together with a peer in the same run."""

from kernel_env.bench.measure import COLUMNS, Row
from kernel_env.bench.plan import MEASURES, measure

__all__ = ["COLUMNS", "MEASURES", "Row", "measure"]
