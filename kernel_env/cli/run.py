"""Implement `kernel-env run`: run agents on tasks, print the results, and compare agents."""

from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from kernel_env.cli.console import (
    fail,
    print_json,
    print_message,
    print_result,
    print_table,
    progress,
    steps_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kernel_env.episode import Episode
    from kernel_env.episode.result import EpisodeResult
    from kernel_env.grading.protocol import Counts, Feedback
    from kernel_env.runner import Plan
    from kernel_env.watch import WatchServer


Sandbox = Annotated[str, typer.Option(help="docker, local, auto, or a plug-in's name.")]
ImageName = Annotated[str, typer.Option(help="Image of the sandbox (default: the task's).")]
CountsRule = Annotated[
    str | None,
    typer.Option(help="Which submission counts: best or last (default: the task's)."),
]
Submissions = Annotated[
    int | None,
    typer.Option(help="Maximum number of graded submissions (default: the task's)."),
]
Steps = Annotated[int | None, typer.Option(help="Maximum number of steps (default: the task's).")]
CellSeconds = Annotated[
    float | None, typer.Option(help="Time limit of a cell, seconds (default: the task's).")
]
Gpus = Annotated[int | None, typer.Option("--gpus", help="GPUs per episode (default: the task's).")]
GpuDevice = Annotated[
    str, typer.Option(metavar="ID[,ID]", help="Which GPUs: index or UUID (default: free ones).")
]
Devices = Annotated[
    list[str] | None,
    typer.Option(
        "--device",
        metavar="PATH[:INSIDE]",
        help="Another device for the sandbox, and its name inside; can be repeated.",
    ),
]


def run(
    tasks: Annotated[list[str], typer.Argument(metavar="TASK…", help="Names or task folders.")],
    agent: Annotated[
        list[str],
        typer.Option(
            help="baseline, scripted, openai, tree, automl-lite, constant, sample, random-valid,"
            " nop, a plug-in's name, or FILE.py:CLASS; can be repeated."
        ),
    ],
    seeds: Annotated[int, typer.Option(help="Episodes per task, seeds 0 … N-1.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, help="Episodes at the same time.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs"),
    sandbox: Sandbox = "auto",
    image: ImageName = "",
    reward: Annotated[
        str,
        typer.Option(help="position, progress, final, raw, improvement or human_rank."),
    ] = "progress",
    feedback: Annotated[
        str | None,
        typer.Option(
            help="Scores that the agent sees: public, both, ladder or validity"
            " (default: the task's)."
        ),
    ] = None,
    feedback_provider: Annotated[
        str,
        typer.Option(
            help="Who comments on the steps: static, human, llm, or a plug-in's name (default:"
            " nobody)."
        ),
    ] = "",
    feedback_set: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="A setting of that provider, such as model=NAME for llm; can be repeated.",
        ),
    ] = None,
    counts: CountsRule = None,
    submissions: Submissions = None,
    gpus: Gpus = None,
    gpu_device: GpuDevice = "",
    device: Devices = None,
    steps: Steps = None,
    seconds: Annotated[
        float | None, typer.Option(help="Time limit of an episode, seconds (default: the task's).")
    ] = None,
    cell_seconds: CellSeconds = None,
    tokens: Annotated[
        int | None, typer.Option(help="Maximum number of model tokens (default: no limit).")
    ] = None,
    money: Annotated[
        float | None, typer.Option(help="Maximum cost of the model, US $ (default: no limit).")
    ] = None,
    script: Annotated[
        Path | None, typer.Option(help="scripted: a .ipynb, .json or .jsonl file of actions.")
    ] = None,
    model: Annotated[
        str, typer.Option(help="openai, tree: the model's name; so for all options of openai.")
    ] = "",
    provider: Annotated[
        str,
        typer.Option(
            help="openai: the model's provider, which gives URL, key variable and prices: openai,"
            " gemini, deepseek, xai, anthropic, qwen, mistral, openrouter, vllm, sglang, ollama or"
            " llama.cpp."
        ),
    ] = "",
    base_url: Annotated[
        str | None,
        typer.Option(
            help="openai: the endpoint's URL (default: the provider's, else OPENAI_BASE_URL, else"
            " OpenAI)."
        ),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="openai: sampling temperature (default: the endpoint's).")
    ] = None,
    price_in: Annotated[
        float | None, typer.Option(help="openai: US $ per 1M prompt tokens (default: a table's).")
    ] = None,
    price_out: Annotated[
        float | None, typer.Option(help="openai: US $ per 1M answer tokens (default: a table's).")
    ] = None,
    context: Annotated[int, typer.Option(help="openai: context window, tokens.")] = 32_000,
    answer_tokens: Annotated[
        int, typer.Option(help="openai: maximum tokens of an answer.")
    ] = 4_000,
    images: Annotated[bool, typer.Option(help="openai: send plots to the model.")] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="An option of the agent alone (JSON, otherwise text); can be repeated.",
        ),
    ] = None,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="Print the address of a page that shows the steps live, and asks for the feedback"
            " of --feedback-provider human.",
        ),
    ] = False,
    attach: Annotated[
        bool,
        typer.Option("--attach", help="Let people use the live kernels: kernel-env attach RUN."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line per episode.")] = False,
) -> None:
    """Run agents on tasks and print the results; several are compared."""
    from kernel_env.agents.base import Options
    from kernel_env.episode import EpisodeConfig
    from kernel_env.runner import Plan, make_agent, with_seeds, with_trust

    limits = {
        "steps": steps,
        "seconds": seconds,
        "cell_seconds": cell_seconds,
        "tokens": tokens,
        "money": money,
        "submissions": submissions,
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
        provider=provider,
        settings=parse_settings(set_),
    )
    plans = []
    for task, name in product(tasks, dict.fromkeys(agent)):
        config = EpisodeConfig(
            task=task,
            agent=name,
            sandbox=sandbox,
            image=image,
            out=out,
            budget={name: limit for name, limit in limits.items() if limit is not None},
            reward=reward,
            feedback=cast("Feedback | None", feedback),
            counts=cast("Counts | None", counts),
            feedback_provider=feedback_provider,
            feedback_settings=parse_settings(feedback_set, "--feedback-set"),
            gpus=gpus,
            gpu_device=gpu_device,
            devices=named_devices(device),
        )
        plans += with_seeds(Plan(config=config, options=options), seeds)
    acting = {plan.config.agent: plan for plan in reversed(plans)}
    made = {name: make_agent(plan) for name, plan in reversed(acting.items())}
    plans = [with_trust(plan, made[plan.config.agent]) for plan in plans]
    run_and_print(plans, json=json, watch=watch, attach=attach, jobs=jobs)


def parse_settings(values: list[str] | None, option: str = "--set") -> "dict[str, Any]":
    """Parse the values of an option that sets something by name. Raises `UsageError`."""
    import json

    from kernel_env.errors import UsageError

    settings: dict[str, Any] = {}
    for value in values or []:
        name, equals, text = value.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(f"{option} {value}: expected NAME=VALUE, for example {option} width=5")
        try:
            settings[name] = json.loads(text)
        except (ValueError, RecursionError):
            settings[name] = text
    return settings


def named_devices(values: list[str] | None) -> dict[str, str]:
    """Parse the values of `--device`: path inside → path on this machine."""
    parts = [value.partition(":") for value in values or []]
    return {inside or device: device for device, _, inside in parts}


def run_and_print(
    plans: "Sequence[Plan]",
    *,
    json: bool,
    watch: bool = False,
    attach: bool = False,
    jobs: int = 1,
) -> None:
    """Prepare the tasks, run the plans and print the results; exit with 1 if an episode failed."""
    import asyncio

    from kernel_env.runner import prepare_tasks

    with progress() as report:
        prepare_tasks([plan.config for plan in plans], report)
    running: list[Episode] = []
    each = show_json if json else lambda _: None
    try:
        with live_pages() if watch else nullcontext() as pages:

            def began(episode: "Episode") -> None:
                running.append(episode)
                if attach:
                    print_message(f"attach: kernel-env attach {episode.folder}")
                if pages is not None:
                    pages.add(episode.folder)

            if pages is not None:
                plans = [answered_there(plan, pages) for plan in plans]
            results = asyncio.run(collect(plans, began, each, attach=attach, jobs=jobs))
    except (KeyboardInterrupt, asyncio.CancelledError):
        for episode in running:
            if episode.result is None or episode.result.status == "interrupted":
                print_message(f"the completed steps are in {episode.notebook}")
        fail("interrupted", code=130)
    if not json:
        show(results)
        show_comparison(results)
    if any(result.error for result in results):
        raise typer.Exit(1)


@contextmanager
def live_pages() -> "Iterator[WatchServer]":
    """Serve pages of running episodes, and print their address."""
    from kernel_env.watch import WatchServer

    with WatchServer() as server:
        print_message(f"watch: {server.url}")
        yield server


def answered_there(plan: "Plan", pages: "WatchServer") -> "Plan":
    """Return a plan whose questions to a person are asked on the live page, too."""
    if plan.config.feedback_provider != "human":
        return plan
    settings = {**plan.config.feedback_settings, "page": pages}
    return replace(plan, config=replace(plan.config, feedback_settings=settings))


async def collect(
    plans: "Sequence[Plan]",
    began: "Callable[[Episode], None]",
    each: "Callable[[EpisodeResult], None]",
    *,
    attach: bool,
    jobs: int,
) -> "list[EpisodeResult]":
    """Run the plans and return the results.

    Args:
        plans: the episodes.
        began: called with each episode before its first step.
        each: called with each result at once.
        attach: whether people can use the kernels.
        jobs: how many episodes run at the same time.
    """
    from kernel_env.runner import run_plans

    results = []
    with progress() as report:
        async for result in run_plans(plans, report, began, attach=attach, at_once=jobs):
            each(result)
            results.append(result)
    return results


ENTRY_TITLES = {
    "reference": "reference pipelines",
    "human": "human teams",
    "published": "published results",
}
"""Descriptions of a leaderboard's entries, by its kind."""


def show_json(result: "EpisodeResult") -> None:
    """Print a result as a line of JSON."""
    print_json(result.json())


def cost(result: "EpisodeResult") -> str:
    """Return what an episode used of a model: dollars, or tokens where no price is known."""
    about = "about " if result.estimated_tokens else ""
    if result.usage.money:
        return f"{about}${result.usage.money:.4f}"
    return f"{about}{result.usage.tokens:,} tokens" if result.usage.tokens else "–"


def show(results: "list[EpisodeResult]") -> None:
    """Print a table of results and the paths of the notebooks."""

    def share(position: float | None) -> str:
        return "–" if position is None else f"{100 * position:.0f} %"

    def number(value: float | None) -> str:
        return "–" if value is None else f"{value:.5f}"

    rows = []
    for r in results:
        kind = ENTRY_TITLES.get(r.leaderboard_kind, r.leaderboard_kind)
        human = f"; human rank {r.human_rank:.4f}" if r.human_rank is not None else ""
        rows.append(
            [
                r.task,
                f"{r.agent} {r.model}".strip(),
                str(r.seed),
                r.status,
                steps_text(r.steps, r.human_steps),
                f"{number(r.public_score)} / {number(r.private_score)}",
                f"{share(r.position_public)} / {share(r.position_private)} of {kind}{human}",
                f"{r.seconds:.0f} s",
                cost(r),
            ]
        )
    columns = ["task", "agent", "seed", "status", "steps", "score public / private"]
    print_table([*columns, "beats public / private", "time", "cost"], rows)
    for r in results:
        if r.error:
            print_message(f"{r.task}, seed {r.seed}: {r.error}")
        print_result(f"notebook: {r.notebook}")


def show_comparison(results: "list[EpisodeResult]") -> None:
    """Print the mean of each agent and how far it can be trusted, if there are several agents."""
    if len({result.agent for result in results}) < 2:
        return
    from kernel_env.ratings import compare
    from kernel_env.ratings.tables import NOTE, estimate_text, tasks_text

    group = compare(results, elo=False, unrated=()).overall
    rows = []
    for row in group.rows:
        found = row.estimates.get("position")
        counts = f"{row.scored}, {row.floor}, {row.missing}"
        rows.append([row.agent, estimate_text(found), tasks_text(found), counts])
    print_table(["agent", "position", "tasks", "scored, floor, missing"], rows)
    print_result(group.sentence)
    print_result(NOTE)
