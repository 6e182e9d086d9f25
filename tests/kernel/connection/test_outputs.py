"""The outputs of a cell are collected from messages, in any order and of any content."""

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_env.kernel.connection.outputs import (
    DISPLAY_BYTES,
    HEAD_BYTES,
    MAX_OUTPUTS,
    TAIL_BYTES,
    OutputCollector,
    overwritten,
    size_of,
)

Message = tuple[str, object]
"""Kind and content of a message."""


def collect(*messages: Message) -> OutputCollector:
    """Collect the outputs of messages."""
    collector = OutputCollector()
    for kind, content in messages:
        collector.add(kind, content)
    return collector


def stream(text: str, name: str = "stdout") -> Message:
    """Build a message with text of a stream."""
    return "stream", {"name": name, "text": text}


def display(text: str, name: str | None = None) -> Message:
    """Build a message with a display, which can be updated if it has a name."""
    transient = {"display_id": name} if name else {}
    return "display_data", {"data": {"text/plain": text}, "metadata": {}, "transient": transient}


def texts(collector: OutputCollector) -> list[str]:
    """Return the text of each output."""
    return [o.get("text") or o.get("data", {}).get("text/plain") for o in collector.outputs()]


def test_consecutive_texts_of_one_stream_are_joined() -> None:
    collector = collect(stream("a"), stream("b\n"), stream("c", "stderr"), stream("d"))

    assert texts(collector) == ["ab\n", "c", "d"]


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("10%\r20%\r100%\n", "100%\n"),
        ("one\r\ntwo\r\n", "one\r\ntwo\r\n"),
        ("kept\nold\rnew", "kept\nnew"),
        ("waiting\r", "waiting\r"),
        ("ab\bc", "ac"),
        ("abc\b\b\bxyz", "xyz"),
        ("line\n\b", "line\n"),
        ("ü\bü", "ü"),
    ],
)
def test_carriage_returns_and_backspaces_overwrite_text(written: str, shown: str) -> None:
    assert overwritten(written.encode()).decode() == shown
    assert texts(collect(*(stream(c) for c in written))) == [shown]


def test_clear_output_clears_immediately_or_with_the_next_output() -> None:
    assert texts(collect(stream("a"), ("clear_output", {"wait": False}))) == []
    assert texts(collect(stream("a"), ("clear_output", {"wait": True}))) == ["a"]
    assert texts(collect(stream("a"), ("clear_output", {"wait": True}), display("b"))) == ["b"]
    assert texts(collect(stream("a"), ("clear_output", {"wait": True}), stream("b"))) == ["b"]


def test_an_update_replaces_every_display_with_its_id() -> None:
    update = ("update_display_data", display("new", "d")[1])

    collector = collect(display("old", "d"), stream("between"), display("old too", "d"), update)

    assert texts(collector) == ["new", "between", "new"]


def test_an_update_of_an_unknown_display_is_a_new_display() -> None:
    assert texts(collect(("update_display_data", display("new", "elsewhere")[1]))) == ["new"]


def test_a_long_stream_keeps_head_and_tail_and_counts_the_rest() -> None:
    lines = [f"{n}\n" for n in range(100_000)]
    written = "".join(lines)

    collector = collect(*(stream(line) for line in lines))
    (text,) = texts(collector)

    assert text.startswith("0\n1\n2\n")
    assert text.endswith("99998\n99999\n")
    assert len(text) < HEAD_BYTES + TAIL_BYTES + 100
    assert collector.left_out_bytes == len(written) - HEAD_BYTES - TAIL_BYTES
    assert f"{collector.left_out_bytes:,} bytes of stdout left out" in text


def test_a_progress_bar_that_is_redrawn_takes_no_space() -> None:
    collector = collect(*(stream(f"\r{n:9d} of many") for n in range(50_000)))

    assert texts(collector) == ["    49999 of many"]
    assert collector.left_out_bytes == 0


