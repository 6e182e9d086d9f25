"""agent-lightning's server and controller run the recipe of the guide."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

from support.chat_server import run_chat_server, tool_answer
from support.guides import guide_blocks
from support.openai_episodes import SOLVE, cell

pytestmark = pytest.mark.frameworks
SECRET = "a-key-of-the-tests"
PROGRAMS = Path(sys.executable).parent


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def running(program: str, *options: str, cwd: Path) -> Iterator[None]:
    """Run a program of the framework until the block is left."""
    command = [str(PROGRAMS / program), *options, f"hydra.run.dir={cwd}"]
    path = f"{PROGRAMS}:{os.environ['PATH']}"
    variables = {**os.environ, "PATH": path, "PYTHONPATH": str(cwd)}
    process = subprocess.Popen(command, cwd=cwd, env=variables)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def ask(url: str, content: Any = None) -> Any:
    """Return what the server answers."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {SECRET}"}
    body = None if content is None else json.dumps(content).encode()
    with urlopen(Request(url, body, headers), timeout=30) as answer:
        return json.load(answer)


def ask_once_it_runs(url: str) -> None:
    for _ in range(300):
        try:
            return ask(url)
        except URLError:
            time.sleep(0.1)
    raise TimeoutError(f"{url} does not answer")


@pytest.mark.parametrize("fails", [False, True])
def test_the_recipe_runs_a_rollout(tiny: str, tmp_path: Path, fails: bool) -> None:
    code = next(each for each in guide_blocks("frameworks") if "AGL_EVENT_URL" in each)
    rollout = json.loads(
        next(each for each in guide_blocks("frameworks", "json") if "agent_class" in each)
    )
    rollout["input"]["task"] = "no-such-task" if fails else tiny
    (tmp_path / "my_agent.py").write_text(code)
    port = free_port()
    url = f"http://127.0.0.1:{port}"

    with (
        run_chat_server() as model,
        running("agl-server", "host=127.0.0.1", f"port={port}", f"key={SECRET}", cwd=tmp_path),
        running(
            "agl-controller",
            "runner_type=local",
            "local_runner.poll_interval=0.5",
            f"agl_server.url={url}",
            f"agl_server.key={SECRET}",
            cwd=tmp_path,
        ),
    ):
        ask_once_it_runs(f"{url}/healthz")
        model.script = [tool_answer(cell(SOLVE), content="I draw a line.")]
        endpoint = {"model": "Qwen/Qwen2.5-7B-Instruct", "endpoint": model.url}
        ask(f"{url}/api/models", [endpoint])
        rollout_id = ask(f"{url}/api/rollouts", [rollout])[0]["rollout_id"]
        for _ in range(600):
            state = ask(f"{url}/api/rollouts/{rollout_id}")["rollout"]["status"]["state"]
            if state in ("succeeded", "failed"):
                break
            time.sleep(0.2)
        events = ask(f"{url}/api/rollouts/{rollout_id}/events")

    kinds = [event["event_type"] for event in events]
    if fails:
        assert (state, kinds) == ("failed", [])
        return
    assert state == "succeeded"
    assert kinds[-1] == "reward"
    assert kinds.count("model_request") == len(model.requests) >= 2
    assert events[-1]["data"]["value"] > 0
