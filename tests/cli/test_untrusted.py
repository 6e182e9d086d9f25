"""What others wrote neither runs on this machine nor acts on its terminal."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
import pytest

from kernel_env.episode.journal import JOURNAL, Journal
from kernel_env.episode.notebook import write_notebook
from kernel_env.episode.trajectory import Trajectory
from support.chat_server import Reply, error_reply, run_chat_server, text_answer
from support.cli import error_line, run_cli
from support.hostile_text import HOSTILE, is_clean
from support.trajectories import HEADER, cell_step

NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}
SEALED = "Without an engine nothing isolates this code, which is not yours; --sandbox local runs it"
WITHOUT_ZERO = [text for text in HOSTILE.values() if "\0" not in text and "\ud800" not in text]


# ── what runs ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    """The notebook of an episode of the task `tiny`."""
    path = tmp_path / "run" / "trajectory.ipynb"
    path.parent.mkdir()
    write_notebook(Trajectory(header=HEADER, steps=(cell_step(1, "x = 1"),)), path)
    return path


PREPARE = """
def prepare(raw, public, private):
    open({proof!r}, "w").close()
"""


@pytest.mark.parametrize("as_path", ["{folder}", "{folder}/.", "./tiny", "../{name}/tiny"])
def test_a_notebook_cannot_name_a_folder_whose_programs_would_run(
    task_folder: Path, tmp_path: Path, notebook: Path, as_path: str
) -> None:
    proof = tmp_path / "proof"
    (task_folder / "prepare.py").write_text(PREPARE.format(proof=str(proof)))
    content = nbformat.read(notebook, as_version=4)
    named = as_path.format(folder=task_folder, name=tmp_path.name)
    content.metadata["kernel_env"]["header"]["task"] = named
    nbformat.write(content, notebook)

    done = run_cli("replay", notebook, "--sandbox", "local", "--out", tmp_path, cwd=tmp_path)

    assert done.returncode == 2
    assert "which the catalogue does not have" in error_line(done)
    assert not proof.exists()


@pytest.mark.parametrize("folder", [False, True])
def test_a_replay_without_an_engine_does_not_run_the_code(
    tiny: str, tmp_path: Path, notebook: Path, *, folder: bool
) -> None:
    env = {**NO_ENGINE, "KERNEL_ENV_TASKS": str(Path(tiny).parent)}
    what = notebook.parent if folder else notebook

    done = run_cli("replay", what, "--out", tmp_path / "runs", **env)

    assert (done.returncode, SEALED in error_line(done)) == (1, True)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["trajectory.ipynb", "journal.jsonl"])
def test_a_recorded_episode_as_a_script_is_not_trusted(
    tiny: str, tmp_path: Path, notebook: Path, name: str
) -> None:
    journal = Journal(notebook.with_name(JOURNAL), HEADER)
    journal.append(cell_step(1))
    journal.close()

    done = run_cli(
        *("run", tiny, "--agent", "scripted", "--script", notebook.with_name(name)),
        *("--out", tmp_path / "runs"),
        **NO_ENGINE,
    )

    assert SEALED in error_line(done)


def test_a_script_of_the_operator_runs_unsealed_with_a_warning(
    tiny: str, tmp_path: Path, script: Path
) -> None:
    done = run_cli(
        *("run", tiny, "--agent", "scripted", "--script", script, "--out", tmp_path / "runs"),
        "--json",
        **NO_ENGINE,
    )

    assert done.returncode == 0
    assert json.loads(done.stdout)["sandbox"] == "local"
    (line,) = done.stderr.splitlines()[:1]
    assert line.startswith("WARNING: NOTHING IS ISOLATED in the sandbox local, selected because")


AGENT = """
class Mine:
    model = ""
    {trusted}
    def __init__(self, options):
        pass
    async def play(self, episode):
        await episode.act({{"kind": "execute_code", "code": "1"}})
        {then}
"""


def write_agent(folder: Path, *, trusted: str = "", then: str = "") -> str:
    """Write an agent's file and return what `--agent` takes."""
    path = folder / "my_agent.py"
    path.write_text(AGENT.format(trusted=trusted, then=then or "pass"))
    return f"{path}:Mine"


@pytest.mark.parametrize("trusted", ["", "trusted = False", "trusted = True"])
def test_an_agent_from_a_file_is_trusted_only_if_it_says_so(
    tiny: str, tmp_path: Path, trusted: str
) -> None:
    agent = write_agent(tmp_path, trusted=trusted)

    done = run_cli("run", tiny, "--agent", agent, "--out", tmp_path / "runs", "--json", **NO_ENGINE)

    if trusted == "trusted = True":
        record = json.loads(done.stdout)
        assert (record["status"], record["steps"], record["agent"]) == ("finished", 1, agent)
    else:
        assert SEALED in error_line(done)


