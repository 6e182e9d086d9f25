"""A notebook has the same outputs as with nbclient, which serves as the oracle."""

import json
import re
from typing import Any

import nbformat
import pytest
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from kernel_env.kernel import open_kernel
from kernel_env.sandbox.local import LocalSandbox
from kernel_env.sandbox.protocol import Spec
from support.kernels import KERNEL_FOLDERS

CELLS = [
    "print('a'); print('b')",
    "import sys\nprint('out'); sys.stdout.flush(); print('err', file=sys.stderr); sys.stderr.flush(); print('out again')",
    "1 + 1",
    "from IPython.display import HTML, display, clear_output, update_display, Markdown, JSON\n"
    "display(HTML('<b>bold</b>'), Markdown('*hi*')); 'last'",
    "print('gone'); clear_output(); print('stays')",
    "print('gone'); clear_output(wait=True); print('stays')",
    "handle = display('first', display_id='d'); print('between'); update_display('second', display_id='d')",
    "for n in range(5): print(f'\\r{n * 25}%', end='', flush=True)\nprint()",
    "print('windows\\r\\nline')",
    "import pandas as pd\npd.DataFrame({'a': [1, 2]})",
    "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.title('t'); None",
    "display(JSON({'a': [1, None, 'x']}))",
    "1 / 0",
    "raise ValueError('ünïcode ✓')",
    "def broken(:",
    "print('x' * 10_000)",
    "class Pretty:\n    def _repr_html_(self): return '<i>p</i>'\n    def __repr__(self): return 'p'\nPretty()",
    "_ = [print(i) for i in range(300)]",
    "%%timeit -n 1 -r 1 -q\npass",
    "!echo from a shell",
    "x = 5; x;",
    "import warnings; warnings.warn('careful')",
]


def comparable(output: dict[str, Any]) -> dict[str, Any]:
    """Return an output without what differs by chance: memory addresses and temporary paths."""
    text = json.dumps(output, sort_keys=True)
    text = re.sub(r"0x[0-9a-f]{6,}", "0x", text)
    text = re.sub(r"[^ \"]*ipykernel\S*?\.py", "ipykernel.py", text)
    value: dict[str, Any] = json.loads(text)
    if "data" in value:
        value["data"] = {
            kind: "".join(v) if isinstance(v, list) and kind.startswith("text/") else v
            for kind, v in value["data"].items()
        }
    return value


def merged(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Do what nbclient leaves to front ends: join consecutive texts and apply carriage returns."""
    joined: list[dict[str, Any]] = []
    for output in outputs:
        if (
            joined
            and output["output_type"] == "stream"
            and joined[-1].get("name") == output["name"]
        ):
            joined[-1]["text"] += output["text"]
        else:
            joined.append(dict(output))
    for output in joined:
        if output["output_type"] == "stream":
            output["text"] = re.sub(r".*\r(?=[^\n])", "", output["text"])
    return joined


@pytest.mark.filterwarnings("ignore")  # nbclient's own
async def test_outputs_are_the_same_as_with_nbclient() -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in CELLS])
    client = NotebookClient(
        notebook, km=AsyncKernelManager(kernel_name="python3"), allow_errors=True, timeout=60
    )
    await client.async_execute(cleanup_kc=True)
    expected = [
        [comparable(o) for o in merged(json.loads(json.dumps(cell.outputs)))]
        for cell in notebook.cells
    ]

    collected = []
    async with (
        LocalSandbox(Spec(folders=KERNEL_FOLDERS)) as sandbox,
        open_kernel(sandbox) as kernel,
    ):
        for code in CELLS:
            cell = await kernel.run(code, timeout_s=60)
            collected.append([comparable(output) for output in cell.outputs])
            assert cell.execution_count == len(collected)

    for code, actual, wanted in zip(CELLS, collected, expected, strict=True):
        assert actual == wanted, code
