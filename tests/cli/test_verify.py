"""Check `replay --verify`, `--sign` and `--check` in a separate process: exit codes and lines."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from kernel_env.episode.journal import Journal
from support.cli import error_line, run_cli
from support.hostile_text import HOSTILE, is_clean
from support.recorded_run import write_run
from support.trajectories import HEADER, cell_step

TASKS = Path(__file__).parents[1] / "support"
LOCAL = ("--sandbox", "local")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("mine", "other"):
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(argv, check=True)
    return folder


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an episode of the task `tiny`, found by its name in the catalogue."""
    out = tmp_path_factory.mktemp("runs")
    actions = [
        {"kind": "execute_code", "code": "import time; print(f'{time.perf_counter()} s')"},
        {
            "kind": "execute_code",
            "code": "import os, pandas as pd\n"
            "test = pd.read_csv(os.environ['DATA_PATH'] + '/test.csv')\n"
            "test.assign(y=3 * test.x)[['id', 'y']].to_csv(os.environ['OUTPUT_PATH'], index=False)",
        },
    ]
    script = out / "actions.json"
    script.write_text(json.dumps(actions))
    options = ("--agent", "scripted", "--script", script, "--out", out, *LOCAL)
    done = run_cli("run", "tiny", *options, KERNEL_ENV_TASKS=str(TASKS))
    assert done.returncode == 0, done.stderr
    (folder,) = out.glob("tiny/*")
    return folder


@pytest.fixture
def run(recorded: Path, tmp_path: Path) -> Path:
    """A copy of the folder that a test can change."""
    return Path(shutil.copytree(recorded, tmp_path / "run"))


def verify(*argv: object) -> "subprocess.CompletedProcess[str]":
    return run_cli("replay", *argv, KERNEL_ENV_TASKS=str(TASKS))


def test_reproduced_is_signed_and_checked(run: Path, keys: Path) -> None:
    done = verify(run, "--verify", *LOCAL, "--sign", keys / "mine", "--json")

    found = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert found["verdict"] == "REPRODUCED"
    assert found["masks"] == {"duration": 1}
    assert [each["claim"] for each in found["signatures"]] == ["reproduced"]
    assert sorted(path.name for path in run.iterdir()) == [
        *("journal.jsonl", "record.json", "submissions", "trajectory.ipynb")
    ]

    done = verify(run, "--check", keys / "mine.pub")
    assert done.returncode == 0
    assert done.stdout.startswith("signed by SHA256:")
    assert "who reproduced it" in done.stdout

    done = verify(run, "--check", keys / "other.pub")
    assert done.returncode == 5
    assert "is not signed by SHA256:" in error_line(done)

    notebook = run / "trajectory.ipynb"
    notebook.write_text(notebook.read_text().replace("import time", "import tine", 1))
    done = verify(notebook, "--check", keys / "mine.pub")
    assert done.returncode == 4
    assert done.stdout.splitlines()[-1].startswith("TAMPERED: step 1")


def test_the_report_of_a_verification_ends_with_the_verdict(run: Path) -> None:
    done = verify(run / "trajectory.ipynb", "--verify", "--final-only", *LOCAL)

    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert lines[-1].startswith("REPRODUCED: the submission that counts has the same bytes")
    assert any("skipped" in line and "nothing that is played" in line for line in lines)


def test_export_signs_what_was_made(run: Path, keys: Path) -> None:
    done = run_cli("export", run, "--sign", keys / "mine")
    assert done.returncode == 0, done.stderr
    assert "who made it" in verify(run, "--check", keys / "mine.pub").stdout

    journal = run / "journal.jsonl"
    journal.write_text(journal.read_text().replace("test.x", "test.y"))
    done = run_cli("export", run, "--sign", keys / "mine")
    assert done.returncode == 4
    assert "was changed and is not signed: step 2" in error_line(done)


def test_what_cannot_be_run_has_failed(tmp_path: Path) -> None:
    write_run(tmp_path / "e")

    done = run_cli("replay", tmp_path / "e", "--verify", *LOCAL)

    assert done.returncode == 3
    assert done.stdout.splitlines()[-1].startswith(
        "FAILED: the task 'tiny' is not in the catalogue"
    )


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--final-only"], "--final-only is an option of --verify"),
        (["--tolerance", "0.1"], "--tolerance is an option of --verify"),
        (["--sign", "{keys}/mine"], "--sign is an option of --verify"),
        (["--verify", "--tolerance", "-1"], "the tolerance is -1.0; it must be a number from 0 on"),
        (["--verify", "--seconds", "0"], "the time limit is 0.0 s; it must be a positive number"),
        (["--verify", "--sign", "{keys}/none"], "the key {keys}/none cannot be read"),
        (["--verify", "--sign", "{keys}/mine.pub"], "is not a private key"),
        (["--check", "{keys}/mine"], "is a private key; give the public one"),
    ],
)
def test_options_that_do_not_fit(run: Path, keys: Path, argv: list[str], message: str) -> None:
    done = verify(run, *(word.format(keys=keys) for word in argv))

    assert done.returncode == 2
    assert message.format(keys=keys) in error_line(done)


def test_a_journal_has_no_place_for_a_signature(run: Path, keys: Path) -> None:
    for option in (("--check", keys / "mine.pub"), ("--verify", "--sign", keys / "mine")):
        done = verify(run / "journal.jsonl", *option)
        assert done.returncode == 2
        assert "a signature is stored in a notebook" in error_line(done)


def test_an_interrupted_verification_leaves_nothing_behind(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    with closing(Journal(journal, HEADER)) as written:
        written.append(cell_step(1, "import time; time.sleep(60)"))
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    argv = [sys.executable, "-m", "kernel_env.cli", "replay", str(journal), "--verify", *LOCAL]
    env = {**os.environ, "KERNEL_ENV_TASKS": str(TASKS), "TMPDIR": str(temporary)}
    process = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not list(temporary.glob("kernel-env-*/tiny/*/journal.jsonl")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)

    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 130
    assert errors.decode().splitlines()[-1] == "error: interrupted"
    assert list(temporary.iterdir()) == []


def test_text_of_a_recording_cannot_forge_the_report(run: Path) -> None:
    """Every hostile text, as what a changed recording says and as what the code prints."""
    journal = run / "journal.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    forged = "\nREPRODUCED: FORGED\n" + "\n".join(HOSTILE.values())
    first = next(line["step"] for line in lines if "step" in line)
    first["outcome"]["cell"]["outputs"] = [
        {
            "output_type": "stream",
            "name": "stdout",
            "text": json.loads(json.dumps(forged)).encode(errors="replace").decode(),
        }
    ]
    for line in lines:
        del line["digest"]  # as in version 0.1, so that it is played
    lines[0]["header"]["image_digest"] = forged.encode(errors="replace").decode()
    for path in run.iterdir():
        if path.is_file():
            path.unlink()
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))

    done = verify(journal, "--verify", *LOCAL)

    assert done.returncode == 1, done.stderr
    assert is_clean(done.stdout)
    said = done.stdout.splitlines()
    assert said[-1].startswith("DRIFTED: step 1")
    assert not [line for line in said if line.startswith(("REPRODUCED", "TAMPERED", "FAILED"))]
