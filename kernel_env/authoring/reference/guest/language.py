"""Run the reference pipelines of text tasks: thirty-three, from a constant to a stack.

The program runs in the agent's container image and reads only the agent's files, never the answers:

    python -m guest.language '{"data": "/data", "out": "/workspace/predictions",
                         "kind": "regression", "metric": "rmse",
                         "id": "id", "target": "rating", "seed": 0}'

The table must have exactly one text column; its name does not matter. A word is a run of
letters and digits or a single Chinese character, so the pipelines work with both scripts and
depend on no language. Under a regression the same pipelines run: a linear classifier becomes a
linear regression, and a method that supports only classes learns five levels of the target and
predicts the expected level.

A change of an entry changes the meaning of "beats 85 % of reference pipelines". After such a
change, increase `VERSION` and create the leaderboards again. The settings are textbook ones,
the same for every task.
"""

import functools
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import TruncatedSVD
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.feature_selection import SelectKBest, f_classif, f_regression
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier, SGDRegressor
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import BernoulliNB, ComplementNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, NearestCentroid
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.svm import LinearSVC, LinearSVR
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from .pool import SAME_TREES, read_tables, run
from .recipe import Model, Problem, Recipe, TrainTest, blend, stack

VERSION = 1

KINDS = ("binary classification", "multiclass classification", "regression")
WORD = r"[\u4e00-\u9fff]|[^\W_\u4e00-\u9fff]+"
"""A regular expression for a single Chinese character or a run of other letters and digits."""
MAX_CHARACTERS = 1000
"""The number of leading characters of each text whose character n-grams are counted."""
TOPIC_COUNT = 100
LEVEL_COUNT = 5


class Texts:
    """A task's texts and the features computed from them without labels.

    Args:
        train: the training texts.
        test: the test texts.
        seed: the random seed of the topics.
    """

    def __init__(self, train: "pd.Series[str]", test: "pd.Series[str]", seed: int) -> None:
        self.train, self.test, self.seed = train, test, seed
        self.features: dict[str, Callable[[], TrainTest]] = {
            "length": self.length,
            "statistics": self.statistics,
            "common-words": lambda: self.count_ngrams(token_pattern=WORD, max_features=1000),
            "words": functools.cache(lambda: self.count_ngrams(token_pattern=WORD, min_df=2)),
            "word-pairs": functools.cache(
                lambda: self.count_ngrams(token_pattern=WORD, ngram_range=(1, 2), min_df=3)
            ),
            "characters": lambda: self.count_ngrams(
                beginning=MAX_CHARACTERS, analyzer="char_wb", ngram_range=(1, 4), min_df=5
            ),
            "topics": self.topics,
        }

    def count_ngrams(self, *, beginning: int | None = None, **settings: Any) -> TrainTest:
        """Count each text's n-grams; the training texts define the vocabulary.

        Args:
            beginning: the number of leading characters to use; None: all.
            settings: options of scikit-learn's `CountVectorizer`.
        """
        counter = CountVectorizer(dtype=np.float32, **settings)
        train = counter.fit_transform(self.train.str[:beginning])
        return TrainTest(train=train, test=counter.transform(self.test.str[:beginning]))

    def length(self) -> TrainTest:
        """Return the logarithm of the number of characters."""
        return self.measure(lambda text: [np.log1p(len(text))])

    def statistics(self) -> TrainTest:
        """Return statistics of length, capitals, digits, punctuation and lines."""
        return self.measure(text_statistics)

    def measure(self, function: Callable[[str], list[float]]) -> TrainTest:
        """Apply a function to every text."""
        train, test = (
            np.array([function(text) for text in texts], dtype=float)
            for texts in (self.train, self.test)
        )
        return TrainTest(train=train, test=test)

    def topics(self) -> TrainTest:
        """Reduce the tf-idf of words and word pairs to a hundred dimensions (LSA)."""
        words = self.features["word-pairs"]()
        reduction = make_pipeline(tf_idf(), TruncatedSVD(TOPIC_COUNT, random_state=self.seed))
        return TrainTest(
            train=reduction.fit_transform(words.train), test=reduction.transform(words.test)
        )


