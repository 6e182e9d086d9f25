"""Outputs of two runs: equal, equal after masking, or different, side by side."""

import base64
import struct
import zlib
from typing import Any

from kernel_env.audit.trajectory.outputs import LINES, MAX_LINES, ORDER, PICTURE, compare_outputs


def stream(text: str, name: str = "stdout") -> dict[str, Any]:
    return {"output_type": "stream", "name": name, "text": text}


def result(count: int = 1, **data: Any) -> dict[str, Any]:
    named = {kind.replace("_", "/", 1): value for kind, value in data.items()}
    return {
        "output_type": "execute_result",
        "data": named,
        "metadata": {},
        "execution_count": count,
    }


def png(grey: int, *, date: bytes = b"", level: int = 9) -> str:
    """Return a PNG picture of one pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes([0, grey]), level)
    text = chunk(b"tEXt", b"Date\0" + date)
    parts = [chunk(b"IHDR", header), text, chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(parts)).decode()


def test_execution_counts_do_not_matter() -> None:
    found = compare_outputs([result(3, text_plain="1")], [result(4, text_plain="1")])

    assert found.sameness == "equal"


def test_streams_are_compared_whichever_came_first() -> None:
    one = [stream("a\n"), stream("w\n", "stderr"), stream("b\n")]
    other = [stream("a\nb\n"), stream("w\n", "stderr")]

    found = compare_outputs(one, other)

    assert (found.sameness, found.masks) == ("masked", {ORDER: 1})


def test_the_order_of_lines_is_masked() -> None:
    one, other = [stream("a\nfold 1 took 3 s\nb\n")], [stream("fold 1 took 4 s\na\nb\n")]

    assert compare_outputs(one, other).masks == {LINES: 1}
    assert compare_outputs([result(text_plain="a\nb")], [result(text_plain="b\na")]).differences


def test_a_display_between_texts_is_a_matter_of_order() -> None:
    one = [stream("a\n"), result(text_plain="1"), stream("b\n")]
    other = [stream("a\nb\n"), result(text_plain="1")]

    assert compare_outputs(one, other).sameness == "different"


def test_lines_that_differ_are_shown_side_by_side() -> None:
    one = [stream("took 1 s\nscore 0.5\nend\n")]
    other = [stream("took 2 s\nscore 0.6\nend\n")]

    found = compare_outputs(one, other)

    assert found.sameness == "different"
    (difference,) = found.differences
    assert (difference.where, difference.recorded, difference.replayed) == (
        "stdout, line 2",
        "score 0.5",
        "score 0.6",
    )


def test_only_the_first_lines_are_shown() -> None:
    found = compare_outputs([stream("a\n" * 99)], [stream("b\n" * 99)])

    assert len(found.differences) == MAX_LINES


def test_an_output_that_is_missing_is_a_difference() -> None:
    found = compare_outputs([stream("a"), result(text_plain="1")], [stream("a")])

    (difference,) = found.differences
    assert (difference.recorded, difference.replayed) == ("text/plain: 1", None)


def test_errors_are_compared() -> None:
    def error(value: str) -> dict[str, Any]:
        return {"output_type": "error", "ename": "E", "evalue": value, "traceback": ["line 1"]}

    assert compare_outputs([error("a")], [error("b")]).sameness == "different"
    assert compare_outputs([error("at 0x7f00112233")], [error("at 0x7f00112244")]).masks == {
        "address": 1
    }


def test_json_is_compared_by_value() -> None:
    one, other = {"a": 1, "b": [1, 2]}, {"b": [1, 2], "a": 1}

    assert (
        compare_outputs([result(application_json=one)], [result(application_json=other)]).sameness
        == "equal"
    )
    assert (
        compare_outputs([result(application_json=one)], [result(application_json={})]).sameness
        == "different"
    )


def test_pictures_with_the_same_pixels_are_equal() -> None:
    one, other = png(7, date=b"yesterday", level=9), png(7, date=b"today", level=0)

    assert one != other
    assert compare_outputs([result(image_png=one)], [result(image_png=other)]).sameness == "equal"


def test_pictures_that_differ_are_named_and_counted() -> None:
    for other in (png(8), "no picture", base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()):
        found = compare_outputs([result(image_png=png(7))], [result(image_png=other)])

        assert (found.sameness, found.masks) == ("masked", {PICTURE: 1})
    drawings = [[result(**{"image_svg+xml": text})] for text in ("<svg>1</svg>", "<svg>2</svg>")]
    assert compare_outputs(*drawings).masks == {PICTURE: 1}
