"""Made by `kernel-env tasks import mlagentbench`: prepare with the benchmark's own code."""

from pathlib import Path

from kernel_env.tasks.sources import mlagentbench as source

HOME = Path("@CHECKOUT@/mlagentbench/MLAgentBench/benchmarks/fruit-price")
# The sha256 of its preparing code: d87583628276ed1f2c6e9315955d6635a2f703f3c4fa19b82373a70f646db683


def prepare(raw: Path, public: Path, private: Path) -> None:
    source.prepare(HOME, raw, public, private)
