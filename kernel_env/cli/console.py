"""Print results to stdout, and messages, errors and progress to stderr.

All that is printed passes through `escape_line`: names, reasons and errors can come from a
container, a task or an endpoint.
"""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from kernel_env.untrusted_text import escape_line, escape_lines

NARROW_COLUMNS = 100
"""Below this width of the terminal, a column of sentences leaves no room for the others."""
FILE_COLUMNS = 160
"""The width of a table that is not printed to a terminal."""


def print_message(line: str) -> None:
    """Print a message to stderr, in one line."""
    print(escape_line(line), file=sys.stderr, flush=True)


def print_result(line: str) -> None:
    """Print a result to stdout, in one line."""
    print(escape_line(line), flush=True)


def print_json(value: Any, *, indent: int | None = None) -> None:
    """Print a result to stdout as JSON in ASCII; one line without `indent`."""
    print(json.dumps(value, indent=indent), flush=True)


def print_markdown(text: str) -> None:
    """Print Markdown to stdout; links are shown as text."""
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(escape_lines(text), hyperlinks=False))


def print_error(trace: str) -> None:
    """Print a traceback to stderr."""
    print(escape_lines(trace), file=sys.stderr, flush=True)


def steps_text(steps: object, by_people: object) -> str:
    """Return how many steps an agent took, and people in its episode, for a table."""
    return f"{steps} + {by_people} by people" if by_people else str(steps)


def fail(message: str, *, code: int = 1) -> NoReturn:
    """Print an error in one line to stderr and exit."""
    print_message("error: " + " ".join(message.split()))
    sys.exit(code)


def is_narrow() -> bool:
    """Return whether stdout is a narrow terminal."""
    return sys.stdout.isatty() and shutil.get_terminal_size().columns < NARROW_COLUMNS


def print_table(columns: list[str], rows: list[list[str]], *, title: str | None = None) -> None:
    """Print a table to stdout."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(escape_line(title)) if title else None,
        title_justify="left",
        show_edge=False,
        pad_edge=False,
    )
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(escape_line(cell)) for cell in row))
    console = Console()
    (console if console.is_terminal else Console(width=FILE_COLUMNS)).print(table)


@contextmanager
def progress() -> Iterator[Callable[[str, float | None], None]]:
    """Show a progress bar on stderr.

    Yields a function that takes a text and the share that is done (0 to 1; None if unknown). If
    stderr is not a terminal, the text is printed as a line, up to " · ", whenever it changes.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        printed: list[str] = []

        def print_changes(text: str, done: float | None) -> None:  # noqa: ARG001
            line = text.partition(" · ")[0]
            if line not in printed[-1:]:
                printed.append(line)
                print_message(line)

        yield print_changes
        return
    text = TextColumn("{task.description}", markup=False)
    columns = (SpinnerColumn(), BarColumn(), text, TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)

        def update(text: str, done: float | None) -> None:
            bar.update(task, description=escape_line(text), total=None if done is None else 1.0)
            bar.update(task, completed=done or 0.0)

        yield update
