"""Runs become logs that Inspect AI reads, and that its viewer lists."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from inspect_ai.log import read_eval_log, read_eval_log_sample_summaries

from support.cli import error_line, run_cli
from support.exports import write
from support.v01 import EPISODES

pytestmark = pytest.mark.frameworks
HOSTILE = "print('<script>alert(1)</script>\\x1b[31m![x](http://evil.example/x.png)')"


def export(out: Path, *runs: Path) -> list[Path]:
    done = run_cli("export", "inspect", *runs, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    return [Path(each) for each in json.loads(done.stdout)["logs"]]


def test_the_episodes_of_an_agent_on_a_task_are_one_log(tmp_path: Path) -> None:
    first = write(tmp_path / "runs" / "e1", steps=2, place=0.5, tokens=1000)
    write(tmp_path / "runs" / "e2", steps=3, place=0.7, code=HOSTILE)
    write(tmp_path / "runs" / "e3", steps=1, place=None, status="machine_failed")
    write(tmp_path / "runs" / "e4", steps=3, place=0.9, parent=(first, 1))
    write(tmp_path / "runs" / "e5", task="other")

    files = export(tmp_path / "logs", tmp_path / "runs")
    log = read_eval_log(next(file for file in files if file.name.startswith("tiny")))

    assert sorted(file.name for file in files) == ["other_a-b_m.eval", "tiny_a-b_m.eval"]
    assert log.status == "success"
    assert (log.eval.task, log.eval.solver, log.eval.config.epochs) == ("kernel_env/tiny", "a|b", 4)
    assert log.samples is not None
    assert [sample.metadata["episode"] for sample in log.samples] == ["e1", "e2", "e3", "e4"]
    assert [len(sample.messages) for sample in log.samples] == [5, 7, 3, 7]
    assert [sample.error is None for sample in log.samples] == [True, True, False, True]
    assert log.samples[3].metadata["parent"] == "e1"
    assert log.results is not None
    means = {score.name: score.metrics["mean"].value for score in log.results.scores}
    assert means["place"] == pytest.approx(0.7)
    call = log.samples[1].messages[1].tool_calls[0]
    assert (call.function, call.arguments) == ("execute_code", {"code": HOSTILE})
    shown = [message.text for sample in log.samples for message in sample.messages]
    assert not [text for text in shown if "<script" in text or "\x1b" in text or "![x]" in text]
    summaries = read_eval_log_sample_summaries(files[0])
    assert len(summaries) in (1, 4)


def test_runs_of_earlier_versions_are_logs_too(tmp_path: Path) -> None:
    (file,) = export(tmp_path / "logs", EPISODES / "finished")[:1]

    log = read_eval_log(file)

    assert log.samples is not None
    assert log.samples[0].events


def test_the_viewer_lists_the_logs(tmp_path: Path) -> None:
    write(tmp_path / "runs" / "e1")
    (file,) = export(tmp_path / "logs", tmp_path / "runs")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = str(Path(sys.executable).with_name("inspect"))
    viewer = subprocess.Popen(
        [program, "view", "start", "--log-dir", str(file.parent), "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(300):
            try:
                with urlopen(f"http://127.0.0.1:{port}/api/logs", timeout=5) as answer:
                    listed = json.load(answer)
                break
            except (URLError, OSError):
                time.sleep(0.2)
    finally:
        viewer.terminate()
        viewer.wait(30)

    assert [Path(each["name"]).name for each in listed["files"]] == [file.name]


def test_a_log_is_not_overwritten(tmp_path: Path) -> None:
    write(tmp_path / "runs" / "e1")
    export(tmp_path / "logs", tmp_path / "runs")

    again = error_line(run_cli("export", "inspect", tmp_path / "runs", "--out", tmp_path / "logs"))
    none = error_line(run_cli("export", "inspect", tmp_path / "logs"))

    assert "exists already; choose another folder with --out" in again
    assert "has no journal.jsonl below it" in none
