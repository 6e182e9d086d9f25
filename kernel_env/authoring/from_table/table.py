"""Read the table of a new task as text, and reject what no task can be made of."""

import lzma
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from kernel_env.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".csv.gz", ".csv.xz", ".csv.bz2", ".csv.zip", ".parquet")
READ_ERRORS = (ValueError, EOFError, lzma.LZMAError, zipfile.BadZipFile, zlib.error)
"""The exceptions for a file that is not CSV, not UTF-8, or a truncated archive."""
SEPARATORS = {";": "';'", "\t": "a tab", "|": "'|'"}
"""Other separators of tables, with their names."""
MAX_NAME_SHOWN = 60


def read(path: Path) -> "pd.DataFrame":
    r"""Read a table as text; a missing cell is an empty text.

    Nothing but an empty cell is missing: `NA` and `None` can be values. Line breaks in cells become
    `\n`, as prepare.py of the new task reads them.

    Raises:
        UsageError: the file has an unknown format, cannot be read, or its columns have no usable
            names.
    """
    import pandas as pd

    if not path.name.endswith(SUFFIXES):
        raise UsageError(
            f"{path} has an unknown format; give a table in one of {', '.join(SUFFIXES)},"
            " or a folder with one sub-folder of pictures or texts for each class"
        )
    try:
        if path.suffix == ".parquet":
            cells = pd.read_parquet(path)
            names = list(map(str, cells.columns))
            table = cells.astype(object).where(cells.notna()).map(str, na_action="ignore")
            table = table.fillna("").astype(str)
        else:
            head = pd.read_csv(path, dtype=str, keep_default_na=False, header=None, nrows=1)
            names = head.iloc[0].tolist()
            table = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False)
    except ImportError as error:
        raise UsageError(
            f"{path}: parquet needs pyarrow (pip install pyarrow), or give a CSV"
        ) from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text; save it as UTF-8") from error
    except READ_ERRORS as error:
        raise UsageError(f"{path} is no table: {' '.join(str(error).split())}") from error
    check_names(path, names)
    table.columns = pd.Index(names)
    return table.replace(r"\r\n?", "\n", regex=True).fillna("")


def check_names(path: Path, names: list[str]) -> None:
    """Raise `UsageError` unless a table has several columns with a usable name each."""
    if len(names) < 2:
        used = next((name for mark, name in SEPARATORS.items() if mark in names[0]), "")
        remedy = (
            f"it is separated by {used}: write it with commas, for example with"
            f" pandas.read_csv(path, sep=…).to_csv(path, index=False)"
            if used
            else "is the separator a comma?"
        )
        raise UsageError(f"{path}: only one column found, {shortened(names[0])}; {remedy}")
    for number, name in enumerate(names, 1):
        if not name.strip():
            raise UsageError(
                f"{path}: column {number} has no name; give it one, or remove it if it is an index"
                " that a program wrote"
            )
        if not name.isprintable():
            raise UsageError(
                f"{path}: the name of column {number}, {shortened(name)}, contains line breaks or"
                " control characters; rename it"
            )
        if names.count(name) > 1:
            raise UsageError(
                f"{path}: {names.count(name)} columns are named {shortened(name)}; rename them"
            )


def shortened(name: str) -> str:
    """Return a column's name as a literal that is not too long."""
    return repr(name if len(name) <= MAX_NAME_SHOWN else name[: MAX_NAME_SHOWN - 1] + "…")
