import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import nbformat
import pytest

from kernel_env.episode import Episode, open_episode
from kernel_env.episode.actions import ExecuteCode, GetHistory, RequestInfo, Reset, ValidateCode
from kernel_env.episode.journal import read_journal
from kernel_env.episode.notebook import render
from kernel_env.episode.notebook_parser import parse_notebook, read_notebook
from kernel_env.episode.observation import recovery_words
from kernel_env.episode.step import (
    CellExecuted,
    CodeValidated,
    Graded,
    InfoShown,
    KernelReset,
    Rejected,
)
from kernel_env.errors import ActionError, EpisodeOver, TaskError, UnknownName, UsageError
from kernel_env.kernel.cell import Recovery

LINE = """
import os, pandas as pd
test = pd.read_csv(os.environ["DATA_PATH"] + "/test.csv")
def submit(slope):
    test.assign(y=slope * test.x)[["id", "y"]].to_csv(os.environ["OUTPUT_PATH"], index=False)
submit(3)
"""


@pytest.fixture
async def episode(tiny: str, sandbox: str, tmp_path: Path) -> AsyncIterator[Episode]:
    async with open_episode(tiny, sandbox=sandbox, out=tmp_path) as opened:
        yield opened


async def run(episode: Episode, code: str) -> CellExecuted:
    outcome = (await episode.act(ExecuteCode(code=code))).outcome
    assert isinstance(outcome, CellExecuted)
    return outcome


async def test_an_agent_works_from_the_first_look_to_a_grade(episode: Episode) -> None:
    assert "Predict `y` from `x`" in episode.observation.text
    told = await episode.act(RequestInfo(info_type="data_structure"))
    assert isinstance(told.outcome, InfoShown)
    assert "140 rows; columns: id, x, y" in told.outcome.text

    step = await episode.act(ExecuteCode(code=LINE), thought="A line should do.")
    seen = episode.observation

    assert isinstance(step.submission, Graded)
    assert step.submission.grade.private_score is None
    assert seen.public_score == pytest.approx(0.088, abs=0.001)
    assert seen.position == step.reward == 1.0
    assert seen.best_public_score == seen.public_score
    assert "Submission graded: public score 0.0880" in seen.text
    assert seen.steps_left == 28


async def test_the_submission_is_graded_when_and_only_when_its_content_changed(
    episode: Episode,
) -> None:
    first = await run(episode, LINE)
    same = await run(episode, "pass")
    touched = await run(episode, "submit(3)")
    worse = await run(episode, "submit(2)")
    back = await run(episode, "submit(3)")
    gone = await run(episode, "os.remove(os.environ['OUTPUT_PATH'])")
    again = await run(episode, "submit(3)")

    kinds = [
        o.submission and o.submission.kind for o in (first, same, touched, worse, back, gone, again)
    ]
    assert kinds == ["graded", None, None, "graded", "graded", None, "graded"]
    assert episode.progress.best is not None
    assert episode.progress.best.step == 1


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("open(path, 'w')", "the submission is empty"),
        ("os.mkdir(path)", "submission.csv is a folder"),
        ("os.symlink('/etc/shadow', path)", "submission.csv is a link"),
        ("os.mkfifo(path)", "submission.csv is a special file"),
        (
            "os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 10 << 30)",
            "has 10,737,418,240 bytes; at most 1,000,000",
        ),
        (
            "open(path, 'wb').write(bytes(500_000))",
            "only whitespace and zero bytes (500,000 bytes)",
        ),
        ("open(path, 'w').write('a,b\\n1,2\\n')", "this task expects id, y"),
        ("test.assign(y='high')[['id', 'y']].to_csv(path, index=False)", "not finite numbers"),
        ("test.assign(y=None)[['id', 'y']].to_csv(path, index=False)", "missing values"),
        ("test.assign(y=1)[['id', 'y']][:-1].to_csv(path, index=False)", "1 ids are missing"),
        (
            "pd.concat([test, test[:2]]).assign(y=1)[['id', 'y']].to_csv(path, index=False)",
            "2 ids appear more than once",
        ),
    ],
)
async def test_a_bad_submission_is_refused_with_the_reason_and_no_reward(
    tiny: str, tmp_path: Path, code: str, reason: str
) -> None:
    async with open_episode(tiny, sandbox="local", out=tmp_path) as episode:
        step = await episode.act(
            ExecuteCode(
                code="import os, pandas as pd; path = os.environ['OUTPUT_PATH']\n"
                "test = pd.read_csv(os.environ['DATA_PATH'] + '/test.csv')\n" + code
            )
        )

        assert isinstance(step.submission, Rejected), step.outcome
        assert reason in step.submission.reason
        assert step.reward == 0
        assert f"Submission refused: {step.submission.reason}" in episode.observation.text


