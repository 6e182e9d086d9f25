"""The first process in a box: it starts, ends and reaps programs and opens files for the host.

In a container it is PID 1, in the local sandbox a plain child of ours; it is run
by path with `python -I -S` and needs only the standard library. It connects to
the host once, through a socket in the doorway, before any untrusted program
runs. From then on the host holds the connection: nothing in the box can reach,
fill or replace it. When the connection ends, so does everything in the box.

One JSON line per message; descriptors travel beside the bytes (SCM_RIGHTS), and each
message says in `fds` how many are its own.

    {"id": 1, "do": "spawn", "argv": […], "env": {…}} + [stdin, stdout, …]  → {"pid": 7}
    {"id": 2, "do": "signal", "pid": 7, "number": 2}                 → {}
    {"id": 6, "do": "adopt", "pid": 9}                               → {}
    {"id": 3, "do": "open", "path": "/workspace/x", "write": false}  → {} + [descriptor]
    {"id": 4, "do": "stat", "path": "/workspace/x"}                  → {"stat": […]}
    {"id": 5, "do": "sweep", "empty": ["/workspace"]}                → {}
    {"id": 7, "do": "end", "keep": [9], "within": 9, "others": [12]} → {}
    {"id": 8, "do": "stop", "keep": [9]}                             → {"stopped": [7]}
    {"id": 12, "do": "go_on", "pids": [7]}                           → {}
    {"id": 9, "do": "weigh", "pids": [9], "enough": n}               → {"bytes": 4096}
    {"id": 10, "do": "memory"}                                       → {"killed": 0, "limit": n}
    {"id": 11, "do": "take", …}, restore, tree, forget, remove: see `snapshots`
    and, unasked, for every program that ends: {"exit": 7, "code": 0, "peak": n}

A request that fails is answered with {"errno": n, "error": "…"}.

Signals sent from inside the container cannot end PID 1 (the kernel drops those
that PID 1 has no handler for, SIGKILL included), and it is not dumpable, so
programs of the same user cannot trace it or open its descriptors.

A program may have a view of its own of the agent's folders (a branch of a kernel has).
`within` names a program whose view is meant; its files are found through /proc.
"""

import ctypes
import errno
import fcntl
import json
import os
import queue
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from . import file_tree, processes, snapshots

FIRST_FREE = 100
"""Received descriptors are moved up here, clear of the numbers a program will be given."""
END_S = 10.0
"""How long killed processes may take to be gone."""
STORED = ("take", "restore", "tree", "forget", "remove")
"""What is asked of the store of snapshots."""
REMEMBERED = 1000
"""Ends of processes that nobody has asked for."""
PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 4, 36


def protect() -> None:
    """Keep programs of the same user from ending us or reading our memory; adopt their orphans."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's own handler would let it through to us
    if sys.platform == "linux":
        prctl = ctypes.CDLL(None).prctl
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def spawn(argv: list[str], env: dict[str, str], descriptors: list[int]) -> int:
    """Start a program in a session of its own; it gets `descriptors` as its 0, 1, 2, 3, …"""
    return os.posix_spawnp(
        argv[0],
        argv,
        env,
        file_actions=[(os.POSIX_SPAWN_DUP2, d, n) for n, d in enumerate(descriptors)],
        setsid=True,
        setsigmask=[],
        setsigdef=[s for s in signal.valid_signals() if s not in (signal.SIGKILL, signal.SIGSTOP)],
    )


def seen(path: str, within: int | None) -> str:
    """The path by which we find what `within` finds at `path`."""
    return path if within is None else f"/proc/{within}/root{path}"


def open_file(path: str, *, write: bool) -> int:
    """Open a file without following a link and without waiting for a pipe's other end."""
    flags = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    if not write:
        return os.open(path, os.O_RDONLY | flags)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | flags, 0o644)


def stat(path: str) -> list[int]:
    """Mode, size, modification and change time in ns, and inode of a file, links not followed."""
    s = os.lstat(path)
    return [s.st_mode, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino]


class Store(threading.Thread):
    """Snapshots are made aside, so that a large one does not hold up the rest."""

    def __init__(self, folder: str, say: Callable[[dict[str, Any]], None]) -> None:
        super().__init__(daemon=True)
        self.store, self.say = snapshots.Store(folder), say
        self.requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def put(self, request: dict[str, Any]) -> None:
        """To be done in order."""
        self.requests.put(request)

    def run(self) -> None:
        """Until this program ends."""
        while True:
            request = self.requests.get()
            reply: dict[str, Any] = {"id": request["id"]}
            try:
                self.do(request)
            except OSError as error:
                reply |= {"errno": error.errno or errno.EIO, "error": error.strerror or str(error)}
            self.say(reply)

    def do(self, request: dict[str, Any]) -> None:
        """One request. Raises `OSError`."""
        name, store = request["name"], self.store
        roots = [seen(path, request.get("within")) for path in request.get("roots", [])]
        match request["do"]:
            case "take":
                mapped = frozenset(processes.written_maps(request["mapped_by"]))
                store.take(name, roots, request["prior"], request["like"], mapped)
            case "restore":
                store.restore(name, roots)
            case "tree":
                store.tree(name, request["folder"])
            case "forget":
                store.forget(name)
            case "remove":
                file_tree.empty(name)
                os.rmdir(name)


