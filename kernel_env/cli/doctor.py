"""`kernel-env doctor`: what is here, what is missing, and what to do about each gap."""

import os
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Annotated

import typer

from kernel_env.cli.console import answer_json, note, table


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    what: str
    ok: bool
    found: str
    todo: str = ""


def doctor(
    clean: Annotated[
        bool, typer.Option("--clean", help="Remove what killed processes left.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON line per finding.")] = False,
) -> None:
    """Look at engine, images, sandbox, tasks, keys and leftovers."""
    findings = [*containers(clean=clean), *folders(clean=clean), kernels(), *surroundings()]
    if json:
        for finding in findings:
            answer_json(asdict(finding))
        return
    rows = [[f.what, "ok" if f.ok else "–", f.found, f.todo] for f in findings]
    table(["what", "", "found", "what to do"], rows)


def containers(*, clean: bool) -> Iterator[Finding]:
    """The engine and everything that lives in it."""
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
            found="auto takes local, which ISOLATES NOTHING",
            todo="get an engine before you run code that you do not trust",
        )
        return
    version = client.version()
    yield Finding(what="engine", ok=True, found=f"{version['Version']} at {engine.address()}")
    yield Finding(what="sandbox", ok=True, found="auto takes docker: sealed containers")
    for image in images.known().values():
        built = images.is_built(client, image)
        yield Finding(
            what=f"image {image.name}",
            ok=built,
            found=image.tag if built else "not built",
            todo="" if built else f"run: kernel-env images build {image.name}",
        )
    left = strays(client)
    if clean:
        for container in left:
            note(f"removing {container.name}")
            remove(container)
        left = strays(client)
    yield Finding(
        what="leftovers",
        ok=not left,
        found=f"{len(left)} containers whose owner is gone",
        todo="run: kernel-env doctor --clean" if left else "",
    )


def folders(*, clean: bool) -> Iterator[Finding]:
    """Temporary folders that a killed process left."""
    from kernel_env import temporary

    if clean:
        for path in temporary.abandoned():
            note(f"removing {path}")
            shutil.rmtree(path, ignore_errors=True)
    left = temporary.abandoned()
    yield Finding(
        what="folders",
        ok=not left,
        found=f"{len(left)} temporary folders whose owner is gone",
        todo="run: kernel-env doctor --clean" if left else "",
    )


def kernels() -> Finding:
    """Start a kernel as an episode would, and see what it can do."""
    import asyncio

    from kernel_env.errors import KernelEnvError
    from kernel_env.kernel.connection.launch import PROGRAM, PROGRAM_FOLDER
    from kernel_env.kernel.forking.fork_server import ForkServer
    from kernel_env.sandbox.protocol import Spec
    from kernel_env.sandbox.selection import choose

    async def missing() -> str:
        spec = Spec(image="base", folders={PROGRAM: PROGRAM_FOLDER})
        server = await ForkServer.open(lambda: make(spec), {})
        await server.close()
        return server.limitations

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this is the place where it is all said
        name, make = choose("auto")
        try:
            found = asyncio.run(missing())
        except KernelEnvError as error:
            return Finding(what="kernels", ok=False, found=f"{error}")
    good = f"in {name}: nothing is lost when one breaks, and branches have files of their own"
    return Finding(
        what="kernels",
        ok=not found,
        found=f"in {name}: {found}" if found else good,
        todo="use an image with the supported ipykernel and a system with user namespaces"
        if found
        else "",
    )


def surroundings() -> Iterator[Finding]:
    """Disk, tasks, keys."""
    from kernel_env import cache
    from kernel_env.tasks import catalog

    place = cache.folder()
    place.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(place).free / 1e9
    yield Finding(
        what="disk",
        ok=free > 2,
        found=f"{free:.0f} GB free at {place}",
        todo="" if free > 2 else "make room: images and data need about 2 GB",
    )
    yield Finding(what="tasks", ok=True, found=f"{len(catalog.task_folders())} found")
    key = bool(os.environ.get("OPENAI_API_KEY"))
    yield Finding(
        what="key",
        ok=key,
        found="OPENAI_API_KEY is set" if key else "OPENAI_API_KEY is not set",
        todo="" if key else "set it for the openai agent; the others need none",
    )
    client = find_spec("kaggle") is not None
    yield Finding(
        what="kaggle",
        ok=client,
        found="Kaggle's client is installed" if client else "Kaggle's client is not installed",
        todo="" if client else "only for tasks from Kaggle: pip install 'kernel-env[kaggle]'",
    )
