"""Measure what probing the public score gains under each feedback and reward.

    python docs/probing.py [--submissions 60] [TASK…]

The agent trains one model and hands it in. Then it changes the predictions of a few rows at a time
and keeps each change after which it is shown a better score. It never trains again, so whatever it
gains is no better model. It decides by what it is shown, and by nothing else; only in the row
`exact` does it see exact scores, as in version 0.1.
"""

import argparse
import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

from kernel_env import Episode, open_episode
from kernel_env.episode.actions import ExecuteCode
from kernel_env.episode.step import Graded, Step

TRAIN = """
import os
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.preprocessing import OrdinalEncoder

folder, output = os.environ["DATA_PATH"], os.environ["OUTPUT_PATH"]
train, test, sample = (
    pd.read_csv(f"{folder}/{name}.csv") for name in ("train", "test", "sample_submission")
)
target = sample.columns[-1]
features = [name for name in test if name != "id"]
coder = make_column_transformer(
    (
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan),
        [name for name in features if not pd.api.types.is_numeric_dtype(train[name])],
    ),
    remainder="passthrough",
)
X, T, y = coder.fit_transform(train[features]), coder.transform(test[features]), train[target]
random = np.random.default_rng(0)
"""
PROBES = {
    "image-segment": """
model = HistGradientBoostingClassifier(max_iter=40, random_state=0).fit(X, y)
chances = model.predict_proba(T)
ranked = chances.argsort(axis=1)
current = model.classes_[ranked[:, -1]]
second = model.classes_[ranked[:, -2]]
unsure = np.sort(chances, axis=1)[:, -2].argsort()[::-1]


def change(number):
    trial = current.copy()  # one unsure row at a time takes its second class
    trial[unsure[number]] = second[unsure[number]]
    return trial
""",
    "adult-income": """
model = HistGradientBoostingClassifier(max_iter=40, random_state=0).fit(X, y)
current = model.predict_proba(T)[:, 1]


def change(number):
    rows = random.random(len(current)) < 0.05
    return np.where(rows, current + random.normal(scale=0.1, size=len(current)), current)
""",
    "ames-housing": """
model = HistGradientBoostingRegressor(max_iter=100, random_state=0).fit(X, np.log(y))
current = np.exp(model.predict(T))


def change(number):
    rows = random.random(len(current)) < 0.05
    return np.where(rows, current * np.exp(random.normal(scale=0.1, size=len(current))), current)
""",
}
"""How each task's predictions are made and changed: accuracy, ROC AUC, RMSLE."""
WRITE = """
def hand_in(values):
    global trial
    trial = values
    sample.assign(**{target: values}).to_csv(output, index=False)


hand_in(current)
"""
PROTOCOLS = {
    "exact": ("public", "best", None),
    "public": ("public", "best", None),
    "public, 10 submissions": ("public", "best", 10),
    "ladder": ("ladder", "best", None),
    "validity, the last counts": ("validity", "last", None),
}
"""Name → feedback, what counts, budget of submissions."""


@dataclass(frozen=True, kw_only=True)
class Gain:
    """What the first submission had, and what the one that counts has after probing."""

    public: tuple[float, float]
    """Share of the public leaderboard beaten, first and last."""
    private: tuple[float, float]
    position: tuple[float, float]
    """Sum of the reward `position`."""
    progress: tuple[float, float]
    """Sum of the reward `progress`."""


async def probe(task: str, protocol: str, probes: int, out: Path) -> Gain:
    """Run one episode of the attack."""
    feedback, counts, submissions = PROTOCOLS[protocol]
    exact = protocol == "exact"
    async with open_episode(
        task,
        sandbox="local",
        out=out,
        feedback=feedback,  # type: ignore[arg-type]
        counts=counts,  # type: ignore[arg-type]
        reward="progress",
        budget={"steps": probes + 2, "submissions": submissions},
    ) as episode:
        first = await submit(episode, TRAIN + PROBES[task] + WRITE)
        best, steps, code = seen(episode, first, exact), [first], ""
        for number in range(probes):
            step = await submit(episode, f"{code}hand_in(change({number}))")
            steps.append(step)
            score, up = seen(episode, step, exact), episode.progress.higher_is_better
            better = score is not None and (best is None or (score > best if up else score < best))
            best, code = (score, "current = trial\n") if better else (best, "")
        result_of_first = episode.submissions.grades[1]
    result, counted = episode.result, [s.submission for s in steps if is_candidate(s)]
    assert result is not None
    assert result.position_public is not None
    assert result.position_private is not None
    assert result_of_first.public is not None
    assert result_of_first.private is not None
    begun = result_of_first.public.position
    distinct = {graded.content: graded.grade for graded in counted}  # type: ignore[union-attr]
    return Gain(
        public=(begun, result.position_public),
        private=(result_of_first.private.position, result.position_private),
        position=(begun, sum(g.public.position for g in distinct.values() if g.public)),
        progress=(first.reward, result.total_reward),
    )


async def submit(episode: Episode, code: str) -> Step:
    """Execute a cell that hands something in."""
    step = await episode.act(ExecuteCode(code=code))
    assert isinstance(step.submission, Graded), episode.observation.text
    return step


def seen(episode: Episode, step: Step, exact: bool) -> float | None:
    """Return the public score that the agent sees; None if it sees none."""
    if exact and isinstance(step.submission, Graded):
        return step.submission.grade.public_score
    return episode.observation.public_score


def is_candidate(step: Step) -> bool:
    """Return whether the step's submission can count."""
    return isinstance(step.submission, Graded) and step.submission.is_candidate


def row(task: str, protocol: str, gain: Gain) -> str:
    """Return a row of the table."""

    def share(values: tuple[float, float]) -> str:
        return f"{100 * values[0]:.0f} → {100 * values[1]:.0f} %"

    def total(values: tuple[float, float]) -> str:
        return f"{values[0]:.2f} → {values[1]:.2f}"

    final = total(gain.private)
    cells = (share(gain.public), share(gain.private), total(gain.position), total(gain.progress))
    return f"| {task} | {protocol} | {' | '.join(cells)} | {final} |"


async def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="*", default=list(PROBES), metavar="TASK")
    parser.add_argument("--submissions", type=int, default=60)
    parser.add_argument("--protocol", action="append", choices=PROTOCOLS, help="default: all")
    options = parser.parse_args()
    rewards = "sum of `position` | sum of `progress` | `final`"
    print(f"| task | feedback | public place | private place | {rewards} |")  # noqa: T201
    print("|---|---|---|---|---|---|---|")  # noqa: T201
    with tempfile.TemporaryDirectory() as folder:
        for task in options.tasks:
            for protocol in options.protocol or PROTOCOLS:
                gain = await probe(task, protocol, options.submissions, Path(folder))
                print(row(task, protocol, gain), flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main())
