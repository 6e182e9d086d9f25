"""Play a job once, and find out how an attempt ended that nobody has recorded."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from kernel_env import cheats
from kernel_env.episode import Episode
from kernel_env.episode.endings import status_of
from kernel_env.episode.journal import JOURNAL, read_journal
from kernel_env.episode.notebook import NOTEBOOK
from kernel_env.episode.result import EpisodeResult, result_of
from kernel_env.episode.step import Progress
from kernel_env.episode.trajectory import Ending, Trajectory
from kernel_env.episode.write_ending import write_files
from kernel_env.errors import UsageError
from kernel_env.grading.host import Grader
from kernel_env.runner import Plan, run_episode
from kernel_env.untrusted_text import escape_line


@dataclass(frozen=True, kw_only=True)
class Played:
    """How an attempt at a job ended."""

    status: str
    """See `trajectory.Status`."""
    reason: str
    """Why it failed; empty if it did not."""
    result: EpisodeResult | None
    """None if no episode began."""
    host: str
    """The name of the machine that played it."""


async def play_once(
    plan: Plan,
    folder: Path,
    *,
    host: str,
    grader: Grader | None = None,
    watch: Callable[[Episode], None] | None = None,
) -> Played:
    """Play an episode; whatever fails is a value.

    Args:
        plan: the episode.
        folder: gets the episode's folder; nothing else is in it.
        host: the name of this machine.
        grader: a grading process to share.
        watch: called once, with the episode, before the agent's first step.
    """
    plan = replace(plan, config=replace(plan.config, out=folder))
    try:
        result = await run_episode(plan, grader=grader, watch=watch)
    except Exception as error:  # noqa: BLE001 - becomes a record
        return replace(refused(error, host), result=recorded(folder))
    return Played(status=result.status, reason=result.error, result=result, host=host)


def refused(error: Exception, host: str) -> Played:
    """Return how an attempt ended whose episode did not begin."""
    # What is wrong with an option is only found here if it depends on the machine.
    status = "setup_failed" if isinstance(error, UsageError) else status_of(error)
    reason = escape_line(str(error) or type(error).__name__)
    return Played(status=status, reason=reason, result=None, host=host)


def recorded(folder: Path) -> EpisodeResult | None:
    """Return the result of the episode below a folder, from its journal; None if there is none.

    An episode without an ending was `interrupted`: its driver was killed. Forks of it are others.
    If it was killed between the ending and the notebook, both files of the result are written now.
    """
    for path in sorted(folder.glob(f"*/*/{JOURNAL}")):
        with suppress(UsageError):  # a header that was cut: the episode has not begun
            trajectory = read_journal(path)
            if trajectory.header.fork is None:
                notebook = path.parent / NOTEBOOK
                if trajectory.ending is not None and not notebook.exists():
                    write_files(trajectory, path.parent)
                result = result_of(ended(trajectory), notebook)
                return replace(result, flags=cheats.audit(path.parent).counts)
    return None


def ended(trajectory: Trajectory) -> Trajectory:
    """Return a trajectory with an ending: its own, or that its driver was killed."""
    if trajectory.ending is not None:
        return trajectory
    progress = Progress(higher_is_better=trajectory.header.higher_is_better)
    for step in trajectory.steps:
        progress = progress.after(step)
    killed = Ending(
        status="interrupted", reason="the suite's driver was killed", spent=progress.spent
    )
    return replace(trajectory, ending=killed)
