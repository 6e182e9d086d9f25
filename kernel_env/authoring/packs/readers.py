"""Read the files of a source as a table of text.

Each reader takes the bytes of a file and returns a table whose cells are text; an empty text is a
missing cell. A pack names a reader; no code comes with a pack.
"""

import bz2
import gzip
import io
import json
import lzma
import re
import sqlite3
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import IO, TYPE_CHECKING, Any

from kernel_env.authoring.packs import pickled_frames, pictures
from kernel_env.authoring.packs.manifest import SourceSection
from kernel_env.authoring.packs.wheels import LIMIT_BYTES
from kernel_env.errors import TaskError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    import pandas as pd

LABEL = "label"
"""The column of the labels in `ts`."""
SDF_FIELD = re.compile(r">\s+<([^>]+)>[^\n]*\n([^\n]*)")
FAULTS = (
    *(ValueError, LookupError, EOFError, SyntaxError, TypeError, OSError),
    *(sqlite3.Error, lzma.LZMAError, zlib.error, zipfile.BadZipFile),
)
"""What a file of another format makes the readers raise."""


def read(source: SourceSection, files: dict[str, bytes]) -> "pd.DataFrame":
    """Read a source's files as one table.

    Args:
        source: the source, which names the reader.
        files: the bytes of its files, by their paths.

    Returns:
        A table of text; the rows of several files follow one another.

    Raises:
        TaskError: a file does not have the format of the reader.
    """
    import pandas as pd

    reader = READERS[source.reader]
    tables = []
    for name, data in files.items():
        try:
            tables.append(reader(unpacked(name, data), source, name))
        except FAULTS as error:
            said = " ".join(str(error).split())
            raise TaskError(f"{name} of {source.wheel} is not {source.reader}: {said}") from error
    table = as_text(pd.concat(tables, ignore_index=True))
    if table.empty:
        raise TaskError(f"{', '.join(source.files)} of {source.wheel} has no row")
    if lacking := [name for name in source.keep if name not in table]:
        found = ", ".join(map(str, table.columns[:20]))
        raise TaskError(f"{', '.join(files)} has no column {lacking[0]!r}; it has {found}")
    return table[list(source.keep)] if source.keep else table


def unpacked(name: str, data: bytes) -> bytes:
    """Return the bytes of a file, which its suffix says is compressed. Raises `FAULTS`."""
    file = io.BytesIO(data)
    match name.rpartition(".")[2]:
        case "gz":
            return bounded(gzip.GzipFile(fileobj=file))
        case "bz2":
            return bounded(bz2.BZ2File(file))
        case "xz" | "compress":
            return bounded(lzma.LZMAFile(file))
        case "zip":
            with zipfile.ZipFile(file) as archive:
                return bounded(archive.open(archive.namelist()[0]))
    return data


def bounded(file: IO[bytes] | gzip.GzipFile) -> bytes:
    """Read a file to its end. Raises `ValueError` if it is larger than files of wheels may be."""
    with file:
        data = file.read(LIMIT_BYTES + 1)
    if len(data) > LIMIT_BYTES:
        raise ValueError(f"it unpacks to more than {LIMIT_BYTES:,} bytes")
    return data


def as_text(table: "pd.DataFrame") -> "pd.DataFrame":
    """Return a table with cells as text: whole numbers without a fraction, nothing as ''."""
    import numpy as np
    import pandas as pd

    columns = {}
    for number, name in enumerate(table.columns):
        column = table.iloc[:, number]
        if pd.api.types.is_float_dtype(column):
            known = column[np.isfinite(column)]
            if len(known) and (known % 1 == 0).all() and known.abs().max() < 1e15:
                column = column.astype("Int64")
        text = column.astype(object).where(column.notna()).map(str, na_action="ignore")
        columns[str(name)] = text.fillna("").astype(str)
    return pd.DataFrame(columns).reset_index(drop=True)


# ── readers ───────────────────────────────────────────────────────────────────────────────


