"""Read pickled data frames without running what else a pickle can say.

A pickle is a program: it names functions, which the reader calls. This reader knows the few names
of pandas and numpy that a data frame consists of, and refuses every other.
"""

import io
import pickle
from typing import TYPE_CHECKING, Any

from kernel_env.errors import TaskError

if TYPE_CHECKING:
    import pandas as pd

ALLOWED = frozenset(
    {
        ("builtins", "slice"),
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.numeric", "_frombuffer"),
        ("pandas", "DataFrame"),
        ("pandas", "Index"),
        ("pandas", "RangeIndex"),
        ("pandas._libs.internals", "_unpickle_block"),
        ("pandas.core.frame", "DataFrame"),
        ("pandas.core.indexes.base", "Index"),
        ("pandas.core.indexes.base", "_new_Index"),
        ("pandas.core.indexes.range", "RangeIndex"),
        ("pandas.core.internals.managers", "BlockManager"),
    }
)
"""The names that a data frame's pickle needs."""


class FrameUnpickler(pickle.Unpickler):
    """Unpickle data frames and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what a pickle names. Raises `pickle.UnpicklingError` for what no frame needs."""
        module = module.replace("numpy.core.", "numpy._core.")
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return super().find_class(module, name)


def load(data: bytes) -> "pd.DataFrame":
    """Return the data frame of a pickle.

    Raises:
        TaskError: the bytes are no pickle of a data frame, or name anything else.
    """
    import pandas as pd

    try:
        found = FrameUnpickler(io.BytesIO(data)).load()
    except Exception as error:
        raise TaskError(f"no pickle of a data frame: {error}") from error
    if not isinstance(found, pd.DataFrame):
        raise TaskError(f"the pickle holds {type(found).__name__}, not a data frame")
    return found
