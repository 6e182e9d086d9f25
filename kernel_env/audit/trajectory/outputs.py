"""Compare the outputs of a cell in two runs: equal, equal after masking, or different.

Text of stdout and stderr between two displays is compared per stream: which of them came first is
a matter of milliseconds, and so is the order of lines that threads and programs print. Pictures are
compared by their bytes, PNG also by their pixels. A picture that differs while all text is equal is
masked, too: what it shows depends on fonts and versions as well as on numbers, and is for a person
to look at.
"""

import json
import re
import zlib
from base64 import b64decode
from binascii import Error
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import zip_longest
from typing import Literal

from kernel_env.audit.trajectory.masks import Run, differing, masked
from kernel_env.field_docs import show_fields
from kernel_env.kernel.cell import Output

Sameness = Literal["equal", "masked", "different", "not compared"]
"""How the outputs of two runs relate. `masked`: equal after masking; `not compared`: they depend on
the moment at which a cell was interrupted or crashed."""
PICTURE, ORDER, LINES = "picture", "order of stdout and stderr", "order of lines"
STREAMS = ("stdout", "stderr")
MAX_LINES = 5
"""Most lines of a text that are shown side by side."""
MIME_TYPE = re.compile(r"[\w.+-]{1,20}/[\w.+-]{1,40}")
"""Types that are named; a display can have any text as its type."""
MAX_PIXEL_BYTES = 64 << 20
"""Pixels of a PNG beyond this size are not compared."""
PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT")
"""The parts of a PNG that determine its pixels; others have dates and versions of programs."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing that differs, side by side. Both texts are untrusted."""

    where: str
    recorded: str | None
    """None if it is only in the replay."""
    replayed: str | None
    """None if it is only in the recording."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class OutputComparison:
    """The comparison of a cell's outputs."""

    sameness: Sameness
    masks: Counter[str] = field(default_factory=Counter)
    """How many pieces were masked because they differ, by mask."""
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True)
class Part:
    """A comparable part of a cell's outputs."""

    kind: str
    """`stdout`, `stderr`, `error`, or a MIME type."""
    text: str


def compare_outputs(
    recorded: Sequence[Output],
    replayed: Sequence[Output],
    *,
    days: tuple[date | None, date | None] = (None, None),
) -> OutputComparison:
    """Compare the outputs of a cell in two runs.

    Args:
        recorded: the outputs of the recorded cell.
        replayed: those of the replayed one.
        days: when the two ran; see `masks.split`.
    """
    if without_counts(recorded) == without_counts(replayed):
        return OutputComparison(sameness="equal")
    masks: Counter[str] = Counter()
    differences: list[Difference] = []
    parts = [list(parts_of(outputs)) for outputs in (recorded, replayed)]
    if parts[0] == parts[1]:
        masks[ORDER] += 1
    for number, (one, other) in enumerate(zip_longest(*parts), 1):
        if one is None or other is None or one.kind != other.kind:
            differences.append(
                Difference(where=f"output {number}", recorded=head(one), replayed=head(other))
            )
            break
        found = compare_parts(one, other, days)
        if isinstance(found, Counter):
            masks += found
        else:
            differences += found
    sameness: Sameness = "different" if differences else "masked" if masks else "equal"
    return OutputComparison(sameness=sameness, masks=masks, differences=tuple(differences))


def compare_texts(
    where: str, recorded: str, replayed: str, *, days: tuple[date | None, date | None]
) -> OutputComparison:
    """Compare two texts as `compare_outputs` compares what cells print."""
    found = compare_parts(Part(where, recorded), Part(where, replayed), days)
    if not isinstance(found, Counter):
        return OutputComparison(sameness="different", differences=tuple(found))
    return OutputComparison(sameness="masked" if found else "equal", masks=found)


def without_counts(outputs: Sequence[Output]) -> list[Output]:
    """Return outputs without execution counts, which depend on what was restored before."""
    return [
        {name: value for name, value in output.items() if name != "execution_count"}
        for output in outputs
    ]


