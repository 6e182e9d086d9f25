"""Resolve an `EpisodeConfig` on this machine: task, data, limits, kernels, folder, header."""

import hashlib
import os
import platform
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path, PurePosixPath

from kernel_env.episode.budget import Budget
from kernel_env.episode.config import EpisodeConfig
from kernel_env.episode.trajectory import Fork, Header
from kernel_env.errors import UsageError
from kernel_env.grading import reward
from kernel_env.kernel.connection.launch import PROGRAM, PROGRAM_FOLDER
from kernel_env.kernel.source import KernelSource, NewSandboxes
from kernel_env.kernel.warm_pool import Kind, Pool
from kernel_env.sandbox.gpus import Gpu
from kernel_env.sandbox.protocol import DATA, GIB, Spec
from kernel_env.sandbox.selection import choose
from kernel_env.tasks import Task
from kernel_env.tasks.prepare import Prepared, prepare
from kernel_env.untrusted_text import escape_line


@dataclass(frozen=True, kw_only=True)
class EpisodeSetup:
    """Everything that an episode needs, resolved from its configuration."""

    config: EpisodeConfig
    task: Task
    prepared: Prepared
    budget: Budget
    reward: reward.Reward
    reward_title: str
    """A description of the reward, for a reader."""
    kernels: KernelSource
    """Where the episode's kernels come from."""
    header: Header
    folder: Path
    """Where journal, notebook and submissions are written."""
    spec: Spec
    """What the sandboxes contain and may use."""
    gpus: tuple[Gpu, ...]
    """The GPUs of this machine that the episode and its forks hold."""


def resolve_config(
    config: EpisodeConfig, pool: Pool | None = None, gpus: Sequence[Gpu] = ()
) -> EpisodeSetup:
    """Prepare the task's data, select the sandbox, and create the episode's folder.

    Args:
        config: the options.
        pool: where to take sandboxes that were started in advance.
        gpus: the GPUs of this machine that the episode holds.

    Raises `UsageError`, `TaskError`, `SandboxError`.
    """
    task = config.load_task()
    budget = Budget.of(task).changed(config.budget)
    rewards = reward.find(config.reward)
    name, make = choose(config.sandbox, trusted=config.trusted)
    prepared = prepare(task)
    started = datetime.now(UTC)
    spec = Spec(
        image=config.image_name,
        libraries=task.file.resources.libraries,
        folders={DATA: prepared.public, PROGRAM: PROGRAM_FOLDER},
        memory_gb=task.file.limits.memory_gb,
        workspace_gb=task.file.limits.workspace_gb,
        cpus=task.file.limits.cpus,
        branching=config.branching,
        gpus=config.gpu_count,
        gpu_devices=tuple(gpu.uuid for gpu in gpus) or tuple(config.gpu_names),
        devices={PurePosixPath(name): Path(path) for name, path in config.devices.items()},
    )
    paths = {"DATA_PATH": DATA, "OUTPUT_PATH": task.submission_path}
    random_seed = config.random_seed
    if random_seed is None and pool is None:
        random_seed = secrets.randbits(32)
    kernels: KernelSource = NewSandboxes(
        make_sandbox=lambda: make(spec), paths=paths, seed=random_seed
    )
    if pool is not None and random_seed is None:  # a kernel that waits has its own seed
        kind = Kind(
            name=f"{name} {spec} {paths}",
            source=kernels,
            memory_gb=spec.memory_gb,
            end_in_background=not gpus,  # whoever gets the GPU next finds its memory free
        )
        kernels = pool.source(kind)
    episode = new_name(started)
    isolated: bool = make.isolated  # type: ignore[attr-defined]
    custom = getattr(config.reward, "__name__", "custom")
    provider = config.feedback_provider
    header = Header(
        episode=episode,
        task=task.id,
        task_name=task.file.name,
        task_version=prepared.public.parent.name,
        description=task.description,
        metric=task.scoring.title,
        higher_is_better=task.scoring.higher_is_better,
        leaderboard_kind=task.leaderboard.kind,
        budget=budget,
        reward=config.reward if isinstance(config.reward, str) else custom,
        feedback=config.protocol.feedback,
        counts=config.protocol.counts,
        sandbox=name,
        isolated=isolated,
        image=spec.image,
        agent=config.agent,
        model=config.model,
        seed=config.seed,
        random_seed=random_seed,
        started=started.isoformat(timespec="seconds"),
        version=version("kernel-env"),
        gpus=spec.gpus,
        image_digest=getattr(make, "image_digest", lambda _: "")(spec),
        cpus=spec.cpus if isolated else 0.0,
        memory_gb=spec.memory_gb if isolated else 0.0,
        host=describe_host(),
        domain=task.file.domain,
        source=task.file.origin.benchmark if task.file.origin else "",
        feedback_provider=provider if isinstance(provider, str) else escape_line(provider.name),
        shrunk_of=task.file.shrunk.of if task.file.shrunk else "",
    )
    return EpisodeSetup(
        config=config,
        task=task,
        prepared=prepared,
        budget=budget,
        reward=rewards,
        reward_title=reward.title(rewards),
        kernels=kernels,
        header=header,
        folder=new_folder(Path(config.out).absolute() / task.id, episode),
        spec=spec,
        gpus=tuple(gpus),
    )


def setup_of_fork(setup: EpisodeSetup, fork: Fork) -> EpisodeSetup:
    """Return the same setup for an episode that is forked from another."""
    started = datetime.now(UTC)
    episode = new_name(started)
    header = replace(
        setup.header,
        episode=episode,
        started=started.isoformat(timespec="seconds"),
        fork=fork,
    )
    return replace(setup, header=header, folder=new_folder(setup.folder.parent, episode))


def seed_of_fork(episode: str, step: int, number: int) -> int:
    """Derive a seed for the random states of a fork, reproducible and different for each."""
    digest = hashlib.sha256(f"{episode} {step} {number}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


@cache
def describe_host() -> str:
    """Describe this machine: cores, memory, system."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    return f"{os.cpu_count()} cores, {memory:.3g} GiB, {system}"


def new_name(started: datetime) -> str:
    """Return a name that no other episode has."""
    return f"{started:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def new_folder(parent: Path, name: str) -> Path:
    """Create a folder for an episode. Raises `UsageError`."""
    folder = parent / name
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be created: {error.strerror}") from error
    return folder
