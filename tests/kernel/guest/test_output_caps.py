"""What a cell says is capped in the kernel itself: counted to the byte, and nothing piles up."""

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kernel_env import plugins
from kernel_env.kernel import KernelClient, open_kernel
from kernel_env.kernel.cell import Cell
from kernel_env.kernel.connection.client import Running, finished
from kernel_env.kernel.connection.launch import PROGRAM, PROGRAM_FOLDER
from kernel_env.kernel.connection.outputs import ERROR_BYTES, HEAD_BYTES, TAIL_BYTES, overwritten
from kernel_env.kernel.guest import truncate
from kernel_env.kernel.guest.output_caps import MOST_DISPLAYS
from kernel_env.sandbox.conformance import SMALL

SPEC = replace(SMALL, memory_gb=1, folders={PROGRAM: PROGRAM_FOLDER}, processes=256)
NOTE = re.compile(r"\n\[… ([\d,]+) bytes of (?:stdout|stderr) left out …\]\n")
MB = 1_000_000
PEAK = "int(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1]) * 1024"


@pytest.fixture
async def kernel() -> AsyncIterator[KernelClient]:
    async with plugins.find("sandbox", "local")(SPEC) as box, open_kernel(box) as opened:
        yield opened


@pytest.fixture
async def either(sandbox: str) -> AsyncIterator[KernelClient]:
    """A kernel in each of the sandboxes."""
    async with plugins.find("sandbox", sandbox)(SPEC) as box, open_kernel(box) as opened:
        yield opened


def text(cell: Cell, name: str = "stdout") -> str:
    return "".join(output["text"] for output in cell.outputs if output.get("name") == name)


def shown(cell: Cell, name: str = "stdout") -> str:
    """The stream's own text, without our note."""
    return NOTE.sub("", text(cell, name))


def size(value: str) -> int:
    return len(value.encode())


