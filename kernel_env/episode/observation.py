"""Compute what the agent sees after a step. The same steps give the same observation."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kernel_env.episode.budget import MIB, Budget
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
from kernel_env.field_docs import show_fields
from kernel_env.grading.grade import Place
from kernel_env.grading.protocol import Protocol, Shown
from kernel_env.kernel.cell import Cell, FileChange, Output, Variable
from kernel_env.kernel.cell import describe_recovery as describe_recovery
from kernel_env.untrusted_text import Block, clipped, escape_line, escape_lines, join, quote_name

LIMIT_CHARACTERS = 16_000
"""Limit of a cell's text; beyond it head and tail are shown and the rest is counted."""
LIMIT_JSON_CHARACTERS = 4_000
"""Limit of a display that has no other form than JSON."""
LIMIT_CODE_CHARACTERS = 2_000
"""Limit of the code of each cell that a person ran."""
MAX_LISTED = 20
"""How many changed variables, changed files, and cells of people are listed."""
SHAPE = re.compile(r"\([\d, ]*\)")
"""A shape as NumPy writes it."""
LITTLE_LEFT = 0.2
"""Share of the stored bytes below which what is left of them is shown; few episodes come near."""
MAX_KINDS = 10
"""How many MIME types of a display are listed."""
OWN_LINE = re.compile(
    r"^[^\w\n[]*(?:\[(?![\w.+-]+/[\w.+-]+, [\d,]+ characters\])[ \t[]*(?:[^\W\d]|\d+\.\d\d s[;\]])"
    r"|submission (?:graded|rejected|accepted)|trial:|the kernel is fresh|step \d)",
    re.IGNORECASE | re.MULTILINE,
)
"""What begins like a line of the environment. Output with such a line is fenced, so that a program
cannot print a score or a restored kernel."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Observation:
    """What the agent sees. `text` contains everything; the other fields are for programs."""

    text: str
    """Output of a cell that could be taken for a line of the environment is fenced in it."""
    error: str = ""
    """`Name: value` of the exception that ended the cell; empty if there was none."""
    restored: str = ""
    """Why the kernel had to be restored; empty if it did not crash."""
    state_lost: str = ""
    """Why variables or files are not as the agent left them; empty if they are."""
    public_score: float | None = None
    """Public score of the submission of this step, rounded to what its place on the leaderboard
    needs; None if none was graded, and if the feedback does not tell it."""
    private_score: float | None = None
    """The same on the private split; None unless feedback is `both`."""
    best_public_score: float | None = None
    """The best public score that was shown."""
    position: float = 0.0
    """Share of the public leaderboard that the best score shown beats, 0 to 1."""
    steps_left: int = 0
    seconds_left: float = 0.0
    images: tuple[str, ...] = ()
    """PNG images that the cell displayed, base64."""
    html: tuple[str, ...] = ()
    """HTML that the cell displayed. It is untrusted."""


def observe(step: Step, progress: Progress, budget: Budget) -> Observation:
    """Return the observation after `step`; `progress` includes it."""
    cell = step.cell
    error = cell.error if cell else None
    submission, best = step.submission, progress.shown
    graded = submission if isinstance(submission, Graded) else None
    shown = graded if graded and graded.shown == "score" else None
    people = people_lines(progress.told)
    parts: list[str | Block] = [*people, *describe(step), *feedback_lines(step)]
    parts.append(standing(progress, budget))
    return Observation(
        text=join(parts, OWN_LINE),
        error=escape_line(f"{error.name}: {error.value}") if error else "",
        restored=escape_line(cell.recovery.cause) if cell and cell.recovery else "",
        state_lost=escape_line(step.state_lost or ""),
        public_score=shown_public(shown) if shown else None,
        private_score=shown_private(shown) if shown else None,
        best_public_score=best.score if best else None,
        position=best.place.position if best and best.place else 0.0,
        steps_left=budget.steps_left(progress.spent),
        seconds_left=budget.seconds_left(progress.spent),
        images=tuple(representations(cell, "image/png")),
        html=tuple(representations(cell, "text/html")),
    )


def first_observation(
    overview: str, machine: str, data: str, output: str, budget: Budget, rules: str = ""
) -> Observation:
    """Return the observation before the first step: task, machine, paths, rules, budget."""
    lines: list[str | Block] = [
        Block(overview, fence=False),
        Block(machine, fence=False),
        f"Data: {data} ($DATA_PATH). Submission: {output} ($OUTPUT_PATH).",
        f"A cell can run for {budget.cell_seconds:g} s.",
        *([rules] if rules else []),
        standing(Progress(higher_is_better=True), budget),
    ]
    return Observation(
        text=join(lines, OWN_LINE), steps_left=budget.steps, seconds_left=budget.seconds
    )


def recorded_opening(description: str, budget: Budget, rules: Protocol | None) -> str:
    """Return the first message to an agent without what only a running sandbox knows.

    It has the description, the rules and the budget. It does not have the machine, the list of the
    data files and the paths; the environment variables that hold the paths are named instead.
    """
    lines = [
        description.rstrip(),
        "",
        "Data: $DATA_PATH. Submission: $OUTPUT_PATH.",
        f"A cell can run for {budget.cell_seconds:g} s.",
        *([rules.describe(budget.submissions)] if rules else []),
        standing(Progress(higher_is_better=True), budget),
    ]
    return escape_lines("\n".join(lines))


def history(steps: Sequence[Step]) -> str:
    """Return the text of `get_history` about some steps."""

    def one(step: Step) -> str:
        by = " by a person" if step.actor == "human" else ""
        title = f"── step {step.number}: {step.action.kind}{by} ──"
        parts: list[str | Block] = [title, *code_lines(step), *describe(step)]
        parts += feedback_lines(step)
        return join(parts, OWN_LINE)

    return "\n\n".join(map(one, steps)) or "No steps yet."


def people_lines(steps: Sequence[Step]) -> list[str | Block]:
    """Describe what people changed in the agent's kernel between two steps of the agent."""
    if not steps:
        return []
    count = f"{len(steps)} step{'' if len(steps) == 1 else 's'}"
    more = len(steps) - MAX_LISTED
    rest = f" (the last {MAX_LISTED} are shown; get_history shows more)" if more > 0 else ""
    lines: list[str | Block] = [f"[Before this step, a person took {count} in your kernel{rest}:]"]
    for step in steps[-MAX_LISTED:]:
        lines.append(f"[step {step.number}, {step.action.kind} by a person:]")
        lines += [Block(clipped(block.text, LIMIT_CODE_CHARACTERS)) for block in code_lines(step)]
        lines += describe(step)
    return [*lines, "[What follows is of your own step.]"]


