"""What a pipeline does with the columns of a table before a model sees them."""

from typing import Any

from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.kernel_approximation import Nystroem
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, OrdinalEncoder, StandardScaler

Model = Any
"""Whatever has scikit-learn's `fit`; these libraries carry no types."""

NUMBERS = make_column_selector(dtype_include="number")
CATEGORIES = make_column_selector(dtype_include="category")


def numbers_only() -> Model:
    """The numeric columns, standardised."""
    return make_column_transformer((make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS))


def codes() -> Model:
    """Every column as one number; a category's is its place in the alphabet."""
    coder = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-2, encoded_missing_value=-1
    )
    return make_column_transformer((SimpleImputer(), NUMBERS), (coder, CATEGORIES))


def one_hot(*numbers: Model) -> Model:
    """A column of 0 and 1 for each category; numbers go through the given steps."""
    steps = make_pipeline(SimpleImputer(), *(numbers or [StandardScaler()]))
    coder = OneHotEncoder(handle_unknown="ignore", min_frequency=5, sparse_output=False)
    return make_column_transformer((steps, NUMBERS), (coder, CATEGORIES))


def bins() -> Model:
    """Numbers cut into ten bins of equal counts, as 0 and 1."""
    return KBinsDiscretizer(
        10, encode="onehot-dense", quantile_method="averaged_inverted_cdf", subsample=None
    )


def nystroem(seed: int) -> Model:
    """A radial-basis kernel, approximated from 300 training rows."""
    return Nystroem(gamma=0.05, n_components=300, random_state=seed)
