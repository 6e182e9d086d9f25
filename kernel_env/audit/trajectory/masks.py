r"""Mask what differs between two runs of the same code: times, addresses, progress bars, …

`split` cuts a text into pieces, each of which is plain or has the name of a mask; joined, the
pieces are the text again. Two texts are equal after masking if their pieces are equal, those with
the name of the same mask whatever they say.

    >>> [(piece.mask, piece.text) for piece in split("fit in 3.1 s")]
    [('', 'fit in '), ('duration', '3.1 s')]

A date, or a time since 1970, is masked only if it is about the day of the run itself, so that the
dates of data are compared.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime

from kernel_env.untrusted_text import SEQUENCE

DAYS = 2
"""A date that is further from the run than this many days belongs to data."""
LIMIT_CHARACTERS = 1_000_000
"""A text that is longer is compared as it is."""
DIGITS = r"\d{1,20}+(?:,\d{3}){0,6}+(?:\.\d++)?+(?:e[+-]?\d++)?+"
NUMBER = rf"(?<![\w.]){DIGITS}"
UNIT = r"(?:ns|[uµμ]s|ms|s|secs?|seconds?|min|mins|minutes?|h|hours?)(?![\w/])"
MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
CLOCK = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?"

PATTERNS: dict[str, str] = {
    "progress bar": (  # where stdout came between, the bar before is not overwritten
        r"(?:(?<!\d)[ ]{0,2}\d{1,3}%\|[^|\n]{0,300}\|[^\[\n]{0,80}\[[^\]\n]{0,300}\])+"
        r"|(?:(?<![\w.])\d{1,12}it \[[^\]\n]{0,300}\])+"
    ),
    "date": (
        rf"(?<!\d)\d{{4}}-\d{{2}}-\d{{2}}(?:[T _]{CLOCK}(?: ?(?:Z|[+-]\d{{2}}:?\d{{2}}))?)?(?!\d)"
        r"|(?<!\d)\d{8}[T_-]\d{6}(?!\d)"
        rf"|(?:[A-Z][a-z]{{2}},? )?{MONTH} {{1,2}}\d{{1,2}},? {CLOCK}(?: [A-Z]{{2,5}})? \d{{4}}"
        rf"|(?:[A-Z][a-z]{{2}}, )?\d{{1,2}} {MONTH} \d{{4}}(?: {CLOCK})?"
        r"|(?<![\w.])[12]\d{9}(?:\.\d++)?+(?!\w)"
    ),
    "time of day": r"(?<![\w:.])\d{1,2}:\d{2}:\d{2}(?:[.,]\d{1,9})?(?![\w:])",
    "address": r"0x[0-9a-fA-F]{6,16}(?!\w)|(?<![\w.])1(?:39[6-9]|40[0-7])\d{11}(?![\w.])",
    "identifier": (
        r"(?<![0-9a-f])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![0-9a-f])"
        r'|T_[0-9a-f]{5}(?=["_\s])|(?<="model_id": ")[0-9a-f]{32}'
    ),
    "temporary path": (
        r"(?:/(?:var/)?tmp|/var/folders|/dev/shm)(?:/[\w.+-]+)+"
        r"|(?:/[\w.+-]{1,255}){0,8}/(?:kernel-env-\d+-\w+|ipykernel_\d+)(?:/[\w.+-]+)*"
    ),
    "process ID": (
        r"(?i:(?<=pid )|(?<=pid=)|(?<=pid: )|(?<=pid\()|(?<=process )|(?<=poolworker-))\d++"
        r"|ipykernel_\d++"
    ),
    "rate": rf"{NUMBER} ?\w{{1,12}}/(?:s|sec|second)\b|{NUMBER} ?(?:s|ms)/\w{{1,12}}",
    "duration": (
        rf"{NUMBER} ?{UNIT}(?: {NUMBER} ?{UNIT})*"
        r"|(?<![\w.])\d++m\d++(?:\.\d++)?+s(?!\w)|(?<![\w.])[\d,]{1,20} loops? each"
    ),
    "memory size": rf"{NUMBER}\+? ?(?:[KMGTP]i?B|[Bb]ytes)(?!\w)",
}
"""The masks, by name. Where several match, the first one counts."""
AFTER = (
    r"(?P<label>(?i:\b(?:took|elapsed|time|duration|runtime|seconds)\b)[^\w\n]{1,3})"
    rf"(?P<labelled>{DIGITS}(?: ?{UNIT})?)(?![\w.])"
)
"""A number that a word before it makes a duration."""
GROUPS = {f"mask{number}": name for number, name in enumerate(PATTERNS)}
PATTERN = re.compile(
    "|".join([*(f"(?P<{group}>{PATTERNS[name]})" for group, name in GROUPS.items()), AFTER])
)
COLOURS, OVERWRITTEN = "escape sequence", "progress bar"
NAMES = (*PATTERNS, COLOURS)
"""The names of all masks."""


@dataclass(frozen=True)
class Piece:
    """A part of a text."""

    mask: str
    """The mask that matches it; empty for what is compared."""
    text: str


def split(text: str, day: date | None = None) -> Iterator[Piece]:
    """Yield the pieces of a text of one run.

    Args:
        text: any text.
        day: when the run was; None: no date is masked.
    """
    plain = 0
    for found in PATTERN.finditer(text):
        name = GROUPS.get(found.lastgroup or "", "duration")
        begin, end = found.span("labelled" if found["labelled"] else 0)
        if name == "date" and not (day and is_near(found[0], day)):
            continue
        if plain < begin:
            yield Piece("", text[plain:begin])
        yield Piece(name, text[begin:end])
        plain = end
    if plain < len(text):
        yield Piece("", text[plain:])


def is_near(text: str, day: date) -> bool:
    """Return whether a text that looks like a date, or seconds since 1970, is near a day."""
    found = parse_date(text)
    return found is not None and abs((found - day).days) <= DAYS


def parse_date(text: str) -> date | None:
    """Return the day of a text that `PATTERNS["date"]` matches; None if there is no such day."""
    try:
        if iso := re.match(r"(\d{4})-?(\d{2})-?(\d{2})(?!\d{2}(?:\.|$))", text):
            return date(*map(int, iso.groups()))
        if month := re.search(MONTH, text):
            day = re.search(r"(?<!\d)\d{1,2}(?![\d:])", text)
            year = re.search(r"\d{4}$|\d{4}(?= )", text)
            assert day is not None
            assert year is not None
            return datetime.strptime(f"{day[0]} {month[0]} {year[0]}", "%d %b %Y").date()  # noqa: DTZ007
        return datetime.fromtimestamp(float(text), UTC).date()
    except (ValueError, OverflowError, OSError):
        return None


def overwritten(text: str) -> str:
    """Return a text in which each line shows what was last written to it: progress bars."""
    if "\r" not in text:
        return text
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join(
        next((part for part in reversed(line.split("\r")) if part), "") for line in lines
    )


@dataclass(frozen=True, kw_only=True)
class Run:
    """A text and the day of the run that it is from."""

    text: str
    day: date | None = None


def differing(recorded: Run, replayed: Run) -> Counter[str] | None:
    """Compare two texts after masking.

    Returns:
        How many pieces differ, by mask; empty for equal texts, None if the texts are different.
    """
    counts: Counter[str] = Counter()
    texts = [recorded.text, replayed.text]
    if texts[0] == texts[1]:
        return counts
    if max(map(len, texts)) > LIMIT_CHARACTERS:
        return None
    for name, change in ((OVERWRITTEN, overwritten), (COLOURS, without_colours)):
        changed = [change(text) for text in texts]
        counts[name] += changed != texts
        texts = changed
    pieces = [
        list(split(text, run.day)) for text, run in zip(texts, (recorded, replayed), strict=True)
    ]
    if len(pieces[0]) != len(pieces[1]):
        return None
    for one, other in zip(*pieces, strict=True):
        if one == other:
            continue
        if one.mask != other.mask or not one.mask:
            return None
        counts[one.mask] += 1
    return +counts


def without_colours(text: str) -> str:
    """Return a text without escape sequences of terminals."""
    return SEQUENCE.sub("", text)


def masked(text: str, day: date | None = None) -> str:
    """Return a text with the masks' names where they match, to find the lines that differ."""
    text = without_colours(overwritten(text))
    return "".join(f"\ud800{p.mask}\udfff" if p.mask else p.text for p in split(text, day))
