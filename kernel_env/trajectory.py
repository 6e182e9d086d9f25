"""The record of an episode: the journal it grows in, and the notebook people read.

The journal is the truth: a line of JSON per step, synced before the agent sees its
observation. The notebook is rendered from it, whole and atomically, and holds the
same: `parse_notebook(render(trajectory)) == trajectory`.
"""

import html
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal, overload

import nbformat
from nbformat import NotebookNode
from pydantic import TypeAdapter, ValidationError

from kernel_env import codec
from kernel_env.budget import Budget, Spent
from kernel_env.errors import SandboxError, UsageError
from kernel_env.grading.grade import Grade
from kernel_env.grading.leaderboard import human_rank
from kernel_env.observation import cell_facts, place_words, recovery_words, submission_lines
from kernel_env.step import Cell, Checked, Graded, Refused, Restarted, Step, Told

AGAIN = (
    "To run it again: `kernel-env replay` with this file; or by hand, with the environment"
    " variables DATA_PATH and OUTPUT_PATH set, leaving out the cells tagged `skip-execution`:"
    " what was only tried, and what broke the kernel and was undone."
)
JOURNAL = "journal.jsonl"
NOTEBOOK = "trajectory.ipynb"

Status = Literal[
    "finished", "budget", "interrupted", "agent_failed", "task_failed", "machine_failed", "crashed"
]
"""Why an episode ended: the agent was done, a limit was reached, the operator stopped it; or who
failed: the agent, the task's metric, the machine, or we ourselves."""


@dataclass(frozen=True, kw_only=True)
class Fork:
    """From where an episode branched off another."""

    episode: str
    step: int
    """The steps up to this one are the other episode's."""
    how: Literal["copy", "replay"]
    """The kernel is a copy, or cells were run again to reach that step."""
    cells: int = 0
    """How many cells were run again."""
    lost: str = ""
    """What running them again did not give back; empty when it gave everything."""
    seed: int | None = None
    """What the random states started from at the fork; None when they are the other's."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """What is known of an episode before its first step."""

    episode: str
    task: str
    task_name: str
    task_version: str
    """Names the exact content that the data was prepared from."""
    description: str
    """The task's own text, markdown."""
    metric: str
    higher_is_better: bool
    leaderboard_kind: str
    budget: Budget
    reward: str
    feedback: str
    sandbox: str
    isolated: bool
    image: str
    agent: str = ""
    model: str = ""
    seed: int = 0
    started: str = ""
    """UTC, ISO 8601."""
    version: str = ""
    """Of kernel_env."""
    fork: Fork | None = None
    """None for an episode that began at the beginning."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How an episode ended."""

    status: Status
    reason: str
    spent: Spent
    """Of the whole episode, with what the agent used after its last step."""
    chosen_step: int | None = None
    """The step whose submission counts: the best public one."""
    grade: Grade | None = None
    """Of the chosen submission, now with its private half."""
    missing: str = ""
    """What the machine could not do for its kernel, and why; empty when nothing was missing."""


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """An episode as a value: how it began, what happened, how it ended."""

    header: Header
    steps: Sequence[Step]
    ending: Ending | None = None
    """None for an episode that is still going on, or whose host was killed."""


HEADER = TypeAdapter(Header)
ENDING = TypeAdapter(Ending)


# ── the journal ───────────────────────────────────────────────────────────────────────────


