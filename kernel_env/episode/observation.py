"""What the agent sees after a step: a pure view. Same steps, same view; replay relies on it."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from kernel_env.episode.budget import Budget
from kernel_env.episode.step import (
    CellExecuted,
    CodeValidated,
    Graded,
    InfoShown,
    KernelReset,
    Progress,
    Rejected,
    Step,
)
from kernel_env.grading.grade import Place
from kernel_env.kernel.cell import Cell, FileChange, Output, Recovery, Variable

Feedback = Literal["public", "both"]
"""Which scores the agent is told while it works."""
LIMIT_CHARACTERS = 16_000
"""Of a cell's text; beyond it head and tail are shown and the rest is counted."""
ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\].*?(?:\x07|\x1b\\)|\x1b[@-Z\\-_]")
LISTED = 20


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What the agent sees. `text` says everything; the other fields say it to programs."""

    text: str
    error: str = ""
    """`Name: value` of the exception that ended the cell; empty when there was none."""
    restored: str = ""
    """Why the kernel had to be put back; empty when it did not break."""
    state_lost: str = ""
    """Why the kernel's memory is not what the agent left there; empty while it is."""
    public_score: float | None = None
    """Of the submission graded by this step; None when none was."""
    private_score: float | None = None
    """The same on the private split; None unless feedback is `both`."""
    best_public_score: float | None = None
    position: float = 0.0
    """Share of the public leaderboard beaten by the best submission so far, 0 … 1."""
    steps_left: int = 0
    seconds_left: float = 0.0
    images: tuple[str, ...] = ()
    """PNG images that the cell displayed, base64."""
    html: tuple[str, ...] = ()
    """HTML that the cell displayed. It is untrusted."""


def observe(step: Step, progress: Progress, budget: Budget) -> Observation:
    """The view after `step`, where `progress` includes it."""
    cell = step.cell
    error = cell.error if cell else None
    grade = step.submission.grade if isinstance(step.submission, Graded) else None
    best = progress.best.grade if progress.best else None
    return Observation(
        text="\n".join([*describe(step), standing(progress, budget)]),
        error=f"{error.name}: {plain(error.value)}" if error else "",
        restored=cell.recovery.cause if cell and cell.recovery else "",
        state_lost=step.state_lost or "",
        public_score=grade.public_score if grade else None,
        private_score=grade.private_score if grade else None,
        best_public_score=best.public_score if best else None,
        position=best.public.position if best and best.public else 0.0,
        steps_left=budget.steps_left(progress.spent),
        seconds_left=budget.seconds_left(progress.spent),
        images=tuple(representations(cell, "image/png")),
        html=tuple(representations(cell, "text/html")),
    )


def opening(overview: str, data: str, output: str, budget: Budget) -> Observation:
    """What the agent sees before its first step: the task, where things are, what it may use."""
    lines = [
        overview,
        f"Data: {data} ($DATA_PATH). Submission: {output} ($OUTPUT_PATH).",
        f"A cell may run for {budget.cell_seconds:g} s.",
        standing(Progress(higher_is_better=True), budget),
    ]
    return Observation(text="\n".join(lines), steps_left=budget.steps, seconds_left=budget.seconds)


def history(steps: Sequence[Step]) -> str:
    """Some steps again, as `get_history` shows them."""
    shown = [
        "\n".join([f"── step {step.number}: {step.action.kind} ──", *asked(step), *describe(step)])
        for step in steps
    ]
    return "\n\n".join(shown) or "nothing has happened yet"


def asked(step: Step) -> list[str]:
    """The code of a step, if it had any."""
    code = getattr(step.action, "code", None)
    return [code.rstrip("\n")] if code else []


def describe(step: Step) -> list[str]:
    """What came of one step, in lines."""
    match step.outcome:
        case InfoShown(text=text):
            return [text]
        case KernelReset():
            return ["The kernel is fresh and the workspace is empty. The budget goes on running."]
        case CodeValidated(cell=cell, note=note):
            return [f"Tried only: nothing of this lasts. {note}".rstrip(), *cell_lines(cell)]
        case CellExecuted(cell=cell, submission=submission):
            return [*cell_lines(cell), *submission_lines(submission)]


def cell_lines(cell: Cell) -> list[str]:
    """A cell's outputs and everything else there is to say of it."""
    lines = []
    if cell.late:
        lines += ["[printed by threads or programs of earlier cells]", clipped(shown(cell.late))]
    if text := clipped(shown(cell.outputs)):
        lines.append(text)
    if cell.dropped_bytes:
        lines.append(f"[{cell.dropped_bytes:,} bytes of output were not kept]")
    if cell.timed_out:
        end = " It was interrupted; variables are kept." if not cell.recovery else ""
        lines.append(f"[time is up: the cell ran for {cell.seconds:.1f} s.{end}]")
    if cell.recovery:
        lines.append(f"[KERNEL RESTORED: {recovery_words(cell.recovery)}]")
    elif cell.broke:
        lines.append(f"[it broke the copy of the kernel that it was tried on: {cell.broke}]")
    if cell.state_lost:
        lines.append(
            f"[STATE LOST: {cell.state_lost}. Look at what is there before you rely on it.]"
        )
    return [*lines, f"[{'; '.join(cell_facts(cell))}]"]