def resident() -> int:
    """Bytes of this process in memory."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


async def peak(kernel: KernelClient) -> int:
    cell = await kernel.run(PEAK, timeout_s=20)
    return int(cell.outputs[-1]["data"]["text/plain"])


# ── streams ───────────────────────────────────────────────────────────────────────────────

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
async def test_what_is_shown_and_what_is_left_out_add_up_to_the_byte(
    kernel: KernelClient, flood: str
) -> None:
    code, printed = FLOODS[flood]

    cell = await kernel.run(code, timeout_s=60)

    assert size(shown(cell)) + cell.dropped_bytes == printed
    assert f"[… {cell.dropped_bytes:,} bytes of stdout left out …]" in text(cell)
    assert truncate.HEAD + truncate.TAIL - 8 <= size(shown(cell)) <= truncate.HEAD + truncate.TAIL
    assert cell.error is None


async def test_a_flood_costs_neither_the_kernel_nor_the_host_memory(either: KernelClient) -> None:
    await either.run("import os; print('x')", timeout_s=20)
    kernel_before, host_before = await peak(either), resident()

    for code, allocated in (
        ("for _ in range(200): print('x' * 1_000_000)", MB),
        ("for n in range(30_000): print(n, flush=True)", MB),
        ("os.system('head -c 100000000 /dev/zero');", MB),
        ("display({'text/plain': 'x' * 50_000_000}, raw=True)", 50 * MB),
        ("display({'image/png': b'x' * 50_000_000}, raw=True)", 50 * MB),
        ("'x' * 50_000_000;", 50 * MB),
        ("raise ValueError('x' * 50_000_000)", 50 * MB),
    ):
        cell = await either.run(code, timeout_s=60)

        assert cell.broke is None
        assert await peak(either) - kernel_before < allocated * 2 + 50 * MB
        assert resident() - host_before < 10 * MB
        kernel_before = max(kernel_before, await peak(either))


async def test_the_two_streams_are_capped_apart(kernel: KernelClient) -> None:
    cell = await kernel.run(
        "import sys\nfor n in range(200): print('o' * 999); print('e' * 1_999, file=sys.stderr)",
        timeout_s=20,
    )

    assert size(shown(cell)) + size(shown(cell, "stderr")) + cell.dropped_bytes == 600_000
    assert set(shown(cell)) == {"o", "\n"}
    assert set(shown(cell, "stderr")) == {"e", "\n"}
    assert [size(shown(cell, name)) for name in ("stdout", "stderr")] == [
        truncate.HEAD + truncate.TAIL
    ] * 2


async def test_the_order_of_prints_programs_and_descriptors_is_kept(kernel: KernelClient) -> None:
    code = "import os\nfor n in range({}): print('print', n); os.system(f'echo program {{n}}'); os.write(1, b'write\\n');"
    cell = await kernel.run(code.format(30), timeout_s=20)

    assert text(cell) == "".join(f"print {n}\nprogram {n}\nwrite\n" for n in range(30))


async def test_the_text_before_a_result_or_an_error_is_shown_before_it(
    kernel: KernelClient,
) -> None:
    flood = "for n in range(50_000): print('line', n)\n"

    result = await kernel.run(flood + "6 * 7", timeout_s=20)
    error = await kernel.run(flood + "1 / 0", timeout_s=20)
    both = await kernel.run(flood + "display(1)\n" + flood + "raise ValueError", timeout_s=20)

    for cell, kind in ((result, "execute_result"), (error, "error")):
        assert [output["output_type"] for output in cell.outputs] == ["stream", kind]
        assert text(cell).startswith("line 0\n")
        assert text(cell).endswith("line 49999\n")
    assert [output["output_type"] for output in both.outputs] == [
        "stream",
        "display_data",
        "stream",
        "error",
    ]
    assert both.outputs[2]["text"].endswith("line 49999\n")
    assert size(shown(both)) + both.dropped_bytes == 2 * sum(
        len(f"line {n}\n") for n in range(50_000)
    )


async def test_a_progress_bar_may_be_redrawn_for_ever(kernel: KernelClient) -> None:
    cell = await kernel.run(
        "for n in range(50_000): print(f'\\r{n:9d} of many', end='', flush=True)\nprint('\\nend')",
        timeout_s=30,
    )

    assert text(cell) == "    49999 of many\nend\n"
    assert cell.dropped_bytes == 0


async def test_an_animation_of_text_keeps_its_last_picture(kernel: KernelClient) -> None:
    cell = await kernel.run(
        "from IPython.display import clear_output\n"
        "for n in range(1_000): clear_output(wait=True); print('x' * 100, n)",
        timeout_s=30,
    )

    assert text(cell) == "x" * 100 + " 999\n"


async def test_what_goes_on_after_a_cell_is_bounded_and_told_with_the_next(
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
    assert text(cell) == "from the cell\n"
    assert size(NOTE.sub("", late)) + cell.dropped_bytes == 2 * MB
    assert size(late) < truncate.HEAD + 2 * truncate.TAIL
    assert after.dropped_bytes == 0


async def test_a_cell_that_is_interrupted_tells_what_it_left_out(kernel: KernelClient) -> None:
    cell = await kernel.run("while True: print('x' * 999)", timeout_s=0.5)
    after = await kernel.run("print('next')", timeout_s=20)

    assert cell.timed_out
    assert f"{cell.dropped_bytes:,} bytes of stdout left out" in text(cell)
    assert (size(shown(cell)) + cell.dropped_bytes) % 1_000 in (0, 999)
    assert text(after) == "next\n"
    assert after.dropped_bytes == 0


async def test_ipython_keeps_no_copy_of_what_was_shown(kernel: KernelClient) -> None:
    await kernel.run("print('x' * 1_000)", timeout_s=20)
    await kernel.run("display(1); 'a result'", timeout_s=20)
    await kernel.run("1 / 0", timeout_s=20)

    cell = await kernel.run(
        "h = get_ipython().history_manager\n"
        "[len(kept) for kept in (h.outputs, h.exceptions, h.output_hist_reprs)], Out[2]",
        timeout_s=20,
    )

    assert cell.outputs[0]["data"]["text/plain"] == "([0, 0, 0], 'a result')"


# ── displays and other messages ───────────────────────────────────────────────────────────


async def test_a_display_that_is_too_large_leaves_a_note_in_its_place(kernel: KernelClient) -> None:
    cell = await kernel.run(
        "display({'text/plain': 'plain', 'text/html': 'x' * 50_000_000}, raw=True)\n"
        "display({'text/plain': 'a'}, raw=True, metadata={'m': 'x' * 50_000_000})\n"
        "display('small')",
        timeout_s=20,
    )

    plain = [output["data"]["text/plain"] for output in cell.outputs]
    assert plain[0].startswith("[a display of 50,000,0")
    assert plain[0].endswith(" bytes left out: text/plain, text/html]\nplain")
    assert plain[1].startswith("[a display of 50,000,0")
    assert plain[2] == "'small'"
    assert 0 < cell.dropped_bytes - 100 * MB < 100


async def test_of_a_thousand_displays_the_first_are_shown_and_one_note(
    kernel: KernelClient,
) -> None:
    cell = await kernel.run("for n in range(1_000): display(n)\nraise ValueError", timeout_s=20)

    plain = [output["data"]["text/plain"] for output in cell.outputs[:-1]]
    assert plain[:-1] == [str(n) for n in range(MOST_DISPLAYS)]
    assert plain[-1].startswith("[more than 198 displays")
    assert cell.error is not None
    assert cell.dropped_bytes > 0


async def test_a_display_that_is_updated_ends_as_it_was_last_updated(kernel: KernelClient) -> None:
    cell = await kernel.run(
        "handle = display('x', display_id=True)\n"
        "for n in range(1_000): handle.update({'text/plain': f'{n}' * 10_000}, raw=True)",
        timeout_s=20,
    )

    (output,) = cell.outputs
    assert output["data"]["text/plain"] == "999" * 10_000
    assert cell.dropped_bytes == 0


async def test_of_a_long_repr_the_ends_are_shown(kernel: KernelClient) -> None:
    cell = await kernel.run("'a' + 'x' * 5_000_000 + 'z'", timeout_s=20)
    other = await kernel.run(
        "class Long:\n    def __repr__(self): return 'a' + 'x' * 5_000_000 + 'z'\n[Long()]",
        timeout_s=20,
    )

    for shown_as in (cell.outputs[0], other.outputs[0]):
        plain = shown_as["data"]["text/plain"].strip("[]'")
        assert plain.startswith("axxx")
        assert plain.endswith("xxxz")
        assert "characters left out …]" in plain
        assert len(plain) < 300_000
    assert cell.dropped_bytes > 4 * MB


async def test_of_an_error_the_ends_of_its_message_and_the_end_of_its_traceback_are_kept(
    kernel: KernelClient,
) -> None:
    cell = await kernel.run("raise ValueError('a' + 'x' * 50_000_000 + 'z')", timeout_s=20)
    deep = await kernel.run("def f(n): return f(n + 1)\nf(0)", timeout_s=30)

    assert cell.error is not None
    assert cell.error.value.startswith("axxx")
    assert cell.error.value.endswith("xxxz")
    assert "49,938,562 characters left out" in cell.error.value
    assert cell.error.traceback[-1].endswith("xxxz")
    assert deep.error is not None
    assert deep.error.name == "RecursionError"
    assert "maximum recursion depth" in deep.error.traceback[-1]
    for error in (cell.error, deep.error):
        assert sum(map(len, error.traceback)) < 2 * ERROR_BYTES


async def test_of_a_deep_traceback_the_first_and_the_last_frames_are_shown(
    kernel: KernelClient,
) -> None:
    code = "def f(n):\n    return f(n + 1) if n < 900 else 1 / 0\nf(0)"
    cell = await kernel.run(code, timeout_s=20)

    (error,) = cell.outputs
    trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error["traceback"]))
    assert trace.count("in f(n)") == 18
    assert trace.count("[... skipping similar frames: f at line 2 (883 times)]") == 1
    assert trace.endswith("ZeroDivisionError: division by zero")


async def test_comm_messages_and_payloads_are_bounded(kernel: KernelClient) -> None:
    host_before = resident()

    cell = await kernel.run(
        "from comm import create_comm\n"
        "for n in range(300): create_comm('t', {'deep': ['x' * 1_000_000] * 20}).send({'a': 'x' * 1_000_000})\n"
        "get_ipython().payload_manager.write_payload({'source': 's', 'text': 'x' * 30_000_000})",
        timeout_s=30,
    )

    assert cell.execution_count == 1
    assert cell.error is None
    assert resident() - host_before < 10 * MB


# ── the host ──────────────────────────────────────────────────────────────────────────────


def test_the_host_shows_a_capped_stream_as_it_is() -> None:
    notes = 10 * len("\n[… 1,000,000,000,000 bytes of stdout left out …]\n".encode())

    assert truncate.HEAD + 2 * truncate.TAIL + notes < HEAD_BYTES + TAIL_BYTES
    assert truncate.FIELD + 100 < ERROR_BYTES


@pytest.mark.parametrize(
    "told", [None, 7, [], {"stdout": -5}, {"stdout": "9"}, {"stdout": 1.5, "display": True}]
)
def test_a_count_that_is_none_counts_nothing(told: object) -> None:
    cell = Running("id", reply={"kernel_env": {"dropped": told}})

    value = finished(cell, (), seconds=0, timed_out=False, broke=None)

    assert value.dropped_bytes == 0


async def test_a_host_that_is_busy_for_a_while_misses_nothing(kernel: KernelClient) -> None:
    running = asyncio.create_task(
        kernel.run(
            "for n in range(2_000): print(n, flush=True)\n"
            "for n in range(90): print(n); display(n)\n",
            timeout_s=20,
        )
    )
    await asyncio.sleep(0.05)
    time.sleep(1)  # the loop that reads is held up

    cell = await running

    assert text(cell) == "".join(f"{n}\n" for n in (*range(2_000), *range(90)))
    assert sum(output["output_type"] == "display_data" for output in cell.outputs) == 90
    assert cell.dropped_bytes == 0


async def test_a_kernel_that_undid_its_caps_does_not_fill_the_host(kernel: KernelClient) -> None:
    host_before = resident()

    cell = await kernel.run(
        "k = get_ipython().kernel\n"
        "for n in range(60):\n"
        "    content = {'name': 'stdout', 'text': 'x' * 8_000_000}\n"
        "    k.caps._session_send(k.iopub_socket, 'stream', content, k.get_parent())",
        timeout_s=30,
    )

    assert size(text(cell)) < HEAD_BYTES + TAIL_BYTES + 100
    assert resident() - host_before < 350 * MB


# ── a forked copy of the kernel ───────────────────────────────────────────────────────────

FORKED = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
import zmq
from ipykernel.iostream import IOPubThread
from jupyter_client.session import Session
from guest.output_stream import Stream

session = Session()
def connect():
    context = zmq.Context()
    publisher, reader = context.socket(zmq.PUB), context.socket(zmq.SUB)
    reader.subscribe(b"")
    publisher.bind("inproc://iopub")
    reader.connect("inproc://iopub")
    thread = IOPubThread(publisher)
    thread.start()
    return thread, reader

def heard(reader):
    said = ""
    while reader.poll(300):
        parts = reader.recv_multipart()
        _, rest = session.feed_identities(parts)
        said += session.deserialize(rest)["content"]["text"]
    return said

keep = [connect()]
stream = Stream(session, keep[0][0], "stdout")
stream.write("x" * 100_000)
os.system("echo parent")
child = os.fork()
if child:
    _, status = os.waitpid(child, 0)
    stream.finish()
    said = heard(keep[0][1])
    assert said.endswith("parent\\n"), said[-50:]
    assert "child" not in said
    os._exit(status >> 8)
try:
    keep.append(connect())
    stream.reconnect(keep[1][0])
    session.pid = os.getpid()
    stream.begin()
    stream.write("child\\n")
    os.system("echo program")
    stream.write("y" * 100_000)
    left_out = stream.finish()
    said = heard(keep[1][1])
    assert said.startswith("child\\nprogram\\nyyy"), said[:50]
    assert left_out == 100_014 - 80 * 1024, left_out
    os._exit(0)
except BaseException as error:
    os.write(2, repr(error).encode())
    os._exit(1)
"""


