"""Wait as a standby: a forked process that the host can fork again or turn into a kernel.

Every running kernel was once a standby, and every standby is a fork: of the template, of a running
kernel between two cells, or of another standby. A standby has one thread, no ZMQ, no signals and
one connection, which the host holds. So there are only two transitions:

    running kernel --fork--> standby       after a cell, while the agent is thinking
    standby        --fork--> standby --serve--> running kernel

What does not survive a fork: other threads, pools of threads and processes, tasks of the event
loop, connections, CUDA contexts. Positions in open files are restored.
"""

import gc
import os
import random
import signal
import stat
from asyncio import tasks
from typing import Any

from . import overlay
from .control_channel import ControlChannel
from .descriptors import OpenFile, identity, open_descriptors, reopen, socket_name
from .fork import fork_detached
from .random_state import reseed

ALL_SIGNALS = signal.valid_signals()
OOM_SCORE_RUNNING, OOM_SCORE_STANDBY = 1000, 0
"""OOM scores: the out-of-memory killer ends the running kernel before its standbys."""

parent_objects: list[Any] = []
"""Objects that belong to threads, loops and sockets of the processes this one was forked from.

They are never released. If they were garbage-collected here, they would close descriptors that
now belong to others, or send messages on the parent's connections.
"""


class Standby:
    """What this process knows about itself as a fork."""

    def __init__(self, channel: ControlChannel) -> None:
        self.channel = channel
        self.pid = os.getpid()
        self.enable_gc_later = False
        """Whether to enable garbage collection once this fork serves.

        It stays disabled while the fork waits: collected objects of other processes would act.
        """
        self.kernel_descriptors: dict[int, tuple[int, int]] = {}
        """Descriptors that the kernel opened for itself, each with its device and inode.

        A fork closes them, unless the number now belongs to another file.
        """
        self.socket_prefix: str = ""
        """The prefix of the host's names of this kernel's sockets."""
        self.files: dict[int, OpenFile] = {}
        """The regular files that were open when the running kernel was forked, by descriptor."""
        self.signal_mask: set[Any] | None = None
        """While it waits: the signals that were blocked when the running kernel was forked."""

    def fork(self, descriptor: int, late_descriptors: list[int] | None = None) -> bool:
        """Fork. Returns True in the fork, which then waits at the other end of `descriptor`.

        The fork is a child of the init process and not of this one, so code that waits for or
        kills all its children does not affect it.

        Args:
            descriptor: the socket of the fork's control channel; always closed in this process.
            late_descriptors: further kernel descriptors that the fork closes.

        Raises `OSError` when no process can be created.
        """
        random_state, gc_enabled, forked = random.getstate(), gc.isenabled(), False
        try:
            gc.disable()
            forked = fork_detached()
        finally:
            if not forked:
                os.close(descriptor)
                if gc_enabled:
                    gc.enable()
        if not forked:
            return False
        self.enable_gc_later = self.enable_gc_later or gc_enabled
        random.setstate(random_state)  # Python reseeds the module in every child
        try:
            parent_objects.append(list(tasks._all_tasks))  # type: ignore[attr-defined]
            self._become_standby(ControlChannel(descriptor), late_descriptors or [])
        except BaseException:  # noqa: BLE001 - a fork must never continue as its parent
            os._exit(70)
        return True

    def _become_standby(self, channel: ControlChannel, late_descriptors: list[int]) -> None:
        """Block signals and close the parent's descriptors: the first step in a fork."""
        self.pid = os.getpid()
        os.setsid()
        signal.set_wakeup_fd(-1)
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ALL_SIGNALS)
        # A standby blocks all signals: its forks keep the mask of the running kernel.
        self.signal_mask = blocked if self.signal_mask is None else self.signal_mask
        set_oom_score(OOM_SCORE_STANDBY)
        self.channel.close()
        self._close_kernel_descriptors(channel.socket.fileno(), late_descriptors)
        self.channel, self.kernel_descriptors = channel, {}
        channel.send({"pid": os.getpid()})

    def _close_kernel_descriptors(
        self, channel_descriptor: int, late_descriptors: list[int]
    ) -> None:
        """Close the descriptors that connect clients and threads of the parent.

        Event descriptors of unknown owners become /dev/null: a later close by their owner is then
        harmless.
        """
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for descriptor in open_descriptors() - {channel_descriptor, null, 0, 1, 2}:
            try:
                known = self.kernel_descriptors.get(descriptor)
                if descriptor in late_descriptors or known == identity(descriptor):
                    os.close(descriptor)
                elif stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                    if self.socket_prefix and socket_name(descriptor).startswith(
                        self.socket_prefix
                    ):
                        os.close(descriptor)
                elif os.readlink(f"/proc/self/fd/{descriptor}").startswith("anon_inode:[event"):
                    os.dup2(null, descriptor, inheritable=False)
            except OSError:
                continue
        for descriptor in (1, 2):  # they were pipes to threads that do not exist in this process
            os.dup2(null, descriptor)
        os.close(null)

    def wait(self) -> dict[str, Any]:
        """Handle requests and return the first that asks to serve; exit when the host closes."""
        while request := self.channel.receive():
            try:
                match request["do"]:
                    case "copy":
                        if not self.fork(*request["fds"]):
                            self.channel.reply(request)
                    case "enter":
                        overlay.enter_mount_namespace(request["layers"])
                        self.rewind()
                        reseed(request["seed"])
                        self.channel.reply(request)
                    case "probe":
                        self.channel.reply(
                            request, why=overlay.unavailable_reason(request["folder"])
                        )
                    case "rewind":
                        self.rewind()
                        self.channel.reply(request)
                    case "serve":
                        return request
                    case unknown:
                        raise OSError(f"unknown request to a standby: {unknown!r}")
            except OSError as error:
                self.channel.reply(request, error=error.strerror or str(error))
        os._exit(0)

    def rewind(self) -> None:
        """Restore the positions in open files, which are shared with the parent.

        A file that was deleted since, and exists again because files were restored, is reopened:
        writes must not go to the deleted one.
        """
        for descriptor, file in self.files.items():
            try:
                if file.has_path and os.fstat(descriptor).st_nlink == 0:
                    reopen(descriptor, file.path)
                os.lseek(descriptor, file.position, os.SEEK_SET)
            except OSError:
                continue

    def prepare_to_serve(self, request: dict[str, Any]) -> None:
        """Restore the state in which the agent's code ran when this process was forked."""
        self.rewind()
        for number in signal.sigpending():
            handler = signal.getsignal(number)
            try:
                signal.signal(number, signal.SIG_IGN)  # deletes pending signals
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)
            except (OSError, ValueError, TypeError):
                continue
        signal.pthread_sigmask(signal.SIG_SETMASK, self.signal_mask or ())
        self.signal_mask = None
        set_oom_score(OOM_SCORE_RUNNING)
        self.socket_prefix = request["names"]
        reseed(request["seed"])


def set_oom_score(value: int) -> None:
    """Set the OOM score of this process. Values from 0 to 1000 need no privilege."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(str(value))
    except OSError:
        pass
