"""Speak: answers on stdout, everything else on stderr."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn


def note(line: str) -> None:
    """A line of talk."""
    print(line, file=sys.stderr, flush=True)


def answer(text: str) -> None:
    """A line of the answer."""
    print(text, flush=True)


def answer_json(value: Any) -> None:
    """One JSON document or one line of them."""
    answer(json.dumps(value))


def fail(message: str, *, code: int = 1) -> NoReturn:
    """One clear line, then the end."""
    note("error: " + " ".join(message.split()))
    sys.exit(code)


def is_narrow() -> bool:
    """Whether stdout is a terminal in which a column of sentences would crowd out the others."""
    return sys.stdout.isatty() and shutil.get_terminal_size().columns < 100


def table(columns: list[str], rows: list[list[str]], *, title: str | None = None) -> None:
    """A table on stdout; numbers are the caller's to format."""
    from rich.console import Console
    from rich.table import Table

    shown = Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*row)
    console = Console()
    console.print(shown, markup=False) if console.is_terminal else Console(width=160).print(shown)


@contextmanager
def progress() -> Iterator[Callable[[str, float | None], None]]:
    """A progress bar on stderr: call it with what is being done and how much of it is done.

    Where stderr is no terminal, each new thing that is being done is one line.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        said: list[str] = []

        def tell(text: str, done: float | None) -> None:  # noqa: ARG001
            if text.partition(" · ")[0] not in said[-1:]:
                said.append(text.partition(" · ")[0])
                note(said[-1])

        yield tell
        return
    columns = (SpinnerColumn(), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        doing = bar.add_task("", total=None)

        def draw(text: str, done: float | None) -> None:
            bar.update(doing, description=text, total=None if done is None else 1.0)
            bar.update(doing, completed=done or 0.0)

        yield draw
