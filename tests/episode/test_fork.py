import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import kernel_env
from kernel_env.episode import Episode, open_episode
from kernel_env.episode.actions import ExecuteCode, RequestInfo, Reset, ValidateCode
from kernel_env.episode.journal import read_journal
from kernel_env.episode.notebook_parser import parse_notebook, read_notebook
from kernel_env.episode.step import CellExecuted, Graded, Rejected
from kernel_env.errors import UsageError
from kernel_env.kernel.connection import client
from kernel_env.sandbox.docker import engine
from kernel_env.sandbox.docker.container import owner

SUBMIT = """
import os, pandas as pd
test = pd.read_csv(os.environ["DATA_PATH"] + "/test.csv")
def submit(slope):
    test.assign(y=slope * test.x)[["id", "y"]].to_csv(os.environ["OUTPUT_PATH"], index=False)
"""
MIB = 1 << 20


@pytest.fixture
async def episode(tiny: str, sandbox: str, tmp_path: Path) -> AsyncIterator[Episode]:
    async with open_episode(tiny, sandbox=sandbox, out=tmp_path) as opened:
        yield opened


async def run(episode: Episode, code: str) -> CellExecuted:
    outcome = (await episode.act(ExecuteCode(code=code))).outcome
    assert isinstance(outcome, CellExecuted)
    return outcome


async def shown(episode: Episode, code: str) -> str:
    outputs = (await run(episode, code)).cell.outputs
    return "".join(o["text"] if "text" in o else o["data"]["text/plain"] for o in outputs).strip()


async def end_all(*episodes: Episode) -> None:
    for episode in episodes:
        await episode.end()


def containers() -> set[str]:
    client = engine.connect()
    mine = client.containers.list(filters={"label": f"kernel-env.owner={owner()}"})
    client.close()
    return {container.id for container in mine}


async def test_forks_and_their_parent_go_on_independently(episode: Episode) -> None:
    await run(episode, "x = [1]; _ = open('f', 'w').write('start')")

    children = await episode.fork(3)
    for number, each in enumerate([episode, *children]):
        await run(each, f"x.append({number}); _ = open('f', 'w').write('of {number}')")
    found = [await shown(each, "print(x, open('f').read())") for each in [episode, *children]]
    await end_all(*children)

    assert found == [f"[1, {number}] of {number}" for number in range(4)]


async def test_a_fork_of_a_fork_outlives_its_ancestors(episode: Episode) -> None:
    await run(episode, "x = 1; _ = open('f', 'w').write('1')")
    (child,) = await episode.fork()
    await run(child, "x += 1; _ = open('f', 'a').write('2')")
    (grandchild,) = await child.fork()

    await episode.end()
    await child.end()
    found = await shown(
        grandchild, "x += 1; _ = open('f', 'a').write('3'); print(x, open('f').read())"
    )
    ending = await grandchild.end()

    assert found == "3 123"
    assert ending.status == "finished"
    assert len(grandchild.steps) == 3


async def test_the_record_of_a_fork_holds_its_parents_steps_and_says_where_it_began(
    episode: Episode,
) -> None:
    await run(episode, SUBMIT + "submit(3)")
    await episode.act(RequestInfo(info_type="name"))
    await run(episode, "later = 1")

    (child,) = await episode.fork(at_step=2)
    await run(child, "submit(2)")
    await child.end()

    name = episode.setup.header.episode
    journal = read_journal(child.folder / "journal.jsonl")
    notebook = read_notebook(child.notebook)
    text = "\n".join(cell.source for cell in notebook.cells)
    assert list(journal.steps) == list(parse_notebook(notebook).steps) == list(child.steps)
    assert list(child.steps)[:2] == list(episode.steps)[:2]
    assert journal.header.fork is not None
    assert (journal.header.fork.episode, journal.header.fork.step) == (name, 2)
    assert f"Branched from episode `{name}` after step 2: the steps until then are that" in text
    assert "its kernel began as a copy of that one's" in text
    assert "later = 1" not in text
    assert json.loads((child.folder / "record.json").read_text()) == child.record.json()  # type: ignore[union-attr]