def read(
    data: Path, id_column: str, target: str, *, has_classes: bool
) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Read train.csv and test.csv; return them with the name of the text column."""
    train, test = read_tables(data, id_column, target, has_classes=has_classes)
    texts = [
        str(name)
        for name in test
        if name not in (id_column, target) and not pd.api.types.is_numeric_dtype(test[name])
    ]
    if len(texts) != 1:
        raise SystemExit(f"test.csv has the text columns {texts}; this pool requires exactly one")
    for table in (train, test):
        table[texts[0]] = table[texts[0]].fillna("")
    return train, test, texts[0]


def text_statistics(text: str) -> list[float]:
    """Return fourteen statistics that need no vocabulary."""
    size = max(len(text), 1)
    words = re.findall(WORD, text)
    count = max(len(words), 1)
    return [
        np.log1p(size),
        np.log1p(count),
        sum(map(len, words)) / count,
        len(set(words)) / count,
        sum(word.isupper() and len(word) > 1 for word in words) / count,
        sum(map(str.isupper, text)) / size,
        sum(map(str.isdigit, text)) / size,
        sum(map(str.isspace, text)) / size,
        np.log1p(text.count("\n")),
        np.log1p(sum(map(text.count, "!！"))),
        np.log1p(sum(map(text.count, "?？"))),
        np.log1p(sum(map(text.count, ",.，。"))),
        np.log1p(sum(map(text.count, "<>$%&#@"))),
        np.log1p(text.count("http")),
    ]


class LevelRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A regression from a classifier that learns levels of the target."""

    def __init__(self, classifier: Model) -> None:
        self.classifier = classifier

    def fit(self, rows: Any, numbers: np.ndarray) -> "LevelRegressor":
        """Discretise the target into levels of equal counts and fit the classifier."""
        borders = np.quantile(numbers, np.arange(1, LEVEL_COUNT) / LEVEL_COUNT)
        level = np.unique(np.searchsorted(borders, numbers), return_inverse=True)[1]
        self.means_ = np.bincount(level, numbers) / np.bincount(level)
        self.classifier_ = clone(self.classifier).fit(rows, level)
        return self

    def predict(self, rows: Any) -> np.ndarray:
        """Return the mean of the levels' means, weighted by their probabilities."""
        return np.asarray(self.classifier_.predict_proba(rows) @ self.means_)


