"""Prepare synthetic raw data with other benchmarks' own code.

    python -m support.originals.preparing BENCHMARK CHECKOUT TABLES RAW PREPARED TASK…

A prepare function starts with an empty folder. What it misses is added, as its errors name it,
until it succeeds: files by their kind, columns, one file for each id. Prints a line of JSON for
each task: the digests of what was prepared, or the last error.
"""

import csv
import hashlib
import io
import json
import os
import re
import shutil
import sys
import tarfile
import tempfile
import traceback
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.originals.__main__ import graded, in_a_process
from support.originals.benchmarks import BENCHMARKS
from support.originals.columns import ID

TRIALS, PREPARE_S = 40, 20
PATH = re.compile(r"[`'\"]?(/[^`'\"\n]+?)[`'\"]?(?: does not exist|$|[\s,;:])")
LACKS_COLUMNS = re.compile(
    r"not in index|not found in axis|Usecols|KeyError|not in list", re.IGNORECASE
)
OVERLAP = re.compile(r"overlap|share|both|disjoint|common", re.IGNORECASE)
FEWER = re.compile(r"'test_size' parameter|more rows|division by zero")
WANTS_TEXTS = re.compile(r"\.str accessor|startswith|to str|ufunc 'add'|'split'|and 'int'$")
NAME = re.compile(r"'([^'\n]+)'")
GLOB = re.compile(r"glob\(\s*f?['\"]([^'\"]*\*[^'\"]*\.\w+)['\"]")
FILE = re.compile(r"['\"]([\w.-]+\.(?:csv|zip|json|7z|tsv|txt))['\"]")
FOLDER = re.compile(r"raw\s*/\s*['\"]([\w/ -]+)['\"]")
ENOUGH = 60
"""The rows of a table: that of the answers is repeated, with new ids."""


