"""Serve a sandboxed kernel at the address of a connection file, until a client ends it.

    python -m kernel_env.jupyter.standalone CONNECTION_FILE '{"image": "tabular"}'

This is the command of our kernelspecs, for programs that start kernels without `jupyter_client`'s
provisioners, like VS Code. Such a program ends this process to restart the kernel, which gets a new
sandbox then. Errors are printed in one line.
"""

import asyncio
import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kernel_env.errors import KernelEnvError
from kernel_env.jupyter.live_kernel import Branches
from kernel_env.jupyter.sealed_kernel import KernelConfig, SealedKernel
from kernel_env.untrusted_text import escape_line


async def serve(info: Mapping[str, Any], config: KernelConfig) -> None:
    """Serve a kernel until a client or a signal ends it.

    `info` is the content of the connection file. Raises `KernelEnvError`, `OSError`.
    """
    end, loop = asyncio.Event(), asyncio.get_running_loop()

    async def shut_down(restart: bool) -> None:  # noqa: ARG001 - a new process is the restart
        end.set()

    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, end.set)
    sealed = await SealedKernel.start(
        config, shut_down=shut_down, branches=Branches(), listen_at=info
    )
    interrupts: set[asyncio.Task[None]] = set()
    loop.add_signal_handler(
        signal.SIGINT, lambda: interrupts.add(loop.create_task(sealed.live.interrupt()))
    )
    try:
        await end.wait()
    finally:
        await sealed.close()


def main() -> None:
    """Run the command."""
    info, settings = json.loads(Path(sys.argv[1]).read_text()), json.loads(sys.argv[2])
    try:
        asyncio.run(serve(info, KernelConfig(**settings)))
    except (KernelEnvError, OSError) as error:
        sys.exit(f"kernel-env: {escape_line(str(error))}")


if __name__ == "__main__":
    main()
