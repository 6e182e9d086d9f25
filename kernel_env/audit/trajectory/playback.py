"""Play the steps of a recorded episode again, in a new episode on the same task."""

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from kernel_env.episode import Episode, EpisodeConfig, open_configured
from kernel_env.episode.step import Step
from kernel_env.episode.trajectory import Header, Trajectory
from kernel_env.errors import EpisodeOver
from kernel_env.grading.host import Grader


@dataclass(frozen=True, kw_only=True)
class Reseeding:
    """A fork at which the random states were seeded anew."""

    after_step: int
    seed: int


def reseedings(header: Header) -> list[Reseeding]:
    """Return where the random states of an episode or one of its ancestors were seeded anew."""
    fork = header.fork
    if fork is None:
        return []
    forks = [*((one.after_step, one.seed) for one in fork.headers), (fork.step, fork.seed)]
    return [Reseeding(after_step=step, seed=seed) for step, seed in forks if seed is not None]


@dataclass(frozen=True, kw_only=True)
class Playback:
    """A replay that has ended."""

    trajectory: Trajectory
    """Of the new episode; its steps are in memory."""
    stopped: str = ""
    """Why it ended before its last step; empty if it did not."""


async def play(
    steps: Sequence[Step],
    header: Header,
    config: EpisodeConfig,
    *,
    grader: Grader | None = None,
    watch: Callable[[Step, Step], str],
) -> Playback:
    """Play recorded steps in a new episode.

    A fork is played from the first step of its oldest ancestor. Where its random states were seeded
    anew, the new episode is forked too, with the same seed.

    Args:
        steps: the steps to play.
        header: the header of the recorded episode.
        config: the options of the new one.
        grader: a grading process to share.
        watch: called with each recorded step and the new one; returns why the replay stops there,
            or an empty text.

    Raises `UsageError`, `TaskError`, `SandboxError`, `KernelError`.
    """
    pending = reseedings(header)
    stopped = ""
    async with AsyncExitStack() as stack:
        episode = await stack.enter_async_context(open_configured(config, grader=grader))
        for recorded in steps:
            while pending and pending[0].after_step < recorded.number:
                episode = await reseeded(episode, pending.pop(0).seed, stack)
            try:
                replayed = await episode.act(
                    recorded.action, thought=recorded.thought, actor=recorded.actor
                )
            except EpisodeOver as error:
                stopped = f"{error} before step {recorded.number}"
                break
            if stopped := watch(recorded, replayed):
                break
    return Playback(trajectory=in_memory(episode.steps.trajectory), stopped=stopped)


async def reseeded(episode: Episode, seed: int, stack: AsyncExitStack) -> Episode:
    """Return a fork of an episode whose random states start from a seed."""
    (child,) = await episode.fork(reseed=seed)
    return await stack.enter_async_context(child)


def in_memory(trajectory: Trajectory) -> Trajectory:
    """Return a trajectory that needs no file."""
    return Trajectory(
        header=trajectory.header,
        steps=tuple(trajectory.steps),
        ending=trajectory.ending,
        notes=tuple(trajectory.notes),
        digests=tuple(trajectory.digests),
    )
