"""Parse a submission's bytes into a table that can be scored, or reject it with a reason.

The bytes are untrusted: they are only parsed as CSV text. The reason for a rejection states what
was found, what was expected, and what the agent should do.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from kernel_env.errors import SubmissionError
from kernel_env.grading.metric import CellType
from kernel_env.untrusted_text import quote_name, quote_value

if TYPE_CHECKING:
    import pandas as pd

MAX_EXTRA_COLUMNS = 1000
"""A file whose header or first row has more surplus cells than this is rejected before pandas
parses it, which would take minutes."""
EXAMPLES_SHOWN = 5
"""The number of examples in the reason for a rejection."""
OTHER_FORMATS = {
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"\x1f\x8b": "a gzip file",
    b"PK\x03\x04": "a zip file (or a spreadsheet)",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"PAR1": "a Parquet file",
    b"\x89HDF": "an HDF5 file",
    b"\x80\x04": "a pickle",
    b"\x80\x05": "a pickle",
}
"""What programs write in place of CSV text, by the first bytes."""
MAX_WHOLE = 2**53
"""The largest whole number that is accepted; beyond it, floats skip some."""
EXAMPLE_CHARACTERS = 40
"""How much of an example is shown."""
MISSING_VALUES = ["", "nan", "na", "none", "null", "<na>"]
"""The texts that programs write for a missing value, in lower case."""


@dataclass(frozen=True, kw_only=True)
class SubmissionSchema:
    """The columns of a submission; without columns, the task's `grade.py` reads the file itself."""

    id_columns: tuple[str, ...]
    target_columns: tuple[str, ...]
    wants: CellType = "number"
    """The type that the cells of the target columns must have."""

    @property
    def columns(self) -> list[str]:
        """Return the id columns and then the target columns."""
        return [*self.id_columns, *self.target_columns]

    @property
    def is_free_form(self) -> bool:
        """Return whether only the task's `grade.py` knows the format of a submission."""
        return not self.columns


def parse(data: bytes, schema: SubmissionSchema) -> "pd.DataFrame":
    """Parse a submission: ids as text, targets converted to the schema's cell type.

    This runs apart from the answers, so the ids are not compared here; `align` does that.

    Args:
        data: the file's bytes: CSV in UTF-8 with a header.
        schema: the expected columns.

    Returns:
        The schema's columns, in the order of the file's rows. Cells of the type `list` are still
        text; see `split_lists`.

    Raises:
        SubmissionError: the bytes are not such a file.
    """
    table = read(data, schema)
    converted = {
        name: text if schema.wants == "list" else convert(text, schema.wants)
        for name in schema.target_columns
        for text in (table[name].str.strip(),)
    }
    return table[list(schema.id_columns)].assign(**converted)


def read(data: bytes, schema: SubmissionSchema) -> "pd.DataFrame":
    """Parse CSV bytes into columns of text and check the columns' names."""
    import pandas as pd

    check_bytes(data, schema)
    try:
        table = pd.read_csv(
            io.BytesIO(data), dtype=str, keep_default_na=False, encoding="utf-8", low_memory=False
        )
    except UnicodeDecodeError as error:
        raise SubmissionError(
            f"the submission is not UTF-8 text (byte {error.start}); write it with to_csv"
        ) from error
    except (ValueError, pd.errors.ParserError) as error:
        raise SubmissionError(f"the submission is not a CSV table: {one_line(error)}") from error
    found = [str(column) for column in table.columns]
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes surplus cells for an index
        cells = len(found) + table.index.nlevels
        raise SubmissionError(
            f"the submission has rows of {cells} cells under a header of {len(found)} columns"
            f" ({listed(found)}); write as many cells as columns, without a comma after the last"
        )
    missing = [column for column in schema.columns if column not in found]
    extra = [column for column in found if column not in schema.columns]
    if missing or extra:
        faults = [f"missing: {listed(missing)}"] * bool(missing)
        faults += [f"unexpected: {listed(extra)}"] * bool(extra)
        hint = "write it with index=False" if "Unnamed: 0" in extra else "use those names"
        raise SubmissionError(
            f"the submission has the columns {listed(found)};"
            f" this task expects {listed(schema.columns)} ({'; '.join(faults)}); {hint}"
        )
    return table[schema.columns].fillna("")  # the cells that a short row lacks


