"""The first process in a box: it starts, ends and reaps programs and opens files for the host.

In a container it is PID 1, in the local sandbox a plain child of ours; it is run
by path with `python -I -S` and needs only the standard library. It connects to
the host once, through a socket in the doorway, before any untrusted program
runs. From then on the host holds the connection: nothing in the box can reach,
fill or replace it. When the connection ends, so does everything in the box.

One JSON line per message; descriptors travel beside the bytes (SCM_RIGHTS).

    {"id": 1, "do": "spawn", "argv": […], "env": {…}} + [stdin, stdout, …]  → {"pid": 7}
    {"id": 2, "do": "signal", "pid": 7, "number": 2}                 → {}
    {"id": 3, "do": "open", "path": "/workspace/x", "write": false}  → {} + [descriptor]
    {"id": 4, "do": "stat", "path": "/workspace/x"}                  → {"stat": […]}
    {"id": 5, "do": "sweep", "empty": ["/workspace"]}                → {}
    and, unasked, for every program that ends: {"exit": 7, "code": 0}

A request that fails is answered with {"errno": n, "error": "…"}.

Signals sent from inside the container cannot end PID 1 (the kernel drops those
that PID 1 has no handler for, SIGKILL included), and it is not dumpable, so
programs of the same user cannot trace it or open its descriptors.
"""

import ctypes
import errno
import fcntl
import json
import os
import select
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Any

FIRST_FREE = 100
"""Received descriptors are moved up here, clear of the numbers a program will be given."""
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


def descendants() -> Iterator[int]:
    """Every process below this one. Without /proc (macOS) nothing can be found."""
    if not os.path.isdir("/proc"):
        return
    if os.getpid() == 1:
        yield from (int(name) for name in os.listdir("/proc") if name.isdigit() and name != "1")
        return
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    parent = int(file.read().rsplit(b")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
            parents.setdefault(parent, []).append(int(name))
    below = list(parents.get(os.getpid(), []))
    while below:
        pid = below.pop()
        yield pid
        below += parents.get(pid, [])


class First:
    """The loop: requests from the host, deaths of children."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.children: set[int] = set()
        self.wake, self.alarm = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(self.alarm, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def say(self, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
        """Send one line; the host reads at once, so this never waits for long."""
        data = json.dumps(message).encode() + b"\n"
        sent = socket.send_fds(self.connection, [data], descriptors or [])
        self.connection.sendall(data[sent:])

    def reap(self) -> None:
        """Collect every child that has ended, ours or adopted, and report ours."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid in self.children:
                self.children.discard(pid)
                self.say({"exit": pid, "code": os.waitstatus_to_exitcode(status)})

    def end_all(self) -> None:
        """Kill every other process in the box; stop them first, so that a fork bomb cannot race."""
        for number in (signal.SIGSTOP, signal.SIGKILL):
            seen: set[int] = set()
            while new := set(descendants()) - seen:
                for pid in new:
                    try:
                        os.kill(pid, number)
                    except (ProcessLookupError, PermissionError):
                        pass
                seen |= new
        while True:  # zombies still count against the limit of processes: wait for each
            try:
                pid, status = os.waitpid(-1, 0)
            except ChildProcessError:
                return
            if pid in self.children:
                self.children.discard(pid)
                self.say({"exit": pid, "code": os.waitstatus_to_exitcode(status)})

    def answer(self, request: dict[str, Any], received: list[int]) -> None:
        """Do what one request asks and say how it went."""
        given: list[int] = []
        reply: dict[str, Any] = {"id": request["id"]}
        try:
            match request["do"]:
                case "spawn":
                    reply["pid"] = spawn(request["argv"], request["env"], received)
                    self.children.add(reply["pid"])
                case "signal":
                    if request["pid"] in self.children:  # a reaped number may be somebody else's
                        os.killpg(request["pid"], request["number"])
                case "open":
                    given.append(open_file(request["path"], write=request["write"]))
                case "stat":
                    reply["stat"] = stat(request["path"])
                case "sweep":
                    self.end_all()
                    for folder in request["empty"]:
                        empty(folder)
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


def empty(folder: str) -> None:
    """Delete what is in a folder and keep the folder."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, onerror=unlock)
            else:
                os.unlink(entry.path)


def unlock(_function: Any, path: str, _: Any) -> None:
    """A folder whose owner forbade himself to write in it is made writable, then tried again."""
    os.chmod(os.path.dirname(path), 0o700)
    os.chmod(path, 0o700)
    shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)


def main() -> None:
    """`pid1.py SOCKET`: connect to the host, then serve it."""
    protect()
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(sys.argv[1])
    first = First(connection)
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
