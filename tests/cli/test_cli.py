"""The command line as people use it: a process, its exit code, what it says where."""

import http.server
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel_env.episode.notebook_parser import parse_notebook, read_notebook


def cli(*argv: object, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kernel_env.cli", *map(str, argv)],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The one clear line of a failure."""
    assert done.returncode != 0, done.stdout
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert "Traceback" not in done.stderr
    assert [line.startswith("error: ") for line in lines] == [False] * (len(lines) - 1) + [True], (
        lines
    )
    return lines[-1]


@pytest.fixture
def actions(tmp_path: Path) -> Path:
    path = tmp_path / "actions.json"
    code = (
        "import os, pandas as pd\n"
        "test = pd.read_csv(os.environ['DATA_PATH'] + '/test.csv')\n"
        "test.assign(y=3 * test.x)[['id', 'y']].to_csv(os.environ['OUTPUT_PATH'], index=False)"
    )
    path.write_text(
        json.dumps(
            [
                {"kind": "request_info", "info_type": "all"},
                {"kind": "execute_code", "code": code, "thought": "A line."},
            ]
        )
    )
    return path


def test_run_prints_a_json_line_for_each_episode(
    tiny: str, sandbox: str, actions: Path, tmp_path: Path
) -> None:
    done = cli(
        "run",
        tiny,
        "--agent",
        "scripted",
        "--script",
        actions,
        "--seeds",
        2,
        "--out",
        tmp_path / "runs",
        "--sandbox",
        sandbox,
        "--json",
    )

    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [r["seed"] for r in records] == [0, 1]
    wanted = "task agent model seed status steps public_score private_score position_public position_private leaderboard_kind total_reward seconds usage notebook error"
    for record in records:
        assert set(wanted.split()) <= set(record)
        assert (record["task"], record["agent"], record["status"], record["steps"]) == (
            "tiny",
            "scripted",
            "finished",
            2,
        )
        assert record["position_public"] == record["total_reward"] == 1.0
        assert len(parse_notebook(read_notebook(Path(record["notebook"]))).steps) == 2


def test_run_ends_with_a_table_and_the_path_of_the_notebook(
    tiny: str, actions: Path, tmp_path: Path
) -> None:
    done = cli(
        "run",
        tiny,
        "--agent",
        "scripted",
        "--script",
        actions,
        "--out",
        tmp_path / "runs",
        "--sandbox",
        "local",
    )

    assert done.returncode == 0
    assert "100 % / 100 % of reference pipelines" in done.stdout
    notebook = Path(done.stdout.strip().splitlines()[-1].removeprefix("notebook: "))
    assert notebook.is_file()
    assert "NOTHING IS ISOLATED" in done.stderr


def test_replay_plays_a_trajectory_again(tiny: str, actions: Path, tmp_path: Path) -> None:
    env = {"KERNEL_ENV_TASKS": str(Path(tiny).parent)}
    first = cli(
        "run",
        "tiny",
        "--agent",
        "scripted",
        "--script",
        actions,
        "--out",
        tmp_path / "a",
        "--sandbox",
        "local",
        "--json",
        **env,
    )
    notebook = Path(json.loads(first.stdout)["notebook"])

    again = cli("replay", notebook, "--out", tmp_path / "b", "--sandbox", "local", "--json", **env)

    assert again.returncode == 0, again.stderr
    before, after = (json.loads(done.stdout) for done in (first, again))
    assert (before["public_score"], before["private_score"]) == (
        after["public_score"],
        after["private_score"],
    )
    old, new = (parse_notebook(read_notebook(Path(r["notebook"]))) for r in (before, after))
    assert [s.action for s in old.steps] == [s.action for s in new.steps]
    assert [s.thought for s in old.steps] == [s.thought for s in new.steps]


def test_export_renders_the_notebook_of_a_journal(tiny: str, actions: Path, tmp_path: Path) -> None:
    done = cli(
        "run",
        tiny,
        "--agent",
        "scripted",
        "--script",
        actions,
        "--out",
        tmp_path / "runs",
        "--sandbox",
        "local",
        "--json",
    )
    notebook = Path(json.loads(done.stdout)["notebook"])
    text = notebook.read_text()
    notebook.unlink()

    exported = cli("export", notebook.parent, "--json")

    assert json.loads(exported.stdout) == {"notebook": str(notebook), "steps": 2}
    assert notebook.read_text() == text


def test_tasks_are_listed_and_shown() -> None:
    listed = cli("tasks", "list", "--json")
    shown = cli("tasks", "show", "adult-income")

    rows = {row["task"]: row for row in map(json.loads, listed.stdout.splitlines())}
    assert rows["adult-income"]["metric"] == "roc_auc"
    assert rows["image-segment"]["leaderboard"].startswith("reference (")
    assert rows["adult-income"]["raw_mb"] == 0.18
    assert rows["adult-income"]["readiness"] in ("yes", "first use")
    assert "Adult income" in shown.stdout
    assert "▌ AUC = 1/(|P| |N|) Σ_(i∈P) Σ_(j∈N) ([pᵢ > pⱼ] + 1/2 [pᵢ = pⱼ])" in shown.stdout


def test_twenty_tasks_are_listed_within_half_a_second(tiny: str, tmp_path: Path) -> None:
    for number in range(20):
        folder = shutil.copytree(tiny, tmp_path / f"task-{number}")
        toml = (folder / "task.toml").read_text()
        (folder / "task.toml").write_text(toml.replace('"tiny"', f'"task-{number}"'))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)

    listed = cli("tasks", "list", "--json", KERNEL_ENV_TASKS=str(tmp_path))

    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert len(listed.stdout.splitlines()) >= 22
    # Of the processor: the wall is as far away when nothing else runs.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


