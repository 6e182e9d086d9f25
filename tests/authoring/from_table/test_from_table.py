"""Create task folders from tables with `kernel-env tasks new`."""

import asyncio
import gzip
import json
import os
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from kernel_env.audit.task import board
from kernel_env.audit.task.finding import Finding
from kernel_env.audit.task.run_checks import check_data, open_folder
from kernel_env.authoring.from_table import design
from kernel_env.authoring.reference.leaderboard import run_reference_pipelines
from kernel_env.cli import app
from kernel_env.errors import KernelEnvError, TaskError, UsageError
from kernel_env.grading.host import Grader
from kernel_env.tasks import spec
from kernel_env.tasks.prepare import prepare

ROWS = 300


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """A table of shop visits with numbers, a category, a date, a group and three targets."""
    random = np.random.RandomState(3)
    minutes, pages = random.gamma(2, 3, ROWS).round(2), random.randint(1, 8, ROWS)
    wish = 0.3 * minutes + 0.4 * pages + random.normal(size=ROWS)
    days = pd.to_datetime("2024-01-01") + pd.to_timedelta(random.randint(0, 90, ROWS), "D")
    return pd.DataFrame(
        {
            "visit": random.permutation(ROWS) + 1000,
            "minutes": minutes,
            "pages": pages,
            "device": random.choice(["phone", "desk | top", "tablet"], ROWS),
            "day": days.strftime("%Y-%m-%d"),
            "shop": random.randint(0, 25, ROWS),
            "bought": np.where(wish > np.quantile(wish, 0.7), "yes", "no"),
            "what": np.where(wish > 4, "book", np.where(wish > 3, "pen", "none")),
            "spent": (wish.clip(0) * 10).round(2),
        }
    )


@pytest.fixture
def csv(table: pd.DataFrame, tmp_path: Path) -> Path:
    """The table as a CSV file."""
    path = tmp_path / "visits.csv"
    table.to_csv(path, index=False)
    return path


