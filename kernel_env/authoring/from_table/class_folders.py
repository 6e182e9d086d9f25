"""Read a folder with one sub-folder of pictures or texts for each class."""

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kernel_env.authoring.from_table.columns import Column
from kernel_env.authoring.from_table.design import Design, design
from kernel_env.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp")
TEXTS = (".txt", ".md", ".html", ".htm", ".rst")
IGNORED = ("thumbs.db", "desktop.ini")
"""Files that file managers leave behind, beside hidden ones."""
TARGET = "label"
"""The name of the target column, if the author gives none."""


@dataclass(frozen=True, kw_only=True)
class ClassFolders:
    """The files of a folder and their classes."""

    content: Literal["pictures", "texts"]
    table: "pd.DataFrame"
    """The columns `text` or `file`, and the target: the name of the sub-folder. `file` is a path
    relative to the folder."""


def read(folder: Path, target: str) -> ClassFolders:
    """Read the files of each class.

    Raises:
        UsageError: the folder has no sub-folders, or not only pictures, or not only texts.
    """
    import pandas as pd

    names = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    names = [name for name in names if not is_ignored(name)]
    if loose := [name for name in names if len(name.parts) == 1]:
        raise UsageError(
            f"{folder / loose[0]} is in no class; --from takes a folder with one sub-folder for"
            " each class"
        )
    suffixes = {name.suffix.lower() for name in names}
    if not names or not (suffixes <= {*PICTURES} or suffixes <= {*TEXTS}):
        found = ", ".join(sorted(suffix or "no suffix" for suffix in suffixes)) or "no file"
        raise UsageError(
            f"{folder} has files with {found}; its sub-folders must hold either pictures"
            f" ({', '.join(PICTURES)}) or texts ({', '.join(TEXTS)})"
        )
    labels = [name.parts[0] for name in names]
    if suffixes <= {*PICTURES}:
        files = pd.DataFrame({"file": [name.as_posix() for name in names], target: labels})
        return ClassFolders(content="pictures", table=files)
    texts = [read_text(folder / name) for name in names]
    return ClassFolders(content="texts", table=pd.DataFrame({"text": texts, target: labels}))


def is_ignored(name: Path) -> bool:
    """Return whether a file is none of the author's: hidden, or left by a file manager."""
    return (
        any(part.startswith((".", "__MACOSX")) for part in name.parts)
        or name.name.lower() in IGNORED
    )


def read_text(path: Path) -> str:
    """Read a text. Raises `UsageError` if it is empty or not UTF-8."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text; save it as UTF-8") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    if not text.strip() or "\0" in text:
        fault = "contains zero bytes" if text.strip() else "is empty"
        raise UsageError(f"{path} {fault}; remove it")
    return text


def design_task(
    name: str, folder: Path, found: ClassFolders, *, target: str, metric: str | None = None
) -> Design:
    """Choose everything that the caller does not specify. Raises `UsageError`."""
    chosen = design(name, folder, found.table, target=target, metric=metric, split="random")
    chosen = replace(chosen, split=replace(chosen.split, why="stratified by class"))
    if found.content == "texts":
        return replace(chosen, domain="language", remarks=())
    picture = Column(
        name="file",
        is_number=False,
        is_text=False,
        summary="path of the row's picture",
        missing=0,
    )
    return replace(
        chosen, domain="vision", columns=(picture,), remarks=tuple(formats(found.table, target))
    )


def formats(table: "pd.DataFrame", target: str) -> list[str]:
    """Return a remark if the format of a picture tells something about its class."""
    suffixes = table["file"].str.extract(r"(\.\w+)$", expand=False).str.lower()
    shares = suffixes.groupby(table[target]).value_counts(normalize=True).unstack(fill_value=0)
    if (shares.max() - shares.min()).max() < 0.2:
        return []
    found = ", ".join(map(str, shares.columns))
    return [
        f"the format of a picture ({found}) tells something about its class; convert all to one"
    ]


def pack(folder: Path, table: "pd.DataFrame", archive: Path) -> None:
    """Write the pictures of a table into one archive with the same bytes on every system."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for name in table["file"]:
            packed.writestr(zipfile.ZipInfo(name), (folder / name).read_bytes())
