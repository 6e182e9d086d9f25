"""Read the journal of a running episode as it grows."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

from kernel_env.episode import json_codec
from kernel_env.episode.chart import Point
from kernel_env.episode.journal import JOURNAL
from kernel_env.episode.step import Graded, Progress, Step
from kernel_env.episode.trajectory import ENDING, HEADER, Ending, Header


class Followed:
    """An episode as far as its journal has been read."""

    def __init__(self, folder: Path) -> None:
        self.name, self.folder = folder.name, folder
        self.header: Header | None = None
        """None until it has been read."""
        self.ending: Ending | None = None
        self.progress = Progress(higher_is_better=True)
        self.scores: list[Point] = []
        """The agent's submissions, for the chart."""
        self.damaged = False
        """Whether the journal has a line that cannot be read. Nothing after it is."""
        self._offset = 0

    @property
    def over(self) -> bool:
        """Return whether nothing more will follow."""
        return self.ending is not None or self.damaged

    def read(self) -> Iterator[Step]:
        """Yield the steps that the journal has in addition; header and ending are kept."""
        try:
            for line in self._lines():
                entry = json.loads(line)
                if "header" in entry:
                    self.header = HEADER.validate_python(entry["header"])
                    self.progress = Progress(higher_is_better=self.header.higher_is_better)
                elif self.header is None:
                    raise ValueError("the first line is no header")
                elif "ending" in entry:
                    self.ending = ENDING.validate_python(entry["ending"])
                elif "step" in entry:
                    number = self.progress.steps + self.progress.human_steps + 1
                    step = json_codec.parse_foreign_step(entry["step"], number)
                    self._take(step)
                    yield step
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            self.damaged = True

    def _take(self, step: Step) -> None:
        self.progress = self.progress.after(step)
        if step.actor == "agent" and isinstance(step.submission, Graded):
            score = step.submission.grade.public_score
            if math.isfinite(score):
                self.scores.append(Point(step=step.number, score=score))

    def _lines(self) -> Iterator[bytes]:
        """Yield the complete lines that were appended since the last call."""
        with (self.folder / JOURNAL).open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                yield line
