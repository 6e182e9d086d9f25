"""Check that only one driver plays a suite or a share, on this machine and on another."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kernel_env.errors import UsageError
from kernel_env.suite.lock import FRESH_S, Lock, read_owner, running
from kernel_env.suite.plan import Shard

HOLD = """
import sys
from pathlib import Path
from kernel_env.suite.lock import Lock
from kernel_env.suite.plan import Shard
with Lock(Path(sys.argv[1]), Shard()):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_driver_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert first.stdout
    assert first.stdout.readline() == "held\n"

    with pytest.raises(UsageError, match=f"is being played by process {first.pid} on"):
        Lock(tmp_path, Shard()).__enter__()
    assert len(running(tmp_path)) == 1
    first.kill()
    first.communicate()

    assert running(tmp_path) == []
    with Lock(tmp_path, Shard()):
        assert len(running(tmp_path)) == 1
    assert read_owner(tmp_path / "suite.lock") is None


@pytest.mark.parametrize(
    ("held", "wanted", "allowed"),
    [
        ((1, 2), (2, 2), True),
        ((1, 2), (1, 2), False),
        ((1, 2), (1, 1), False),
        ((1, 1), (1, 2), False),
        ((1, 2), (2, 4), False),
        ((1, 2), (1, 12), False),
    ],
)
def test_shares_that_overlap_are_refused(
    tmp_path: Path, held: tuple[int, int], wanted: tuple[int, int], allowed: bool
) -> None:
    with Lock(tmp_path, Shard(number=held[0], count=held[1])):
        other = Lock(tmp_path, Shard(number=wanted[0], count=wanted[1]))
        if allowed:
            with other:
                assert len(running(tmp_path)) == 2
        else:
            with pytest.raises(UsageError, match="is being played by"):
                other.__enter__()


@pytest.mark.parametrize(("age_s", "fresh"), [(10, True), (FRESH_S + 10, False), (-10, True)])
def test_a_driver_on_another_machine_is_believed_while_its_name_is_recent(
    tmp_path: Path, age_s: float, fresh: bool
) -> None:
    owner = {"host": "another", "pid": 7, "at": time.time() - age_s}
    (tmp_path / "suite.lock").write_text(json.dumps(owner))

    if fresh:
        with pytest.raises(UsageError, match=r"process 7 on another .* has ended, wait \d+ s"):
            Lock(tmp_path, Shard()).__enter__()
        assert json.loads((tmp_path / "suite.lock").read_text()) == owner
    else:
        with Lock(tmp_path, Shard()):
            pass


@pytest.mark.parametrize("content", ["", "nonsense", "{}", "[1]", '{"host": 1, "pid": "x"}'])
def test_a_lock_file_with_other_content_is_free(tmp_path: Path, content: str) -> None:
    (tmp_path / "suite.lock").write_text(content)

    with Lock(tmp_path, Shard()):
        assert read_owner(tmp_path / "suite.lock")


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(Exception, match="cannot be written: Not a directory"):
        Lock(tmp_path / "file" / "x", Shard()).__enter__()
