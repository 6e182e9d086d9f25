"""Turn pictures into gradients, colours and thumbnails, and name models for them.

A picture is a file that a column or the id names, or a row of pixel columns.
"""

import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

from .problem import Candidate, Problem, random_rows
from .tables import Tables

SIDE = 32
"""Larger pictures are scaled to this side, in pixels."""
FORMATS = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp")
MIN_PIXELS = 64
"""The fewest columns named like `p0`, `p1` … that are taken for the pixels of a square."""
DIRECTIONS = 9
CELLS = (4, 7)
"""Gradients are counted in a grid of this many cells a side."""
MAX_ROWS = 10_000
"""The most training rows that a model is fitted on; of more, random ones."""
CHUNK = 2_000
"""The pictures whose features are computed at once, which limits the memory."""
COLOURS = 4
"""The levels of red, green and blue in a colour histogram."""


def read_pictures(tables: Tables) -> np.ndarray:
    """Return the pictures of training and test rows, shape (rows, side, side, channels), 0 to 1.

    Raises:
        ValueError: the rows name no pictures.
    """
    names = [str(name) for name in tables.test if name in tables.train]
    both = pd.concat([tables.train[names], tables.test[names]], ignore_index=True)
    pixels = [name for name in names if re.fullmatch(r"\D*\d+", name)]
    side = math.isqrt(len(pixels))
    if len(pixels) >= MIN_PIXELS and side**2 == len(pixels):
        print(f"pictures: {side} × {side} pixels in columns")
        grey = both[pixels].to_numpy(dtype=np.float32).reshape(-1, side, side, 1)
        return np.asarray(grey / max(grey.max(), 1))
    folder = Path(os.environ["DATA_PATH"])
    files = [path for path in folder.rglob("*") if path.suffix.lower() in FORMATS]
    by_name = {path.stem: path for path in files} | {path.name: path for path in files}
    by_name |= {path.relative_to(folder).as_posix(): path for path in files}
    for name in names:
        cells = both[name].astype(str)
        if cells.isin(list(by_name)).all():
            print(f"pictures: files named by {name}")
            return np.stack([read_picture(by_name[cell]) for cell in cells])
    raise ValueError(f"none of the columns {', '.join(names[:20])} names a picture for every row")


def read_picture(path: Path) -> np.ndarray:
    """Read a file as red, green, blue over white, and opacity; shape (side, side, 4)."""
    with Image.open(path) as image:
        colours = image.convert("RGBA").resize((SIDE, SIDE), Image.Resampling.BOX)
    values = np.asarray(colours, dtype=np.float32) / 255
    opaque = values[..., 3:]
    return np.concatenate([values[..., :3] * opaque + 1 - opaque, opaque], axis=2)


def deskew(pictures: np.ndarray) -> np.ndarray:
    """Shear each grey picture so that its ink stands upright.

    The shear is the covariance of row and column divided by the variance of the row, both of the
    ink. See LeCun et al., Gradient-based learning applied to document recognition (1998).
    """
    ink = pictures[..., 0]
    rows, columns = np.mgrid[: ink.shape[1], : ink.shape[2]]
    total = ink.sum(axis=(1, 2)) + 1e-6

    def mean(values: Any) -> np.ndarray:
        return np.asarray((ink * values).sum(axis=(1, 2)) / total)

    row, column = mean(rows), mean(columns)
    slope = (mean(rows * columns) - row * column) / (mean(rows**2) - row**2 + 1e-6)
    moved = columns + slope[:, None, None] * (rows - row[:, None, None])
    left = np.clip(np.floor(moved).astype(int), 0, ink.shape[2] - 2)
    share = np.clip(moved - left, 0, 1)
    index = np.arange(len(ink))[:, None, None]
    upright = ink[index, rows, left] * (1 - share) + ink[index, rows, left + 1] * share
    return np.asarray(upright[..., None], dtype=np.float32)


def cell_means(values: np.ndarray, cells: int) -> np.ndarray:
    """Return the means over a grid of cells, shape (pictures, cells · cells · channels)."""
    for axis in (1, 2):
        starts = np.arange(cells) * values.shape[axis] // cells
        widths = np.diff([*starts, values.shape[axis]])
        shape = [-1 if each == axis else 1 for each in range(4)]
        values = np.add.reduceat(values, starts, axis=axis) / widths.reshape(shape)
    return values.reshape(len(values), -1)


