"""Find the installed kernelspecs that this package wrote.

Every episode looks for one when its notebook is written. So this needs only the names of Jupyter's
folders, and does not import `jupyter_client`, which with IPython takes a quarter of a second.
"""

import json
from pathlib import Path
from typing import Any

PROVISIONER = "kernel-env"
"""Name of the provisioner, as `pyproject.toml` registers it."""


def installed() -> dict[str, Path]:
    """Return the folders of our kernelspecs that Jupyter programs find, by name."""
    from jupyter_core.paths import jupyter_path

    found: dict[str, Path] = {}
    for folder in map(Path, jupyter_path("kernels")):  # the first one of a name is found
        for path in sorted(folder.glob("*/kernel.json")):
            found.setdefault(path.parent.name.lower(), path.parent)
    return {name: folder for name, folder in sorted(found.items()) if is_ours(folder)}


def is_ours(folder: Path) -> bool:
    """Return whether a folder has a kernelspec that this package wrote."""
    return config_of(folder) is not None


def config_of(folder: Path) -> dict[str, Any] | None:
    """Return the configuration of one of our kernelspecs; None if it is not one."""
    try:
        content = json.loads((folder / "kernel.json").read_text())
        provisioner = content["metadata"]["kernel_provisioner"]
        config: dict[str, Any] = provisioner["config"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return config if provisioner.get("provisioner_name") == PROVISIONER else None


def title_of(folder: Path) -> str:
    """Return what programs show of one of our kernelspecs."""
    return str(json.loads((folder / "kernel.json").read_text()).get("display_name", folder.name))
