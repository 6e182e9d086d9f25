"""Check that the error for a wrong task folder names the file and the field."""

from pathlib import Path

import pytest

from kernel_env.errors import TaskError
from kernel_env.tasks import spec
from support.files import replace_text


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("task.toml", 'id = "tiny"', 'id = "huge"', "the field id is 'huge'"),
        ("task.toml", 'image = "base"', "", "the field image is wrong: field required"),
        ("task.toml", "limit_mb = 1", 'limit_mb = "much"', "submission.limit_mb is wrong"),
        ("task.toml", "limit_mb = 1", "limit_mb = -1", "submission.limit_mb is wrong"),
        (
            "task.toml",
            'name = "rmse"',
            'name = "luck"',
            "metric.name is wrong: no metric named 'luck'",
        ),
        ("task.toml", 'name = "rmse"', 'name = "grade.py"', "metric.higher_is_better is missing"),
        ("task.toml", "steps = 30", "stepz = 30", "limits.stepz is wrong: extra inputs"),
        (
            "task.toml",
            "[resources]",
            "[resources]\ngpu = 1",
            "resources.gpu is wrong: extra inputs",
        ),
        ("task.toml", 'id_columns = ["id"]', "", "submission.id_columns is missing"),
        ("task.toml", 'target_columns = ["y"]', "", "submission.target_columns is missing"),
        ("task.toml", "[metric]", "[metric", "is not TOML"),
        ("leaderboard.csv", "0.11,0.11", "low,0.11", "public_score is 'low'"),
    ],
)
def test_an_error_names_the_file_and_the_field(
    task_folder: Path, file: str, old: str, new: str, message: str
) -> None:
    replace_text(task_folder / file, old, new)

    with pytest.raises(TaskError) as caught:
        spec.load(task_folder)

    assert message in str(caught.value)
    assert str(task_folder / file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "file", ["task.toml", "description.md", "prepare.py", "leaderboard.csv", "NOTICE"]
)
def test_a_missing_file_is_named(task_folder: Path, file: str) -> None:
    (task_folder / file).unlink()

    with pytest.raises(TaskError, match=f"{file} is missing"):
        spec.load(task_folder)
