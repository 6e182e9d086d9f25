"""A kernel whose connections are closed or corrupted is restored."""

import pytest

from support.faults import (
    FIND_SOCKETS,
    HUNG,
    NO_RESPONSE,
    Fault,
    Report,
    SharedKernel,
    assert_restored,
)

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

BROKEN_CONNECTIONS = {
    "its descriptors above 2 are closed": Fault(
        "os.closerange(3, 4096); time.sleep(9)", NO_RESPONSE
    ),
    "all its descriptors are closed": Fault("os.closerange(0, 4096); time.sleep(9)", NO_RESPONSE),
    "its ZMQ streams are closed": Fault(
        "k = get_ipython().kernel\nfor s in (k.shell_stream, k.control_stream): s.close()\n"
        "k.iopub_socket.close()\ntime.sleep(9)",
        NO_RESPONSE,
    ),
    "its ZMQ context is terminated": Fault(
        "get_ipython().kernel.parent.context.term()", NO_RESPONSE
    ),
    "its ZMQ context is destroyed": Fault(
        "get_ipython().kernel.parent.context.destroy()", NO_RESPONSE
    ),
    "random bytes are written to all its sockets": Fault(
        FIND_SOCKETS + "for n in sockets():\n"
        "    if n != channel:\n"
        "        try: os.set_blocking(n, False); os.write(n, os.urandom(1000))\n"
        "        except OSError: pass\n"
        "time.sleep(9)",
        NO_RESPONSE,
    ),
    "another program is executed": Fault("os.execv('/bin/sleep', ['sleep', '99'])", NO_RESPONSE),
    "another program is executed and keeps the sockets open": Fault(
        FIND_SOCKETS + "for n in sockets(): os.set_inheritable(n, True)\n"
        "os.execv('/bin/sleep', ['sleep', '99'])",
        HUNG,
    ),
    "its session key is replaced": Fault("get_ipython().kernel.session.key = b'other'", HUNG),
    "its session cannot send": Fault("get_ipython().kernel.session.send = None", HUNG),
}


@pytest.mark.parametrize("name", BROKEN_CONNECTIONS)
async def test_a_kernel_with_broken_connections_is_restored(
    name: str, shared_kernel: SharedKernel, report: Report
) -> None:
    async with shared_kernel.use() as kernel:
        report(name, await assert_restored(BROKEN_CONNECTIONS[name], kernel))
