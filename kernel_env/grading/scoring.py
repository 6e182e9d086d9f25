"""Compare a parsed submission with the answers, in the process that reads them.

What an agent may read of a failure is decided here. A reason may name what the submission holds.
It never holds a word of the metric's about the private half, nor the message of an exception:
either could contain answers.
"""

import hashlib
import numbers
import runpy
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernel_env.errors import KernelEnvError, SubmissionError, TaskError
from kernel_env.grading import metric, submission, table_codec
from kernel_env.grading.resolution import standard_error
from kernel_env.grading.submission import SubmissionSchema
from kernel_env.untrusted_text import quote_value

if TYPE_CHECKING:
    import pandas as pd

REASON_CHARACTERS = 2000
"""The longest reason that leaves the process."""
HIDDEN_REASON = (
    "the metric rejects some of these predictions; why is not shown, because it could reveal"
    " hidden answers"
)


class MetricFailed(Exception):
    """A failure of the metric. Whose fault it is, the host finds out with a known submission."""

    def __init__(self, public: str, full: str) -> None:
        super().__init__(full)
        self.public = public
        """What the agent may read."""


def respond(score: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the scores, the reason for a rejection, or the failure, as a response."""
    try:
        return {"kind": "scores", "scores": score()}
    except SubmissionError as error:
        return {"kind": "refused", "why": clipped(error)}
    except MetricFailed as error:
        return {"kind": "failed", "why": clipped(error), "public": error.public}
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - becomes the response
        return {"kind": "broken", "why": clipped(described(error))}


def clipped(reason: object) -> str:
    """Return a reason that is not too long."""
    text = str(reason)
    return text if len(text) <= REASON_CHARACTERS else f"{text[:REASON_CHARACTERS]}…"


def described(error: BaseException) -> str:
    """Describe an exception and where it was raised, for the task's author."""
    if isinstance(error, KernelEnvError):
        return str(error)
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"


# ── a table ───────────────────────────────────────────────────────────────────────────────


def score_table(
    request: Mapping[str, Any],
    schema: SubmissionSchema,
    given: bytes | None,
    rival: bytes | None = None,
) -> dict[str, Any]:
    """Score the rows of each split separately.

    Args:
        request: the host's request.
        schema: the columns.
        given: an encoded table; None to score the answers themselves.
        rival: the encoded table of the best submission so far, for the resolution.

    Raises:
        SubmissionError: the agent can mend it.
        MetricFailed: the metric gave no number.
        TaskError: the answers are wrong.
    """
    answers = read_answers(Path(request["answers"]))
    ids = answers[list(schema.id_columns)]
    try:
        truth = submission.targets(answers, schema)
    except SubmissionError as error:
        raise TaskError(f"the answers are wrong: {error}") from error
    predicted, note = truth, ""
    if extra := request["metric_column"]:
        if extra not in answers:
            raise TaskError(f"the answers have no column {extra!r}, which task.toml names")
        truth = truth.assign(**{extra: answers[extra]})
    name = request["metric"] or "the metric"
    score = score_function(request, ids)

    def aligned(packed: bytes) -> "pd.DataFrame":
        table = submission.align(decoded(packed, schema, len(ids)), schema, ids)
        return submission.split_lists(table, schema)

    if given is not None:
        predicted = aligned(given)
        predicted, note = match_labels(predicted, truth, schema)
        check_rows(request["metric"], predicted)
    found: dict[str, Any] = {"content": digest(predicted), "note": note}
    for split in request["splits"]:
        rows = (answers["Usage"] == split).to_numpy()
        if not rows.any():
            raise TaskError(f"the answers have no row with the Usage {split}")
        try:
            found[split.lower()] = called(score, truth, predicted, rows, name)
        except SubmissionError as error:
            if len(found) > len({"content", "note"}):  # the other half did not mind
                raise SubmissionError(HIDDEN_REASON) from error
            raise
    if rival is not None:
        other, _ = match_labels(aligned(rival), truth, schema)
        rows = (answers["Usage"] == "Public").to_numpy()
        found["resolution"] = standard_error(
            lambda kept, table: value_or_nan(score, truth, table, kept), rows, predicted, other
        )
    return found


MAX_EXTRA_ROWS = 100_000
"""A file with more surplus rows than this is rejected before its ids are compared."""


def decoded(packed: bytes, schema: SubmissionSchema, rows: int) -> "pd.DataFrame":
    """Decode what the parser wrote. Raises `SubmissionError` if that is no such table."""
    try:
        table = table_codec.unpack(packed, max_rows=rows + MAX_EXTRA_ROWS)
    except table_codec.TooManyRows as error:
        raise SubmissionError(
            f"the submission has {error.rows:,} rows; this task expects {rows:,}."
            " Give exactly the ids of sample_submission.csv"
        ) from error
    except ValueError as error:
        raise SubmissionError(f"the submission cannot be parsed: {error}") from error
    if list(table) != schema.columns:
        raise SubmissionError("the submission cannot be parsed: it has other columns")
    return table


def read_answers(path: Path) -> "pd.DataFrame":
    """Read the answers as text."""
    import pandas as pd

    return pd.read_csv(path, dtype=str, keep_default_na=False)


RowsScore = Callable[["pd.DataFrame", "pd.DataFrame", Any], Any]
"""(truth, predicted, which rows) → what the metric gives."""


def score_function(request: Mapping[str, Any], ids: "pd.DataFrame") -> RowsScore:
    """Return the task's metric as a function of some rows of truth and prediction."""
    import pandas as pd

    if not request["grade_file"]:
        known = metric.find(request["metric"])
        return lambda truth, predicted, rows: known.score(truth[rows], predicted[rows])
    grade = runpy.run_path(request["grade_file"])["grade"]

    def own(truth: "pd.DataFrame", predicted: "pd.DataFrame", rows: Any) -> Any:
        sides = (
            pd.concat([ids, side], axis=1)[rows].reset_index(drop=True)
            for side in (truth, predicted)
        )
        return grade(*sides)

    return own


def called(
    score: RowsScore, truth: Any, predicted: Any, rows: Any, name: str = "the metric"
) -> float:
    """Call a metric. Raises `SubmissionError` if it rejects, `MetricFailed` if it fails."""
    try:
        value = score(truth, predicted, rows)
    except (SubmissionError, MemoryError):
        raise
    except (Exception, SystemExit) as error:  # a metric can raise anything
        raise MetricFailed(
            f"the metric failed on these predictions ({type(error).__name__})",
            f"the metric failed: {described(error)}",
        ) from error
    return as_number(value, name)


def value_or_nan(score: RowsScore, truth: Any, predicted: Any, rows: Any) -> float:
    """Call a metric; return NaN if it gives no number."""
    try:
        return called(score, truth, predicted, rows)
    except (SubmissionError, MetricFailed):
        return float("nan")


def as_number(value: Any, name: str) -> float:
    """Return a metric's value. Raises `MetricFailed` for one that is not a finite number."""
    import numpy as np

    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    given = clipped(f"{value!r}"[:100])
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise MetricFailed(
            f"{name} gives no number for these predictions",
            f"the metric gave {given}; it must give a finite number",
        )
    try:
        number = float(value)
    except OverflowError:
        number = float("inf")
    if not np.isfinite(number):
        raise MetricFailed(
            f"{name} of these predictions is {number}, which is not a finite number",
            f"the metric gave {given}; it must give a finite number",
        )
    return number


def check_rows(name: str | None, predicted: "pd.DataFrame") -> None:
    """Let the metric reject rows that have no score. Raises `SubmissionError`."""
    known = metric.find(name) if name else None
    if known and known.check:
        known.check(predicted)


def digest(table: "pd.DataFrame") -> str:
    """Return the SHA-256 of the rows: equal predictions have equal digests."""
    joined = table.map(lambda cell: " ".join(cell) if isinstance(cell, list) else cell)
    return hashlib.sha256(table_codec.pack(joined)).hexdigest()


# ── labels ────────────────────────────────────────────────────────────────────────────────


def match_labels(
    predicted: "pd.DataFrame", truth: "pd.DataFrame", schema: SubmissionSchema
) -> tuple["pd.DataFrame", str]:
    """Replace other forms of a number by the class that they mean, and name unknown labels.

    `1.0` means the class `1` where all classes are numbers. Other labels that are no class stay,
    and score as wrong; the note names them, because a wrong form of a label looks like a bad model.

    Returns:
        The predictions, and the note; it is empty if every label is a class.
    """
    if schema.wants != "label":
        return predicted, ""
    unknown: list[str] = []
    changed = predicted.copy()
    for name in predicted:
        classes = set(truth[name])
        by_number = {number_of(label): label for label in classes}
        numeric = None not in by_number and len(by_number) == len(classes)
        given = predicted[name]
        meant = {
            label: by_number.get(number_of(label)) if numeric else None
            for label in set(given) - classes
        }
        changed[name] = given.map(lambda label, meant=meant: meant.get(label) or label)
        unknown += [label for label in given if label in meant and not meant[label]]
    if not unknown:
        return changed, ""
    different = list(dict.fromkeys(unknown))
    first = different[: submission.EXAMPLES_SHOWN]
    shown = ", ".join(quote_value(label, submission.EXAMPLE_CHARACTERS) for label in first)
    if len(different) > len(first):
        shown += f" and {len(different) - len(first):,} more"
    return changed, (
        f"{len(unknown):,} of {predicted.size:,} labels are not classes of this task: {shown}"
    )


def number_of(label: str) -> float | None:
    """Return the number that a label writes; None if it is none."""
    try:
        return float(label)
    except ValueError:
        return None


# ── a file that only the task's grade.py can read ─────────────────────────────────────────


def score_file(request: Mapping[str, Any], data: bytes, work_dir: Path) -> dict[str, Any]:
    """Score a file with a `grade.py` that reads it; the score counts for every split.

    Raises `SubmissionError`, `MetricFailed`.
    """
    path = work_dir / "submission.csv"
    path.write_bytes(data)
    score = runpy.run_path(request["grade_file"])["grade"]
    value = called(lambda *_: score(Path(request["answers"]), path), None, None, None)
    scores = {split.lower(): value for split in request["splits"]}
    return {"content": hashlib.sha256(data).hexdigest(), "note": "", **scores}
