"""Check the tasks that the repository contains."""

import json

import pandas as pd
import pytest

from kernel_env.tasks import catalog
from kernel_env.tasks.prepare import prepare
from support.embedded_tasks import EMBEDDED


@pytest.mark.parametrize("name", EMBEDDED)
def test_an_embedded_task_is_complete_and_hides_its_answers(name: str) -> None:
    task = catalog.find(name)
    prepared = prepare(task)

    public = {path.name for path in prepared.public.iterdir()}
    assert public >= {"train.csv", "test.csv", "sample_submission.csv", "description.md"}
    header = (prepared.public / "test.csv").read_text().partition("\n")[0].split(",")
    assert not set(task.scoring.schema.target_columns) & set(header)
    assert prepared.answers.parent.name == "private"
    assert prepared.answers.parent not in prepared.public.parents
    assert len(task.leaderboard.public) >= 20
    assert (task.folder / "NOTICE").stat().st_size > 200
    for path in (task.solution, *task.other_solutions.values()):
        names = [cell["id"] for cell in json.loads(path.read_text())["cells"]]
        assert len(set(names)) == len(names), f"{path.name} has a cell id twice"


@pytest.mark.parametrize("name", EMBEDDED)
def test_no_row_is_both_in_train_and_in_test(name: str) -> None:
    task = catalog.find(name)
    prepared = prepare(task)
    train = pd.read_csv(prepared.public / "train.csv", dtype=str)
    test = pd.read_csv(prepared.public / "test.csv", dtype=str)
    answers = pd.read_csv(prepared.answers, dtype=str)

    features = [c for c in test.columns if c != "id"]
    if features:  # some tasks keep the features in separate files
        assert train[features].merge(test[features].drop_duplicates(), on=features).empty
    assert not set(train["id"]) & set(test["id"])
    assert set(test["id"]) == set(answers["id"])
    assert set(answers["Usage"]) == {"Public", "Private"}
    assert 0.25 < (answers["Usage"] == "Public").mean() < 0.35
