"""Values that the page of a report shows: tables of cells, and numbers as text."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kernel_env.untrusted_text import escape_line

NONE = "–"
"""Shown where there is no value."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell of a table. Its texts are shown as text, whatever is in them."""

    text: str
    order: float | None = None
    """What it is sorted by; None: its text."""
    second: str = ""
    """A second line, paler, such as an interval."""
    look: str = ""
    """Class of its style."""
    link: str = ""
    """An address that this package made."""
    hint: str = ""
    """What a pointer that rests on it shows."""
    swatch: str = ""
    """The colour of a mark before it."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table."""

    title: str
    hint: str = ""
    """What it shows, in a few words below the title."""
    number: bool = True


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table; the first cell of a row names it."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    page: int = 25
    """How many rows a page of it has."""


def named(text: str, **more: object) -> Cell:
    """Return a cell with a text of others."""
    return Cell(text=escape_line(text) or NONE, **more)  # type: ignore[arg-type]


def number(value: float | None, text: str | None = None, **more: object) -> Cell:
    """Return a cell with a number, as a text of its own or with up to six digits."""
    if value is None or not math.isfinite(value):
        return Cell(text=NONE, look="number missing", order=-math.inf, **more)  # type: ignore[arg-type]
    look = f"number {more.pop('look', '')}".strip()
    shown = f"{value:.6g}" if text is None else text
    return Cell(text=shown, order=value, look=look, **more)  # type: ignore[arg-type]


def share(value: float | None, **more: object) -> Cell:
    """Return a cell with a share from 0 to 1, in per cent."""
    return number(value, None if value is None else percent(value), **more)


def count(value: float | None, **more: object) -> Cell:
    """Return a cell with a count."""
    return number(value, None if value is None else f"{value:,.0f}", **more)


def dollars(value: float | None, **more: object) -> Cell:
    """Return a cell with an amount of money."""
    return number(value, None if value is None else money_text(value), **more)


def duration(seconds: float | None, **more: object) -> Cell:
    """Return a cell with a duration."""
    return number(seconds, None if seconds is None else seconds_text(seconds), **more)


def percent(value: float) -> str:
    """Return a share in per cent."""
    return f"{100 * value:.1f} %"


def money_text(value: float) -> str:
    """Return an amount of US dollars; a dash for nothing, also if no price is known."""
    return f"${value:,.4f}" if 0 < value < 1 else f"${value:,.2f}" if value else NONE


def seconds_text(value: float) -> str:
    """Return a duration in its largest suitable unit."""
    if value >= 5400:
        return f"{value / 3600:.1f} h"
    if value >= 90:
        return f"{value / 60:.1f} min"
    return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"


def heat(value: float) -> str:
    """Return the class that colours a share from 0 to 1."""
    return f"h{round(10 * min(1.0, max(0.0, value)))}"
