"""Open an episode as a context manager that ends it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from kernel_env.episode.config import AUTO, EpisodeConfig
from kernel_env.episode.episode import Episode
from kernel_env.episode.feedback import FeedbackProvider
from kernel_env.episode.journal import JOURNAL, Journal
from kernel_env.episode.setup import resolve_config
from kernel_env.episode.shared_grader import SharedGrader
from kernel_env.grading.host import Grader
from kernel_env.grading.protocol import Counts, Feedback
from kernel_env.grading.reward import Reward
from kernel_env.kernel.warm_pool import Pool
from kernel_env.sandbox.gpus import hold
from kernel_env.tasks import Task
from kernel_env.tasks.prepare import grading_spec


@asynccontextmanager
async def open_episode(
    task: str | Task,
    *,
    sandbox: str = AUTO,
    image: str = "",
    out: Path | str = "runs",
    budget: Mapping[str, float | None] | None = None,
    reward: str | Reward = "progress",
    feedback: Feedback | None = None,
    counts: Counts | None = None,
    feedback_provider: str | FeedbackProvider = "",
    feedback_settings: Mapping[str, Any] | None = None,
    agent: str = "",
    model: str = "",
    seed: int = 0,
    random_seed: int | None = None,
    branching: bool = True,
    gpus: int | None = None,
    gpu_device: str | int = "",
    devices: Mapping[str, str] | None = None,
    grader: Grader | None = None,
    pool: Pool | None = None,
) -> AsyncIterator[Episode]:
    """Open an episode with a running kernel; leaving it ends the sandbox and writes the notebook.

    Args:
        task: a task's name, a task folder, or a `Task`.
        sandbox: `docker`, `local`, a plug-in's name, or `auto`.
        image: the sandbox's image; empty for the task's.
        out: the episode gets a folder of its own below this one.
        budget: limits that replace the task's own; see `Budget`.
        reward: `position`, `progress`, `final`, `raw`, `improvement`, `human_rank`, or a function.
        feedback: `public`, `both`, `ladder`, `validity`; the task's by default.
        counts: which submission counts, the `best` or the `last`; the task's by default.
        feedback_provider: who comments on the steps: `static`, `human`, `llm`, a plug-in's name, or
            an object; empty for nobody.
        feedback_settings: the settings of the one that is named.
        agent: the agent's name, for the result.
        model: the model's name, for the result.
        seed: the agent's seed, for the result.
        random_seed: what the kernel's global random states start from; None for a new number.
        branching: whether forks and trials can have files of their own; see `EpisodeConfig`.
        gpus: number of GPUs; None for the task's. Without a free one, opening waits.
        gpu_device: which GPUs: index or UUID, several separated by commas; empty for any.
        devices: further devices, path inside → path on this machine.
        grader: a grading process to share; without it the episode starts its own.
        pool: where to take a sandbox that was started in advance; see `Pool`.

    Raises:
        UsageError, TaskError: an option or the task is wrong; nothing was started.
        SandboxError, KernelError: the sandbox or the kernel did not start.
    """
    config = EpisodeConfig(
        task=task,
        sandbox=sandbox,
        image=image,
        out=out,
        budget=budget or {},
        reward=reward,
        feedback=feedback,
        counts=counts,
        feedback_provider=feedback_provider,
        feedback_settings=feedback_settings or {},
        agent=agent,
        model=model,
        seed=seed,
        random_seed=random_seed,
        branching=branching,
        gpus=gpus,
        gpu_device=gpu_device,
        devices=devices or {},
    )
    async with open_configured(config, grader=grader, pool=pool) as episode:
        yield episode


@asynccontextmanager
async def open_configured(
    config: EpisodeConfig, *, grader: Grader | None = None, pool: Pool | None = None
) -> AsyncIterator[Episode]:
    """Open an episode from its configuration; see `open_episode`."""
    async with AsyncExitStack() as stack:
        candidates = await asyncio.to_thread(config.gpu_candidates)
        held = await stack.enter_async_context(hold(candidates, config.gpu_count))
        setup = await asyncio.to_thread(resolve_config, config, pool, held)
        journal = Journal(setup.folder / JOURNAL, setup.header)
        if grader is None:
            grader = await stack.enter_async_context(Grader())
        spec = grading_spec(setup.task, setup.prepared)
        shared = SharedGrader(grader, stack.pop_all(), spec)
    async with Episode(setup, journal, shared) as episode:
        yield episode
