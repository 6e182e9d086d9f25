"""Check that what others need to know about a task is there, and is no placeholder."""

import re

from kernel_env.audit.task.finding import Finding, failed, not_applicable, ok
from kernel_env.tasks import Task
from kernel_env.tasks.spec import missing_to_publish

CHECK = "publication"
PLACEHOLDER = re.compile(
    r"\W*(todo|tbd|tba|fixme|xxx+|\?+|\.{3}|…|-+|n/?a|none|null|unknown|placeholder|licence|license"
    r"|source|your .*|lorem ipsum.*)\W*|todo\b.*",
    re.IGNORECASE,
)
"""A text that stands for one that is still to be written."""
TO_DO = re.compile(r"\bTODO\b|\bFIXME\b|lorem ipsum", re.IGNORECASE)
"""A mark of what is still to be written, in a longer text."""


def check(task: Task) -> list[Finding]:
    """Check the fields and files that a private task can lack.

    A placeholder in a field is a failure, because it looks like an answer.
    """
    for name in ("licence", "source", "name", "summary"):
        text = getattr(task.file, name)
        if text and is_placeholder(text):
            remedy = "; a private task can omit it" if name in ("licence", "source") else ""
            return [
                failed(CHECK, f"task.toml: {name} is {text!r}, a placeholder; write it{remedy}")
            ]
    missing = missing_to_publish(task)
    unfinished = [name for name in ("description.md", "NOTICE") if has_to_do(task, name)]
    if unfinished and not missing:
        names = " and ".join(unfinished)
        verb = "contains" if len(unfinished) == 1 else "contain"
        return [failed(CHECK, f"{names} {verb} TODO; write what is missing")]
    if missing:
        to_do = f", and replace each TODO in {' and '.join(unfinished)}" if unfinished else ""
        return [
            not_applicable(
                CHECK, f"a private task; before others use it, add {', '.join(missing)}{to_do}"
            )
        ]
    return [ok(CHECK, "licence, source, NOTICE, solution and leaderboard are there")]


def is_placeholder(text: str) -> bool:
    """Return whether a field's text stands for one that is still to be written.

    >>> is_placeholder("TODO"), is_placeholder("CC BY 4.0")
    (True, False)
    """
    return PLACEHOLDER.fullmatch(text.strip()) is not None


def has_to_do(task: Task, name: str) -> bool:
    """Return whether a text file of the task has a mark of what is still to be written."""
    path = task.folder / name
    return path.is_file() and bool(TO_DO.search(path.read_text("utf-8", errors="replace")))
