"""Made by `kernel-env tasks import mle-dojo`: prepare with the benchmark's own code."""

from pathlib import Path

from kernel_env.tasks.sources import mle_dojo as source

HOME = Path("@CHECKOUT@/mle-dojo/mledojo/competitions/CherryPicking")
# The sha256 of its preparing code: 379ee2954dfd94ca8b6157b239f0433511b8837df5263db371ffa27e7995ee80


def prepare(raw: Path, public: Path, private: Path) -> None:
    source.prepare(HOME, raw, public, private)
