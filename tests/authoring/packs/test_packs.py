"""A pack makes tasks out of wheels, resumes, and says in one line what is wrong with them."""

import os
import pickle
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kernel_env import select_tasks
from kernel_env.audit.task.run_checks import check_data, open_folder
from kernel_env.authoring.packs.sets import side
from kernel_env.cli import app
from kernel_env.errors import UsageError
from kernel_env.grading.host import Grader
from kernel_env.tasks import catalog, spec
from support.little_pack import CSV, run_pack, write_pack
from support.wheels import make_wheel, sha256


async def test_a_pack_makes_sound_tasks_and_resumes(index: Path) -> None:
    path = write_pack(index)

    code, said = run_pack(path, "--jobs", "2")

    assert (code, said.splitlines()[-1].partition(";")[0]) == (
        0,
        "little: 2 made, 0 kept, 0 failed",
    )
    task = spec.load(catalog.folder_of("fruit-price"))
    assert (task.file.pack, task.file.kind, task.file.metric.name) == (
        "little",
        "regression",
        "mae",
    )
    assert "| `weight` | number, " in task.description
    assert "| grams |" in task.description
    assert "TODO" not in task.description
    assert "rownames" not in task.description
    assert "fruit 1.0" in (task.folder / "NOTICE").read_text()
    opened = open_folder(task.folder)
    assert opened.subject is not None
    async with Grader() as grader:
        failed = [f async for f in check_data(opened.subject, grader) if f.verdict == "failed"]
    assert not failed

    for wheel in index.iterdir():
        wheel.unlink()  # nothing can be downloaded any more
    assert "little: 0 made, 2 kept" in run_pack(path)[1]
    text = path.read_text().replace("its weight and price", "what it weighs and costs")
    path.write_text(text)
    code, said = run_pack(path)
    assert code == 0
    assert "1 made, 1 kept" in said


def test_only_some_tasks_are_made(index: Path) -> None:
    path = write_pack(index)

    assert "1 made" in run_pack(path, "--only", "price")[1]
    assert "1 made, 1 kept" in run_pack(path, "--only", "trade")[1]
    code, said = run_pack(path, "--only", "pride")
    assert code == 1
    assert "no task, topic or question named 'pride'; did you mean 'price'?" in said


def test_a_shipped_board_becomes_the_leaderboard(index: Path) -> None:
    path = write_pack(index)
    (path.parent / "boards").mkdir()
    board = "entry,kind,public_score,private_score,seed,runtime_s\nmedian,reference,9.5,9.6,0,0.1\n"
    (path.parent / "boards" / "fruit-price.csv").write_text(board)

    run_pack(path, "--only", "fruit-price")

    assert spec.load(catalog.folder_of("fruit-price")).leaderboard.public == (9.5,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([('reader = "csv"', 'reader = "xlsx"')], "reader is wrong"),
        ([('drop = ["wt"]', 'dorp = ["wt"]')], "dorp is unknown"),
        ([('target = "price"', 'target = "prize"')], "target: there is no column 'prize'"),
        ([('drop = ["wt"]', 'drop = ["wtt"]')], "drop: there is no column 'wtt'"),
        ([("fruit/data.csv", "fruit/date.csv")], "fruit has no file 'fruit/date.csv'"),
        ([(sha256(CSV), "0" * 64)], f"has the SHA-256 {sha256(CSV)}, the manifest says"),
        ([('version = "1.0"', 'version = "2.0"')], "the index has no such version as a wheel"),
        ([('wheel = "fruit"', 'wheel = "fruits"')], "'fruits', which is not listed"),
        ([('reader = "csv"', 'reader = "arff"')], "fruit/data.csv of fruit is not arff"),
        ([('metric = "mae"', 'metric = "roc_auc"')], "--metric roc_auc does not fit 'price'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    index: Path, changes: list[tuple[str, str]], message: str
) -> None:
    path = write_pack(index, *changes)

    code, said = run_pack(path, "--only", "fruit-price")

    assert code == 1
    assert message in " ".join(said.split())
    assert "Traceback" not in said
    assert left_behind(index) == []


def left_behind(index: Path) -> list[Path]:
    """Return what is in the cache beside wheels."""
    cache = index.parent / "cache"
    files = [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".whl"]
    return [path for path in files if not path.name.startswith(".lock")]


def test_a_changed_wheel_is_refused(index: Path) -> None:
    path = write_pack(index)
    wheel = next(index.glob("*.whl"))
    data = bytearray(wheel.read_bytes())
    data[100] ^= 1
    wheel.write_bytes(data)

    code, said = run_pack(path)

    assert code == 1
    assert "the index has a file with another hash than the manifest" in said
    assert left_behind(index) == []


def test_a_wheel_that_changed_in_the_cache_is_downloaded_anew(index: Path) -> None:
    path = write_pack(index)
    run_pack(path, "--only", "fruit-price")
    cached = next((index.parent / "cache" / "wheels").glob("*.whl"))
    cached.write_bytes(b"damaged")

    code, said = run_pack(path)

    assert code == 0, said
    assert "downloading fruit 1.0" in said


class CutConnection(BaseHTTPRequestHandler):
    """An index whose files end in the middle."""

    wheel = b""

    def do_GET(self) -> None:
        name = "fruit-1.0-py3-none-any.whl"
        is_page = not self.path.endswith(".whl")
        body = f'<a href="{name}">{name}</a>'.encode() if is_page else self.wheel
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if is_page else "application/zip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if is_page else body[: len(body) // 2])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def cut_index(index: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), CutConnection) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.delenv("PIP_FIND_LINKS")
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_address[1]}/simple")
        monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_RETRIES", "0")
        yield
        server.shutdown()


