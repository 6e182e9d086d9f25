"""Seed the global random states of the loaded libraries."""

import random
import sys


def reseed(seed: int | None) -> None:
    """Seed the global random states of the loaded libraries; None leaves them as they are."""
    if seed is None:
        return
    random.seed(seed)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(seed % (1 << 32))
    if torch := sys.modules.get("torch"):
        torch.manual_seed(seed)
