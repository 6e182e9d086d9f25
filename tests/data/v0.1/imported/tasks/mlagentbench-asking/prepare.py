"""Made by `kernel-env tasks import mlagentbench`: prepare with the benchmark's own code."""

from pathlib import Path

from kernel_env.tasks.sources import mlagentbench as source

HOME = Path("@CHECKOUT@/mlagentbench/MLAgentBench/benchmarks/asking")
# The sha256 of its preparing code: 07287a7dcff0f3817c1d7d259f9943abd720a3b0c6703f65c139eb4032b2e5ad


def prepare(raw: Path, public: Path, private: Path) -> None:
    source.prepare(HOME, raw, public, private)
