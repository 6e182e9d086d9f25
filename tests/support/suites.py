"""Write suite files, play them in a process, and read what they recorded."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kernel_env.suite.log import Fault, Finished, Started, files_of

AGENTS = Path(__file__).with_name("suite_agents.py")
TINY = Path(__file__).with_name("tiny")


def write_suite(folder: Path, *agents: dict[str, Any], **options: Any) -> Path:
    """Write a suite file of the tiny task in the sandbox `local`; return its path.

    An agent is a class of `suite_agents` by its name, unless its table says otherwise.
    """
    settings = {"name": "nightly", "tasks": [str(TINY)], "sandbox": "local", **options}
    lines = [f"{name} = {toml(value)}" for name, value in settings.items()]
    for agent in agents:
        table = {"agent": f"{AGENTS}:{agent['name'].title()}", **agent}
        lines += ["[[agents]]", *(f"{name} = {toml(value)}" for name, value in table.items())]
    path = folder / "suite.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def slow_agent(folder: Path, seconds: float) -> dict[str, Any]:
    """Return an agent that waits in the middle of its episodes."""
    script = folder / "seconds"
    script.write_text(str(seconds))
    return {"name": "slow", "script": script}


def failing_agent(folder: Path, name: str, error: str, times: int) -> dict[str, Any]:
    """Return an agent that raises an error of a kind the first times; see `suite_agents`."""
    (folder / name).mkdir()
    script = folder / name / "script.json"
    script.write_text(json.dumps({"error": error, "times": times}))
    return {"name": name, "agent": f"{AGENTS}:Failing", "script": script}


def toml(value: Any) -> str:
    """Return a value as TOML."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {toml(each)}" for name, each in value.items()) + " }"
    return json.dumps(value if not isinstance(value, Path) else str(value))


def start_suite(path: Path, *options: str) -> subprocess.Popen[str]:
    """Start `kernel-env suite run` in a process; its suites are beside the file."""
    argv = [sys.executable, "-m", "kernel_env.cli", "suite", "run", str(path)]
    return subprocess.Popen(
        [*argv, "--out", str(path.parent / "suites"), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=path.parent,
    )


def lines_of(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield all complete lines of a suite's records."""
    for path in files_of(folder):
        for line in path.read_bytes().split(b"\n")[:-1]:
            yield json.loads(line)


def wait_for(folder: Path, process: subprocess.Popen[str], **counts: int) -> None:
    """Wait until a running suite has so many lines of each kind."""
    for _ in range(1200):
        found = Counter(line["kind"] for line in lines_of(folder))
        if all(found[kind] >= count for kind, count in counts.items()):
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"{counts} not reached: {process.communicate()[1]}")


def wait_for_step(folder: Path, process: subprocess.Popen[str]) -> None:
    """Wait until an episode that has not ended has a step in its journal."""
    for _ in range(1200):
        texts = [path.read_bytes() for path in folder.glob("episodes/*/*/*/journal.jsonl")]
        if any(b'"step": ' in text and b'"ending": ' not in text for text in texts):
            return
        if process.poll() is not None:
            break
        time.sleep(0.02)
    process.kill()
    raise AssertionError(f"no step was taken: {process.communicate()[1]}")


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a driver without giving it a chance to clean up, and wait until its children are gone."""
    children = descendants(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    for _ in range(200):
        if not [pid for pid in children if runs(pid)]:
            return
        time.sleep(0.05)
    raise AssertionError(f"processes were left behind: {[pid for pid in children if runs(pid)]}")


def descendants(pid: int) -> list[int]:
    """Return the processes that a process has started, and theirs."""
    found = subprocess.run(
        ["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    )
    parents = {int(a): int(b) for a, b in (line.split() for line in found.stdout.splitlines())}
    result, new = [], [pid]
    while new:
        new = [child for child, parent in parents.items() if parent in new]
        result += new
    return result


def runs(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


UNEQUAL = ("seconds", "started", "ended", "episode", "notebook", "attempt", "waited_seconds")
"""What differs between two episodes with the same steps."""


def comparable(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record without its times, its episode's name and its attempt."""
    kept = {name: value for name, value in record.items() if name not in UNEQUAL}
    kept["best_by_step"] = [[step, *rest] for step, _, *rest in record["best_by_step"]]
    return kept


# ── lines of records ──────────────────────────────────────────────────────────────────────

AT = "2026-01-01T00:00:00+00:00"
USAGE = {"usage": {"tokens": 1, "money": 0.25}}


def started(attempt: int = 1, key: str = "k") -> Started:
    return Started(
        key=key,
        attempt=attempt,
        at=AT,
        agent="a",
        task="t",
        seed=0,
        grade_key="g",
        folder="episodes/x",
        host="h",
        pid=1,
        settings={"v": 1},
    )


def finished(attempt: int = 1, key: str = "k") -> Finished:
    return Finished(key=key, attempt=attempt, at=AT, record=USAGE, host="h")


def fault(attempt: int = 1, key: str = "k", failure: str = "machine") -> Fault:
    return Fault(
        key=key,
        attempt=attempt,
        at=AT,
        failure=failure,  # type: ignore[arg-type]
        status="machine_failed",
        reason="the engine\nis gone",
        record=USAGE,
    )
