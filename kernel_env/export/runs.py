"""Summarise recorded runs: what the filters of an export and its data card need of each."""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from kernel_env.episode import chain
from kernel_env.episode.journal import JOURNAL, Entry, stream_journal
from kernel_env.episode.json_codec import action_json
from kernel_env.episode.step import Step
from kernel_env.episode.trajectory import Ending, Header
from kernel_env.errors import UsageError

VERIFICATION = "verification.json"
"""The file in a run's folder that holds what `replay --verify --json` printed."""
MAX_VERIFICATION_BYTES = 1 << 26
"""The longest such file that is read."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A recorded episode, without its steps."""

    journal: Path
    header: Header
    """Without the task's description."""
    digest: str
    """Identifies the header with everything in it; see `chain.content_digest`."""
    ending: Ending | None
    """None for an episode that did not end."""
    steps: int
    """Number of all steps, those of people and those before a fork included."""
    own_steps: int
    """Number of the agent's steps, those before a fork included."""
    actions: str
    """SHA-256 of the agent's actions, in order."""

    @property
    def place(self) -> float | None:
        """Return the share of the private leaderboard that it beats; None if it is not known."""
        grade = self.ending.grade if self.ending else None
        return grade.private.position if grade and grade.private else None

    @property
    def score(self) -> float | None:
        """Return the private score; None without a graded submission."""
        grade = self.ending.grade if self.ending else None
        return grade.private_score if grade else None


def find_runs(paths: Iterable[Path], skip: Callable[[Path, str], None]) -> Iterator[Run]:
    """Yield the runs at or below some paths, each once, in the order of the paths.

    Args:
        paths: journals, folders of runs, or folders above them.
        skip: called with the path and the reason for each journal that cannot be read.

    Raises `UsageError` for a path without a journal.
    """
    seen: set[Path] = set()
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path} does not exist; give the folder of a run")
        if not path.is_dir() and path.suffix != ".jsonl":
            raise UsageError(f"{path} is no journal; give the folder of a run, or its {JOURNAL}")
        journals = sorted(path.rglob(JOURNAL)) if path.is_dir() else [path]
        if not journals:
            raise UsageError(f"{path} has no {JOURNAL} below it; give the folder of a run")
        for journal in journals:
            if journal.resolve() in seen:
                continue
            seen.add(journal.resolve())
            try:
                run = read_run(journal)
            except UsageError as error:
                skip(journal, str(error))
                continue
            yield run


def read_run(journal: Path) -> Run:
    """Summarise the run of a journal. Raises `UsageError`."""
    entries = stream_journal(journal)
    header = next(entries)
    assert isinstance(header, Header)
    ending: Ending | None = None
    actions = hashlib.sha256()
    steps = own_steps = 0
    for entry in entries:
        if not all(map(math.isfinite, numbers_of(entry))):
            raise UsageError(f"{journal} has a reward, score or cost that is not a finite number")
        if isinstance(entry, Step):
            steps += 1
            if entry.actor == "agent":
                own_steps += 1
                actions.update(json.dumps(action_json(entry.action)).encode() + b"\n")
        elif isinstance(entry, Ending):
            ending = entry
    return Run(
        journal=journal,
        header=replace(header, description=""),
        digest=chain.content_digest(header),
        ending=ending,
        steps=steps,
        own_steps=own_steps,
        actions=actions.hexdigest(),
    )


def numbers_of(entry: Entry) -> list[float]:
    """Return the numbers of an entry that are exported as numbers."""
    match entry:
        case Step():
            return [entry.reward, entry.spent.money]
        case Ending(grade=grade):
            own = [grade.public_score, grade.private_score] if grade else []
            place = [grade.private.position] if grade and grade.private else []
            own += [entry.reward, entry.spent.money, *place]
            return [number for number in own if number is not None]
    return []


def is_reproduced(run: Run) -> bool:
    """Return whether the file beside a run says that this episode was REPRODUCED."""
    try:
        with run.journal.with_name(VERIFICATION).open("rb") as file:
            found = json.loads(file.read(MAX_VERIFICATION_BYTES))
    except (OSError, ValueError, RecursionError):
        return False
    return (
        isinstance(found, dict)
        and found.get("verdict") == "REPRODUCED"
        and found.get("episode") == run.header.episode
    )


def copied_steps(runs: Iterable[Run]) -> dict[Path, int]:
    """Count the steps at the beginning of each run that a run before it has too.

    Forks begin with the steps of their parents. Each step of a family of forks belongs to the
    episode that took it, which its header identifies, so that no step has to be remembered.

    Returns the counts by journal: 0 for a run that shares no step with one before it.
    """
    taken: dict[str, int] = {}
    copied: dict[Path, int] = {}
    for run in runs:
        fork = run.header.fork
        owners = [(one.after_step, one.digest) for one in fork.headers] if fork else []
        owners.append((fork.step if fork else 0, run.digest))
        ends = [begin for begin, _ in owners[1:]] + [run.steps]
        shared = 0
        for (begin, digest), end in zip(owners, ends, strict=True):
            if shared == begin:
                shared = max(begin, min(taken.get(digest, begin), end))
            taken[digest] = max(taken.get(digest, begin), end)
        copied[run.journal] = shared
    return copied
