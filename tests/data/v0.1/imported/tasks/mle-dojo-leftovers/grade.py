"""Made by `kernel-env tasks import mle-dojo`: grade with the benchmark's own code."""

from pathlib import Path

from kernel_env.tasks.sources import mle_dojo as source

HOME = Path("@CHECKOUT@/mle-dojo/mledojo/competitions/leftovers")


def grade(private: Path, submission: Path) -> float:
    return source.grade(HOME, private, submission)
