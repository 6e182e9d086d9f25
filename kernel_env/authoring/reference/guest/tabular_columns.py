"""Define the preprocessing of table columns that the tabular pipelines share."""

from typing import Any

from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.kernel_approximation import Nystroem
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, OrdinalEncoder, StandardScaler

Model = Any
"""An estimator or transformer with scikit-learn's `fit`; these libraries have no types."""

NUMBERS = make_column_selector(dtype_include="number")
CATEGORIES = make_column_selector(dtype_include="category")


def numbers_only() -> Model:
    """Select the numeric columns and standardise them."""
    return make_column_transformer((make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS))


def codes() -> Model:
    """Encode every column as one number; a category's is its index in alphabetical order."""
    coder = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-2, encoded_missing_value=-1
    )
    return make_column_transformer((SimpleImputer(), NUMBERS), (coder, CATEGORIES))


def one_hot(*numbers: Model) -> Model:
    """Encode categories as 0/1 columns; apply the given steps to numeric columns.

    Args:
        numbers: transformers of the imputed numeric columns; none: standardise them.
    """
    steps = make_pipeline(SimpleImputer(), *(numbers or [StandardScaler()]))
    coder = OneHotEncoder(handle_unknown="ignore", min_frequency=5, sparse_output=False)
    return make_column_transformer((steps, NUMBERS), (coder, CATEGORIES))


def bins() -> Model:
    """Discretise numbers into ten bins of equal counts, as 0/1 columns."""
    return KBinsDiscretizer(
        10, encode="onehot-dense", quantile_method="averaged_inverted_cdf", subsample=None
    )


def nystroem(seed: int) -> Model:
    """Approximate a radial-basis kernel from 300 training rows."""
    return Nystroem(gamma=0.05, n_components=300, random_state=seed)
