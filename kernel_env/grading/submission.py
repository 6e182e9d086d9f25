"""From the bytes a box left behind to a table that can be scored, or a clear word why not.

The bytes are hostile: they are only ever parsed as CSV text. Every refusal says
what was found, what was wanted, and what the agent should do.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kernel_env.errors import SubmissionError
from kernel_env.grading.metric import Wants

if TYPE_CHECKING:
    import pandas as pd

MOST_EXTRA_COLUMNS = 1000
SHOWN = 5
"""Examples given in a refusal."""
EMPTY = ["", "nan", "na", "none", "null", "<na>"]
"""What programs write where they have no value, in small letters."""


@dataclass(frozen=True, kw_only=True)
class SubmissionSchema:
    """What a submission must look like; without columns, a `grade.py` reads the file itself."""

    id_columns: tuple[str, ...]
    target_columns: tuple[str, ...]
    wants: Wants = "number"

    @property
    def columns(self) -> list[str]:
        """All of them, in order."""
        return [*self.id_columns, *self.target_columns]

    @property
    def is_free(self) -> bool:
        """Whether only the task's own `grade.py` knows what it must look like."""
        return not self.columns


def parse(data: bytes, form: SubmissionSchema, ids: "pd.DataFrame") -> "pd.DataFrame":
    """The targets of a submission, its rows in the order of `ids`.

    Args:
        data: the file's bytes, CSV in UTF-8 with a header.
        form: the columns wanted.
        ids: the id columns of the answers, shape (rows, id columns).

    Returns:
        The target columns, shape (rows, target columns), index 0 … rows - 1.

    Raises:
        SubmissionError: for everything that is not such a file.
    """
    table = read(data, form)
    aligned = align(table, form, ids)
    return targets(aligned, form)


def read(data: bytes, form: SubmissionSchema) -> "pd.DataFrame":
    """The file as text columns, the right ones."""
    import pandas as pd

    if not data.strip(b"\r\n\t \0"):
        what = "empty" if not data else f"{len(data):,} bytes of nothing"
        raise SubmissionError(
            f"the submission is {what}; write a CSV file with the columns {', '.join(form.columns)}"
        )
    if b"\0" in data:
        raise SubmissionError("the submission has zero bytes in it; write plain CSV text in UTF-8")
    commas = data[: data.find(b"\n")].count(b",")
    if commas > len(form.columns) + MOST_EXTRA_COLUMNS:
        raise SubmissionError(
            f"the submission has about {commas + 1:,} columns; this task wants"
            f" {listed(form.columns)}"
        )
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
    missing = [column for column in form.columns if column not in found]
    extra = [column for column in found if column not in form.columns]
    if missing or extra:
        faults = [f"missing: {listed(missing)}"] * bool(missing)
        faults += [f"unexpected: {listed(extra)}"] * bool(extra)
        hint = "write it with index=False" if "Unnamed: 0" in extra else "use those names"
        raise SubmissionError(
            f"the submission has the columns {listed(found)};"
            f" this task wants {listed(form.columns)} ({'; '.join(faults)}); {hint}"
        )
    return table[form.columns]


def align(table: "pd.DataFrame", form: SubmissionSchema, ids: "pd.DataFrame") -> "pd.DataFrame":
    """The rows in the order of the answers: every id once, no other."""
    keys = list(form.id_columns)
    wanted = ids[keys].astype(str).reset_index(drop=True)
    given = table[keys].apply(lambda column: column.str.strip())
    repeated = given[given.duplicated()]
    if len(repeated):
        raise SubmissionError(
            f"{len(repeated):,} ids appear more than once (for example {examples(repeated)});"
            f" give each of the {len(wanted):,} ids exactly once"
        )
    where = given.assign(row=range(len(given)))
    joined = wanted.merge(where, on=keys, how="left")
    absent = wanted[joined["row"].isna()]
    if len(absent) or len(given) != len(wanted):
        unknown = given.merge(wanted, on=keys, how="left", indicator=True)
        unknown = unknown.loc[unknown["_merge"] == "left_only", keys]
        raise SubmissionError(
            f"the submission has {len(given):,} rows; this task wants {len(wanted):,}:"
            f" {len(absent):,} ids are missing{example_of(absent)}"
            f" and {len(unknown):,} are unknown{example_of(unknown)}."
            " Give exactly the ids of sample_submission.csv"
        )
    return table.iloc[joined["row"].astype(int)].reset_index(drop=True)


