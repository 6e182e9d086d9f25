"""Everything that is decided before an episode begins, checked before anything is started."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from kernel_env.episode.budget import Budget
from kernel_env.episode.observation import Feedback
from kernel_env.episode.trajectory import Fork, Header
from kernel_env.errors import UsageError
from kernel_env.grading import reward
from kernel_env.kernel.connection.launch import PROGRAM, PROGRAM_FOLDER
from kernel_env.kernel.source import KernelSource, NewSandboxes
from kernel_env.kernel.warm_pool import Kind, Pool
from kernel_env.sandbox.protocol import DATA, Spec
from kernel_env.sandbox.selection import choose
from kernel_env.tasks import Task, catalog
from kernel_env.tasks.prepare import Prepared, prepare


@dataclass(frozen=True, kw_only=True)
class EpisodeConfig:
    """What an episode is held to."""

    task: Task
    prepared: Prepared
    budget: Budget
    reward: reward.Reward
    reward_title: str
    """What the reward is, for a reader."""
    feedback: Feedback
    kernels: KernelSource
    """A pristine kernel in a box of its own: a new one, or one that waited."""
    header: Header
    folder: Path
    """Where the journal, the notebook and the submissions go."""


def resolve_config(
    task: str | Task,
    *,
    sandbox: str,
    out: Path,
    budget: Mapping[str, float | None],
    how: str | reward.Reward,
    feedback: Feedback,
    agent: str,
    model: str,
    seed: int,
    branching: bool,
    pool: Pool | None,
) -> EpisodeConfig:
    """Check everything that can be wrong. Raises `UsageError`, `TaskError`, `SandboxError`."""
    found = catalog.find(task) if isinstance(task, str) else task
    limits = Budget.of(found).changed(budget)
    rewards = reward.find(how)
    if rewards is reward.human_rank and found.leaderboard.kind != "human":
        raise UsageError(
            f"the leaderboard of {found.id} holds {found.leaderboard.kind} entries;"
            " human_rank is for boards of human teams, position for any"
        )
    if feedback not in ("public", "both"):
        raise UsageError(f"feedback is {feedback!r}; it must be 'public' or 'both'")
    name, make = choose(sandbox)
    prepared = prepare(found)
    started = datetime.now(UTC)
    spec = Spec(
        image=found.file.image,
        folders={DATA: prepared.public, PROGRAM: PROGRAM_FOLDER},
        memory_gb=found.file.limits.memory_gb,
        workspace_gb=found.file.limits.workspace_gb,
        cpus=found.file.limits.cpus,
        branching=branching,
    )
    paths = {"DATA_PATH": DATA, "OUTPUT_PATH": found.submission_path}
    kernels: KernelSource = NewSandboxes(make_sandbox=lambda: make(spec), paths=paths)
    if pool is not None:
        kind = f"{name} {spec} {paths}"
        kernels = pool.source(Kind(name=kind, source=kernels, memory_gb=spec.memory_gb))
    episode = new_name(started)
    header = Header(
        episode=episode,
        task=found.id,
        task_name=found.file.name,
        task_version=prepared.public.parent.name,
        description=found.description,
        metric=found.scoring.title,
        higher_is_better=found.scoring.higher_is_better,
        leaderboard_kind=found.leaderboard.kind,
        budget=limits,
        reward=how if isinstance(how, str) else getattr(how, "__name__", "custom"),
        feedback=feedback,
        sandbox=name,
        isolated=make.isolated,  # type: ignore[attr-defined]
        image=spec.image,
        agent=agent,
        model=model,
        seed=seed,
        started=started.isoformat(timespec="seconds"),
        version=version("kernel-env"),
    )
    return EpisodeConfig(
        task=found,
        prepared=prepared,
        budget=limits,
        reward=rewards,
        reward_title=reward.title(rewards),
        feedback=feedback,
        kernels=kernels,
        header=header,
        folder=new_folder(out.absolute() / found.id, episode),
    )


def branched(rules: EpisodeConfig, fork: Fork) -> EpisodeConfig:
    """The same rules for an episode that goes on from a moment of another."""
    started = datetime.now(UTC)
    episode = new_name(started)
    header = replace(
        rules.header,
        episode=episode,
        started=started.isoformat(timespec="seconds"),
        fork=fork,
    )
    return replace(rules, header=header, folder=new_folder(rules.folder.parent, episode))


def new_name(started: datetime) -> str:
    """A name that no other episode has."""
    return f"{started:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def new_folder(parent: Path, name: str) -> Path:
    """A folder of its own for an episode. Raises `UsageError`."""
    folder = parent / name
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be made: {error.strerror}") from error
    return folder
