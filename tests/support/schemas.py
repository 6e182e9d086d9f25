"""Build submission schemas."""

from kernel_env.grading.metric import CellType
from kernel_env.grading.submission import SubmissionSchema


def schema(
    cell_type: CellType = "number", *, ids: tuple[str, ...] = ("id",), targets: tuple[str, ...]
) -> SubmissionSchema:
    """Build a schema with these id and target columns."""
    return SubmissionSchema(id_columns=ids, target_columns=targets, wants=cell_type)