def test_a_display_beyond_the_limit_is_replaced_by_a_note() -> None:
    image = ("display_data", {"data": {"image/png": "x" * (DISPLAY_BYTES // 2 + 1)}})

    collector = collect(image, image)

    assert "image/png" in collector.outputs()[0]["data"]
    assert collector.outputs()[1]["data"]["text/plain"].startswith("[a display of 2,097,")
    assert collector.left_out_bytes > DISPLAY_BYTES // 2


def test_names_of_displays_count_and_are_cut() -> None:
    names = collect(
        *(("display_data", {"data": {str(n) + "k" * 1_400_000: ""}}) for n in range(20)),
        *(("display_data", {"data": {"text/plain": "x" * DISPLAY_BYTES}}) for n in range(3)),
        *[display("d", str(n) + "i" * 1_400_000) for n in range(20)],
        ("update_display_data", display("u", "7" + "i" * 1_400_000)[1]),
    )

    assert sum(map(size_of, names.outputs())) < 50_000
    assert texts(names)[-1] == "u"


def test_an_update_of_many_displays_counts_for_each() -> None:
    update = display("x" * (DISPLAY_BYTES // 10), "d")[1]

    collector = collect(*[display("a", "d")] * 150, ("update_display_data", update))

    assert sum(map(size_of, collector.outputs())) < DISPLAY_BYTES + 150 * 200
    assert texts(collector)[-1] == "[an update of this display left out]"


def test_text_with_very_many_control_characters_is_left_out() -> None:
    collector = collect(stream("a\b" * 30_000), stream("kept"))

    assert texts(collector) == ["kept"]
    assert collector.left_out_bytes == 60_000


def test_an_execution_count_that_is_no_count_is_left_out() -> None:
    counts: list[object] = [3, -1, 10**30, True, "3", None]

    collector = collect(*(("execute_result", {"execution_count": n}) for n in counts))

    assert [o["execution_count"] for o in collector.outputs()] == [3, None, None, None, None, None]


def test_an_error_is_kept_when_the_number_of_outputs_is_at_its_limit() -> None:
    error = ("error", {"ename": "E", "evalue": "v", "traceback": ["t"]})

    collector = collect(*([display("d")] * (MAX_OUTPUTS + 50)), error)

    assert len(collector.outputs()) == MAX_OUTPUTS
    assert collector.outputs()[-1]["ename"] == "E"


def test_repeated_messages_do_not_exceed_the_limits() -> None:
    big = "x" * 1_000_000
    shown = {"data": {"text/plain": "a"}, "transient": {"display_id": "q"}}
    update = {**shown, "data": {"text/plain": big}, "metadata": {"m": big}}
    error = {"ename": "E", "evalue": big, "traceback": [big] * 16}

    updates = collect(*([("display_data", shown)] * 150), ("update_display_data", update))
    metadata = collect(*([("display_data", update)] * 50))
    errors = collect(*([("error", error)] * 300))
    names = collect(*(("stream", {"name": f"n{n}", "text": "x" * 80_000}) for n in range(300)))

    for collector in (updates, metadata, errors, names):
        assert sum(map(size_of, collector.outputs())) < DISPLAY_BYTES + 4 * HEAD_BYTES + 1_000_000


def test_an_animation_keeps_its_last_frame() -> None:
    image = ("display_data", {"data": {"image/png": "x" * 100_000}})

    collector = collect(*([("clear_output", {"wait": True}), image] * 60))

    assert list(collector.outputs()[0]["data"]) == ["image/png"]


def test_deep_nesting_is_truncated() -> None:
    deep: object = 1
    for _ in range(900):
        deep = [deep]

    collector = collect(
        ("display_data", {"data": {"application/json": deep, "foo+json": {"a": 1}}})
    )

    data = collector.outputs()[0]["data"]
    assert str(data["application/json"]).count("[") == 50
    assert isinstance(data["foo+json"], str)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KINDS = st.sampled_from(
    ["stream", "display_data", "execute_result", "update_display_data", "error", "clear_output"]
)
FIELDS = st.dictionaries(
    st.sampled_from(
        [
            "name",
            "text",
            "data",
            "metadata",
            "transient",
            "execution_count",
            "ename",
            "evalue",
            "traceback",
            "wait",
        ]
    ),
    JSON,
)


@given(st.lists(st.tuples(KINDS, FIELDS | JSON), max_size=20))
def test_outputs_of_any_messages_are_valid_and_bounded(
    messages: list[Message],
) -> None:
    collector = collect(*messages)
    outputs = collector.outputs()

    cell = nbformat.v4.new_code_cell("", id="c", outputs=[nbformat.from_dict(o) for o in outputs])
    nbformat.validate(nbformat.v4.new_notebook(cells=[cell]))
    nbformat.writes(nbformat.v4.new_notebook(cells=[cell])).encode()
    assert sum(map(size_of, outputs)) < DISPLAY_BYTES + 4 * HEAD_BYTES


@given(st.lists(st.text(st.sampled_from("ab\r\n\b"), max_size=8), max_size=20))
def test_the_division_of_a_text_into_messages_does_not_matter(pieces: list[str]) -> None:
    whole = "".join(pieces)

    assert texts(collect(*map(stream, pieces))) == texts(collect(stream(whole)))
