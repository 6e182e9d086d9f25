"""Implement `kernel-env open`: start JupyterLab on a notebook or a run, with a sealed kernel."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernel_env.cli.console import print_message, print_result

if TYPE_CHECKING:
    from nbformat import NotebookNode

    from kernel_env.jupyter.sealed_kernel import KernelConfig

OPENED = "opened"
"""The folder beside a run's files for the copies that people edit."""
SETTINGS = "kernel_env_open"
"""Where the notebook of a copy has the image and the task of its kernel."""
IMAGE = "tabular"


def open_(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="NOTEBOOK|RUN", help="A notebook, the folder of a run, or its journal."
        ),
    ],
    existing: Annotated[
        Path | None,
        typer.Option(help="Use the kernel that runs already and has this connection file."),
    ] = None,
    image: Annotated[str, typer.Option(help="The image (default: the run's, or tabular).")] = "",
    task: Annotated[
        str, typer.Option(help="The task whose public files are in /data (default: the run's).")
    ] = "",
    data: Annotated[str, typer.Option(help="A folder to mount read-only as /data.")] = "",
    sandbox: Annotated[
        str, typer.Option(help="docker, or local, which runs the code as you.")
    ] = "docker",
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
    port: Annotated[int, typer.Option(help="The port on 127.0.0.1 (0: a free one).")] = 0,
) -> None:
    """Start JupyterLab on a notebook, with a sealed kernel.

    Of a run a copy is opened, in its folder `opened`: the run's own files stay as they are.
    """
    from kernel_env.errors import UsageError
    from kernel_env.jupyter import kernelspecs, lab
    from kernel_env.jupyter.sealed_kernel import KernelConfig

    lab.require()
    notebook, recorded = notebook_and_settings(source)
    if existing is not None:
        if not existing.is_file():
            raise UsageError(f"no kernel runs any more at {existing}: there is no such file")
        name, title = "existing", "Kernel that runs already"
        spec = kernelspecs.definition_of_existing(existing.absolute(), title)
    else:
        config = KernelConfig(
            sandbox=sandbox,
            image=image or recorded.get("image", IMAGE),
            task=task or recorded.get("task", ""),
            data=data,
        )
        prepare_task(config)
        name, title = kernelspecs.default_name(config), kernelspecs.default_title(config)
        spec = kernelspecs.definition(config, title)
    if notebook is None:
        path, name = source.absolute(), kernelspecs.name_in(source) or name
    else:
        path = write_copy(notebook, source, recorded, name, title)
    print_message(f"notebook: {path}")
    lab.run_lab(
        path,
        {name: spec},
        browser=browser,
        port=port,
        announce=lambda address: print_result(f"open: {address}"),
    )


def notebook_and_settings(source: Path) -> tuple["NotebookNode | None", dict[str, str]]:
    """Return a run's notebook, and the image and the task of its kernel.

    None for any other notebook: it is opened itself. Raises `UsageError`.
    """
    from kernel_env.episode.notebook import render
    from kernel_env.episode.notebook_parser import read_notebook
    from kernel_env.episode.reading import is_journal, read_trajectory, source_of
    from kernel_env.tasks import catalog

    file = source_of(source)
    if not is_journal(file):
        metadata = read_notebook(file).metadata
        if "kernel_env" not in metadata:
            return None, checked_settings(metadata.get(SETTINGS))
    trajectory = read_trajectory(source)
    header = trajectory.header
    settings = {"image": header.image}
    if header.task in catalog.task_folders():
        settings["task"] = header.task
    else:
        print_message(
            f"WARNING: the catalogue does not have the task {header.task!r}, so /data is empty; if"
            " you have its folder, give it with --task"
        )
    return render(trajectory), settings


def checked_settings(value: Any) -> dict[str, str]:
    """Return the settings that a notebook names; only names, which cannot lead to programs."""
    from kernel_env.sandbox.docker import images
    from kernel_env.tasks import catalog

    known: dict[str, Collection[str]] = {
        "image": images.known(),
        "task": catalog.task_folders(),
    }
    settings = value if isinstance(value, dict) else {}
    return {
        name: str(settings[name])
        for name, names in known.items()
        if name in settings and settings[name] in names
    }


def prepare_task(config: "KernelConfig") -> None:
    """Prepare the task's data now, where the person sees that it takes a while."""
    if config.task:
        from kernel_env.tasks import catalog
        from kernel_env.tasks.prepare import prepare

        prepare(catalog.find(config.task))


def write_copy(
    notebook: "NotebookNode", source: Path, settings: dict[str, str], name: str, title: str
) -> Path:
    """Write a notebook that a person can edit beside a run's files. Raises `UsageError`."""
    import nbformat

    from kernel_env.episode.notebook import NOTEBOOK
    from kernel_env.episode.reading import source_of
    from kernel_env.errors import UsageError

    notebook.metadata.pop("kernel_env")
    notebook.metadata[SETTINGS] = settings
    notebook.metadata["kernelspec"] = {"name": name, "display_name": title, "language": "python"}
    for cell in notebook.cells:
        cell.metadata.pop("kernel_env", None)
    folder = source_of(source).absolute().parent / OPENED
    try:
        folder.mkdir(exist_ok=True)
        number = 1
        while (path := folder / f"{number}-{NOTEBOOK}").exists():
            number += 1
        nbformat.write(notebook, path)
    except OSError as error:
        raise UsageError(f"the copy in {folder} cannot be written: {error.strerror}") from error
    return path
