"""Run the reference pipelines of image tasks: thirty-four, from a constant to a stack.

The program runs in the agent's container image and reads only the agent's files, never the answers:

    python -m guest.vision '{"data": "/data", "out": "/workspace/predictions",
                       "kind": "multiclass classification", "metric": "accuracy",
                       "id": "id", "target": "digit", "seed": 0}'

An image is a row of pixel columns in train.csv and test.csv (square and grey, 0 to 255, row by
row), or a PNG file in the data folder whose name is the row's id. No pipeline uses a pre-trained
network. No image library is needed except to read files: this module computes gradients,
histograms and other features itself.

A change of an entry changes the meaning of "beats 85 % of reference pipelines". After such a
change, increase `VERSION` and create the leaderboards again. The settings are textbook ones,
the same for every task.
"""

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
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

from .pictures import MAX_SIDE, read
from .pool import SAME_TREES, run
from .recipe import Model, Problem, Recipe, TrainTest, blend, stack

VERSION = 1

KINDS = ("binary classification", "multiclass classification")
THUMB_SIDE, CELL_COUNT, DIRECTION_COUNT, GREY_LEVELS = 8, 7, 8, 16
COMPONENT_COUNT = 80


class Images:
    """A task's images and the features computed from them without labels.

    Args:
        train: the training images, shape (images, rows, columns, channels), from 0 to 1.
        test: the test images, with the same format.
        seed: the random seed of the projections.
    """

    def __init__(self, train: np.ndarray, test: np.ndarray, seed: int) -> None:
        self.train, self.test, self.seed = train, test, seed
        small = min(MAX_SIDE, train.shape[1])
        self.shape = (small, small, train.shape[3])
        """The shape (rows, columns, channels) of an image in the feature `pixels`."""
        functions = {
            "mean": lambda images: images.mean(axis=(1, 2)),
            "moments": moments,
            "profiles": profiles,
            "colours": colours,
            "thumbs": lambda images: flatten(downsample(images, THUMB_SIDE)),
            "pixels": lambda images: flatten(downsample(images, small)),
            "upright": lambda images: flatten(deskew(downsample(images, small))),
            "gradients": gradients,
        }
        self.features: dict[str, Callable[[], TrainTest]] = {
            name: functools.partial(self.of_both, function) for name, function in functions.items()
        }
        for name in ("pixels", "upright", "gradients"):
            self.features[f"{name}-projected"] = functools.partial(self.project, functions[name])

    def of_both(self, function: Callable[[np.ndarray], np.ndarray]) -> TrainTest:
        """Apply a function to the training images and to the test images."""
        return TrainTest(train=function(self.train), test=function(self.test))

    def project(self, function: Callable[[np.ndarray], np.ndarray]) -> TrainTest:
        """Compute features and project them on the training images' principal components."""
        both = self.of_both(function)
        projection = PCA(COMPONENT_COUNT, svd_solver="randomized", random_state=self.seed)
        return TrainTest(
            train=projection.fit_transform(both.train), test=projection.transform(both.test)
        )


def flatten(images: np.ndarray) -> np.ndarray:
    """Reshape images to one row of numbers each."""
    return images.reshape(len(images), -1)


def downsample(images: np.ndarray, side: int) -> np.ndarray:
    """Downsample images to a side in pixels; a new pixel is the mean of the block it covers."""
    for axis in (1, 2):
        size = images.shape[axis]
        if size == side:
            continue
        starts = np.arange(side) * size // side
        widths = np.diff([*starts, size]).reshape([-1 if i == axis else 1 for i in range(4)])
        images = np.add.reduceat(images, starts, axis=axis) / widths
    return images


def ink(images: np.ndarray) -> np.ndarray:
    """Return the last channel: the grey values, or the opacity of a transparent image."""
    return images[..., -1]


def moments(images: np.ndarray) -> np.ndarray:
    """Return each channel's mean and spread, and the ink's centroid and second moments."""
    drawn = ink(images)
    total = drawn.sum(axis=(1, 2)) + 1e-9
    rows, columns = np.mgrid[0 : 1 : drawn.shape[1] * 1j, 0 : 1 : drawn.shape[2] * 1j]

    def mean(values: np.ndarray) -> np.ndarray:
        return np.asarray((drawn * values).sum(axis=(1, 2)) / total)

    row, column = mean(rows), mean(columns)
    statistics = [row, column, mean(rows**2) - row**2, mean(columns**2) - column**2]
    statistics.append(mean(rows * columns) - row * column)
    spread = images.std(axis=(1, 2))
    return np.hstack([images.mean(axis=(1, 2)), spread, np.column_stack(statistics)])


def profiles(images: np.ndarray) -> np.ndarray:
    """Return the mean ink of each row and of each column."""
    small = ink(downsample(images, min(MAX_SIDE, images.shape[1])))
    return np.hstack([small.mean(axis=1), small.mean(axis=2)])


