"""Implement `kernel-env bench`: measure operations on this machine, each together with a peer."""

from typing import Annotated

import typer

from kernel_env.cli.console import print_json, print_message, print_result, print_table, progress

QUICK_SHARE = 0.2
"""Share of the repeats that `--quick` runs."""


def bench(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]…", help="Measures to run (default: all)."),
    ] = None,
    sandbox: Annotated[
        str, typer.Option(help="docker, local, auto, or a plug-in's name.")
    ] = "auto",
    quick: Annotated[bool, typer.Option(help="Run a fifth of the repeats.")] = False,
    scale: Annotated[
        float,
        typer.Option(help="Share of the full size of data and outputs.", min=0.001, max=1.0),
    ] = 1.0,
    list_: Annotated[bool, typer.Option("--list", help="List the measures and exit.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON line per measurement.")
    ] = False,
) -> None:
    """Measure the costs of operations: median, p99, ratio to a peer, and goal.

    All measures together take 10 to 20 minutes on two cores and need 16 GB of free memory.
    """
    import asyncio
    import tempfile
    from pathlib import Path

    from kernel_env import bench as benchmark

    if list_:
        for name, measure in benchmark.MEASURES.items():
            about = (measure.__doc__ or "").partition("\n")[0]
            if json:
                print_json({"name": name, "about": about})
            else:
                print_result(f"{name:10} {about}")
        return

    async def collect(folder: str) -> list[benchmark.Row]:
        rows = []
        with progress() as report:
            async for row in benchmark.measure(
                names or [],
                sandbox=sandbox,
                folder=Path(folder),
                share=QUICK_SHARE if quick else 1.0,
                scale=scale,
                progress=report,
                skip=lambda reason: print_message(f"not measured: {reason}"),
            ):
                rows.append(row)
                if json:
                    print_json(row.json())
        return rows

    with tempfile.TemporaryDirectory(prefix="kernel-env-") as folder:
        rows = asyncio.run(collect(folder))
    if not json:
        print_table(benchmark.COLUMNS, [row.table_cells() for row in rows])
