"""The reference population of tasks on texts: thirty-three pipelines of rising skill.

Run inside a task's container, on exactly what an agent gets, never the answers:

    python -m guest.language '{"data": "/data", "out": "/workspace/predictions",
                         "kind": "regression", "metric": "rmse",
                         "id": "id", "target": "rating", "seed": 0}'

The one column of text is read, whatever it is called. Words are runs of letters and
digits, and a Chinese character is a word of its own, so the same pool serves both
scripts; nothing here knows a language. A task that asks for numbers meets the same
pool: a linear model becomes its regression, and a method that knows only classes
learns five levels of the number and answers with the level it expects.

The pool is part of a leaderboard's meaning. Changing an entry changes what "beats
85 % of reference pipelines" says, so raise `VERSION` and make the leaderboards anew.
The settings are textbook ones, the same for every task.
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

from .pool import SAME_TREES, run
from .recipe import Model, Pair, Problem, Recipe, blend, stack

VERSION = 1

KINDS = ("binary classification", "multiclass classification", "regression")
WORD = r"[\u4e00-\u9fff]|[^\W_\u4e00-\u9fff]+"
"""A Chinese character, or a run of letters and digits of anything else."""
BEGINNING = 1000
"""Characters of each text whose n-grams are counted: a long mail shows itself early."""
TOPICS = 100
LEVELS = 5


class Texts:
    """A task's texts and the features made of them, none of which needs a label."""

    def __init__(self, train: "pd.Series[str]", test: "pd.Series[str]", seed: int) -> None:
        self.train, self.test, self.seed = train, test, seed
        self.features: dict[str, Callable[[], Pair]] = {
            "length": self.length,
            "statistics": self.statistics,
            "common-words": lambda: self.counts(token_pattern=WORD, max_features=1000),
            "words": functools.cache(lambda: self.counts(token_pattern=WORD, min_df=2)),
            "word-pairs": functools.cache(
                lambda: self.counts(token_pattern=WORD, ngram_range=(1, 2), min_df=3)
            ),
            "characters": lambda: self.counts(
                beginning=BEGINNING, analyzer="char_wb", ngram_range=(1, 4), min_df=5
            ),
            "topics": self.topics,
        }

    def counts(self, *, beginning: int | None = None, **settings: Any) -> Pair:
        """How often each n-gram stands in each text, by the n-grams of the training texts."""
        counter = CountVectorizer(dtype=np.float32, **settings)
        first = counter.fit_transform(self.train.str[:beginning])
        return Pair(train=first, test=counter.transform(self.test.str[:beginning]))

    def length(self) -> Pair:
        """The number of characters, as a logarithm."""
        return self.of_each(lambda text: [np.log1p(len(text))])

    def statistics(self) -> Pair:
        """What a reader sees from afar: length, capitals, digits, marks, lines."""
        return self.of_each(seen_from_afar)

    def of_each(self, measured: Callable[[str], list[float]]) -> Pair:
        """The same measurements of every text."""
        first, second = (
            np.array([measured(text) for text in texts], dtype=float)
            for texts in (self.train, self.test)
        )
        return Pair(train=first, test=second)

    def topics(self) -> Pair:
        """The words and pairs of each text, weighted and pressed into a hundred numbers."""
        words = self.features["word-pairs"]()
        press = make_pipeline(weights(), TruncatedSVD(TOPICS, random_state=self.seed))
        return Pair(train=press.fit_transform(words.train), test=press.transform(words.test))


def read(data: Path, id_column: str, target: str) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """train.csv, test.csv and the name of the one column of text that both have."""
    train, test = pd.read_csv(data / "train.csv"), pd.read_csv(data / "test.csv")
    texts = [
        str(name)
        for name in test
        if name not in (id_column, target) and not pd.api.types.is_numeric_dtype(test[name])
    ]
    if len(texts) != 1:
        raise SystemExit(f"test.csv has the text columns {texts}; this pool wants exactly one")
    for table in (train, test):
        table[texts[0]] = table[texts[0]].fillna("")
    return train, test, texts[0]


def seen_from_afar(text: str) -> list[float]:
    """Fourteen measurements that need no vocabulary."""
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


