"""Find the columns that a grader could want: in its source, in its errors, in a description."""

import ast
import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

MAX_COLUMNS = 700
QUOTED = re.compile(r"""['"`“]([^'"`”\n]{1,80})['"`”]""")
LISTED = re.compile(r"[\[{][^\]}]{3,}[\]}]")
MISSING = re.compile(r"[Mm]issing[^:]*: ([^:'\"]+?)(?:\.\s|\.?$)")
ID = re.compile(r"^_?id|_?id$|name$|image$", re.IGNORECASE)
"""Names of columns that identify a row."""
WORD = re.compile(r"[A-Za-z_][\w./-]*")


@dataclass(frozen=True, kw_only=True)
class Header:
    """A header that a submission could have, with rows that a description shows as examples."""

    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...] = ()


@dataclass(kw_only=True)
class Source:
    """What the source of a grader says."""

    strings: list[str] = field(default_factory=list)
    """Its string constants, in order, without those that are sentences."""
    lists: list[tuple[str, ...]] = field(default_factory=list)
    """Its lists, sets and tuples of strings, the longest first: columns or classes."""
    values: list[str] = field(default_factory=list)
    """Defaults of arguments: the name of the target, in some benchmarks."""
    keys: list[str] = field(default_factory=list)
    """Constants that are used as a key: `table["id"]`."""


def read_source(paths: Iterable[Path]) -> Source:
    """Read the sources of a grader and of the modules beside it."""
    found = Source()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Constant(value=str(text)) if 0 < len(text) <= 60 and "\n" not in text:
                    found.strings.append(text)
                case ast.List(elts=items) | ast.Set(elts=items) | ast.Tuple(elts=items):
                    texts = [item.value for item in items if isinstance(item, ast.Constant)]
                    if len(texts) > 1 and all(isinstance(text, str) for text in texts):
                        found.lists.append(tuple(texts))
                case ast.arguments(defaults=defaults, kw_defaults=others):
                    found.values += strings_of([*defaults, *others])
                case ast.Call(keywords=keywords):
                    found.values += strings_of(it.value for it in keywords if it.arg == "default")
                    found.keys += strings_of(
                        it.value for it in keywords if it.arg and it.arg.endswith(("col", "column"))
                    )
                case ast.Subscript(slice=ast.Constant(value=str(text))):
                    found.keys.append(text)
                case ast.Compare(left=ast.Constant(value=str(text)), ops=[ast.In() | ast.NotIn()]):
                    found.keys.append(text)
    found.lists.sort(key=len, reverse=True)
    for name in ("strings", "values", "keys", "lists"):
        setattr(found, name, list(dict.fromkeys(getattr(found, name))))
    return found


def strings_of(nodes: Iterable[ast.expr | None]) -> list[str]:
    """Return the values of string constants among some nodes."""
    return [
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value
    ]


def headers(source: Source, description: str) -> Iterator[Header]:
    """Yield the headers that a submission could have, the likeliest first."""
    yield from dict.fromkeys(headers_of_description(description))
    ids = [key for key in source.keys if ID.search(key)]
    ids = [*ids, *source.keys[:2], "id"]
    for key in dict.fromkeys(ids):
        others = [
            *((name,) for name in [*source.values, *source.keys]),
            *(names for names in source.lists if len(names) < MAX_COLUMNS),
        ]
        for names in dict.fromkeys(others):
            if any(name != key for name in names):
                yield Header(names=tuple(dict.fromkeys([key, *names])))
    yield Header(names=("id", "a", "b", "c"))


def headers_of_description(text: str) -> Iterator[Header]:
    """Yield the tables of two columns and more that a description shows as comma-separated text."""
    lines = [line.strip().strip("`").replace("\\_", "_") for line in text.splitlines()]
    for number, line in enumerate(lines):
        names = cells(line)
        if len(names) < 2 or not all(WORD.fullmatch(name.strip()) for name in names):
            continue
        rows: list[tuple[str, ...]] = []
        for other in lines[number + 1 :]:
            row = cells(other)
            if other and len(row) != len(names):
                break
            rows += [row] if other else []
        if rows:
            header = tuple(name.strip() for name in names)
            yield Header(names=header, rows=tuple(rows[:5]))


def cells(line: str) -> tuple[str, ...]:
    """Split a line at its commas."""
    return tuple(next(csv.reader([line], skipinitialspace=True), ())) if line else ()


def wanted_names(message: str, source: Source) -> list[str]:
    """Return the names in an error that can be columns, in the order of the message."""
    names = QUOTED.findall(message)
    listed = [name for part in LISTED.findall(message) for name in QUOTED.findall(part)]
    for part in MISSING.findall(message):
        listed += [name.strip() for name in part.rstrip(". ").split(",") if name.strip()]
    known = {*source.strings, *listed}
    names = list(dict.fromkeys(name for name in [*names, *listed] if name in known))
    words = (word.rstrip(".") for word in WORD.findall(message))
    return names or [word for word in words if word in known]
