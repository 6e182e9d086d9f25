"""`kernel-env run TASK…`: agents play episodes; a table or a line of JSON for each."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from kernel_env.cli.console import answer, answer_json, fail, note, progress, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernel_env.episode.episode import Episode
    from kernel_env.episode.observation import Feedback
    from kernel_env.episode.result import EpisodeResult
    from kernel_env.runner import Plan


def run(
    tasks: Annotated[list[str], typer.Argument(metavar="TASK…", help="Names or task folders.")],
    agent: Annotated[str, typer.Option(help="baseline, scripted, openai, or a plug-in's name.")],
    seeds: Annotated[int, typer.Option(help="Episodes for each task, seeds 0 … N-1.")] = 1,
    out: Annotated[Path, typer.Option(help="Where journals and notebooks go.")] = Path("runs"),
    sandbox: Annotated[
        str, typer.Option(help="docker, local, auto, or a plug-in's name.")
    ] = "auto",
    reward: Annotated[
        str, typer.Option(help="position, raw, improvement or human_rank.")
    ] = "position",
    feedback: Annotated[str, typer.Option(help="public, or both.")] = "public",
    steps: Annotated[int | None, typer.Option(help="Steps an episode may take.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Seconds an episode may last.")] = None,
    cell_seconds: Annotated[float | None, typer.Option(help="Seconds a cell may run.")] = None,
    tokens: Annotated[int | None, typer.Option(help="Tokens a model may use.")] = None,
    money: Annotated[float | None, typer.Option(help="US dollars a model may cost.")] = None,
    script: Annotated[Path | None, typer.Option(help="scripted: .ipynb, .json or .jsonl.")] = None,
    model: Annotated[str, typer.Option(help="openai: the model's name.")] = "",
    base_url: Annotated[str | None, typer.Option(help="openai: an endpoint of your own.")] = None,
    temperature: Annotated[float | None, typer.Option(help="openai: sampling temperature.")] = None,
    price_in: Annotated[float | None, typer.Option(help="Dollars for 1M prompt tokens.")] = None,
    price_out: Annotated[float | None, typer.Option(help="Dollars for 1M answer tokens.")] = None,
    context: Annotated[int, typer.Option(help="Tokens the model can see.")] = 32_000,
    answer_tokens: Annotated[int, typer.Option(help="Tokens one answer may have.")] = 4_000,
    images: Annotated[bool, typer.Option(help="Show the model the plots it draws.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON line per episode.")] = False,
) -> None:
    """Let an agent play tasks, and print how it went."""
    from kernel_env.agents.base import Options
    from kernel_env.runner import Plan
    from kernel_env.runner.job import make_agent
    from kernel_env.runner.job import seeds as seeded

    limits = {
        "steps": steps,
        "seconds": seconds,
        "cell_seconds": cell_seconds,
        "tokens": tokens,
        "money": money,
    }
    options = Options(
        script=script,
        model=model,
        base_url=base_url,
        temperature=temperature,
        price_in=price_in,
        price_out=price_out,
        context_tokens=context,
        answer_tokens=answer_tokens,
        images=images,
    )
    plans = [
        plan
        for task in tasks
        for plan in seeded(
            Plan(
                task=task,
                agent=agent,
                options=options,
                sandbox=sandbox,
                out=out,
                budget={name: limit for name, limit in limits.items() if limit is not None},
                reward=reward,
                feedback=cast("Feedback", feedback),  # checked where the episode begins
            ),
            seeds,
        )
    ]
    make_agent(plans[0])
    prepare(sorted(set(tasks)), sandbox)
    play(plans, json=json)


def prepare(names: list[str], sandbox: str) -> None:
    """Find the tasks, make their data ready, and build their images where they are needed."""
    from kernel_env.sandbox.selection import choose
    from kernel_env.tasks import catalog
    from kernel_env.tasks.prepare import prepare as make_ready

    found = [catalog.find(name) for name in names]
    chosen, _ = choose(sandbox)
    with progress() as tell:
        for task in found:
            tell(f"preparing {task.id}", None)
            make_ready(task)
        if chosen == "docker":
            from kernel_env.sandbox.docker import engine, images

            client = engine.connect()
            for name in sorted({task.file.image for task in found}):
                images.build(client, images.find(name), tell)
            client.close()


def play(plans: "list[Plan]", *, json: bool) -> None:
    """Play the plans and print their records; exit with 1 when one failed."""
    import asyncio

    try:
        records = asyncio.run(played(plans, show_json if json else lambda _: None))
    except (KeyboardInterrupt, asyncio.CancelledError):
        fail("interrupted", code=130)
    if not json:
        show(records)
    if any(record.error for record in records):
        raise typer.Exit(1)


async def played(
    plans: "list[Plan]", each: "Callable[[EpisodeResult], None]"
) -> "list[EpisodeResult]":
    """The records, one after the other."""
    import asyncio

    from kernel_env.grading.host import Grader
    from kernel_env.runner import run_episode

    records = []
    async with Grader() as grader:
        with progress() as tell:
            for plan in plans:
                playing: list[Episode] = []
                following = asyncio.create_task(follow(plan, playing, tell))
                try:
                    record = await run_episode(plan, grader=grader, watch=playing.append)
                except asyncio.CancelledError:
                    for episode in playing:
                        note(f"what was done is in {episode.notebook}")
                    raise
                finally:
                    following.cancel()
                each(record)
                records.append(record)
    return records


async def follow(
    plan: "Plan", playing: "list[Episode]", tell: "Callable[[str, float | None], None]"
) -> None:
    """Say how an episode goes, a few times a second."""
    import asyncio

    while True:
        if not playing:
            tell(f"{plan.task}: starting a kernel", None)
        for episode in playing:
            best, most = episode.progress.best, episode.rules.budget.steps
            score = f" · best {best.grade.public_score:.5g}" if best else ""
            step = len(episode.steps)
            text = f"{plan.task}: {plan.agent} plays · step {step} of {most} at most{score}"
            tell(text, min(1.0, step / most))
        await asyncio.sleep(0.2)


WHO = {
    "reference": "reference pipelines",
    "human": "human teams",
    "published": "published results",
}
"""What the entries of a leaderboard are, by its kind."""


def show_json(record: "EpisodeResult") -> None:
    """A record as a line of JSON."""
    answer_json(record.json())


def show(records: "list[EpisodeResult]") -> None:
    """The table at the end, and where the notebooks are."""

    def share(position: float | None) -> str:
        return "–" if position is None else f"{100 * position:.0f} %"

    def number(value: float | None) -> str:
        return "–" if value is None else f"{value:.5f}"

    rows = []
    for r in records:
        kind = WHO.get(r.leaderboard_kind, r.leaderboard_kind)
        human = f"; human rank {r.human_rank:.4f}" if r.human_rank is not None else ""
        cost = f"${r.usage.money:.4f}" if r.usage.money else f"{r.usage.tokens:,} tokens"
        rows.append(
            [
                r.task,
                f"{r.agent} {r.model}".strip(),
                str(r.seed),
                r.status,
                str(r.steps),
                f"{number(r.public_score)} / {number(r.private_score)}",
                f"{share(r.position_public)} / {share(r.position_private)} of {kind}{human}",
                f"{r.seconds:.0f} s",
                cost if r.usage.tokens or r.usage.money else "free",
            ]
        )
    columns = ["task", "agent", "seed", "status", "steps", "score public / private"]
    table([*columns, "beats public / private", "time", "cost"], rows)
    for r in records:
        if r.error:
            note(f"{r.task}, seed {r.seed}: {r.error}")
        answer(f"notebook: {r.notebook}")
