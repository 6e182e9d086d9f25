import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.competition import FILES
from support.files import replace_text
from support.kaggle_server import TOKEN, KaggleServer, serve


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KaggleServer]:
    """A server with one competition, and a user with a valid token, an empty cache and home."""
    home = tmp_path / "home"
    home.mkdir()
    for name in list(os.environ):
        if name.startswith("KAGGLE_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    public = [(11, "0.8"), (12, "0.9"), (13, "0.7"), (14, "")]
    private = [(12, "0.85"), (11, "0.8"), (13, "0.75"), (15, "0.1")]
    with serve(KaggleServer(files=FILES, public=public, private=private)) as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
        monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
        monkeypatch.setenv("KERNEL_ENV_CACHE", str(tmp_path / "cache"))
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder to download the competition to; it does not exist yet."""
    return tmp_path / "titanic"


@pytest.fixture
def ships(task_folder: Path) -> Path:
    """The folder of a task whose raw files and leaderboard are the competition's."""
    task_folder = task_folder.rename(task_folder.with_name("ships"))
    (task_folder / "leaderboard.csv").unlink()
    path = task_folder / "task.toml"
    replace_text(path, 'id = "tiny"', 'id = "ships"')
    path.write_text(path.read_text() + '\n[kaggle]\ncompetition = "titanic"\n')
    check = '    assert len(pd.read_csv(raw / "train.csv")) == 100\n'
    replace_text(task_folder / "prepare.py", "    rng =", check + "    rng =")
    return task_folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 600 kB."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "none", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)