class Journal(Sequence[Step]):
    """Steps on disk, in order. Only their places in the file are kept in memory."""

    def __init__(self, path: Path, header: Header, *, begin: Sequence[bytes] = ()) -> None:
        """Begin a new journal, with lines of another. Raises `SandboxError` when it cannot."""
        self.path, self.header = path, header
        self.ending: Ending | None = None
        self._places: list[int] = []
        try:
            self._file = path.open("xb", buffering=0)
        except OSError as error:
            raise SandboxError(f"the journal {path} cannot be made: {error.strerror}") from error
        header_line = b'{"header": %s}\n' % HEADER.dump_json(header)
        place = len(header_line)
        for line in begin:
            self._places.append(place)
            place += len(line)
        try:
            self._write(b"".join([header_line, *begin]))
        except SandboxError:
            self._file.close()
            raise

    def close(self) -> None:
        """Let go of the file; what it holds can still be read."""
        self._file.close()

    def append(self, step: Step) -> None:
        """Write a step and wait until it is on the disk. Raises `SandboxError` when it is not."""
        self._places.append(self._write(b'{"step": %s}\n' % codec.step_json(step)))

    def end(self, ending: Ending) -> None:
        """Write how the episode ended."""
        self._write(b'{"ending": %s}\n' % ENDING.dump_json(ending))
        self.ending = ending

    def lines(self, steps: int) -> list[bytes]:
        """The first steps as they stand in the file."""
        with self.path.open("rb") as file:
            file.seek(self._places[0] if self._places else 0)
            return [file.readline() for _ in self._places[:steps]]

    def _write(self, data: bytes) -> int:
        place = self._file.tell()
        line = memoryview(data)
        try:
            while line:
                line = line[self._file.write(line) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(place)  # half a line was never acknowledged
            self._file.seek(place)
            raise SandboxError(
                f"the journal {self.path} cannot be written: {error.strerror}"
            ) from error
        return place

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Step: ...
    @overload
    def __getitem__(self, index: slice) -> list[Step]: ...
    def __getitem__(self, index: int | slice) -> Step | list[Step]:
        with self.path.open("rb") as file:
            if isinstance(index, slice):
                return [self._read(file, place) for place in self._places[index]]
            return self._read(file, self._places[index])

    def __iter__(self) -> Iterator[Step]:
        with self.path.open("rb") as file:
            for place in self._places:
                yield self._read(file, place)

    def _read(self, file: BinaryIO, place: int) -> Step:
        file.seek(place)
        return codec.parse_step(json.loads(file.readline())["step"])

    @property
    def trajectory(self) -> Trajectory:
        """All of it; the steps are read from the file as they are asked for."""
        return Trajectory(header=self.header, steps=self, ending=self.ending)


def read_journal(path: Path) -> Trajectory:
    """A journal as a value. A last line that was cut off by a crash was never acknowledged.

    Raises `UsageError` for a file that is no journal.
    """
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
        first, *rest = [json.loads(line) for line in lines]
        steps = [codec.parse_step(entry["step"]) for entry in rest if "step" in entry]
        endings = [ENDING.validate_python(entry["ending"]) for entry in rest if "ending" in entry]
        return Trajectory(
            header=HEADER.validate_python(first["header"]),
            steps=steps,
            ending=endings[-1] if endings else None,
        )
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is not a journal of an episode: {error}") from error


# ── the notebook ──────────────────────────────────────────────────────────────────────────


def write_notebook(trajectory: Trajectory, path: Path) -> None:
    """Render and replace the file in one move. Raises `SandboxError` when it cannot be written."""
    text = nbformat.writes(render(trajectory))
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=".trajectory-", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink()
            raise
    except OSError as error:
        raise SandboxError(f"the notebook {path} cannot be written: {error.strerror}") from error


def render(trajectory: Trajectory) -> NotebookNode:
    """The episode as a notebook of format 4.5 that a person can read from top to bottom."""
    notebook: NotebookNode = nbformat.v4.new_notebook(
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "language_info": {"name": "python"},
            "kernel_env": {
                "header": HEADER.dump_python(trajectory.header, mode="json"),
                "ending": ENDING.dump_python(trajectory.ending, mode="json")
                if trajectory.ending
                else None,
            },
        }
    )
    notebook.cells = [
        markdown("task", title(trajectory.header)),
        *(cell for step in trajectory.steps for cell in step_cells(step)),
    ]
    if trajectory.ending:
        notebook.cells.append(markdown("ending", ending_words(trajectory)))
    return notebook


