"""Run as the template, a pristine kernel that is forked and never serves.

Started by `boot`. It boots an IPython kernel and imports the libraries of its image, once per
sandbox. Every kernel of an agent is a fork of it, or a fork of such a fork.
"""

import gc
import importlib
import os
import sys
import warnings
from typing import Any

from .control_channel import ControlChannel
from .descriptors import identities, open_descriptors
from .fork_safety import native_threads
from .memory_maps import shared_mappings
from .private_names import FORKING, RUNNING, missing_name
from .standby import Standby
from .syscalls import set_accessible


def main(given: dict[str, Any]) -> None:
    """Boot, then wait for fork requests; a fork that is asked to serve returns here and serves."""
    channel = ControlChannel(3)
    if reason := unavailable_reason():
        channel.send({"cannot": reason})
        return
    from .serving import ForkableApp

    app: Any = ForkableApp.instance()
    app.standby = Standby(channel, given["folders"])
    before = open_descriptors()
    app.boot(payloads=given["payloads"])
    with app.shell.builtin_trap:  # libraries check on import whether they run in a notebook
        missing = [name for name in given["libraries"] if not import_library(name)]
    app.standby.kernel_descriptors = identities(
        open_descriptors() - before - app.kept_descriptors()
    )
    app.native_thread_count = len(list(native_threads()))
    gc.collect()
    gc.freeze()
    app.standby.remember(app.kept_descriptors())
    app.standby.mappings = shared_mappings()
    set_accessible(False)  # programs of the agent cannot change what later kernels start from
    channel.send({"missing": missing})
    app.serve(app.standby.wait())


def unavailable_reason() -> str:
    """Return why kernels cannot be forked here; empty if they can."""
    if not hasattr(os, "fork") or sys.platform != "linux":
        return f"forking is not supported on {sys.platform}"
    return missing_name([*RUNNING, *FORKING])


def import_library(name: str) -> bool:
    """Import a library for all later kernels, without showing its warnings to the agent."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            importlib.import_module(name)
        except Exception:  # noqa: BLE001 - a broken library raises again when the agent imports it
            return False
    return True
