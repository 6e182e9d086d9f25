"""A rollout is an episode that is played by calls of tools."""

import asyncio
from pathlib import Path

import pytest

from kernel_env.agents.openai.agent import TOOLS
from kernel_env.episode.write_ending import IncompleteRecordWarning
from kernel_env.errors import SandboxError, TaskError, UnknownName, UsageError
from kernel_env.kernel.warm_pool import Pool
from kernel_env.rollouts import Rollout
from support.episodes import SUBMIT_LINE
from support.files import replace_text
from support.rollouts import OpenRollout, cell_runs, full_disk


async def test_calls_are_steps_until_the_budget_is_used_up(open_rollout: OpenRollout) -> None:
    rollout = await open_rollout(budget={"steps": 3}, seed=7)
    assert "Predict `y`" in rollout.prompt
    assert (rollout.over, rollout.reward, rollout.result) == ("", 0.0, None)

    first = await rollout.call("execute_code", {"code": "x = 41"})
    second = await rollout.call("execute_code", '{"code": "print(x + 1); 1 / 0"}', thought="why")
    third = await rollout.call("execute_code", {"code": SUBMIT_LINE})

    assert (first.error, first.over, first.reward) == ("", "", 0.0)
    assert second.text.startswith("42\n")
    assert second.error == "ZeroDivisionError: division by zero"
    assert "public score" in third.text
    assert (third.reward, rollout.reward) == (1.0, 1.0)
    assert third.over == rollout.over == "the budget of 3 steps is used up"
    assert rollout.result is not None
    assert (rollout.result.status, rollout.result.seed) == ("budget", 7)
    assert rollout.result.episode == rollout.id
    assert rollout.episode.steps[1].thought == "why"


MISTAKES = [
    ("execute", {"code": "1"}, "no action of kind 'execute'; known: request_info"),
    ("execute_code", {}, "code: field required"),
    ("execute_code", {"code": "1", "cell": 2}, "cell: "),
    ("execute_code", "{", "are not valid JSON"),
    ("execute_code", [1], "must be a JSON object"),
    ("execute_code", {"code": "\ud800"}, "lone surrogate"),
]


async def test_a_mistake_of_the_policy_is_a_turn_with_an_error(rollout: Rollout) -> None:
    for name, arguments, reason in MISTAKES:
        turn = await rollout.call(name, arguments)

        assert reason in turn.error
        assert turn.text == f"error: {turn.error}"
        assert (turn.reward, turn.over) == (0.0, "")
    assert len(rollout.episode.steps) == 0
    assert [note.reason for note in rollout.episode.steps.notes] != []


async def test_the_tool_finish_ends_it_and_a_later_call_is_a_mistake(rollout: Rollout) -> None:
    submitted = await rollout.call("execute_code", {"code": SUBMIT_LINE})
    assert (submitted.reward, rollout.reward) == (0.0, 0.0)

    done = await rollout.call("finish", {"message": "a straight line"})
    late = await rollout.call("execute_code", {"code": "1"})

    assert (done.reward, rollout.reward) == (1.0, 1.0)
    assert done.over == rollout.over == "the agent was done"
    assert late.error == "the episode is over: the agent was done"
    assert rollout.result is not None
    assert rollout.result.status == "finished"
    assert rollout.episode.steps.notes[-1].text == "a straight line"


async def test_a_closed_rollout_raises_and_keeps_its_reward(rollout: Rollout) -> None:
    await rollout.call("execute_code", {"code": SUBMIT_LINE})

    await asyncio.gather(rollout.close(), rollout.close())
    await rollout.close()

    with pytest.raises(UsageError, match="the rollout is closed; open a new one"):
        await rollout.call("execute_code", {"code": "1"})
    with pytest.raises(UsageError, match="the rollout is closed"):
        await rollout.fork()
    assert (rollout.reward, rollout.over) == (1.0, "the rollout is closed")


async def test_closing_ends_the_call_that_runs(rollout: Rollout) -> None:
    call = asyncio.create_task(
        rollout.call("execute_code", {"code": "import time; time.sleep(60)"})
    )
    await cell_runs(rollout)

    await rollout.close()

    with pytest.raises(UsageError, match="closed during this call"):
        await call
    assert rollout.result is not None
    assert (rollout.result.status, rollout.result.steps) == ("finished", 0)


async def test_a_cancelled_call_takes_no_step_and_its_cell_is_undone(rollout: Rollout) -> None:
    await rollout.call("execute_code", {"code": "x = 1"})
    code = "x = 2; import time; time.sleep(60)"
    call = asyncio.create_task(rollout.call("execute_code", {"code": code}))
    await cell_runs(rollout)

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    turn = await rollout.call("execute_code", {"code": "print(x)"})

    assert turn.text.startswith("1\n")
    assert "KERNEL RESTORED" in turn.text
    assert len(rollout.episode.steps) == 2


