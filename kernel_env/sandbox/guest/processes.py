"""Find, stop, kill and measure the other processes of a sandbox, for the init process.

Uses the standard library only. A forked kernel with files of its own has a mount namespace of its
own, so processes are selected by mount namespace.
"""

import os
import signal
from collections.abc import Callable, Iterable, Iterator


def descendants() -> Iterator[int]:
    """Yield every other process in the sandbox. Without /proc (macOS) it finds none."""
    if os.getpid() != 1:
        yield from descendants_of(os.getpid())
    elif os.path.isdir("/proc"):
        yield from (int(name) for name in os.listdir("/proc") if name.isdigit() and name != "1")


def descendants_of(ancestor: int) -> Iterator[int]:
    """Yield the children of a process, their children, and so on."""
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    parent = int(file.read().rsplit(b")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
            parents.setdefault(parent, []).append(int(name))
    found = list(parents.get(ancestor, []))
    while found:
        pid = found.pop()
        yield pid
        found += parents.get(pid, [])


def mount_namespace(pid: int) -> str:
    """Return the identity of a process's mount namespace; empty if it is unknown."""
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt")
    except OSError:
        return ""


def is_alive(pid: int) -> bool:
    """Return whether a process exists and is no zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rsplit(b")", 1)[1].split()[0] not in (b"Z", b"X")
    except (OSError, IndexError):
        return False


def name(pid: int) -> str:
    """Return the name of a process, also of a zombie; empty if it is unknown."""
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            return file.read().decode(errors="replace").strip()
    except OSError:
        return ""


def send_signal(pid: int, number: int) -> None:
    """Send a signal; ignore processes that are gone or belong to another user."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def stop(select: Callable[[], set[int]]) -> set[int]:
    """Stop processes repeatedly until no new ones are found: stopped processes fork no more."""
    stopped: set[int] = set()
    while new := select() - stopped:
        for pid in new:
            send_signal(pid, signal.SIGSTOP)
        stopped |= new
    return stopped


def kill(select: Callable[[], set[int]]) -> set[int]:
    """Stop all selected processes, then kill them, so that a fork bomb cannot outrun it."""
    killed = stop(select)
    for pid in killed:
        send_signal(pid, signal.SIGKILL)
    while more := select() - killed:
        killed |= more
        for pid in more:
            send_signal(pid, signal.SIGKILL)
    return killed


def in_mount_namespace(
    member: int | None, others: Iterable[int], keep: Iterable[int]
) -> Callable[[], set[int]]:
    """Return a function that selects processes of a mount namespace, and of unclaimed ones.

    Args:
        member: a process in the mount namespace; None for the namespace of init.
        others: processes whose mount namespaces are left alone.
        keep: processes that are left alone as well.
    """
    other_namespaces = {mount_namespace(pid) for pid in others}
    other_namespaces |= {mount_namespace(os.getpid())} if member else set()
    own_namespace, kept = mount_namespace(member or os.getpid()), set(keep)

    def select() -> set[int]:
        found = set(descendants()) - kept
        return {
            pid
            for pid in found
            if (namespace := mount_namespace(pid)) == own_namespace
            or namespace not in other_namespaces
        }

    return select


def memory_used(pids: list[int], enough: int) -> int:
    """Return the memory of processes in bytes.

    Shared pages count in full while the sum is at most `enough`; otherwise each process counts
    with its proportional share, which takes long to measure.
    """
    total = sum(map(resident_bytes, pids))
    return total if total <= enough else sum(map(proportional_bytes, pids))


def resident_bytes(pid: int) -> int:
    """Return the memory of a process in bytes, without pages of files."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            _, pages, of_files, *_ = map(int, file.read().split())
        return (pages - of_files) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def proportional_bytes(pid: int) -> int:
    """Return the memory of a process in bytes, with shared pages divided among those who share."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file.readlines()[1:])
        kinds = [lines[name].split()[0] for name in ("Pss_Anon", "Pss_Shmem") if name in lines]
        return sum(map(int, kinds)) * 1024
    except (OSError, ValueError):
        return 0


def writable_mappings(pid: int | None) -> Iterator[str]:
    """Yield the names of files that a process and its descendants have mapped for writing."""
    for descendant in [pid, *descendants_of(pid)] if pid else []:
        try:
            with open(f"/proc/{descendant}/maps", "rb") as maps:
                lines = [line for line in maps if b" rw-s " in line]
        except OSError:
            continue
        for line in lines:
            yield os.fsdecode(line.rstrip(b"\n").rpartition(b"/")[2])


def memory_limit() -> dict[str, int]:
    """Return how many processes the memory limit has killed, and the limit; 0 without a limit."""
    for events, limit in (
        ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory.max"),
        ("/sys/fs/cgroup/memory/memory.oom_control", "/sys/fs/cgroup/memory/memory.limit_in_bytes"),
    ):
        try:
            with open(events, encoding="ascii") as file:
                counts = dict(line.split() for line in file)
            with open(limit, encoding="ascii") as file:
                return {"killed": int(counts["oom_kill"]), "limit": int(file.read())}
        except (OSError, ValueError, KeyError):
            continue
    return {"killed": 0, "limit": 0}
