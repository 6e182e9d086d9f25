"""What every measure is made of: series taken in turns with a peer, and the rows they become.

The machine's mood changes by the minute, so a figure alone says little. Each is taken
beside a peer's, one after the other in the same run, and the ratio is what to look at.
"""

import os
import resource
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kernel_env.kernel.connection.launch import PROGRAM, PROGRAM_FOLDER
from kernel_env.sandbox.protocol import DATA, WORKSPACE, Sandbox, Spec

TASK = "adult-income"
PATHS = {"DATA_PATH": DATA, "OUTPUT_PATH": WORKSPACE / "submission.csv"}

WHOLE = {"steps": 1_000_000, "seconds": 1e6, "output_bytes": 1 << 40}
"""A budget that no measure uses up."""

Tell = Callable[[str, float | None], None]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where measures are taken, and how thoroughly."""

    sandbox: str
    make: Callable[[Spec], Sandbox]
    folder: Path
    """For the folders of episodes."""
    share: float = 1.0
    """Of the usual number of repeats."""
    scale: float = 1.0
    """Of the usual size of data and outputs."""
    tell: Tell
    """How far we are."""
    skip: Callable[[str], None]
    """What is not measured here, and why."""

    @property
    def isolated(self) -> bool:
        """Whether boxes are containers."""
        return bool(self.make.isolated)  # type: ignore[attr-defined]

    def times(self, usual: int) -> int:
        """How often to repeat what is usually repeated so often; the first two are the least."""
        return max(2, round(usual * self.share))

    def box(self) -> Sandbox:
        """A box like those of an episode."""
        return self.make(Spec(image="tabular", folders={PROGRAM: PROGRAM_FOLDER}))

    def turns(self, what: str, usual: int) -> "range":
        """Say what is measured; the numbers of its turns."""
        self.tell(what, None)
        return range(self.times(usual))


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What a row should be, all of what is not None."""

    at_most: float | None = None
    """The median, in the row's unit."""
    above_peer: float | None = None
    """The median less the peer's."""
    of_peer: float | None = None
    """The ratio."""

    def words(self, unit: str) -> str:
        """For a reader."""
        said = []
        if self.at_most is not None:
            said.append(f"≤ {self.at_most:g} {unit}")
        if self.above_peer is not None:
            said.append(f"≤ {self.above_peer:g} {unit} more")
        if self.of_peer is not None:
            said.append(f"≤ {times(self.of_peer)}")
        return ", ".join(said)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measure and its peer."""

    measure: str
    unit: str
    n: int
    median: float
    p99: float | None = None
    peer: str = ""
    peer_n: int = 0
    peer_median: float | None = None
    peer_p99: float | None = None
    goal: Goal | None = None

    @property
    def ratio(self) -> float | None:
        """Our median over the peer's."""
        return self.median / self.peer_median if self.peer_median else None

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without one."""
        if self.goal is None:
            return None
        most, ratio = [], self.ratio
        if self.goal.at_most is not None:
            most.append(self.median <= self.goal.at_most)
        if self.goal.above_peer is not None and self.peer_median is not None:
            most.append(self.median - self.peer_median <= self.goal.above_peer)
        if self.goal.of_peer is not None and ratio is not None:
            most.append(ratio <= self.goal.of_peer)
        return all(most) if most else None

    def json(self) -> dict[str, Any]:
        """As JSON values, with the ratio and whether the goal is met."""
        goal = self.goal.words(self.unit) if self.goal else None
        return {**asdict(self), "ratio": self.ratio, "goal": goal, "met": self.met}

    def words(self) -> list[str]:
        """As cells of a table; see `COLUMNS`."""
        marks = {True: "met", False: "missed", None: ""}
        return [
            self.measure,
            figures(self.median, self.p99, self.unit),
            str(self.n),
            self.peer,
            figures(self.peer_median, self.peer_p99, self.unit),
            str(self.peer_n or ""),
            "" if self.ratio is None else times(self.ratio),
            self.goal.words(self.unit) if self.goal else "",
            marks[self.met],
        ]


COLUMNS = ["measure", "median / p99", "n", "peer", "median / p99", "n", "ratio", "goal", ""]


def figures(median: float | None, p99: float | None, unit: str) -> str:
    """Three digits say all that can be said here."""
    shown = " / ".join(
        f"{round(x, 1):g}" if x < 100 else f"{x:.0f}" for x in (median, p99) if x is not None
    )
    return f"{shown} {unit}" if shown else ""


def times(ratio: float) -> str:
    """A ratio as people say it: a multiple or, below one, 1/15."""
    return f"1/{1 / ratio:.3g}" if 0 < ratio < 1 else f"{ratio:.3g}×"


def row(
    measure: str,
    mine: Sequence[float],
    peer: str = "",
    theirs: Sequence[float] = (),
    *,
    unit: str = "ms",
    goal: Goal | None = None,
) -> Row:
    """Two series, side by side."""
    return Row(
        measure=measure,
        unit=unit,
        n=len(mine),
        median=statistics.median(mine),
        p99=p99(mine) if len(mine) > 1 else None,
        peer=peer,
        peer_n=len(theirs),
        peer_median=statistics.median(theirs) if theirs else None,
        peer_p99=p99(theirs) if len(theirs) > 1 else None,
        goal=goal,
    )


def p99(series: Sequence[float]) -> float:
    """The value that 99 of 100 do not exceed (nearest rank)."""
    ordered = sorted(series)
    return ordered[max(0, -(-99 * len(ordered) // 100) - 1)]


def timed(function: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    began = time.perf_counter()
    function()
    return 1e3 * (time.perf_counter() - began)


async def took(waited_for: Awaitable[object]) -> float:
    """Milliseconds until it is there."""
    began = time.perf_counter()
    await waited_for
    return 1e3 * (time.perf_counter() - began)


def resident_mb() -> float:
    """Memory of this process now, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def peak_mb(*, since_now: bool = False) -> float:
    """The most memory this process had, in MB; with `since_now` the counting starts anew."""
    status = Path("/proc/self/status")
    if since_now:
        Path("/proc/self/clear_refs").write_text("5")
    for line in status.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def available_gb() -> float:
    """Memory of this machine that programs could still have, in GB; infinite when nobody knows."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return float("inf")
    return next(int(x.split()[1]) for x in lines if x.startswith("MemAvailable:")) * 1024 / 1e9
