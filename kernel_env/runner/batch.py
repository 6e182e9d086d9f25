"""Run plans, one after another or several at once, and report their progress."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

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
    at_once: int = 1,
) -> AsyncIterator[EpisodeResult]:
    """Run the plans, started in order, and yield each result as its episode ends.

    Args:
        plans: the episodes to run.
        report: called a few times per second with the progress of the current episodes.
        watch: called once for each episode, before the agent's first step.
        attach: whether people can use the episodes' kernels; see `kernel-env attach`.
        at_once: how many episodes run at the same time.

    Raises as `run_episode` does; the other episodes are interrupted then.
    """
    waiting = list(reversed(plans))
    running: dict[asyncio.Task[EpisodeResult], tuple[int, Plan]] = {}
    began: dict[int, Episode] = {}

    def start(number: int, plan: Plan, grader: Grader) -> asyncio.Task[EpisodeResult]:
        def started(episode: Episode) -> None:
            began[number] = episode
            if watch:
                watch(episode)

        return asyncio.create_task(run_episode(plan, grader=grader, watch=started, attach=attach))

    async with Grader() as grader:
        reporting = asyncio.create_task(report_progress(running, began, report))
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    number, plan = len(plans) - len(waiting), waiting.pop()
                    running[start(number, plan, grader)] = number, plan
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    number, _ = running.pop(task)
                    began.pop(number, None)
                    yield task.result()
        finally:
            reporting.cancel()
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


async def report_progress(
    running: Mapping[asyncio.Task[EpisodeResult], tuple[int, Plan]],
    began: Mapping[int, Episode],
    report: Report,
) -> None:
    """Report the progress of the episodes that run until cancelled."""
    while True:
        found = [progress_of(plan, began.get(number)) for number, plan in running.values()]
        if len(found) == 1:
            report(*found[0])
        elif found:
            report(f"running {len(found)} episodes · {'; '.join(text for text, _ in found)}", None)
        await asyncio.sleep(REPORT_S)


def progress_of(plan: Plan, episode: Episode | None) -> tuple[str, float | None]:
    """Return how far an episode is, as text and as the share of its steps."""
    task, agent = plan.config.task, plan.config.agent
    task = task if isinstance(task, str) else task.id
    if episode is None:
        return f"{task}: starting a kernel", None
    best, limit = episode.progress.best, episode.setup.budget.steps
    score = f" · best {best.grade.public_score:.5g}" if best else ""
    step = max(len(episode.steps), episode.spent.steps)  # forks can spend its budget
    text = f"{task}: running {agent} · step {step} of at most {limit}{score}"
    return text, min(1.0, step / limit)
