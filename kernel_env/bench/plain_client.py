"""A plain client in a process of its own, so that what it costs can be told apart from ours.

    python -m kernel_env.bench.plain_client '{"connection": {…}, "cells": ["…"]}'

A line of JSON for each cell: seconds, growth of this process in MB, the text it printed.
"""

import json
import sys
import time

from jupyter_client.blocking.client import BlockingKernelClient

from kernel_env.bench.baselines import bare_run
from kernel_env.bench.measure import peak_mb, resident_mb

CELL_S = 120.0
TEXT = 1000


def main() -> None:
    """Connect, run the cells, say what they cost."""
    given = json.loads(sys.argv[1])
    client = BlockingKernelClient()
    client.load_connection_info(given["connection"])
    client.start_channels(stdin=False)
    client.wait_for_ready(timeout=60)
    for code in given["cells"]:
        before = resident_mb()
        peak_mb(since_now=True)
        began = time.perf_counter()
        said = bare_run(client, code, timeout_s=CELL_S)
        seconds = time.perf_counter() - began
        text = "".join(str(content.get("text", ""))[:TEXT] for content in said[:TEXT])[:TEXT]
        told = {"seconds": seconds, "grown_mb": max(0.0, peak_mb() - before), "text": text}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
