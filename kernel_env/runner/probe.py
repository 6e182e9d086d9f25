"""Probe what kernels support on this machine."""

from kernel_env.kernel.connection.launch import PROGRAM, PROGRAM_FOLDER
from kernel_env.kernel.forking.fork_server import ForkServer
from kernel_env.sandbox.protocol import Spec
from kernel_env.sandbox.selection import choose

IMAGE = "base"


async def kernel_limitations(sandbox: str) -> str:
    """Start a fork server as an episode does, and return what it does not support, and why.

    Args:
        sandbox: a sandbox's name, or `auto`.

    Returns:
        The limitations as text; empty if kernels support everything.

    Raises `UnknownName`, `SandboxError`, `KernelError`.
    """
    _, make = choose(sandbox, trusted=True)
    spec = Spec(image=IMAGE, folders={PROGRAM: PROGRAM_FOLDER})
    server = await ForkServer.open(lambda: make(spec), {})
    await server.close()
    return server.limitations