def read_csv(data: bytes, source: SourceSection, _name: str) -> "pd.DataFrame":
    """Read cells that a character separates; those without a column's name are left out."""
    import csv

    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pd.errors.ParserWarning)  # about cells without a name
        return pd.read_csv(
            io.BytesIO(data),
            sep=source.separator,
            skiprows=source.skip,
            comment=source.comment,
            names=list(source.names) or None,
            header=None if source.names else 0,
            encoding=source.encoding,
            quoting=csv.QUOTE_MINIMAL if source.quotes else csv.QUOTE_NONE,
            dtype=str,
            keep_default_na=False,
            index_col=False,
            on_bad_lines="error",
            skipinitialspace=True,
        )


def read_spaced(data: bytes, source: SourceSection, _name: str) -> "pd.DataFrame":
    """Read cells that blanks separate."""
    import pandas as pd

    return pd.read_csv(
        io.BytesIO(data),
        sep=r"\s+",
        skiprows=source.skip,
        comment=source.comment,
        names=list(source.names) or None,
        header=None if source.names else 0,
        encoding=source.encoding,
        dtype=str,
        keep_default_na=False,
        index_col=False,
    )


def read_frame(data: bytes, _source: SourceSection, _name: str) -> "pd.DataFrame":
    """Read a pickled data frame."""
    return pickled_frames.load(data)


def read_lines(data: bytes, source: SourceSection, name: str) -> "pd.DataFrame":
    """Read lines: a regular expression's named groups are columns."""
    import pandas as pd

    if source.pattern is None:
        raise ValueError("the manifest names no pattern")
    pattern = re.compile(source.pattern)
    rows = [
        {"file": name, **found.groupdict(default="")}
        for line in data.decode(source.encoding).splitlines()
        if (found := pattern.fullmatch(line))
    ]
    return pd.DataFrame(rows, columns=list(dict.fromkeys(["file", *pattern.groupindex])))


def read_json(data: bytes, source: SourceSection, _name: str) -> "pd.DataFrame":
    """Read a list of objects, or an object whose values are objects."""
    import pandas as pd

    found: Any = json.loads(data.decode(source.encoding))
    for key in (source.row or "").split(".") if source.row else []:
        found = found[key]
    rows = list(found.values()) if isinstance(found, dict) else found
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("its rows are not objects")
    flat = [{key: cell for key, cell in row.items() if not isinstance(cell, list)} for row in rows]
    return pd.DataFrame(flat)


def read_sqlite(data: bytes, source: SourceSection, _name: str) -> "pd.DataFrame":
    """Read what a statement selects from a database."""
    import pandas as pd

    if source.query is None:
        raise ValueError("the manifest names no query")
    if not data.startswith(b"SQLite format 3\0"):
        raise ValueError("it does not begin as a database does")
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(data)
        connection.execute("PRAGMA query_only = 1")
        cursor = connection.execute(source.query)
        names = [column[0] for column in cursor.description]
        return pd.DataFrame(cursor.fetchall(), columns=names)


def read_arff(data: bytes, source: SourceSection, _name: str) -> "pd.DataFrame":
    """Read Weka's format: attributes, then rows as CSV; `?` is a missing cell."""
    import csv

    import pandas as pd

    header, _, body = re.split(r"(?im)^(@data)\s*$", data.decode(source.encoding), maxsplit=1)
    names = [
        (quoted or bare)
        for quoted, bare in re.findall(r"(?im)^@attribute\s+(?:['\"](.+?)['\"]|(\S+))", header)
    ]
    lines = [line for line in body.splitlines() if line.strip() and not line.startswith("%")]
    rows = [
        ["" if cell.strip() == "?" else cell.strip().strip("'\"") for cell in row]
        for row in csv.reader(lines, skipinitialspace=True, quotechar="'")
    ]
    if any(len(row) != len(names) for row in rows):
        raise ValueError(f"not every row has {len(names)} cells")
    return pd.DataFrame(rows, columns=names)


