import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kernel_env.episode.actions import ExecuteCode
from support.chat_server import KEY, ChatServer, error_reply, tool_answer


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    program = "from kernel_env.cli import main; main()"
    command = [sys.executable, "-c", program, "run", *argv, "--agent", "openai"]
    return subprocess.run(
        command, env=dict(os.environ), capture_output=True, text=True, check=False
    )


def test_run_prints_one_line_of_json(chat: ChatServer, tiny: str, tmp_path: Path) -> None:
    chat.script = [tool_answer(ExecuteCode(code="1"))]
    options = ["--sandbox", "local", "--model", "m", "--base-url", chat.url]

    done = run(tiny, *options, "--out", str(tmp_path), "--steps", "5", "--json")

    assert done.returncode == 0, done.stderr
    (record,) = map(json.loads, done.stdout.splitlines())
    assert (record["status"], record["agent"], record["steps"]) == ("finished", "openai", 1)


def test_run_ends_with_a_one_line_error_when_the_model_fails(
    chat: ChatServer, tiny: str, tmp_path: Path
) -> None:
    chat.script = [error_reply(401, f"wrong key {KEY}")]
    options = ["--sandbox", "local", "--model", "m", "--base-url", chat.url]

    done = run(tiny, *options, "--out", str(tmp_path))

    assert done.returncode == 1
    assert f"{chat.url} rejected the key in OPENAI_API_KEY" in done.stderr
    assert "Traceback" not in done.stderr
    assert KEY not in done.stdout + done.stderr


def test_run_reports_a_missing_key(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")

    done = run(tiny, "--model", "m")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: no key: set OPENAI_API_KEY, or --base-url for an endpoint that needs none\n"
    )