def colours(images: np.ndarray) -> np.ndarray:
    """Return the square root of the histogram of colours (four shades per channel) or greys."""
    if images.shape[3] < 3:
        code = np.minimum(images[..., 0] * GREY_LEVELS, GREY_LEVELS - 1).astype(int)
        count = GREY_LEVELS
    else:
        red, green, blue = np.moveaxis(np.minimum(images[..., :3] * 4, 3).astype(int), 3, 0)
        code, count = red * 16 + green * 4 + blue, 64
    code = code.reshape(len(images), -1)
    return np.sqrt([np.bincount(row, minlength=count) / row.size for row in code])


def deskew(images: np.ndarray) -> np.ndarray:
    """Shear and shift images so that the ink is upright and centred."""
    side = images.shape[1]
    rows, columns = np.mgrid[:side, :side]
    deskewed = np.empty_like(images)
    for image, drawn, out in zip(images, ink(images), deskewed, strict=True):
        total = drawn.sum() + 1e-9
        row, column = (drawn * rows).sum() / total, (drawn * columns).sum() / total
        tall = (drawn * (rows - row) ** 2).sum() + 1e-9
        slant = (drawn * (rows - row) * (columns - column)).sum() / tall
        shear = np.array([[1.0, 0.0], [slant, 1.0]])
        middle = np.full(2, (side - 1) / 2)
        offset = np.array([row, column]) - shear @ middle
        for channel in range(images.shape[3]):
            scipy.ndimage.affine_transform(
                image[..., channel],
                shear,
                offset,
                output=out[..., channel],
                order=1,
                mode="nearest",
            )
    return deskewed


def gradients(images: np.ndarray) -> np.ndarray:
    """Return histograms of oriented gradients.

    See Dalal & Triggs (2005), Histograms of Oriented Gradients for Human Detection. A pixel uses
    the channel with the steepest gradient. An image is divided into cells; four neighbouring
    cells form a block, which is normalised together.
    """
    up, across = np.gradient(images, axis=(1, 2))
    steepest = np.hypot(up, across).argmax(axis=3)[..., None]
    up, across = (np.take_along_axis(each, steepest, 3)[..., 0] for each in (up, across))
    strength = np.hypot(up, across)
    turn = np.arctan2(up, across) / (2 * np.pi) * DIRECTION_COUNT % DIRECTION_COUNT
    low = turn.astype(int) % DIRECTION_COUNT
    share = turn - np.floor(turn)
    layers = np.stack(
        [
            strength * ((low == k) * (1 - share) + ((low + 1) % DIRECTION_COUNT == k) * share)
            for k in range(DIRECTION_COUNT)
        ],
        axis=3,
    )
    cells = downsample(layers, CELL_COUNT)
    corners = [
        cells[:, i : CELL_COUNT - 1 + i, j : CELL_COUNT - 1 + j] for i in (0, 1) for j in (0, 1)
    ]
    blocks = np.concatenate(corners, axis=3)
    scale = np.sqrt((blocks**2).sum(axis=3, keepdims=True)) + 1e-2
    return flatten(blocks / scale)


class ProbabilityClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The base of classifiers that predict the most probable class."""

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Return the class with the highest probability for each row."""
        return np.asarray(self.classes_[self.predict_proba(rows).argmax(axis=1)])


class MarginClassifier(ProbabilityClassifier):
    """A support vector machine whose margins are converted to probabilities for blending."""

    def __init__(self, machine: Model) -> None:
        self.machine = machine

    def fit(self, rows: np.ndarray, labels: np.ndarray) -> "MarginClassifier":
        """Fit the support vector machine."""
        self.machine_ = clone(self.machine).fit(rows, labels)
        self.classes_ = self.machine_.classes_
        return self

    def predict_proba(self, rows: np.ndarray) -> np.ndarray:
        """Return the softmax of the margins, which is not calibrated."""
        margin = self.machine_.decision_function(rows)
        if margin.ndim == 1:
            margin = np.column_stack([-margin, margin])
        return np.asarray(softmax(2 * margin, axis=1))


class ShiftAugmented(ProbabilityClassifier):
    """A classifier that also learns each image shifted by a pixel up, down, left and right."""

    def __init__(self, classifier: Model, shape: tuple[int, int, int]) -> None:
        self.classifier = classifier
        self.shape = shape

    def fit(self, rows: np.ndarray, labels: np.ndarray) -> "ShiftAugmented":
        """Fit the classifier on the images and their four shifted versions."""
        images = rows.reshape(-1, *self.shape)
        moved = [np.roll(images, by, axis) for axis in (1, 2) for by in (-1, 1)]
        every = np.concatenate([images, *moved])
        self.classifier_ = clone(self.classifier).fit(flatten(every), np.tile(labels, 5))
        self.classes_ = self.classifier_.classes_
        return self

    def predict_proba(self, rows: np.ndarray) -> np.ndarray:
        """Return the classifier's probabilities for the images without a shift."""
        return np.asarray(self.classifier_.predict_proba(rows))


