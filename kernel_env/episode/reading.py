"""Read an episode from whatever is at hand: the folder of its run, its journal, or its notebook."""

from pathlib import Path

from kernel_env.episode.journal import JOURNAL, read_journal
from kernel_env.episode.notebook import NOTEBOOK
from kernel_env.episode.notebook_parser import parse_notebook, read_notebook
from kernel_env.episode.trajectory import Trajectory
from kernel_env.errors import UsageError


def read_trajectory(path: Path) -> Trajectory:
    """Read an episode. Of a run's folder the journal is read, which is complete after a kill too.

    Raises `UsageError`.
    """
    file = source_of(path)
    return read_journal(file) if is_journal(file) else parse_notebook(read_notebook(file))


def source_of(path: Path) -> Path:
    """Return the file that holds an episode. Raises `UsageError` for a folder that has none."""
    if not path.is_dir():
        return path
    for name in (JOURNAL, NOTEBOOK):
        if (path / name).is_file():
            return path / name
    raise UsageError(f"{path} has no {JOURNAL} and no {NOTEBOOK}; give the folder of one episode")


def is_journal(path: Path) -> bool:
    """Return whether a file is a journal by its name."""
    return path.suffix == ".jsonl"