def feedback_lines(step: Step) -> list[str | Block]:
    """Return what a provider of feedback said of a step."""
    remark = step.remark
    if remark is None or not remark.text:
        return []
    return [f"[feedback by {escape_line(remark.source)}:]", Block(remark.text)]


def code_lines(step: Step) -> list[Block]:
    """Return the code of a step, if it had any."""
    code = getattr(step.action, "code", None)
    return [Block(code.rstrip("\n"))] if code else []


def describe(step: Step) -> list[str | Block]:
    """Describe the outcome of a step, in lines and blocks."""
    match step.outcome:
        case InfoShown(text=text):
            return [Block(text, fence=False)]
        case KernelReset():
            return ["The kernel is fresh and the workspace is empty. The budget keeps running."]
        case CodeValidated(cell=cell, note=note):
            return [f"Trial: all changes were discarded. {note}".rstrip(), *cell_lines(cell)]
        case CellExecuted(cell=cell, submission=submission):
            own = step.actor == "agent"  # it learns no score of a submission that it did not make
            return [*cell_lines(cell), *(submission_lines(submission) if own else [])]


def cell_lines(cell: Cell) -> list[str | Block]:
    """Describe a cell: outputs, time, recovery, changes."""
    lines: list[str | Block] = []
    if cell.late:
        lines += ["[output of threads or programs of earlier cells]", outputs_block(cell.late)]
    if (block := outputs_block(cell.outputs)).text:
        lines.append(block)
    if cell.dropped_bytes:
        lines.append(f"[{cell.dropped_bytes:,} bytes of output were dropped]")
    if cell.timed_out:
        end = " It was interrupted; variables are kept." if not cell.recovery else ""
        lines.append(f"[time limit reached: the cell ran for {cell.seconds:.1f} s.{end}]")
    lines += [f"[note: {line}]" for line in remarks(cell)]
    if cell.recovery:
        lines.append(f"[KERNEL RESTORED: {describe_recovery(cell.recovery)}]")
    elif cell.broke:
        lines.append(f"[The trial kernel crashed: {cell.broke}]")
    if cell.state_lost:
        lines.append(
            f"[STATE LOST: {cell.state_lost}. Check variables and files before you use them.]"
        )
    return [*lines, f"[{'; '.join(cell_facts(cell))}]"]


