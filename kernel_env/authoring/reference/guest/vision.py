"""The reference population of tasks on pictures: thirty-four pipelines of rising skill.

Run inside a task's container, on exactly what an agent gets, never the answers:

    python -m guest.vision '{"data": "/data", "out": "/workspace/predictions",
                       "kind": "multiclass classification", "metric": "accuracy",
                       "id": "id", "target": "digit", "seed": 0}'

A picture is either a row of pixel columns in train.csv and test.csv (square and grey,
0 to 255, row by row), or a PNG file somewhere below the data folder whose name is the
row's id. No network here was trained elsewhere, and no image library is needed beyond
what reads a file: gradients, histograms and the rest are written out below.

The pool is part of a leaderboard's meaning. Changing an entry changes what "beats
85 % of reference pipelines" says, so raise `VERSION` and make the leaderboards anew.
The settings are textbook ones, the same for every task.
"""

import functools
import json
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pandas as pd
import scipy.ndimage
from lightgbm import LGBMClassifier
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import (
    LinearDiscriminantAnalysis,
    QuadraticDiscriminantAnalysis,
)
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import BernoulliNB, GaussianNB
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Binarizer, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from .pool import SAME_TREES, run
from .recipe import Model, Pair, Problem, Recipe, blend, stack

VERSION = 1

KINDS = ("binary classification", "multiclass classification")
PIXEL = re.compile(r"\D*\d+")
"""The name of a column that holds a pixel: some letters and its number."""
LARGEST = 32
"""Pixels along a side of what models see; larger pictures are averaged down."""
THUMB, CELLS, DIRECTIONS, SHADES = 8, 7, 8, 16
COMPONENTS = 80


class Pictures:
    """A task's pictures and the features made of them, none of which needs a label.

    `train` and `test` have the shape (pictures, rows, columns, channels), from 0 to 1.
    """

    def __init__(self, train: np.ndarray, test: np.ndarray, seed: int) -> None:
        self.train, self.test, self.seed = train, test, seed
        small = min(LARGEST, train.shape[1])
        self.shape = (small, small, train.shape[3])
        """Of a row of the feature `pixels`."""
        made = {
            "mean": lambda pictures: pictures.mean(axis=(1, 2)),
            "moments": moments,
            "profiles": profiles,
            "colours": colours,
            "thumbs": lambda pictures: flat(averaged(pictures, THUMB)),
            "pixels": lambda pictures: flat(averaged(pictures, small)),
            "upright": lambda pictures: flat(upright(averaged(pictures, small))),
            "gradients": gradients,
        }
        self.features: dict[str, Callable[[], Pair]] = {
            name: functools.partial(self.of_both, function) for name, function in made.items()
        }
        for name in ("pixels", "upright", "gradients"):
            self.features[f"{name}-pressed"] = functools.partial(self.pressed, made[name])

    def of_both(self, function: Callable[[np.ndarray], np.ndarray]) -> Pair:
        """The same of the training and of the test pictures."""
        return Pair(train=function(self.train), test=function(self.test))

    def pressed(self, function: Callable[[np.ndarray], np.ndarray]) -> Pair:
        """The same along the directions in which the training pictures differ most."""
        both = self.of_both(function)
        press = PCA(COMPONENTS, svd_solver="randomized", random_state=self.seed)
        return Pair(train=press.fit_transform(both.train), test=press.transform(both.test))


def read(data: Path, id_column: str, target: str) -> tuple[pd.DataFrame, pd.DataFrame, Any]:
    """train.csv, test.csv, and a function from rows of them to pictures."""
    train, test = pd.read_csv(data / "train.csv"), pd.read_csv(data / "test.csv")
    names = [str(name) for name in test if name not in (id_column, target)]
    columns = [name for name in names if PIXEL.fullmatch(name)]
    side = math.isqrt(len(columns))
    if columns and side**2 == len(columns):
        return (
            train,
            test,
            lambda rows: rows[columns].to_numpy(float).reshape(-1, side, side, 1) / 255,
        )
    files = {path.stem: path for path in data.rglob("*.png")}
    missing = [str(one) for one in [*train[id_column], *test[id_column]] if str(one) not in files]
    if missing:
        raise SystemExit(
            f"no square number of pixel columns, and {len(missing)} ids without a PNG file,"
            f" the first {missing[0]}; this pool wants one or the other"
        )
    return train, test, lambda rows: np.stack([opened(files[str(one)]) for one in rows[id_column]])


