"""Write what remains of an episode; what cannot be written is a warning, never an exception.

Whatever happens at the end, the episode has ended and its result can be read in memory.
"""

import json
import warnings
from pathlib import Path

from kernel_env.episode.journal import Journal
from kernel_env.episode.notebook import NOTEBOOK, write_notebook
from kernel_env.episode.result import RECORD, EpisodeResult, result_of
from kernel_env.episode.trajectory import Ending, Trajectory


class IncompleteRecordWarning(UserWarning):
    """An episode has ended, but some of its files could not be written."""


def end_journal(journal: Journal, ending: Ending) -> None:
    """Write how the episode ended, and close the journal."""
    try:
        journal.end(ending)
    except Exception as error:  # noqa: BLE001 - the result is written all the same
        warn_incomplete(f"{journal.path} has no ending: {error}")
    journal.close()


def write_files(trajectory: Trajectory, folder: Path) -> None:
    """Write the result and the notebook of an ended episode."""
    write_record(result_of(trajectory, folder / NOTEBOOK), folder)
    try:
        write_notebook(trajectory, folder / NOTEBOOK)
    except Exception as error:  # noqa: BLE001 - the episode has ended all the same
        warn_incomplete(f"{folder / NOTEBOOK} cannot be written: {error}")


def write_record(result: EpisodeResult, folder: Path) -> None:
    """Write the result of an ended episode."""
    try:
        (folder / RECORD).write_text(json.dumps(result.json(), indent=1) + "\n")
    except Exception as error:  # noqa: BLE001 - the notebook is written all the same
        warn_incomplete(f"{folder / RECORD} cannot be written: {error}")


def warn_incomplete(message: str) -> None:
    """Warn that a file of an ended episode is missing or incomplete."""
    warnings.warn(message, IncompleteRecordWarning, stacklevel=2)