def parts_of(outputs: Iterable[Output]) -> Iterator[Part]:
    """Yield the parts of outputs: the two streams between displays, each form of a display."""
    streams: dict[str, str] = {}
    for output in outputs:
        if output["output_type"] == "stream":
            streams[output["name"]] = streams.get(output["name"], "") + output["text"]
            continue
        yield from (Part(name, streams[name]) for name in sorted(streams, reverse=True))
        streams = {}
        if output["output_type"] == "error":
            lines = [f"{output['ename']}: {output['evalue']}", *output["traceback"]]
            yield Part("error", "\n".join(lines))
            continue
        for kind, value in sorted(output["data"].items()):
            text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
            yield Part(kind if MIME_TYPE.fullmatch(kind) else "a display", text)
    yield from (Part(name, streams[name]) for name in sorted(streams, reverse=True))


def compare_parts(
    recorded: Part, replayed: Part, days: tuple[date | None, date | None]
) -> Counter[str] | list[Difference]:
    """Return what was masked, or the lines that differ."""
    texts = recorded.text, replayed.text
    if texts[0] == texts[1]:
        return Counter()
    if recorded.kind.startswith("image/"):
        return (
            Counter()
            if recorded.kind == "image/png" and same_pixels(*texts)
            else Counter([PICTURE])
        )
    runs = [Run(text=text, day=day) for text, day in zip(texts, days, strict=True)]
    if (masks := differing(*runs)) is not None:
        return masks
    if recorded.kind in STREAMS and sorted_lines(runs[0]) == sorted_lines(runs[1]):
        return Counter([LINES])
    return list(lines_that_differ(recorded.kind, *runs))


def sorted_lines(run: Run) -> list[str]:
    """Return the lines of a text after masking, sorted: threads and programs print at any time."""
    return sorted(masked(run.text, run.day).split("\n"))


def lines_that_differ(where: str, recorded: Run, replayed: Run) -> Iterator[Difference]:
    """Yield the first lines that differ after masking."""
    count = 0
    lines = zip_longest(recorded.text.split("\n"), replayed.text.split("\n"))
    for number, (one, other) in enumerate(lines, 1):
        if (
            one is not None
            and other is not None
            and masked(one, recorded.day) == masked(other, replayed.day)
        ):
            continue
        yield Difference(where=f"{where}, line {number}", recorded=one, replayed=other)
        count += 1
        if count == MAX_LINES:
            return
    if not count:  # a mask that reaches over lines
        yield Difference(where=where, recorded=recorded.text, replayed=replayed.text)


def head(part: Part | None) -> str | None:
    """Return the kind and the first line of a part, to show that the other run has no such part."""
    return f"{part.kind}: {part.text.partition(chr(10))[0]}" if part else None


# ── pictures ──────────────────────────────────────────────────────────────────────────────


def same_pixels(one: str, other: str) -> bool:
    """Return whether two PNG pictures, base64, have the same pixels by their compressed data."""
    try:
        return pixel_data(b64decode(one)) == pixel_data(b64decode(other))
    except (ValueError, Error, zlib.error):
        return False


def pixel_data(png: bytes) -> list[tuple[bytes, bytes]]:
    """Return the parts of a PNG that determine its pixels, decompressed.

    Raises `ValueError` and `zlib.error` for other data.
    """
    chunks: dict[bytes, bytes] = {}
    at = 8
    while at + 8 <= len(png):
        size, kind = int.from_bytes(png[at : at + 4], "big"), png[at + 4 : at + 8]
        if kind in PIXEL_CHUNKS:
            chunks[kind] = chunks.get(kind, b"") + png[at + 8 : at + 8 + size]
        at += 12 + size
    if b"IDAT" not in chunks:
        raise ValueError("not a PNG picture")
    decompressor = zlib.decompressobj()
    pixels = decompressor.decompress(chunks[b"IDAT"], MAX_PIXEL_BYTES)
    if not decompressor.eof:
        raise ValueError("the picture is incomplete or too large")
    return [
        *sorted((kind, data) for kind, data in chunks.items() if kind != b"IDAT"),
        (b"IDAT", pixels),
    ]