def test_a_model_is_not_trusted(tiny: str, tmp_path: Path) -> None:
    options = ("--model", "m", "--base-url", "http://127.0.0.1:9/v1")

    done = run_cli(
        "run", tiny, "--agent", "openai", *options, "--out", tmp_path / "runs", **NO_ENGINE
    )

    assert SEALED in error_line(done)


def test_an_agent_that_raises_is_a_result_and_the_rest_of_the_batch_runs(
    tiny: str, tmp_path: Path
) -> None:
    then = "if episode.setup.header.seed == 0: raise RuntimeError('oh\\nno')"
    agent = write_agent(tmp_path, then=then)
    options = ("--sandbox", "local", "--seeds", 2, "--out", tmp_path / "runs", "--json")

    done = run_cli("run", tiny, "--agent", agent, *options)

    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["status"] for record in records] == ["agent_failed", "finished"]
    assert r"raised RuntimeError: oh\nno (my_agent.py, line" in records[0]["error"]
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


# ── what reaches the terminal ─────────────────────────────────────────────────────────────


def assert_clean(done: Any) -> None:
    """Check that a command printed whole lines of its own, and only visible characters."""
    assert is_clean(done.stdout + done.stderr, allowed="\n")
    for line in (done.stdout + done.stderr).splitlines():
        assert not line.startswith(("error: FORGED", "notebook: FORGED")), line


def test_hostile_runs_and_tasks_are_listed_in_clean_lines(tiny: str, tmp_path: Path) -> None:
    for number, text in enumerate(WITHOUT_ZERO):
        folder = tmp_path / "runs" / f"{number}"
        folder.mkdir(parents=True)
        header = json.dumps({"header": {**as_json(HEADER), "agent": text, "task": text}})
        (folder / JOURNAL).write_text(header + "\n")
        (folder / "record.json").write_text(json.dumps({"status": text, "steps": text}))
        name = text.replace("/", "")[:60]
        shutil.copytree(tiny, tmp_path / "tasks" / name)
    tasks = {"KERNEL_ENV_TASKS": str(tmp_path / "tasks")}

    listed = run_cli("report", tmp_path / "runs", "--format", "list")
    tasks_listed = run_cli("tasks", "list", **tasks)

    assert_clean(listed)
    assert_clean(tasks_listed)
    assert (listed.returncode, tasks_listed.returncode) == (0, 0)


def as_json(header: Any) -> dict[str, Any]:
    from kernel_env.episode.trajectory import HEADER as ADAPTER

    dumped: dict[str, Any] = ADAPTER.dump_python(header, mode="json")
    return dumped


def test_a_hostile_description_is_shown_without_escapes(task_folder: Path) -> None:
    description = "\n\n".join(["# Tiny", *WITHOUT_ZERO])
    (task_folder / "description.md").write_text(description)

    done = run_cli("tasks", "show", task_folder)

    assert done.returncode == 0
    assert is_clean(done.stdout + done.stderr, allowed="\n")


NAMES = ("a score", "an error", "colours", "the clipboard", "C1", "direction", "Rich")


@pytest.mark.parametrize("reply", [text_answer, partial(error_reply, 400)])
def test_words_of_an_endpoint_are_clean_lines(
    tiny: str, tmp_path: Path, reply: Callable[[str], Reply]
) -> None:
    text = "".join(HOSTILE[name] for name in NAMES)
    with run_chat_server() as chat:
        chat.script = [reply(text)] * 9

        done = run_cli(
            *("run", tiny, "--agent", "openai", "--model", f"m{text}", "--base-url", chat.url),
            *("--sandbox", "local", "--out", tmp_path, "--steps", "2"),
            OPENAI_API_KEY="sk-test",
        )

    assert done.returncode == 1
    assert_clean(done)
    assert "FORGED" in done.stderr


def test_a_word_of_the_command_line_that_is_no_text_is_one_line(tiny: str, tmp_path: Path) -> None:
    for option in ("--model", "--sandbox"):
        argv = ["run", tiny, "--agent", "openai", "--model", "m", "--out", tmp_path]

        done = run_cli(*argv, option, b"\xff\x9b31m", OPENAI_API_KEY="sk-test", **NO_ENGINE)

        assert is_clean(error_line(done), allowed="")
