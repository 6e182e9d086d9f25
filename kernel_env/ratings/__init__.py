"""Compare agents: measures with intervals, paired differences, ratings.

Everything here is a function of values; nothing reads a file. `compare` is the entry.
"""

from kernel_env.ratings.comparison import Cell, Comparison, Group, compare
from kernel_env.ratings.measures import References

__all__ = ["Cell", "Comparison", "Group", "References", "compare"]