class Levels(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier as a regression: it learns levels of the number, and expects one of them."""

    def __init__(self, classifier: Model) -> None:
        self.classifier = classifier

    def fit(self, rows: Any, numbers: np.ndarray) -> "Levels":
        """Cut the numbers into levels of equal counts and learn those."""
        borders = np.quantile(numbers, np.arange(1, LEVELS) / LEVELS)
        level = np.unique(np.searchsorted(borders, numbers), return_inverse=True)[1]
        self.means_ = np.bincount(level, numbers) / np.bincount(level)
        self.classifier_ = clone(self.classifier).fit(rows, level)
        return self

    def predict(self, rows: Any) -> np.ndarray:
        """The mean of each level, weighted by how likely the level is."""
        return np.asarray(self.classifier_.predict_proba(rows) @ self.means_)


class LogRatio(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Weighs each n-gram by how much more often it stands in high rows than in low ones.

    After Wang & Manning (2012), Baselines and Bigrams: Simple, Good Sentiment and Topic
    Classification. High is above the mean, which for 0 and 1 is class 1.
    """

    def fit(self, rows: Any, labels: np.ndarray) -> "LogRatio":
        """Count presence, with one added everywhere."""
        seen, high = rows > 0, labels > np.mean(labels)
        more = 1 + np.asarray(seen[high].sum(axis=0)).ravel()
        less = 1 + np.asarray(seen[~high].sum(axis=0)).ravel()
        ratio = np.log(more / more.sum()) - np.log(less / less.sum())
        self.ratio_ = scipy.sparse.diags(ratio.astype(np.float32))
        return self

    def transform(self, rows: Any) -> Any:
        """Presence times weight."""
        return (rows > 0).astype(np.float32) @ self.ratio_


def weights() -> Model:
    """tf-idf with logarithmic counts, each row of length 1."""
    return TfidfTransformer(sublinear_tf=True)


def deterministic(seed: int) -> dict[str, Any]:
    """LightGBM's settings for the same trees each time."""
    return {"random_state": seed, **SAME_TREES}


def pool(*, classes: bool) -> dict[str, Callable[[Problem], np.ndarray]]:
    """Name of an entry → what makes its predictions, in the order in which they are made."""

    def of_classes(classifier: Model) -> Model:
        return classifier if classes else Levels(classifier)

    def linear(strength: float) -> Model:
        """A regression; the stronger, the closer it follows the training rows."""
        if classes:
            return LogisticRegression(C=strength, max_iter=300)
        return Ridge(alpha=1 / strength, solver="sparse_cg", tol=1e-4)

    def tree(seed: int, **settings: Any) -> Model:
        kind = DecisionTreeClassifier if classes else DecisionTreeRegressor
        return kind(random_state=seed, **settings)

    def telling(count: int) -> Model:
        """The columns that go with the target most."""
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
        # Hardly a model
        "constant": Recipe(
            ("length",), lambda _: DummyClassifier() if classes else DummyRegressor()
        ),
        "length": Recipe(("length",), lambda seed: tree(seed, max_depth=2)),
        "one-word": Recipe(
            ("common-words",), lambda seed: make_pipeline(telling(1), tree(seed, max_depth=1))
        ),
        "five-words": Recipe(
            ("common-words",), lambda seed: make_pipeline(telling(5), tree(seed, max_depth=5))
        ),
        # Without reading
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
            ("common-words",), lambda _: make_pipeline(telling(100), weights(), linear(1))
        ),
        "word-tree": Recipe(("common-words",), lambda seed: tree(seed, min_samples_leaf=10)),
        "naive-bayes-presence": Recipe(("words",), lambda _: of_classes(BernoulliNB())),
        "naive-bayes-counts": Recipe(("words",), lambda _: of_classes(MultinomialNB())),
        "naive-bayes-pairs": Recipe(
            ("word-pairs",), lambda _: of_classes(make_pipeline(weights(), ComplementNB()))
        ),
        "nearest-centroid": Recipe(
            ("topics",), lambda _: of_classes(make_pipeline(Normalizer(), NearestCentroid()))
        ),
        "nearest-neighbour": Recipe(("words",), lambda _: make_pipeline(weights(), neighbours(1))),
        "neighbours": Recipe(
            ("words",), lambda _: make_pipeline(weights(), neighbours(25, weights="distance"))
        ),
        "topics-linear": Recipe(("topics",), lambda _: linear(10)),
        # Linear models of n-grams
        "words-linear": Recipe(("words",), lambda _: make_pipeline(weights(), linear(1))),
        "common-words-linear": Recipe(
            ("common-words",), lambda _: make_pipeline(weights(), linear(3))
        ),
        "word-pairs-linear": Recipe(("word-pairs",), lambda _: make_pipeline(weights(), linear(3))),
        "characters-linear": Recipe(("characters",), lambda _: make_pipeline(weights(), linear(3))),
        "log-ratio-linear": Recipe(("word-pairs",), ratio_linear),
        "word-pairs-support-vectors": Recipe(
            ("word-pairs",), lambda seed: make_pipeline(weights(), support_vectors(seed))
        ),
        "word-pairs-descent": Recipe(
            ("word-pairs",), lambda seed: make_pipeline(weights(), descent(seed))
        ),
        "words-characters-linear": Recipe(
            ("word-pairs", "characters"), lambda _: make_pipeline(weights(), linear(3))
        ),
        # Beyond a line
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
    together = {
        "linear-blend": ["word-pairs-linear", "characters-linear", "log-ratio-linear"],
        "blend": ["word-pairs-linear", "characters-linear", "words-boosting", "topics-boosting"],
    }
    stacked = ["word-pairs-linear", "characters-linear", "naive-bayes-counts", "topics-boosting"]

    def alone(recipe: Recipe) -> Callable[[Problem], np.ndarray]:
        return lambda problem: problem.judged(recipe)

    def blended(names: list[str]) -> Callable[[Problem], np.ndarray]:
        return lambda problem: blend(problem, [recipes[name] for name in names])

    return {
        **{name: alone(recipe) for name, recipe in recipes.items()},
        **{name: blended(names) for name, names in together.items()},
        "stack": lambda problem: stack(problem, [recipes[name] for name in stacked]),
    }


def main(request: dict[str, Any]) -> None:
    """Write every entry's submission, then the list of them."""
    kind, seed = request["kind"], request["seed"]
    if kind not in KINDS:
        raise SystemExit(f"kind is {kind!r}; this pool is for {', '.join(KINDS)}")
    train, test, text = read(Path(request["data"]), request["id"], request["target"])
    problem = Problem(
        features=Texts(train[text], test[text], seed).features,
        labels=train[request["target"]].to_numpy(),
        kind=kind,
        metric=request["metric"],
        seed=seed,
    )

    def answering(entry: Callable[[Problem], np.ndarray]) -> Callable[[], np.ndarray]:
        return lambda: problem.answers(entry(problem))

    entries = {name: answering(entry) for name, entry in pool(classes=kind != KINDS[2]).items()}
    run(request, test[request["id"]], entries)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
