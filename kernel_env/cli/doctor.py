"""Implement `kernel-env doctor`: check this machine, and print what to do about each problem."""

import os
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Annotated

import typer

from kernel_env.cli.console import print_json, print_message, print_table

MIN_FREE_GB = 2
"""The free disk space that images and data need."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of one check."""

    what: str
    """What was checked."""
    ok: bool
    found: str
    todo: str = ""
    """What to do about it; empty if nothing."""


def doctor(
    clean: Annotated[
        bool,
        typer.Option("--clean", help="Remove containers and folders that killed processes left."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line per check.")] = False,
) -> None:
    """Check engine, images, sandbox, kernels, disk, tasks and keys."""
    findings = [
        *check_engine(clean=clean),
        *check_folders(clean=clean),
        check_kernels(),
        *check_host(),
    ]
    if json:
        for finding in findings:
            print_json(asdict(finding))
        return
    rows = [[f.what, "ok" if f.ok else "–", f.found, f.todo] for f in findings]
    print_table(["what", "", "found", "what to do"], rows)


def check_engine(*, clean: bool) -> Iterator[Finding]:
    """Check the Docker engine, its images, and containers that killed processes left."""
    from kernel_env.errors import SandboxError
    from kernel_env.sandbox.docker import engine, images
    from kernel_env.sandbox.docker.container import remove, strays

    try:
        client = engine.connect()
    except SandboxError as error:
        found, _, todo = str(error).partition("; ")
        yield Finding(what="engine", ok=False, found=found, todo=todo or "run: kernel-env setup")
        yield Finding(
            what="sandbox",
            ok=False,
            found="auto selects local, which ISOLATES NOTHING, and only for code of your own",
            todo="set up a Docker engine before you run untrusted code",
        )
        return
    version = client.version()
    yield Finding(what="engine", ok=True, found=f"{version['Version']} at {engine.address()}")
    yield Finding(what="sandbox", ok=True, found="auto selects docker: sealed containers")
    default = {image.name for image in images.find(images.DEFAULT).build_order}
    for image in images.known().values():
        built = images.is_built(client, image)
        needed = image.name in default
        yield Finding(
            what=f"image {image.name}",
            ok=built or not needed,
            found=image.tag if built else "not built",
            todo=""
            if built
            else f"{'run' if needed else 'optional'}: {images.build_command(image)}",
        )
    left = strays(client)
    if clean:
        for container in left:
            print_message(f"removing {container.name}")
            remove(container)
        left = strays(client)
    yield Finding(
        what="leftovers",
        ok=not left,
        found=f"{len(left)} containers whose owner has exited",
        todo="run: kernel-env doctor --clean" if left else "",
    )


def check_folders(*, clean: bool) -> Iterator[Finding]:
    """Check for temporary folders that killed processes left."""
    from kernel_env import temporary

    if clean:
        for path in temporary.abandoned():
            print_message(f"removing {path}")
            temporary.remove(path)
    left = temporary.abandoned()
    yield Finding(
        what="folders",
        ok=not left,
        found=f"{len(left)} temporary folders whose owner has exited",
        todo="run: kernel-env doctor --clean" if left else "",
    )


def check_kernels() -> Finding:
    """Start a fork server as an episode does, and check what its kernels support."""
    import asyncio

    from kernel_env.errors import KernelEnvError
    from kernel_env.runner.probe import kernel_limitations
    from kernel_env.sandbox.selection import choose

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the findings contain the same facts
        sandbox, _ = choose("auto", trusted=True)
        try:
            limitations = asyncio.run(kernel_limitations(sandbox))
        except KernelEnvError as error:
            return Finding(what="kernels", ok=False, found=f"{error}")
    if limitations:
        return Finding(
            what="kernels",
            ok=False,
            found=f"in {sandbox}: {limitations}",
            todo="use an image with the supported ipykernel and a system with user namespaces",
        )
    found = f"in {sandbox}: kernels can be forked, and forks can have files of their own"
    return Finding(what="kernels", ok=True, found=found)


def check_gpus() -> Finding:
    """Check which GPUs tasks can use."""
    from kernel_env.errors import SandboxError
    from kernel_env.sandbox import gpus

    try:
        found = gpus.describe(gpus.present())
    except SandboxError as error:
        return Finding(what="gpus", ok=False, found=str(error), todo="repair the driver")
    todo = "" if found else "only tasks that need a GPU need one; see also: nvidia-smi"
    return Finding(what="gpus", ok=bool(found), found=found or "none", todo=todo)


def check_host() -> Iterator[Finding]:
    """Check disk space, GPUs, tasks, keys and Kaggle's client."""
    from kernel_env import cache
    from kernel_env.tasks import catalog

    folder = cache.folder()
    folder.mkdir(parents=True, exist_ok=True)
    free_gb = shutil.disk_usage(folder).free / 1e9
    yield Finding(
        what="disk",
        ok=free_gb > MIN_FREE_GB,
        found=f"{free_gb:.0f} GB free at {folder}",
        todo=""
        if free_gb > MIN_FREE_GB
        else f"free some space: images and data need about {MIN_FREE_GB} GB",
    )
    yield check_gpus()
    yield Finding(what="tasks", ok=True, found=f"{len(catalog.task_folders())} found")
    has_key = bool(os.environ.get("OPENAI_API_KEY"))
    yield Finding(
        what="key",
        ok=has_key,
        found="OPENAI_API_KEY is set" if has_key else "OPENAI_API_KEY is not set",
        todo="" if has_key else "set it if you use the agent openai; no other agent needs it",
    )
    has_client = find_spec("kaggle") is not None
    yield Finding(
        what="kaggle",
        ok=has_client,
        found="Kaggle's client is installed" if has_client else "Kaggle's client is not installed",
        todo="" if has_client else "only for tasks from Kaggle: pip install 'kernel-env[kaggle]'",
    )
