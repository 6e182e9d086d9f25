"""Implement `kernel-env serve`: serve live episodes to clients of other programs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kernel_env.cli.console import print_message, print_result
from kernel_env.cli.run import (
    CellSeconds,
    CountsRule,
    Devices,
    GpuDevice,
    Gpus,
    ImageName,
    Sandbox,
    Steps,
    Submissions,
    named_devices,
)

if TYPE_CHECKING:
    from asyncio import Event

    from kernel_env.serve.access import Access
    from kernel_env.serve.sessions import Sessions

PROTOCOLS = ("http", "mcp", "openenv")
PACKAGES = {"mcp": "mcp", "openenv": "openenv"}
"""The package that a protocol needs, which is also the name of the extra."""


def serve(
    protocol: Annotated[
        str, typer.Argument(metavar="http|mcp|openenv", help="What the clients speak.")
    ],
    tasks: Annotated[
        str, typer.Option(help="Names or task folders, separated by commas (default: all).")
    ] = "",
    stdio: Annotated[
        bool, typer.Option("--stdio", help="mcp: serve the program that started this one.")
    ] = False,
    host: Annotated[
        str, typer.Option(help="The address to listen on; any but this machine's needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port (0: a free one).")] = 8765,
    token: Annotated[
        str,
        typer.Option(help="What clients must know (default: KERNEL_ENV_TOKEN, if that is set)."),
    ] = "",
    sessions: Annotated[int, typer.Option(min=1, help="Episodes at the same time.")] = 8,
    idle: Annotated[
        float, typer.Option(help="Seconds without a call after which an episode ends.")
    ] = 600.0,
    memory: Annotated[
        float | None,
        typer.Option(help="Memory of all containers together, GiB (default: this machine's)."),
    ] = None,
    warm: Annotated[int, typer.Option(min=0, help="Sandboxes started in advance, per task.")] = 0,
    observation_chars: Annotated[
        int | None, typer.Option(help="Maximum characters of what an agent reads after a call.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs"),
    sandbox: Sandbox = "auto",
    image: ImageName = "",
    reward: Annotated[
        str,
        typer.Option(help="position, progress, final, raw, improvement or human_rank."),
    ] = "progress",
    feedback: Annotated[
        str | None,
        typer.Option(
            help="Scores that agents see: public, both, ladder or validity (default: the task's)."
        ),
    ] = None,
    counts: CountsRule = None,
    submissions: Submissions = None,
    gpus: Gpus = None,
    gpu_device: GpuDevice = "",
    device: Devices = None,
    steps: Steps = None,
    seconds: Annotated[
        float | None, typer.Option(help="Time limit of an episode, seconds (default: the task's).")
    ] = None,
    cell_seconds: CellSeconds = None,
) -> None:
    """Serve live episodes to agents and trainers of other programs, until Ctrl-C."""
    import asyncio

    from kernel_env.episode.machine import machine_memory_gb
    from kernel_env.errors import UnknownName, UsageError
    from kernel_env.serve.access import access_from
    from kernel_env.serve.offer import offer_of
    from kernel_env.serve.sessions import Limits, Sessions

    if protocol not in PROTOCOLS:
        raise UnknownName("protocol", protocol, PROTOCOLS)
    if stdio and protocol != "mcp":
        raise UsageError(f"--stdio is for mcp; {protocol} is served over the network")
    if idle <= 0:
        raise UsageError(f"--idle is {idle:g}; it must be a positive number of seconds")
    require(protocol)
    access = access_from(host, token)
    limits = Limits(sessions=sessions, idle_s=idle, memory_gb=memory or machine_memory_gb())
    budget = {
        "steps": steps,
        "seconds": seconds,
        "cell_seconds": cell_seconds,
        "submissions": submissions,
    }
    offer = offer_of(
        [name for name in tasks.split(",") if name],
        warm=warm,
        observation_chars=observation_chars,
        agent=protocol,
        sandbox=sandbox,
        image=image,
        out=out,
        budget={name: limit for name, limit in budget.items() if limit is not None},
        reward=reward,
        feedback=feedback,
        counts=counts,
        gpus=gpus,
        gpu_device=gpu_device,
        devices=named_devices(device),
    )
    registry = Sessions(offer, limits)
    if stdio:
        asyncio.run(serve_starter(registry))
    else:
        asyncio.run(serve_until_stopped(registry, protocol, access, port))


def require(protocol: str) -> None:
    """Raise `UsageError` if the package of a protocol is not installed."""
    from importlib.util import find_spec

    from kernel_env.errors import UsageError

    package = PACKAGES.get(protocol)
    if package is not None and find_spec(package) is None:
        raise UsageError(
            f"the protocol {protocol} needs the extra {package}; run: pip install"
            f" 'kernel-env[{package}]'"
        )


async def serve_until_stopped(
    sessions: "Sessions", protocol: str, access: "Access", port: int
) -> None:
    """Serve over the network until a signal; end all episodes then."""
    from importlib import import_module

    module = import_module(f"kernel_env.serve.{protocol}")
    stopped = stop_signal()
    async with sessions, module.serve_http(sessions, access, port) as address:
        print_result(f"{protocol}: {address}")
        await stopped.wait()
        print_message("ending the episodes")


async def serve_starter(sessions: "Sessions") -> None:
    """Serve the program that started this one, until it closes the pipe or a signal comes."""
    import asyncio
    import os

    from kernel_env.serve.mcp import serve_stdio

    stopped = stop_signal()
    async with sessions:
        serving = asyncio.create_task(serve_stdio(sessions))
        stopping = asyncio.create_task(stopped.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
    if not serving.done():
        os._exit(0)  # a thread waits for the client's next line, and cannot be interrupted
    serving.result()


def stop_signal() -> "Event":
    """Return an event that a signal sets which asks this process to end."""
    import asyncio
    import signal

    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP: keep that
            loop.add_signal_handler(number, stopped.set)
    return stopped