async def test_a_fork_has_the_best_submission_of_its_parent_and_its_private_grade(
    episode: Episode,
) -> None:
    await run(episode, SUBMIT + "submit(3)")

    (child,) = await episode.fork()
    worse = await run(child, "submit(2)")
    best = child.progress.best
    ending = await child.end()
    await run(episode, "os.remove(os.environ['OUTPUT_PATH'])")
    (without,) = await episode.fork(at_step=0)
    nothing = await without.end()

    assert isinstance(worse.submission, Graded)
    assert best is not None
    assert best.step == ending.chosen_step == 1
    assert ending.grade is not None
    assert ending.grade.private_score == pytest.approx(0.0936, abs=0.0001)
    assert nothing.grade is None


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        ("submit(3)", "submit(3)", None),
        ("submit(3); os.remove(os.environ['OUTPUT_PATH'])", "submit(3)", Graded),
        ("submit(3)\nos.remove(os.environ['OUTPUT_PATH'])", "pass", None),
        ("_ = open(os.environ['OUTPUT_PATH'], 'w').write('bad')", "pass", None),
    ],
)
async def test_a_fork_grades_what_its_parent_would_have_graded(
    tiny: str, tmp_path: Path, before: str, after: str, kind: type | None
) -> None:
    async with open_episode(tiny, sandbox="local", out=tmp_path) as episode:
        await run(episode, SUBMIT + "submit(3)")
        await run(episode, before)

        (child,) = await episode.fork()
        ours, theirs = await run(episode, after), await run(child, after)
        await child.end()

    for outcome in (ours, theirs):
        assert outcome.submission is None if kind is None else isinstance(outcome.submission, kind)


async def test_a_submission_that_was_refused_counts_as_seen_in_a_fork(
    tiny: str, tmp_path: Path
) -> None:
    async with open_episode(tiny, sandbox="local", out=tmp_path) as episode:
        await run(episode, SUBMIT + "submit(3)")
        refused = await run(episode, "_ = open(os.environ['OUTPUT_PATH'], 'w').write('bad')")
        (child,) = await episode.fork()
        same = await run(child, "pass")
        graded = await run(child, "submit(3)")
        await child.end()

    assert isinstance(refused.submission, Rejected)
    assert same.submission is None
    assert isinstance(graded.submission, Graded)


async def test_the_steps_and_seconds_of_a_fork_are_counted_on(tiny: str, tmp_path: Path) -> None:
    budget = {"steps": 4}
    async with open_episode(tiny, sandbox="local", out=tmp_path, budget=budget) as episode:
        await run(episode, "import time; time.sleep(1)")
        await run(episode, "2")
        (child,) = await episode.fork()
        (early,) = await episode.fork(at_step=1)
        left = (
            child.setup.budget.steps_left(child.spent),
            early.setup.budget.steps_left(early.spent),
        )
        spent = early.spent.seconds
        await run(child, "3")
        await run(child, "4")
        over = child.over
        await end_all(child, early)

    assert left == (2, 3)
    assert spent >= 1
    assert over == "the budget of 4 steps is used up"
    assert episode.over is None


@pytest.mark.parametrize(("checkpoints", "how", "cells"), [(9, "copy", 0), (1, "replay", 2)])
async def test_a_fork_at_an_earlier_step_is_a_copy_where_one_is_kept(
    tiny: str, sandbox: str, tmp_path: Path, checkpoints: int, how: str, cells: int
) -> None:
    budget = {"checkpoints": checkpoints}
    async with open_episode(tiny, sandbox=sandbox, out=tmp_path, budget=budget) as episode:
        await run(episode, "x = [1]; _ = open('f', 'w').write('1')")
        await run(episode, "import random; y = random.random()")
        y = await shown(episode, "x.append(3); _ = open('f', 'a').write('3'); print(y)")
        await run(episode, "x.append(4)")

        (child,) = await episode.fork(at_step=2)
        found = await shown(child, "print(x, open('f').read(), y)")
        await child.end()

    fork = child.setup.header.fork
    assert found == f"[1] 1 {y}"
    assert fork is not None
    assert (fork.how, fork.cells, fork.lost) == (how, cells, "")


async def test_a_fork_at_a_step_that_is_not_there_is_refused(tiny: str, tmp_path: Path) -> None:
    async with open_episode(tiny, sandbox="local", out=tmp_path) as episode:
        await run(episode, "1")

        for options in ({"n": 0}, {"n": -1}, {"at_step": 2}, {"at_step": -1}):
            with pytest.raises(UsageError, match="forks at step"):
                await episode.fork(**options)

        assert len(list(episode.folder.parent.iterdir())) == 1
        assert await shown(episode, "print(1)") == "1"


async def test_forks_draw_the_same_numbers_unless_they_are_given_random_states_of_their_own(
    episode: Episode,
) -> None:
    draw = "print(random.random(), np.random.rand())"
    await run(episode, "import random, numpy as np")

    same, seeded = await episode.fork(2), await episode.fork(2, reseed=True)
    drawn = [await shown(each, draw) for each in [episode, *same, *seeded]]
    await end_all(*same, *seeded)

    assert drawn[0] == drawn[1] == drawn[2]
    assert len(set(drawn)) == 3


