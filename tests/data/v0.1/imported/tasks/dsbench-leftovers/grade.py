"""Made by `kernel-env tasks import dsbench`: grade with the benchmark's own code."""

from pathlib import Path

from kernel_env.tasks.sources import dsbench as source

HOME = Path("@CHECKOUT@/dsbench/data_modeling/evaluation/leftovers_eval.py")


def grade(private: Path, submission: Path) -> float:
    return source.grade(HOME, private, submission)
