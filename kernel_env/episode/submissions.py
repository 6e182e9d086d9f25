"""Grade and store the submission of an episode whenever its content changes.

The file is read as bytes, up to a limit. Messages of the kernel about it are ignored.
"""

import asyncio
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

from kernel_env.episode.setup import EpisodeSetup
from kernel_env.episode.step import Graded, Rejected
from kernel_env.errors import SandboxError, SubmissionError
from kernel_env.grading.grade import Grade
from kernel_env.grading.host import Grader, Scores
from kernel_env.kernel.recoverable import RecoverableKernel
from kernel_env.sandbox.protocol import FileStat
from kernel_env.tasks.prepare import grading_spec

MB = 1_000_000
FOLDER = "submissions"
"""Folder of an episode's graded submissions, each named after its step."""


def submission_file(episode: Path, step: int) -> Path:
    """Return the path of the submission that was graded after a step."""
    return episode / FOLDER / f"step-{step:04d}.csv"


def link_or_copy(path: Path, other: Path) -> None:
    """Give a file, which nobody changes, a second name; copy it where that is not possible."""
    try:
        os.link(path, other)
    except OSError:
        shutil.copyfile(path, other)


class Submissions:
    """The submissions of one episode."""

    def __init__(self, setup: EpisodeSetup, grader: Grader) -> None:
        self._setup, self._grader = setup, grader
        self.folder = setup.folder / FOLDER
        self._stat: FileStat | None = None
        self._sha256 = ""
        """SHA-256 of the latest content; empty if there was none."""
        self.stored_bytes = 0
        """Bytes of the files that this episode has stored, those of its parents left out."""
        self.sha256_after: list[str] = []
        """The same after each step."""

    async def grade_if_changed(
        self, kernel: RecoverableKernel, step: int
    ) -> Graded | Rejected | None:
        """Grade the submission that a step left, if its content changed.

        Raises `TaskError` when the metric fails, `SandboxError` when it cannot be stored.
        """
        path = self._setup.task.submission_path
        limit = self._setup.task.file.submission.limit_mb
        try:
            found = await kernel.stat(path)
            if found == self._stat:
                return None
            self._stat = found
            if found is None or found.file_type != "file":
                self._sha256 = ""
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
            return Rejected(reason=f"{path.name} cannot be read: {error.strerror or error}")
        sha256 = (await asyncio.to_thread(hashlib.sha256, data)).hexdigest()
        if sha256 == self._sha256:
            return None
        self._sha256 = sha256
        splits: Any = ("Public", "Private") if self._shows_both else ("Public",)
        try:
            scores = await self._scores(data, splits)
        except SubmissionError as error:
            return Rejected(reason=str(error))
        await asyncio.to_thread(self._store, step, data)
        self.stored_bytes += len(data)
        return Graded(grade=self._grade(scores), sha256=sha256)

    def record_step(self) -> None:
        """Store the state after a step, from which a fork may begin."""
        self.sha256_after.append(self._sha256)

    def clear(self) -> None:
        """Start over, because the workspace was emptied."""
        self._stat, self._sha256 = None, ""

    async def take_over(
        self, parents: "Submissions", steps: int, kernel: RecoverableKernel
    ) -> None:
        """Take over the state and the files of the first steps of another episode.

        Raises `SandboxError` when it cannot be copied.
        """
        self.sha256_after = parents.sha256_after[:steps]
        self._sha256 = self.sha256_after[-1] if self.sha256_after else ""
        self._stat = await kernel.stat(self._setup.task.submission_path)
        try:
            for path in sorted(parents.folder.glob("step-*.csv")):
                if int(path.stem.removeprefix("step-")) <= steps:
                    self.folder.mkdir(exist_ok=True)
                    link_or_copy(path, self.folder / path.name)
        except OSError as error:
            raise SandboxError(f"{self.folder} cannot be written: {error.strerror}") from error

    async def grade_both_splits(self, step: int) -> Grade:
        """Grade a stored submission on both splits. Raises `TaskError`, `SandboxError`."""
        return self._grade(await self._scores(self._stored(step), ("Public", "Private")))

    async def _scores(self, data: bytes, splits: Any) -> Scores:
        return await self._grader.grade(
            data, grading_spec(self._setup.task, self._setup.prepared), splits
        )

    def _grade(self, scores: Scores) -> Grade:
        leaderboard = self._setup.task.leaderboard
        higher_is_better = self._setup.task.scoring.higher_is_better
        assert scores.public is not None
        return Grade(
            public_score=scores.public,
            public=leaderboard.place(scores.public, "Public", higher_is_better=higher_is_better),
            private_score=scores.private,
            private=None
            if scores.private is None
            else leaderboard.place(scores.private, "Private", higher_is_better=higher_is_better),
        )

    @property
    def _shows_both(self) -> bool:
        """Return whether the agent sees both scores: answers without a split have only one."""
        return self._setup.config.feedback == "both" or self._setup.task.scoring.schema.is_free_form

    def _file(self, step: int) -> Path:
        return submission_file(self._setup.folder, step)

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
