"""Runs to export: a family that was played, and journals of episodes that were not."""

import json
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kernel_env.episode import chain
from kernel_env.episode.budget import Spent
from kernel_env.episode.journal import JOURNAL, Journal, stream_journal
from kernel_env.episode.step import CellExecuted
from kernel_env.episode.trajectory import Ending, Fork
from kernel_env.grading.grade import Grade, Place
from support.trajectories import HEADER, cell_step


@dataclass(frozen=True, kw_only=True)
class Family:
    """A recorded episode, its two forks, and what their agents saw."""

    root: Path
    seen: dict[str, list[str]]
    """By episode: the texts of the observations after its own steps."""
    ids: tuple[str, str, str]


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


def write(
    folder: Path,
    *,
    task: str = "tiny",
    steps: int = 2,
    place: float | None = 0.5,
    status: Any = "finished",
    parent: tuple[Path, int] | None = None,
    code: str = "",
    outcome: CellExecuted | None = None,
    tokens: int = 0,
) -> Path:
    """Write the journal of an episode that never ran; its name is the folder's."""
    folder.mkdir(parents=True)
    header, begin = replace(HEADER, episode=folder.name, task=task, agent="a|b", model="m"), []
    if parent is not None:
        found = next(stream_journal(parent[0] / JOURNAL))
        fork = Fork(
            episode=found.episode,  # type: ignore[union-attr]
            step=parent[1],
            how="copy",
            headers=chain.headers_for_fork(found, parent[1]),  # type: ignore[arg-type]
        )
        header = replace(header, fork=fork)
        lines = (parent[0] / JOURNAL).read_bytes().splitlines(keepends=True)
        begin = [line for line in lines if b'"step": {' in line[:100]][: parent[1]]
    grade, spent = None, Spent()
    if place is not None:
        own = Place(position=place, rank=1, entries=9)
        grade = Grade(public_score=place, public=own, private_score=1 - place, private=own)
    with closing(Journal(folder / JOURNAL, header, begin=begin)) as journal:
        for number in range(len(begin) + 1, steps + 1):
            step = cell_step(number, code or f"{folder.name} = {number}")
            spent = Spent(
                steps=number, tokens=number * tokens, prompt_tokens=number * tokens * 4 // 5
            )
            journal.append(replace(step, outcome=outcome or step.outcome, spent=spent))
        if status:
            journal.end(Ending(status=status, reason="", spent=spent, grade=grade, reward=0.5))
    return folder
