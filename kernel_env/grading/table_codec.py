"""Encode the columns of a parsed submission as bytes that can be decoded without parsing.

The process that parses untrusted text writes them; the one that has the answers reads them. A
number column is its values; a text column is the lengths of its cells, then their characters. So
nothing in the bytes can be more than a wrong value.
"""

import json
import struct
from typing import TYPE_CHECKING, Any

from kernel_env.grading.messages import LENGTH

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

FLOAT, INTEGER, TEXT = "<f8", "<i8", "text"
"""The kinds of columns; the first two are NumPy's names of their types."""
MISSING = -1
"""The length of a missing cell of text."""


class TooManyRows(Exception):
    """An encoded table with more rows than expected."""

    def __init__(self, rows: int) -> None:
        super().__init__(f"the table has {rows:,} rows")
        self.rows = rows


def pack(table: "pd.DataFrame") -> bytes:
    """Encode a table of numbers and text; a missing cell of text is NaN or None."""
    import numpy as np

    columns, parts = [], []
    for name in table:
        column = table[name]
        if column.dtype.kind == "i":
            encoded = [column.to_numpy(dtype=INTEGER).tobytes()]
            kind = INTEGER
        elif column.dtype.kind == "f":
            # Adding 0 turns -0.0 into 0.0: equal numbers have equal bytes.
            encoded = [(column.to_numpy(dtype=FLOAT) + 0.0).tobytes()]
            kind = FLOAT
        else:
            cells = column.to_list()
            lengths = [len(cell) if isinstance(cell, str) else MISSING for cell in cells]
            text = "".join(cell for cell in cells if isinstance(cell, str))
            encoded = [np.array(lengths, dtype=INTEGER).tobytes(), text.encode()]
            kind = TEXT
        columns.append({"name": str(name), "kind": kind, "bytes": [len(part) for part in encoded]})
        parts += encoded
    head = json.dumps({"rows": len(table), "columns": columns}).encode()
    return b"".join([LENGTH.pack(len(head)), head, *parts])


def unpack(data: bytes, *, max_rows: int | None = None) -> "pd.DataFrame":
    """Decode a table.

    Args:
        data: the encoded table.
        max_rows: decode no more rows than this.

    Raises:
        TooManyRows: there are more.
        ValueError: the bytes are not an encoded table.
    """
    import pandas as pd

    try:
        (length,) = LENGTH.unpack_from(data)
        offset = LENGTH.size + length
        head = json.loads(data[LENGTH.size : offset])
        if max_rows is not None and head["rows"] > max_rows:
            raise TooManyRows(head["rows"])
        columns: dict[str, Any] = {}
        for column in head["columns"]:
            parts = []
            for size in column["bytes"]:
                if not 0 <= size <= len(data) - offset:
                    raise ValueError("a column is longer than the data")
                parts.append(memoryview(data)[offset : offset + size])
                offset += size
            columns[column["name"]] = decode_column(column["kind"], parts, head["rows"])
        return pd.DataFrame(columns, index=pd.RangeIndex(head["rows"]))
    except (ValueError, TypeError, LookupError, struct.error) as error:
        raise ValueError(f"the data is no encoded table: {error}") from error


def decode_column(kind: str, parts: list[memoryview], rows: int) -> "np.ndarray | pd.Series[Any]":
    """Decode one column. Raises `ValueError` for a wrong kind or number of rows."""
    import numpy as np
    import pandas as pd

    if kind in (FLOAT, INTEGER):
        return checked_rows(np.frombuffer(parts[0], dtype=kind), rows)
    if kind != TEXT:
        raise ValueError(f"a column has the kind {kind!r}")
    lengths = checked_rows(np.frombuffer(parts[0], dtype=INTEGER), rows)
    text = bytes(parts[1]).decode()
    if (lengths < MISSING).any() or lengths[lengths > 0].sum() != len(text):
        raise ValueError("the lengths of a text column are wrong")
    ends = np.where(lengths > 0, lengths, 0).cumsum()
    cells = [
        None if length == MISSING else text[end - length : end]
        for length, end in zip(lengths.tolist(), ends.tolist(), strict=True)
    ]
    return pd.Series(cells, dtype=pd.Series([""]).dtype)


def checked_rows(values: "np.ndarray", rows: int) -> "np.ndarray":
    """Return the values. Raises `ValueError` if their number is not that of the rows."""
    if len(values) != rows:
        raise ValueError(f"a column has {len(values)} rows, not {rows}")
    return values
