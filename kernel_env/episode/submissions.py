"""The submission of an episode: noticed when it changes, graded outside the box, and kept.

A submission is graded whenever its content is not what was there before. It is read as
bytes with a limit; what the kernel says of it counts for nothing.
"""

import hashlib
import shutil
from pathlib import Path
from typing import Any

from kernel_env.episode.config import EpisodeConfig
from kernel_env.episode.step import Graded, Rejected
from kernel_env.errors import SandboxError, SubmissionError
from kernel_env.grading.grade import Grade
from kernel_env.grading.host import Grader, Scores
from kernel_env.kernel.recoverable import RecoverableKernel
from kernel_env.sandbox.protocol import FileStat
from kernel_env.tasks.prepare import grading_spec

MB = 1_000_000
FOLDER = "submissions"
"""In an episode's folder: every graded submission, named after its step."""


def kept(episode: Path, step: int) -> Path:
    """Where an episode's folder keeps the submission that was graded after a step."""
    return episode / FOLDER / f"step-{step:04d}.csv"


class Submissions:
    """What was looked at, and what is kept of it in the episode's folder."""

    def __init__(self, rules: EpisodeConfig, grader: Grader) -> None:
        self._rules, self._grader = rules, grader
        self.folder = rules.folder / FOLDER
        self._found: FileStat | None = None
        self._sha256 = ""
        """Of the content that was looked at last; empty when there was none."""
        self.after: list[str] = []
        """The same after each step."""

    async def look(self, live: RecoverableKernel, step: int) -> Graded | Rejected | None:
        """Grade what a step left if it is not what was there before.

        Raises `TaskError` when the metric fails, `SandboxError` when it cannot be kept.
        """
        path = self._rules.task.submission_path
        limit = self._rules.task.file.submission.limit_mb
        try:
            found = await live.stat(path)
            if found == self._found:
                return None
            self._found = found
            if found is None or found.file_type != "file":
                self._sha256 = ""
            if found is None:
                return None
            if found.file_type != "file":
                return Rejected(
                    reason=f"{path.name} is a {found.file_type}; write a regular CSV file there"
                )
            data = await live.read(path, limit_bytes=int(limit * MB))
        except SandboxError:
            return None  # the box died with the cell; the cell says so
        except OSError as error:
            return Rejected(reason=f"{path.name} cannot be read: {error.strerror or error}")
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 == self._sha256:
            return None
        self._sha256 = sha256
        splits: Any = ("Public", "Private") if self._shows_both else ("Public",)
        try:
            scores = await self._scores(data, splits)
        except SubmissionError as error:
            return Rejected(reason=str(error))
        self._keep(step, data)
        return Graded(grade=self._grade(scores), sha256=sha256)

    def step_taken(self) -> None:
        """Remember what had been looked at after a step: a branch may begin there."""
        self.after.append(self._sha256)

    def forget(self) -> None:
        """The folders were emptied: nothing was looked at yet."""
        self._found, self._sha256 = None, ""

    async def go_on(self, parents: "Submissions", steps: int, live: RecoverableKernel) -> None:
        """Take over what another episode saw and kept in its first steps.

        Raises `SandboxError` when it cannot be copied.
        """
        self.after = parents.after[:steps]
        self._sha256 = self.after[-1] if self.after else ""
        self._found = await live.stat(self._rules.task.submission_path)
        try:
            for path in sorted(parents.folder.glob("step-*.csv")):
                if int(path.stem.removeprefix("step-")) <= steps:
                    self.folder.mkdir(exist_ok=True)
                    shutil.copyfile(path, self.folder / path.name)
        except OSError as error:
            raise SandboxError(f"{self.folder} cannot be written: {error.strerror}") from error

    async def whole_grade(self, step: int) -> Grade:
        """The grade of a kept submission on both splits. Raises `TaskError`, `SandboxError`."""
        return self._grade(await self._scores(self._kept(step), ("Public", "Private")))

    async def _scores(self, data: bytes, splits: Any) -> Scores:
        return await self._grader.grade(
            data, grading_spec(self._rules.task, self._rules.prepared), splits
        )

    def _grade(self, scores: Scores) -> Grade:
        board = self._rules.task.leaderboard
        up = self._rules.task.scoring.higher_is_better
        assert scores.public is not None
        return Grade(
            public_score=scores.public,
            public=board.place(scores.public, "Public", higher_is_better=up),
            private_score=scores.private,
            private=None
            if scores.private is None
            else board.place(scores.private, "Private", higher_is_better=up),
        )

    @property
    def _shows_both(self) -> bool:
        """Answers without a split have but one score, and hiding its second board hides nothing."""
        return self._rules.feedback == "both" or self._rules.task.scoring.schema.is_free_form

    def _file(self, step: int) -> Path:
        return kept(self._rules.folder, step)

    def _keep(self, step: int, data: bytes) -> None:
        path = self._file(step)
        try:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        except OSError as error:
            raise SandboxError(f"{path} cannot be written: {error.strerror}") from error

    def _kept(self, step: int) -> bytes:
        path = self._file(step)
        try:
            return path.read_bytes()
        except OSError as error:
            raise SandboxError(f"{path} cannot be read: {error.strerror}") from error
