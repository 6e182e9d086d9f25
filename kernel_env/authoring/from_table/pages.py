"""The text of a new task's files, as its author will find and edit them.

`TODO` stands only where a human must say what no program can know.
"""

import json

from kernel_env.authoring.from_table.design import Column, Design

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
WANTED = {
    "number": "a number",
    "non_negative": "a number of at least 0",
    "probability": "a probability from 0 to 1",
    "integer": "a whole number",
    "binary": "0 or 1",
    "label": "the name of a class",
}


def title(design: Design) -> str:
    """The task's name for people."""
    return design.name.replace("-", " ").capitalize()


def quoted(text: str) -> str:
    """A string in Python and in TOML."""
    return json.dumps(text, ensure_ascii=False)


def task_toml(design: Design, data: str, sha256: str) -> str:
    """What the task is."""
    count = len(design.columns)
    return f"""\
id = "{design.name}"
name = {quoted(title(design))}
summary = {quoted(f"Predict {design.target} from {count} columns.")}
domain = "tabular"
kind = "{design.kind}"
image = "tabular"
licence = "TODO"
source = "TODO"
expected_minutes = 5

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
    """What the agent reads. `sample` is the head of the sample submission."""
    metric = design.metric
    better = "higher is better" if metric.higher_is_better else "lower is better"
    formula = f",\n\n$${FORMULA[metric.name]}$$\n" if metric.name in FORMULA else ".\n"
    columns = "\n".join(map(line, design.columns))
    classes = ""
    if design.classes and design.positive is None and len(design.classes) <= 30:
        classes = f"\nThe classes are {', '.join(f'`{one}`' for one in design.classes)}.\n"
    return f"""\
# {title(design)}

TODO: where the rows come from, and why somebody wants to know. **Predict `{design.target}` for each row of the test set.**

## Data

| file | what it holds |
|---|---|
| `train.csv` | {train:,} rows with their `{design.target}` |
| `test.csv` | {test:,} rows without it |
| `sample_submission.csv` | a valid submission that says the same for every row |

| column | what it holds | what it means |
|---|---|---|
| `{design.id}` | {id_words(design)} | tells rows apart |
{columns}
| `{design.target}` | {target_words(design)} | **the target**, in `train.csv` only; TODO |
{classes}
Missing values are empty cells. {SPLIT_WORDS[design.split.how].format(column=design.split.column)}

## Metric

{metric.title}; {better}{formula}
{100 * public / test:.0f} % of the test rows make the public score, which you see while you work. The others make the private score, which decides. You are not told which row is which.

## Submission

A CSV file with a header and one row for each `{design.id}` of `test.csv`, in any order; `{design.target}` is {WANTED[metric.wants]}.

```csv
{sample}
```

## Rules

- No outside data and no outside models: the machine has no network, and the answers are not on it.
- You may look at `test.csv` as much as you like, but it has no answers to learn from.
"""


SPLIT_WORDS = {
    "random": "The split is random; rows that agree in every column but the target are on one side.",
    "group": "The split is by `{column}`: the test set has none that the training set has.",
    "time": "The split is by `{column}`: every row of the test set is later than all of `train.csv`.",
}


def line(column: Column) -> str:
    """A column's line of the description."""
    missing = f"; {column.missing:,} missing" if column.missing else ""
    return f"| `{column.name}` | {column.what}{missing} | TODO |"


def id_words(design: Design) -> str:
    """What an id holds."""
    if design.given_id:
        return "a value of its own for each row"
    return "numbers in the order of time" if design.split.how == "time" else "numbers by lot"


def target_words(design: Design) -> str:
    """What the target holds."""
    if design.positive is not None:
        return f"1 for `{design.positive}`, else 0"
    if design.classes:
        return f"one of {len(design.classes)} classes"
    return "a number"


def notice(design: Design, data: str, given: str) -> str:
    """Where the data came from. `given` is the sha256 of the table that was given."""
    head = f"{title(design)}: where data/{data} comes from"
    left_out = f"  - leaves out {design.left_out:,} rows without {design.target};\n" * bool(
        design.left_out
    )
    coded = (
        f"  - writes {design.target} as 1 ({design.positive}) and 0;\n"
        if design.positive is not None
        else ""
    )
    order = "sorts" if design.split.how == "time" else "shuffles"
    numbered = "" if design.given_id else ", numbers"
    return f"""\
{head}
{"=" * len(head)}

Data set   TODO: its name, who made it, when
Citation   TODO
Licence    TODO: its name and where it can be read
Taken from {design.table.name}
             sha256 of the file  {given}

What prepare.py changes
{left_out}{coded}  - {order}{numbered} and splits the rows.
"""
