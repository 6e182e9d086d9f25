"""Measure the output of a cell and the memory it takes."""

import re
from pathlib import Path

from kernel_env.kernel import KernelClient
from kernel_env.kernel.cell import Cell

NOTE = re.compile(r"\n\[… ([\d,]+) bytes of (?:stdout|stderr) left out …\]\n")
"""The note that takes the place of dropped text."""
MB = 1_000_000
READ_PEAK = (
    "int(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1]) * 1024"
)


def stream_text(cell: Cell, name: str = "stdout") -> str:
    """Return the text of a stream, including the note of what was left out."""
    return "".join(output["text"] for output in cell.outputs if output.get("name") == name)


def shown_text(cell: Cell, name: str = "stdout") -> str:
    """Return the text of a stream without the note."""
    return NOTE.sub("", stream_text(cell, name))


def utf8_size(value: str) -> int:
    """Return the size of a text in UTF-8 bytes."""
    return len(value.encode())


def resident_bytes() -> int:
    """Return the memory of this process in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


async def peak_bytes(kernel: KernelClient) -> int:
    """Return the peak memory of a kernel in bytes."""
    cell = await kernel.run(READ_PEAK, timeout_s=20)
    return int(cell.outputs[-1]["data"]["text/plain"])
