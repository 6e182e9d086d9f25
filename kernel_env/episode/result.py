"""Summarise an ended episode: what a table or a ranking needs, computed from the trajectory."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kernel_env.episode.activity import CellCounts, Improvement, activity_of
from kernel_env.episode.budget import Spent
from kernel_env.episode.step import Progress
from kernel_env.episode.trajectory import Trajectory
from kernel_env.field_docs import show_fields
from kernel_env.grading import leaderboard
from kernel_env.grading.medals import medal

RECORD = "record.json"
FORMAT = 2
"""Version of the JSON form. Version 1 had no such field."""
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
    """See `trajectory.Status`; `endings` says whether it counts."""
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
    format: int = FORMAT
    domain: str = ""
    """The kind of the task's data; empty if it is not known."""
    source: str = ""
    """The benchmark that the task was imported from; empty for a task of its own."""
    metric: str = ""
    higher_is_better: bool = True
    task_version: str = ""
    """Identifies the exact content that the task's data was prepared from."""
    image: str = ""
    image_digest: str = ""
    version: str = ""
    """Version of kernel_env."""
    started: str = ""
    """UTC, ISO 8601."""
    ended: str = ""
    """UTC, ISO 8601; empty if it is not known."""
    waited_seconds: float = 0.0
    """Waits for the rate limit of a model's service, which are not in `seconds`."""
    host: str = ""
    """The machine: cores, memory, system."""
    cpus: float = 0.0
    """Processor cores of the sandbox; 0 if nothing limits it."""
    memory_gb: float = 0.0
    """Memory of the sandbox, GiB; 0 if nothing limits it."""
    budget: dict[str, float | None] = field(default_factory=dict)
    """The limits, by name; see `Budget`."""
    reward: str = ""
    normalised_public: float | None = None
    """(score - worst) / (best - worst) over the leaderboard; see `Place`."""
    normalised_private: float | None = None
    medal: str | None = None
    """`gold`, `silver`, `bronze` or empty, on the private leaderboard; None unless its entries are
    human teams and a submission was graded."""
    tokens: dict[str, int] = field(default_factory=dict)
    """The tokens by kind: `prompt`, of which `cached`, and `answer`; empty if it is not known."""
    steps_by_kind: dict[str, int] = field(default_factory=dict)
    """Number of the agent's steps of each kind of action."""
    cells: CellCounts = CellCounts()
    errors: dict[str, int] = field(default_factory=dict)
    """Number of the agent's cells that each exception ended, by its name."""
    best_by_step: list[Improvement] = field(default_factory=list)
    """Each improvement of the best submission: step, seconds, dollars, public position, score."""
    feedback_provider: str = ""
    """Who could comment on the agent's steps; empty for nobody."""
    remarks: int = 0
    """How many steps a provider of feedback commented on."""
    feedback_usage: Usage = Usage(tokens=0, money=0.0)
    """Tokens and US dollars of the provider's model, which are not in `usage`."""
    flags: dict[str, int] | None = None
    """Number of flags of each kind that an audit for cheats found; None if there was none; see
    `cheats`."""
    retry_after_s: float | None = None
    """The seconds after which the model's service that failed wants to be asked again; None: it
    did not say."""
    suite: str = ""
    """The suite that it is a part of; empty for none."""
    key: str = ""
    """Identifies the settings in a suite; equal settings have equal keys."""
    grade_key: str = ""
    """Identifies grader, answers and leaderboard."""
    attempt: int = 1
    """1 for the first episode with these settings in a suite."""

    @property
    def group(self) -> str:
        """Name the state that the episode began in; see `Header.group`."""
        return f"{self.parent}:{self.parent_step}" if self.parent else self.task

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
    remarks = [step.remark for step in trajectory.steps if step.remark]
    activity = activity_of(trajectory.steps, higher_is_better=header.higher_is_better)
    grade = ending.grade
    public, private = (grade.public, grade.private) if grade else (None, None)
    human = header.leaderboard_kind == "human"
    return EpisodeResult(
        task=header.task,
        agent=header.agent,
        model=header.model,
        seed=header.seed,
        status=ending.status,
        steps=progress.steps,
        public_score=grade.public_score if grade else None,
        private_score=grade.private_score if grade else None,
        position_public=public.position if public else None,
        position_private=private.position if private else None,
        leaderboard_kind=header.leaderboard_kind,
        human_rank=leaderboard.human_rank(public, private) if human else None,
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
        domain=header.domain,
        source=header.source,
        metric=header.metric,
        higher_is_better=header.higher_is_better,
        task_version=header.task_version,
        image=header.image,
        image_digest=header.image_digest,
        version=header.version,
        started=header.started,
        ended=ending.ended,
        waited_seconds=ending.spent.waited_seconds,
        host=header.host,
        cpus=header.cpus,
        memory_gb=header.memory_gb,
        budget=asdict(header.budget),
        reward=header.reward,
        normalised_public=public.normalised if public else None,
        normalised_private=private.normalised if private else None,
        medal=medal(private) if human and private else None,
        tokens=tokens_by_kind(ending.spent),
        steps_by_kind=activity.steps_by_kind,
        cells=activity.cells,
        errors=activity.errors,
        best_by_step=activity.best_by_step,
        retry_after_s=ending.retry_after_s,
        feedback_provider=header.feedback_provider,
        remarks=sum(bool(remark.text) for remark in remarks),
        feedback_usage=Usage(
            tokens=sum(remark.tokens for remark in remarks),
            money=sum(remark.money for remark in remarks),
        ),
    )


def tokens_by_kind(spent: Spent) -> dict[str, int]:
    """Return prompt, cached and answer tokens; empty if the agent did not tell them apart."""
    if not spent.prompt_tokens:
        return {}
    answer = spent.tokens - spent.prompt_tokens
    return {"prompt": spent.prompt_tokens, "cached": spent.cached_tokens, "answer": answer}
