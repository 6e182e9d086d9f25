"""Check tasks whose raw files and leaderboard are a Kaggle competition's."""

import json
from pathlib import Path

import pytest

from kernel_env.errors import TaskError
from kernel_env.tasks import catalog, kaggle, spec
from kernel_env.tasks.prepare import is_prepared, obtain, prepare
from support import checkouts
from support.cli import run_cli
from support.competition import FILES, SECRETS
from support.files import read_files
from support.kaggle_server import KaggleServer, zip_archive

pytestmark = pytest.mark.kaggle


def test_a_competitions_task_is_downloaded_prepared_and_cached(
    ships: Path, server: KaggleServer, tmp_path: Path
) -> None:
    before = read_files(ships)
    with pytest.raises(TaskError) as caught:
        prepare(spec.load(ships))

    done = run_cli("tasks", "prepare", ships, "--json", VERBOSE="1")
    again = run_cli("tasks", "prepare", ships)

    assert str(caught.value) == (
        "ships needs the data of the Kaggle competition titanic, which is not here;"
        f" run: kernel-env tasks prepare {ships}"
    )
    assert done.returncode == 0, done.stderr
    cache = tmp_path / "cache"
    task = spec.load(ships)
    assert json.loads(done.stdout) == {
        "task": "ships",
        "raw": str(cache / "kaggle" / "titanic" / "raw"),
        "raw_mb": 0.4,
        "public": str(prepare(task).public),
        "leaderboard": "human (3)",
    }
    assert done.stderr.splitlines() == [
        "titanic: downloading",
        "titanic: unpacking",
        "titanic: downloading the leaderboard",
        "ships: preparing",
    ]
    assert (cache / "kaggle" / "titanic.leaderboard.csv").read_text() == (
        "entry,kind,public_score,private_score,seed,runtime_s\n"
        "team 11,human,0.8,0.8,,\nteam 12,human,0.9,0.85,,\nteam 13,human,0.7,0.75,,\n"
    )
    assert read_files(task.raw) == FILES
    assert is_prepared(task)
    assert again.returncode == 0
    assert again.stdout == f"ships: ready in {prepare(task).public.parent}\n"
    assert server.downloads() == [""]
    assert read_files(ships) == before
    left = sorted(path.name for path in (cache / "kaggle").iterdir())
    assert left == ["titanic", "titanic.leaderboard.csv", "titanic.lock"]
    written = [*read_files(cache).values(), done.stdout.encode(), done.stderr.encode()]
    assert not [secret for secret in SECRETS if any(secret.encode() in data for data in written)]
    assert server.store_authorizations == [""]  # the token is sent only to Kaggle's API


def test_an_embedded_task_is_prepared_without_kaggle(server: KaggleServer) -> None:
    done = run_cli("tasks", "prepare", "image-segment", "adult-income", "--json")

    assert done.returncode == 0, done.stderr
    names = [json.loads(line)["task"] for line in done.stdout.splitlines()]
    assert names == ["image-segment", "adult-income"]
    assert server.requests == []


def test_raw_files_must_match_the_download_and_task_toml(ships: Path, server: KaggleServer) -> None:
    task = obtain(spec.load(ships))
    recorded = kaggle.checksums(task.raw.parent)["train.csv"]["sha256"]
    with (ships / "task.toml").open("a") as file:
        file.write(f'\n[raw]\n"train.csv" = "{"0" * 64}"\n')

    with pytest.raises(TaskError) as not_as_named:
        prepare(spec.load(ships))
    (task.raw / "train.csv").write_text("x,y\n")
    with pytest.raises(TaskError) as changed:
        prepare(task)

    path = task.raw / "train.csv"
    assert str(not_as_named.value) == (
        f"{path} has the sha256 {recorded}; task.toml expects {'0' * 64}"
    )
    assert str(changed.value).endswith(
        f"; it was {recorded} when it was downloaded; remove {task.raw.parent} and"
        f" run: kernel-env tasks prepare {ships}"
    )
    assert not is_prepared(task)


def test_an_imported_task_is_downloaded_for_its_own_prepare_code(
    server: KaggleServer, tmp_path: Path
) -> None:
    homes = checkouts.mle_bench(tmp_path / "checkout") / "mlebench" / "competitions"
    (homes / "ripe-fruit").rename(homes / "titanic")
    config = checkouts.BENCH_CONFIG.format(id="titanic", answers="test.csv", metric="rmse")
    (homes / "titanic" / "config.yaml").write_text(config)
    checkouts.archive(tmp_path / "raw" / "table.zip")
    files = {"table.zip": (tmp_path / "raw" / "table.zip").read_bytes()}
    server.archive = zip_archive(files)
    env = {"XDG_CACHE_HOME": str(tmp_path / "mle-bench-cache")}
    checkout = homes.parents[1]

    imported = run_cli("tasks", "import", "mle-bench", checkout, "titanic", "--json", **env)
    done = run_cli("tasks", "prepare", "mle-bench-titanic", **env)

    row = json.loads(imported.stdout)
    assert (row["readiness"], row["todo"]) == (
        "needs data",
        "run: kernel-env tasks prepare mle-bench-titanic (which downloads it from Kaggle); or"
        " run `mlebench prepare -c titanic`, or import again with --data FOLDER",
    )
    assert done.returncode == 0, done.stderr
    public = prepare(catalog.find("mle-bench-titanic")).public
    assert len((public / "test.csv").read_text().splitlines()) == 11
    assert read_files(tmp_path / "cache" / "kaggle" / "titanic" / "raw") == files
