"""Run cells with jupyter_client alone, in a separate process whose memory can be measured.

    python -m kernel_env.bench.plain_client '{"connection": {…}, "cells": ["…"]}'

Prints a line of JSON for each cell: its seconds, the growth of this process in MB, its text output.
"""

import json
import sys
import time

from jupyter_client.blocking.client import BlockingKernelClient

from kernel_env.bench.baselines import run_cell
from kernel_env.bench.measure import peak_mb, resident_mb

CELL_S = 120.0
"""Time limit of a cell in seconds."""
MAX_TEXT = 1000
"""Most characters of a cell's output that are returned."""


def main() -> None:
    """Connect to the kernel, run the cells and print the cost of each."""
    arguments = json.loads(sys.argv[1])
    client = BlockingKernelClient()
    client.load_connection_info(arguments["connection"])
    client.start_channels(stdin=False)
    client.wait_for_ready(timeout=60)
    for code in arguments["cells"]:
        before = resident_mb()
        peak_mb(reset=True)
        began = time.perf_counter()
        outputs = run_cell(client, code, timeout_s=CELL_S)
        seconds = time.perf_counter() - began
        text = "".join(str(content.get("text", ""))[:MAX_TEXT] for content in outputs[:MAX_TEXT])[
            :MAX_TEXT
        ]
        cost = {"seconds": seconds, "grown_mb": max(0.0, peak_mb() - before), "text": text}
        sys.stdout.write(json.dumps(cost) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
