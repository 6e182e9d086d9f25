"""Check that the error for a wrong task folder names the file and the field."""

from pathlib import Path

import pytest

from kernel_env.errors import TaskError
from kernel_env.tasks import spec
from kernel_env.tasks.prepare import prepare
from support.files import replace_text


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("task.toml", 'id = "tiny"', 'id = "huge"', "the field id is 'huge'"),
        ("task.toml", "[metric]\nname", "[metric]\ntitle", "the field metric.name is missing"),
        ("task.toml", 'image = "base"', 'image = "No"', "the field image is wrong: string should"),
        ("task.toml", "limit_mb = 1", 'limit_mb = "much"', "submission.limit_mb is wrong"),
        ("task.toml", "limit_mb = 1", "limit_mb = -1", "submission.limit_mb is wrong"),
        (
            "task.toml",
            'name = "rmse"',
            'name = "luck"',
            "metric.name is wrong: no metric named 'luck'",
        ),
        ("task.toml", 'name = "rmse"', 'name = "grade.py"', "metric.higher_is_better is missing"),
        (
            "task.toml",
            'name = "rmse"',
            'name = "concordance"',
            "metric.column is missing; concordance needs the column of the answers with the event",
        ),
        (
            "task.toml",
            'name = "rmse"',
            'name = "rmse"\ncolumn = "x"',
            "metric.column is not for rmse",
        ),
        ("task.toml", "steps = 30", "stepz = 30", "the field limits.stepz is unknown"),
        (
            "task.toml",
            "[resources]",
            "[resources]\ngpu = 1",
            "the field resources.gpu is unknown",
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


def test_one_message_names_everything_that_is_wrong(task_folder: Path) -> None:
    (task_folder / "description.md").unlink()
    (task_folder / "task.toml").write_text(
        'id = "x"\nimage = 3\nlicense = "CC0"\n[metric]\nname = "luck"\n[submission]\nfile = ""\n'
    )
    with pytest.raises(TaskError) as fields:
        spec.load(task_folder)
    replace_text(task_folder / "task.toml", 'image = 3\nlicense = "CC0"\n', "")
    replace_text(task_folder / "task.toml", 'file = ""\n', '[raw]\n"a.csv" = "' + 64 * "0" + '"')

    with pytest.raises(TaskError) as sections:
        spec.load(task_folder)

    path = task_folder / "task.toml"
    assert str(fields.value) == (
        f"{path}: the field image is wrong: input should be a valid string;"
        " the field submission.file is wrong: string should match pattern '^[^\\n]+$';"
        " the field license is unknown;"
        f" {task_folder}/description.md is missing; a task folder needs it"
    )
    assert str(sections.value).startswith(
        f"{task_folder}/description.md is missing; a task folder needs it;"
        f" {path}: the field id is 'x'; it must be the folder's name;"
        f" {task_folder}/data/a.csv is missing; task.toml names it under [raw];"
        f" {path}: the field submission.id_columns is missing; only a task with grade.py can omit"
        f" both; {path}: the field submission.target_columns is missing; only a task with grade.py"
        f" can omit both; {path}: the field metric.name is wrong: no metric named 'luck'; known: "
    )
    assert "\n" not in str(sections.value)


def test_a_private_task_needs_only_its_metric_and_its_columns(task_folder: Path) -> None:
    for name in ("NOTICE", "leaderboard.csv"):
        (task_folder / name).unlink()
    (task_folder / "task.toml").write_text(
        '[metric]\nname = "rmse"\n[submission]\nid_columns = ["id"]\ntarget_columns = ["y"]\n'
    )

    task = spec.load(task_folder)

    assert (task.id, task.file.name, task.file.image) == ("tiny", "tiny", "tabular")
    assert task.leaderboard.public == ()
    assert prepare(task).answers.is_file()
    assert spec.missing_to_publish(task) == [
        "summary",
        "licence",
        "source",
        "expected_minutes",
        "NOTICE",
        "solution.ipynb",
        "leaderboard.csv",
    ]


@pytest.mark.parametrize("file", ["task.toml", "description.md", "prepare.py"])
def test_a_missing_file_is_named(task_folder: Path, file: str) -> None:
    (task_folder / file).unlink()

    with pytest.raises(TaskError, match=f"{file} is missing"):
        spec.load(task_folder)
