"""Show text that this package did not write: of a container, submission, model, endpoint or file.

Such text can hold line breaks, escape sequences of terminals, invisible characters, HTML, Markdown,
and phrases that look like ours. It is stored as it came, and made harmless where it is shown. Each
exit has a type or a function of its own, whose default is the safe one:

| exit | what it shows |
|---|---|
| errors, reasons, logs, terminals | `escape_line`: one line; names in it by `quote_name` |
| observations | `join`: a string is one line, a `Block` is several lines |
| notebooks | `Markdown.format`: a string becomes words or a code span; `fenced` |
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

LINE_CHARACTERS = 5_000
"""Limit of a line; of a longer one head and tail are shown."""
NOTE_CHARACTERS = 60
"""A line that was cut is longer than its limit by the note, which is shorter than this."""
NAME_CHARACTERS = 80
"""Limit of a name in a line."""

SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*+[ -/]*+[@-~]"  # CSI: colours, the cursor
    r"|(?:\x1b[]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x90-\x9f]*+(?:\x07|\x1b\\|\x9c)"  # OSC, DCS
    r"|\x1b[ -/]*+[0-Z\\^-~]"
)
"""Escape sequences of terminals (ECMA-48). Each character is looked at once."""
INVISIBLE = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, without tab and line feed
    "\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufeff\uffa0\ufff0-\ufffb\U00013430-\U0001345f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"  # no width, direction of text, tags
    "\ud800-\udfff"  # lone surrogates, which UTF-8 cannot encode
)
IN_LINES = re.compile(f"[{INVISIBLE}]")
IN_LINE = re.compile(f"[{INVISIBLE}\t\n]")
PLAIN_NAME = re.compile(r"[\w.(/%&+-](?:[\w .()/%&+-]*[\w.)/%&+-])?")
"""Names that can stand in a sentence as they are."""
PLAIN_WORDS = re.compile(r"(?:[^\W_]|[ ,;:'()%+=?–-]|(?<!\.)\.(?=\s|\Z)|(?<=\d)\.(?=\d))+")
"""Text without a character that means something in Markdown, HTML or TeX."""


def escape_line(text: str, limit: int = LINE_CHARACTERS) -> str:
    r"""Return a text as one line without invisible characters.

    Escape sequences of terminals are removed; line breaks, control characters, characters without
    width, marks of direction and lone surrogates become escapes like `\n`. The result is left as it
    is when it is passed again.
    """
    if not text.isprintable():
        text = IN_LINE.sub(escape, SEQUENCE.sub("", clipped(text, limit)))
    return text if len(text) <= limit + NOTE_CHARACTERS else clipped(text, limit, " ")


def escape_lines(text: str) -> str:
    """Return a text with its line breaks and tabs, and nothing else that is invisible."""
    text = SEQUENCE.sub("", text) if "\x1b" in text or not text.isascii() else text
    return IN_LINES.sub(escape, text.replace("\r\n", "\n"))


def escape(found: re.Match[str]) -> str:
    r"""Return a character as its escape in a Python string, for example `\x1b`."""
    return found[0].encode("unicode_escape").decode()


def quote_name(name: str, limit: int = NAME_CHARACTERS) -> str:
    """Return a name for a line; in quotes if it could be taken for something else."""
    cut = f"{name[:limit]}…" if len(name) > limit else name
    return cut if PLAIN_NAME.fullmatch(cut.removesuffix("…")) else quote_value(name, limit)


def quote_value(value: object, limit: int = NAME_CHARACTERS) -> str:
    """Return a value for a line, as a text in quotes."""
    text = str(value)
    return escape_line(repr(f"{text[:limit]}…" if len(text) > limit else text))


def clipped(text: str, limit: int, between: str = "\n") -> str:
    """Return head and tail of a long text, with the number of characters left out."""
    if len(text) <= limit:
        return text
    head, tail = limit * 3 // 5, limit * 2 // 5
    note = f"[… {len(text) - head - tail:,} characters left out …]"
    return between.join((text[:head], note, text[-tail:]))


# ── observations ──────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Block:
    """A text of several lines in an observation."""

    text: str
    fence: bool = True
    """Whether it is fenced if a line of it looks like one of this package."""


def join(parts: Iterable[str | Block], own: re.Pattern[str]) -> str:
    """Join the parts of an observation: each string is one line.

    `own` matches the beginnings of this package's lines.
    """

    def shown(part: str | Block) -> str:
        if isinstance(part, str):
            return escape_line(part)
        text = escape_lines(part.text)
        return between_fences(text) if part.fence and own.search(text) else text

    return "\n".join(map(shown, parts))


def between_fences(text: str, language: str = "") -> str:
    """Return a text between fences that are longer than any run of backticks in it."""
    fence = "`" * max(3, longest_run(text) + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def longest_run(text: str) -> int:
    """Return the length of the longest run of backticks."""
    return max(map(len, re.findall("`+", text)), default=0)


# ── notebooks ─────────────────────────────────────────────────────────────────────────────


class Markdown(str):
    """Markdown that this package wrote.

    >>> Markdown("**Rejected:** {}").format("a, **b**")
    '**Rejected:** `a, **b**`'
    """

    __slots__ = ()

    def format(self, *values: Any, **named: Any) -> "Markdown":
        """Fill in values: numbers and `Markdown` as they are, other text made harmless."""
        safe = {name: harmless(value) for name, value in named.items()}
        return Markdown(super().format(*map(harmless, values), **safe))

    def join(self, parts: Iterable[str]) -> "Markdown":
        """Join parts; those that are not `Markdown` are made harmless."""
        return Markdown(super().join(map(harmless, parts)))


def harmless(value: Any) -> Any:
    """Return a value that Markdown, HTML and TeX show as it is: words, or a code span."""
    if isinstance(value, Markdown | int | float):
        return value
    line = escape_line(str(value))
    return Markdown(line) if not line or PLAIN_WORDS.fullmatch(line) else code_span(line)


def code_span(text: str) -> Markdown:
    """Return a text as a code span."""
    line = separated(escape_line(text).strip()) or " "
    ticks = "`" * (longest_run(line) + 1)
    space = " " if "`" in (line[0], line[-1]) else ""
    return Markdown(f"{ticks}{space}{line}{space}{ticks}")


def fenced(text: str, language: str = "") -> Markdown:
    """Return a text as a fenced block, coloured as a language if one is named."""
    return Markdown(between_fences(separated(escape_lines(text)), language))


FENCE = re.compile(r"^([ \t>*+.)\d-]*(?:`{3,}(?=[^`\n]*$)|~{3,}))[^\n]*$", re.MULTILINE)
ACTIVE = re.compile(r"<(?=[A-Za-z/!?])|!(?=\[)")
JOINER = "\u2060"
"""A word joiner: without width, and no part of a tag or of a picture in any renderer."""


def without_html(markdown: str) -> Markdown:
    """Return a task's Markdown with its HTML, pictures and languages of fences made harmless."""
    return Markdown(separated(FENCE.sub(r"\1", escape_lines(markdown))))


def separated(text: str) -> str:
    """Separate the first characters of tags and pictures, also in code.

    Which parts of a text are code depends on the renderer: some look for formulas first.
    """
    return ACTIVE.sub(lambda found: found[0] + JOINER, text)
