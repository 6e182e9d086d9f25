"""Made by `kernel-env tasks import mlagentbench`: grade with the benchmark's own code."""

from pathlib import Path

from kernel_env.tasks.sources import mlagentbench as source

HOME = Path("@CHECKOUT@/mlagentbench/MLAgentBench/benchmarks/asking")


def grade(private: Path, submission: Path) -> float:
    return source.grade(HOME, private, submission)
