
from pathlib import Path
from mlebench.utils import extract, read_csv


def prepare(raw: Path, public: Path, private: Path):
    extract(raw / "table.zip", raw)
    rows = read_csv(raw / "table.csv")
    rows[:30].to_csv(public / "train.csv", index=False)
    rows[30:].drop(columns="y").to_csv(public / "test.csv", index=False)
    rows[30:][["id", "y"]].to_csv(private / "test.csv", index=False)
    rows[30:][["id"]].assign(y=0.5).to_csv(public / "sampleSubmission.csv", index=False)