class Init:
    """The loop: requests from the host, deaths of children."""

    def __init__(self, connection: socket.socket, folder: str) -> None:
        self.connection = connection
        self.saying = threading.Lock()
        self.store = Store(folder, self.say)
        self.store.start()
        self.children: set[int] = set()
        """Those whose end the host wants to hear of."""
        self.ended: dict[int, tuple[int, int]] = {}
        """How the latest others ended, should the host ask yet."""
        self.wake, self.alarm = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(self.alarm, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def say(self, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
        """Send one line; the host reads at once, so this never waits for long."""
        given = descriptors or []
        data = json.dumps({**message, "fds": len(given)}).encode() + b"\n"
        with self.saying:
            sent = socket.send_fds(self.connection, [data], given)
            self.connection.sendall(data[sent:])

    def reap(self) -> None:
        """Collect every child that has ended, ours or adopted, and report ours."""
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self.ended_with(pid, os.waitstatus_to_exitcode(status), used.ru_maxrss * 1024)

    def ended_with(self, pid: int, code: int, peak: int) -> None:
        """Report the end of a process and the most memory it had in bytes, or remember them."""
        if pid in self.children:
            self.children.discard(pid)
            self.say({"exit": pid, "code": code, "peak": peak})
        else:
            self.ended[pid] = code, peak
            if len(self.ended) > REMEMBERED:
                del self.ended[next(iter(self.ended))]

    def adopt(self, pid: int) -> None:
        """Report how this process ends, or ended. Raises `ProcessLookupError`."""
        if pid not in self.ended:
            os.kill(pid, 0)
        self.children.add(pid)
        if pid in self.ended:
            self.ended_with(pid, *self.ended.pop(pid))

    def end_all(self) -> None:
        """Kill every other process in the box."""
        processes.kill(lambda: set(processes.descendants()))
        while True:  # zombies still count against the limit of processes: wait for each
            try:
                pid, status, used = os.wait4(-1, 0)
            except ChildProcessError:
                return
            self.ended_with(pid, os.waitstatus_to_exitcode(status), used.ru_maxrss * 1024)

    def end(self, keep: list[int], within: int | None, others: list[int]) -> None:
        """Kill the processes that share a view, save some; wait until they are gone."""
        chosen = processes.viewed(within, others, keep)
        killed = processes.kill(chosen)
        deadline = time.monotonic() + END_S
        while time.monotonic() < deadline and any(map(processes.alive, killed)):
            time.sleep(0.0005)
            self.reap()

    def answer(self, request: dict[str, Any], received: list[int]) -> None:
        """Do what one request asks and say how it went."""
        if request["do"] in STORED:
            self.store.put(request)
            return
        given: list[int] = []
        reply: dict[str, Any] = {"id": request["id"]}
        within = request.get("within")
        try:
            match request["do"]:
                case "spawn":
                    reply["pid"] = spawn(request["argv"], request["env"], received)
                    self.children.add(reply["pid"])
                case "adopt":
                    self.adopt(request["pid"])
                case "signal":
                    if request["pid"] in self.children:  # a reaped number may be somebody else's
                        os.killpg(request["pid"], request["number"])
                case "open":
                    path = seen(request["path"], within)
                    given.append(open_file(path, write=request["write"]))
                case "stat":
                    reply["stat"] = stat(seen(request["path"], within))
                case "sweep":
                    self.end_all()
                    for folder in request["empty"]:
                        file_tree.empty(folder)
                case "end":
                    self.end(request["keep"], within, request["others"])
                case "stop":
                    keep = set(request["keep"])
                    reply["stopped"] = sorted(
                        processes.stop(lambda: set(processes.descendants()) - keep)
                    )
                case "go_on":
                    for pid in request["pids"]:
                        processes.send(pid, signal.SIGCONT)
                case "weigh":
                    reply["bytes"] = processes.weigh(request["pids"], request["enough"])
                case "memory":
                    reply |= processes.memory()
        except OSError as error:
            reply |= {"errno": error.errno or errno.EIO, "error": error.strerror or str(error)}
        self.say(reply, given)
        for descriptor in given:
            os.close(descriptor)

    def serve(self) -> None:
        """Until the host lets go."""
        poller = select.poll()
        poller.register(self.connection, select.POLLIN)
        poller.register(self.wake, select.POLLIN)
        buffer, received = b"", []
        while True:
            ready = {descriptor for descriptor, _ in poller.poll()}
            if self.wake in ready:
                try:
                    os.read(self.wake, 4096)
                except BlockingIOError:
                    pass
            self.reap()
            if self.connection.fileno() not in ready:
                continue
            data, descriptors, _, _ = socket.recv_fds(self.connection, 1 << 16, 16)
            if not data:
                return
            for descriptor in descriptors:
                received.append(fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE))
                os.close(descriptor)
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                request = json.loads(line)
                mine, received = received[: request["fds"]], received[request["fds"] :]
                self.answer(request, mine)
                for descriptor in mine:
                    os.close(descriptor)


def main() -> None:
    """`pid1.py SOCKET STORE`: connect to the host, then serve it; snapshots go into the folder."""
    protect()
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(sys.argv[1])
    first = Init(connection, sys.argv[2])
    try:
        first.serve()
    except (BrokenPipeError, ConnectionResetError):
        pass  # the host is gone: end as if it had let go
    finally:
        if os.getpid() != 1:  # the end of PID 1 ends its container; elsewhere that is up to us
            connection.close()
            signal.set_wakeup_fd(-1)
            first.say = lambda *_: None  # type: ignore[method-assign]
            first.end_all()


if __name__ == "__main__":
    main()