def test_a_cut_download_leaves_nothing(index: Path, cut_index: None) -> None:
    path = write_pack(index)
    CutConnection.wheel = next(index.glob("*.whl")).read_bytes()

    code, said = run_pack(path)

    assert code == 1
    assert "fruit 1.0 was not downloaded" in said
    assert "Traceback" not in said
    assert left_behind(index) == []
    assert not list((index.parent / "cache" / "wheels").iterdir())


@pytest.fixture
def full_disk(index: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = index.parent / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    monkeypatch.setenv("KERNEL_ENV_CACHE", str(folder))
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_nothing_half_made(index: Path, full_disk: Path) -> None:
    path = write_pack(index)

    code, said = run_pack(path, "--only", "fruit-price")

    assert code == 1
    assert "Traceback" not in said
    assert "space" in said
    assert not [path for path in full_disk.rglob("*") if path.is_file() and path.suffix != ".whl"]


class Attack:
    """A pickle that runs a program when it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.mark,)


def test_a_pickle_runs_nothing(index: Path, tmp_path: Path) -> None:
    attack = pickle.dumps(Attack(tmp_path / "mark"))
    path = write_pack(
        index, ('reader = "csv"', 'reader = "pickled-frame"'), (sha256(CSV), sha256(attack))
    )
    wheel = make_wheel(index, "fruit", "1.0", {"fruit/data.csv": attack})
    lines = path.read_text().splitlines()
    lines = [
        f'sha256 = "{sha256(wheel.read_bytes())}"' if x.startswith("sha") else x for x in lines
    ]
    path.write_text("\n".join(lines))

    code, said = run_pack(path, "--only", "fruit-price")

    assert code == 1
    assert "no pickle of a data frame: it names pathlib" in said
    assert not (tmp_path / "mark").exists()


def test_the_list_of_tasks_groups_them_by_pack(index: Path) -> None:
    def listed(*argv: str) -> str:
        done = CliRunner().invoke(app, ["tasks", "list", *argv])
        return done.output if done.exit_code == 0 else str(done.exception)

    assert "no pack named 'little'" in listed("--pack", "little")
    run_pack(write_pack(index))

    assert "pack little: 2 tasks; kernel-env tasks list --pack little" in listed()
    assert "fruit-price" not in listed()
    assert "fruit-price" in listed("--pack", "little")


def test_data_that_may_not_be_used_freely_must_be_asked_for(index: Path) -> None:
    path = write_pack(
        index, ('family = "fruit"\ntopic', 'restricted = "no trade"\nfamily = "fruit"\ntopic')
    )

    assert "0 made" in run_pack(path)[1]
    assert "2 made" in run_pack(path, "--any-licence")[1]


def test_a_task_does_not_hide_behind_one_of_the_same_name(index: Path) -> None:
    path = write_pack(index, ("[task.fruit-colour]", "[task.adult-income]"))

    code, said = run_pack(path)

    assert code == 1
    assert "is a task of this name, too; rename it in the manifest" in " ".join(said.split())


def test_a_suite_selects_tasks_of_a_pack_once_they_are_made(index: Path) -> None:
    path = write_pack(index)
    with pytest.raises(UsageError, match="no pack named 'little'"):
        select_tasks(["pack:little"])
    with pytest.raises(UsageError, match="run: kernel-env tasks pack open-200"):
        select_tasks(["pack:open-200/test"])

    run_pack(path)

    assert {task.id for task in select_tasks(["pack:little"])} == {"fruit-price", "fruit-colour"}
    assert len(select_tasks([f"pack:little/{side('fruit')}"])) == 2
