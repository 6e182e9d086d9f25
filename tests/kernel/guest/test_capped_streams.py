"""Standard output and error of a cell are capped in the kernel, and counted to the byte."""

import asyncio

import pytest

from kernel_env.kernel import KernelClient
from kernel_env.kernel.guest import truncate
from support.output_caps import (
    MB,
    NOTE,
    peak_bytes,
    resident_bytes,
    shown_text,
    stream_text,
    utf8_size,
)

FLOODS = {
    "200 MB in pieces": ("for _ in range(200): print('x' * 999_999)", 200 * MB),
    "many small prints": ("for n in range(100_000): print('line')", 500_000),
    "one large text": ("print('x' * 100_000_000)", 100 * MB + 1),
    "not ASCII": ("for _ in range(300): print('ü✓😀' * 1_000, end='€')", 300 * 9_003),
    "one large text, not ASCII": ("print('ü✓😀' * 1_000_000)", 9 * MB + 1),
    "a program": (
        "import os; os.system('head -c 100000000 /dev/zero | tr \"\\\\0\" x');",
        100 * MB,
    ),
    "a program, not ASCII": (
        "import subprocess, sys\n"
        "subprocess.run([sys.executable, '-c', 'print(\"€\" * 3_000_000)'])",
        9 * MB + 1,
    ),
    "the descriptor": ("import os\nfor n in range(5_000): os.write(1, b'x' * 1_000);", 5 * MB),
    "forked children": (
        "import multiprocessing\n"
        "def work(n): print('x' * 999_999)\n"
        "with multiprocessing.get_context('fork').Pool(2) as pool: pool.map(work, range(10))",
        10 * MB,
    ),
    "threads": (
        "import threading\n"
        "def work():\n"
        "    for n in range(5_000): print('x' * 100)\n"
        "all_ = [threading.Thread(target=work) for _ in range(4)]\n"
        "for t in all_: t.start()\n"
        "for t in all_: t.join()",
        4 * 5_000 * 101,
    ),
}


@pytest.mark.parametrize("flood", FLOODS)
async def test_shown_and_dropped_bytes_add_up(kernel: KernelClient, flood: str) -> None:
    code, printed_bytes = FLOODS[flood]

    cell = await kernel.run(code, timeout_s=60)

    assert utf8_size(shown_text(cell)) + cell.dropped_bytes == printed_bytes
    assert f"[… {cell.dropped_bytes:,} bytes of stdout left out …]" in stream_text(cell)
    assert (
        truncate.HEAD_BYTES + truncate.TAIL_BYTES - 8
        <= utf8_size(shown_text(cell))
        <= truncate.HEAD_BYTES + truncate.TAIL_BYTES
    )
    assert cell.error is None


async def test_flood_of_output_does_not_fill_memory(any_kernel: KernelClient) -> None:
    await any_kernel.run("import os; print('x')", timeout_s=20)
    kernel_before, host_before = await peak_bytes(any_kernel), resident_bytes()

    for code, allocated_bytes in (
        ("for _ in range(200): print('x' * 1_000_000)", MB),
        ("for n in range(30_000): print(n, flush=True)", MB),
        ("os.system('head -c 100000000 /dev/zero');", MB),
        ("display({'text/plain': 'x' * 50_000_000}, raw=True)", 50 * MB),
        ("display({'image/png': b'x' * 50_000_000}, raw=True)", 50 * MB),
        ("'x' * 50_000_000;", 50 * MB),
        ("raise ValueError('x' * 50_000_000)", 50 * MB),
    ):
        cell = await any_kernel.run(code, timeout_s=60)

        assert cell.broke is None
        assert await peak_bytes(any_kernel) - kernel_before < allocated_bytes * 2 + 50 * MB
        assert resident_bytes() - host_before < 10 * MB
        kernel_before = max(kernel_before, await peak_bytes(any_kernel))


async def test_streams_are_capped_separately(kernel: KernelClient) -> None:
    cell = await kernel.run(
        "import sys\nfor n in range(200): print('o' * 999); print('e' * 1_999, file=sys.stderr)",
        timeout_s=20,
    )

    assert (
        utf8_size(shown_text(cell)) + utf8_size(shown_text(cell, "stderr")) + cell.dropped_bytes
        == 600_000
    )
    assert set(shown_text(cell)) == {"o", "\n"}
    assert set(shown_text(cell, "stderr")) == {"e", "\n"}
    assert [utf8_size(shown_text(cell, name)) for name in ("stdout", "stderr")] == [
        truncate.HEAD_BYTES + truncate.TAIL_BYTES
    ] * 2