def run_new(*argv: object) -> list[str]:
    """Run `tasks new`; return the lines of standard output and standard error."""
    done = CliRunner().invoke(app, ["tasks", "new", *map(str, argv)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output.splitlines()


async def failed_checks(folder: Path) -> list[Finding]:
    """Run the checks of the folder's data; return the failures."""
    opened = open_folder(folder)
    assert opened.subject is not None, opened.findings
    async with Grader() as grader:
        found = [*opened.findings, *[f async for f in check_data(opened.subject, grader)]]
    return [finding for finding in found if finding.verdict == "failed"]


def test_a_new_task_passes_its_checks(csv: Path, table: pd.DataFrame, tmp_path: Path) -> None:
    table.drop(columns=["day", "what", "spent"]).to_csv(csv, index=False)

    lines = run_new(
        "shop-visits",
        "--from",
        csv,
        "--target",
        "bought",
        "--into",
        tmp_path / "t",
        "--no-population",
    )

    folder = tmp_path / "t" / "shop-visits"
    assert lines == [
        "kind: binary classification ('bought' has two values)",
        "target: 1 is 'yes'",
        "metric: roc_auc (two classes, scored by the ranking of the rows)",
        "split: random (no column contains timestamps, stratified)",
        "domain: tabular",
        "note: 'visit' has a different value in each of 300 rows; if it names the rows, give --id"
        " visit",
        "the reference pipelines did not run: --no-population was given",
        f"to run them later: kernel-env tasks population {folder} --write",
        f"{folder}: leaderboard.csv has only the constant answer",
        "next: replace each TODO in description.md, then check it:",
        f"  kernel-env tasks check {folder}",
        f"then use its path, or its name with KERNEL_ENV_TASKS={folder.parent}:",
        f"  kernel-env run {folder} --agent …",
    ]
    assert sorted(path.name for path in folder.iterdir()) == [
        "data",
        "description.md",
        "leaderboard.csv",
        "prepare.py",
        "solution.ipynb",
        "task.toml",
    ]
    assert list((tmp_path / "t").iterdir()) == [folder]
    assert asyncio.run(failed_checks(folder)) == []
    description = (folder / "description.md").read_text()
    assert "| `train.csv` | 210 rows with their `bought` |" in description
    assert "| `device` | one of 3 values: `" in description
    assert "`desk / top`" in description
    assert "| `pages` | whole number, 1 to 7 | TODO |" in description
    assert "| `bought` | 1 for `yes`, else 0 | **the target**, in `train.csv` only; TODO |" in (
        description
    )
    assert (folder / "leaderboard.csv").read_text() == (
        "entry,kind,public_score,private_score,seed,runtime_s\nconstant,reference,0.5,0.5,0,0.0\n"
    )
    answers = pd.read_csv(prepare(spec.load(folder)).answers)
    assert set(answers["bought"]) == {0, 1}
    assert [(answers["Usage"] == usage).sum() for usage in ("Public", "Private")] == [27, 63]


def test_timestamps_and_skew_choose_a_time_split_and_rmsle(
    table: pd.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "visits.csv.gz"
    spent = table["spent"].where(table.index != 7)
    spent[11] = 5000
    with gzip.open(path, "wt") as file:
        table.assign(spent=spent).to_csv(file, index=False)

    lines = run_new(
        "spent", "--from", path, "--target", "spent", "--id", "visit", "--into", tmp_path, "--json",
        "--no-population",
    )  # fmt: skip

    made = json.loads(lines[-1])
    folder = Path(made["folder"])
    assert made["kind"] == "regression"
    assert made["metric"] == "rmsle"
    assert (made["split"], made["split_column"]) == ("time", "day")
    assert (made["rows"], made["left_out"], made["entries"]) == (299, 1, 1)
    assert "1 rows without 'spent' are left out" in lines
    assert asyncio.run(failed_checks(folder)) == []
    public = prepare(spec.load(folder)).public
    train, test = pd.read_csv(public / "train.csv"), pd.read_csv(public / "test.csv")
    assert train["day"].max() < test["day"].min()
    assert set(train["visit"]) | set(test["visit"]) == set(table["visit"]) - {table["visit"][7]}


def test_a_group_split_keeps_groups_together(csv: Path, tmp_path: Path) -> None:
    lines = run_new(
        "pages", "--from", csv, "--target", "pages", "--metric", "quadratic_kappa",
        "--split", "group:shop", "--into", tmp_path, "--no-population",
    )  # fmt: skip

    folder = tmp_path / "pages"
    assert lines[:3] == [
        "kind: multiclass classification ('pages' has 7 distinct whole numbers, each many times)",
        "metric: quadratic_kappa (as requested)",
        "split: group by 'shop' (as requested)",
    ]
    public = prepare(spec.load(folder)).public
    train, test = pd.read_csv(public / "train.csv"), pd.read_csv(public / "test.csv")
    assert not set(train["shop"]) & set(test["shop"])
    assert 0.6 < len(train) / ROWS < 0.8
    nbformat.validate(nbformat.read(folder / "solution.ipynb", as_version=4))


def test_a_regression_metric_changes_the_kind(table: pd.DataFrame) -> None:
    text = table.astype(str)

    chosen = design("pages", Path("t.csv"), text, target="pages", metric="mae", split="random")

    assert (chosen.kind, chosen.why_kind) == (
        "regression",
        "mae compares numbers, and 'pages' has them",
    )


@pytest.mark.docker
def test_the_pipelines_accept_a_column_of_distinct_texts(
    csv: Path, table: pd.DataFrame, tmp_path: Path
) -> None:
    many = pd.concat([table] * 3, ignore_index=True).drop(columns=["what", "spent"])
    many["name"] = [f"person {number}" for number in range(len(many))]
    many["pages"] += many.index  # no two rows are the same
    many.to_csv(csv, index=False)
    run_new("named", "--from", csv, "--target", "bought", "--into", tmp_path, "--no-population")
    names = ("constant", "naive-bayes-bins", "histogram-boosting", "xgboost", "lightgbm")

    found = asyncio.run(
        run_reference_pipelines(spec.load(tmp_path / "named"), "docker", only=names)
    )

    assert {entry.entry for entry in found.entries} == set(names)


@pytest.mark.docker
@pytest.mark.skipif(
    "KERNEL_ENV_TEST_POPULATIONS" not in os.environ,
    reason="fits thirty pipelines; set KERNEL_ENV_TEST_POPULATIONS to run it",
)
def test_the_pipelines_write_a_leaderboard_that_the_solution_fits(
    csv: Path, table: pd.DataFrame, tmp_path: Path
) -> None:
    table.drop(columns=["bought", "spent"]).to_csv(csv, index=False)

    async def run_solution(folder: Path) -> Finding:
        async with Grader() as grader:
            (found,) = await board.check_solution(spec.load(folder), "docker", grader)
        return found

    lines = run_new(
        "wanted", "--from", csv, "--target", "what", "--into", tmp_path, "--split", "random"
    )

    assert lines[1] == "metric: accuracy (the largest class has 41 % of the rows)"
    assert lines[-5] == f"{tmp_path}/wanted: leaderboard.csv has 30 entries"
    assert len(spec.load(tmp_path / "wanted").leaderboard.public) == 30
    assert asyncio.run(run_solution(tmp_path / "wanted")).text.startswith("it scores 0.")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("Visits --from CSV --target bought", "the name 'Visits' must consist of small letters"),
        ("v --from /nowhere.csv --target bought", "/nowhere.csv cannot be read: No such file"),
        ("v --from /etc/passwd --target bought", "/etc/passwd has an unknown format; give a table"),
        ("v --from BAD.csv.xz --target bought", "BAD.csv.xz is no table: "),
        ("v --from ONE.csv --target a", "only one column found, 'a'; is the separator a comma?"),
        ("v --from CSV --target nope", "--target: the table has no column 'nope'; it has visit, "),
        ("v --from CSV --target bought --id nope", "--id: the table has no column 'nope'"),
        ("v --from CSV --target bought --id bought", "--id and --target are both 'bought'"),
        ("v --from CSV --target bought --id shop", "--id: 'shop' has 0 missing and 275 repeated"),
        ("v --from CSV --target bought --metric luck", "no metric named 'luck'; known: accuracy"),
        (
            "v --from CSV --target bought --metric rmse",
            "--metric rmse does not fit 'bought', a bin",
        ),
        ("v --from CSV --target spent --metric roc_auc", "--metric roc_auc does not fit 'spent'"),
        ("v --from CSV --target spent --metric map@3", "--metric map@3 scores lists; write such"),
        ("v --from CSV --target spent --metric mape", "--metric mape divides by 'spent', which is"),
        ("v --from CSV --target day", "'day' has 86 distinct texts in 300 rows; classes need at"),
        ("v --from CSV --target bought --split half", "--split is 'half'; give random, group:"),
        ("v --from CSV --target bought --split group:nope", "--split: the table has no column"),
        (
            "v --from CSV --target bought --split group:device",
            "'device' has 3 distinct values; a split",
        ),
        (
            "v --from CSV --target bought --split time:device",
            "not all values of 'device' are timestamps; write them as",
        ),
        ("v --from CSV --target bought --split time:bought", "'bought' is the id or the target"),
        ("v --from SHORT.csv --target bought", "has 50 rows with a 'bought'; a task needs at"),
        ("v --from RARE.csv --target what", "the class 'stone' has 3 rows; each class needs at"),
        ("v --from SAME.csv --target bought", "'bought' is 'no' in every row; there is no task"),
        ("t --from CSV --target bought", "exists already; remove it, or choose another name"),
        ("v --from CSV --target bought --into /proc/x", "/proc/x cannot be written: "),
    ],
)
def test_invalid_input_gives_one_line_and_no_folder(
    csv: Path, table: pd.DataFrame, tmp_path: Path, argv: str, message: str
) -> None:
    (tmp_path / "t" / "t").mkdir(parents=True)
    (tmp_path / "BAD.csv.xz").write_bytes(b"no archive")
    (tmp_path / "ONE.csv").write_text("a\n1\n")
    table[:50].to_csv(tmp_path / "SHORT.csv", index=False)
    rare = table["what"].where(table.index > 2, "stone")
    table.assign(what=rare).to_csv(tmp_path / "RARE.csv", index=False)
    table.assign(bought="no").to_csv(tmp_path / "SAME.csv", index=False)
    words = argv.replace("CSV", str(csv)).split()
    words = [
        str(tmp_path / w) if w.endswith((".csv", ".xz")) and "/" not in w else w for w in words
    ]
    words += [] if "--into" in words else ["--into", str(tmp_path / "t")]

    with pytest.raises(UsageError) as caught:
        run_new(*words, "--no-population")

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path.name for path in (tmp_path / "t").iterdir()] == ["t"]


def test_an_unsuitable_split_leaves_no_folder(
    csv: Path, table: pd.DataFrame, tmp_path: Path
) -> None:
    late = np.where(table["day"] > "2024-03-20", "late", "early")
    table.assign(bought=late).to_csv(csv, index=False)

    with pytest.raises(KernelEnvError) as caught:
        run_new(
            "late", "--from", csv, "--target", "bought", "--into", tmp_path / "t", "--no-population"
        )

    assert isinstance(caught.value, TaskError)
    assert str(caught.value) == (
        "the time split leaves the part train without the class '1'; choose another --split"
    )
    assert list((tmp_path / "t").iterdir()) == []