@pytest.mark.parametrize("at_step", [0, 2])
async def test_random_states_of_its_own_begin_where_the_fork_does(
    tiny: str, tmp_path: Path, at_step: int
) -> None:
    budget = {"checkpoints": 1}
    async with open_episode(tiny, sandbox="local", out=tmp_path, budget=budget) as episode:
        drawn = await shown(episode, "import random; x = random.random(); print(x)")
        await run(episode, "pass")
        await run(episode, "pass")

        (one, other) = await episode.fork(2, at_step=at_step, reseed=True)
        if at_step:
            assert {await shown(each, "print(x)") for each in (one, other)} == {drawn}
        numbers = [await shown(e, "import random; print(random.random())") for e in (one, other)]
        await end_all(one, other)

    assert len({*numbers, drawn}) == 3


@pytest.mark.docker
async def test_what_a_reseeded_fork_drew_is_drawn_again_when_its_cells_are_run_again(
    tiny: str, tmp_path: Path
) -> None:
    async with open_episode(tiny, sandbox="docker", out=tmp_path) as episode:
        before = await shown(episode, "import random; x = random.random(); print(x)")
        (child,) = await episode.fork(reseed=True)
        after = await shown(child, "y = random.random(); print(y)")

        await run(child, "import os; os.kill(-1, 9); os._exit(1)")
        found = await shown(child, "print(x, y)")
        count = (await run(child, "pass")).cell.execution_count
        await child.end()

    assert found == f"{before} {after}"
    assert count == 4


async def test_a_reset_before_or_after_the_point_of_a_fork(tiny: str, tmp_path: Path) -> None:
    budget = {"checkpoints": 1}
    async with open_episode(tiny, sandbox="local", out=tmp_path, budget=budget) as episode:
        await run(episode, "x = 1; _ = open('f', 'w').write('old')")
        await episode.act(Reset())
        await run(episode, "y = 2; _ = open('g', 'w').write('new')")

        look = "import os; print('x' in dir(), 'y' in dir(), sorted(os.listdir()))"
        found = []
        for step in (1, 2, 3):
            (child,) = await episode.fork(at_step=step)
            found.append(await shown(child, look))
            await child.act(Reset())
            found.append(await shown(child, look))
            await child.end()
        mine = await shown(episode, look)

    fresh = "False False []"
    assert found == ["True False ['f']", fresh, fresh, fresh, "False True ['g']", fresh]
    assert mine == "False True ['g']"


async def test_a_fork_after_a_fault_is_of_the_kernel_that_was_put_back(episode: Episode) -> None:
    await run(episode, "x = 41; _ = open('f', 'w').write('kept')")
    await run(episode, "import os; x = 0; _ = open('f', 'w').write('gone'); os._exit(1)")

    (child,) = await episode.fork()
    found = await shown(child, "print(x, open('f').read())")
    await child.end()

    assert found == "41 kept"


