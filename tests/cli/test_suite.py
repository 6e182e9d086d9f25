"""Check the commands of `kernel-env suite`: what they print, and their exit codes."""

import io
import json
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from kernel_env import temporary
from kernel_env.cli import main
from support.episodes import containers_of
from support.suites import (
    TINY,
    kill,
    lines_of,
    slow_agent,
    start_suite,
    wait_for,
    wait_for_step,
    write_suite,
)


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """Return the one line of an error."""
        assert self.code != 0, self.out
        assert "Traceback" not in self.err
        return self.err.strip().splitlines()[-1]


Suite = Callable[..., Done]


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Suite:
    """Return a function that runs `kernel-env suite` in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("warnings.showwarning", None)  # `main` sets it

    def run(*words: object) -> Done:
        out, err = io.StringIO(), io.StringIO()
        monkeypatch.setattr(sys, "argv", ["kernel-env", "suite", *map(str, words)])
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main()
        return Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())

    return run


def test_a_suite_is_planned_played_and_shown(suite: Suite, tmp_path: Path) -> None:
    path = write_suite(tmp_path, {"name": "half"})

    plan = suite("run", path, "--plan")
    assert not (tmp_path / "suites").exists()
    played = suite("run", path, "--jobs", 2)
    again, status = suite("run", path, "--json"), suite("status", path)
    as_json, stopped = suite("status", path, "--json"), suite("stop", path)

    assert plan.out.splitlines() == [
        "nightly: 1 agent, 1 task, 1 seed: 1 episode",
        "     1 new",
        "time left unknown",
    ]
    assert played.out.splitlines()[0] == "nightly: 1 of 1 episode done"
    assert "half on tiny, seed 0: finished: private score 1.3147, beats 75 %" in played.err
    assert json.loads(again.out)["states"] == json.loads(as_json.out)["states"] == {"done": 1}
    assert status.out.splitlines() == [
        "nightly: 1 of 1 episode done",
        f"folder: {tmp_path / 'suites' / 'nightly'}",
    ]
    assert stopped.out == "no driver plays this suite\n"
    assert {done.code for done in (plan, played, again, status, as_json, stopped)} == {0}


def test_what_is_missing_is_shown_with_its_reason(suite: Suite, tmp_path: Path) -> None:
    task = Path(shutil.copytree(TINY, tmp_path / "tiny"))
    (task / "prepare.py").write_text("def prepare(raw, public, private): raise OSError('no')\n")
    path = write_suite(tmp_path, {"name": "line"}, tasks=[str(task)])

    done, shown = suite("run", path, "--json"), suite("status", path)
    retried, unknown = suite("retry", path, "--json"), suite("retry", path, "abc")

    fault, status = map(json.loads, done.out.splitlines())
    assert done.code == 1
    assert (fault["kind"], fault["failure"]) == ("fault", "task")
    assert status["reasons"] == {"task": 1}
    assert "stops for all agents" in done.err
    assert "nightly: 0 of 1 episode done · 1 to be played" in shown.out
    assert "task: " in shown.out
    assert json.loads(retried.out) == {"keys": []}
    assert "no missing job named 'abc'; known: none" in unknown.error


def test_a_running_suite_refuses_a_second_driver_and_ends_by_ctrl_c(
    suite: Suite, tmp_path: Path
) -> None:
    path = write_suite(tmp_path, slow_agent(tmp_path, 60))
    first = start_suite(path)
    wait_for_step(tmp_path / "suites" / "nightly", first)

    second, running, stopped = suite("run", path), suite("status", path), suite("stop", path)
    first.send_signal(signal.SIGINT)
    _, errors = first.communicate(timeout=60)

    assert f"nightly is being played by process {first.pid} on" in second.error
    assert running.out.startswith("nightly: 0 of 1 episode done · 1 playing")
    assert stopped.out == "1 driver will stop after the episodes that are being played\n"
    assert first.returncode == 130, errors
    expected = f"error: interrupted; kernel-env suite run {path} continues"
    assert errors.splitlines()[-1] == expected
    started, fault = lines_of(tmp_path / "suites" / "nightly")
    assert started["kind"] == "started"
    assert (fault["status"], fault["failure"]) == ("interrupted", "operator")
    assert fault["record"]["steps"] == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "none.toml"], "none.toml does not exist; give a suite file"),
        (["status", "none.toml"], "none.toml does not exist"),
        (["stop", "none.toml"], "none.toml does not exist"),
        (["retry", "none.toml"], "none.toml does not exist"),
        (["run", "suite.toml", "--shard", "3/2"], "the shard is '3/2'; give i/n"),
        (["run", "suite.toml", "--engine", "lokal"], "named 'lokal'; did you mean 'local'?"),
        (["run", "suite.toml", "--jobs", "0"], "invalid value for '--jobs'"),
    ],
)
def test_wrong_uses_get_one_line(
    suite: Suite, tmp_path: Path, words: list[str], message: str
) -> None:
    write_suite(tmp_path, {"name": "line"})

    assert message in suite(*words).error


def test_records_of_a_newer_version_are_refused(suite: Suite, tmp_path: Path) -> None:
    path = write_suite(tmp_path, {"name": "line"})
    folder = tmp_path / "suites" / "nightly"
    folder.mkdir(parents=True)
    (folder / "records.jsonl").write_text('{"v": 2, "kind": "new"}\n')

    line = suite("run", path).error

    assert "has version 2; this kernel_env reads up to 1: install a newer one" in line


@pytest.mark.docker
def test_a_driver_that_is_killed_leaves_no_container(tmp_path: Path) -> None:
    limits = {"episodes": 1, "margin_gb": 0}
    agents = [{"name": "half"}, slow_agent(tmp_path, 60)]
    path = write_suite(tmp_path, *agents, sandbox="docker", limits=limits)
    folder = tmp_path / "suites" / "nightly"
    process = start_suite(path)
    wait_for(folder, process, finished=1, started=2)
    wait_for_step(folder, process)
    before = containers_of(process)

    kill(process)

    (record,) = [line["record"] for line in lines_of(folder) if line["kind"] == "finished"]
    assert (record["sandbox"], record["position_private"]) == ("docker", 0.75)
    assert len(before) == 1
    for _ in range(100):
        if not containers_of(process):
            break
        time.sleep(0.1)
    assert containers_of(process) == []
    for left in temporary.folders_of(process.pid):
        temporary.remove(left)
