"""Call the graders and the prepare functions of other benchmarks as these call them."""

import importlib
import io
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import scipy.stats  # noqa: F401 - once, for all the processes that are forked
import sklearn.metrics  # noqa: F401

from support.originals import mlagentbench_data


class Rejected(Exception):
    """What a benchmark says where it gives no score."""


class Original(Protocol):
    """A benchmark's own code."""

    def sources(self, id_: str) -> list[Path]:
        """Return the Python files of a task's grader."""

    def description(self, id_: str) -> str:
        """Return a task's description."""

    def answers(self, id_: str) -> Path:
        """Return the path where the benchmark expects a task's answers."""

    def sample(self, id_: str) -> Path:
        """Return the path where the benchmark expects a task's sample submission."""

    def folders(self, id_: str) -> tuple[Path, Path]:
        """Return the folders of a task's public and private data."""

    def quick(self, id_: str) -> Callable[[str, str], float]:
        """Return a task's grader as a function of two texts, which raises what the grader raises."""

    def grade(self, id_: str, submission: Path) -> float:
        """Grade a file as the benchmark does. Raises `Rejected` if that gives no score."""


class MleBench:
    """MLE-bench; its data is below `data`."""

    def __init__(self, checkout: Path, data: Path) -> None:
        self.home = checkout / "mlebench" / "competitions"
        self.registry = importlib.import_module("mlebench.registry").registry.set_data_dir(data)
        self.utils = importlib.import_module("mlebench.utils")

    def sources(self, id_: str) -> list[Path]:
        return [*self.home.joinpath(id_).glob("*.py"), self.home / "utils.py"]

    def description(self, id_: str) -> str:
        return str(self.registry.get_competition(id_).description)

    def answers(self, id_: str) -> Path:
        return Path(self.registry.get_competition(id_).answers)

    def sample(self, id_: str) -> Path:
        return Path(self.registry.get_competition(id_).sample_submission)

    def quick(self, id_: str) -> Callable[[str, str], float]:
        competition = self.registry.get_competition(id_)
        read, grade = self.utils.read_csv, competition.grader.grade_fn

        def score(answers: str, submission: str) -> float:
            truth: Any = read(io.StringIO(answers))
            if competition.answers.suffix == ".jsonl":
                truth = [*map(importlib.import_module("json").loads, answers.splitlines())]
            return float(grade(read(io.StringIO(submission)), truth))

        return score

    def grade(self, id_: str, submission: Path) -> float:
        competition = self.registry.get_competition(id_)
        report = importlib.import_module("mlebench.grade").grade_csv(submission, competition)
        if report.score is None:
            raise Rejected("no score")
        return float(report.score)

    def preparer(self, id_: str) -> Path:
        return self.home / id_ / "prepare.py"

    def folders(self, id_: str) -> tuple[Path, Path]:
        competition = self.registry.get_competition(id_)
        return Path(competition.public_dir), Path(competition.private_dir)

    def prepare(self, id_: str, raw: Path, public: Path, private: Path) -> None:
        competition = self.registry.get_competition(id_)
        competition.prepare_fn(raw=raw, public=public, private=private)


class MleDojo:
    """MLE-Dojo; its data is below `data`."""

    def __init__(self, checkout: Path, data: Path) -> None:
        self.home, self.data = checkout / "mledojo" / "competitions", data
        self.competitions = importlib.import_module("mledojo.competitions")

    def sources(self, id_: str) -> list[Path]:
        return [self.home / id_ / "utils" / "metric.py"]

    def description(self, id_: str) -> str:
        return (self.home / id_ / "info" / "description.txt").read_text(errors="replace")

    def answers(self, id_: str) -> Path:
        return self.data / id_ / "data" / "private" / "test_answer.csv"

    def sample(self, id_: str) -> Path:
        return self.data / id_ / "data" / "public" / "sample_submission.csv"

    def quick(self, id_: str) -> Callable[[str, str], float]:
        metric_class = self.competitions.get_metric(id_)

        def score(answers: str, submission: str) -> float:
            metric = metric_class()
            truth, given = pd.read_csv(io.StringIO(answers)), pd.read_csv(io.StringIO(submission))
            metric.validate_submission(given, truth)
            return float(metric.evaluate(truth, given))

        return score

    def grade(self, id_: str, submission: Path) -> float:
        gym = importlib.import_module("mledojo.gym.interface")
        for name in ("public/description.txt", "public_leaderboard.csv", "private_leaderboard.csv"):
            path = self.data / id_ / "data" / ("" if "/" in name else "private") / name
            if not path.exists():  # MLE-Dojo does not start without them
                path.write_bytes((self.home / id_ / "info" / path.name).read_bytes())
        found = importlib.import_module("mledojo.gym.competition").Competition(
            name=id_,
            data_dir=str(self.data / id_ / "data"),
            metric_class=self.competitions.get_metric(id_),
        )
        interface = gym.CodeExecutionInterface()
        result = interface._process_submission(found, submission, submission.parent, "raw")
        if "raw_score" not in result:
            raise Rejected(str(result))
        return float(result["raw_score"])

    def preparer(self, id_: str) -> Path:
        return self.home / id_ / "utils" / "prepare.py"

    def folders(self, id_: str) -> tuple[Path, Path]:
        return self.data / id_ / "data" / "public", self.data / id_ / "data" / "private"

    def prepare(self, id_: str, raw: Path, public: Path, private: Path) -> None:
        self.competitions.get_prepare(id_)(raw, public, private)


