"""Read the results of finished episodes, of every version of this package."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from kernel_env.episode.journal import JOURNAL, read_journal
from kernel_env.episode.notebook import NOTEBOOK
from kernel_env.episode.result import FORMAT, RECORD, EpisodeResult, result_of
from kernel_env.errors import UsageError


def read_results(folder: Path) -> Iterator[EpisodeResult]:
    """Yield the results of all ended episodes below a folder, by their paths.

    A record of an older version is computed anew from the journal, where there is one.

    Raises `UsageError` for a record that cannot be read.
    """
    found = {path.parent for name in (RECORD, JOURNAL) for path in folder.rglob(name)}
    for run in sorted(found):
        result = read_result(run)
        if result is not None:
            yield result


def read_result(run: Path) -> EpisodeResult | None:
    """Return the result in the folder of a run; None for an episode without an ending.

    Its notebook is the one in that folder, wherever the run was made.

    Raises `UsageError`.
    """
    record, journal = run / RECORD, run / JOURNAL
    result = read_record(record) if record.is_file() else None
    if (result is None or result.format < FORMAT) and journal.is_file():
        trajectory = read_journal(journal)
        if trajectory.ending is not None:
            return result_of(trajectory, run / NOTEBOOK)
    return result and replace(result, notebook=str(run / NOTEBOOK))


def read_record(path: Path) -> EpisodeResult:
    """Read a `record.json`. Raises `UsageError`."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not the record of a run: {error}") from error
    return parse_result(found, where=str(path))


def parse_result(found: Any, *, where: str = "the record") -> EpisodeResult:
    """Read the JSON form of a result; a field that is missing has its default.

    Args:
        found: the parsed JSON.
        where: names it in errors.

    Raises `UsageError`, also for a record of a newer version.
    """
    if not isinstance(found, Mapping):
        raise UsageError(f"{where} is not the record of a run: it is no object")
    version = found.get("format", 1)
    if not isinstance(version, int) or version > FORMAT:
        raise UsageError(
            f"{where} has format {version!r}; this version of kernel_env reads up to {FORMAT}:"
            " install a newer one"
        )
    known = {field.name for field in fields(EpisodeResult)}
    values = {name: value for name, value in found.items() if name in known}
    try:
        json.dumps(values, allow_nan=False)
    except ValueError as error:
        raise UsageError(
            f"{where} is not the record of a run: a number in it is not finite"
        ) from error
    try:
        return adapter().validate_python({**values, "format": version})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or "the record"
        message = f"{where} is not the record of a run: {name}: {first['msg']}"
        raise UsageError(message) from error


@cache
def adapter() -> TypeAdapter[EpisodeResult]:
    """Return what checks the fields of a result."""
    return TypeAdapter(EpisodeResult)
