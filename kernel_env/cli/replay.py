"""`kernel-env replay NOTEBOOK`: play the actions of a notebook again in a fresh episode."""

from pathlib import Path
from typing import Annotated

import typer

from kernel_env.cli.run import play, prepare


def replay(
    notebook: Annotated[Path, typer.Argument(help="A trajectory, or any notebook with --task.")],
    task: Annotated[str | None, typer.Option(help="The task; a trajectory names its own.")] = None,
    out: Annotated[Path, typer.Option(help="Where the new notebook goes.")] = Path("runs"),
    sandbox: Annotated[
        str, typer.Option(help="docker, local, auto, or a plug-in's name.")
    ] = "auto",
    json: Annotated[bool, typer.Option("--json", help="One JSON line.")] = False,
) -> None:
    """Play a notebook's actions again, in a fresh episode."""
    from kernel_env.agents.base import Options
    from kernel_env.episode.notebook import parse_notebook, read_notebook
    from kernel_env.errors import UsageError
    from kernel_env.runner import Plan
    from kernel_env.runner.job import make_agent

    budget = {}
    if task is None:
        found = read_notebook(notebook)
        if "kernel_env" not in found.metadata:
            raise UsageError(f"{notebook} does not name its task; give it with --task")
        past = parse_notebook(found)
        task, budget = past.header.task, {"steps": past.header.budget.steps}
    plan = Plan(
        task=task,
        agent="scripted",
        options=Options(script=notebook),
        sandbox=sandbox,
        out=out,
        budget=budget,
    )
    make_agent(plan)
    prepare([task], sandbox)
    play([plan], json=json)