@pytest.mark.docker
async def test_what_is_no_regular_file_is_refused_from_a_container_too(
    tiny: str, tmp_path: Path
) -> None:
    async with open_episode(tiny, sandbox="docker", out=tmp_path) as episode:
        for code, reason in [
            ("os.symlink('/etc/shadow', path)", "is a link"),
            ("os.symlink('/data/test.csv', path)", "is a link"),
            ("os.mkfifo(path)", "is a special file"),
            ("os.mkdir(path)", "is a folder"),
            ("os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 10 << 30)", "at most 1,000,000"),
        ]:
            outcome = await run(
                episode,
                "import os, shutil; path = os.environ['OUTPUT_PATH']\n"
                "shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.path.lexists(path) and os.remove(path)\n"
                + code,
            )
            assert isinstance(outcome.submission, Rejected), outcome
            assert reason in outcome.submission.reason


async def test_validate_code_sees_variables_and_files_and_leaves_nothing(episode: Episode) -> None:
    await run(episode, "x = 41; open('f', 'w').write('kept')")

    tried = await episode.act(
        ValidateCode(
            code="print(open('f').read()); open('f', 'w').write('x'); open('g', 'w'); y = 1"
        )
    )
    wrong = await episode.act(ValidateCode(code="def broken(:"))
    sees = await episode.act(ValidateCode(code="x"))
    after = await run(
        episode, "import os; print(x, open('f').read(), sorted(os.listdir()), 'y' in dir())"
    )

    assert isinstance(tried.outcome, CodeValidated)
    assert tried.outcome.cell.outputs[0]["text"] == "kept\n"
    assert isinstance(wrong.outcome, CodeValidated)
    assert wrong.outcome.cell.error is not None
    assert wrong.outcome.cell.error.name == "SyntaxError"
    assert isinstance(sees.outcome, CodeValidated)
    assert sees.outcome.cell.outputs[0]["data"]["text/plain"] == "41"
    assert sees.outcome.note == ""
    assert after.cell.outputs[0]["text"] == "41 kept ['f'] False\n"


async def test_validate_code_is_never_graded(episode: Episode) -> None:
    step = await episode.act(ValidateCode(code=LINE))

    assert step.submission is None
    assert step.reward == 0
    assert episode.progress.best is None


async def test_reset_gives_a_fresh_kernel_and_an_empty_workspace(episode: Episode) -> None:
    await run(
        episode, "x = 1; open('f', 'w'); import subprocess; subprocess.Popen(['sleep', '77'])"
    )

    step = await episode.act(Reset())
    after = await run(
        episode,
        "import os; print('x' in dir(), os.listdir())\n"
        "!cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -c 'sleep [7]7'",
    )

    assert isinstance(step.outcome, KernelReset)
    assert "".join(o["text"] for o in after.cell.outputs).split() == ["False", "[]", "0"]
    assert episode.observation.steps_left == 27


async def test_a_kernel_that_breaks_is_put_back_and_said_once(episode: Episode) -> None:
    await run(episode, "x = 41; open('f', 'w').write('kept')")

    broken = await run(episode, "import os; x = 0; open('f', 'w').write('gone'); os._exit(7)")
    seen = episode.observation
    after = await run(episode, "print(open('f').read(), x + 1, 'os' in dir())")

    assert broken.cell.recovery is not None
    assert broken.cell.recovery.how == "standby"
    assert seen.restored == broken.cell.broke == "the kernel exited with code 7"
    assert (
        "KERNEL RESTORED: the kernel exited with code 7; nothing this cell did lasts" in seen.text
    )
    assert seen.state_lost == ""
    assert after.cell.recovery is None
    assert after.cell.outputs[0]["text"] == "kept 42 False\n"
    cells = [c for c in render(episode.steps.trajectory).cells if c.cell_type == "code"]
    assert ["skip-execution" in c.metadata.tags for c in cells] == [False, True, False]


