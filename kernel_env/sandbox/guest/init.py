"""The init process of a sandbox: starts, kills and reaps programs and opens files for the host.

In a container it is PID 1, in the local sandbox a child of the host process; it is started by
`python -I -S` and needs only the standard library. It connects to the host once, through a
socket, before any untrusted program runs. From then on the host holds the connection: no
program inside can reach, fill or replace it. When the connection ends, init kills everything.

One JSON line per message; file descriptors travel beside the bytes (SCM_RIGHTS), and each
message says in `fds` how many are its own.

    {"id": 1, "do": "spawn", "argv": […], "env": {…}} + [stdin, stdout, …]  → {"pid": 7}
    {"id": 2, "do": "signal", "pid": 7, "number": 2}                 → {}
    {"id": 3, "do": "open", "path": "/workspace/x", "write": false}  → {} + [descriptor]
    {"id": 4, "do": "stat", "path": "/workspace/x"}                  → {"stat": […]}
    {"id": 5, "do": "clean_up", "empty": ["/workspace"]}             → {}
    {"id": 6, "do": "adopt", "pid": 9}                               → {}
    {"id": 7, "do": "kill_processes", "keep": [9], "mount_namespace_of": 9, "others": [12]}
                                                            → {"killed": [[8, "sleep"]]}
    {"id": 8, "do": "pause", "keep": [9]}                            → {"paused": [7]}
    {"id": 9, "do": "resume", "pids": [7]}                           → {}
    {"id": 10, "do": "memory_used", "pids": [9], "enough": n}        → {"bytes": 4096}
    {"id": 11, "do": "memory_limit"}                                 → {"killed": 0, "limit": n}
    {"id": 13, "do": "sender"} + [socket]                            → {"pid": 9}
    {"id": 12, "do": "snapshot", …}, and restore, create_lower, delete_snapshot, remove_folder:
    see `snapshots`
    and for every program that ends, without a request: {"exit": 7, "code": 0, "peak": n}

A request that fails is answered with {"errno": n, "error": "…"}.

Signals sent from inside the container cannot end PID 1 (the kernel drops those that PID 1 has
no handler for, SIGKILL included), and it is not dumpable, so programs of the same user cannot
trace it or open its descriptors.

A program may have a mount namespace of its own (a forked kernel has). `mount_namespace_of`
names a program whose mount namespace is meant; its files are found through /proc.
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
import struct
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from . import file_tree, processes, snapshots

FIRST_FREE = 100
"""Received descriptors are moved up to here, above the numbers that a program is given."""
END_S = 10.0
"""Time limit for killed processes to disappear."""
SNAPSHOT_REQUESTS = ("snapshot", "restore", "create_lower", "delete_snapshot", "remove_folder")
"""Requests that the snapshot thread handles."""
MAX_UNCLAIMED = 1000
"""Exit codes kept of processes that the host has not asked for."""
MAX_NAMED = 20
"""Most killed processes that are named."""
CREDENTIALS = struct.Struct("3i")
"""The C structure `ucred`: process, user, group."""
PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 4, 36


def protect() -> None:
    """Prevent programs of the same user from ending or reading this process; adopt orphans."""
    signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # Python's own handler would let the signal through
    if sys.platform == "linux":
        prctl = ctypes.CDLL(None).prctl
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def spawn(argv: list[str], env: dict[str, str], descriptors: list[int]) -> int:
    """Start a program in a session of its own, with `descriptors` as its 0, 1, 2, 3, …"""
    return os.posix_spawnp(
        argv[0],
        argv,
        env,
        file_actions=[(os.POSIX_SPAWN_DUP2, d, n) for n, d in enumerate(descriptors)],
        setsid=True,
        setsigmask=[],
        setsigdef=[s for s in signal.valid_signals() if s not in (signal.SIGKILL, signal.SIGSTOP)],
    )


def path_in(path: str, pid: int | None) -> str:
    """Return the path by which init finds what the process `pid` finds at `path`."""
    return path if pid is None else f"/proc/{pid}/root{path}"


def open_file(path: str, *, write: bool) -> int:
    """Open a file without following a link or blocking on a named pipe."""
    flags = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    if not write:
        return os.open(path, os.O_RDONLY | flags)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | flags, 0o644)


def sender(descriptor: int) -> int:
    """Return the process that sent the next byte to a socket, as the system says.

    The socket has the option SO_PASSCRED, and the byte stays there. Raises `OSError`.
    """
    with socket.socket(fileno=os.dup(descriptor)) as end:
        size = socket.CMSG_SPACE(CREDENTIALS.size)
        _, passed, _, _ = end.recvmsg(1, size, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    for level, kind, data in passed:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            pid: int = CREDENTIALS.unpack(data)[0]
            return pid
    raise OSError(errno.ENODATA, "the sender of a message is not known")


def stat(path: str) -> list[int]:
    """Return mode, size, modification and change time in ns, and inode; links not followed."""
    s = os.lstat(path)
    return [s.st_mode, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino]


class SnapshotThread(threading.Thread):
    """Takes snapshots in a thread, so that a large one does not delay other requests."""

    def __init__(self, folder: str, send: Callable[[dict[str, Any]], None]) -> None:
        super().__init__(daemon=True)
        self.store, self.send = snapshots.SnapshotStore(folder), send
        self.requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def put(self, request: dict[str, Any]) -> None:
        """Queue a request; requests are handled in order."""
        self.requests.put(request)

    def run(self) -> None:
        """Handle requests until this program ends."""
        while True:
            request = self.requests.get()
            reply: dict[str, Any] = {"id": request["id"]}
            try:
                self.handle(request)
            except OSError as error:
                reply |= {"errno": error.errno or errno.EIO, "error": error.strerror or str(error)}
            self.send(reply)

    def handle(self, request: dict[str, Any]) -> None:
        """Handle one request. Raises `OSError`."""
        name, store = request["name"], self.store
        roots = [
            path_in(path, request.get("mount_namespace_of")) for path in request.get("roots", [])
        ]
        match request["do"]:
            case "snapshot":
                mapped = frozenset(processes.writable_mappings(request["mapped_by"]))
                store.take(name, roots, request["prior"], request["same_as"], mapped)
            case "restore":
                store.restore(name, roots)
            case "create_lower":
                store.create_lower(name, request["folder"])
            case "delete_snapshot":
                store.delete(name)
            case "remove_folder":
                file_tree.empty_folder(name)
                os.rmdir(name)


class Init:
    """Serves requests of the host and reaps children."""

    def __init__(self, connection: socket.socket, folder: str) -> None:
        self.connection = connection
        self.sending = threading.Lock()
        self.snapshots = SnapshotThread(folder, self.send)
        self.snapshots.start()
        self.children: set[int] = set()
        """Processes whose exit the host wants reported."""
        self.unclaimed: dict[int, tuple[int, int]] = {}
        """Exit code and peak memory of the latest others, in case the host adopts them later."""
        self.wake, self.alarm = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(self.alarm, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def send(self, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
        """Send one message; the host reads at once, so this never blocks for long."""
        given = descriptors or []
        data = json.dumps({**message, "fds": len(given)}).encode() + b"\n"
        with self.sending:
            sent = socket.send_fds(self.connection, [data], given)
            self.connection.sendall(data[sent:])

    def reap(self) -> None:
        """Reap every child that has ended and report those that the host knows."""
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self.report_exit(pid, os.waitstatus_to_exitcode(status), used.ru_maxrss * 1024)

    def report_exit(self, pid: int, code: int, peak: int) -> None:
        """Report exit code and peak memory (bytes) of a process, or keep them until adopted."""
        if pid in self.children:
            self.children.discard(pid)
            self.send({"exit": pid, "code": code, "peak": peak})
        else:
            self.unclaimed[pid] = code, peak
            if len(self.unclaimed) > MAX_UNCLAIMED:
                del self.unclaimed[next(iter(self.unclaimed))]

    def adopt(self, pid: int) -> None:
        """Report the exit of this process from now on. Raises `ProcessLookupError`."""
        if pid not in self.unclaimed:
            os.kill(pid, 0)
        self.children.add(pid)
        if pid in self.unclaimed:
            self.report_exit(pid, *self.unclaimed.pop(pid))

    def kill_all(self) -> None:
        """Kill every other process in the sandbox."""
        processes.kill(lambda: set(processes.descendants()))
        while True:  # zombies still count against the limit of processes: wait for each
            try:
                pid, status, used = os.wait4(-1, 0)
            except ChildProcessError:
                return
            self.report_exit(pid, os.waitstatus_to_exitcode(status), used.ru_maxrss * 1024)

    def kill_processes(
        self, keep: list[int], namespace_of: int | None, others: list[int]
    ) -> list[tuple[int, str]]:
        """Kill the processes of a mount namespace except `keep`; wait until they are gone.

        Those to keep are stopped until they are resumed: they may run code of the agent.
        Returns ID and name of the first of them.
        """
        processes.stop(lambda: set(keep) & set(processes.descendants()))
        chosen = processes.in_mount_namespace(namespace_of, others, keep)
        killed = processes.kill(chosen)
        names = [(pid, processes.name(pid)) for pid in sorted(killed)[:MAX_NAMED]]
        deadline = time.monotonic() + END_S
        while time.monotonic() < deadline and any(map(processes.is_alive, killed)):
            time.sleep(0.0005)
            self.reap()
        return names

    def answer(self, request: dict[str, Any], received: list[int]) -> None:
        """Handle one request and send the response."""
        if request["do"] in SNAPSHOT_REQUESTS:
            self.snapshots.put(request)
            return
        given: list[int] = []
        reply: dict[str, Any] = {"id": request["id"]}
        namespace_of = request.get("mount_namespace_of")
        try:
            match request["do"]:
                case "spawn":
                    reply["pid"] = spawn(request["argv"], request["env"], received)
                    self.children.add(reply["pid"])
                case "adopt":
                    self.adopt(request["pid"])
                case "signal":
                    if request["pid"] in self.children:  # IDs of reaped processes are reused
                        os.killpg(request["pid"], request["number"])
                case "open":
                    path = path_in(request["path"], namespace_of)
                    given.append(open_file(path, write=request["write"]))
                case "stat":
                    reply["stat"] = stat(path_in(request["path"], namespace_of))
                case "clean_up":
                    self.kill_all()
                    for folder in request["empty"]:
                        file_tree.empty_folder(folder)
                case "kill_processes":
                    reply["killed"] = self.kill_processes(
                        request["keep"], namespace_of, request["others"]
                    )
                case "pause":
                    keep = set(request["keep"])
                    reply["paused"] = sorted(
                        processes.stop(lambda: set(processes.descendants()) - keep)
                    )
                case "resume":
                    for pid in request["pids"]:
                        processes.send_signal(pid, signal.SIGCONT)
                case "memory_used":
                    reply["bytes"] = processes.memory_used(request["pids"], request["enough"])
                case "sender":
                    reply["pid"] = sender(received[0])
                case "memory_limit":
                    reply |= processes.memory_limit()
        except OSError as error:
            reply |= {"errno": error.errno or errno.EIO, "error": error.strerror or str(error)}
        self.send(reply, given)
        for descriptor in given:
            os.close(descriptor)

    def serve(self) -> None:
        """Serve until the host closes the connection."""
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
    """Connect to the host's socket (first argument) and serve; snapshots go into the second."""
    protect()
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(sys.argv[1])
    init = Init(connection, sys.argv[2])
    try:
        init.serve()
    except (BrokenPipeError, ConnectionResetError):
        pass  # the host is gone
    finally:
        if os.getpid() != 1:  # the end of PID 1 ends its container; elsewhere init must kill
            connection.close()
            signal.set_wakeup_fd(-1)
            init.send = lambda *_: None  # type: ignore[method-assign]
            init.kill_all()


if __name__ == "__main__":
    main()
