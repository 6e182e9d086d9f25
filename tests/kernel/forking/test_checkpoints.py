"""A checkpoint store returns the nearest checkpoint, and evicts the oldest beyond its limits.

The kernel instance is a fake, so that forks and snapshots can fail when a test needs it.
"""

import errno
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_env.errors import KernelError, SandboxError
from kernel_env.kernel.forking.checkpoints import CheckpointLimits, CheckpointStore
from kernel_env.kernel.forking.log import LogEntry, last_reset
from kernel_env.sandbox.protocol import GIB

FULL_DISK = OSError(errno.ENOSPC, "No space left on device")


@dataclass
class FakeChannel:
    """The control channel of a standby that a test can end."""

    closed: bool = False


@dataclass
class FakeStandby:
    """A standby without a process."""

    pid: int
    channel: FakeChannel = field(default_factory=FakeChannel)


class FakeInstance:
    """A kernel instance, its fork server and its fork support in one."""

    def __init__(self, memory_gb: float = 0.0) -> None:
        self.server = self.support = self
        self.memory_gb = memory_gb
        """Memory of each standby, GiB."""
        self.max_snapshots = 99
        self.fork_error: Exception | None = None
        self.snapshot_error: Exception | None = None
        self.ended: list[int] = []
        """Process IDs of the standbys that were ended."""
        self.snapshots: list[str] = []
        """Snapshots that were taken and not deleted."""
        self._next = 100

    async def fork(self) -> FakeStandby:
        """Fork the kernel, or raise `fork_error`."""
        if self.fork_error is not None:
            raise self.fork_error
        self._next += 1
        return FakeStandby(self._next)

    async def snapshot(self) -> str:
        """Take a snapshot, or raise `snapshot_error`."""
        if self.snapshot_error is not None:
            raise self.snapshot_error
        if len(self.snapshots) >= self.max_snapshots:
            raise FULL_DISK
        self._next += 1
        self.snapshots.append(f"files-{self._next}")
        return self.snapshots[-1]

    async def delete_snapshot(self, name: str | None) -> None:
        """Delete a snapshot."""
        if name is not None:
            self.snapshots.remove(name)

    async def delete_standby(self, instance: object, standby: FakeStandby) -> None:
        """Record that a standby was ended."""
        assert instance is self
        self.ended.append(standby.pid)

    async def memory_used(self, pids: list[int], *, enough_bytes: int) -> int:
        """Return the memory of the standbys."""
        return int(len(pids) * self.memory_gb * GIB)


def store_of(instance: Any, **limits: float) -> CheckpointStore:
    """Build an empty store."""
    return CheckpointStore(instance, CheckpointLimits(**{"count": 9, **limits}))  # type: ignore[arg-type]


async def take(store: CheckpointStore, *positions: int) -> None:
    """Take checkpoints of these positions."""
    for position in positions:
        store.take_in_background(position)
        await store.taken()


def log_of(length: int, *resets: int) -> list[LogEntry]:
    """Build a log of cells, with a reset as the entry before each of these positions."""
    return [
        LogEntry(step=n, code=None if n in resets else "x = 1", timeout_s=1.0)
        for n in range(1, length + 1)
    ]


def nearest(store: CheckpointStore, log: list[LogEntry], position: int) -> int | None:
    """Return the position of the nearest checkpoint with files."""
    checkpoint = store.nearest(log, position, with_files=True)
    return checkpoint and checkpoint.position


# ── nearest ───────────────────────────────────────────────────────────────────────────────


async def test_nearest_is_the_latest_checkpoint_up_to_the_position() -> None:
    store, log = store_of(FakeInstance()), log_of(6)
    await take(store, 1, 3, 5)

    assert [nearest(store, log, n) for n in range(7)] == [None, 1, 1, 3, 3, 5, 5]


async def test_no_checkpoint_before_a_reset_is_near() -> None:
    store, log = store_of(FakeInstance()), log_of(6, 3)
    await take(store, 1, 2, 5)

    assert [nearest(store, log, n) for n in range(7)] == [None, 1, 2, None, None, 5, 5]


async def test_a_checkpoint_of_the_reset_itself_is_near() -> None:
    store, log = store_of(FakeInstance()), log_of(6, 3)
    await take(store, 1, 3)

    assert nearest(store, log, 6) == 3


async def test_a_checkpoint_without_files_is_near_only_if_files_are_not_required() -> None:
    instance, log = FakeInstance(), log_of(6)
    store = store_of(instance)
    await take(store, 1)
    instance.snapshot_error = FULL_DISK
    await take(store, 2)

    without_files = store.nearest(log, 6)

    assert without_files is not None
    assert (without_files.position, without_files.files) == (2, None)
    assert nearest(store, log, 6) == 1


@given(st.data())
async def test_only_cells_lie_between_the_nearest_checkpoint_and_the_position(
    data: st.DataObject,
) -> None:
    positions = st.integers(0, 12)
    log = log_of(12, *data.draw(st.sets(st.integers(1, 12), max_size=3)))
    taken, position = data.draw(st.sets(positions)), data.draw(positions)
    store = store_of(FakeInstance(), count=99)
    await take(store, *sorted(taken))

    found = nearest(store, log, position)

    usable = range(last_reset(log, position), position + 1)
    assert found == max(taken & set(usable), default=None)
    assert found is None or all(entry.code is not None for entry in log[found:position])


