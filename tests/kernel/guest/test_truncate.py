"""Truncating texts, streams and JSON values."""

from hypothesis import example, given
from hypothesis import strategies as st

from kernel_env.kernel.connection.outputs import overwritten
from kernel_env.kernel.guest import truncate
from support.output_caps import (
    NOTE,
)

PIECES = st.lists(
    st.one_of(
        st.text(st.sampled_from("ab\nü✓😀\ud800"), max_size=50),
        st.builds(
            str.__mul__,
            st.sampled_from(["x", "ü", "a✓", "😀"]),
            st.integers(0, 3 * truncate.TAIL_BYTES),
        ),
    ),
    max_size=12,
)
BEFORE_DISPLAY = st.lists(st.booleans(), min_size=12, max_size=12)


@given(PIECES, BEFORE_DISPLAY)
def test_head_tail_and_count_do_not_depend_on_how_text_is_split(
    pieces: list[str], display_follows: list[bool]
) -> None:
    whole = "".join(pieces).encode(errors="backslashreplace")
    cap = truncate.StreamCap()

    output = ""
    for piece, display in zip(pieces, display_follows, strict=False):
        output += cap.take(piece)
        output += cap.remainder(last=False) if display else ""
    output += cap.remainder(last=True)

    kept = NOTE.sub("", output).encode()
    assert len(kept) + cap.dropped == len(whole)
    assert sum(int(n.replace(",", "")) for n in NOTE.findall(output)) == cap.dropped
    assert kept[: truncate.HEAD_BYTES - 3] == whole[: truncate.HEAD_BYTES - 3]
    assert kept[-400:] == whole[-400:]
    assert len(kept) <= truncate.HEAD_BYTES + 2 * truncate.TAIL_BYTES
    if not any(display_follows):
        assert len(kept) >= min(len(whole), truncate.HEAD_BYTES + truncate.TAIL_BYTES - 6)


@given(st.lists(st.text(st.sampled_from("ab\r\n"), max_size=8), max_size=20))
@example(["aaa\r\r\n"])
@example(["aaa\r", "", "\r\n"])
def test_overwritten_text_is_not_shown_and_costs_no_room(pieces: list[str]) -> None:
    cap = truncate.StreamCap()

    output = "".join(map(cap.take, [*pieces, "x"]))

    visible = overwritten("".join([*pieces, "x"]).encode())
    assert overwritten(output.encode()) == visible
    assert (
        len(visible.replace(b"\r", b""))
        <= truncate.HEAD_BYTES - cap.room
        <= len(visible) + output.count("\r") + 1
    )
    assert cap.dropped == 0


@given(
    st.recursive(
        st.text(max_size=5) | st.integers() | st.builds("x".__mul__, st.integers(0, 10**6)),
        lambda inner: st.lists(inner, max_size=300) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=20,
    )
)
def test_truncated_json_is_small_and_small_json_is_unchanged(value: object) -> None:
    short = truncate.truncate_json(value)

    assert truncate.json_size(short) < 2 * truncate.MESSAGE_CHARS
    if truncate.json_size(value) < 1000:
        assert short == value


def test_recursive_value_is_measured_and_truncated() -> None:
    recursive: list[object] = []
    recursive += [recursive] * 1000

    assert truncate.json_size(recursive) >= 0
    assert truncate.json_size(truncate.truncate_json(recursive)) < 2 * truncate.MESSAGE_CHARS