@pytest.mark.parametrize(
    ("recovery", "words"),
    [
        (
            Recovery(cause="it exited", how="standby"),
            "it exited; nothing this cell did lasts: variables and files are as they were before"
            " it. Threads,",
        ),
        (
            Recovery(cause="it exited", how="replay", cells=1),
            "it exited; nothing this cell did lasts; 1 earlier cell had to be run again, so values"
            " that depend on the time or on chance may differ from what was seen. Threads,",
        ),
        (
            Recovery(cause="it exited", how="replay", cells=2, lost="ps was list 3, is list 4"),
            "it exited; nothing this cell did lasts; 2 earlier cells had to be run again, so values"
            " that depend on the time or on chance may differ from what was seen, and not"
            " everything came back. Threads,",
        ),
    ],
)
def test_what_is_said_of_a_kernel_that_was_put_back_is_no_more_than_what_is_known(
    recovery: Recovery, words: str
) -> None:
    assert recovery_words(recovery).startswith(words)


DYING = """
import threading, os, time
x = 41
threading.Thread(target=lambda: (time.sleep(0.3), os._exit(9))).start()
"""


async def test_a_kernel_that_dies_between_cells_is_said_with_the_next(episode: Episode) -> None:
    await run(episode, DYING)
    await asyncio.sleep(1)

    outcome = await run(episode, "print(x + 1)")
    words = episode.observation.text
    after = await run(episode, "print(x)")

    assert outcome.cell.outputs[0]["text"] == "42\n"
    assert outcome.cell.recovery is not None
    assert outcome.cell.recovery.before
    assert "exited with code 9; the kernel was put back to where the last cell left it" in words
    assert after.cell.recovery is None


async def test_a_death_between_cells_is_told_by_a_validation_that_finds_it(
    episode: Episode,
) -> None:
    await run(episode, DYING)
    await asyncio.sleep(1)

    tried = await episode.act(ValidateCode(code="x + 1"))
    outcome = await run(episode, "x + 1")

    assert tried.cell is not None
    assert tried.cell.recovery is not None
    assert tried.cell.outputs[0]["data"]["text/plain"] == "42"
    assert outcome.cell.recovery is None


async def test_a_cancelled_cell_leaves_nothing_that_the_record_does_not_know(
    episode: Episode,
) -> None:
    await run(episode, "x = 41")
    acting = asyncio.create_task(run(episode, "x = 99\nimport time; time.sleep(30)"))
    await asyncio.sleep(0.5)

    acting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await acting
    outcome = await run(episode, "x + 1, 'time' in dir()")

    assert outcome.cell.outputs[0]["data"]["text/plain"] == "(42, False)"
    assert outcome.cell.recovery is not None
    assert "a cell was cancelled while it ran" in outcome.cell.recovery.cause
    assert [step.number for step in episode.steps] == [1, 2]


@pytest.mark.docker
async def test_a_container_that_is_gone_is_replaced_and_its_cells_run_again(
    tiny: str, tmp_path: Path
) -> None:
    from kernel_env.sandbox.docker import engine
    from kernel_env.sandbox.docker.container import owner

    async with open_episode(tiny, sandbox="docker", out=tmp_path) as episode:
        await run(episode, "open('f', 'w'); x = 41")
        client = engine.connect()
        (mine,) = client.containers.list(filters={"label": f"kernel-env.owner={owner()}"})
        mine.kill()
        client.close()
        await asyncio.sleep(0.5)

        outcome = await run(episode, "import os; print(os.listdir(), x)")

        assert outcome.cell.outputs[0]["text"] == "['f'] 41\n"
        assert outcome.cell.recovery is not None
        assert outcome.cell.recovery.how == "replay"
        assert outcome.cell.recovery.cells == 1
        assert "gone" in outcome.cell.recovery.cause
        assert outcome.cell.state_lost is None


async def test_a_cell_is_given_the_time_it_may_have_and_no_more(tiny: str, tmp_path: Path) -> None:
    budget = {"cell_seconds": 1, "seconds": 30}
    async with open_episode(tiny, sandbox="local", out=tmp_path, budget=budget) as episode:
        slow = await run(episode, "x = 1\nimport time; time.sleep(30)")
        after = await run(episode, "x")

    assert slow.cell.timed_out
    assert slow.cell.seconds < 3
    assert after.cell.outputs[0]["data"]["text/plain"] == "1"


