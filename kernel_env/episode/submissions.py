"""Grade and store the submission of an episode whenever its content changes.

The file is read as bytes, up to a limit. Messages of the kernel about it are ignored. Both splits
are graded at once: a submission that only one of them can score is rejected while the agent can
mend it. The private score stays in memory until the episode ends.
"""

import asyncio
import hashlib
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from kernel_env.episode.setup import EpisodeSetup
from kernel_env.episode.step import Actor, Graded, Progress, Rejected
from kernel_env.errors import SandboxError, SubmissionError
from kernel_env.grading.grade import Grade
from kernel_env.grading.host import Grader, Scores
from kernel_env.grading.protocol import Shown, beats
from kernel_env.kernel.recoverable import RecoverableKernel
from kernel_env.sandbox.protocol import FileStat
from kernel_env.tasks import Task
from kernel_env.tasks.prepare import grading_spec, submission_limit_mb

MB = 1_000_000
FOLDER = "submissions"
"""Folder of an episode's graded submissions, each named after its step."""


def submission_file(episode: Path, step: int) -> Path:
    """Return the path of the submission that was graded after a step."""
    return episode / FOLDER / f"step-{step:04d}.csv"


@dataclass(frozen=True, kw_only=True)
class FileLeft:
    """The submission file as the grading saw it last."""

    sha256: str = ""
    """SHA-256 of the content; empty if there was no file."""
    step: int | None = None
    """The step whose grade the file has that the agent left; None if that was rejected or there is
    none. A file that a person leaves does not change it."""


def link_or_copy(path: Path, other: Path) -> None:
    """Give a file, which nobody changes, a second name; copy it where that is not possible."""
    try:
        os.link(path, other)
    except OSError:
        shutil.copyfile(path, other)


def grade_of(scores: Scores, task: Task) -> Grade:
    """Return the grade on both splits, with its place on the task's leaderboard."""
    board, up = task.leaderboard, task.scoring.higher_is_better
    assert scores.public is not None
    assert scores.private is not None
    return Grade(
        public_score=scores.public,
        public=board.place(scores.public, "Public", higher_is_better=up),
        private_score=scores.private,
        private=board.place(scores.private, "Private", higher_is_better=up),
    )