async def test_a_fork_and_a_kernel_that_was_put_back_can_be_interrupted(
    episode: Episode, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run(episode, "x = 1")
    (child,) = await episode.fork()
    await run(episode, "import os; os._exit(1)")
    code = "import signal\nprint(signal.pthread_sigmask(signal.SIG_BLOCK, []))"

    masks = [await shown(each, code) for each in (episode, child)]
    tried = await child.act(ValidateCode(code=code))
    await child.end()

    assert tried.cell is not None
    assert masks == ["set()", "set()"]
    assert tried.cell.outputs[0]["text"].strip() == "set()"


async def test_a_fork_whose_time_is_up_keeps_its_variables(tiny: str, tmp_path: Path) -> None:
    budget = {"cell_seconds": 1}
    async with open_episode(tiny, sandbox="local", out=tmp_path, budget=budget) as episode:
        await run(episode, "x = 1")
        (child,) = await episode.fork()

        slow = await run(child, "x = 2\nwhile True: pass")
        found = await shown(child, "print(x)")
        await child.end()

    assert slow.cell.timed_out
    assert slow.cell.broke is None
    assert slow.cell.seconds < client.INTERRUPT_S
    assert found == "2"


@pytest.mark.parametrize("victims", ["standby", "template", "both"])
async def test_a_standby_that_was_killed_stops_neither_trial_nor_fork(
    episode: Episode, victims: str
) -> None:
    await run(episode, "import os; x = 41; _ = open('f', 'w').write('kept')")
    live = episode._live
    await live._kept()
    template = live.server.template
    assert template is not None
    pids = [c.standby.pid for c in live._checkpoints] * (victims != "template")
    pids += [template.pid] * (victims != "standby")
    await episode.act(ValidateCode(code=f"for pid in {pids}: os.kill(pid, 9)"))

    tried = await episode.act(ValidateCode(code="x + 1"))
    forks = [*await episode.fork(), *await episode.fork(at_step=0), *await episode.fork(at_step=1)]
    found = [await shown(each, "print(globals().get('x'))") for each in [episode, *forks]]
    await end_all(*forks)

    assert tried.cell is not None
    assert tried.cell.outputs[0]["data"]["text/plain"] == "42"
    assert found == ["41", "41", "None", "41"]


async def test_a_file_that_is_written_through_memory_is_kept_and_put_back(
    episode: Episode,
) -> None:
    await run(episode, "import numpy as np, os; m = np.memmap('m', dtype='u1', mode='w+', shape=9)")
    for value in (1, 2, 3):
        await run(episode, f"m[0] = {value}")

    tried = await episode.act(ValidateCode(code="print(m[0], open('m', 'rb').read()[0])\nm[0] = 9"))
    (child,) = await episode.fork()
    await run(child, "m[0] = 4")
    await run(child, "m[0] = 5")
    await run(episode, "m[0] = 6; os._exit(1)")
    found = [await shown(e, "print(m[0], open('m', 'rb').read()[0])") for e in (episode, child)]
    await run(child, "m[0] = 7; os._exit(1)")
    found += [await shown(child, "print(m[0], open('m', 'rb').read()[0])")]
    await child.end()

    assert tried.cell is not None
    assert tried.cell.outputs[0]["text"] == "3 3\n"
    assert found == ["3 3", "5 5", "5 5"]


async def test_a_fork_is_quiet_while_a_thread_of_its_parent_prints(episode: Episode) -> None:
    await run(
        episode,
        "import threading, time\ngo = True\n"
        "def talk():\n    while go:\n        print('talk', flush=True); time.sleep(0.001)\n"
        "threading.Thread(target=talk, daemon=True).start()",
    )

    children = [fork for _ in range(5) for fork in await episode.fork()]
    found = [await shown(child, "print(1)") for child in children]
    late = [len(child.steps[-1].cell.late) for child in children if child.steps[-1].cell]
    await run(episode, "go = False")
    await end_all(*children)

    assert found == ["1"] * 5
    assert late == [0] * 5


@pytest.mark.docker
async def test_without_branching_a_fork_runs_the_cells_again_in_a_container_of_its_own(
    tiny: str, tmp_path: Path
) -> None:
    async with open_episode(tiny, sandbox="docker", out=tmp_path, branching=False) as episode:
        y = await shown(
            episode,
            "import random; x = 41; y = random.random(); open('f', 'w').write('1'); print(y)",
        )
        before = containers()
        same, seeded = [*await episode.fork(), *await episode.fork(reseed=True)]
        beside = containers() - before
        found = [await shown(e, "print(x, y, open('f').read())") for e in (episode, same, seeded)]
        drawn = [await shown(e, "print(random.random())") for e in (episode, same, seeded)]
        await end_all(same, seeded)
        left = containers()

    assert len(beside) == 2
    assert same.setup.header.fork is not None
    assert (same.setup.header.fork.how, same.setup.header.fork.cells) == ("replay", 1)
    assert found == [f"41 {y} 1"] * 3
    assert drawn[0] == drawn[1] != drawn[2]
    assert left == before


@pytest.mark.docker
async def test_without_branching_a_trial_holds_everything_else_still_and_undoes_itself(
    tiny: str, tmp_path: Path
) -> None:
    async with open_episode(tiny, sandbox="docker", out=tmp_path, branching=False) as episode:
        await run(
            episode,
            "import subprocess, time, os\nx = 41; _ = open('f', 'w').write('kept')\n"
            "p = subprocess.Popen(['sh', '-c', 'while :; do echo >> ticks; sleep 0.01; done'])",
        )

        tried = await episode.act(
            ValidateCode(
                code="a = os.path.getsize('ticks'); time.sleep(0.3); b = os.path.getsize('ticks')\n"
                "x = 0; _ = open('f', 'w').write('gone'); print(a == b, p.poll())"
            )
        )
        found = await shown(
            episode,
            "a = os.path.getsize('ticks'); time.sleep(0.5); b = os.path.getsize('ticks')\n"
            "print(x, open('f').read(), a < b); p.kill()",
        )

    assert tried.cell is not None
    assert tried.cell.outputs[0]["text"].split()[0] == "True"
    assert found == "41 kept True"


@pytest.mark.docker
async def test_forks_share_the_memory_that_they_do_not_write(tiny: str, tmp_path: Path) -> None:
    async with open_episode(tiny, sandbox="docker", out=tmp_path) as episode:
        await run(episode, "import numpy as np; a = np.ones(500 << 17); a.nbytes")
        box = episode._live.sandbox

        async def held() -> int:
            await episode._live._kept()
            found = await box.run(["sh", "-c", "cat /proc/[0-9]*/smaps_rollup"], timeout_s=30)
            lines = found.output.decode(errors="replace").splitlines()
            return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))

        before = await held()
        children = await episode.fork(4)
        after = await held()
        sums = [await shown(child, "print(int(a.sum()))") for child in children]
        await end_all(*children)
        finally_ = await held()

    assert before > 500 * MIB
    assert after - before < 250 * MIB
    assert finally_ - before < 60 * MIB
    assert sums == [str(500 << 17)] * 4


