"""Implement `kernel-env kernelspec`: let Jupyter programs find sealed kernels."""

from pathlib import Path
from typing import Annotated

import typer

from kernel_env.cli.console import print_json, print_result, print_table

app = typer.Typer(
    no_args_is_help=True,
    help="Let JupyterLab, Notebook, nbclient, papermill and VS Code start sealed kernels.",
    rich_markup_mode=None,
)


@app.command("install")
def install(
    image: Annotated[str, typer.Option(help="The image (default: the task's, or tabular).")] = "",
    task: Annotated[str, typer.Option(help="A task whose public files are in /data.")] = "",
    data: Annotated[str, typer.Option(help="A folder to mount read-only as /data.")] = "",
    sandbox: Annotated[
        str, typer.Option(help="docker, or local, which runs the code as you.")
    ] = "docker",
    name: Annotated[str, typer.Option(help="Name of the kernelspec (default: sealed-IMAGE).")] = "",
    display_name: Annotated[str, typer.Option(help="What the programs show.")] = "",
    user: Annotated[
        bool, typer.Option("--user", help="For this user, in every Python environment.")
    ] = False,
    prefix: Annotated[
        Path | None, typer.Option(help="For the environment in this folder (default: this one).")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line.")] = False,
) -> None:
    """Install a kernelspec; one of this package with the same name is replaced."""
    from kernel_env.errors import UsageError
    from kernel_env.jupyter import kernelspecs
    from kernel_env.jupyter.sealed_kernel import KernelConfig, check

    if user and prefix:
        raise UsageError("choose one of --user and --prefix")
    config = KernelConfig(
        sandbox=sandbox,
        image=image or ("" if task else "tabular"),
        task=task,
        data=str(Path(data).expanduser().absolute()) if data else "",
    )
    check(config)
    name = name or kernelspecs.default_name(config)
    display_name = display_name or kernelspecs.default_title(config)
    folder = kernelspecs.install(config, name, display_name, user=user, prefix=prefix)
    if json:
        print_json({"name": folder.name, "folder": str(folder)})
    else:
        print_result(f"{folder.name}: {folder}")


@app.command("list")
def list_(
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON line per kernelspec.")
    ] = False,
) -> None:
    """List the kernelspecs of this package that Jupyter programs find."""
    from kernel_env.jupyter.installed_kernelspecs import config_of, installed

    rows = [
        {"name": name, **(config_of(folder) or {}), "folder": str(folder)}
        for name, folder in installed().items()
    ]
    if json:
        for row in rows:
            print_json(row)
    else:
        columns = ["name", "sandbox", "image", "task", "data", "folder"]
        cells = [[str(row.get(column, "")) for column in columns] for row in rows]
        print_table(columns, cells)


@app.command("remove")
def remove(
    names: Annotated[list[str], typer.Argument(metavar="NAME…", help="Kernelspecs to remove.")],
) -> None:
    """Remove kernelspecs of this package."""
    from kernel_env.jupyter import kernelspecs

    for name in names:
        print_result(f"removed: {kernelspecs.remove(name)}")