def test_doctor_says_what_to_do_about_a_missing_engine() -> None:
    done = cli("doctor", "--json", DOCKER_HOST="unix:///nowhere/docker.sock")

    findings = {row["what"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 0
    assert not findings["engine"]["ok"]
    assert "unix:///nowhere/docker.sock" in findings["engine"]["found"]
    assert findings["engine"]["todo"]
    assert "ISOLATES NOTHING" in findings["sandbox"]["found"]


@pytest.mark.docker
def test_doctor_finds_engine_and_images_and_removes_only_our_strays() -> None:
    from kernel_env.sandbox.docker import engine, images

    client = engine.connect()
    tag = images.find("base").tag
    dead = subprocess.Popen(["true"])
    dead.wait()
    options = {"network_mode": "none", "detach": True}
    ours = {"kernel-env": "sandbox", "kernel-env.owner": f"{os.uname().nodename}:{dead.pid}"}
    used = {"kernel-env": "sandbox", "kernel-env.owner": f"{os.uname().nodename}:{os.getppid()}"}
    stray = client.containers.run(tag, ["sleep", "300"], labels=ours, **options)
    living = client.containers.run(tag, ["sleep", "300"], labels=used, **options)
    other = client.containers.run(tag, ["sleep", "300"], **options)
    try:
        found = {
            row["what"]: row for row in map(json.loads, cli("doctor", "--json").stdout.splitlines())
        }
        cleaned = cli("doctor", "--clean", "--json")

        assert found["engine"]["ok"]
        assert found["image base"]["ok"]
        assert found["leftovers"]["found"].startswith("1 ")
        tidy = {row["what"]: row for row in map(json.loads, cleaned.stdout.splitlines())}
        assert tidy["leftovers"]["ok"]
        left = {c.id for c in client.containers.list(all=True, ignore_removed=True)}
        assert stray.id not in left
        assert {living.id, other.id} <= left
    finally:
        for container in (living, other):
            container.remove(force=True)
        client.close()


@pytest.fixture(scope="module")
def deaf_server() -> Iterator[str]:
    """An endpoint that refuses every key."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(401)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(b'{"error": {"message": "no such key"}}')

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}


@pytest.mark.parametrize(
    ("argv", "env", "complaint"),
    [
        (["run", "nope", "--agent", "baseline"], {}, "no task named 'nope'; known: adult-income"),
        (["run", "TINY", "--agent", "nope"], {}, "no agent named 'nope'; known: baseline, openai"),
        (["run", "TINY", "--agent", "scripted"], {}, "needs a script; give one with --script"),
        (["run", "TINY", "--agent", "scripted", "--script", "/nowhere.json"], {}, "cannot be read"),
        (
            ["run", "TINY", "--agent", "baseline", "--sandbox", "nope"],
            {},
            "no sandbox named 'nope'; known: docker, local",
        ),
        (
            ["run", "TINY", "--agent", "baseline", "--sandbox", "docker"],
            NO_ENGINE,
            "no Docker engine answers at unix:///nowhere/docker.sock",
        ),
        (
            ["run", "TINY", "--agent", "openai", "--model", "m"],
            {"OPENAI_API_KEY": "", "OPENAI_BASE_URL": ""},
            "OPENAI_API_KEY",
        ),
        (["run", "TINY", "--agent", "baseline", "--steps", "0"], {}, "the budget's steps is 0"),
        (["run", "TINY", "--agent", "baseline", "--reward", "nope"], {}, "no reward named 'nope'"),
        (["run", "TINY", "--agent", "baseline", "--seeds", "0"], {}, "the number of seeds is 0"),
        (["run", "TINY", "--agent", "baseline", "--out", "/proc/nope"], {}, "cannot be made"),
        (
            ["run", "TINY", "--agent", "baseline"],
            {"KERNEL_ENV_CACHE": "/proc/nope"},
            "cannot be written",
        ),
        (["tasks", "show", "nope"], {}, "no task named 'nope'"),
        (["images", "build", "nope"], {}, "no image named 'nope'; known: base, tabular"),
        (["images", "list"], NO_ENGINE, "no Docker engine answers"),
        (["replay", "/nowhere.ipynb"], {}, "/nowhere.ipynb cannot be read"),
        (["export", "/nowhere"], {}, "/nowhere cannot be read"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_gets_one_clear_line_and_nothing_is_made(
    tiny: str, tmp_path: Path, argv: list[str], env: dict[str, str], complaint: str
) -> None:
    if argv[0] == "run":
        argv = [
            *argv,
            *(["--out", str(tmp_path / "runs")] if "--out" not in argv else []),
            *(["--sandbox", "local"] if "--sandbox" not in argv else []),
        ]
    if argv[0] == "images" and not env:
        pytest.importorskip("docker").from_env().close()

    done = cli(*(tiny if word == "TINY" else word for word in argv), **env)

    assert complaint in one_line(done)
    assert not (tmp_path / "runs").exists()


def test_a_refused_connection_and_a_refused_key_are_said_with_the_address(
    tiny: str, tmp_path: Path, deaf_server: str
) -> None:
    common = [
        "run",
        tiny,
        "--agent",
        "openai",
        "--model",
        "m",
        "--sandbox",
        "local",
        "--out",
        tmp_path / "runs",
        "--json",
    ]

    refused = cli(*common, "--base-url", deaf_server, OPENAI_API_KEY="sk-secret-key")

    record = json.loads(refused.stdout)
    assert refused.returncode == 1
    assert record["status"] == "agent_failed"
    assert "OPENAI_API_KEY" in record["error"]
    assert "sk-secret" not in refused.stdout + refused.stderr
    assert "sk-secret" not in Path(record["notebook"]).read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make a small disk")
def test_a_full_disk_is_one_clear_line_and_nothing_acknowledged_is_lost(
    tiny: str, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk], check=True)
    try:
        script = tmp_path / "s.json"
        script.write_text(
            json.dumps([{"kind": "execute_code", "code": "print('x' * 20_000)"}] * 10)
        )

        done = cli(
            "run",
            tiny,
            "--agent",
            "scripted",
            "--script",
            script,
            "--sandbox",
            "local",
            "--out",
            disk,
        )

        assert done.returncode == 1
        assert "No space left on device" in done.stderr
        assert "Traceback" not in done.stderr
        (journal,) = disk.glob("*/*/journal.jsonl")
        from kernel_env.episode.journal import read_journal

        assert len(read_journal(journal).steps) >= 1
    finally:
        subprocess.run(["umount", disk], check=True)
