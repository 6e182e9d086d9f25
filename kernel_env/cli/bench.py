"""`kernel-env bench`: what things cost on this machine, against peers in the same run."""

from typing import Annotated

import typer

from kernel_env.cli.say import answer_json, progress, table


def bench(
    sandbox: Annotated[
        str, typer.Option(help="docker, local, auto, or a plug-in's name.")
    ] = "auto",
    repeats: Annotated[int, typer.Option(help="Starts of a container and of a kernel.")] = 7,
    steps: Annotated[int, typer.Option(help="Steps of the long episode.")] = 1000,
    json: Annotated[bool, typer.Option("--json", help="One JSON line per measure.")] = False,
) -> None:
    """Measure starts, steps and memory; medians, p99 and ratios within this run."""
    from kernel_env import bench as benchmark

    with progress() as tell:
        rows = benchmark.measure(sandbox, repeats=repeats, steps=steps, tell=tell)
    if json:
        for row in rows:
            answer_json(row.json())
        return
    columns = ["measure", "unit", "n", "median", "p99", "peer", "peer's median", "p99", "ratio"]
    table(columns, [row.words() for row in rows])