def remarks(cell: Cell) -> list[str]:
    """Return what else is worth knowing about how a cell was run."""
    full = ", ".join(cell.full_folders)
    return [
        *([cell.note] if cell.note else []),
        *([f"no space left in {full}: delete files there"] if full else []),
    ]


def cell_facts(cell: Cell) -> list[str]:
    """Describe how long a cell took and what it changed."""
    return [f"{cell.seconds:.2f} s", *changes(cell.variables, cell.files)]


def changes(variables: Iterable[Variable], files: Iterable[FileChange]) -> list[str]:
    """Describe which variables and files a cell changed."""
    named = [describe_variable(v) for v in variables]
    written = [f"{quote_name(f.path)} ({f.change}, {f.bytes:,} bytes)" for f in files]
    lines = []
    for title, items in (("variables", named), ("files", written)):
        if items:
            more = f" and {len(items) - MAX_LISTED} more" if len(items) > MAX_LISTED else ""
            lines.append(f"{title}: {', '.join(items[:MAX_LISTED])}{more}")
    return lines


def describe_variable(variable: Variable) -> str:
    """Describe a variable, for example `df: DataFrame (3, 4), 1.2 MB`."""
    name, kind = quote_name(variable.name), quote_name(variable.type)
    if variable.change == "deleted":
        return f"{name} deleted"
    size = f", {variable.megabytes:.1f} MB" if variable.megabytes >= 0.1 else ""
    if variable.shape in ("", "()"):
        return f"{name}: {kind}{size}"
    if variable.shape.isdigit():
        return f"{name}: {kind}, length {variable.shape}{size}"
    shape = variable.shape if SHAPE.fullmatch(variable.shape) else quote_name(variable.shape)
    return f"{name}: {kind} {shape}{size}"


def submission_lines(submission: Graded | Rejected | None) -> list[str]:
    """Describe what the agent is shown of a submission."""
    match submission:
        case Graded(shown="score", grade=grade):
            line = f"Submission graded: public score {score_text(shown_public(submission))}"
            if grade.public:
                line += f", {describe_place(grade.public)}"
            if grade.private_score is not None:
                line += f"; private score {score_text(shown_private(submission))}"
            return [line + ".", *notes(submission)]
        case Graded(shown=shown):
            return [f"Submission accepted: {ACCEPTED[shown]}.", *notes(submission)]
        case Rejected(reason=reason):
            return [f"Submission rejected: {reason}."]
    return []


ACCEPTED: dict[Shown, str] = {
    "no gain": "it does not beat the best public score by more than chance explains",
    "valid": "it is well-formed",
    "not counted": "it is well-formed; the budget of submissions is used up, so it has no score",
}
"""What the agent reads of a submission whose score is not shown."""


def shown_public(graded: Graded) -> float:
    """Return the public score as the agent is shown it."""
    return graded.grade.public_score if graded.public_shown is None else graded.public_shown


def shown_private(graded: Graded) -> float | None:
    """Return the private score as the agent is shown it; None if it is not."""
    return graded.grade.private_score if graded.private_shown is None else graded.private_shown


