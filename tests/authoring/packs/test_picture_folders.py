"""A pack makes a task of pictures in files, whose class is in their path."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from kernel_env.audit.task.run_checks import check_data, open_folder
from kernel_env.cli import app
from kernel_env.grading.host import Grader
from kernel_env.tasks import catalog, spec
from kernel_env.tasks.prepare import prepare
from support.wheels import make_wheel, sha256

PACK = """\
[pack]
name = "painted"
version = "1"

[wheel.paint]
version = "1.0"
sha256 = "{wheel}"

[task.paint-colour]
from = [{{wheel = "paint", file = "paint/*.png", reader = "pictures", pattern = {pattern}, sha256 = "{files}"}}]
map = {{colour = {{crimson = "red"}}}}
target = "colour"
metric = "accuracy"
licence = "MIT (METADATA of the package paint)"
source = "Made for tests."
summary = "Which colour a picture has."
family = "paint"
topic = "art"
question = "picture-class"
"""
PATTERN = "'paint/(?P<colour>[a-z]+)/.+'"


def png(shade: tuple[int, int, int], random: np.random.RandomState) -> bytes:
    """Return a picture of noise around a colour."""
    noise = random.randint(-90, 90, (8, 8, 3))
    written = io.BytesIO()
    pixels = np.clip(np.array(shade) + noise, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(written, "PNG")
    return written.getvalue()


@pytest.fixture
def files() -> dict[str, bytes]:
    random = np.random.RandomState(0)
    shades = {"red": (200, 60, 60), "crimson": (200, 60, 60), "green": (60, 200, 60)}
    counts = {"red": 60, "crimson": 20, "green": 80}
    return {
        f"paint/{name}/{n:03}.png": png(shades[name], random)
        for name, count in counts.items()
        for n in range(count)
    } | {"paint/UNNAMED.png": png((0, 0, 0), random)}


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KERNEL_ENV_CACHE", str(tmp_path / "cache"))
    return tmp_path


def run_pack(folder: Path, files: dict[str, bytes], *changes: tuple[str, str]) -> str:
    """Write a wheel into the cache and a manifest, in which texts are replaced; make its task."""
    wheel = make_wheel(folder, "paint", "1.0", files)
    cached = folder / "cache" / "wheels" / f"{sha256(wheel.read_bytes())}.whl"
    cached.parent.mkdir(parents=True, exist_ok=True)
    cached.write_bytes(wheel.read_bytes())
    content = b"".join(files[name] for name in sorted(files))
    text = PACK.format(wheel=cached.stem, files=sha256(content), pattern=PATTERN)
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    manifest = folder / "pack.toml"
    manifest.write_text(text)
    done = CliRunner().invoke(app, ["tasks", "pack", str(manifest)])
    return " ".join(done.output.split())


async def test_pictures_of_a_wheel_become_a_task_of_files(
    empty_cache: Path, files: dict[str, bytes]
) -> None:
    said = run_pack(empty_cache, files)

    assert "1 made, 0 kept, 0 failed" in said
    task = spec.load(catalog.pack_folder("painted") / "paint-colour")
    prepared = prepare(task)
    train = pd.read_csv(prepared.public / "train.csv")
    assert list(train) == ["id", "file", "colour"]
    assert set(train["colour"]) == {"red", "green"}
    assert task.file.domain == "vision"
    shown = {(prepared.public / name).read_bytes() for name in train["file"]}
    assert shown <= set(files.values()) - {files["paint/UNNAMED.png"]}
    assert not train["file"].str.contains("red|green|crimson").any()
    opened = open_folder(task.folder)
    assert opened.subject is not None, opened.findings
    async with Grader() as grader:
        found = [f async for f in check_data(opened.subject, grader)]
    assert [f.text for f in found if f.verdict == "failed"] == []


@pytest.mark.parametrize(
    ("content", "changes", "message"),
    [
        (b"no picture", [], "paint/red/000.png of paint is not pictures: cannot identify image"),
        (None, [("metric =", "split = {family = 'file'}\nmetric =")], "one target and no split"),
        (None, [("metric =", "drop = ['file']\nmetric =")], "drop the column 'file', which names"),
        (None, [('"red"', '"a/b"')], "the class 'a/b' of paint/crimson/000.png cannot be the name"),
        (None, [("[a-z]", "[0-9]")], "paint/*.png of paint has no row"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(
    empty_cache: Path,
    files: dict[str, bytes],
    content: bytes | None,
    changes: list[tuple[str, str]],
    message: str,
) -> None:
    if content is not None:
        files["paint/red/000.png"] = content

    said = run_pack(empty_cache, files, *changes)

    assert message in said
    assert not (catalog.pack_folder("painted") / "paint-colour").exists()
