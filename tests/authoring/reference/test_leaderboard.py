"""Recompute a sample of every leaderboard and compare it with the committed scores."""

import csv

import pytest

from kernel_env.authoring.reference.leaderboard import run_reference_pipelines
from kernel_env.tasks import catalog

SAMPLES = {
    "adult-income": ("constant", "two-level-tree", "logistic-numbers", "lightgbm-six-columns"),
    "image-segment": ("constant", "nearest-neighbour", "logistic-splines", "random-forest"),
    "ames-housing": ("median", "pruned-tree-log", "ridge", "ridge-log", "lightgbm-log"),
    "mnist-5k": ("neighbours", "thumbs-boosting"),
    "spam-email": ("neighbours", "statistics-boosting"),
    "parking-occupancy": ("last-week", "lightgbm"),
    "watch-exercise": ("neighbours", "lightgbm"),
    "lending-club": ("constant", "lightgbm"),
    "storm-status": ("constant", "naive-bayes-bins"),
    "flight-delay": ("constant", "lightgbm"),
    "diamonds-price": ("median", "lightgbm-six-columns"),
    "emoji-category": ("constant", "neighbours"),
    "vader-sentiment": ("constant", "common-words-linear"),
    "chinese-reviews": ("constant", "common-words-linear"),
    "bike-hourly": ("last-week", "xgboost"),
    "metro-traffic": ("last-week", "lightgbm-calendar"),
}


@pytest.mark.docker
@pytest.mark.parametrize("name", SAMPLES)
async def test_a_sample_of_the_leaderboard_is_reproducible(name: str) -> None:
    task = catalog.find(name)
    with (task.folder / "leaderboard.csv").open(newline="") as file:
        board = {row["entry"]: row for row in csv.DictReader(file)}

    entries = await run_reference_pipelines(task, "docker", only=SAMPLES[name])

    assert {entry.entry for entry in entries} == set(SAMPLES[name])
    for entry in entries:
        row = board[entry.entry]
        assert entry.public_score == float(row["public_score"])
        assert entry.private_score == float(row["private_score"])
    assert [e.public_score for e in entries] == sorted(
        (e.public_score for e in entries), reverse=task.scoring.higher_is_better
    )
