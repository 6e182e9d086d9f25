"""An engine that plays nothing, and a monitor that keeps what it receives."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from kernel_env.episode.result import EpisodeResult, Usage
from kernel_env.suite.log import Line
from kernel_env.suite.plan import Job
from kernel_env.suite.playing import Played
from kernel_env.suite.scheduler import Scheduler

RESULT = EpisodeResult(
    task="tiny",
    agent="x",
    model="",
    seed=0,
    status="finished",
    steps=1,
    public_score=1.0,
    private_score=1.0,
    position_public=0.5,
    position_private=0.5,
    leaderboard_kind="reference",
    human_rank=None,
    total_reward=0.0,
    seconds=1.0,
    usage=Usage(tokens=1, money=0.25),
    notebook="",
    error="",
    episode="e",
    sandbox="local",
    missing="",
    restored=0,
    states_lost=0,
    refusals=0,
)


def played(status: str = "finished", reason: str = "") -> Played:
    result = replace(RESULT, status=status, error=reason)
    return Played(status=status, reason=reason, result=result, host="h")


class TableEngine:
    """Answers with what a function says of a job and the number of its attempt."""

    def __init__(
        self, answer: Callable[[Job, int], Played], *, room: int = 2, seconds: float = 0.001
    ) -> None:
        self.answer, self.room, self.seconds = answer, room, seconds
        self.begun: list[Job] = []
        self.most = 0

    def has_room(self, job: Job, playing: Sequence[Job]) -> bool:
        self.most = max(self.most, len(playing))
        return len(playing) < self.room

    async def play(self, job: Job, folder: Path) -> Played:
        self.begun.append(job)
        await asyncio.sleep(self.seconds)
        return self.answer(job, self.begun.count(job))


class Recorder:
    """Keeps what a monitor receives."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)

    def progress(self, text: str, done: float | None) -> None: ...

    def recorded(self, job: Job, line: Line) -> None: ...

    def show(self, scheduler: Scheduler) -> None: ...