async def test_order_of_prints_programs_and_descriptors_is_kept(kernel: KernelClient) -> None:
    code = "import os\nfor n in range({}): print('print', n); os.system(f'echo program {{n}}'); os.write(1, b'write\\n');"
    cell = await kernel.run(code.format(30), timeout_s=20)

    assert stream_text(cell) == "".join(f"print {n}\nprogram {n}\nwrite\n" for n in range(30))


async def test_text_before_a_result_or_error_is_shown_before_it(
    kernel: KernelClient,
) -> None:
    flood = "for n in range(50_000): print('line', n)\n"

    result = await kernel.run(flood + "6 * 7", timeout_s=20)
    error = await kernel.run(flood + "1 / 0", timeout_s=20)
    both = await kernel.run(flood + "display(1)\n" + flood + "raise ValueError", timeout_s=20)

    for cell, kind in ((result, "execute_result"), (error, "error")):
        assert [output["output_type"] for output in cell.outputs] == ["stream", kind]
        assert stream_text(cell).startswith("line 0\n")
        assert stream_text(cell).endswith("line 49999\n")
    assert [output["output_type"] for output in both.outputs] == [
        "stream",
        "display_data",
        "stream",
        "error",
    ]
    assert both.outputs[2]["text"].endswith("line 49999\n")
    assert utf8_size(shown_text(both)) + both.dropped_bytes == 2 * sum(
        len(f"line {n}\n") for n in range(50_000)
    )


async def test_progress_bar_can_be_redrawn_without_limit(kernel: KernelClient) -> None:
    cell = await kernel.run(
        "for n in range(50_000): print(f'\\r{n:9d} of many', end='', flush=True)\nprint('\\nend')",
        timeout_s=30,
    )

    assert stream_text(cell) == "    49999 of many\nend\n"
    assert cell.dropped_bytes == 0


async def test_cleared_output_keeps_the_last_text(kernel: KernelClient) -> None:
    cell = await kernel.run(
        "from IPython.display import clear_output\n"
        "for n in range(1_000): clear_output(wait=True); print('x' * 100, n)",
        timeout_s=30,
    )

    assert stream_text(cell) == "x" * 100 + " 999\n"


async def test_output_after_a_cell_is_capped_and_reported_with_the_next(
    kernel: KernelClient,
) -> None:
    await kernel.run(
        "import subprocess, threading, time\n"
        "def late():\n"
        "    time.sleep(0.2)\n"
        "    for n in range(10_000): print('x' * 99)\n"
        "    subprocess.run(['head', '-c', '1000000', '/dev/zero'])\n"
        "thread = threading.Thread(target=late); thread.start()",
        timeout_s=20,
    )
    await asyncio.sleep(1)

    cell = await kernel.run("thread.join(); print('from the cell')", timeout_s=20)
    after = await kernel.run("1;", timeout_s=20)

    late = "".join(output["text"] for output in (*cell.late, *after.late))
    assert stream_text(cell) == "from the cell\n"
    assert utf8_size(NOTE.sub("", late)) + cell.dropped_bytes == 2 * MB
    assert utf8_size(late) < truncate.HEAD_BYTES + 2 * truncate.TAIL_BYTES
    assert after.dropped_bytes == 0


async def test_interrupted_cell_reports_dropped_bytes(kernel: KernelClient) -> None:
    cell = await kernel.run("while True: print('x' * 999)", timeout_s=0.5)
    after = await kernel.run("print('next')", timeout_s=20)

    assert cell.timed_out
    assert f"{cell.dropped_bytes:,} bytes of stdout left out" in stream_text(cell)
    assert (utf8_size(shown_text(cell)) + cell.dropped_bytes) % 1_000 in (0, 999)
    assert stream_text(after) == "next\n"
    assert after.dropped_bytes == 0


async def test_ipython_keeps_no_copy_of_the_output(kernel: KernelClient) -> None:
    await kernel.run("print('x' * 1_000)", timeout_s=20)
    await kernel.run("display(1); 'a result'", timeout_s=20)
    await kernel.run("1 / 0", timeout_s=20)

    cell = await kernel.run(
        "h = get_ipython().history_manager\n"
        "[len(kept) for kept in (h.outputs, h.exceptions, h.output_hist_reprs)], Out[2]",
        timeout_s=20,
    )

    assert cell.outputs[0]["data"]["text/plain"] == "([0, 0, 0], 'a result')"