def check_bytes(data: bytes, schema: SubmissionSchema) -> None:
    """Reject what is no CSV text, and lines that are too long to be parsed in time."""
    for head, name in OTHER_FORMATS.items():
        if data.startswith(head):
            raise SubmissionError(
                f"the submission is {name}, not UTF-8 text; write it with to_csv, uncompressed"
            )
    if not data.strip(b" \t\n\r\v\f\0"):
        kind = "whitespace and zero bytes" if b"\0" in data else "whitespace"
        fault = f"contains only {kind} ({len(data):,} bytes)" if data else "is empty"
        raise SubmissionError(
            f"the submission {fault}; write a CSV file with the columns {', '.join(schema.columns)}"
        )
    if b"\0" in data:
        raise SubmissionError("the submission contains zero bytes; write plain CSV text in UTF-8")
    lines = islice(re.finditer(rb"[^\r\n]*[^\s][^\r\n]*", data), 2)
    commas = max(line[0].count(b",") for line in lines)
    if commas > len(schema.columns) + MAX_EXTRA_COLUMNS:
        raise SubmissionError(
            f"the submission has about {commas + 1:,} columns; this task expects"
            f" {listed(schema.columns)}"
        )


def align(table: "pd.DataFrame", schema: SubmissionSchema, ids: "pd.DataFrame") -> "pd.DataFrame":
    """Return the target columns with the rows in the order of the answers.

    Args:
        table: a parsed submission.
        schema: its columns.
        ids: the id columns of the answers, shape (rows, id columns).

    Returns:
        The target columns, shape (rows, target columns), index 0 to rows - 1.

    Raises:
        SubmissionError: not every id occurs once, or there are others.
    """
    import pandas as pd

    keys = list(schema.id_columns)
    expected, given = ids[keys].astype(str).reset_index(drop=True), table[keys]
    if not stripped(expected).duplicated().any():
        expected, given = stripped(expected), stripped(given)
    repeated = given[given.duplicated()]
    if len(repeated):
        raise SubmissionError(
            f"{len(repeated):,} ids appear more than once (for example {examples(repeated)});"
            f" give each of the {len(expected):,} ids exactly once"
        )
    given_index, expected_index = (
        pd.MultiIndex.from_frame(given),
        pd.MultiIndex.from_frame(expected),
    )
    rows = given_index.get_indexer(expected_index)
    absent = expected[rows < 0]
    if len(absent) or len(given) != len(expected):
        unknown = given[expected_index.get_indexer(given_index) < 0]
        raise SubmissionError(
            f"the submission has {len(given):,} rows; this task expects {len(expected):,}:"
            f" {len(absent):,} ids are missing{example_of(absent)}"
            f" and {len(unknown):,} are unknown{example_of(unknown)}."
            " Give exactly the ids of sample_submission.csv"
        )
    return table[list(schema.target_columns)].iloc[rows].reset_index(drop=True)


def stripped(ids: "pd.DataFrame") -> "pd.DataFrame":
    """Return ids without blanks at their ends."""
    return ids.assign(**{str(name): ids[name].str.strip() for name in ids})


def split_lists(table: "pd.DataFrame", schema: SubmissionSchema) -> "pd.DataFrame":
    """Return the target columns with cells of the type `list` split into labels."""
    return targets(table, schema) if schema.wants == "list" else table


def targets(table: "pd.DataFrame", schema: SubmissionSchema) -> "pd.DataFrame":
    """Convert the target columns from text to the schema's cell type."""
    result = table[list(schema.target_columns)].copy()
    for name in schema.target_columns:
        result[name] = convert(result[name].str.strip(), schema.wants)
    return result


