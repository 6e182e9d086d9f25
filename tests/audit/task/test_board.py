"""The answers themselves must score perfectly, or no submission is ranked rightly."""

from pathlib import Path

from kernel_env.audit.task import board
from kernel_env.audit.task.task_under_test import load_tables
from kernel_env.grading.host import Grader
from kernel_env.tasks import spec
from kernel_env.tasks.prepare import prepare


async def test_answers_without_a_perfect_score_are_found(task_folder: Path) -> None:
    settings, program = task_folder / "task.toml", task_folder / "prepare.py"
    settings.write_text(settings.read_text().replace('name = "rmse"', 'name = "f1"'))
    text = program.read_text().replace("test.assign(y=0.0)", "test.assign(y=0)")
    program.write_text(text.replace("    train, test =", '    table["y"] = 0\n    train, test ='))
    task = spec.load(task_folder)

    async with Grader() as grader:
        (found,) = await board.check_oracle(load_tables(task, prepare(task)), grader)

    assert (found.verdict, found.text) == (
        "failed",
        "the answers score 0 / 0, expected 1 on both splits; check answers.csv: each split needs"
        " rows of every class",
    )
