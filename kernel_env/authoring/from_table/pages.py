"""Write the text files of a new task: task.toml and description.md.

`TODO` marks only facts that the author must add because the table does not contain them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
    "concordance": r"C = \frac{1}{|P|} \sum_{(i, j) \in P} \left( [\hat y_i < \hat y_j]"
    r" + \tfrac12 [\hat y_i = \hat y_j] \right),"
    r" \quad P = \{(i, j) : \text{event of } i \text{ at } t_i < t_j\}",
    "ndcg": r"\mathrm{NDCG@}k = \frac1{|Q|} \sum_{q \in Q}"
    r" \frac{\sum_{r \le k} y_{q,r} / \log_2 (1 + r)}{\sum_{r \le k} y^*_{q,r} / \log_2 (1 + r)}",
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
ORDER_FORMAT = {
    "event": "a number that is larger the later the event is expected; only the order of the rows"
    " counts",
    "query": "a number that is larger the higher the row ranks among those of its `{}`; only their"
    " order counts",
}
"""The same for a metric of an order, by what it reads beside the target."""


INPUT = {"language": "a text", "vision": "a picture"}
"""What a row is, by domain, where it is one thing."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a table does not say about itself."""

    summary: str = ""
    """What the task asks, one line; empty: made from the columns' names."""
    about: str = ""
    """Where the rows come from and what the prediction is used for; empty: a TODO."""
    meanings: Mapping[str, str] | None = None
    """What columns mean; None: a TODO for each."""
    pack: str = ""
    sets: tuple[str, ...] = ()
    """The sets of tasks that the task is in."""
    licence: str = ""
    source: str = ""
    minutes: int | None = None
    """The minutes that the solution takes."""

    def meaning(self, column: str) -> str:
        """Return what a column means."""
        return "TODO" if self.meanings is None else cell(self.meanings.get(column, ""))


NOTHING_KNOWN = Facts()


def title(design: Design) -> str:
    """Return the task's display name."""
    return design.name.replace("-", " ").capitalize()


def quoted(text: str) -> str:
    """Return a text as a string literal that Python and TOML read unchanged."""
    return json_text(text)


def json_text(value: object) -> str:
    """Return a text, a number or a list of these as Python and TOML read it unchanged."""
    return json.dumps(value, ensure_ascii=False)


def summary(design: Design) -> str:
    """Return what the task asks, in one line."""
    count = len(design.columns)
    columns = "one column" if count == 1 else f"{count} columns"
    return f"Predict {listed(design.targets)} from {INPUT.get(design.domain, columns)}."


def listed(names: Sequence[str]) -> str:
    """Return names as they stand in a sentence."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def task_toml(design: Design, data: str, sha256: str, facts: Facts = NOTHING_KNOWN) -> str:
    """Return the text of task.toml."""
    known = {
        "pack": facts.pack,
        "sets": facts.sets,
        "licence": facts.licence,
        "source": facts.source,
        "expected_minutes": facts.minutes,
    }
    lines = "".join(f"{name} = {json_text(value)}\n" for name, value in known.items() if value)
    return f"""\
id = "{design.name}"
name = {quoted(title(design))}
summary = {quoted(facts.summary or summary(design))}
domain = "{design.domain}"
kind = "{design.kind}"
image = "tabular"
{lines}
[metric]
name = "{design.metric.name}"
{f"column = {quoted(design.extra)}" + chr(10) if design.extra else ""}
[submission]
id_columns = [{quoted(design.id)}]
target_columns = {json_text(design.targets)}

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


