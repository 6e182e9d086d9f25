"""Write recorded episodes as training data: conversations, transitions, ATIF trajectories.

`runs` summarises each run, `selection` chooses and splits them, `turns` computes what the agent
saw before and after each of its steps, `conversations`, `transitions` and `atif` are the formats,
`card` describes the result, and `dataset` writes it. Journals are read line by line, and rows are
written as they are made, so that memory depends on the number of episodes, not on their length.
"""

from kernel_env.export.dataset import FORMATS, Exported, export
from kernel_env.export.runs import find_runs
from kernel_env.export.selection import Filters

__all__ = ["FORMATS", "Exported", "Filters", "export", "find_runs"]