def opened(path: Path) -> np.ndarray:
    """A picture of the shape (rows, columns, channels); what is transparent is white."""
    picture = np.asarray(matplotlib.image.imread(path), dtype=float)
    if picture.ndim == 2:
        return picture[:, :, None]
    if picture.shape[2] == 4:
        opaque = picture[:, :, 3:]
        return np.concatenate([picture[:, :, :3] * opaque + 1 - opaque, opaque], axis=2)
    return picture


def flat(pictures: np.ndarray) -> np.ndarray:
    """One row of numbers for each picture."""
    return pictures.reshape(len(pictures), -1)


def averaged(pictures: np.ndarray, side: int) -> np.ndarray:
    """Smaller pictures: each new pixel is the mean of the block that it covers."""
    for axis in (1, 2):
        size = pictures.shape[axis]
        if size == side:
            continue
        starts = np.arange(side) * size // side
        widths = np.diff([*starts, size]).reshape([-1 if i == axis else 1 for i in range(4)])
        pictures = np.add.reduceat(pictures, starts, axis=axis) / widths
    return pictures


def ink(pictures: np.ndarray) -> np.ndarray:
    """Where something is: the last channel, a grey picture's own or the opacity."""
    return pictures[..., -1]


def moments(pictures: np.ndarray) -> np.ndarray:
    """Mean and spread of each channel; where the ink lies, how wide, how slanted."""
    drawn = ink(pictures)
    total = drawn.sum(axis=(1, 2)) + 1e-9
    rows, columns = np.mgrid[0 : 1 : drawn.shape[1] * 1j, 0 : 1 : drawn.shape[2] * 1j]

    def mean(values: np.ndarray) -> np.ndarray:
        return np.asarray((drawn * values).sum(axis=(1, 2)) / total)

    row, column = mean(rows), mean(columns)
    found = [row, column, mean(rows**2) - row**2, mean(columns**2) - column**2]
    found.append(mean(rows * columns) - row * column)
    spread = pictures.std(axis=(1, 2))
    return np.hstack([pictures.mean(axis=(1, 2)), spread, np.column_stack(found)])


def profiles(pictures: np.ndarray) -> np.ndarray:
    """How much ink there is in each row and in each column."""
    small = ink(averaged(pictures, min(LARGEST, pictures.shape[1])))
    return np.hstack([small.mean(axis=1), small.mean(axis=2)])


def colours(pictures: np.ndarray) -> np.ndarray:
    """The share of pixels of each colour (four shades a channel), or of each grey."""
    if pictures.shape[3] < 3:
        code, count = np.minimum(pictures[..., 0] * SHADES, SHADES - 1).astype(int), SHADES
    else:
        red, green, blue = np.moveaxis(np.minimum(pictures[..., :3] * 4, 3).astype(int), 3, 0)
        code, count = red * 16 + green * 4 + blue, 64
    code = code.reshape(len(pictures), -1)
    return np.sqrt([np.bincount(row, minlength=count) / row.size for row in code])


def upright(pictures: np.ndarray) -> np.ndarray:
    """Pictures sheared so that their ink stands upright, its middle in the middle."""
    side = pictures.shape[1]
    rows, columns = np.mgrid[:side, :side]
    made = np.empty_like(pictures)
    for one, drawn, out in zip(pictures, ink(pictures), made, strict=True):
        total = drawn.sum() + 1e-9
        row, column = (drawn * rows).sum() / total, (drawn * columns).sum() / total
        tall = (drawn * (rows - row) ** 2).sum() + 1e-9
        slant = (drawn * (rows - row) * (columns - column)).sum() / tall
        shear = np.array([[1.0, 0.0], [slant, 1.0]])
        middle = np.full(2, (side - 1) / 2)
        offset = np.array([row, column]) - shear @ middle
        for channel in range(pictures.shape[3]):
            scipy.ndimage.affine_transform(
                one[..., channel],
                shear,
                offset,
                output=out[..., channel],
                order=1,
                mode="nearest",
            )
    return made


