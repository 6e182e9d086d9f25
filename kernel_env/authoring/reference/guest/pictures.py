"""Read the pictures of a vision task: pixel columns, or one file for each row."""

import math
import re
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pandas as pd
import PIL.Image

from .pool import read_tables

PIXEL = re.compile(r"\D*\d+")
"""The name of a pixel column: other characters, then digits."""
PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp")
MAX_SIDE = 32
"""The side in pixels of the images that models get; larger images are downsampled."""


def read(data: Path, id_column: str, target: str) -> tuple[pd.DataFrame, pd.DataFrame, Any]:
    """Read train.csv and test.csv; return them with a function from rows to images."""
    train, test = read_tables(data, id_column, target, has_classes=True)
    names = [str(name) for name in test if name not in (id_column, target)]
    columns = [name for name in names if PIXEL.fullmatch(name)]
    side = math.isqrt(len(columns))
    if columns and side**2 == len(columns):
        return (
            train,
            test,
            lambda rows: rows[columns].to_numpy(float).reshape(-1, side, side, 1) / 255,
        )
    files = {path.stem: path for path in data.rglob("*") if path.suffix.lower() in PICTURES}
    missing = [str(one) for one in [*train[id_column], *test[id_column]] if str(one) not in files]
    if missing:
        raise SystemExit(
            f"no square number of pixel columns, and {len(missing)} ids without a picture,"
            f" the first {missing[0]}; this pool requires one or the other"
        )
    named = [files[str(one)] for one in (*train[id_column], *test[id_column])]
    read_one = read_png if have_one_form(named) else read_scaled
    return (
        train,
        test,
        lambda rows: np.stack([read_one(files[str(one)]) for one in rows[id_column]]),
    )


def have_one_form(paths: list[Path]) -> bool:
    """Return whether all files are PNG images of the same size and mode."""
    if {path.suffix.lower() for path in paths} != {".png"}:
        return False
    forms = set()
    for path in paths:
        with PIL.Image.open(path) as image:
            forms.add((image.size, image.mode))
    return len(forms) == 1


def read_scaled(path: Path) -> np.ndarray:
    """Read an image of any size and format, scaled to `MAX_SIDE`, with three channels."""
    with PIL.Image.open(path) as image:
        scaled = image.convert("RGB").resize((MAX_SIDE, MAX_SIDE), PIL.Image.Resampling.BOX)
    return np.asarray(scaled, dtype=float) / 255


def read_png(path: Path) -> np.ndarray:
    """Read an image with the shape (rows, columns, channels); transparent pixels become white."""
    image = np.asarray(matplotlib.image.imread(path), dtype=float)
    if image.ndim == 2:
        return image[:, :, None]
    if image.shape[2] == 4:
        opaque = image[:, :, 3:]
        return np.concatenate([image[:, :, :3] * opaque + 1 - opaque, opaque], axis=2)
    return image
