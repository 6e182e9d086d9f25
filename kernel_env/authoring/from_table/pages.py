"""Write the text files of a new task: task.toml and description.md.

`TODO` marks only facts that the author must add because the table does not contain them.
"""

import json

from kernel_env.authoring.from_table.columns import Column
from kernel_env.authoring.from_table.design import Design

FORMULA = {
    "accuracy": r"\mathrm{accuracy} = \frac1n \sum_{i=1}^{n} [\hat y_i = y_i]",
    "macro_f1": r"\mathrm{macro\ F_1} = \frac1K \sum_{k=1}^{K}"
    r" \frac{2\,\mathrm{TP}_k}{2\,\mathrm{TP}_k + \mathrm{FP}_k + \mathrm{FN}_k}",
    "f1": r"F_1 = \frac{2\,\mathrm{TP}}{2\,\mathrm{TP} + \mathrm{FP} + \mathrm{FN}}",
    "roc_auc": r"\mathrm{AUC} = \frac{1}{|P|\,|N|} \sum_{i \in P} \sum_{j \in N}"
    r" \left( [p_i > p_j] + \tfrac12 [p_i = p_j] \right)",
    "log_loss": r"\mathrm{log\ loss} = -\frac1n \sum_{i=1}^{n}"
    r" \left( y_i \log p_i + (1 - y_i) \log (1 - p_i) \right)",
    "brier": r"\mathrm{Brier} = \frac1n \sum_{i=1}^{n} (p_i - y_i)^2",
    "rmse": r"\mathrm{RMSE} = \sqrt{\frac1n \sum_{i=1}^{n} (\hat y_i - y_i)^2}",
    "rmsle": r"\mathrm{RMSLE} = \sqrt{\frac1n \sum_{i=1}^{n}"
    r" \left( \log(1 + \hat y_i) - \log(1 + y_i) \right)^2}",
    "mae": r"\mathrm{MAE} = \frac1n \sum_{i=1}^{n} |\hat y_i - y_i|",
    "mape": r"\mathrm{MAPE} = \frac1n \sum_{i=1}^{n} \frac{|\hat y_i - y_i|}{|y_i|}",
    "r2": r"R^2 = 1 - \frac{\sum_i (\hat y_i - y_i)^2}{\sum_i (y_i - \bar y)^2}",
}
TARGET_FORMAT = {
    "number": "a number",
    "non_negative": "a number of at least 0",
    "probability": "a probability from 0 to 1",
    "integer": "a whole number",
    "binary": "0 or 1",
    "label": "the name of a class",
}
"""What a cell of the target column must contain, by what the metric requires."""


INPUT = {"tabular": "one column", "language": "a text", "vision": "a picture"}
"""What a row is, by domain, where it is one thing."""


def title(design: Design) -> str:
    """Return the task's display name."""
    return design.name.replace("-", " ").capitalize()


def quoted(text: str) -> str:
    """Return a text as a string literal that Python and TOML read unchanged."""
    return json.dumps(text, ensure_ascii=False)


def task_toml(design: Design, data: str, sha256: str) -> str:
    """Return the text of task.toml."""
    count = len(design.columns)
    summary = f"Predict {design.target} from {count} columns."
    if design.domain != "tabular" or count == 1:
        summary = f"Predict {design.target} from {INPUT[design.domain]}."
    return f"""\
id = "{design.name}"
name = {quoted(title(design))}
summary = {quoted(summary)}
domain = "{design.domain}"
kind = "{design.kind}"
image = "tabular"

[metric]
name = "{design.metric.name}"

[submission]
id_columns = [{quoted(design.id)}]
target_columns = [{quoted(design.target)}]

[limits]
steps = 60
seconds = 3600
cell_seconds = 600
memory_gb = 4
workspace_gb = 2
cpus = 2

[raw]
{quoted(data)} = "{sha256}"
"""


def description_md(design: Design, train: int, test: int, sample: str, public: int) -> str:
    """Return the text of description.md, which the agent reads.

    Args:
        design: the task's design.
        train: the number of training rows.
        test: the number of test rows.
        sample: the first lines of the sample submission.
        public: the number of test rows that make the public score.
    """
    metric = design.metric
    better = "higher is better" if metric.higher_is_better else "lower is better"
    formula = f",\n\n$${FORMULA[metric.name]}$$\n" if metric.name in FORMULA else ".\n"
    columns = "\n".join(map(column_row, design.columns))
    pictures = "\n| `pictures/` | the picture of each row" + " |"
    pictures = pictures if design.domain == "vision" else ""
    classes = ""
    if design.classes and design.positive is None and len(design.classes) <= 30:
        classes = f"\nThe classes are {', '.join(f'`{one}`' for one in design.classes)}.\n"
    return f"""\
# {title(design)}

TODO: where the rows come from, and what the prediction is used for. **Predict `{design.target}` for each row of the test set.**

## Data

| file | content |
|---|---|
| `train.csv` | {train:,} rows with their `{design.target}` |
| `test.csv` | {test:,} rows without it |
| `sample_submission.csv` | a valid submission with the same value in every row |{pictures}

| column | content | meaning |
|---|---|---|
| `{cell(design.id)}` | {id_text(design)} | identifies the row |
{columns}
| `{cell(design.target)}` | {target_text(design)} | **the target**, in `train.csv` only; TODO |
{classes}
Missing values are empty cells.{as_text(design)} {SPLIT_TEXT[design.split.method].format(column=design.split.column)}

## Metric

{metric.title}; {better}{formula}
{100 * public / test:.0f} % of the test rows make the public score, which you see while you work. The others make the private score, which decides. Which rows are public is not revealed.

## Submission

A CSV file with a header and one row for each `{design.id}` of `test.csv`, in any order; `{design.target}` is {TARGET_FORMAT[metric.wants]}.

```csv
{sample}
```

## Rules

- No external data and no external models: the container has no network and does not contain the answers.
- You can use the features in `test.csv` in any way; it has no targets.
"""


def as_text(design: Design) -> str:
    """Say which columns must be read as text; empty if pandas changes none."""
    if not design.as_text:
        return ""
    names = " and ".join(f"`{cell(name)}`" for name in design.as_text)
    options = ", ".join(f"{quoted(name)}: str" for name in design.as_text)
    return (
        f" pandas changes {names} unless they are read as text:"
        f' `pd.read_csv(path, dtype={{{options}}}, keep_default_na=False, na_values=[""])`.'
    )


def cell(text: str) -> str:
    """Return a text as it can stand in a cell of a Markdown table, between backticks."""
    line = text if len(text) <= 80 else text[:79] + "…"
    return line.replace("|", "\\|").replace("`", "'")


SPLIT_TEXT = {
    "random": "The split is random; rows that are equal in every column except the target are in the same set.",
    "group": "The split is by `{column}`: no value of it is in both the training set and the test set.",
    "time": "The split is by `{column}`: every row of the test set is later than all rows of `train.csv`.",
}


def column_row(column: Column) -> str:
    """Return a column's row in the description's table."""
    missing = f"; {column.missing:,} missing" if column.missing else ""
    return f"| `{cell(column.name)}` | {column.summary}{missing} | TODO |"


def id_text(design: Design) -> str:
    """Describe the values of the id column."""
    if design.has_id_column:
        return "a unique value in each row"
    return "numbers in time order" if design.split.method == "time" else "numbers in random order"


def target_text(design: Design) -> str:
    """Describe the values of the target column."""
    if design.positive is not None:
        return f"1 for `{design.positive}`, else 0"
    if design.classes:
        return f"one of {len(design.classes)} classes"
    return "a number"
