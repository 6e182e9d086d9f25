"""Create tasks from folders that hold one sub-folder of pictures or texts for each class."""

import asyncio
import csv
import runpy
from pathlib import Path

import numpy as np
import pytest

from kernel_env.audit.task import duplicates
from kernel_env.audit.task.task_under_test import TaskUnderTest, load_tables
from kernel_env.authoring.from_table import class_folders, make
from kernel_env.authoring.from_table.folder import write
from kernel_env.errors import UsageError
from kernel_env.tasks.prepare import Prepared

FILES = 60
WORDS = ["sun", "moon", "tree", "hat", "map", "run"]


def text_folder(folder: Path) -> Path:
    random = np.random.RandomState(2)
    for label in ("cat", "dog", "NA"):
        (folder / label).mkdir(parents=True)
        for n in range(FILES):
            text = " ".join(random.choice(WORDS, 9))
            (folder / label / f"{label}-{n}.txt").write_text(f"{label} {n}: {text},\n“{text}”\r\n")
    (folder / ".DS_Store").write_text("left by a file manager")
    return folder


def picture_folder(folder: Path) -> Path:
    image = pytest.importorskip("PIL.Image")
    random = np.random.RandomState(2)
    for label in ("cat", "dog"):
        (folder / label).mkdir(parents=True)
        for n in range(FILES):
            pixels = random.randint(0, 255, (12, 12 + n % 3, 3)).astype("uint8")
            suffix = "png" if n % 2 else "JPG"
            image.fromarray(pixels).save(folder / label / f"{label}-{n}.{suffix}")
    (folder / "cat" / "Thumbs.db").write_text("left by a file manager")
    return folder


def prepared(folder: Path, tmp_path: Path) -> TaskUnderTest:
    found = class_folders.read(folder, "label")
    design = class_folders.design_task("animals", folder, found, target="label")
    task = write(design, found.table, tmp_path / "animals")
    public, private = tmp_path / "public", tmp_path / "private"
    public.mkdir()
    private.mkdir()
    runpy.run_path(str(task.folder / "prepare.py"))["prepare"](task.raw, public, private)
    return load_tables(task, Prepared(public=public, answers=private / "answers.csv"))


def test_pictures_are_kept_as_files_whose_names_tell_nothing(tmp_path: Path) -> None:
    folder = picture_folder(tmp_path / "raw")

    subject = prepared(folder, tmp_path)

    assert subject.task.file.domain == "vision"
    assert subject.files == {"file": subject.public}
    pictures = sorted(path.name for path in (subject.public / "pictures").iterdir())
    assert len(pictures) == 2 * FILES
    assert not [name for name in pictures if "cat" in name or "dog" in name]
    assert subject.train is not None
    assert subject.train["label"].value_counts().to_dict() == {"0": 42, "1": 42}
    contents = {path.read_bytes() for path in folder.rglob("*-*")}
    assert {(subject.public / name).read_bytes() for name in subject.train["file"]} < contents
    assert [f.verdict for f in duplicates.check_files(subject)] == ["ok", "ok"]


def test_pictures_that_look_alike_stay_on_one_side(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    folder = picture_folder(tmp_path / "raw")
    for path in [*folder.rglob("*.png")]:
        with image.open(path) as picture:
            picture.save(path.with_suffix(".bmp"))

    subject = prepared(folder, tmp_path)

    assert [f.verdict for f in duplicates.check_files(subject)] == ["ok", "ok"]


def test_texts_become_a_column(tmp_path: Path) -> None:
    subject = prepared(text_folder(tmp_path / "raw"), tmp_path)

    assert subject.task.file.domain == "language"
    assert list(subject.sample) == ["id", "label"]
    with (subject.public / "train.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["label"] for row in rows} == {"cat", "dog", "NA"}
    assert len(rows) == 126
    assert all(row["text"].startswith(row["label"]) and row["text"].endswith("”\n") for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("build", [picture_folder, text_folder])
def test_a_folder_becomes_a_task(tmp_path: Path, build: object) -> None:
    folder = build(tmp_path / "raw")  # type: ignore[operator]
    found = class_folders.read(folder, "label")
    design = class_folders.design_task("animals", folder, found, target="label")

    made = asyncio.run(make(design, found.table, tmp_path / "tasks", with_pipelines=False))

    assert made.entries == 1


def test_a_format_that_tells_the_class_is_reported(tmp_path: Path) -> None:
    folder = picture_folder(tmp_path / "raw")
    for path in (folder / "dog").glob("*.png"):
        path.unlink()
        (folder / "cat" / path.name.replace("dog", "more")).write_bytes(path.name.encode())

    found = class_folders.read(folder, "label")
    design = class_folders.design_task("animals", folder, found, target="label")

    assert design.remarks == (
        "the format of a picture (.jpg, .png) tells something about its class; convert all to one",
    )


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "has files with no file; its sub-folders must hold either pictures (.png, .jpg"),
        (["a/1.png", "b/2.txt"], "has files with .png, .txt; its sub-folders must hold either"),
        (["a/1.png", "2.png"], "raw/2.png is in no class; --from takes a folder with one sub-fol"),
        (["a/1.txt", "b/2.txt"], "raw/a/1.txt is empty; remove it"),
    ],
)
def test_a_useless_folder_gives_one_line(tmp_path: Path, files: list[str], message: str) -> None:
    (tmp_path / "raw").mkdir()
    for name in files:
        (tmp_path / "raw" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "raw" / name).touch()

    with pytest.raises(UsageError) as caught:
        class_folders.read(tmp_path / "raw", "label")

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
