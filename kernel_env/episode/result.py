"""Summarise an ended episode: what a table or a ranking needs, computed from the trajectory."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kernel_env.episode.step import Progress
from kernel_env.episode.trajectory import Trajectory
from kernel_env.field_docs import show_fields
from kernel_env.grading import leaderboard

RECORD = "record.json"
NOT_FAILED = ("finished", "budget", "interrupted")
"""Statuses of an episode that did not fail."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens and money that the agent used."""

    tokens: int = 0
    money: float = 0.0
    """US dollars; 0 if no price is known."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class EpisodeResult:
    """The result of one episode. Its JSON form is `record.json`."""

    task: str
    agent: str
    model: str
    seed: int
    status: str
    """See `trajectory.Status`; only `agent_failed` counts against the agent."""
    steps: int
    """The agent's; those of people in its episode are `human_steps`."""
    public_score: float | None
    private_score: float | None
    position_public: float | None
    """Share of the public leaderboard beaten, 0 to 1; None without a graded submission."""
    position_private: float | None
    leaderboard_kind: str
    human_rank: float | None
    """MLE-Dojo's HumanRank over both leaderboards; None unless the entries are human teams."""
    total_reward: float
    seconds: float
    usage: Usage
    notebook: str
    error: str
    """Why it failed, in one line; empty if it did not."""
    episode: str
    sandbox: str
    missing: str
    """What this machine did not support for kernels; empty if nothing was missing."""
    restored: int
    """How often the kernel crashed and was restored."""
    states_lost: int
    refusals: int
    gpus: int = 0
    """Number of GPUs that the sandbox could use."""
    feedback: str = "public"
    """What the agent learnt about its scores."""
    counts: str = "best"
    """Which submission counts: the `best` one, or the `last`."""
    submissions: int = 0
    """How often a submission was graded."""
    estimated_tokens: int = 0
    """Those of the tokens that the agent estimated, because its endpoint reported none."""
    human_steps: int = 0
    """How many steps a person took in the agent's episode. What they changed can have helped the
    agent, so that its score is not its own alone."""
    parent: str = ""
    """The episode that it was forked from; empty if it was not forked."""
    parent_step: int | None = None
    """The last step that it shares with its parent; None if it was not forked."""

    def json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def result_of(trajectory: Trajectory, notebook: Path) -> EpisodeResult:
    """Compute the result of an episode that has ended."""
    header, ending = trajectory.header, trajectory.ending
    assert ending is not None, "an episode has a result once it has ended"
    progress = Progress(higher_is_better=header.higher_is_better)
    for step in trajectory.steps:
        progress = progress.after(step)
    grade = ending.grade
    return EpisodeResult(
        task=header.task,
        agent=header.agent,
        model=header.model,
        seed=header.seed,
        status=ending.status,
        steps=progress.steps,
        public_score=grade.public_score if grade else None,
        private_score=grade.private_score if grade else None,
        position_public=grade.public.position if grade and grade.public else None,
        position_private=grade.private.position if grade and grade.private else None,
        leaderboard_kind=header.leaderboard_kind,
        human_rank=leaderboard.human_rank(grade.public, grade.private)
        if grade and header.leaderboard_kind == "human"
        else None,
        total_reward=progress.total_reward + ending.reward,
        seconds=ending.spent.seconds,
        usage=Usage(tokens=ending.spent.tokens, money=ending.spent.money),
        notebook=str(notebook),
        error="" if ending.status in NOT_FAILED else ending.reason,
        episode=header.episode,
        sandbox=header.sandbox,
        missing=ending.missing,
        restored=progress.restored,
        states_lost=progress.states_lost,
        refusals=progress.refusals,
        gpus=header.gpus,
        feedback=header.feedback,
        counts=header.counts,
        submissions=progress.submissions,
        estimated_tokens=ending.spent.estimated_tokens,
        human_steps=progress.human_steps,
        parent=header.fork.episode if header.fork else "",
        parent_step=header.fork.step if header.fork else None,
    )