def test_a_forked_copy_speaks_for_itself_once_it_is_reconnected(tmp_path: Path) -> None:
    program = tmp_path / "forked.py"
    program.write_text(FORKED)

    done = subprocess.run(
        [sys.executable, program, PROGRAM_FOLDER.parent], env={}, capture_output=True, timeout=60
    )

    assert done.returncode == 0, done.stderr.decode()


# ── pure ──────────────────────────────────────────────────────────────────────────────────

PIECES = st.lists(
    st.one_of(
        st.text(st.sampled_from("ab\nü✓😀\ud800"), max_size=50),
        st.builds(
            str.__mul__, st.sampled_from(["x", "ü", "a✓", "😀"]), st.integers(0, 3 * truncate.TAIL)
        ),
    ),
    max_size=12,
)
HELD = st.lists(st.booleans(), min_size=12, max_size=12)


@given(PIECES, HELD)
def test_however_a_text_is_cut_into_pieces_head_tail_and_count_are_right(
    pieces: list[str], before_a_display: list[bool]
) -> None:
    whole = "".join(pieces).encode(errors="replace")
    cap = truncate.Cap()

    said = ""
    for piece, display in zip(pieces, before_a_display, strict=False):
        said += cap.take(piece)
        said += cap.rest(last=False) if display else ""
    said += cap.rest(last=True)

    kept = NOTE.sub("", said).encode()
    assert len(kept) + cap.dropped == len(whole)
    assert sum(int(n.replace(",", "")) for n in NOTE.findall(said)) == cap.dropped
    assert kept[: truncate.HEAD - 3] == whole[: truncate.HEAD - 3]
    assert kept[-400:] == whole[-400:]
    assert len(kept) <= truncate.HEAD + 2 * truncate.TAIL
    if not any(before_a_display):
        assert len(kept) >= min(len(whole), truncate.HEAD + truncate.TAIL - 6)


