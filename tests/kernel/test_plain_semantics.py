"""Cells mean what they mean in any Jupyter kernel: imports, arguments, magics, pages, text."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from kernel_env.kernel.recoverable import RecoverableKernel
from kernel_env.sandbox.protocol import Spec
from support.kernels import KERNEL_FOLDERS, cell_text, recoverable_kernel, run_cell

pytestmark = pytest.mark.asyncio(loop_scope="module")

CRASH = "import os; os._exit(1)"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def only_kernel() -> AsyncIterator[RecoverableKernel]:
    """The kernel that the tests of this file share."""
    async with recoverable_kernel(Spec(folders=KERNEL_FOLDERS), "local") as kernel:
        yield kernel


@pytest_asyncio.fixture(loop_scope="module")
async def kernel(only_kernel: RecoverableKernel) -> RecoverableKernel:
    """A pristine kernel."""
    await only_kernel.reset()
    return only_kernel


# ── modules and arguments ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["mod", "guest", "boot", "standby", "fork"])
async def test_a_module_that_a_cell_writes_can_be_imported(
    kernel: RecoverableKernel, name: str
) -> None:
    await run_cell(kernel, f"open('{name}.py', 'w').write('x = 41')")

    before = await run_cell(kernel, f"import {name}; {name}.x + 1")
    await run_cell(kernel, CRASH)
    after = await run_cell(kernel, f"{name}.x + 1")

    assert cell_text(before) == cell_text(after) == "42"


async def test_modules_of_the_workspace_come_after_the_standard_library(
    kernel: RecoverableKernel,
) -> None:
    await run_cell(kernel, "open('this.py', 'w').write('raise ImportError')")

    cell = await run_cell(
        kernel, "import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()): import this"
    )

    assert cell.error is None


async def test_a_cell_can_parse_its_arguments(kernel: RecoverableKernel) -> None:
    cell = await run_cell(
        kernel,
        "import argparse; parser = argparse.ArgumentParser()\n"
        "parser.add_argument('--rate', default=0.1); parser.parse_args().rate",
    )

    assert cell_text(cell) == "0.1"


# ── pages, magics, displays ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("len?", "Return the number of items in a container"),
        ("def f(): return 'its code'\nget_ipython().run_line_magic('pinfo2', 'f')", "its code"),
        ("%pinfo len", "Return the number of items in a container"),
        ("%prun sum(range(10))", "function calls"),
        ("%load written.py", "y = 3"),
    ],
)
async def test_pages_and_loaded_code_are_part_of_the_output(
    kernel: RecoverableKernel, code: str, shown: str
) -> None:
    await run_cell(kernel, "open('written.py', 'w').write('y = 3')")

    cell = await run_cell(kernel, code)

    assert shown in cell_text(cell)


async def test_text_of_c_code_appears_in_its_cell(kernel: RecoverableKernel) -> None:
    cell = await run_cell(kernel, "import ctypes; ctypes.CDLL(None).printf(b'no line break'); None")

    assert cell_text(cell) == "no line break"


@pytest.mark.parametrize(
    "code",
    [
        "raise ValueError('bad \\ud800 token')",
        "print('bad \\ud800 token')",
        "print('bad \\udc00 token')",
        "'bad \\ud800 token'",
        "from IPython.display import Markdown; Markdown('bad \\ud800 token')",
        "import sys; sys.stderr.write('bad \\ud800 token'); None",
    ],
)
async def test_half_a_surrogate_pair_appears_as_an_escape(
    kernel: RecoverableKernel, code: str
) -> None:
    cell = await run_cell(kernel, code)

    texts = [str(output) for output in cell.outputs]
    assert any("bad" in text and "token" in text and "\\ud" in text for text in texts), texts
    assert (cell.error is not None) == code.startswith("raise")


async def test_tracebacks_show_no_frames_of_the_kernel_program(kernel: RecoverableKernel) -> None:
    cell = await run_cell(kernel, "class Broken:\n    def __repr__(self): return 1 / 0\nBroken()")

    assert "ZeroDivisionError" in str(cell.outputs)
    assert "output_caps" not in str(cell.outputs)


# ── interrupts and changes ────────────────────────────────────────────────────────────────


async def test_a_cell_that_awaits_is_interrupted_and_keeps_its_variables(
    kernel: RecoverableKernel,
) -> None:
    cell = await run_cell(kernel, "import asyncio; x = 41\nawait asyncio.sleep(60)", timeout_s=0.5)
    after = await run_cell(kernel, "x + 1")

    assert cell.timed_out
    assert cell.recovery is None
    assert cell_text(after) == "42"


async def test_a_name_that_is_imported_over_a_variable_is_not_deleted(
    kernel: RecoverableKernel,
) -> None:
    await run_cell(kernel, "f = 1; g = 2")

    cell = await run_cell(kernel, "from math import sin as f; del g")

    assert [(v.name, v.change) for v in cell.variables] == [("g", "deleted")]
