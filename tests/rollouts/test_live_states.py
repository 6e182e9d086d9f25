"""Rows of a data set begin new episodes, or branches of a live state that is reached once."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel_env.errors import UnknownName, UsageError
from kernel_env.rollouts import LiveStates, SyncRollout

CELLS = ["x = 40", "import os; open('file', 'w').write('seen')"]
SHOW = {"code": "import random; print(x, open('file').read(), random.random())"}


@pytest.fixture
def states(tmp_path: Path) -> Iterator[LiveStates]:
    threads = threading.active_count()
    states = LiveStates(sandbox="local", out=tmp_path, keep=1)
    yield states
    states.close()
    states.close()
    assert threading.active_count() == threads


def close(*rollouts: SyncRollout) -> None:
    for rollout in rollouts:
        rollout.close()


def test_rows_of_one_state_are_a_group_that_is_reached_once(
    states: LiveStates, tiny: str, tmp_path: Path
) -> None:
    group = [states.begin(tiny, state="a", cells=CELLS) for _ in range(3)]
    other = states.begin(tiny, state="b", cells=["x = 1"])  # ends the first state

    lines = [each.call("execute_code", SHOW).text.splitlines()[0].split() for each in group]
    alone = other.call("execute_code", {"code": "print(x)"}).text
    again = states.begin(tiny, state="b", cells=["x = 1"])
    names = {each.group for each in group}
    same_state = other.group == again.group
    close(*group, other, again)

    assert [line[:2] for line in lines] == [["40", "seen"]] * 3
    assert len({line[2] for line in lines}) == 3
    assert len(names) == 1
    assert alone.startswith("1\n")
    assert same_state
    folders = list(tmp_path.glob("tiny/*/journal.jsonl"))
    assert len(folders) == 2 + 3 + 2, "two states and five branches"


@pytest.mark.slow
def test_a_row_without_a_state_is_a_new_episode(states: LiveStates, tiny: str) -> None:
    rollout = states.begin(tiny, seed=4)
    group = rollout.group
    close(rollout)

    assert group == "tiny"
    assert rollout.result is not None
    assert rollout.result.seed == 4


def test_a_cell_that_fails_is_a_clear_error(states: LiveStates, tiny: str) -> None:
    rollout = states.begin(tiny, state="a", cells=["x = 1", "1 / 0"])

    with pytest.raises(UsageError, match="cell 2 of the state 'a' fails: ZeroDivisionError"):
        _ = rollout.prompt
    close(rollout)


def test_wrong_rows_are_clear_errors(states: LiveStates, tiny: str) -> None:
    with pytest.raises(UnknownName):
        states.begin("tinny")
    with pytest.raises(UsageError, match="cells were given without the name of the state"):
        states.begin(tiny, cells=["x = 1"])
    close(states.begin(tiny, state="a", cells=["x = 1"]))
    with pytest.raises(UsageError, match=r"the state 'a' of .* was given with other cells before"):
        states.begin(tiny, state="a", cells=["x = 2"])
    with pytest.raises(UsageError, match="keep is 0"):
        LiveStates(keep=0)