class DSBench:
    """DSBench's data modeling tasks; the content of its data.zip is in `data`."""

    def __init__(self, checkout: Path, data: Path) -> None:
        self.home, self.data = checkout / "data_modeling" / "evaluation", data / "data"

    def sources(self, id_: str) -> list[Path]:
        return [self.home / f"{id_}_eval.py"]

    def description(self, id_: str) -> str:
        return ""

    def answers(self, id_: str) -> Path:
        return self.data / "answers" / id_ / "test_answer.csv"

    def sample(self, id_: str) -> Path:
        return self.data / "data_resplit" / id_ / "sample_submission.csv"

    def folders(self, id_: str) -> tuple[Path, Path]:
        return self.sample(id_).parent, self.answers(id_).parent

    def quick(self, id_: str) -> Callable[[str, str], float]:
        def score(answers: str, submission: str) -> float:
            Path("answers.csv").write_text(answers)
            Path("submission.csv").write_text(submission)
            return self.run(id_, Path("answers.csv"), Path("submission.csv"))

        return score

    def grade(self, id_: str, submission: Path) -> float:
        return self.run(id_, self.answers(id_), submission)

    def run(self, id_: str, answers: Path, submission: Path) -> float:
        """Run the program as `score4each_com.py` does, and read what it writes."""
        result = Path("results") / id_ / "result.txt"
        result.parent.mkdir(parents=True, exist_ok=True)
        result.unlink(missing_ok=True)
        sys.argv = [f"{id_}_eval.py", "--answer_file", str(answers)]
        sys.argv += ["--predict_file", str(submission), "--path", "results", "--name", id_]
        runpy.run_path(str(self.home / f"{id_}_eval.py"), run_name="__main__")
        return float(result.read_text())


class MLAgentBench:
    """MLAgentBench; its checkout contains the data."""

    def __init__(self, checkout: Path, data: Path) -> None:
        self.home = checkout / "MLAgentBench" / "benchmarks"
        self.work = Path.cwd()
        mlagentbench_data.complete(self.home)
        for name in ("datasets", "ogb.nodeproppred", "torch_geometric.loader", "torchvision"):
            importlib.import_module(name)  # once, for all the processes that are forked

    def sources(self, id_: str) -> list[Path]:
        env = (path for path in self.home.joinpath(id_, "env").glob("*.py"))
        return [self.home / id_ / "scripts" / "eval.py", *env]

    def description(self, id_: str) -> str:
        return ""

    def answers(self, id_: str) -> Path:
        return self.home / id_ / "scripts" / "answer.csv"

    def sample(self, id_: str) -> Path:
        return self.work / "no_sample.csv"  # it has none

    def folders(self, id_: str) -> tuple[Path, Path]:
        return self.home / id_ / "env", self.home / id_ / "scripts"

    def quick(self, id_: str) -> Callable[[str, str], float]:
        path = Path("submission.csv").absolute()

        def score(answers: str, submission: str) -> float:
            if answers:  # some graders read other files
                self.answers(id_).write_text(answers)
            path.write_text(submission)
            return self.grade(id_, path)

        return score

    def grade(self, id_: str, submission: Path) -> float:
        folder = self.work / "final"
        folder.mkdir(exist_ok=True)
        (folder / "submission.csv").write_bytes(submission.read_bytes())
        os.chdir(self.home / id_ / "env")  # data sets that it does not find here are downloaded
        module = importlib.import_module(f"MLAgentBench.benchmarks.{id_}.scripts.eval")
        return float(module.get_score(str(folder)))


BENCHMARKS: dict[str, type[Original]] = {
    "mle-bench": MleBench,
    "mle-dojo": MleDojo,
    "dsbench": DSBench,
    "mlagentbench": MLAgentBench,
}
