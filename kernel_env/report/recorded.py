"""Read what a report is about: ended episodes with their folders, and what is not there yet."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kernel_env.episode.result import EpisodeResult
from kernel_env.episode.results import read_result
from kernel_env.errors import UsageError
from kernel_env.ratings.outcomes import name_of
from kernel_env.report.listing import Skip, folders_of, run_folders
from kernel_env.suite.records import JOBS, Missing, SuiteRecords, read_suite


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """An ended episode and where it lies."""

    result: EpisodeResult
    folder: Path
    label: str = ""
    """What the file of its suite calls the agent; empty without a suite."""

    @property
    def agent(self) -> str:
        """Return the name of the agent, as ratings have it."""
        return name_of(self.result, self.label)

    @property
    def order(self) -> tuple[object, ...]:
        """Return what a report sorts episodes by: nothing of it depends on where they lie."""
        r = self.result
        return (r.task, self.agent, r.seed, r.attempt, r.started, r.episode)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was found below some folders."""

    ended: Sequence[Recorded]
    """Sorted."""
    running: Sequence[Path] = ()
    """Folders of episodes without an ending: they run, or their process was killed."""
    missing: Sequence[Missing] = ()
    """Jobs of suites without a result."""
    suites: Sequence[str] = ()
    """The names of the suites."""
    anchor: str = ""
    """The agent with which the suites compare each; empty if they name none, or several."""

    def label(self, result: EpisodeResult) -> str:
        """Return what the file of its suite calls the agent of a result."""
        return self._labels.get(result.episode, "")

    @cached_property
    def _labels(self) -> dict[str, str]:
        return {each.result.episode: each.label for each in self.ended if each.label}


def find_recorded(runs: Iterable[Path], skip: Skip) -> Found:
    """Read all episodes at or below the given paths.

    The folder of a suite gives the episodes of its jobs, with their latest grades and the names of
    its agents; what it has of earlier settings is left out.

    Raises `UsageError` if a path has no run, and for a suite that cannot be read.
    """
    paths = list(runs)
    suites = sorted({each.resolve(): each for path in paths for each in suites_in(path)}.values())
    folders = {
        folder.resolve(): folder
        for path in paths
        for folder in (run_folders(path) if suites_in(path) else folders_of([path]))
    }
    ended, running = [], []
    for folder in folders.values():
        of_a_suite = any(folder.is_relative_to(suite) for suite in suites)
        try:
            result = read_result(folder)
        except UsageError as error:
            skip(folder, str(error))
            continue
        if result is None:
            running.append(folder)
        elif not of_a_suite:
            ended.append(Recorded(result=result, folder=folder))
    found = [read_suite(suite) for suite in suites]
    ended += [each for one in found for each in recorded_in(one)]
    anchors = {one.jobs.anchor for one in found if one.jobs.anchor}
    return Found(
        ended=sorted(ended, key=lambda each: each.order),
        running=sorted(running),
        missing=[each for one in found for each in one.missing],
        suites=[one.jobs.name for one in found],
        anchor=anchors.pop() if len(anchors) == 1 else "",
    )


def suites_in(path: Path) -> list[Path]:
    """Return the suites at a path, or directly below it."""
    return [jobs.parent for jobs in (path / JOBS, *path.glob(f"*/{JOBS}")) if jobs.is_file()]


def recorded_in(suite: SuiteRecords) -> Iterable[Recorded]:
    """Yield the episodes of a suite, all attempts."""
    for result in suite.attempts:
        folder, label = Path(result.notebook).parent, suite.label_of(result)
        yield Recorded(result=result, folder=folder, label=label)
