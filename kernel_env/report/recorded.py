"""Read what a report is about: ended episodes with their folders, and those that still run."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kernel_env.episode.result import EpisodeResult
from kernel_env.episode.results import read_result
from kernel_env.errors import UsageError
from kernel_env.report.listing import Skip, folders_of


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """An ended episode and where it lies."""

    result: EpisodeResult
    folder: Path

    @property
    def order(self) -> tuple[object, ...]:
        """Return what a report sorts episodes by: nothing of it depends on where they lie."""
        r = self.result
        return (r.task, r.agent, r.model, r.seed, r.attempt, r.started, r.episode)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was found below some folders."""

    ended: Sequence[Recorded]
    """Sorted."""
    running: Sequence[Path]
    """Folders of episodes without an ending: they run, or their process was killed."""


def find_recorded(runs: Iterable[Path], skip: Skip) -> Found:
    """Read all episodes at or below the given paths.

    Raises `UsageError` if a path has no run, or if none of the runs has ended.
    """
    ended, running = [], []
    for folder in folders_of(runs):
        try:
            result = read_result(folder)
        except UsageError as error:
            skip(folder, str(error))
            continue
        if result is None:
            running.append(folder)
        else:
            ended.append(Recorded(result=result, folder=folder))
    return Found(ended=sorted(ended, key=lambda each: each.order), running=running)
