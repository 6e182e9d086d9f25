"""Write the kernelspecs by which Jupyter programs find sandboxed kernels.

A kernelspec has two ways to its kernel. Programs that know provisioners (JupyterLab, Notebook,
nbclient, papermill: all that use `jupyter_client`) use ours, so that a restart keeps the sandbox
and its files. Others, like VS Code, run the command in `argv`, see `standalone`.
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kernel_env.errors import UsageError
from kernel_env.jupyter.installed_kernelspecs import PROVISIONER, installed, is_ours
from kernel_env.jupyter.sealed_kernel import KernelConfig
from kernel_env.jupyter.server import Server
from kernel_env.untrusted_text import quote_value

EXISTING = "kernel-env-existing"
"""Name of the provisioner of kernels that run already, as `pyproject.toml` registers it."""
FOLDER_VARIABLE = "KERNEL_ENV_KERNELSPECS"
"""Environment variable of a JupyterLab that `kernel-env open` started: the folder of kernelspecs
that it alone searches."""
NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")


def definition(config: KernelConfig, display_name: str) -> dict[str, Any]:
    """Return the content of a `kernel.json` for kernels with this configuration."""
    settings = {name: value for name, value in asdict(config).items() if value and name != "env"}
    argv = [sys.executable, "-m", "kernel_env.jupyter.standalone", "{connection_file}"]
    return {
        "argv": [*argv, json.dumps({**settings, "env": dict(config.env)})],
        "display_name": display_name,
        "language": "python",
        "interrupt_mode": "message",
        "env": dict(config.env),
        "metadata": {
            "debugger": False,
            "kernel_provisioner": {"provisioner_name": PROVISIONER, "config": settings},
        },
    }


def definition_of_existing(connection_file: Path, display_name: str) -> dict[str, Any]:
    """Return the content of a `kernel.json` that stands for a kernel that runs already."""
    config = {"connection_file": str(connection_file)}
    return {
        "argv": [],
        "display_name": display_name,
        "language": "python",
        "interrupt_mode": "message",
        "metadata": {
            "debugger": False,
            "kernel_provisioner": {"provisioner_name": EXISTING, "config": config},
        },
    }


def write(folder: Path, name: str, content: Mapping[str, Any]) -> Path:
    """Write a kernelspec in a folder of kernelspecs. Raises `OSError`."""
    place = folder / name
    place.mkdir(parents=True)
    (place / "kernel.json").write_text(json.dumps(content, indent=1) + "\n")
    return place


def default_name(config: KernelConfig) -> str:
    """Return the name of a kernelspec that was given none."""
    what = Path(config.task).name if config.task else config.image
    return f"{'sealed' if config.sandbox != 'local' else 'local'}-{what}".lower()


def default_title(config: KernelConfig) -> str:
    """Return what programs show of a kernelspec that was given no title."""
    what = Path(config.task).name if config.task else config.image
    return f"{'Sealed' if config.sandbox != 'local' else 'NOT ISOLATED'} Python ({what})"


def name_in(notebook: Path) -> str:
    """Return the name of a notebook's kernelspec, if a kernelspec can have it; else ""."""
    try:
        name = json.loads(notebook.read_bytes())["metadata"]["kernelspec"]["name"]
    except (OSError, ValueError, TypeError, KeyError):
        return ""
    return name.lower() if isinstance(name, str) and NAME.fullmatch(name) else ""


def install(
    config: KernelConfig, name: str, display_name: str, *, user: bool, prefix: Path | None
) -> Path:
    """Install a kernelspec and return its folder; one of ours with this name is replaced.

    Args:
        config: what its kernels run in.
        name: name of the kernelspec.
        display_name: what programs show.
        user: whether it is for this user; otherwise for the Python environment.
        prefix: the environment's folder; None for that of this Python.

    Raises `UsageError`, `OSError`.
    """
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{quote_value(name)} cannot be the name of a kernelspec; use letters, digits, dots,"
            " dashes and underscores"
        )
    from jupyter_core.paths import jupyter_data_dir

    base = Path(jupyter_data_dir()) if user else Path(prefix or sys.prefix) / "share" / "jupyter"
    folder = base / "kernels" / name.lower()
    if folder.exists() and not is_ours(folder):
        raise UsageError(f"{folder} is a kernelspec of another program; choose another --name")
    shutil.rmtree(folder, ignore_errors=True)
    return write(folder.parent, folder.name, definition(config, display_name))


def remove(name: str) -> Path:
    """Remove one of our kernelspecs and return its folder. Raises `UsageError`, `OSError`."""
    ours = installed()
    if name not in ours:
        known = ", ".join(ours) or "there are none"
        raise UsageError(
            f"no kernelspec of kernel_env is called {quote_value(name)}; known: {known}"
        )
    shutil.rmtree(ours[name])
    return ours[name]


# ── kernels of a running JupyterLab ───────────────────────────────────────────────────────


def offer_branch(title: str, server: Server) -> str:
    """Add a kernelspec for a branch to the JupyterLab that runs it, if `open` started that one.

    Returns the kernelspec's name; "" if there is no such JupyterLab.
    """
    if not (folder := os.environ.get(FOLDER_VARIABLE)):
        return ""
    name = f"branch-{server.connection_file.parent.name.rpartition('-')[2]}"
    write(Path(folder), name, definition_of_existing(server.connection_file, title))
    return name


def withdraw_branch(name: str) -> None:
    """Remove the kernelspec of a branch."""
    if folder := os.environ.get(FOLDER_VARIABLE):
        shutil.rmtree(Path(folder) / name, ignore_errors=True)
