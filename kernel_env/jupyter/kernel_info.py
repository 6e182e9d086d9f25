"""Describe a kernel to its clients."""

import asyncio
from typing import Any

from kernel_env.errors import KernelError
from kernel_env.jupyter.cell_output import REPLY_BYTES
from kernel_env.jupyter.executor import Executor
from kernel_env.kernel.connection.messages import INVALID, parsed_content
from kernel_env.kernel.connection.outputs import text_of

INFO_S = 10.0
"""Time limit for the kernel to tell its versions."""


async def kernel_info(executor: Executor) -> dict[str, Any]:
    """Return the content of a `kernel_info_reply`; only the versions are the kernel's own words.

    Raises `KernelError`.
    """
    try:
        if executor.kernel is None:
            raise KernelError("the kernel does not run")
        async with asyncio.timeout(INFO_S):
            reply = await executor.kernel.ask("kernel_info_request", {}, channel="control")
        found = parsed_content(reply.content, REPLY_BYTES)
        python = text_of(found["language_info"]["version"])[:20]
        implementation = text_of(found["implementation_version"])[:20]
    except TimeoutError:
        python = implementation = ""
    except INVALID as error:
        raise KernelError(f"invalid response of the kernel: {error}") from error
    return {
        "protocol_version": "5.4",
        "implementation": "ipython",
        "implementation_version": implementation,
        "banner": f"Python {python} in a sandbox of kernel_env",
        "help_links": [],
        "language_info": {
            "name": "python",
            "version": python,
            "mimetype": "text/x-python",
            "codemirror_mode": {"name": "ipython", "version": 3},
            "pygments_lexer": "ipython3",
            "nbconvert_exporter": "python",
            "file_extension": ".py",
        },
    }