def gradients(pictures: np.ndarray) -> np.ndarray:
    """Histograms of the directions of edges, after Dalal & Triggs (2005).

    Of the channels, the one with the steepest edge speaks for a pixel. Each picture is
    cut into cells; four neighbouring cells are a block and are scaled together.
    """
    up, across = np.gradient(pictures, axis=(1, 2))
    steepest = np.hypot(up, across).argmax(axis=3)[..., None]
    up, across = (np.take_along_axis(each, steepest, 3)[..., 0] for each in (up, across))
    strength = np.hypot(up, across)
    turn = np.arctan2(up, across) / (2 * np.pi) * DIRECTIONS % DIRECTIONS
    low = turn.astype(int) % DIRECTIONS
    share = turn - np.floor(turn)
    layers = np.stack(
        [
            strength * ((low == k) * (1 - share) + ((low + 1) % DIRECTIONS == k) * share)
            for k in range(DIRECTIONS)
        ],
        axis=3,
    )
    cells = averaged(layers, CELLS)
    corners = [cells[:, i : CELLS - 1 + i, j : CELLS - 1 + j] for i in (0, 1) for j in (0, 1)]
    blocks = np.concatenate(corners, axis=3)
    scale = np.sqrt((blocks**2).sum(axis=3, keepdims=True)) + 1e-2
    return flat(blocks / scale)


