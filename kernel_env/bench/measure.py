"""Define benchmark rows: a series of measurements, compared with a peer's series.

The speed of a machine varies over time. A measurement and its peer therefore alternate within the
same run, and their ratio is the result.
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
from kernel_env.kernel.source import NewSandboxes
from kernel_env.sandbox.protocol import DATA, WORKSPACE, Sandbox, Spec

TASK = "adult-income"
"""The task of the measured episodes."""
PATHS = {"DATA_PATH": DATA, "OUTPUT_PATH": WORKSPACE / "submission.csv"}
"""The environment variables with paths that kernels of episodes have."""

UNLIMITED = {"steps": 1_000_000, "seconds": 1e6, "output_bytes": 1 << 40}
"""A budget that no measure uses up."""

Progress = Callable[[str, float | None], None]
"""Receives what is measured and the share that is done, None when unknown."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The sandbox and the thoroughness of the measures."""

    sandbox: str
    """The sandbox's name."""
    make: Callable[[Spec], Sandbox]
    """The sandbox's factory."""
    folder: Path
    """The parent of the episodes' folders."""
    share: float = 1.0
    """Share of the usual number of repeats."""
    scale: float = 1.0
    """Share of the usual size of data and outputs."""
    progress: Progress
    """Receives the progress."""
    skip: Callable[[str], None]
    """Receives what is not measured, with the reason."""

    @property
    def isolated(self) -> bool:
        """Return whether the sandbox isolates and therefore counts its own memory."""
        return bool(self.make.isolated)  # type: ignore[attr-defined]

    def repeats(self, usual: int) -> int:
        """Return the share of the usual number of repeats, at least 2."""
        return max(2, round(usual * self.share))

    def make_sandbox(self) -> Sandbox:
        """Return a sandbox like those of an episode, not started yet."""
        return self.make(Spec(image="tabular", folders={PROGRAM: PROGRAM_FOLDER}))

    @property
    def kernels(self) -> NewSandboxes:
        """Return the source of kernels in such sandboxes."""
        return NewSandboxes(make_sandbox=self.make_sandbox, paths=PATHS)

    def rounds(self, label: str, usual: int) -> "range":
        """Report the start of a measure and return its rounds."""
        self.progress(label, None)
        return range(self.repeats(usual))


@dataclass(frozen=True, kw_only=True)
class Goal:
    """Upper limits of a row's median; None: no limit."""

    at_most: float | None = None
    """Limit of the median, in the row's unit."""
    above_peer: float | None = None
    """Limit of the median minus the peer's median, in the row's unit."""
    of_peer: float | None = None
    """Limit of the ratio of the median to the peer's median."""

    def text(self, unit: str) -> str:
        """Return the limits as text."""
        limits = []
        if self.at_most is not None:
            limits.append(f"≤ {self.at_most:g} {unit}")
        if self.above_peer is not None:
            limits.append(f"≤ {self.above_peer:g} {unit} more")
        if self.of_peer is not None:
            limits.append(f"≤ {ratio_text(self.of_peer)}")
        return ", ".join(limits)


@dataclass(frozen=True, kw_only=True)
class Row:
    """The summary of a series of measurements and of its peer's series."""

    measure: str
    """What is measured."""
    unit: str
    """The unit of the medians and percentiles."""
    n: int
    """Number of measurements."""
    median: float
    p99: float | None = None
    """The 99th percentile; None for a single measurement."""
    peer: str = ""
    """What it is compared with; empty without a peer."""
    peer_n: int = 0
    """Number of the peer's measurements."""
    peer_median: float | None = None
    peer_p99: float | None = None
    goal: Goal | None = None
    """The limits of the median; None without a goal."""

    @property
    def ratio(self) -> float | None:
        """Return the median divided by the peer's median; None without a peer."""
        return self.median / self.peer_median if self.peer_median else None

    @property
    def met(self) -> bool | None:
        """Return whether the median is within all limits; None without a limit to compare."""
        if self.goal is None:
            return None
        within, ratio = [], self.ratio
        if self.goal.at_most is not None:
            within.append(self.median <= self.goal.at_most)
        if self.goal.above_peer is not None and self.peer_median is not None:
            within.append(self.median - self.peer_median <= self.goal.above_peer)
        if self.goal.of_peer is not None and ratio is not None:
            within.append(ratio <= self.goal.of_peer)
        return all(within) if within else None

    def json(self) -> dict[str, Any]:
        """Return the row as JSON values, with the ratio and whether the goal is met."""
        goal = self.goal.text(self.unit) if self.goal else None
        return {**asdict(self), "ratio": self.ratio, "goal": goal, "met": self.met}

    def table_cells(self) -> list[str]:
        """Return the row as the cells of a table with the columns `COLUMNS`."""
        marks = {True: "met", False: "missed", None: ""}
        return [
            self.measure,
            value_text(self.median, self.p99, self.unit),
            str(self.n),
            self.peer,
            value_text(self.peer_median, self.peer_p99, self.unit),
            str(self.peer_n or ""),
            "" if self.ratio is None else ratio_text(self.ratio),
            self.goal.text(self.unit) if self.goal else "",
            marks[self.met],
        ]


COLUMNS = ["measure", "median / p99", "n", "peer", "median / p99", "n", "ratio", "goal", ""]


def value_text(median: float | None, p99: float | None, unit: str) -> str:
    """Return median and p99 as text, rounded to the precision of the measurements."""
    values = " / ".join(
        f"{round(x, 1):g}" if x < 100 else f"{x:.0f}" for x in (median, p99) if x is not None
    )
    return f"{values} {unit}" if values else ""


def ratio_text(ratio: float) -> str:
    """Return a ratio as text: a multiple or, below 1, a unit fraction such as 1/15."""
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
    """Summarise a series and its peer's series as a row.

    Args:
        measure: what is measured.
        mine: the measurements.
        peer: what they are compared with; empty without a peer.
        theirs: the peer's measurements.
        unit: the unit of both series.
        goal: the limits of the median.
    """
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
    """Return the 99th percentile by the nearest-rank method."""
    ordered = sorted(series)
    return ordered[max(0, -(-99 * len(ordered) // 100) - 1)]


def time_call(function: Callable[[], object]) -> float:
    """Return the duration of a call in milliseconds."""
    began = time.perf_counter()
    function()
    return 1e3 * (time.perf_counter() - began)


async def time_await(awaitable: Awaitable[object]) -> float:
    """Return the time until an awaitable is done, in milliseconds."""
    began = time.perf_counter()
    await awaitable
    return 1e3 * (time.perf_counter() - began)


def resident_mb() -> float:
    """Return the resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def peak_mb(*, reset: bool = False) -> float:
    """Return the peak resident memory of this process in MB; with `reset`, reset the peak first."""
    status = Path("/proc/self/status")
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    for line in status.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def available_gb() -> float:
    """Return the available memory of this machine in GB; infinite when it is unknown."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return float("inf")
    return next(int(x.split()[1]) for x in lines if x.startswith("MemAvailable:")) * 1024 / 1e9