def lightgbm(seed: int, **settings: Any) -> Model:
    """Build LightGBM with settings for reproducible trees."""
    quick: dict[str, Any] = {
        "n_estimators": 60,
        "learning_rate": 0.15,
        "num_leaves": 8,
        "colsample_bytree": 0.2,
    }
    return LGBMClassifier(random_state=seed, **SAME_TREES, **(quick | settings))


def logistic(strength: float) -> Model:
    """Build a logistic regression; a greater strength regularises less."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=200))


def support_vectors(**settings: Any) -> Model:
    """Build a support vector machine without scaling of the features."""
    return MarginClassifier(SVC(**settings))


def extra_trees(seed: int) -> Model:
    """Build extremely randomised trees."""
    return ExtraTreesClassifier(200, random_state=seed)


def pool(shape: tuple[int, int, int]) -> dict[str, Callable[[Problem], np.ndarray]]:
    """Return a dict from an entry's name to a function that predicts the test rows.

    Args:
        shape: the shape (rows, columns, channels) of an image in the feature `pixels`.
    """
    recipes = {
        # Trivial models
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
        # A few features of each image
        "profiles-logistic": Recipe(("profiles",), lambda _: logistic(0.1)),
        "colours-neighbours": Recipe(("colours",), lambda _: KNeighborsClassifier(5)),
        "colours-forest": Recipe(("colours",), extra_trees),
        # Textbook methods on pixels
        "pixels-naive-bayes": Recipe(
            ("pixels",), lambda _: make_pipeline(Binarizer(threshold=0.5), BernoulliNB())
        ),
        "pixels-gaussian": Recipe(("thumbs",), lambda _: GaussianNB(var_smoothing=1e-2)),
        "nearest-centroid": Recipe(("pixels-projected",), lambda _: NearestCentroid()),
        "pixels-tree": Recipe(("pixels",), lambda seed: DecisionTreeClassifier(random_state=seed)),
        "nearest-neighbour-thumbs": Recipe(("thumbs",), lambda _: KNeighborsClassifier(1)),
        "nearest-neighbour": Recipe(("pixels",), lambda _: KNeighborsClassifier(1)),
        "neighbours": Recipe(
            ("pixels-projected",), lambda _: KNeighborsClassifier(5, weights="distance")
        ),
        "neighbours-upright": Recipe(
            ("upright-projected",), lambda _: KNeighborsClassifier(5, weights="distance")
        ),
        "linear-discriminant": Recipe(
            ("thumbs",), lambda _: LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1)
        ),
        "quadratic-discriminant": Recipe(
            ("pixels-projected",),
            lambda _: QuadraticDiscriminantAnalysis(solver="eigen", shrinkage=0.2),
        ),
        "thumbs-logistic": Recipe(("thumbs",), lambda _: logistic(0.1)),
        "pixels-logistic": Recipe(("pixels",), lambda _: logistic(0.003)),
        "pixels-network": Recipe(
            ("pixels-projected",),
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
        "pixels-support-vectors": Recipe(("pixels-projected",), lambda _: support_vectors(C=3)),
        "upright-support-vectors": Recipe(("upright-projected",), lambda _: support_vectors(C=3)),
        "gradients-logistic": Recipe(("gradients",), lambda _: logistic(0.001)),
        "gradients-linear-machine": Recipe(
            ("gradients",), lambda seed: MarginClassifier(LinearSVC(C=0.01, random_state=seed))
        ),
        "gradients-forest": Recipe(("gradients", "colours"), extra_trees),
        "gradients-support-vectors": Recipe(
            ("gradients-projected", "colours"), lambda _: support_vectors(C=3)
        ),
        "shifted-neighbours": Recipe(
            ("pixels",),
            lambda _: ShiftAugmented(KNeighborsClassifier(3, weights="distance"), shape),
        ),
    }
    members = ["gradients-support-vectors", "upright-support-vectors", "thumbs-colours-forest"]

    def single(recipe: Recipe) -> Callable[[Problem], np.ndarray]:
        return lambda problem: problem.predict_test(recipe)

    return {
        **{name: single(recipe) for name, recipe in recipes.items()},
        "blend": lambda problem: blend(problem, [recipes[name] for name in members]),
        "stack": lambda problem: stack(problem, [recipes[name] for name in members]),
    }


def main(request: dict[str, Any]) -> None:
    """Run every entry and write its submission."""
    kind, seed = request["kind"], request["seed"]
    if kind not in KINDS:
        raise SystemExit(f"kind is {kind!r}; this pool is for {' and '.join(KINDS)}")
    train, test, images_of = read(Path(request["data"]), request["id"], request["target"])
    images = Images(images_of(train), images_of(test), seed)
    problem = Problem(
        features=images.features,
        labels=train[request["target"]].to_numpy(),
        kind=kind,
        metric=request["metric"],
        seed=seed,
    )

    def submission_of(entry: Callable[[Problem], np.ndarray]) -> Callable[[], np.ndarray]:
        return lambda: problem.submission_values(entry(problem))

    entries = {name: submission_of(entry) for name, entry in pool(images.shape).items()}
    run(request, test[request["id"]], entries)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