@pytest.mark.parametrize(
    ("budget", "code", "words"),
    [
        ({"steps": 2}, "pass", "2 steps"),
        ({"seconds": 1.5}, "import time; time.sleep(10)", "1.5 seconds"),
        ({"output_bytes": 10}, "print('x' * 100)", "10 output bytes"),
    ],
)
async def test_an_episode_ends_with_its_budget(
    tiny: str, tmp_path: Path, budget: dict[str, float], code: str, words: str
) -> None:
    async with open_episode(tiny, sandbox="local", out=tmp_path, budget=budget) as episode:
        for _ in range(2):
            if not episode.over:
                await run(episode, code)
        assert episode.over == f"the budget of {words} is used up"
        with pytest.raises(EpisodeOver, match="the episode is over"):
            await run(episode, "1")

    assert episode.steps.ending is not None
    assert episode.steps.ending.status == "budget"


async def test_the_private_score_comes_with_the_ending_alone(tiny: str, tmp_path: Path) -> None:
    async with open_episode(tiny, sandbox="local", out=tmp_path) as episode:
        await run(episode, LINE)
        await run(episode, "submit(2)")
        assert b'"private_score": 0.' not in (episode.folder / "journal.jsonl").read_bytes()

    ending, record = episode.steps.ending, episode.record
    assert ending is not None
    assert record is not None
    assert ending.chosen_step == 1
    assert record.private_score == pytest.approx(0.0936, abs=0.0001)
    assert json.loads((episode.folder / "record.json").read_text()) == record.json()


async def test_feedback_both_tells_the_private_score(tiny: str, tmp_path: Path) -> None:
    async with open_episode(tiny, sandbox="local", out=tmp_path, feedback="both") as episode:
        await run(episode, LINE)

        assert episode.observation.private_score == pytest.approx(0.0936, abs=0.0001)
        assert "private score 0.0936" in episode.observation.text


@pytest.mark.parametrize(
    ("reward", "wanted"), [("raw", [1.0, 0.1, 0.5]), ("improvement", [0.0, 0.9, 0.0])]
)
async def test_rewards_are_what_they_say(
    tiny: str, tmp_path: Path, reward: str, wanted: list[float]
) -> None:
    rewards = []
    async with open_episode(tiny, sandbox="local", out=tmp_path, reward=reward) as episode:
        for slope in (2, 3, 2.5):
            code = LINE if slope == 2 else ""
            step = await episode.act(
                ExecuteCode(code=code.replace("submit(3)", "") + f"\nsubmit({slope})")
            )
            rewards.append(step.reward)

    assert rewards == pytest.approx(wanted, abs=0.15)


async def test_the_notebook_holds_the_steps_and_reads_well(
    episode: Episode, tmp_path: Path
) -> None:
    await episode.act(RequestInfo(info_type="name"))
    await episode.act(ExecuteCode(code=LINE), thought="First, a line.")
    await episode.act(ValidateCode(code="1 / 0"))
    await episode.act(GetHistory(last=1))
    await episode.act(Reset())
    steps = list(episode.steps)
    await episode.end()

    notebook = read_notebook(episode.notebook)
    nbformat.validate(notebook)
    text = "\n".join(cell.source for cell in notebook.cells)
    assert (
        list(parse_notebook(notebook).steps)
        == steps
        == list(read_journal(episode.folder / "journal.jsonl").steps)
    )
    for words in (
        "# Tiny",
        "First, a line.",
        "✅",
        "Reward 1: the share",
        "Only tried",
        "How it ended",
    ):
        assert words in text
    assert [c.source for c in notebook.cells if c.cell_type == "code"] == [LINE, "1 / 0"]


async def test_what_is_no_action_changes_nothing(episode: Episode) -> None:
    with pytest.raises(ActionError, match="no action of kind 'fly'"):
        await episode.act({"kind": "fly"})

    assert len(episode.steps) == 0


async def test_a_file_full_of_holes_does_not_stop_a_validation(tiny: str, tmp_path: Path) -> None:
    budget = {"cell_seconds": 5}
    async with open_episode(tiny, sandbox="local", out=tmp_path, budget=budget) as episode:
        await run(
            episode, "import os; os.truncate(os.open('x', os.O_CREAT | os.O_WRONLY), 1 << 42)"
        )

        step = await episode.act(ValidateCode(code="1"))

    assert step.cell is not None
    assert step.cell.error is None
    assert step.cell.outputs[0]["data"]["text/plain"] == "1"


