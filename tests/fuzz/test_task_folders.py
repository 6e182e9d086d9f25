"""A task folder by anybody is loaded and prepared, or is one clear error."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kernel_env.errors import SubmissionError, TaskError
from kernel_env.grading.host import Grader
from kernel_env.tasks import spec
from kernel_env.tasks.prepare import grading_spec, prepare
from support.fuzz import examples
from support.hostile_text import is_clean
from support.mutations import changed, damaged_bytes, paths

FUZZ = settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
TINY = Path(__file__).parents[1] / "support" / "tiny"
BOARD = b"entry,kind,public_score,private_score,seed,runtime_s\na,reference,0.5,0.25,0,1\n"
CONTENT: dict[str, Any] = {
    "id": "tiny",
    "name": "Tiny",
    "metric": {"name": "rmse"},
    "submission": {"id_columns": ["id"], "target_columns": ["y"], "file": "submission.csv"},
    "limits": {"steps": 30, "seconds": 300, "memory_gb": 1, "cpus": 0.5},
    "resources": {"gpus": 0, "libraries": ["numpy.random"]},
    "raw": {"a.csv": "0" * 64},
}
VALUES = (
    st.booleans()
    | st.sampled_from([0, -1, 10**30, 1e308, float("inf"), float("nan"), [], {}])
    | st.sampled_from(["grade.py", "../..", "/etc/passwd", "a\0b", "a\nb", "\x1b[2J", "\u202e"])
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
)
FILES = ["task.toml", "description.md", "leaderboard.csv", "prepare.py", "data", "grade.py"]


def toml(value: Any) -> str:
    """Return a value as TOML, tables as inline tables."""
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f"{text_of(key)} = {toml(item)}" for key, item in value.items()) + "}"
        )
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return text_of(value) if isinstance(value, str) else str(value).lower()


def text_of(text: str) -> str:
    """Return a string as TOML writes it."""
    return json.dumps(text, ensure_ascii=True).replace("\x7f", "\\u007f") if bmp(text) else '"x"'


def bmp(text: str) -> bool:
    """Return whether JSON writes a text without surrogate pairs, which TOML does not have."""
    return all(ord(character) < 0x10000 for character in text)


@st.composite
def task_files(draw: st.DrawFn) -> bytes:
    """Draw a task.toml in which some values are others, or with damaged bytes."""
    content = CONTENT
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([found for found in paths(content) if found]))
        content = changed(content, path, draw(VALUES), delete=draw(st.booleans()))
    data = "".join(f"{text_of(key)} = {toml(value)}\n" for key, value in content.items()).encode()
    return draw(damaged_bytes(data)) if draw(st.booleans()) else data


def check_message(error: Exception) -> None:
    """Check that an error is one line."""
    assert is_clean(str(error), allowed="")


def load_or_refuse(folder: Path) -> spec.Task | None:
    """Load a folder; None if it is refused, with a message of one line."""
    try:
        return spec.load(folder)
    except TaskError as error:
        check_message(error)
        return None


def copy_of_tiny(tmp_path: Path) -> Path:
    """Return a fresh copy of the tiny task in a folder of that name."""
    return Path(shutil.copytree(TINY, Path(tempfile.mkdtemp(dir=tmp_path)) / "tiny"))


@given(data=task_files())
@example(data=b"a = " + b"[" * 5_000)
@example(data=b"a = " + b"9" * 5_000)
@example(data=b'[metric]\nname = "rmse"\n[submission]\n"\\u001b[2J" = 1\n')
@FUZZ
def test_any_task_file(tmp_path: Path, data: bytes) -> None:
    folder = copy_of_tiny(tmp_path)
    (folder / "task.toml").write_bytes(data)

    load_or_refuse(folder)


@given(data=damaged_bytes(BOARD))
@example(data=b"entry,kind\n\xff,\0\n")
@example(data=BOARD + b'"' + b"x" * 200_000)
@FUZZ
def test_any_leaderboard(tmp_path: Path, data: bytes) -> None:
    folder = copy_of_tiny(tmp_path)
    (folder / "leaderboard.csv").write_bytes(data)

    task = load_or_refuse(folder)

    if task is not None:
        for split in ("Public", "Private"):
            task.leaderboard.place(0.3, split, higher_is_better=False)


def as_folder(path: Path) -> None:
    path.mkdir()


def as_fifo(path: Path) -> None:
    os.mkfifo(path)


def as_loop(path: Path) -> None:
    path.symlink_to(path.name)


def as_other_encoding(path: Path) -> None:
    path.write_bytes("é".encode("latin-1"))


def as_nothing(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("make", [as_folder, as_fifo, as_loop, as_other_encoding, as_nothing])
def test_a_file_of_another_kind(tmp_path: Path, name: str, make: Callable[[Path], None]) -> None:
    folder = copy_of_tiny(tmp_path)
    (folder / name).unlink(missing_ok=True)
    make(folder / name)

    load_or_refuse(folder)


PREPARE = """
def prepare(raw, public, private):
    (public / "sample_submission.csv").write_bytes({sample!r})
    (private / "answers.csv").write_bytes({answers!r})
"""
SAMPLE = b"id,y\n1,0\n2,0\n"
ANSWERS = b"id,y,Usage\n1,0.5,Public\n2,0.25,Private\n"


@given(sample=damaged_bytes(SAMPLE) | st.just(SAMPLE), answers=damaged_bytes(ANSWERS))
@example(sample=b"\xff\xfe\n", answers=ANSWERS)
@example(sample=SAMPLE, answers=b"id,y,Usage\n1,0.5,Public\n2,\xff,Private\n")
@example(sample=SAMPLE, answers=b"id,y,Usage\n1,0.5,Public\n\0,1,Private\n")
@settings(FUZZ, max_examples=examples(3))
async def test_whatever_a_prepare_function_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample: bytes, answers: bytes
) -> None:
    folder = copy_of_tiny(tmp_path)
    monkeypatch.setenv("KERNEL_ENV_CACHE", str(folder.parent / "cache"))
    (folder / "prepare.py").write_text(PREPARE.format(sample=sample, answers=answers))
    task = spec.load(folder)

    try:
        prepared = prepare(task)
        async with Grader() as grader:
            await grader.grade(SAMPLE, grading_spec(task, prepared), ("Public", "Private"))
    except (TaskError, SubmissionError) as error:
        check_message(error)


@pytest.mark.parametrize(
    "program",
    [
        "raise ValueError('\\x1b[2J\\n\\u202e')",
        "import sys; sys.stderr.buffer.write(b'\\xff\\x1b]0;x\\x07'); raise SystemExit(3)",
        "import os; os._exit(0)",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "def prepare(raw, public, private): public.rmdir()",
        "def prepare(raw, public, private): (public / 'sample_submission.csv').symlink_to('/')",
        "def prepare(): pass",
        "prepare = 1",
        "(",
        "\0",
    ],
)
def test_a_prepare_function_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    folder = copy_of_tiny(tmp_path)
    monkeypatch.setenv("KERNEL_ENV_CACHE", str(tmp_path / "cache"))
    (folder / "prepare.py").write_text(program)

    with pytest.raises(TaskError) as error:
        prepare(spec.load(folder))

    check_message(error.value)
    assert list((tmp_path / "cache").glob("tasks/*")) == []
