"""Fork an episode, let a branch count in the budget of another, and continue as a branch.

    (branch,) = await episode.fork()
    await act_in_branch(episode, branch, action)    # spends the budget of `episode`
    await fast_forward(episode, branch)             # `episode` is where `branch` was

A search over forks uses all three: its branches spend one budget together, that of the episode
they were forked from, and in the end this episode continues as the best of them. Its record is then
that of one line of work, with a notebook that runs from top to bottom, and with the costs of all.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kernel_env.episode import chain
from kernel_env.episode.actions import Action
from kernel_env.episode.budget import Spent
from kernel_env.episode.journal import JOURNAL, Journal
from kernel_env.episode.setup import seed_of_fork, setup_of_fork
from kernel_env.episode.step import Step
from kernel_env.episode.trajectory import Fork
from kernel_env.errors import EpisodeOver, UsageError

if TYPE_CHECKING:
    from kernel_env.episode.episode import Episode


async def fork_each(
    parent: "Episode", step: int, numbers: Sequence[int], *, reseed: bool | int
) -> "list[Episode]":
    """Return an episode for each number, or none if one cannot be made; see `Episode.fork`."""
    children: list[Episode] = []
    try:
        for number in numbers:
            own = seed_of_fork(parent.setup.header.episode, step, number) if reseed else None
            seed = own if isinstance(reseed, bool) else reseed
            children.append(await fork_once(parent, step, seed))
    except BaseException:
        for child in children:
            await child.end("machine_failed", "its siblings could not be forked")
        raise
    return children


async def fork_once(parent: "Episode", step: int, seed: int | None) -> "Episode":
    """Return an episode that continues from after a step of another; see `Episode.fork`."""
    forked = await parent.kernel.fork(step=step, seed=seed)
    try:
        header = parent.setup.header
        fork = Fork(
            episode=header.episode,
            step=step,
            how="replay" if forked.cells else "copy",
            cells=forked.cells,
            lost=forked.lost,
            seed=seed,
            headers=chain.headers_for_fork(header, step),
        )
        setup = setup_of_fork(parent.setup, fork)
        journal = Journal(setup.folder / JOURNAL, setup.header, begin=parent.steps.lines(step))
        child = type(parent)(setup, journal, parent.shared, forked.kernel)
    except BaseException:
        await forked.kernel.close()
        raise
    try:
        await child.continue_from(parent)
    except BaseException as error:
        await child.__aexit__(type(error), error, error.__traceback__)
        raise
    return child


async def act_in_branch(
    episode: "Episode", branch: "Episode", action: Action, *, thought: str = ""
) -> Step:
    """Take a step in a branch, within what is left of another episode's budget.

    Before the step, the branch has spent what the episode has; after it, the episode has also
    spent the step. Other branches can act at the same time.

    Raises as `Episode.act` does; `EpisodeOver` if either budget is used up.
    """
    if over := episode.over:
        raise EpisodeOver(f"the episode is over: {over}")
    total = episode.spent
    branch.charges = branch.charges.plus(total.minus(branch.spent))
    branch.turns.start_clock(total.seconds, total.waited_seconds)
    step = await branch.act(action, thought=thought)
    own = step.spent.minus(total)
    more = Spent(steps=own.steps, output_bytes=own.output_bytes)
    episode.charges = episode.charges.plus(more)
    return step


async def fast_forward(episode: "Episode", branch: "Episode") -> None:
    """Continue an episode as a branch of it: take over its further steps, and end the branch.

    Notes, grades, submissions, files and the kernel are taken over with them. What the episode has
    spent is then the larger of what the two have.

    Raises:
        UsageError: the branch does not begin with all steps of the episode, or one has ended.
        SandboxError: the journal or a submission could not be written.
    """
    async with episode.turns.take("agent"), branch.turns.take("agent"):
        began = len(episode.steps)
        if episode.steps.ending or branch.steps.ending:
            raise UsageError("an episode that has ended cannot continue as a branch of it")
        fork, header = branch.setup.header.fork, chain.content_digest(episode.setup.header)
        is_branch = fork is not None and header in {each.digest for each in fork.headers}
        if not (is_branch and branch.steps.begins_like(episode.steps)):
            raise UsageError(
                f"{branch.setup.header.episode} does not begin with the {began} steps of"
                f" {episode.setup.header.episode}; an episode that has taken a step since it was"
                " forked cannot continue as the fork"
            )
        total = episode.spent
        await episode.submissions.take_over(branch.submissions, len(branch.steps))
        notes = [note for note in branch.steps.notes if note.after_step >= began]
        for number in range(began, len(branch.steps) + 1):
            if number > began:
                step = branch.steps[number - 1]
                await episode.steps.append_in_thread(step)
                episode.progress = episode.progress.after(step)
                episode.latest = step if step.actor == "agent" else episode.latest
            for note in notes:
                if note.after_step == number:
                    episode.steps.add_note(note)
        episode.kernel, branch.kernel = branch.kernel, episode.kernel
        episode.charges = total.minus(episode.progress.spent)
    await branch.end(reason=f"{episode.setup.header.episode} continued as this branch")
