"""Turn texts into weights of words and of runs of characters, and name models for them."""

from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse
from sklearn.calibration import CalibratedClassifierCV
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import ComplementNB
from sklearn.preprocessing import MaxAbsScaler
from sklearn.svm import LinearSVC

from .problem import Candidate, Problem, random_rows
from .tables import Tables

WORDS: dict[str, Any] = {"ngram_range": (1, 2), "token_pattern": r"\w+|[^\w\s]+"}
"""Single words and pairs of words; runs of marks such as `!!!` are words."""
MAX_FEATURES = 150_000
"""The most words, and the most runs of characters, that are counted."""
MIN_BLANKS = 0.05
"""Where fewer characters than this share are blanks, words are not separated by them."""
LONG = 500
"""Of texts with more characters than this on average, only runs of three or four are counted."""
MAX_ROWS = 60_000
"""The most training rows that a model is fitted on; of more, random ones."""


def find_texts(tables: Tables) -> "pd.Series[Any]":
    """Return the texts of training rows, then of test rows: the column with the longest cells.

    Raises:
        ValueError: no column has texts.
    """
    names = [
        name
        for name in tables.test
        if name in tables.train
        and name not in tables.ids
        and not pd.api.types.is_numeric_dtype(tables.train[name])
    ]
    lengths = {name: tables.train[name].astype(str).str.len().mean() for name in names}
    if not lengths:
        raise ValueError("no column of both tables has texts")
    longest = max(lengths, key=lambda name: lengths[name])
    print(f"texts: {longest}, {lengths[longest]:.0f} characters on average")
    both = pd.concat([tables.train[longest], tables.test[longest]], ignore_index=True)
    return both.fillna("").astype(str)


def language_candidates(tables: Tables, problem: Problem) -> dict[str, Any]:
    """Return linear models of words, of characters and of both."""
    texts = find_texts(tables)
    count, blanks = len(tables.train), texts.str.count(r"\s").sum() / texts.str.len().sum()
    spaced = bool(blanks > MIN_BLANKS)
    common = {"sublinear_tf": True, "min_df": 2, "max_features": MAX_FEATURES, "dtype": np.float32}
    lengths = (1, 3) if not spaced else (3, 4) if texts.str.len().mean() > LONG else (2, 5)
    runs = {"analyzer": "char_wb" if spaced else "char", "ngram_range": lengths}
    vectorizers = {
        "words": TfidfVectorizer(**WORDS, **common),
        "characters": TfidfVectorizer(**runs, **common),
    }
    shape = pd.DataFrame(
        {
            "length": np.log1p(texts.str.len()),
            "capitals": texts.str.count(r"[A-Z]") / (texts.str.len() + 1),
            "marks": texts.str.count(r"[!?]"),
            "digits": texts.str.count(r"\d") / (texts.str.len() + 1),
        }
    )
    matrices = {
        name: each.fit_transform(texts[:count].pipe(list)) for name, each in vectorizers.items()
    }
    tests = {name: each.transform(texts[count:].pipe(list)) for name, each in vectorizers.items()}
    extra = scipy.sparse.csr_matrix(MaxAbsScaler().fit_transform(shape), dtype=np.float32)
    matrices["both"] = scipy.sparse.hstack([*matrices.values(), extra[:count]], format="csr")
    tests["both"] = scipy.sparse.hstack([*tests.values(), extra[count:]], format="csr")
    print({name: f"{matrix.shape[1]:,} features" for name, matrix in matrices.items()})
    models: dict[str, tuple[str, Any]]
    if problem.classes is None:
        models = {
            "words, ridge": ("words", Ridge(alpha=2.0, solver="sparse_cg")),
            "characters, ridge": ("characters", Ridge(alpha=2.0, solver="sparse_cg")),
            "both, ridge": ("both", Ridge(alpha=3.0, solver="sparse_cg")),
        }
    else:
        machine = LinearSVC(C=0.5, random_state=problem.seed)
        models = {
            "words, Bayes": ("words", ComplementNB(alpha=0.3)),
            "both, logistic": (
                "both",
                LogisticRegression(C=10, max_iter=100, tol=1e-3),
            ),
            "both, support vectors": (
                "both",
                CalibratedClassifierCV(machine, ensemble=False, cv=3),
            ),
        }
    rows = random_rows(count, MAX_ROWS, problem.seed)
    return {
        name: Candidate(model=model, train=matrices[kind], test=tests[kind], rows=rows)
        for name, (kind, model) in models.items()
    }
