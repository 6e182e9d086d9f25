"""A line with noise: y = 3 x + noise."""

from pathlib import Path

import numpy as np
import pandas as pd


def prepare(raw: Path, public: Path, private: Path) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"id": np.arange(200), "x": rng.normal(size=200).round(6)})
    table["y"] = (3 * table.x + rng.normal(scale=0.1, size=200)).round(6)
    train, test = table[:140], table[140:].reset_index(drop=True)
    train.to_csv(public / "train.csv", index=False)
    test.drop(columns="y").to_csv(public / "test.csv", index=False)
    test.assign(y=0.0)[["id", "y"]].to_csv(public / "sample_submission.csv", index=False)
    usage = np.where(test.index % 3 == 0, "Public", "Private")
    test.assign(Usage=usage)[["id", "y", "Usage"]].to_csv(private / "answers.csv", index=False)