def description_md(
    design: Design, facts: Facts, *, train: int, test: int, sample: str, public: int
) -> str:
    """Return the text of description.md, which the agent reads.

    Args:
        design: the task's design.
        facts: what the table does not say.
        train: the number of training rows.
        test: the number of test rows.
        sample: the first lines of the sample submission.
        public: the number of test rows that make the public score.
    """
    metric = design.metric
    better = "higher is better" if metric.higher_is_better else "lower is better"
    found = FORMULA.get(metric.name.partition("@")[0])
    formula = f",\n\n$${found}$$\n" if found else ".\n"
    columns = "\n".join(column_row(column, facts) for column in design.columns)
    targets = "\n".join(target_row(design, name, facts) for name in design.targets)
    if design.event:
        targets += f"\n{event_row(design, facts)}"
    hidden = (*design.targets, *filter(None, [design.event]))
    with_them = listed([f"`{name}`" for name in hidden])
    cells = ORDER_FORMAT.get(metric.extra, TARGET_FORMAT[metric.wants]).format(cell(design.extra))
    names = listed([f"`{name}`" for name in design.targets])
    about = facts.about or "TODO: where the rows come from, and what the prediction is used for."
    pictures = "\n| `pictures/` | the picture of each row" + " |"
    pictures = pictures if design.has_files else ""
    classes = ""
    if design.classes and design.positive is None and len(design.classes) <= 30:
        classes = f"\nThe classes are {', '.join(f'`{one}`' for one in design.classes)}.\n"
    return f"""\
# {title(design)}

{about} **Predict {names} for each row of the test set.**

## Data

| file | content |
|---|---|
| `train.csv` | {train:,} rows with their {with_them} |
| `test.csv` | {test:,} rows without {"it" if len(hidden) == 1 else "them"} |
| `sample_submission.csv` | a valid submission with the same value in every row |{pictures}

| column | content | meaning |
|---|---|---|
| `{cell(design.id)}` | {id_text(design)} | identifies the row |
{columns}
{targets}
{classes}
Missing values are empty cells.{as_text(design)} {split_text(design)}

## Metric

{metric.title}{", the mean over the targets" if len(design.targets) > 1 else ""}; {better}{formula}
{100 * public / test:.0f} % of the test rows make the public score, which you see while you work. The others make the private score, which decides. Which rows are public is not revealed.

## Submission

A CSV file with a header and one row for each `{design.id}` of `test.csv`, in any order; {names} {"is" if len(design.targets) == 1 else "are each"} {cells}.

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
    "family": "The split keeps rows together that belong together or are nearly equal.",
    "random": "The split is random; rows that are equal in every column except the target are in the same set.",
    "group": "The split is by `{column}`: no value of it is in both the training set and the test set.",
    "time": "The split is by `{column}`: every row of the test set is later than all rows of `train.csv`.",
    "time in group": "The split is by `{column}` in each `{group}`: the rows of a group in the test set are later than its rows in `train.csv`.",
}


def split_text(design: Design) -> str:
    """Return how rows were split, for the agent."""
    split = design.split
    text = SPLIT_TEXT[split.method].format(column=split.column, group=split.group)
    if design.families is None:
        return text
    if split.method == "family":
        return text
    if split.method == "random":
        return "The split is random; rows that are nearly equal are in the same set."
    return f"{text} Rows that are nearly equal are in the same set, too."


def column_row(column: Column, facts: Facts) -> str:
    """Return a column's row in the description's table."""
    missing = f"; {column.missing:,} missing" if column.missing else ""
    return f"| `{cell(column.name)}` | {column.summary}{missing} | {facts.meaning(column.name)} |"


def target_row(design: Design, name: str, facts: Facts) -> str:
    """Return a target's row in the description's table."""
    meaning = facts.meaning(name)
    known = f"; {meaning}" if meaning else ""
    which = "**the target**" if len(design.targets) == 1 else "**a target**"
    return f"| `{cell(name)}` | {target_text(design)} | {which}, in `train.csv` only{known} |"


def event_row(design: Design, facts: Facts) -> str:
    """Return the row of the events in the description's table."""
    meaning = facts.meaning(design.event)
    known = f"; {meaning}" if meaning else ""
    content = f"1 if the event happened at `{cell(design.target)}`, 0 if the row is censored then"
    return f"| `{cell(design.event)}` | {content} | in `train.csv` only{known} |"


def id_text(design: Design) -> str:
    """Describe the values of the id column."""
    if design.has_id_column:
        return "a unique value in each row"
    by_time = design.split.method in ("time", "time in group")
    return "numbers in time order" if by_time else "numbers in random order"


def target_text(design: Design) -> str:
    """Describe the values of the target column."""
    if design.positive is not None:
        return f"1 for `{design.positive}`, else 0"
    if design.classes == ("0", "1"):
        return "0 or 1"
    if design.classes:
        return f"one of {len(design.classes)} classes"
    return "a number"