@given(st.lists(st.text(st.sampled_from("ab\r\n"), max_size=8), max_size=20))
@example(["aaa\r\r\n"])
@example(["aaa\r", "", "\r\n"])
def test_what_a_carriage_return_overwrites_is_seen_by_nobody(pieces: list[str]) -> None:
    cap = truncate.Cap()

    said = "".join(map(cap.take, [*pieces, "x"]))

    seen = overwritten("".join([*pieces, "x"]).encode())
    assert overwritten(said.encode()) == seen
    assert (
        len(seen.replace(b"\r", b""))
        <= truncate.HEAD - cap.room
        <= len(seen) + said.count("\r") + 1
    )
    assert cap.dropped == 0


@given(
    st.recursive(
        st.text(max_size=5) | st.integers() | st.builds("x".__mul__, st.integers(0, 10**6)),
        lambda inner: st.lists(inner, max_size=300) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=20,
    )
)
def test_a_shortened_value_is_small_and_a_small_one_is_not_changed(value: object) -> None:
    short = truncate.shortened(value)

    assert truncate.size_of(short) < 2 * truncate.WHOLE
    if truncate.size_of(value) < 1000:
        assert short == value


def test_a_value_without_end_is_measured_and_shortened_in_no_time() -> None:
    endless: list[object] = []
    endless += [endless] * 1000

    assert truncate.size_of(endless) >= 0
    assert truncate.size_of(truncate.shortened(endless)) < 2 * truncate.WHOLE
