"""Made by `kernel-env tasks import mle-bench`: prepare with the benchmark's own code."""

from pathlib import Path

from kernel_env.tasks.sources import mle_bench as source

HOME = Path("@CHECKOUT@/mle-bench/mlebench/competitions/ripe-fruit")
# The sha256 of its preparing code: 9599f3cf26fd1466786bde563e1810caa6f40119e6e003461bea35b87848ee04


def prepare(raw: Path, public: Path, private: Path) -> None:
    source.prepare(HOME, raw, public, private)