def markdown(name: str, text: str, **metadata: Any) -> NotebookNode:
    """A markdown cell with an id that says what it is."""
    cell: NotebookNode = nbformat.v4.new_markdown_cell(text, id=name, metadata=metadata)
    return cell


def title(header: Header) -> str:
    """The first cell: the task and who works on it."""
    who = " · ".join(
        part
        for part in (
            f"agent `{header.agent}`" if header.agent else "",
            f"model `{header.model}`" if header.model else "",
            f"seed {header.seed}",
            f"sandbox `{header.sandbox}`" + ("" if header.isolated else " (not isolated)"),
            f"image `{header.image}`",
            f"started {header.started}",
        )
        if part
    )
    origin = f"\n\n{fork_words(header.fork)}" if header.fork else ""
    return f"*An episode of kernel_env: {who}. {AGAIN}*{origin}\n\n{header.description}"


def fork_words(fork: Fork) -> str:
    """From where an episode branched, for a reader."""
    how = {
        "copy": "its kernel began as a copy of that one's",
        "replay": f"{fork.cells} cells were run again to reach that step",
    }[fork.how]
    seed = f" Its random states started anew there, from {fork.seed}." if fork.seed else ""
    lost = f" That did not give back everything: {fork.lost}." if fork.lost else ""
    return (
        f"🌿 *Branched from episode `{fork.episode}` after step {fork.step}: the steps until then"
        f" are that one's, and {how}.{seed}{lost}*"
    )


def step_cells(step: Step) -> Iterator[NotebookNode]:
    """The cells of one step: thought, action with its outputs, and what came of it."""
    name = f"step-{step.number:04d}"
    if step.thought:
        yield markdown(f"{name}-thought", step.thought, kernel_env={"thought_of": step.number})
    data = codec.step_data(step)
    data.pop("thought")
    if step.cell is None:
        yield markdown(name, action_words(step), kernel_env=data)
        return
    source = data["action"].pop("code")
    outputs = data["outcome"]["cell"].pop("outputs")
    tags: list[str] = [step.action.kind]
    if step.cell.error:
        tags.append("raises-exception")  # by this, Jupyter and nbclient expect the error
    if isinstance(step.outcome, Checked) or step.cell.undone:
        tags.append("skip-execution")  # by this, nbclient leaves out what must not last
    yield nbformat.v4.new_code_cell(
        source,
        id=name,
        outputs=[nbformat.from_dict(output) for output in outputs],
        execution_count=step.cell.execution_count,
        metadata={"kernel_env": data, "tags": tags},
    )
    yield markdown(f"{name}-result", result_words(step, step.cell))


def action_words(step: Step) -> str:
    """A step that ran no code, for a reader."""
    match step.outcome:
        case Told(text=text):
            asked = ", ".join(
                f"{k}={v!r}" for k, v in codec.action_json(step.action).items() if k != "kind"
            )
            fence = "`" * max(3, longest_run(text, "`") + 1)
            return (
                f"**Step {step.number}: {step.action.kind}({asked})**\n\n"
                f"<details><summary>{len(text):,} characters</summary>\n\n"
                f"{fence}\n{text}\n{fence}\n\n</details>"
            )
        case Restarted():
            return f"**Step {step.number}: reset** — a fresh kernel, an empty workspace"
    return ""


def longest_run(text: str, character: str) -> int:
    """The length of the longest run of one character."""
    longest = run = 0
    for c in text:
        run = run + 1 if c == character else 0
        longest = max(longest, run)
    return longest


