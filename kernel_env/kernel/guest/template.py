"""The template: a pristine kernel that is copied and never serves: `python -m guest.template`.

It boots an IPython kernel and imports the libraries of its image, once for each box.
Every kernel of an agent is a copy of it, or a copy of a kernel that was.
"""

import gc
import importlib
import json
import os
import sys
import warnings
from typing import Any

from ipykernel._version import __version__ as installed

from .control_channel import ControlChannel
from .descriptors import descriptors, identities
from .standby import Standby

SUPPORTED = "7.4."
"""The ipykernel whose private names `connect` rests on."""


def main() -> None:
    """Boot, then wait; in a copy that is asked to: serve."""
    given = json.loads(sys.argv[1])
    os.environ.pop("PYTHONPATH", None)
    sys.path[:] = [path for path in sys.path if path != given["path"]]
    line = ControlChannel(3)
    if reason := cannot():
        line.say({"cannot": reason})
        return
    from .serving import ForkableApp

    app: Any = ForkableApp.instance()
    app.standby = Standby(line)
    before = descriptors()
    app.begin()
    with app.shell.builtin_trap:  # libraries ask whether they are in a notebook when imported
        missing = [name for name in given["libraries"] if not imported(name)]
    app.standby.plumbing = identities(descriptors() - before - app.keepers())
    gc.collect()
    gc.freeze()
    line.say({"pid": os.getpid(), "missing": missing})
    app.serve(app.standby.wait())


def cannot() -> str:
    """Why kernels here cannot be copied; empty when they can."""
    if not hasattr(os, "fork") or sys.platform != "linux":
        return f"a kernel cannot be copied on {sys.platform}"
    if not installed.startswith(SUPPORTED):
        return f"ipykernel {installed} is here; copying a kernel needs {SUPPORTED}x"
    return ""


def imported(name: str) -> bool:
    """Import a library for all the kernels to come, out of the agent's sight."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            importlib.import_module(name)
        except Exception:  # noqa: BLE001 - whatever is wrong with it, the agent may meet it itself
            return False
    return True


if __name__ == "__main__":
    main()