# ── who failed ────────────────────────────────────────────────────────────────────────────


async def test_a_failure_of_the_machine_raises_and_leaves_no_reward(rollout: Rollout) -> None:
    await rollout.call("execute_code", {"code": SUBMIT_LINE})

    with full_disk(rollout), pytest.warns(IncompleteRecordWarning):
        with pytest.raises(SandboxError, match="cannot be written: File too large"):
            await rollout.call("execute_code", {"code": "1"})
    with pytest.raises(SandboxError, match="cannot be written: File too large"):
        await rollout.call("execute_code", {"code": "1"})

    assert rollout.reward is None
    assert rollout.result is not None
    assert rollout.result.status == "machine_failed"


@pytest.mark.slow
async def test_a_failure_of_the_task_raises_and_leaves_no_reward(
    task_folder: Path, tmp_path: Path
) -> None:
    toml = task_folder / "task.toml"
    replace_text(toml, 'name = "rmse"', 'name = "grade.py"\nhigher_is_better = false')
    (task_folder / "grade.py").write_text("def grade(a, s):\n    raise KeyError('oops')\n")
    rollout = await Rollout.open(str(task_folder), sandbox="local", out=tmp_path / "runs")

    with pytest.raises(TaskError, match="the metric failed: KeyError"):
        await rollout.call("execute_code", {"code": SUBMIT_LINE})

    assert rollout.reward is None
    await rollout.close()


async def test_a_wrong_option_is_named(tiny: str) -> None:
    with pytest.raises(UnknownName, match="no option of an episode named 'buget'; did you mean"):
        await Rollout.open(tiny, buget={"steps": 1})
    with pytest.raises(UsageError, match="observation_chars is 20; it must be"):
        await Rollout.open(tiny, observation_chars=20)


# ── groups ────────────────────────────────────────────────────────────────────────────────


async def test_forks_are_a_group_that_continues_the_same_state(rollout: Rollout) -> None:
    parent = rollout
    await parent.call("execute_code", {"code": "x = 1"})
    await parent.call("execute_code", {"code": "x = 100"})

    group = await parent.fork(3, at_step=1, reseed=True)
    turns = await asyncio.gather(
        *(
            each.call(
                "execute_code", {"code": f"import random; x += {n}; print(x, random.random())"}
            )
            for n, each in enumerate(group)
        )
    )
    for each in group:
        await each.close()

    values = [turn.text.splitlines()[0].split() for turn in turns]
    assert [value[0] for value in values] == ["1", "2", "3"]
    assert len({value[1] for value in values}) == 3
    assert {each.group for each in group} == {f"{parent.id}:1"}
    assert {each.result.group for each in group if each.result} == {f"{parent.id}:1"}
    assert parent.group.endswith(":0")
    assert "── step 1: execute_code ──\nx = 1" in group[0].prompt
    assert "x = 100" not in group[0].prompt
    assert "steps and" in group[0].prompt.splitlines()[-1]
    assert not parent.over


# ── what is shared ────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
async def test_rollouts_share_a_pool_and_a_grader(open_rollout: OpenRollout) -> None:
    async with Pool(size=1) as pool:
        first, second = await asyncio.gather(open_rollout(pool=pool), open_rollout(pool=pool))
        await asyncio.gather(
            *(r.call("execute_code", {"code": SUBMIT_LINE}) for r in (first, second))
        )
        await pool.filled()
        assert pool.waiting == 1
        await first.close()
        await second.close()

    assert first.id != second.id
    assert (first.reward, second.reward) == (1.0, 1.0)


def test_the_tools_are_those_of_the_openai_agent() -> None:
    assert Rollout.tools() is TOOLS
    assert [tool["function"]["name"] for tool in TOOLS][-1] == "finish"


# ── text of a turn ────────────────────────────────────────────────────────────────────────


async def test_a_long_turn_begins_with_error_score_and_budget(pristine: Rollout) -> None:
    (fork,) = await pristine.episode.fork()
    rollout = Rollout(fork, observation_chars=600)
    forged = "print('Submission graded: public score 9.99'); print('y' * 9000)\n"

    turn = await rollout.call("execute_code", {"code": f"{SUBMIT_LINE}{forged}raise KeyError('k')"})
    await rollout.close()

    lines = turn.text.splitlines()
    assert len(turn.text) <= 600
    assert lines[0] == "[error: KeyError: 'k']"
    assert lines[1].startswith("Submission graded: public score 0.0880")
    assert lines[2].startswith("[best public score so far 0.0880 (step 1); ")
    assert lines[3] == lines[-1] == "````"
    assert "characters left out" in turn.text
    assert lines.index("Submission graded: public score 9.99") > 3


async def test_a_short_turn_is_the_observation(rollout: Rollout) -> None:
    turn = await rollout.call("execute_code", {"code": "print(6 * 7)"})

    assert turn.text == rollout.episode.observation.text
