"""Check `run`, `replay` and `export` in a separate process: exit code, stdout and stderr."""

import http.server
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel_env.episode.journal import read_journal
from kernel_env.episode.notebook_parser import parse_notebook, read_notebook
from support.cli import run_cli
from support.suites import AGENTS

RECORD_FIELDS = {
    *("task", "agent", "model", "seed", "status", "steps", "public_score", "private_score"),
    *("position_public", "position_private", "leaderboard_kind", "total_reward", "seconds"),
    *("usage", "notebook", "error"),
}


def test_run_prints_a_json_line_for_each_episode(
    tiny: str, sandbox: str, script: Path, tmp_path: Path
) -> None:
    done = run_cli(
        *("run", tiny, "--agent", "scripted", "--script", script, "--seeds", 2),
        *("--out", tmp_path / "runs", "--sandbox", sandbox, "--json"),
    )

    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["seed"] for record in records] == [0, 1]
    for record in records:
        assert set(record) >= RECORD_FIELDS
        assert (record["task"], record["agent"]) == ("tiny", "scripted")
        assert (record["status"], record["steps"]) == ("finished", 2)
        assert record["position_public"] == record["total_reward"] == 1.0
        assert len(parse_notebook(read_notebook(Path(record["notebook"]))).steps) == 2


def test_run_ends_with_a_table_and_the_path_of_the_notebook(
    tiny: str, script: Path, tmp_path: Path
) -> None:
    done = run_cli(
        *("run", tiny, "--agent", "scripted", "--script", script),
        *("--out", tmp_path / "runs", "--sandbox", "local"),
    )

    assert done.returncode == 0
    assert "100 % / 100 % of reference pipelines" in done.stdout
    notebook = Path(done.stdout.strip().splitlines()[-1].removeprefix("notebook: "))
    assert notebook.is_file()
    assert "NOTHING IS ISOLATED" in done.stderr


def test_several_agents_are_compared(tiny: str, tmp_path: Path) -> None:
    agents = [f"{AGENTS}:{name}" for name in ("Line", "Half")]

    done = run_cli(
        *("run", tiny, "--agent", agents[0], "--agent", agents[1], "--jobs", 2),
        *("--out", tmp_path / "runs", "--sandbox", "local"),
    )

    assert done.returncode == 0, done.stderr
    words = " ".join(done.stdout.split())
    assert "suite_agents.py:Line │ 1.000 │ 1 of 1 │ 1, 0, 0" in words
    assert "suite_agents.py:Half │ 0.750 │ 1 of 1 │ 1, 0, 0" in words
    assert "1 task is too few to tell" in words


def test_replay_runs_the_actions_of_a_notebook_again(
    tiny: str, script: Path, tmp_path: Path
) -> None:
    env = {"KERNEL_ENV_TASKS": str(Path(tiny).parent)}
    first = run_cli(
        *("run", "tiny", "--agent", "scripted", "--script", script),
        *("--out", tmp_path / "a", "--sandbox", "local", "--json"),
        **env,
    )
    notebook = Path(json.loads(first.stdout)["notebook"])

    again = run_cli(
        "replay", notebook, "--out", tmp_path / "b", "--sandbox", "local", "--json", **env
    )

    assert again.returncode == 0, again.stderr
    before, after = (json.loads(done.stdout) for done in (first, again))
    for score in ("public_score", "private_score"):
        assert before[score] == after[score]
    old, new = (parse_notebook(read_notebook(Path(r["notebook"]))) for r in (before, after))
    assert [s.action for s in old.steps] == [s.action for s in new.steps]
    assert [s.thought for s in old.steps] == [s.thought for s in new.steps]


def test_export_renders_the_notebook_of_a_journal(tiny: str, script: Path, tmp_path: Path) -> None:
    done = run_cli(
        *("run", tiny, "--agent", "scripted", "--script", script),
        *("--out", tmp_path / "runs", "--sandbox", "local", "--json"),
    )
    notebook = Path(json.loads(done.stdout)["notebook"])
    text = notebook.read_text()
    notebook.unlink()

    exported = run_cli("export", notebook.parent, "--json")

    assert json.loads(exported.stdout) == {"notebook": str(notebook), "steps": 2}
    assert notebook.read_text() == text


@pytest.fixture(scope="module")
def unauthorized_url() -> Iterator[str]:
    """The URL of an endpoint that refuses every key."""

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


def test_a_refused_key_is_a_failure_of_the_set_up_that_does_not_show_the_key(
    tiny: str, tmp_path: Path, unauthorized_url: str
) -> None:
    refused = run_cli(
        *("run", tiny, "--agent", "openai", "--model", "m", "--base-url", unauthorized_url),
        *("--sandbox", "local", "--out", tmp_path / "runs", "--json"),
        OPENAI_API_KEY="sk-secret-key",
    )

    record = json.loads(refused.stdout)
    assert refused.returncode == 1
    assert record["status"] == "setup_failed"
    assert "OPENAI_API_KEY" in record["error"]
    assert "sk-secret" not in refused.stdout + refused.stderr
    assert "sk-secret" not in Path(record["notebook"]).read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small disk")
def test_a_full_disk_is_one_error_and_keeps_the_acknowledged_steps(
    tiny: str, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    script = tmp_path / "script.json"
    action = {"kind": "execute_code", "code": "print('x' * 20_000)"}
    script.write_text(json.dumps([action] * 10))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk], check=True)
    try:
        done = run_cli(
            *("run", tiny, "--agent", "scripted", "--script", script),
            *("--sandbox", "local", "--out", disk),
        )

        assert done.returncode == 1
        assert "No space left on device" in done.stderr
        assert "Traceback" not in done.stderr
        (journal,) = disk.glob("*/*/journal.jsonl")
        assert len(read_journal(journal).steps) >= 1
    finally:
        subprocess.run(["umount", disk], check=True)