# ── take ──────────────────────────────────────────────────────────────────────────────────


async def test_a_store_has_only_the_latest_position() -> None:
    store = store_of(FakeInstance())
    await take(store, 1, 2)

    assert [store.has(n) for n in range(4)] == [False, False, True, False]


async def test_a_failed_fork_deletes_its_snapshot_and_is_reported() -> None:
    instance = FakeInstance()
    store = store_of(instance)
    instance.fork_error = KernelError("the kernel could not be forked")

    await take(store, 1)

    assert not store.has(1)
    assert store.standbys == []
    assert instance.snapshots == []
    assert store.failure == "the kernel could not be forked"


async def test_a_failed_snapshot_keeps_the_standby_and_is_reported() -> None:
    instance = FakeInstance()
    store = store_of(instance)
    instance.snapshot_error = SandboxError("files are nested more than 200 deep")

    await take(store, 1)

    assert not store.has(1)
    assert len(store.standbys) == 1
    assert store.failure == "files are nested more than 200 deep"


async def test_an_unexpected_error_is_raised_when_the_checkpoint_is_awaited() -> None:
    instance = FakeInstance()
    store = store_of(instance)
    instance.fork_error = ZeroDivisionError()

    with pytest.raises(ZeroDivisionError):
        await take(store, 1)


async def test_current_returns_the_existing_checkpoint_of_the_position() -> None:
    instance = FakeInstance()
    store = store_of(instance)
    await take(store, 1, 2)

    standby, files = await store.current(2)

    assert standby is store.standbys[-1]
    assert files == instance.snapshots[-1]
    assert len(store.standbys) == 2


async def test_current_takes_a_checkpoint_if_there_is_none_of_the_position() -> None:
    store = store_of(FakeInstance())
    await take(store, 1)

    standby, _ = await store.current(2)

    assert store.has(2)
    assert standby is store.standbys[-1]


async def test_current_replaces_a_dead_standby() -> None:
    store = store_of(FakeInstance())
    await take(store, 1)
    dead = store.standbys[0]
    dead.channel.closed = True  # type: ignore[misc]

    standby, _ = await store.current(1)

    assert standby is not dead
    assert store.standbys == [standby]


async def test_current_raises_why_no_checkpoint_can_be_taken() -> None:
    instance = FakeInstance()
    store = store_of(instance)
    instance.snapshot_error = FULL_DISK

    with pytest.raises(KernelError, match=r"could not be forked: .*No space left"):
        await store.current(1)


# ── evict and delete ──────────────────────────────────────────────────────────────────────


async def test_the_oldest_checkpoints_beyond_the_count_are_evicted() -> None:
    instance = FakeInstance()
    store = store_of(instance, count=2)

    await take(store, 1, 2, 3, 4)

    assert [nearest(store, log_of(4), n) for n in range(1, 5)] == [None, None, 3, 4]
    assert len(instance.ended) == len(instance.snapshots) == 2


async def test_the_oldest_checkpoints_beyond_the_memory_are_evicted() -> None:
    store = store_of(FakeInstance(memory_gb=1.0), memory_gb=2.5)

    await take(store, 1, 2, 3, 4)

    assert [nearest(store, log_of(4), n) for n in range(1, 5)] == [None, None, 3, 4]


async def test_the_latest_checkpoint_is_kept_even_beyond_the_memory() -> None:
    store = store_of(FakeInstance(memory_gb=1.0), memory_gb=0.5)

    await take(store, 1, 2)

    assert store.has(2)
    assert len(store.standbys) == 1


async def test_the_oldest_checkpoints_are_deleted_if_there_is_no_space_for_a_snapshot() -> None:
    instance = FakeInstance()
    store = store_of(instance)
    instance.max_snapshots = 2

    await take(store, 1, 2, 3)

    assert [nearest(store, log_of(3), n) for n in range(1, 4)] == [None, 2, 3]
    assert len(instance.snapshots) == 2
    assert store.failure == ""


async def test_dead_standbys_are_deleted_with_their_snapshots() -> None:
    instance = FakeInstance()
    store = store_of(instance)
    await take(store, 1, 2, 3)
    dead = store.standbys[1]
    dead.channel.closed = True  # type: ignore[misc]

    await store.remove_dead()

    assert instance.ended == [dead.pid]
    assert [nearest(store, log_of(3), n) for n in range(1, 4)] == [1, 1, 3]
    assert len(instance.snapshots) == 2


async def test_pop_latest_deletes_all_others_and_returns_it_undeleted() -> None:
    instance = FakeInstance()
    store = store_of(instance)
    await take(store, 1, 2, 3)
    first, second, third = store.standbys

    latest = await store.pop_latest()

    assert latest.standby is third
    assert instance.ended == [first.pid, second.pid]
    assert instance.snapshots == [latest.files]
    assert store.standbys == []


async def test_a_used_checkpoint_loses_its_snapshot_and_its_standby_is_not_ended() -> None:
    instance = FakeInstance()
    store = store_of(instance)
    await take(store, 1)
    checkpoint = store.nearest(log_of(1), 1)
    assert checkpoint is not None

    await store.use_up(checkpoint)

    assert instance.ended == []
    assert instance.snapshots == []
    assert store.standbys == []
