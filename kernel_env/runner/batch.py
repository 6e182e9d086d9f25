"""Run plans one after another, and report their progress."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from kernel_env.episode import Episode, EpisodeConfig
from kernel_env.episode.result import EpisodeResult
from kernel_env.grading.host import Grader
from kernel_env.runner.job import Plan, run_episode
from kernel_env.sandbox.selection import choose
from kernel_env.tasks.prepare import prepare

Report = Callable[[str, float | None], None]
"""Receives a text and the share of the work that is done (0 to 1; None if unknown)."""
REPORT_S = 0.2
"""The interval between two reports, in seconds."""


def prepare_tasks(configs: Sequence[EpisodeConfig], report: Report) -> None:
    """Prepare the data of the episodes' tasks, and build the images that their sandboxes need.

    Raises `TaskError`, `SandboxError`.
    """
    selected = {}
    for sandbox, trusted in {(config.sandbox, config.trusted) for config in configs}:
        selected[sandbox], _ = choose(sandbox, trusted=trusted)
    tasks = {task.folder: task for task in (config.load_task() for config in configs)}
    for task in tasks.values():
        report(f"preparing {task.id}", None)
        prepare(task)
    in_docker = [config for config in configs if selected[config.sandbox] == "docker"]
    required = {(config.image_name, config.gpu_count > 0) for config in in_docker}
    if required:
        from kernel_env.sandbox.docker import engine, images

        client = engine.connect()
        for name, cuda in sorted(required):
            images.build(client, images.find(name, cuda=cuda), report)
        client.close()


async def run_plans(
    plans: Sequence[Plan],
    report: Report,
    watch: Callable[[Episode], None] | None = None,
    *,
    attach: bool = False,
) -> AsyncIterator[EpisodeResult]:
    """Run the plans and yield their results in order.

    Args:
        plans: the episodes to run.
        report: called a few times per second with the progress of the current episode.
        watch: called once for each episode, before the agent's first step.
        attach: whether people can use the episodes' kernels; see `kernel-env attach`.

    Raises as `run_episode` does.
    """
    async with Grader() as grader:
        for plan in plans:
            running: list[Episode] = []

            def started(episode: Episode, running: list[Episode] = running) -> None:
                running.append(episode)
                if watch:
                    watch(episode)

            reporting = asyncio.create_task(report_progress(plan, running, report))
            try:
                result = await run_episode(plan, grader=grader, watch=started, attach=attach)
            finally:
                reporting.cancel()
            yield result


async def report_progress(plan: Plan, running: Sequence[Episode], report: Report) -> None:
    """Report the progress of a plan's episode until cancelled."""
    task, agent = plan.config.task, plan.config.agent
    task = task if isinstance(task, str) else task.id
    while True:
        if not running:
            report(f"{task}: starting a kernel", None)
        for episode in running:
            best, limit = episode.progress.best, episode.setup.budget.steps
            score = f" · best {best.grade.public_score:.5g}" if best else ""
            step = len(episode.steps)
            text = f"{task}: running {agent} · step {step} of at most {limit}{score}"
            report(text, min(1.0, step / limit))
        await asyncio.sleep(REPORT_S)
