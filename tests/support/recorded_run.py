"""Write the folder of a run that never ran, with every field of a trajectory in it."""

import hashlib
import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from kernel_env.episode.actions import ExecuteCode, GetHistory, Reset, ValidateCode
from kernel_env.episode.budget import Spent
from kernel_env.episode.journal import JOURNAL, Journal, read_journal
from kernel_env.episode.notebook import NOTEBOOK, write_notebook
from kernel_env.episode.result import RECORD, result_of
from kernel_env.episode.step import (
    CellExecuted,
    CodeValidated,
    Graded,
    InfoShown,
    KernelReset,
    Rejected,
    Step,
)
from kernel_env.episode.submissions import submission_file
from kernel_env.episode.trajectory import Ending, Note, Trajectory
from kernel_env.grading.grade import Grade, Place
from kernel_env.kernel.cell import Cell, FileChange, Recovery, Variable
from support.trajectories import HEADER

SUBMISSION = b"id,y\n1,2.5\n"
GRADE = Grade(
    public_score=0.25,
    public=Place(position=0.5, rank=3, entries=5, normalised=0.75),
    private_score=0.375,
    private=Place(position=0.25, rank=4, entries=5, normalised=0.625),
)
CELL = Cell(
    outputs=(
        {"output_type": "stream", "name": "stdout", "text": "one\ntwo\n"},
        {
            "output_type": "execute_result",
            "data": {"text/plain": "42", "text/html": "<b>42</b>"},
            "metadata": {"isolated": True},
            "execution_count": 1,
        },
    ),
    execution_count=1,
    seconds=1.5,
    dropped_bytes=7,
    late=({"output_type": "stream", "name": "stderr", "text": "late\n"},),
    variables=(Variable(name="x", type="array", shape="(3,)", megabytes=0.5),),
    files=(FileChange(path="submission.csv", bytes=11),),
    note="a note",
    full_folders=("/dev/shm",),
)
CRASHED = Cell(
    outputs=(
        {"output_type": "error", "ename": "E", "evalue": "why", "traceback": ["line 1", "line 2"]},
    ),
    seconds=2.5,
    timed_out=True,
    broke="it was killed",
    state_lost="the disk was full",
    recovery=Recovery(
        cause="it was killed", how="replay", cells=2, seconds=0.5, note="n", lost="y was 1, is 2"
    ),
)


def spent(steps: int) -> Spent:
    """Return what an episode has used."""
    return Spent(steps=steps, seconds=steps + 0.5, output_bytes=steps * 10, tokens=9, money=0.5)


def every_kind_of_step(thought: str = "thought") -> list[Step]:
    """Return steps that have every field; `thought` begins each thought."""
    graded = Graded(
        grade=GRADE,
        sha256=hashlib.sha256(SUBMISSION).hexdigest(),
        content="c0ffee",
        public_shown=0.25,
        private_shown=0.375,
        note="odd",
    )
    made = [
        (ExecuteCode(code="x = 1\nx"), CellExecuted(cell=CELL, submission=graded)),
        (ValidateCode(code="y = x"), CodeValidated(cell=CELL, note="replayed")),
        (GetHistory(last=2), InfoShown(text="── step 1 ──\nx = 1")),
        (ExecuteCode(code="import os"), CellExecuted(cell=CRASHED)),
        (ExecuteCode(code="z"), CellExecuted(cell=Cell(), submission=Rejected(reason="no column"))),
        (Reset(), KernelReset()),
    ]
    return [
        Step(
            number=number,
            action=action,
            outcome=outcome,
            thought=f"{thought} {number}",
            reward=number / 8,
            reward_reason="because",
            started="2026-01-01T00:00:00.000+00:00",
            spent=spent(number),
        )
        for number, (action, outcome) in enumerate(made, 1)
    ]


def write_run(folder: Path, thought: str = "thought") -> Trajectory:
    """Write journal, notebook, record and submission of a run into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    header = replace(
        HEADER,
        agent="an agent",
        model="a model",
        seed=3,
        started="2026-01-01T00:00:00+00:00",
        image_digest="abc",
    )
    notes = [
        Note(kind="instructions", text="do it"),
        Note(kind="refused", text="what?", reason="no action", after_step=2),
        Note(kind="last_words", text="bye", after_step=6),
    ]
    with closing(Journal(folder / JOURNAL, header)) as journal:
        journal.add_note(notes[0])
        for step in every_kind_of_step(thought):
            journal.append(step)
            for note in notes[1:]:
                if note.after_step == step.number:
                    journal.add_note(note)
        journal.end(
            Ending(
                status="finished",
                reason="done",
                spent=spent(6),
                chosen_step=1,
                grade=GRADE,
                missing="forks",
                reward=0.5,
            )
        )
    trajectory = read_journal(folder / JOURNAL)
    write_notebook(trajectory, folder / NOTEBOOK)
    result = result_of(trajectory, folder / NOTEBOOK)
    (folder / RECORD).write_text(json.dumps(result.json(), indent=1))
    submission_file(folder, 1).parent.mkdir()
    submission_file(folder, 1).write_bytes(SUBMISSION)
    return trajectory