async def test_forks_that_ended_leave_nothing_in_the_box(episode: Episode) -> None:
    await run(episode, "import os; x = 1; _ = open('f', 'w').write('1')")
    box = episode._live.sandbox
    snapshots = str(box.where(kernel_env.sandbox.protocol.SNAPSHOTS))

    async def there() -> tuple[set[int], list[str]]:
        await episode._live._kept()
        found = await box.run(["ls", "-A", snapshots], timeout_s=10)
        pids, _ = await box.box.ask("stop", keep=[])  # type: ignore[attr-defined]
        await box.go_on(pids["stopped"])
        return set(pids["stopped"]), sorted(found.output.decode().split())

    before, files = await there()
    children = await episode.fork(3)
    (grandchild,) = await children[0].fork()
    for child in children:
        await run(
            child, "import subprocess; subprocess.Popen(['sleep', '71'], start_new_session=True)"
        )
        await child.act(ValidateCode(code="x = 2; subprocess.Popen(['sleep', '72'])"))
    during, _ = await there()
    await end_all(*children, grandchild)
    for _ in range(50):  # a standby that was let go ends by itself, in its own time
        after, left = await there()
        if after == before:
            break
        await asyncio.sleep(0.1)

    assert len(during) >= len(before) + 4
    assert after == before
    assert left == files


async def test_forks_at_once_and_trials_of_siblings_do_not_meet(episode: Episode) -> None:
    await run(episode, "x = 0")
    children = await episode.fork(3)

    async def work(child: Episode, number: int) -> str:
        for _ in range(3):
            await run(child, f"x += {number}; _ = open('f', 'w').write(str(x))")
            await child.act(ValidateCode(code="x = 99; _ = open('f', 'w').write('tried')"))
            await run(child, "import os; x = 98; os._exit(1)")
        return await shown(child, "print(x, open('f').read())")

    found = await asyncio.gather(*(work(child, n) for n, child in enumerate(children, 1)))
    await end_all(*children)

    assert found == ["3 3", "6 6", "9 9"]


# ── gymnasium ─────────────────────────────────────────────────────────────────────────────


def execute(code: str) -> dict[str, str]:
    return {"kind": "execute_code", "code": code}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_environments_fork_and_are_closed_in_any_order(
    tiny: str, tmp_path: Path, order: tuple[int, ...]
) -> None:
    env = kernel_env.make(tiny, sandbox="local", out=tmp_path)
    env.reset()
    env.step(execute("x = 1"))
    (fork,), clone = env.fork(), env.clone()
    envs = [env, fork, clone]

    for number, each in enumerate(envs):
        each.step(execute(f"x += {number}"))
    told = [each.step(execute("print(x)"))[0]["text"].split("\n")[0] for each in envs]
    for number in order:
        envs[number].close()

    assert told == ["1", "2", "3"]
    for each in envs:
        assert each.record is not None
        assert each.notebook is not None
        assert each.notebook.is_file()


def test_a_fork_of_an_environment_can_be_reset_and_its_parent_goes_on(
    tiny: str, tmp_path: Path
) -> None:
    env = kernel_env.make(tiny, sandbox="local", out=tmp_path)
    with pytest.raises(UsageError, match=r"call env\.reset"):
        env.fork()
    env.reset()
    env.step(execute("x = 1"))

    (fork,) = env.fork(at_step=1)
    fork.reset()
    fresh = fork.step(execute("print('x' in dir())"))[0]["text"]
    kept = env.step(execute("print('x' in dir())"))[0]["text"]
    fork.close()
    env.close()

    assert fresh.startswith("False")
    assert kept.startswith("True")