def result_words(step: Step, cell: Cell) -> str:
    """Under a code cell: what the agent was told of it, the grade and the reward."""
    facts = [f"step {step.number}", step.action.kind, *cell_facts(cell)]
    lines = [f"<sub>{html.escape(' · '.join(facts))}</sub>"]
    if isinstance(step.outcome, Checked):
        lines.append(f"*Only tried: nothing of this cell lasts. {step.outcome.note}*")
    match step.submission:
        case Graded():
            lines.append(f"✅ **{submission_lines(step.submission)[0]}**")
        case Refused():
            lines.append(f"⛔ **{submission_lines(step.submission)[0]}**")
    if step.submission is not None:
        lines.append(f"Reward {step.reward:.4g}: {step.reward_reason}.")
    if cell.timed_out:
        lines.append(f"⏱ Time was up after {cell.seconds:.1f} s.")
    if cell.recovery:
        lines.append(f"🛟 **Kernel restored:** {recovery_words(cell.recovery)}")
    if step.state_lost:
        lines.append(f"💥 **State lost:** {step.state_lost}.")
    if cell.late:
        lines.append("Earlier threads or programs printed meanwhile (see the cell's metadata).")
    return "\n\n".join(lines)


def ending_words(trajectory: Trajectory) -> str:
    """The last cell: how it went."""
    ending = trajectory.ending
    assert ending is not None
    reason = ending.reason[:1].upper() + ending.reason[1:]
    spent = f"{ending.spent.steps} steps, {ending.spent.seconds:.0f} s"
    lines = [f"## How it ended\n\n{reason} ({ending.status}; {spent})."]
    if ending.missing:
        lines.append(f"⚠ On this machine, {ending.missing}.")
    if ending.grade is None:
        return "\n\n".join([*lines, "No submission was graded."])
    grade, kind = ending.grade, trajectory.header.leaderboard_kind
    rows = [("public", grade.public_score, grade.public)]
    if grade.private_score is not None:
        rows.append(("private", grade.private_score, grade.private))
    table = [
        f"| board | {trajectory.header.metric} | place among {kind} entries |",
        "|---|---|---|",
    ]
    table += [
        f"| {board} | {score:.6g} | {place_words(place) if place else '–'} |"
        for board, score, place in rows
    ]
    lines += [f"The submission of step {ending.chosen_step} counts.", "\n".join(table)]
    rank = human_rank(grade.public, grade.private)
    if kind == "human" and rank is not None:
        lines.append(f"Human rank, as MLE-Dojo computes it: {rank:.4f}.")
    return "\n\n".join(lines)


def parse_notebook(notebook: NotebookNode) -> Trajectory:
    """The trajectory that a notebook of ours holds. Raises `UsageError` for any other notebook."""
    try:
        told = notebook.metadata["kernel_env"]
        steps: list[Step] = []
        thought = ""
        for cell in notebook.cells:
            data = cell.metadata.get("kernel_env")
            if data is None:
                continue
            if "thought_of" in data:
                thought = cell.source
                continue
            steps.append(replace(parse_cell(cell, json.loads(json.dumps(data))), thought=thought))
            thought = ""
        return Trajectory(
            header=HEADER.validate_python(told["header"]),
            steps=tuple(steps),
            ending=ENDING.validate_python(told["ending"]) if told["ending"] else None,
        )
    except (KeyError, AttributeError, ValidationError) as error:
        raise UsageError(f"this notebook is no trajectory of kernel_env: {error}") from error


def parse_cell(cell: NotebookNode, data: dict[str, Any]) -> Step:
    """One step out of its cell: the metadata, with code and outputs put back."""
    if cell.cell_type == "code":
        data["action"]["code"] = cell.source
        data["outcome"]["cell"]["outputs"] = json.loads(json.dumps(cell.outputs))
    return codec.parse_step(data)


def read_notebook(path: Path) -> NotebookNode:
    """Any notebook from a file. Raises `UsageError` when it is none."""
    try:
        notebook: NotebookNode = nbformat.read(path, as_version=4)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, AttributeError, nbformat.ValidationError) as error:
        raise UsageError(f"{path} is not a notebook: {error}") from error
    return notebook