def gradients(pictures: np.ndarray) -> np.ndarray:
    """Return histograms of gradient directions (Dalal & Triggs, 2005), on two grids."""
    grey = pictures.mean(axis=3)
    down, right = np.gradient(grey, axis=(1, 2))
    strength = np.hypot(down, right)
    place = np.arctan2(down, right) / (2 * np.pi) * DIRECTIONS % DIRECTIONS
    weight = np.stack(
        [
            np.maximum(0, 1 - np.abs((place - k + DIRECTIONS / 2) % DIRECTIONS - DIRECTIONS / 2))
            for k in range(DIRECTIONS)
        ],
        axis=3,
    )
    parts = []
    for cells in CELLS:
        means = cell_means(weight * strength[..., None], cells)
        parts.append(np.sqrt(means / (means.sum(axis=1, keepdims=True) + 1e-6)))
    return np.hstack(parts)


def colour_histogram(pictures: np.ndarray) -> np.ndarray:
    """Return the share of the pixels of each colour, shape (pictures, levels³)."""
    levels = np.clip((pictures[..., :3] * COLOURS).astype(int), 0, COLOURS - 1)
    numbers = (levels * COLOURS ** np.arange(levels.shape[3])).sum(axis=3).reshape(len(levels), -1)
    count = COLOURS ** levels.shape[3]
    counts = np.stack([np.bincount(row, minlength=count) for row in numbers])
    return np.asarray(counts / numbers.shape[1])


def shapes(pictures: np.ndarray) -> np.ndarray:
    """Return the gradients: of upright ink, or of colours and of their opacity."""
    if pictures.shape[3] == 1:
        return gradients(deskew(pictures))
    return np.hstack([gradients(pictures), gradients(pictures[..., 3:])])


def looks(pictures: np.ndarray) -> np.ndarray:
    """Return thumbnails, and of coloured pictures the colours and their spread."""
    if pictures.shape[3] == 1:
        return cell_means(deskew(pictures), min(14, pictures.shape[1]))
    colours = np.sqrt(colour_histogram(pictures))
    return np.hstack([cell_means(pictures, 8), colours, pictures.std(axis=(1, 2))])


def vision_candidates(tables: Tables, problem: Problem) -> dict[str, Candidate]:
    """Return models of gradients, thumbnails and colours."""
    pictures = read_pictures(tables)
    chunks = [pictures[start : start + CHUNK] for start in range(0, len(pictures), CHUNK)]
    shape = np.vstack([shapes(chunk) for chunk in chunks])
    everything = np.hstack([shape, np.vstack([looks(chunk) for chunk in chunks])])
    print(f"{everything.shape[1]:,} features of pictures of {pictures.shape[1:]}")
    seed = problem.seed
    components = PCA(min(100, len(tables.train) // 4), random_state=seed)
    scaled = make_pipeline(StandardScaler(), components, StandardScaler())
    models: dict[str, tuple[np.ndarray, Any]]
    if problem.classes is None:
        models = {
            "support vectors": (everything, make_pipeline(components, SVR(C=10))),
            "trees": (everything, ExtraTreesRegressor(150, random_state=seed)),
            "linear": (everything, make_pipeline(scaled, Ridge(alpha=10))),
        }
    else:
        machine = CalibratedClassifierCV(SVC(C=10), ensemble=False, cv=3)
        trees = ExtraTreesClassifier(300, random_state=seed, n_jobs=1)
        models = {
            "gradients, support vectors": (shape, make_pipeline(components, machine)),
            "support vectors": (everything, make_pipeline(components, machine)),
            "trees": (everything, trees),
            "linear": (everything, make_pipeline(scaled, LogisticRegression(C=0.1, max_iter=300))),
        }
    count = len(tables.train)
    rows = random_rows(count, MAX_ROWS, seed)
    return {
        name: Candidate(model=model, train=features[:count], test=features[count:], rows=rows)
        for name, (features, model) in models.items()
    }
