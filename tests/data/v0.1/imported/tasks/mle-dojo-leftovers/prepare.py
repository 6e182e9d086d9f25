"""Made by `kernel-env tasks import mle-dojo`: prepare with the benchmark's own code."""

from pathlib import Path

from kernel_env.tasks.sources import mle_dojo as source

HOME = Path("@CHECKOUT@/mle-dojo/mledojo/competitions/leftovers")
# The sha256 of its preparing code: d61d9ae528b6c5478ee5d062afc9e637d937a8a7fbc7f880afa6013b1d60e87f


def prepare(raw: Path, public: Path, private: Path) -> None:
    source.prepare(HOME, raw, public, private)
