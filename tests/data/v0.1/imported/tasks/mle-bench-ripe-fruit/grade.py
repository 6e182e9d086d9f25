"""Made by `kernel-env tasks import mle-bench`: grade with the benchmark's own code."""

from pathlib import Path

from kernel_env.tasks.sources import mle_bench as source

HOME = Path("@CHECKOUT@/mle-bench/mlebench/competitions/ripe-fruit")


def grade(private: Path, submission: Path) -> float:
    return source.grade(HOME, private, submission)