def score_text(score: float | None) -> str:
    """Return a score as text, with three significant digits at least."""
    if score is None:
        return "none"
    padded = f"{score:#.3g}".rstrip(".")
    return padded if float(padded) == score and "e" not in padded else f"{score:.12g}"


def rounded_text(score: float) -> str:
    """Return a score for a reader, with six significant digits."""
    return score_text(float(f"{score:.6g}"))


def notes(graded: Graded) -> list[str]:
    """Return what the agent should know about its predictions."""
    return [f"[{graded.note}]"] if graded.note else []


def describe_place(place: Place) -> str:
    """Describe a place, for example `beats 83 % of 24 entries (rank 5 of 25)`."""
    share, ranks = 100 * place.position, place.entries + 1
    return f"beats {share:.0f} % of {place.entries} entries (rank {place.rank} of {ranks})"


def standing(progress: Progress, budget: Budget) -> str:
    """Describe the best score so far and what is left of the budget."""
    if progress.shown:
        score, step = score_text(progress.shown.score), progress.shown.step
        best = f"best public score so far {score} (step {step})"
    elif progress.submissions:
        number = progress.submissions
        best = f"{number} submission{'' if number == 1 else 's'} accepted so far"
    else:
        best = "no graded submission yet"
    steps = budget.steps_left(progress.spent)
    left = (
        f"{steps} step{'' if steps == 1 else 's'}"
        f" and {budget.seconds_left(progress.spent):.0f} s left"
    )
    if budget.submissions is not None:
        more = max(0, budget.submissions - progress.submissions)
        left += f"; {more} submission{'' if more == 1 else 's'} can still be graded"
    stored = budget.output_bytes_left(progress.spent)
    if stored < LITTLE_LEFT * budget.output_bytes:
        left += f"; {stored / MIB:,.1f} MiB of output and submissions can still be stored"
    return f"[{best}; {left}]"


def outputs_block(outputs: Iterable[Output]) -> Block:
    """Return outputs as plain text, in order; of a long text head and tail."""
    raw = "\n".join(text for output in outputs if (text := output_text(output).rstrip("\n")))
    if len(raw) > 4 * LIMIT_CHARACTERS:  # what is left out costs nothing
        head, tail = raw[: 2 * LIMIT_CHARACTERS], raw[-2 * LIMIT_CHARACTERS :]
        head = escape_lines(head)[: LIMIT_CHARACTERS * 3 // 5]
        tail = escape_lines(tail)[-LIMIT_CHARACTERS * 2 // 5 :]
        left_out = len(raw) - len(head) - len(tail)
        return Block(f"{head}\n[… {left_out:,} characters left out …]\n{tail}")
    return Block(clipped(escape_lines(raw), LIMIT_CHARACTERS))


def output_text(output: Output) -> str:
    """Return an output as text; an image is named by its type and size."""
    match output["output_type"]:
        case "stream":
            return str(output["text"])
        case "error":
            trace = "\n".join(output["traceback"])
            return trace or f"{output['ename']}: {output['evalue']}"
    data = output["data"]
    texts = ("text/plain", "text/markdown", "text/html")
    text = next((data[kind] for kind in texts if isinstance(data.get(kind), str)), None)
    if text is None and "application/json" in data:
        text = clipped(json.dumps(data["application/json"]), LIMIT_JSON_CHARACTERS)
    kinds = [kind for kind in data if kind.startswith("image/") or text is None]
    named = [
        f"[{quote_name(kind)}, {characters(data[kind]):,} characters]"
        for kind in kinds
        if kind not in texts
    ]
    more = [f"[and {len(named) - MAX_KINDS:,} more types]"] if len(named) > MAX_KINDS else []
    return "\n".join([*([] if text is None else [text]), *named[:MAX_KINDS], *more])


def characters(value: object) -> int:
    """Return the length of a representation."""
    return len(value if isinstance(value, str) else json.dumps(value))


def representations(cell: Cell | None, kind: str) -> Iterable[str]:
    """Yield what a cell displayed in one MIME type."""
    for output in cell.outputs if cell else ():
        data = output.get("data", {}).get(kind)
        if isinstance(data, str):
            yield data
