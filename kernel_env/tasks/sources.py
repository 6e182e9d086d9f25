"""Keep the old import path of `kernel_env.authoring.importers` for tasks that 0.1 imported.

Their `prepare.py` and `grade.py` contain `from kernel_env.tasks.sources import mle_dojo as source`.
"""

from importlib import import_module
from typing import Any

IMPORTERS = ("dsbench", "mlagentbench", "mle_bench", "mle_dojo")


def __getattr__(name: str) -> Any:
    if name not in IMPORTERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"kernel_env.authoring.importers.{name}")
