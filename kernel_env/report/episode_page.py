"""Write the page of an episode for a report, and what the report itself shows of its steps.

Both are named by the digest of the journal and kept, so that a later report uses them again: making
a page takes up to a second.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from pydantic import TypeAdapter

from kernel_env.episode.journal import JOURNAL, read_journal
from kernel_env.episode.notebook import render
from kernel_env.episode.observation import rounded_text
from kernel_env.episode.step import Graded, Rejected, Step
from kernel_env.episode.trajectory import Header
from kernel_env.errors import SandboxError, UsageError
from kernel_env.report.page import page_of
from kernel_env.untrusted_text import escape_line

FOLDER = "episodes"
"""The folder of the pages, in that of the report."""
LOOKS = 1
"""Raise it when pages change, so that no page of an earlier version is used again."""
DETAIL_CHARACTERS = 200
STYLE = """
nav.steps { position: sticky; top: 0; background: #fff; border-bottom: 1px solid #d0d7de;
  padding: .5rem 0; font-size: .8rem; max-height: 6.2rem; overflow: auto; z-index: 2; }
nav.steps a { display: inline-block; min-width: 1.5rem; margin: 1px; padding: 0 .25rem;
  text-align: center; border-radius: 4px; background: #eff1f3; color: #1f2328;
  text-decoration: none; }
nav.steps a.back { background: none; color: #0969da; padding-left: 0; margin-right: .6rem; }
nav.steps a.failed { background: #ffe0dd; color: #a40e26; }
nav.steps a.graded { background: #0969da; color: #fff; }
[id^="cell-id="] { scroll-margin-top: 7rem; }
[id^="cell-id="]:target { outline: 2px solid #0969da; outline-offset: 6px; border-radius: 4px; }
.output_area pre, .input_area pre { max-height: 40rem; }
@media print { nav.steps { display: none; } .output_area pre { max-height: none; } }
"""


@dataclass(frozen=True, kw_only=True)
class StepSummary:
    """A step in one line."""

    number: int
    kind: str
    result: str
    """`graded`, `rejected`, `error`, `time-out`, `crash`; empty for a step without any of these."""
    detail: str
    """The public score, or what went wrong, in one line."""
    name: str = ""
    """The name of the exception, for `error`."""
    seconds: float = 0.0
    """The wall-clock time of the cell."""
    by_person: bool = False


@dataclass(frozen=True, kw_only=True)
class EpisodePage:
    """A page that was written."""

    file: str
    """Its path, relative to the folder of the report."""
    steps: Sequence[StepSummary]


SUMMARIES: TypeAdapter[list[StepSummary]] = TypeAdapter(list[StepSummary])


def write_episode_page(run: Path, report: Path) -> EpisodePage:
    """Write the page of an episode, if it is not there yet.

    Args:
        run: the folder of the episode.
        report: the folder of the report.

    Raises `UsageError` for a journal that cannot be read and without the extra `report`, and
    `SandboxError` if the page cannot be written.
    """
    try:
        journal = (run / JOURNAL).read_bytes()
    except OSError as error:
        raise UsageError(f"{run / JOURNAL} cannot be read: {error.strerror}") from error
    name = hashlib.sha256(b"%d\n" % LOOKS + journal).hexdigest()[:20]
    page, summary = report / FOLDER / f"{name}.html", report / FOLDER / f"{name}.json"
    file = f"{FOLDER}/{page.name}"
    if page.is_file() and summary.is_file():
        try:
            return EpisodePage(file=file, steps=SUMMARIES.validate_json(summary.read_bytes()))
        except ValueError:
            pass  # cut off: it is written again
    trajectory = read_journal(run / JOURNAL)
    steps = [summarise(step) for step in trajectory.steps]
    text = page_of(render(trajectory), before=navigation(trajectory.header, steps), style=STYLE)
    write_file(page, text)
    write_file(summary, json.dumps([asdict(step) for step in steps]))
    return EpisodePage(file=file, steps=steps)


def write_file(path: Path, text: str) -> None:
    """Write a file and replace it atomically. Raises `SandboxError`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(
            "w", encoding="utf-8", errors="backslashreplace", dir=path.parent, delete=False
        ) as file:
            try:
                file.write(text)
                file.close()
                Path(file.name).chmod(0o644)
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink()
                raise
    except OSError as error:
        raise SandboxError(f"{path} cannot be written: {error.strerror}") from error


def summarise(step: Step) -> StepSummary:
    """Return a step in one line."""
    result, detail, name = result_of(step)
    return StepSummary(
        number=step.number,
        kind=step.action.kind,
        result=result,
        detail=escape_line(detail, DETAIL_CHARACTERS),
        name=escape_line(name, DETAIL_CHARACTERS),
        seconds=round(step.cell.seconds, 3) if step.cell else 0.0,
        by_person=step.actor == "human",
    )


def result_of(step: Step) -> tuple[str, str, str]:
    """Return result, detail and name of the exception of a step; see `StepSummary`."""
    match step.submission:
        case Graded(grade=grade):
            return "graded", rounded_text(grade.public_score), ""
        case Rejected(reason=reason):
            return "rejected", reason, ""
    cell = step.cell
    if cell is None:
        return "", "", ""
    if cell.broke is not None:
        return "crash", cell.broke, ""
    if cell.timed_out:
        return "time-out", f"after {cell.seconds:.0f} s", ""
    if error := cell.error:
        return "error", f"{error.name}: {error.value}", error.name
    return "", "", ""


def step_anchor(number: int) -> str:
    """Return the ID of a step on the page of its episode."""
    return f"cell-id=step-{number:04}"


def navigation(header: Header, steps: Sequence[StepSummary]) -> str:
    """Return the links to the report and to each step."""
    links = [f'<a class="back" href="../index.html#run={attribute(header.episode)}">← Report</a>']
    for step in steps:
        look = {"": "", "graded": "graded"}.get(step.result, "failed")
        title = f"{step.kind} {step.result} {step.detail}".strip()
        links.append(
            f'<a class="{look}" title="{attribute(title)}" href="#{step_anchor(step.number)}">'
            f"{step.number}</a>"
        )
    return f'<nav class="steps" aria-label="Steps">{"".join(links)}</nav>'


def attribute(text: Any) -> str:
    """Return a text for an attribute of HTML."""
    return escape(escape_line(str(text)))
