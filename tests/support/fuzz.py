"""Run a check on many random inputs, for a few seconds or as long as the environment says."""

import os
import random
import time
from collections.abc import Iterator

DEFAULT_SECONDS = 3.0
SECONDS = float(os.environ.get("KERNEL_ENV_FUZZ_SECONDS", DEFAULT_SECONDS))
"""How long each fuzzer runs; `make fuzz SECONDS=…` sets it."""


def examples(count: int) -> int:
    """Return how many examples Hypothesis tries: `count`, or more in proportion to the time."""
    return max(count, int(count * SECONDS / DEFAULT_SECONDS))


def random_sources(first: int = 0) -> Iterator[random.Random]:
    """Yield random sources until the time is up, first those of fixed seeds.

    A check names the seed of the source in its failure; `random.Random(seed)` repeats the input.
    """
    end, seed = time.monotonic() + SECONDS, first
    while time.monotonic() < end:
        source = random.Random(seed)
        source.seed_used = seed  # type: ignore[attr-defined]
        yield source
        seed = seed + 1 if seed < first + 200 else random.SystemRandom().getrandbits(62)


def damaged(source: random.Random, data: bytes) -> bytes:
    """Return bytes with some of them changed, removed, repeated or inserted."""
    changed = bytearray(data)
    for _ in range(source.randint(1, 4)):
        at = source.randrange(len(changed) + 1)
        size = min(source.choice([1, 1, 2, 8, 100]), len(changed) - at)
        match source.randrange(4):
            case 0:
                changed[at : at + size] = source.randbytes(size)
            case 1:
                del changed[at : at + size]
            case 2:
                changed[at:at] = changed[at : at + size] * source.choice([1, 2, 50])
            case _:
                changed[at:at] = source.choice(INTERESTING)
    return bytes(changed)


INTERESTING = (
    *(b"\x00", b"\xff", b"\n", b"\r", b"\b", b'"', b"\\", b"{", b"[" * 2000, b"]", b"," * 100),
    *(b"null", b"NaN", b"-1", b"1e999", b"9" * 400, b"\\ud800", b"\xed\xa0\x80", b"\xe2\x80\xae"),
    *(b"\x1b[2J", b"<script>", b"\x02" + b"\x7f" * 8, b"\x01\x00" * 300),
)
"""Bytes at which parsers go wrong."""


def json_value(source: random.Random, depth: int = 4) -> object:
    """Return a random JSON value, also one that is not proper JSON."""
    match source.randrange(9 if depth else 6):
        case 0:
            return source.choice([None, True, False, float("nan"), float("inf"), 1e308])
        case 1:
            return source.choice([0, -1, 7, 1 << 31, 1 << 63, 10**90, 0.5])
        case 2 | 3:
            return source.choice(TEXTS) * source.choice([1, 1, 1, 3, 2000])
        case 4:
            return "".join(chr(source.randrange(0x110000)) for _ in range(source.randrange(9)))
        case 5:
            return source.choice([[], {}, ""])
        case 6:
            return [json_value(source, depth - 1) for _ in range(source.randrange(4))]
        case _:
            names = [source.choice(TEXTS) for _ in range(source.randrange(4))]
            return {name: json_value(source, depth - 1) for name in names}


TEXTS = (
    *(
        "",
        "a",
        "ü",
        "a\b",
        "\r",
        "\r\n",
        "x\n",
        "\x1b[31m",
        "\ud800",
        "\u202e",
        "<b>",
        "text/plain",
    ),
    *("application/json", "image/png", "stdout", "name", "text", "id", "data", "error"),
)
