
import shutil
from pathlib import Path
from mledojo.competitions.utils import extract, get_logger, read_csv

logger = get_logger(__name__)


def prepare(raw: Path, public: Path, private: Path):
    extract(raw / "table.zip", raw)
    rows = read_csv(raw / "table.csv")
    rows[:30].to_csv(public / "train.csv", index=False)
    rows[30:].drop(columns="y").to_csv(public / "test.csv", index=False)
    rows[30:][["id", "y"]].to_csv(private / "test_answer.csv", index=False)
    rows[30:][["id"]].assign(y=0).to_csv(public / "sample_submission.csv", index=False)
    shutil.rmtree(raw)