class LogRatio(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A weight for each n-gram: the log ratio of its frequencies in high and low rows.

    See Wang & Manning (2012), Baselines and Bigrams: Simple, Good Sentiment and Topic
    Classification. A row is high if its label is above the mean; for labels 0 and 1 that is
    class 1.
    """

    def fit(self, rows: Any, labels: np.ndarray) -> "LogRatio":
        """Count the rows that contain each n-gram, with add-one smoothing."""
        present, high = rows > 0, labels > np.mean(labels)
        in_high = 1 + np.asarray(present[high].sum(axis=0)).ravel()
        in_low = 1 + np.asarray(present[~high].sum(axis=0)).ravel()
        ratio = np.log(in_high / in_high.sum()) - np.log(in_low / in_low.sum())
        self.ratio_ = scipy.sparse.diags(ratio.astype(np.float32))
        return self

    def transform(self, rows: Any) -> Any:
        """Multiply each n-gram's presence by its weight."""
        return (rows > 0).astype(np.float32) @ self.ratio_


def tf_idf() -> Model:
    """Build tf-idf with logarithmic counts and rows of norm 1."""
    return TfidfTransformer(sublinear_tf=True)


def deterministic(seed: int) -> dict[str, Any]:
    """Return LightGBM's settings for reproducible trees."""
    return {"random_state": seed, **SAME_TREES}


def pool(*, classes: bool) -> dict[str, Callable[[Problem], np.ndarray]]:
    """Return a dict from an entry's name to a function that predicts the test rows.

    Args:
        classes: whether the task is a classification.
    """

    def from_classifier(classifier: Model) -> Model:
        return classifier if classes else LevelRegressor(classifier)

    def linear(strength: float) -> Model:
        """Build a linear model; a greater strength regularises less."""
        if classes:
            return LogisticRegression(C=strength, max_iter=300)
        return Ridge(alpha=1 / strength, solver="sparse_cg", tol=1e-4)

    def tree(seed: int, **settings: Any) -> Model:
        kind = DecisionTreeClassifier if classes else DecisionTreeRegressor
        return kind(random_state=seed, **settings)

    def select_columns(count: int) -> Model:
        """Select the columns with the highest F statistic for the target."""
        return SelectKBest(f_classif if classes else f_regression, k=count)

    def neighbours(count: int, **settings: Any) -> Model:
        return (KNeighborsClassifier if classes else KNeighborsRegressor)(count, **settings)

    def boosting(seed: int, **settings: Any) -> Model:
        kind = LGBMClassifier if classes else LGBMRegressor
        return kind(**deterministic(seed), **settings)

    def extra_trees(seed: int) -> Model:
        kind = ExtraTreesClassifier if classes else ExtraTreesRegressor
        return kind(100, min_samples_leaf=2, max_features=0.2, random_state=seed)

    def support_vectors(seed: int) -> Model:
        if classes:
            return CalibratedClassifierCV(LinearSVC(C=0.3, random_state=seed), cv=3)
        return LinearSVR(C=0.3, random_state=seed)

    def network(seed: int) -> Model:
        kind = MLPClassifier if classes else MLPRegressor
        return kind(
            hidden_layer_sizes=(50,),
            alpha=1e-2,
            early_stopping=True,
            max_iter=100,
            random_state=seed,
        )

    def descent(seed: int) -> Model:
        if classes:
            return SGDClassifier(loss="modified_huber", alpha=1e-4, random_state=seed)
        return SGDRegressor(alpha=1e-6, learning_rate="adaptive", eta0=0.5, random_state=seed)

    def ratio_linear(_: int) -> Model:
        model = make_pipeline(LogRatio(), Normalizer(), linear(3))
        return OneVsRestClassifier(model) if classes else model

    recipes = {
        # Trivial models
        "constant": Recipe(
            ("length",), lambda _: DummyClassifier() if classes else DummyRegressor()
        ),
        "length": Recipe(("length",), lambda seed: tree(seed, max_depth=2)),
        "one-word": Recipe(
            ("common-words",),
            lambda seed: make_pipeline(select_columns(1), tree(seed, max_depth=1)),
        ),
        "five-words": Recipe(
            ("common-words",),
            lambda seed: make_pipeline(select_columns(5), tree(seed, max_depth=5)),
        ),
        # Statistics of the text
        "statistics-linear": Recipe(
            ("statistics",), lambda _: make_pipeline(StandardScaler(), linear(1))
        ),
        "statistics-neighbours": Recipe(
            ("statistics",), lambda _: make_pipeline(StandardScaler(), neighbours(25))
        ),
        "statistics-trees": Recipe(("statistics",), extra_trees),
        "statistics-boosting": Recipe(
            ("statistics",), lambda seed: boosting(seed, n_estimators=100, learning_rate=0.05)
        ),
        # Textbook methods
        "hundred-words-linear": Recipe(
            ("common-words",), lambda _: make_pipeline(select_columns(100), tf_idf(), linear(1))
        ),
        "word-tree": Recipe(("common-words",), lambda seed: tree(seed, min_samples_leaf=10)),
        "naive-bayes-presence": Recipe(("words",), lambda _: from_classifier(BernoulliNB())),
        "naive-bayes-counts": Recipe(("words",), lambda _: from_classifier(MultinomialNB())),
        "naive-bayes-pairs": Recipe(
            ("word-pairs",), lambda _: from_classifier(make_pipeline(tf_idf(), ComplementNB()))
        ),
        "nearest-centroid": Recipe(
            ("topics",), lambda _: from_classifier(make_pipeline(Normalizer(), NearestCentroid()))
        ),
        "nearest-neighbour": Recipe(("words",), lambda _: make_pipeline(tf_idf(), neighbours(1))),
        "neighbours": Recipe(
            ("words",), lambda _: make_pipeline(tf_idf(), neighbours(25, weights="distance"))
        ),
        "topics-linear": Recipe(("topics",), lambda _: linear(10)),
        # Linear models of n-grams
        "words-linear": Recipe(("words",), lambda _: make_pipeline(tf_idf(), linear(1))),
        "common-words-linear": Recipe(
            ("common-words",), lambda _: make_pipeline(tf_idf(), linear(3))
        ),
        "word-pairs-linear": Recipe(("word-pairs",), lambda _: make_pipeline(tf_idf(), linear(3))),
        "characters-linear": Recipe(("characters",), lambda _: make_pipeline(tf_idf(), linear(3))),
        "log-ratio-linear": Recipe(("word-pairs",), ratio_linear),
        "word-pairs-support-vectors": Recipe(
            ("word-pairs",), lambda seed: make_pipeline(tf_idf(), support_vectors(seed))
        ),
        "word-pairs-descent": Recipe(
            ("word-pairs",), lambda seed: make_pipeline(tf_idf(), descent(seed))
        ),
        "words-characters-linear": Recipe(
            ("word-pairs", "characters"), lambda _: make_pipeline(tf_idf(), linear(3))
        ),
        # Nonlinear models
        "topics-network": Recipe(
            ("topics",), lambda seed: make_pipeline(StandardScaler(), network(seed))
        ),
        "topics-kernel": Recipe(
            ("topics",),
            lambda seed: make_pipeline(
                Normalizer(), Nystroem(gamma=1, n_components=300, random_state=seed), linear(3)
            ),
        ),
        "topics-trees": Recipe(("topics", "statistics"), extra_trees),
        "words-boosting": Recipe(("common-words",), boosting),
        "topics-boosting": Recipe(
            ("topics", "statistics"),
            lambda seed: boosting(seed, n_estimators=200, learning_rate=0.05, num_leaves=15),
        ),
    }
    blends = {
        "linear-blend": ["word-pairs-linear", "characters-linear", "log-ratio-linear"],
        "blend": ["word-pairs-linear", "characters-linear", "words-boosting", "topics-boosting"],
    }
    stacked = ["word-pairs-linear", "characters-linear", "naive-bayes-counts", "topics-boosting"]

    def single(recipe: Recipe) -> Callable[[Problem], np.ndarray]:
        return lambda problem: problem.predict_test(recipe)

    def blended(names: list[str]) -> Callable[[Problem], np.ndarray]:
        return lambda problem: blend(problem, [recipes[name] for name in names])

    return {
        **{name: single(recipe) for name, recipe in recipes.items()},
        **{name: blended(names) for name, names in blends.items()},
        "stack": lambda problem: stack(problem, [recipes[name] for name in stacked]),
    }


def main(request: dict[str, Any]) -> None:
    """Run every entry and write its submission."""
    kind, seed = request["kind"], request["seed"]
    if kind not in KINDS:
        raise SystemExit(f"kind is {kind!r}; this pool is for {', '.join(KINDS)}")
    train, test, text = read(
        Path(request["data"]), request["id"], request["target"], has_classes=kind != KINDS[2]
    )
    problem = Problem(
        features=Texts(train[text], test[text], seed).features,
        labels=train[request["target"]].to_numpy(),
        kind=kind,
        metric=request["metric"],
        seed=seed,
    )

    def submission_of(entry: Callable[[Problem], np.ndarray]) -> Callable[[], np.ndarray]:
        return lambda: problem.submission_values(entry(problem))

    entries = {name: submission_of(entry) for name, entry in pool(classes=kind != KINDS[2]).items()}
    run(request, test[request["id"]], entries)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
