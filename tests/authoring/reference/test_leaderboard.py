"""Recompute a sample of every leaderboard and compare it with the committed scores."""

import csv

import pytest

from kernel_env.authoring.reference.leaderboard import run_reference_pipelines
from kernel_env.tasks import catalog

ONE_OF_EACH_DOMAIN_AND_KIND = {
    "adult-income": ("constant", "two-level-tree", "logistic-numbers", "lightgbm-six-columns"),
    "image-segment": ("constant", "nearest-neighbour", "logistic-splines", "random-forest"),
    "ames-housing": ("median", "pruned-tree-log", "ridge", "ridge-log", "lightgbm-log"),
    "mnist-5k": ("neighbours", "thumbs-boosting"),
    "spam-email": ("neighbours", "statistics-boosting"),
    "disease-chapter": ("constant", "common-words-linear"),
    "vader-sentiment": ("constant", "common-words-linear"),
    "parking-occupancy": ("last-week", "lightgbm"),
    "watch-exercise": ("neighbours", "lightgbm"),
}
MORE = {
    "lending-club": ("constant", "lightgbm"),
    "storm-status": ("constant", "naive-bayes-bins"),
    "flight-delay": ("constant", "lightgbm"),
    "diamonds-price": ("median", "lightgbm-six-columns"),
    "emoji-category": ("constant", "neighbours"),
    "chinese-reviews": ("constant", "common-words-linear"),
    "bike-hourly": ("last-week", "xgboost"),
    "metro-traffic": ("last-week", "lightgbm-calendar"),
}
SAMPLES = ONE_OF_EACH_DOMAIN_AND_KIND | MORE
BY_DEFAULT = {"parking-occupancy"}
"""The quickest: a time series. Its table is prepared for other tests as well."""


def test_a_group_of_samples_is_one_of_each_domain_and_kind() -> None:
    tasks = {name: catalog.find(name).file for name in SAMPLES}
    pairs = [(tasks[n].domain, tasks[n].kind) for n in ONE_OF_EACH_DOMAIN_AND_KIND]

    assert sorted(pairs) == sorted({(file.domain, file.kind) for file in tasks.values()})


@pytest.mark.docker
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in BY_DEFAULT else [pytest.mark.slow])
        for name in SAMPLES
    ],
)
async def test_a_sample_of_the_leaderboard_is_reproducible(name: str) -> None:
    task = catalog.find(name)
    with (task.folder / "leaderboard.csv").open(newline="") as file:
        board = {row["entry"]: row for row in csv.DictReader(file)}

    entries = (await run_reference_pipelines(task, "docker", only=SAMPLES[name])).entries

    assert {entry.entry for entry in entries} == set(SAMPLES[name])
    for entry in entries:
        row = board[entry.entry]
        assert entry.public_score == float(row["public_score"])
        assert entry.private_score == float(row["private_score"])
    assert [e.public_score for e in entries] == sorted(
        (e.public_score for e in entries), reverse=task.scoring.higher_is_better
    )
