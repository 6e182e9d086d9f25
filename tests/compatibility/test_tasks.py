"""Submissions and imported tasks of version 0.1 are graded as they were."""

import ast
import json
import re
import shutil
import tomllib
import zipfile
from pathlib import Path

import pytest

from kernel_env.errors import SubmissionError, TaskError
from kernel_env.grading.host import Grader
from kernel_env.tasks import catalog
from kernel_env.tasks.prepare import grading_spec, prepare, prepared_folder
from support.v01 import ALL, EPISODES, IMPORTED, SCORES, entries, run_main


async def test_kept_submissions_have_the_grades_that_were_given() -> None:
    graded = 0
    async with Grader() as grader:
        for name in ALL:
            (header,) = entries(name, "header")
            task = catalog.find(header["task"])
            ready = prepare(task)
            assert ready.public.parent.name == header["task_version"], "caches go on being used"
            endings = {ending["chosen_step"]: ending for ending in entries(name, "ending")}
            for step in entries(name, "step"):
                submission = step["outcome"].get("submission")
                if submission is None or submission["kind"] != "graded":
                    continue
                kept = EPISODES / name / "submissions" / f"step-{step['number']:04d}.csv"
                data, marks = kept.read_bytes(), grading_spec(task, ready)
                scores = await grader.grade(data, marks, ("Public", "Private"))
                grade = submission["grade"]
                assert scores.public == pytest.approx(grade["public_score"], rel=1e-12)
                up = task.scoring.higher_is_better
                place = task.leaderboard.place(grade["public_score"], "Public", higher_is_better=up)
                assert place is not None
                assert place.position == grade["public"]["position"]
                if ending := endings.get(step["number"]):
                    private = ending["grade"]["private_score"]
                    assert scores.private == pytest.approx(private, rel=1e-12)
                graded += 1
    assert graded > 20


@pytest.fixture
def imported(tmp_path: Path) -> Path:
    """The folders that the old importer made, and the checkouts that they point to."""
    checkouts = tmp_path / "checkouts"
    shutil.copytree(IMPORTED / "checkouts", checkouts)
    for path, files in json.loads((IMPORTED / "archives.json").read_text()).items():
        (checkouts / path).parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(checkouts / path, "w") as packed:
            for name, text in files.items():
                packed.writestr(name, text)
    folder = Path(shutil.copytree(IMPORTED / "tasks", tmp_path / "tasks"))
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_text(path.read_text().replace("@CHECKOUT@", str(checkouts)))
    return folder


async def test_tasks_that_were_imported_prepare_and_grade_as_they_did(imported: Path) -> None:
    assert sorted(path.name for path in imported.iterdir()) == sorted(SCORES["tasks"])
    async with Grader() as grader:
        for name, old in SCORES["tasks"].items():
            task = catalog.find(str(imported / name))
            if "error" in old:
                with pytest.raises(TaskError, match=re.escape(old["message"])):
                    prepare(task)
                continue
            ready = prepare(task)
            assert ready.public.parent == prepared_folder(task)
            made = {
                str(path.relative_to(ready.public)): path.read_text()
                for path in ready.public.rglob("*")
                if path.is_file()
            }
            assert made == old["public"]
            private = ready.public.with_name("private")
            assert sorted(path.name for path in private.iterdir()) == old["private"]
            for which, expected in old["scores"].items():
                data = SCORES["submissions"][which].encode()
                try:
                    scores = await grader.grade(
                        data, grading_spec(task, ready), ("Public", "Private")
                    )
                    found = {"public": scores.public, "private": scores.private}
                except SubmissionError:
                    found = {"refused"}
                assert found == ({"refused"} if "refused" in expected else expected), (name, which)


def code_of(source: str) -> str:
    """Return the code without docstring, comments, and the module that it imports from."""
    tree = ast.parse(re.sub(r"from kernel_env\S* import", "from kernel_env import", source))
    return ast.unparse(ast.Module(body=tree.body[1:], type_ignores=[]))


def facts_of(source: str) -> dict[str, object]:
    """Return a task.toml without its prose, which says what to do next, and without Kaggle's name
    of it, which tasks with capital letters have only now."""
    facts = tomllib.loads(source)
    facts["origin"].pop("todo")
    facts["origin"].pop("kaggle", None)
    return facts


def test_the_importer_makes_the_same_folders(imported: Path, tmp_path: Path) -> None:
    checkouts, again = tmp_path / "checkouts", tmp_path / "again"

    def here(text: str) -> str:
        return text.replace("@CHECKOUT@", str(checkouts)).replace("@TASKS@", str(again))

    for call in json.loads((IMPORTED / "import.json").read_text()):
        said = run_main("tasks", "import", *map(here, call["arguments"]), "--into", again, "--json")
        rows = [json.loads(line) for line in said.splitlines()]
        assert rows == json.loads(here(json.dumps(call["rows"])))

    assert sorted(p.name for p in again.iterdir()) == sorted(p.name for p in imported.iterdir())
    for path in sorted(p for p in imported.rglob("*") if p.is_file()):
        made = (again / path.relative_to(imported)).read_text()
        if path.name in ("NOTICE", "description.md"):  # prose may change
            continue
        if path.name == "task.toml":
            assert facts_of(made) == facts_of(path.read_text())
            continue
        if path.suffix == ".py":
            assert code_of(made) == code_of(path.read_text())
        else:
            assert made == path.read_text()