def convert(text: "pd.Series[str]", cell_type: CellType) -> "pd.Series[Any]":
    """Convert a column of text to a cell type. Raises `SubmissionError`."""
    if cell_type == "list":
        return text.str.split()
    if cell_type == "anything":
        return infer_type(text)
    name = str(text.name)
    is_missing = text.str.lower().isin(MISSING_VALUES)
    if cell_type == "label":
        is_missing = text == ""  # "None" can be the name of a class
    if is_missing.any():
        raise SubmissionError(
            f"column {name!r} has {int(is_missing.sum()):,} missing values (NaN), the first in row"
            f" {int(is_missing.to_numpy().argmax()) + 1}; predict every row"
        )
    return text if cell_type == "label" else numbers(text, cell_type)


def numbers(text: "pd.Series[str]", cell_type: CellType) -> "pd.Series[Any]":
    """Convert a column of text to finite numbers in the cell type's range."""
    import numpy as np
    import pandas as pd

    name = str(text.name)
    column = pd.to_numeric(text, errors="coerce").astype(float)
    wrong = ~np.isfinite(column.to_numpy())
    if wrong.any():
        raise SubmissionError(
            f"column {name!r} has {int(wrong.sum()):,} values that are not finite numbers"
            f" (for example {quote_value(text[wrong].iloc[0], EXAMPLE_CHARACTERS)}); this task"
            " expects numbers"
        )
    low, high = column.min(), column.max()
    if cell_type == "probability" and not (low >= 0 and high <= 1):
        raise SubmissionError(
            f"column {name!r} ranges from {low:g} to {high:g};"
            " this task expects probabilities from 0 to 1"
        )
    if cell_type == "non_negative" and low < 0:
        raise SubmissionError(
            f"column {name!r} has the minimum {low:g}; this task expects numbers of at least 0"
        )
    if cell_type == "integer" and (column % 1 != 0).any():
        example = column[column % 1 != 0].iloc[0]
        raise SubmissionError(
            f"column {name!r} has the value {example:g}; this task expects whole numbers"
        )
    if cell_type == "integer" and column.abs().max() > MAX_WHOLE:
        raise SubmissionError(
            f"column {name!r} ranges from {low:g} to {high:g};"
            f" this task expects whole numbers of at most {MAX_WHOLE:,}"
        )
    if cell_type == "binary" and not column.isin([0, 1]).all():
        example = column[~column.isin([0, 1])].iloc[0]
        raise SubmissionError(
            f"column {name!r} has the value {example:g}; this task expects 0 or 1"
        )
    return column.astype(int) if cell_type in ("integer", "binary") else column


def infer_type(text: "pd.Series[str]") -> "pd.Series[Any]":
    """Convert a column to numbers if all cells are numbers or missing; a missing cell is NaN."""
    import pandas as pd

    present = text.mask(text.str.lower().isin(MISSING_VALUES))
    try:
        column = pd.to_numeric(present)
        return column if column.dtype.kind in "if" else column.astype(float)
    except (ValueError, TypeError, OverflowError):  # no numbers, or too large for a float
        return present


def listed(names: Sequence[str]) -> str:
    """Join the first names and count the rest."""
    shown = ", ".join(quote_name(name, EXAMPLE_CHARACTERS) for name in names[: 2 * EXAMPLES_SHOWN])
    more = len(names) - 2 * EXAMPLES_SHOWN
    return shown + (f" and {more} more" if more > 0 else "")


def examples(rows: "pd.DataFrame") -> str:
    """Join the first ids, as the agent wrote them."""
    first = rows.head(EXAMPLES_SHOWN).to_numpy()
    return ", ".join(
        "/".join(quote_name(str(cell), EXAMPLE_CHARACTERS) for cell in row) for row in first
    )


def example_of(rows: "pd.DataFrame") -> str:
    """Format the first ids in brackets; empty if there are none."""
    return f" (for example {examples(rows)})" if len(rows) else ""


def one_line(error: Exception) -> str:
    """Return an exception's message without line breaks, at most 200 characters."""
    return " ".join(str(error).split())[:200]