class Wrapper(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier made of another one; it predicts the likeliest class."""

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """The class of the highest chance."""
        return np.asarray(self.classes_[self.predict_proba(rows).argmax(axis=1)])


class Margins(Wrapper):
    """A support vector machine whose margins are read as chances, so that it can be blended."""

    def __init__(self, machine: Model) -> None:
        self.machine = machine

    def fit(self, rows: np.ndarray, labels: np.ndarray) -> "Margins":
        """Fit the machine."""
        self.machine_ = clone(self.machine).fit(rows, labels)
        self.classes_ = self.machine_.classes_
        return self

    def predict_proba(self, rows: np.ndarray) -> np.ndarray:
        """The softmax of the margins: the order is right, the numbers are no true chances."""
        margin = self.machine_.decision_function(rows)
        if margin.ndim == 1:
            margin = np.column_stack([-margin, margin])
        return np.asarray(softmax(2 * margin, axis=1))


class Shifted(Wrapper):
    """A classifier that also learns each picture moved by a pixel up, down, left and right."""

    def __init__(self, classifier: Model, shape: tuple[int, int, int]) -> None:
        self.classifier = classifier
        self.shape = shape

    def fit(self, rows: np.ndarray, labels: np.ndarray) -> "Shifted":
        """Fit on five times as many rows."""
        pictures = rows.reshape(-1, *self.shape)
        moved = [np.roll(pictures, by, axis) for axis in (1, 2) for by in (-1, 1)]
        every = np.concatenate([pictures, *moved])
        self.classifier_ = clone(self.classifier).fit(flat(every), np.tile(labels, 5))
        self.classes_ = self.classifier_.classes_
        return self

    def predict_proba(self, rows: np.ndarray) -> np.ndarray:
        """Of the pictures as they are."""
        return np.asarray(self.classifier_.predict_proba(rows))


def lightgbm(seed: int, **settings: Any) -> Model:
    """LightGBM as it must be set to give the same trees each time."""
    quick: dict[str, Any] = {
        "n_estimators": 60,
        "learning_rate": 0.15,
        "num_leaves": 8,
        "colsample_bytree": 0.2,
    }
    return LGBMClassifier(random_state=seed, **SAME_TREES, **(quick | settings))


def logistic(strength: float) -> Model:
    """The stronger, the closer it follows the training rows."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=200))


def support_vectors(**settings: Any) -> Model:
    """A support vector machine on columns as they are."""
    return Margins(SVC(**settings))


def extra_trees(seed: int) -> Model:
    """Trees with random cuts."""
    return ExtraTreesClassifier(200, random_state=seed)


def pool(shape: tuple[int, int, int]) -> dict[str, Callable[[Problem], np.ndarray]]:
    """Name of an entry → what makes its predictions, in the order in which they are made.

    `shape` is that of a picture in the feature `pixels`.
    """
    recipes = {
        # Hardly a model
        "constant": Recipe(("mean",), lambda seed: DummyClassifier(random_state=seed)),
        "brightness-stump": Recipe(
            ("mean",), lambda seed: DecisionTreeClassifier(max_depth=1, random_state=seed)
        ),
        "brightness-tree": Recipe(
            ("mean",), lambda seed: DecisionTreeClassifier(min_samples_leaf=20, random_state=seed)
        ),
        "moments-naive-bayes": Recipe(("moments",), lambda _: GaussianNB()),
        "moments-tree": Recipe(
            ("moments",),
            lambda seed: DecisionTreeClassifier(min_samples_leaf=10, random_state=seed),
        ),
        "moments-forest": Recipe(("moments",), extra_trees),
        # A few numbers of each picture
        "profiles-logistic": Recipe(("profiles",), lambda _: logistic(0.1)),
        "colours-neighbours": Recipe(("colours",), lambda _: KNeighborsClassifier(5)),
        "colours-forest": Recipe(("colours",), extra_trees),
        # Textbook methods on pixels
        "pixels-naive-bayes": Recipe(
            ("pixels",), lambda _: make_pipeline(Binarizer(threshold=0.5), BernoulliNB())
        ),
        "pixels-gaussian": Recipe(("thumbs",), lambda _: GaussianNB(var_smoothing=1e-2)),
        "nearest-centroid": Recipe(("pixels-pressed",), lambda _: NearestCentroid()),
        "pixels-tree": Recipe(("pixels",), lambda seed: DecisionTreeClassifier(random_state=seed)),
        "nearest-neighbour-thumbs": Recipe(("thumbs",), lambda _: KNeighborsClassifier(1)),
        "nearest-neighbour": Recipe(("pixels",), lambda _: KNeighborsClassifier(1)),
        "neighbours": Recipe(
            ("pixels-pressed",), lambda _: KNeighborsClassifier(5, weights="distance")
        ),
        "neighbours-upright": Recipe(
            ("upright-pressed",), lambda _: KNeighborsClassifier(5, weights="distance")
        ),
        "linear-discriminant": Recipe(
            ("thumbs",), lambda _: LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1)
        ),
        "quadratic-discriminant": Recipe(
            ("pixels-pressed",),
            lambda _: QuadraticDiscriminantAnalysis(solver="eigen", shrinkage=0.2),
        ),
        "thumbs-logistic": Recipe(("thumbs",), lambda _: logistic(0.1)),
        "pixels-logistic": Recipe(("pixels",), lambda _: logistic(0.003)),
        "pixels-network": Recipe(
            ("pixels-pressed",),
            lambda seed: make_pipeline(
                StandardScaler(), MLPClassifier((100,), alpha=1, max_iter=60, random_state=seed)
            ),
        ),
        # Trees
        "thumbs-forest": Recipe(
            ("thumbs",), lambda seed: RandomForestClassifier(200, random_state=seed)
        ),
        "thumbs-colours-forest": Recipe(("thumbs", "colours", "moments"), extra_trees),
        "thumbs-boosting": Recipe(("thumbs", "colours", "moments"), lightgbm),
        # Support vectors, edges, shifts
        "pixels-support-vectors": Recipe(("pixels-pressed",), lambda _: support_vectors(C=3)),
        "upright-support-vectors": Recipe(("upright-pressed",), lambda _: support_vectors(C=3)),
        "gradients-logistic": Recipe(("gradients",), lambda _: logistic(0.001)),
        "gradients-linear-machine": Recipe(
            ("gradients",), lambda seed: Margins(LinearSVC(C=0.01, random_state=seed))
        ),
        "gradients-forest": Recipe(("gradients", "colours"), extra_trees),
        "gradients-support-vectors": Recipe(
            ("gradients-pressed", "colours"), lambda _: support_vectors(C=3)
        ),
        "shifted-neighbours": Recipe(
            ("pixels",), lambda _: Shifted(KNeighborsClassifier(3, weights="distance"), shape)
        ),
    }
    several = ["gradients-support-vectors", "upright-support-vectors", "thumbs-colours-forest"]

    def alone(recipe: Recipe) -> Callable[[Problem], np.ndarray]:
        return lambda problem: problem.judged(recipe)

    return {
        **{name: alone(recipe) for name, recipe in recipes.items()},
        "blend": lambda problem: blend(problem, [recipes[name] for name in several]),
        "stack": lambda problem: stack(problem, [recipes[name] for name in several]),
    }


def main(request: dict[str, Any]) -> None:
    """Write every entry's submission, then the list of them."""
    kind, seed = request["kind"], request["seed"]
    if kind not in KINDS:
        raise SystemExit(f"kind is {kind!r}; this pool is for {' and '.join(KINDS)}")
    train, test, pictures_of = read(Path(request["data"]), request["id"], request["target"])
    pictures = Pictures(pictures_of(train), pictures_of(test), seed)
    problem = Problem(
        features=pictures.features,
        labels=train[request["target"]].to_numpy(),
        kind=kind,
        metric=request["metric"],
        seed=seed,
    )

    def answering(entry: Callable[[Problem], np.ndarray]) -> Callable[[], np.ndarray]:
        return lambda: problem.answers(entry(problem))

    entries = {name: answering(entry) for name, entry in pool(pictures.shape).items()}
    run(request, test[request["id"]], entries)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