def read_ts(data: bytes, source: SourceSection, _name: str) -> "pd.DataFrame":
    """Read windows of series: each dimension's samples, and the label.

    Columns are `NAME_SAMPLE`, or `NAME-DIMENSION_SAMPLE` where there are several dimensions.
    """
    import pandas as pd

    _, _, body = re.split(r"(?im)^(@data)\s*$", data.decode(source.encoding), maxsplit=1)
    rows = []
    for line in filter(None, map(str.strip, body.splitlines())):
        *dimensions, label = line.split(":")
        row: dict[str, str] = {LABEL: label}
        for number, dimension in enumerate(dimensions):
            channel = "x" if len(dimensions) == 1 else f"x-{number}"
            for sample, value in enumerate(dimension.split(",")):
                row[f"{channel}_{sample:04}"] = "" if value in ("?", "NaN") else value
        rows.append(row)
    return pd.DataFrame(rows)


def read_sdf(data: bytes, source: SourceSection, _name: str) -> "pd.DataFrame":
    """Read the data fields of molecules."""
    import pandas as pd

    molecules = data.decode(source.encoding).replace("\r\n", "\n").split("$$$$")
    return pd.DataFrame([dict(SDF_FIELD.findall(one)) for one in molecules if one.strip()])


def read_xml(data: bytes, source: SourceSection, _name: str) -> "pd.DataFrame":
    """Read elements as rows; a path may climb to the elements around a row by `..`."""
    from xml.etree import ElementTree as ET

    import pandas as pd

    root = ET.fromstring(data)  # noqa: S314 - expat bounds what entities expand to
    around = {child: parent for parent in root.iter() for child in parent}
    return pd.DataFrame(
        {column: text_at(element, path, around) for column, path in source.fields.items()}
        for element in elements(root, source.row or "*")
    )


def elements(root: "Element", path: str) -> Iterator["Element"]:
    """Yield the elements that are rows."""
    yield from root.iter(path) if path.isidentifier() else root.iterfind(path)


def text_at(element: "Element", path: str, around: "dict[Element, Element]") -> str:
    """Return the text at a path from an element; '' if nothing is there.

    `..` is the element around, `..TAG` the nearest one around with that tag.
    """
    first, _, rest = path.partition("/")
    if not first.startswith(".."):
        return (element.findtext(path) or "").strip()
    found = around.get(element)
    while found is not None and first != ".." and found.tag != first[2:]:
        found = around.get(found)
    return "" if found is None else text_at(found, rest, around)


def of_path(source: SourceSection, name: str) -> dict[str, str] | None:
    """Return the columns of a file's path; None if the file is left out."""
    if source.pattern is None:
        return {"file": name}
    found = re.fullmatch(source.pattern, name)
    return {"file": name, **found.groupdict(default="")} if found else None


def read_svg(data: bytes, source: SourceSection, name: str) -> "pd.DataFrame":
    """Draw a picture; its pixels are columns, from 0 to 255, row by row."""
    import pandas as pd

    if (columns := of_path(source, name)) is None:
        return pd.DataFrame()
    pixels = pictures.draw_svg(data, source.size)
    row = {f"pixel_{n:04}": str(value) for n, value in enumerate(pixels)}
    return pd.DataFrame([{**columns, **row}])


def read_picture(data: bytes, source: SourceSection, name: str) -> "pd.DataFrame":
    """Read the path of a picture, which stays a file."""
    import pandas as pd

    if (columns := of_path(source, name)) is None:
        return pd.DataFrame()
    pictures.check_picture(data)
    return pd.DataFrame([columns])


READERS: dict[str, Callable[[bytes, SourceSection, str], "pd.DataFrame"]] = {
    "arff": read_arff,
    "csv": read_csv,
    "json": read_json,
    "lines": read_lines,
    "pickled-frame": read_frame,
    "pictures": read_picture,
    "sdf": read_sdf,
    "spaced": read_spaced,
    "sqlite": read_sqlite,
    "svg": read_svg,
    "ts": read_ts,
    "xml": read_xml,
}