async def test_a_file_that_may_not_be_read_does_not_stop_a_validation(episode: Episode) -> None:
    await run(episode, "import os; open('x', 'w').write('secret'); os.chmod('x', 0)")

    step = await episode.act(ValidateCode(code="os.chmod('x', 0o600); open('x').read()"))
    after = await run(episode, "oct(os.stat('x').st_mode)")

    assert step.cell is not None
    assert step.cell.outputs[0]["data"]["text/plain"] == "'secret'"
    assert after.cell.outputs[0]["data"]["text/plain"] == "'0o100000'"


async def test_folders_that_are_hard_to_delete_do_not_keep_a_kernel_from_being_put_back(
    episode: Episode,
) -> None:
    await run(episode, "import os, tempfile; x = 41")
    await run(
        episode,
        "os.chdir(tempfile.gettempdir())\n"
        "for i in range(20): os.mkdir('d' * 250); os.chdir('d' * 250)\n"
        "os.mkdir('z'); open('z/f', 'w'); os.chmod('z', 0); os._exit(1)",
    )

    outcome = await run(episode, "x + 1, os.listdir(tempfile.gettempdir())")

    assert outcome.cell.outputs[0]["data"]["text/plain"] == "(42, [])"


async def test_a_workspace_that_cannot_be_deleted_does_not_stop_a_reset(episode: Episode) -> None:
    await run(
        episode,
        "import os\nfor i in range(20): os.mkdir('d' * 250); os.chdir('d' * 250)\n"
        "os.mkdir('z'); open('z/f', 'w'); os.chmod('z', 0)",
    )

    await episode.act(Reset())

    assert (await run(episode, "import os; os.listdir('.')")).cell.outputs[0]["data"][
        "text/plain"
    ] == "[]"


@pytest.mark.docker
async def test_the_answers_are_nowhere_in_the_container(tiny: str, tmp_path: Path) -> None:
    async with open_episode(tiny, sandbox="docker", out=tmp_path) as episode:
        names = "answers* leaderboard* grade.py prepare.py solution.ipynb private"
        wanted = " -o ".join(f"-name '{name}'" for name in names.split())
        outcome = await run(
            episode,
            f"!find /data /workspace /opt/kernel_env /run /tmp /home /root /mnt {wanted} 2>/dev/null\n"
            "!grep -rlE ',(Public|Private)' /data /opt/kernel_env /run 2>/dev/null\n"
            "!env | grep -iE 'answer|token|key|secret|kernel_env_'\n"
            "!cat /proc/self/mountinfo | grep -cE 'answers|private'\n",
        )

    assert "".join(o["text"] for o in outcome.cell.outputs).split() == ["0"]


@pytest.mark.docker
async def test_full_temporary_folders_do_not_keep_the_next_kernel_from_starting(
    tiny: str, tmp_path: Path
) -> None:
    async with open_episode(tiny, sandbox="docker", out=tmp_path) as episode:
        fill = "; ".join(
            f"dd if=/dev/zero of={folder}/big bs=1M" for folder in ("/tmp", "~", "/dev/shm", ".")
        )
        await run(episode, f"!{fill}")
        await run(episode, "import os; os._exit(1)")

        outcome = await run(episode, "6 * 7")

    assert outcome.cell.outputs[0]["data"]["text/plain"] == "42"


async def test_scores_beyond_all_numbers_are_refused(tiny: str, tmp_path: Path) -> None:
    async with open_episode(tiny, sandbox="local", out=tmp_path) as episode:
        outcome = await run(
            episode,
            LINE
            + "\ntest.assign(y=1e300)[['id', 'y']].to_csv(os.environ['OUTPUT_PATH'], index=False)",
        )

    assert isinstance(outcome.submission, Rejected)
    assert "rmse of these predictions is inf" in outcome.submission.reason


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"task": "nope"}, "no task named 'nope'"),
        ({"sandbox": "nope"}, "no sandbox named 'nope'; known: docker, local"),
        ({"reward": "nope"}, "no reward named 'nope'"),
        ({"feedback": "nope"}, "feedback is 'nope'"),
        ({"budget": {"stepz": 1}}, "a budget has no stepz"),
        ({"budget": {"steps": 0}}, "the budget's steps is 0"),
        ({"budget": {"seconds": "x"}}, "the budget's seconds is 'x'"),
    ],
)
async def test_what_does_not_fit_is_said_before_anything_is_made(
    tiny: str, tmp_path: Path, options: dict[str, object], complaint: str
) -> None:
    given = {"task": tiny, "sandbox": "local", **options}

    with pytest.raises((UsageError, UnknownName), match=complaint):
        async with open_episode(**given, out=tmp_path / "runs"):  # type: ignore[arg-type]
            pass

    assert not (tmp_path / "runs").exists()