def targets(table: "pd.DataFrame", form: SubmissionSchema) -> "pd.DataFrame":
    """The target columns as the metric wants them."""
    result = table[list(form.target_columns)].copy()
    for name in form.target_columns:
        result[name] = as_wanted(result[name].str.strip(), form.wants)
    return result


def as_wanted(text: "pd.Series[str]", wants: Wants) -> "pd.Series[Any]":
    """One column of cells of text as what stands in it. Raises `SubmissionError`."""
    if wants == "list":
        return text.str.split()
    if wants == "anything":
        return as_pandas_reads(text)
    name = str(text.name)
    empty = text.str.lower().isin(EMPTY)
    if wants == "label":
        empty = text == ""  # a class may be called "None"
    if empty.any():
        raise SubmissionError(
            f"column {name!r} has {int(empty.sum()):,} missing values (NaN), the first in row"
            f" {int(empty.to_numpy().argmax()) + 1} by the order of ids; predict every row"
        )
    return text if wants == "label" else numbers(text, wants)


def numbers(text: "pd.Series[str]", wants: Wants) -> "pd.Series[Any]":
    """Finite numbers, and such as are wanted."""
    import numpy as np
    import pandas as pd

    name = str(text.name)
    column = pd.to_numeric(text, errors="coerce").astype(float)
    wrong = ~np.isfinite(column.to_numpy())
    if wrong.any():
        raise SubmissionError(
            f"column {name!r} has {int(wrong.sum()):,} values that are no finite number"
            f" (for example {text[wrong].iloc[0][:40]!r}); this task wants numbers"
        )
    low, high = column.min(), column.max()
    if wants == "probability" and not (low >= 0 and high <= 1):
        raise SubmissionError(
            f"column {name!r} goes from {low:g} to {high:g};"
            " this task wants probabilities from 0 to 1"
        )
    if wants == "non_negative" and low < 0:
        raise SubmissionError(
            f"column {name!r} goes down to {low:g}; this task wants numbers of at least 0"
        )
    if wants == "integer" and (column % 1 != 0).any():
        example = column[column % 1 != 0].iloc[0]
        raise SubmissionError(
            f"column {name!r} has the value {example:g}; this task wants whole numbers"
        )
    if wants == "binary" and not column.isin([0, 1]).all():
        example = column[~column.isin([0, 1])].iloc[0]
        raise SubmissionError(f"column {name!r} has the value {example:g}; this task wants 0 or 1")
    return column.astype(int) if wants in ("integer", "binary") else column


def as_pandas_reads(text: "pd.Series[str]") -> "pd.Series[Any]":
    """Numbers if all cells are numbers or missing, else text; a missing cell is NaN."""
    import pandas as pd

    known = text.mask(text.str.lower().isin(EMPTY))
    try:
        return pd.to_numeric(known)
    except (ValueError, TypeError):
        return known


def listed(names: Sequence[str]) -> str:
    """Some names, the rest counted."""
    shown = ", ".join(name[:40] for name in names[: 2 * SHOWN])
    more = len(names) - 2 * SHOWN
    return shown + (f" and {more} more" if more > 0 else "")


def examples(rows: "pd.DataFrame") -> str:
    """A few ids, as the agent wrote them."""
    return ", ".join("/".join(str(v)[:40] for v in row) for row in rows.head(SHOWN).to_numpy())


def example_of(rows: "pd.DataFrame") -> str:
    """The same in brackets, or nothing when there is none."""
    return f" (for example {examples(rows)})" if len(rows) else ""


def one_line(error: Exception) -> str:
    """An exception's message without its line breaks."""
    return " ".join(str(error).split())[:200]
