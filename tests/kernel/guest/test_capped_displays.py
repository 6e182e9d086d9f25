"""Displays, results, errors and other messages of a cell are capped in the kernel."""

import re

from kernel_env.kernel import KernelClient
from kernel_env.kernel.connection.outputs import ERROR_BYTES
from kernel_env.kernel.guest.output_caps import MAX_DISPLAYS
from support.output_caps import (
    MB,
    resident_bytes,
)


async def test_too_large_display_is_replaced_by_a_note(kernel: KernelClient) -> None:
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


async def test_only_the_first_of_a_thousand_displays_are_shown(
    kernel: KernelClient,
) -> None:
    cell = await kernel.run("for n in range(1_000): display(n)\nraise ValueError", timeout_s=20)

    plain = [output["data"]["text/plain"] for output in cell.outputs[:-1]]
    assert plain[:-1] == [str(n) for n in range(MAX_DISPLAYS)]
    assert plain[-1].startswith("[more than 198 displays")
    assert cell.error is not None
    assert cell.dropped_bytes > 0


async def test_updated_display_shows_its_last_update(kernel: KernelClient) -> None:
    cell = await kernel.run(
        "handle = display('x', display_id=True)\n"
        "for n in range(1_000): handle.update({'text/plain': f'{n}' * 10_000}, raw=True)",
        timeout_s=20,
    )

    (output,) = cell.outputs
    assert output["data"]["text/plain"] == "999" * 10_000
    assert cell.dropped_bytes == 0


async def test_long_repr_shows_its_ends(kernel: KernelClient) -> None:
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


async def test_long_error_keeps_ends_of_message_and_end_of_traceback(
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


async def test_deep_traceback_shows_first_and_last_frames(
    kernel: KernelClient,
) -> None:
    code = "def f(n):\n    return f(n + 1) if n < 900 else 1 / 0\nf(0)"
    cell = await kernel.run(code, timeout_s=20)

    (error,) = cell.outputs
    trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error["traceback"]))
    assert 2 <= trace.count("in f(n)") <= 18  # older versions of IPython join similar frames
    assert trace.count("[... skipping similar frames: f at line 2 (883 times)]") == 1
    assert trace.endswith("ZeroDivisionError: division by zero")


async def test_comm_messages_and_payloads_are_bounded(kernel: KernelClient) -> None:
    host_before = resident_bytes()

    cell = await kernel.run(
        "from comm import create_comm\n"
        "for n in range(300): create_comm('t', {'deep': ['x' * 1_000_000] * 20}).send({'a': 'x' * 1_000_000})\n"
        "get_ipython().payload_manager.write_payload({'source': 's', 'text': 'x' * 30_000_000})",
        timeout_s=30,
    )

    assert cell.execution_count == 1
    assert cell.error is None
    assert resident_bytes() - host_before < 10 * MB
