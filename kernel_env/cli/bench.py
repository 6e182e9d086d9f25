"""`kernel-env bench`: what things cost on this machine, against peers in the same run."""

from typing import Annotated

import typer

from kernel_env.cli.console import answer, answer_json, note, progress, table

QUICK = 0.2


def bench(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]…", help="Measures; all when none is named."),
    ] = None,
    sandbox: Annotated[
        str, typer.Option(help="docker, local, auto, or a plug-in's name.")
    ] = "auto",
    quick: Annotated[bool, typer.Option(help="A fifth of the usual repeats.")] = False,
    scale: Annotated[
        float, typer.Option(help="Share of the usual size of data and outputs.", min=0.001, max=1.0)
    ] = 1.0,
    list_: Annotated[bool, typer.Option("--list", help="The measures' names.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON line per measure.")] = False,
) -> None:
    """Measure what things cost: medians, p99, ratios to a peer, and goals.

    All of it takes 10 to 20 minutes on two cores and wants 16 GB of free memory.
    """
    import asyncio

    from kernel_env import bench as benchmark

    if list_:
        for name, taken in benchmark.MEASURES.items():
            first = (taken.__doc__ or "").partition("\n")[0]
            answer_json({"name": name, "about": first}) if json else answer(f"{name:10} {first}")
        return

    async def measured() -> list[benchmark.Row]:
        rows = []
        with progress() as tell:
            async for row in benchmark.measure(
                names or [],
                sandbox=sandbox,
                share=QUICK if quick else 1.0,
                scale=scale,
                progress=tell,
                skip=lambda why: note(f"not measured: {why}"),
            ):
                rows.append(row)
                if json:
                    answer_json(row.json())
        return rows

    rows = asyncio.run(measured())
    if not json:
        table(benchmark.COLUMNS, [row.table_cells() for row in rows])