def recovery_words(recovery: Recovery) -> str:
    """What broke the kernel, what is undone and what is not as it was."""
    earlier = f"{recovery.cells} earlier cell{'s' if recovery.cells > 1 else ''}"
    if recovery.how == "again":
        done = (
            "the cell was run once more, with the memory that copies of the kernel had held, and"
            " that counts"
        )
    elif recovery.before:
        done = "the kernel was put back to where the last cell left it, and this cell then ran"
    elif recovery.cells or recovery.lost:
        done = "nothing this cell did lasts"
    else:
        done = "nothing this cell did lasts: variables and files are as they were before it"
    if recovery.cells:
        done += (
            f"; {earlier} had to be run again, so values that depend on the time or on chance may"
            " differ from what was seen"
        )
    if recovery.lost:
        done += ", and not everything came back"
    note = f" Note: {recovery.note}." if recovery.note else ""
    return (
        f"{recovery.cause}; {done}. Threads, pools and processes of earlier cells are gone.{note}"
    )


def cell_facts(cell: Cell) -> list[str]:
    """How long a cell took and what it changed."""
    return [f"{cell.seconds:.2f} s", *changes(cell.variables, cell.files)]


def changes(variables: Iterable[Variable], files: Iterable[FileChange]) -> list[str]:
    """What a cell defined and wrote, briefly."""
    named = [variable_words(v) for v in variables]
    written = [f"{f.path} ({f.change}, {f.bytes:,} bytes)" for f in files]
    told = []
    for title, items in (("variables", named), ("files", written)):
        if items:
            more = f" and {len(items) - LISTED} more" if len(items) > LISTED else ""
            told.append(f"{title}: {', '.join(items[:LISTED])}{more}")
    return told


def variable_words(variable: Variable) -> str:
    """`df: DataFrame (3, 4), 1.2 MB` and the like."""
    if variable.change == "deleted":
        return f"{variable.name} deleted"
    size = f", {variable.megabytes:.1f} MB" if variable.megabytes >= 0.1 else ""
    length = variable.shape.isdigit() and f", length {variable.shape}"
    shape = length or (f" {variable.shape}" if variable.shape not in ("", "()") else "")
    return f"{variable.name}: {variable.type}{shape}{size}"


def submission_lines(submission: Graded | Rejected | None) -> list[str]:
    """What became of the submission."""
    match submission:
        case Graded(grade=grade):
            line = f"Submission graded: public score {grade.public_score:.6g}"
            if grade.public:
                line += f", {place_words(grade.public)}"
            if grade.private_score is not None:
                line += f"; private score {grade.private_score:.6g}"
            return [line + "."]
        case Rejected(reason=reason):
            return [f"Submission refused: {reason}."]
    return []


def place_words(place: Place) -> str:
    """`beats 83 % of 24 entries (rank 5 of 25)`."""
    share, ranks = 100 * place.position, place.entries + 1
    return f"beats {share:.0f} % of {place.entries} entries (rank {place.rank} of {ranks})"


def standing(progress: Progress, budget: Budget) -> str:
    """The best so far and what is left."""
    best = (
        f"best public score so far {progress.best.grade.public_score:.6g}"
        f" (step {progress.best.step})"
        if progress.best
        else "no graded submission yet"
    )
    steps = budget.steps_left(progress.spent)
    left = (
        f"{steps} step{'' if steps == 1 else 's'}"
        f" and {budget.seconds_left(progress.spent):.0f} s left"
    )
    return f"[{best}; {left}]"


def shown(outputs: Iterable[Output]) -> str:
    """Outputs as plain text, in order."""
    return "\n".join(text for output in outputs if (text := output_text(output).rstrip("\n")))


def output_text(output: Output) -> str:
    """One output as plain text; a picture is named by its type and size."""
    match output["output_type"]:
        case "stream":
            return plain(output["text"])
        case "error":
            trace = "\n".join(output["traceback"])
            return plain(trace or f"{output['ename']}: {output['evalue']}")
    data = output["data"]
    pictures = [f"[{k}, {len(v):,} characters]" for k, v in data.items() if k.startswith("image/")]
    for kind in ("text/plain", "text/markdown", "text/html"):
        if isinstance(data.get(kind), str):
            return "\n".join([plain(data[kind]), *pictures])
    return "\n".join(pictures)


def plain(text: str) -> str:
    """The text without ANSI escapes."""
    return ANSI.sub("", text) if "\x1b" in text else text


def clipped(text: str, limit: int = LIMIT_CHARACTERS) -> str:
    """Head and tail of a long text, with the number of characters left out between them."""
    if len(text) <= limit:
        return text
    head, tail = limit * 3 // 5, limit * 2 // 5
    return f"{text[:head]}\n[… {len(text) - head - tail:,} characters left out …]\n{text[-tail:]}"


def representations(cell: Cell | None, kind: str) -> Iterable[str]:
    """What a cell displayed in one MIME type."""
    for output in cell.outputs if cell else ():
        data = output.get("data", {}).get(kind)
        if isinstance(data, str):
            yield data
