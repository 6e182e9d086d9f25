"""Made by `kernel-env tasks import dsbench`: prepare with the benchmark's own code."""

from pathlib import Path

from kernel_env.tasks.sources import dsbench as source

HOME = Path("@CHECKOUT@/dsbench/data_modeling/evaluation/leftovers_eval.py")
# The sha256 of its preparing code: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855


def prepare(raw: Path, public: Path, private: Path) -> None:
    source.prepare(HOME, raw, public, private)
