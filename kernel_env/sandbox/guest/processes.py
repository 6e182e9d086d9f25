"""What the first process in a box knows of the others and does to them.

Imported by `pid1.py` from beside it: the standard library only. A process's *view* is its
mount namespace, which a copy of a kernel with files of its own does not share.
"""

import os
import signal
from collections.abc import Callable, Iterable, Iterator


def descendants() -> Iterator[int]:
    """Every other process in the box. Without /proc (macOS) nothing can be found."""
    if os.getpid() != 1:
        yield from below(os.getpid())
    elif os.path.isdir("/proc"):
        yield from (int(name) for name in os.listdir("/proc") if name.isdigit() and name != "1")


def below(ancestor: int) -> Iterator[int]:
    """The processes that one started, and those that they started."""
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


def view(pid: int) -> str:
    """Which view of the file system a process has; empty when it does not say."""
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt")
    except OSError:
        return ""


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rsplit(b")", 1)[1].split()[0] not in (b"Z", b"X")
    except (OSError, IndexError):
        return False


def send(pid: int, number: int) -> None:
    """A signal to a process that may be gone, or not ours to end."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def stop(chosen: Callable[[], set[int]]) -> set[int]:
    """Stop processes until nothing new is found: what is stopped makes no more."""
    stopped: set[int] = set()
    while new := chosen() - stopped:
        for pid in new:
            send(pid, signal.SIGSTOP)
        stopped |= new
    return stopped


def kill(chosen: Callable[[], set[int]]) -> set[int]:
    """Stop what is there until nothing new is found, then kill it: a fork bomb cannot race."""
    killed = stop(chosen)
    for pid in killed:
        send(pid, signal.SIGKILL)
    while more := chosen() - killed:
        killed |= more
        for pid in more:
            send(pid, signal.SIGKILL)
    return killed


def viewed(
    within: int | None, others: Iterable[int], keep: Iterable[int]
) -> Callable[[], set[int]]:
    """Finds the processes that share a view, and those of views that nobody stands for.

    `within` is a process of the view, None for our own; `others` stand for views that are left
    alone; `keep` are left alone as well.
    """
    theirs = {view(pid) for pid in others} | ({view(os.getpid())} if within else set())
    mine, kept = view(within or os.getpid()), set(keep)

    def chosen() -> set[int]:
        found = set(descendants()) - kept
        return {pid for pid in found if (seen := view(pid)) == mine or seen not in theirs}

    return chosen


def weigh(pids: list[int], enough: int) -> int:
    """Bytes of memory that processes hold; their share of what they share, beyond `enough`.

    What they share is looked for only when what they have in all is more than that: it takes long.
    """
    most = sum(map(resident, pids))
    return most if most <= enough else sum(map(share, pids))


def resident(pid: int) -> int:
    """Bytes of memory of a process that are no file's."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            _, pages, of_files, *_ = map(int, file.read().split())
        return (pages - of_files) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def share(pid: int) -> int:
    """The same, with what it shares divided among those who share it."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file.readlines()[1:])
        kinds = [lines[name].split()[0] for name in ("Pss_Anon", "Pss_Shmem") if name in lines]
        return sum(map(int, kinds)) * 1024
    except (OSError, ValueError):
        return 0


def written_maps(pid: int | None) -> Iterator[str]:
    """Names of the files that a process and those below it have mapped to write to."""
    for each in [pid, *below(pid)] if pid else []:
        try:
            with open(f"/proc/{each}/maps", "rb") as maps:
                lines = [line for line in maps if b" rw-s " in line]
        except OSError:
            continue
        for line in lines:
            yield os.fsdecode(line.rstrip(b"\n").rpartition(b"/")[2])


def memory() -> dict[str, int]:
    """How many processes the memory limit has killed, and the limit; 0 where there is none."""
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
