"""Folding messages into outputs is pure: it is tested on messages, made up and at random."""

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


def fold(*messages: tuple[str, object]) -> OutputCollector:
    folded = OutputCollector()
    for kind, content in messages:
        folded.add(kind, content)
    return folded


def stream(text: str, name: str = "stdout") -> tuple[str, object]:
    return "stream", {"name": name, "text": text}


def display(text: str, name: str | None = None) -> tuple[str, object]:
    transient = {"display_id": name} if name else {}
    return "display_data", {"data": {"text/plain": text}, "metadata": {}, "transient": transient}


def texts(folded: OutputCollector) -> list[str]:
    return [o.get("text") or o.get("data", {}).get("text/plain") for o in folded.outputs()]


def test_text_of_one_stream_joins_and_of_another_does_not() -> None:
    folded = fold(stream("a"), stream("b\n"), stream("c", "stderr"), stream("d"))

    assert texts(folded) == ["ab\n", "c", "d"]


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("10%\r20%\r100%\n", "100%\n"),
        ("one\r\ntwo\r\n", "one\r\ntwo\r\n"),
        ("kept\nlost\rwon", "kept\nwon"),
        ("waiting\r", "waiting\r"),
        ("ab\bc", "ac"),
        ("abc\b\b\bxyz", "xyz"),
        ("line\n\b", "line\n"),
        ("ü\bü", "ü"),
    ],
)
def test_a_line_is_started_over_and_characters_are_taken_back(written: str, seen: str) -> None:
    assert overwritten(written.encode()).decode() == seen
    assert texts(fold(*(stream(c) for c in written))) == [seen]


def test_clear_output_clears_at_once_or_with_the_next_output() -> None:
    assert texts(fold(stream("a"), ("clear_output", {"wait": False}))) == []
    assert texts(fold(stream("a"), ("clear_output", {"wait": True}))) == ["a"]
    assert texts(fold(stream("a"), ("clear_output", {"wait": True}), display("b"))) == ["b"]
    assert texts(fold(stream("a"), ("clear_output", {"wait": True}), stream("b"))) == ["b"]


def test_an_update_replaces_every_display_of_that_name() -> None:
    update = ("update_display_data", display("new", "d")[1])

    folded = fold(display("old", "d"), stream("between"), display("old too", "d"), update)

    assert texts(folded) == ["new", "between", "new"]


def test_an_update_of_an_unknown_display_is_shown_where_it_happens() -> None:
    assert texts(fold(("update_display_data", display("new", "elsewhere")[1]))) == ["new"]


def test_of_a_long_stream_head_and_tail_are_kept_and_the_rest_is_counted() -> None:
    lines = [f"{n}\n" for n in range(100_000)]
    written = "".join(lines)

    folded = fold(*(stream(line) for line in lines))
    (text,) = texts(folded)

    assert text.startswith("0\n1\n2\n")
    assert text.endswith("99998\n99999\n")
    assert len(text) < HEAD_BYTES + TAIL_BYTES + 100
    assert folded.left_out_bytes == len(written) - HEAD_BYTES - TAIL_BYTES
    assert f"{folded.left_out_bytes:,} bytes of stdout left out" in text


def test_a_progress_bar_may_be_redrawn_for_ever() -> None:
    folded = fold(*(stream(f"\r{n:9d} of many") for n in range(50_000)))

    assert texts(folded) == ["    49999 of many"]
    assert folded.left_out_bytes == 0


def test_displays_beyond_the_limit_leave_a_note() -> None:
    image = ("display_data", {"data": {"image/png": "x" * (DISPLAY_BYTES // 2 + 1)}})

    folded = fold(image, image)

    assert "image/png" in folded.outputs()[0]["data"]
    assert folded.outputs()[1]["data"]["text/plain"].startswith("[a display of 2,097,")
    assert folded.left_out_bytes > DISPLAY_BYTES // 2


def test_the_error_is_kept_however_many_outputs_came_before() -> None:
    error = ("error", {"ename": "E", "evalue": "v", "traceback": ["t"]})

    folded = fold(*([display("d")] * (MAX_OUTPUTS + 50)), error)

    assert len(folded.outputs()) == MAX_OUTPUTS
    assert folded.outputs()[-1]["ename"] == "E"


def test_nothing_that_is_repeated_gets_around_the_limits() -> None:
    big = "x" * 1_000_000
    shown = {"data": {"text/plain": "a"}, "transient": {"display_id": "q"}}
    update = {**shown, "data": {"text/plain": big}, "metadata": {"m": big}}
    error = {"ename": "E", "evalue": big, "traceback": [big] * 16}

    updates = fold(*([("display_data", shown)] * 150), ("update_display_data", update))
    metadata = fold(*([("display_data", update)] * 50))
    errors = fold(*([("error", error)] * 300))
    names = fold(*(("stream", {"name": f"n{n}", "text": "x" * 80_000}) for n in range(300)))

    for folded in (updates, metadata, errors, names):
        assert sum(map(size_of, folded.outputs())) < DISPLAY_BYTES + 4 * HEAD_BYTES + 1_000_000


def test_an_animation_keeps_its_last_picture() -> None:
    image = ("display_data", {"data": {"image/png": "x" * 100_000}})

    folded = fold(*([("clear_output", {"wait": True}), image] * 60))

    assert list(folded.outputs()[0]["data"]) == ["image/png"]


def test_nesting_without_end_is_cut() -> None:
    deep: object = 1
    for _ in range(900):
        deep = [deep]

    folded = fold(("display_data", {"data": {"application/json": deep, "foo+json": {"a": 1}}}))

    data = folded.outputs()[0]["data"]
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
def test_whatever_a_kernel_says_the_outputs_are_valid_and_bounded(
    messages: list[tuple[str, object]],
) -> None:
    folded = fold(*messages)
    outputs = folded.outputs()

    cell = nbformat.v4.new_code_cell("", id="c", outputs=[nbformat.from_dict(o) for o in outputs])
    nbformat.validate(nbformat.v4.new_notebook(cells=[cell]))
    nbformat.writes(nbformat.v4.new_notebook(cells=[cell])).encode()
    assert sum(map(size_of, outputs)) < DISPLAY_BYTES + 4 * HEAD_BYTES


@given(st.lists(st.text(st.sampled_from("ab\r\n\b"), max_size=8), max_size=20))
def test_where_a_text_is_cut_into_messages_does_not_matter(pieces: list[str]) -> None:
    whole = "".join(pieces)

    assert texts(fold(*map(stream, pieces))) == texts(fold(stream(whole)))