@dataclass(kw_only=True)
class Raw:
    """The files of a raw folder that a prepare function has asked for."""

    rows: list[dict[str, object]]
    """The rows of each table."""
    files: set[str] = field(default_factory=set)
    added: list[str] = field(default_factory=list)
    """Columns that an error has named."""
    source: str = ""
    """The source of the prepare function."""
    are_texts: bool = False
    tests_are_short: bool = False
    """Whether tables of tests have fewer rows."""
    are_apart: bool = False
    """Whether tables of tests have other ids."""

    @property
    def ids(self) -> list[str]:
        """Return the first column."""
        return [str(next(iter(row.values()))) for row in self.rows]

    def add_file(self, name: str) -> bool:
        """Add a missing file; if its name contains an id, one for each id."""
        path = Path(name)
        exact = [id_ for id_ in self.ids if path.stem == id_ or path.name == id_]
        inside = [id_ for id_ in self.ids if len(id_) > 2 and id_ in path.stem]
        found = next(iter([*exact, *sorted(inside, key=len, reverse=True)]), None)
        before = len(self.files)
        if found is None:
            self.files.add(name)
        else:
            new = (path.name.replace(found, id_, 1) for id_ in self.ids)
            self.files |= {str(path.parent / name) for name in new}
        return len(self.files) > before

    def add_columns(self, names: Sequence[str]) -> bool:
        """Add missing columns to all tables."""
        new = [name for name in names if name not in self.rows[0]]
        for number, row in enumerate(self.rows):
            row |= {name: f"n{number}" if ID.search(name) else number % 4 for name in new}
        self.added += new
        return bool(new)

    def make_texts(self) -> bool:
        """Turn the numbers of added columns into texts, once."""
        for row in self.rows if not self.are_texts else ():
            row |= {name: f"k{row[name]}" for name in self.added}
        self.are_texts, before = True, self.are_texts
        return bool(self.added) and not before

    def mend(self, error: str, where: str, source: str) -> bool:
        """Do what an error asks for that names no file. Returns whether anything has changed."""
        if LACKS_COLUMNS.search(error) and self.add_columns(NAME.findall(error)):
            return True
        if OVERLAP.search(error) and not self.are_apart:
            self.are_apart = True
            return True
        if FEWER.search(error) and not self.tests_are_short:
            self.tests_are_short = True
            return True
        if WANTS_TEXTS.search(error):
            return self.make_texts()
        if re.search(r"shape\[1\]|columns", where) and re.search(r"\d+ columns", error):
            return len(self.added) < 30 and self.add_columns([f"filler{len(self.added)}"])
        return self.fill(source) or self.add_named_files(source)

    def add_named_files(self, source: str) -> bool:
        """Add the files that the source names."""
        before = len(self.files)
        names = {name for name in FILE.findall(source) if not re.search("answer|subm", name)}
        self.files |= names
        return len(self.files) > before

    def fill(self, source: str) -> bool:
        """Add a file for each id to the folders, of the kinds that the source looks for."""
        before = len(self.files)
        folders = {*FOLDER.findall(source), *(name for name in self.files if "." not in name)}
        for pattern in GLOB.findall(source):
            for folder in ["", *sorted(folders)] if "/" not in pattern else [""]:
                names = (
                    pattern.replace("**", "*").replace("*", Path(id_).stem) for id_ in self.ids
                )
                self.files |= {str(Path(folder) / name) for name in names}
        return len(self.files) > before

    def table(self, name: str) -> str:
        """Return the rows as the content of a file with this name."""
        key, is_test = next(iter(self.rows[0])), "test" in name.lower()
        rows = self.rows[: ENOUGH // 4] if is_test and self.tests_are_short else self.rows
        if is_test and self.are_apart:
            rows = [{**row, key: f"9{row[key]}"} for row in rows]
        if name.endswith((".json", ".parquet")):
            parts = dict.fromkeys(("annotations", "images", "categories"), rows)
            return json.dumps(parts if '"annotations"' in self.source else rows)
        table = io.StringIO()
        writer = csv.DictWriter(table, [*rows[0]], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return table.getvalue()

    def write(self, folder: Path) -> None:
        """Write the files."""
        folder.mkdir(parents=True)
        for name in sorted(self.files):
            path = folder / name
            with suppress(FileExistsError, NotADirectoryError):
                path.parent.mkdir(parents=True, exist_ok=True)
                if not path.suffix:
                    path.mkdir(exist_ok=True)
                elif not path.is_dir():
                    path.write_bytes(content(path.suffix.lower(), self.table(path.name)))


def content(suffix: str, table: str) -> bytes:
    """Return the content of a file, by its kind."""
    if suffix == ".zip":
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("unpacked.txt", "")
        return archive.getvalue()
    if suffix == ".7z":
        import py7zr

        archive = io.BytesIO()
        with py7zr.SevenZipFile(archive, "w") as file:
            file.writestr("", "unpacked.txt")
        return archive.getvalue()
    if suffix in (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"):
        from PIL import Image

        picture = io.BytesIO()
        kind = {"jpg": "jpeg", "tif": "tiff"}.get(suffix[1:], suffix[1:])
        Image.new("RGB", (8, 8)).save(picture, kind)
        return picture.getvalue()
    if suffix in (".csv", ".tsv", ".txt"):
        return (table.replace(",", "\t") if suffix == ".tsv" else table).encode()
    if suffix == ".parquet":
        import pandas as pd

        with tempfile.NamedTemporaryFile(suffix=suffix) as file:  # fastparquet closes a buffer
            pd.DataFrame(json.loads(table)).to_parquet(file.name)
            return Path(file.name).read_bytes()
    if suffix in (".gz", ".tgz"):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as file:
            file.addfile(tarfile.TarInfo("unpacked.txt"))
        return packed.getvalue()
    return table.encode() if suffix == ".json" else b"synthetic"


def first_rows(answers: Path) -> list[dict[str, object]]:
    """Return the rows of the answers, repeated with new ids."""
    rows: list[dict[str, object]] = [*csv.DictReader(io.StringIO(answers.read_text()))]
    key, given = next(iter(rows[0])), len(rows)
    for number in range(given, ENOUGH):
        row = {**rows[number % given]}
        text = Path(str(row[key]))
        new = f"{text.stem}b{number}{text.suffix}"
        row[key] = str(int(text.name) + 5000 + number) if text.name.isdecimal() else new
        rows.append(row)
    return rows


def missing_file(error: dict[str, Any], raw: Path) -> str:
    """Return the path below `raw` that an error names, or an empty text."""
    for name in [error.get("filename") or "", *PATH.findall(error["refused"])]:
        with suppress(ValueError):
            relative = str(Path(name).relative_to(raw))
            if relative != "." and not (raw / relative).exists():
                return relative
    return ""


def prepared_by_trial(original: Any, id_: str, raw: Raw, keep: Path) -> dict[str, Any]:
    """Call a prepare function until it succeeds; leave the raw files that it wants in `keep`."""
    public, private = original.folders(id_)
    work = Path(tempfile.mkdtemp())
    error: dict[str, Any] = {}
    source = raw.source
    for trial in range(TRIALS):
        for folder in (work / "raw", public, private, keep):
            shutil.rmtree(folder, ignore_errors=True)
        for folder in (public, private):
            folder.mkdir(parents=True)
        raw.write(keep)
        shutil.copytree(keep, work / "raw")  # archives contain the time at which they were made
        output = work / "output"
        error = in_a_process(lambda: called(original, id_, work / "raw"), PREPARE_S, str(output))
        complete = original.answers(id_).is_file() and original.sample(id_).is_file()
        if "refused" not in error and complete:
            shutil.rmtree(work)
            return {"trials": trial + 1, "digests": digests(public, private)}
        if "refused" not in error:  # it has printed why it has prepared nothing
            printed = output.read_text(errors="replace")[-1500:]
            error = {"refused": f"nothing prepared; printed: {printed}"}
        text = error["refused"]
        name = missing_file(error, work / "raw")
        where = error.get("where", "")
        if not (raw.add_file(name) if name else raw.mend(text, where, source)):
            break
    shutil.rmtree(work)
    shutil.rmtree(keep, ignore_errors=True)
    return {"refused": error["refused"][:1000], "where": error.get("where", "")}


def called(original: Any, id_: str, raw: Path) -> dict[str, Any]:
    """Call the prepare function; return what is known of its failure."""
    try:
        original.prepare(id_, raw, *original.folders(id_))
    except Exception as error:  # noqa: BLE001 - becomes the next trial
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if frame.filename.endswith("prepare.py")]
        named = getattr(error, "filename", None)
        return {
            "refused": f"{type(error).__name__}: {error}"[:1500],
            "filename": str(named) if named else "",
            "where": (own[-1].line or "")[:120] if own else "",
        }
    return {}


def digests(public: Path, private: Path) -> dict[str, str]:
    """Return the digest of each prepared file; of an archive that of its content."""
    return {
        f"{part}/{path.relative_to(folder)}": digest(path)
        for part, folder in (("public", public), ("private", private))
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def digest(path: Path) -> str:
    """Return the SHA-256 of a file; for a zip archive, the checksums of its members.

    A .7z archive contains the time at which it was made, and is not read here.
    """
    if path.suffix == ".7z":
        return "an archive"
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            members = sorted((info.filename, info.CRC) for info in archive.infolist())
        return str([member for member in members if not member[0].endswith("/")])
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    benchmark, checkout, tables, raw, prepared = sys.argv[1], *map(Path, sys.argv[2:6])
    os.chdir(tempfile.mkdtemp())
    tabled, original = (BENCHMARKS[benchmark](checkout, data) for data in (tables, prepared))
    for id_ in sys.argv[6:]:
        answers = tabled.answers(id_)
        if answers.suffix != ".csv" or not answers.is_file():
            row: dict[str, Any] = {"refused": "no table of answers to begin with"}
        else:
            start = Raw(rows=first_rows(answers), source=original.preparer(id_).read_text())
            row = prepared_by_trial(original, id_, start, raw / id_ / "raw")
        if "digests" in row and original.sample(id_).is_file():
            grade = lambda id_=id_: graded(original, id_, original.sample(id_))  # noqa: E731
            row["sample"] = in_a_process(grade, PREPARE_S)
        print(json.dumps({"id": id_, **row}), flush=True)


if __name__ == "__main__":
    main()
