"""Run programs inside a sandbox that fork children into overlays."""

import json
import textwrap
from dataclasses import replace
from typing import Any

from kernel_env.kernel.connection.launch import PROGRAM, PROGRAM_FOLDER
from kernel_env.sandbox import Sandbox
from kernel_env.sandbox.conformance import SMALL
from kernel_env.sandbox.protocol import SNAPSHOTS, WORKSPACE

SPEC = replace(SMALL, folders={PROGRAM: PROGRAM_FOLDER}, processes=128)

PRELUDE = """
import ctypes, errno, json, mmap, os, shutil, subprocess, sys, threading, time, traceback
sys.path.insert(0, PARENT)
from guest import overlay
os.chdir(WORKSPACE)

def write(path, text, mode="w"):
    with open(path, mode) as file:
        file.write(text)

def read(path):
    with open(path) as file:
        return file.read()

def freeze(name="0"):
    return shutil.copytree(WORKSPACE, f"{SNAPSHOTS}/trees/{name}", symlinks=True)

def layer(name, lower):
    own = f"{SNAPSHOTS}/branches/{name}"
    return {"at": WORKSPACE, "lower": lower, "upper": f"{own}/upper", "work": f"{own}/work"}

def in_overlay(body, lower=None, name=None):
    "Fork a child that enters an overlay and runs `body`; return the result."
    lower, name = lower or freeze(), name or str(time.monotonic_ns())
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            overlay.enter_mount_namespace([layer(name, lower)])
            result = body()
        except BaseException:
            result = traceback.format_exc()
        os.write(writing, json.dumps(result).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        result = pipe.read()
    os.waitpid(child, 0)
    return json.loads(result)

"""


def guest_program(sandbox: Sandbox, program: str) -> str:
    """Return a Python program with the prelude, for the folders of the sandbox."""
    constants = {
        "PARENT": str(sandbox.guest_path(PROGRAM).parent),
        "WORKSPACE": str(sandbox.guest_path(WORKSPACE)),
        "SNAPSHOTS": str(sandbox.guest_path(SNAPSHOTS)),
    }
    text = "\n".join(f"{name} = {value!r}" for name, value in constants.items())
    return text + PRELUDE + textwrap.dedent(program)


async def run_inside(sandbox: Sandbox, program: str) -> Any:
    """Run a program after the prelude inside the sandbox; return its variable `result`."""
    text = guest_program(sandbox, program) + "\nprint(json.dumps(result))"
    done = await sandbox.run([sandbox.python, "-c", text], timeout_s=60)
    assert done.exit_code == 0, done.output.decode()
    return json.loads(done.output.decode().splitlines()[-1])


async def unavailable_reason(sandbox: Sandbox) -> str | None:
    """Return why overlays are unavailable in the sandbox; None if they work."""
    reason: str | None = await run_inside(sandbox, "result = overlay.unavailable_reason(SNAPSHOTS)")
    return reason