class Submissions:
    """The submissions of one episode."""

    def __init__(self, setup: EpisodeSetup, grader: Grader) -> None:
        self.setup, self._grader = setup, grader
        self._spec = grading_spec(setup.task, setup.prepared)
        self.folder = setup.folder / FOLDER
        self._stat: FileStat | None = None
        self.left = FileLeft()
        self.left_after: list[FileLeft] = []
        """What was left after each step."""
        self.grades: dict[int, Grade] = {}
        """The grades on both splits, by step."""
        self.stored_bytes = 0
        """Bytes of the files that this episode has stored, those of its parents left out."""

    async def grade_if_changed(
        self, kernel: RecoverableKernel, step: int, progress: Progress, actor: Actor = "agent"
    ) -> Graded | Rejected | None:
        """Grade the submission that a step left, if its content changed.

        Args:
            kernel: whose workspace has the file.
            step: the step's number.
            progress: the state before the step.
            actor: who took the step.

        Raises `TaskError` when the metric fails, `SandboxError` when it cannot be stored.
        """
        path = self.setup.task.submission_path
        limit = submission_limit_mb(self.setup.task, self.setup.prepared)
        none = FileLeft(step=None if actor == "agent" else self.left.step)
        try:
            found = await kernel.stat(path)
            if found == self._stat:
                return None
            self._stat = found
            if found is None or found.file_type != "file":
                self.left = none
            if found is None:
                return None
            if found.file_type != "file":
                return Rejected(
                    reason=f"{path.name} is a {found.file_type}; write a regular CSV file there"
                )
            data = await kernel.read(path, limit_bytes=int(limit * MB))
        except SandboxError:
            return None  # the sandbox ended with the cell, which reports it
        except OSError as error:
            self.left = none
            return Rejected(reason=f"{path.name} cannot be read: {error.strerror or error}")
        sha256 = (await asyncio.to_thread(hashlib.sha256, data)).hexdigest()
        if sha256 == self.left.sha256:
            return None
        self.left = replace(none, sha256=sha256)
        try:
            scores = await self._grader.grade(data, self._spec, ("Public", "Private"))
        except SubmissionError as error:
            return Rejected(reason=str(error))
        grade = grade_of(scores, self.setup.task)
        shown = await self._shown(data, grade, progress, actor)
        await asyncio.to_thread(self._store, step, data)
        self.stored_bytes += len(data)
        self.grades[step] = grade
        if actor == "agent":
            self.left = FileLeft(sha256=sha256, step=step)
        return self._graded(scores, grade, sha256, shown)

    async def floor(self) -> Grade | None:
        """Return the grade of the sample submission; None if there is none. Raises `TaskError`."""
        scores = await self._grader.sample_scores(self._spec)
        return grade_of(scores, self.setup.task) if scores else None

    def chosen_step(self, progress: Progress) -> int | None:
        """Return the step whose submission counts; None if there is none."""
        if self.setup.header.counts == "last":
            return self.left.step
        return progress.best.step if progress.best else None

    def record_step(self) -> None:
        """Store the state after a step, from which a fork may begin."""
        self.left_after.append(self.left)

    def clear(self, actor: Actor = "agent") -> None:
        """Start over, because an actor emptied the workspace."""
        self._stat = None
        self.left = FileLeft(step=None if actor == "agent" else self.left.step)

    async def take_over(
        self, parents: "Submissions", steps: int, kernel: RecoverableKernel
    ) -> None:
        """Take over the state and the files of the first steps of another episode.

        Raises `SandboxError` when it cannot be copied.
        """
        self.left_after = parents.left_after[:steps]
        self.left = self.left_after[-1] if self.left_after else FileLeft()
        self.grades = {step: grade for step, grade in parents.grades.items() if step <= steps}
        self._stat = await kernel.stat(self.setup.task.submission_path)
        try:
            for step in self.grades:
                self.folder.mkdir(exist_ok=True)
                if not self._file(step).exists():
                    link_or_copy(submission_file(parents.folder.parent, step), self._file(step))
        except OSError as error:
            raise SandboxError(f"{self.folder} cannot be written: {error.strerror}") from error

    # ── what the agent is shown ────────────────────────────────────────────────────────────

    async def _shown(self, data: bytes, grade: Grade, progress: Progress, actor: Actor) -> Shown:
        limit = self.setup.budget.submissions if actor == "agent" else None
        if limit is not None and progress.submissions >= limit:
            return "not counted"
        feedback = self.setup.header.feedback
        if feedback == "validity":
            return "valid"
        if feedback != "ladder" or progress.best is None:
            return "score"
        gain = progress.gain(grade.public_score, progress.best.grade.public_score)
        if gain <= 0:
            return "no gain"
        rival = self._stored(progress.best.step)
        scores = await self._grader.grade(data, self._spec, ("Public",), rival=rival)
        assert scores.resolution is not None
        return "score" if beats(gain, scores.resolution) else "no gain"

    def _graded(self, scores: Scores, grade: Grade, sha256: str, shown: Shown) -> Graded:
        """Return what the step records; of the private grade, only what the agent is shown."""
        task, shows = self.setup.task, shown == "score"
        shows_private = shows and self._shows_private
        board, up = task.leaderboard, task.scoring.higher_is_better
        assert scores.public is not None
        assert scores.private is not None
        return Graded(
            grade=grade if shows_private else replace(grade, private_score=None, private=None),
            sha256=sha256,
            content=scores.content,
            shown=shown,
            public_shown=board.shown(scores.public, "Public", higher_is_better=up)
            if shows
            else None,
            private_shown=board.shown(scores.private, "Private", higher_is_better=up)
            if shows_private
            else None,
            note=scores.note,
        )

    @property
    def _shows_private(self) -> bool:
        """Return whether the agent sees both scores: answers without a split have only one."""
        feedback = self.setup.header.feedback
        free_form = self.setup.task.scoring.schema.is_free_form
        return feedback == "both" or (feedback == "public" and free_form)

    # ── files ─────────────────────────────────────────────────────────────────────────────

    def _file(self, step: int) -> Path:
        return submission_file(self.setup.folder, step)

    def _store(self, step: int, data: bytes) -> None:
        path = self._file(step)
        try:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        except OSError as error:
            raise SandboxError(f"{path} cannot be written: {error.strerror}") from error

    def _stored(self, step: int) -> bytes:
        path = self._file(step)
        try:
            return path.read_bytes()
        except OSError as error:
            raise SandboxError(f"{path} cannot be read: {error.strerror}") from error
