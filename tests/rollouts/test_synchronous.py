"""Synchronous callers, of any thread, play rollouts; nothing of them stays behind."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kernel_env.errors import UnknownName, UsageError
from kernel_env.rollouts import EventLoopThread, SyncRollout

DONE = {"code": "x = 41"}


def test_threads_play_rollouts_that_start_at_the_same_time(tiny: str, tmp_path: Path) -> None:
    before = threading.active_count()
    rollouts = [SyncRollout.open(tiny, sandbox="local", out=tmp_path, seed=n) for n in range(2)]

    def play(rollout: SyncRollout) -> str:
        rollout.call("execute_code", DONE)
        return rollout.call("execute_code", {"code": "print(x + 1)"}).text.splitlines()[0]

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(play, rollouts)) == ["42"] * 2
        list(threads.map(SyncRollout.close, rollouts))

    assert [each.result.seed for each in rollouts if each.result] == [0, 1]
    assert [each.reward for each in rollouts] == [0.0] * 2
    assert threading.active_count() == before


def test_a_fork_outlives_its_parent(tiny: str, tmp_path: Path) -> None:
    with SyncRollout.open(tiny, sandbox="local", out=tmp_path) as parent:
        parent.call("execute_code", DONE)
        (child,) = parent.fork()
        name = parent.id

    turn = child.call("execute_code", {"code": "print(x)"})
    child.close()
    child.close()

    assert turn.text.startswith("41\n")
    assert child.group == f"{name}:1"
    with pytest.raises(UsageError, match="the rollout is closed"):
        child.call("execute_code", DONE)


def test_one_that_is_closed_while_it_begins_leaves_nothing(tiny: str, tmp_path: Path) -> None:
    before = threading.active_count()

    rollout = SyncRollout.open(tiny, sandbox="local", out=tmp_path)
    rollout.close()

    with pytest.raises(UsageError, match="closed before it had begun"):
        _ = rollout.prompt
    assert threading.active_count() == before


def test_a_wrong_option_raises_at_once_and_starts_nothing(tiny: str) -> None:
    before = threading.active_count()

    with pytest.raises(UnknownName, match="no reward named 'finale'; did you mean 'final'"):
        SyncRollout.open(tiny, reward="finale")

    assert threading.active_count() == before


@pytest.mark.slow
def test_a_thread_can_be_shared_by_name(tiny: str, tmp_path: Path) -> None:
    thread = EventLoopThread().join()
    try:
        with SyncRollout.open(tiny, thread=thread, warm=1, sandbox="local", out=tmp_path) as first:
            assert "Predict" in first.prompt
        with SyncRollout.open(tiny, thread=thread, warm=1, sandbox="local", out=tmp_path) as second:
            assert second.id != first.id
    finally:
        thread.leave()


@pytest.mark.slow
def test_a_script_that_does_not_close_ends_with_a_complete_notebook(
    tiny: str, tmp_path: Path
) -> None:
    program = (
        "from kernel_env.rollouts import SyncRollout\n"
        f"rollout = SyncRollout.open({tiny!r}, sandbox='local', out={str(tmp_path)!r})\n"
        f"rollout.call('execute_code', {DONE!r})\n"
        "raise SystemError('a bug of the user')"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )

    assert done.returncode == 1
    assert "Exception ignored" not in done.stderr
    (record,) = tmp_path.rglob("record.json")
    assert '"status": "finished"' in record.read_text()