async def test_a_metric_that_fails_is_no_zero_for_the_agent(tasks: Path, tmp_path: Path) -> None:
    path = tasks / "task.toml"
    path.write_text(
        path.read_text().replace('name = "rmse"', 'name = "grade.py"\nhigher_is_better = false')
    )
    (tasks / "grade.py").write_text("def grade(answers, submission):\n    raise KeyError('oops')\n")

    with pytest.raises(TaskError, match="the metric failed: KeyError"):
        async with open_episode(str(tasks), sandbox="local", out=tmp_path / "runs") as episode:
            await run(episode, LINE)

    ending = read_journal(episode.folder / "journal.jsonl").ending
    assert ending is not None
    assert ending.status == "task_failed"
    assert episode.notebook.is_file()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_ends_the_box_and_completes_the_record(
    tiny: str, sandbox: str, number: signal.Signals, tmp_path: Path
) -> None:
    script = tmp_path / "slow.json"
    actions = [
        {"kind": "execute_code", "code": "x = 1"},
        {"kind": "execute_code", "code": "import time; time.sleep(60)"},
    ]
    script.write_text(json.dumps(actions))
    argv = [
        sys.executable,
        "-m",
        "kernel_env.cli",
        "run",
        tiny,
        "--agent",
        "scripted",
        "--script",
        script,
        "--sandbox",
        sandbox,
        "--out",
        tmp_path / "runs",
    ]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for _ in range(300):
        journals = list((tmp_path / "runs").glob("*/*/journal.jsonl"))
        if journals and journals[0].read_bytes().count(b"\n") >= 2:
            break
        time.sleep(0.1)
    time.sleep(0.3)

    process.send_signal(number)
    _, said = process.communicate(timeout=30)

    assert process.returncode == 130
    assert said.strip().splitlines()[-1] == "error: interrupted"
    assert str(journals[0].with_name("trajectory.ipynb")) in said
    assert "Traceback" not in said
    trajectory = parse_notebook(read_notebook(journals[0].with_name("trajectory.ipynb")))
    assert len(trajectory.steps) == 1
    assert trajectory.ending is not None
    assert trajectory.ending.status == "interrupted"
    if sandbox == "docker":
        from kernel_env.sandbox.docker import engine

        client = engine.connect()
        label = f"kernel-env.owner={os.uname().nodename}:{process.pid}"
        assert client.containers.list(all=True, filters={"label": label}, ignore_removed=True) == []
        client.close()


@pytest.mark.docker
def test_when_the_host_is_killed_the_container_ends_and_the_journal_is_whole(
    tiny: str, tmp_path: Path
) -> None:
    from kernel_env.episode.notebook import write_notebook
    from kernel_env.sandbox.docker import engine

    script = tmp_path / "slow.json"
    actions = [
        {"kind": "execute_code", "code": "x = 1"},
        {"kind": "execute_code", "code": "import time; time.sleep(60)"},
    ]
    script.write_text(json.dumps(actions))
    argv = [
        sys.executable,
        "-m",
        "kernel_env.cli",
        "run",
        tiny,
        "--agent",
        "scripted",
        "--script",
        script,
        "--sandbox",
        "docker",
        "--out",
        tmp_path / "runs",
    ]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(300):
        journals = list((tmp_path / "runs").glob("*/*/journal.jsonl"))
        if journals and journals[0].read_bytes().count(b"\n") >= 2:
            break
        time.sleep(0.1)

    process.kill()
    process.wait()

    client = engine.connect()
    label = f"kernel-env.owner={os.uname().nodename}:{process.pid}"
    for _ in range(100):
        left = client.containers.list(all=True, filters={"label": label}, ignore_removed=True)
        if not left:
            break
        time.sleep(0.1)
    client.close()
    assert left == []
    trajectory = read_journal(journals[0])
    assert len(trajectory.steps) == 1
    write_notebook(trajectory, tmp_path / "again.ipynb")
    argv = [sys.executable, "-m", "kernel_env.cli", "doctor", "--clean"]
    subprocess.run(argv, check=True, capture_output=True)  # SIGKILL left no time for the folders
    assert not list(Path(os.environ["TMPDIR"]).glob(f"kernel-env-{process.pid}-*"))
