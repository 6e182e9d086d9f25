"""Wait as a standby: a forked process that the host can fork again or turn into a kernel.

Every running kernel was once a standby, and every standby is a fork: of the template, of a running
kernel between two cells, or of another standby. A standby has one thread, no ZMQ, no signals and
one connection, which the host holds. So there are only two transitions:

    running kernel --fork--> standby       after a cell, while the agent is thinking
    standby        --fork--> standby --serve--> running kernel

What does not survive a fork: other threads, child processes, tasks of the event loop, connections
to other processes. See `own_descriptors` and `shared_memory` for what a fork gets of its own, and
`fork_safety` for processes that are not forked.
"""

import gc
import os
import random
import signal
import stat
from collections.abc import Iterable, Sequence
from typing import Any

from . import overlay, own_descriptors, shared_memory
from .control_channel import ControlChannel
from .descriptors import OpenFile, identity, open_descriptors, open_files, reopen, socket_name
from .fork import fork_detached
from .memory_maps import SharedMapping, shared_mappings
from .random_state import reseed
from .signal_scope import enter_signal_scope
from .syscalls import set_accessible

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

    def __init__(self, channel: ControlChannel, folders: Sequence[str]) -> None:
        self.channel, self.folders = channel, folders
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
        self.kept_descriptors: set[int] = set()
        """Descriptors that forks share: the real standard output and error."""
        self.files: dict[int, OpenFile] = {}
        """The regular files that were open when the running kernel was forked, by descriptor."""
        self.working_directory = ""
        """The working directory of the running kernel when it was forked."""
        self.mappings: list[SharedMapping] | None = None
        """The shared mappings of a standby; None in a running kernel, which can make others."""
        self.has_signal_scope = False
        """Whether this process cannot signal kernels that are not forks of it."""
        self.signal_mask: set[Any] | None = None
        """While it waits: the signals that were blocked when the running kernel was forked."""

    def remember(self, kept_descriptors: set[int]) -> None:
        """Remember what a fork restores before it serves; call it in the running kernel.

        `kept_descriptors` are shared by all forks.
        """
        self.kept_descriptors = kept_descriptors
        self.files = open_files()
        try:
            self.working_directory = os.getcwd()
        except FileNotFoundError:
            self.working_directory = ""

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
        channel = ControlChannel(descriptor)
        try:
            self._become_standby(channel, late_descriptors or [])
        except BaseException as error:  # noqa: BLE001 - a fork must never continue as its parent
            try:
                channel.send({"error": f"{type(error).__name__}: {error}"})
            finally:
                os._exit(70)
        return True

    def _become_standby(self, channel: ControlChannel, late_descriptors: list[int]) -> None:
        """Block signals and close the parent's descriptors: the first step in a fork."""
        set_accessible(True)  # the init process finds its files through /proc
        self.pid = os.getpid()
        os.setsid()
        signal.set_wakeup_fd(-1)
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ALL_SIGNALS)
        # A standby blocks all signals: its forks keep the mask of the running kernel.
        self.signal_mask = blocked if self.signal_mask is None else self.signal_mask
        set_oom_score(OOM_SCORE_STANDBY)
        self.channel.close()
        number = channel.socket.fileno()
        self._close_kernel_descriptors(number, late_descriptors)
        own_descriptors.replace({number, *self.kept_descriptors}, self.files)
        deleted = names_of(number for number, file in self.files.items() if not file.has_path)
        if self.mappings is None or self.mappings or deleted:
            self._own_shared_memory(deleted)
        self.channel, self.kernel_descriptors = channel, {}
        channel.send({})

    def _own_shared_memory(self, deleted: Iterable[str]) -> None:
        """Move shared memory to files of this fork, and remember files that are mapped by path.

        `deleted` are the names of open files without a path.
        """
        mappings = shared_mappings()
        by_path = [m for m in mappings if shared_memory.has_path(m, self.folders)]
        shared_memory.make_own((m for m in mappings if m not in by_path), deleted)
        self.mappings = mappings

    def _close_kernel_descriptors(
        self, channel_descriptor: int, late_descriptors: list[int]
    ) -> None:
        """Close the descriptors that connect clients and threads of the parent."""
        for descriptor in open_descriptors() - {channel_descriptor, 0, 1, 2}:
            try:
                known = self.kernel_descriptors.get(descriptor)
                if (
                    descriptor in late_descriptors
                    or known == identity(descriptor)
                    or self._is_old_connection(descriptor)
                ):
                    os.close(descriptor)
            except OSError:
                continue
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for descriptor in (1, 2):  # they were pipes to threads that do not exist in this process
            os.dup2(null, descriptor)
        os.close(null)

    def _is_old_connection(self, descriptor: int) -> bool:
        """Return whether a descriptor is a socket of this kernel to the host."""
        if not self.socket_prefix or not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return False
        return socket_name(descriptor).startswith(self.socket_prefix)

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
                        self.has_signal_scope = enter_signal_scope()
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
        """Restore what depends on files: positions in open files, which are shared with the parent,
        and the working directory.

        A file or folder that was deleted since, and exists again because files were restored, is
        opened, mapped or entered again: the deleted one is not meant.
        """
        shared_memory.remap_restored(
            m for m in self.mappings or () if shared_memory.has_path(m, self.folders)
        )
        try:
            if self.working_directory and os.stat(".").st_nlink == 0:
                os.chdir(self.working_directory)
        except OSError:
            pass
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
        self.has_signal_scope = self.has_signal_scope or enter_signal_scope()
        own_descriptors.lock_again(self.files)
        self.mappings = None
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


def names_of(descriptors: Iterable[int]) -> set[str]:
    """Return the names of open files as the kernel reports them."""
    names = set()
    for descriptor in descriptors:
        try:
            names.add(os.readlink(f"/proc/self/fd/{descriptor}"))
        except OSError:
            continue
    return names


def set_oom_score(value: int) -> None:
    """Set the OOM score of this process. Values from 0 to 1000 need no privilege."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(str(value))
    except OSError:
        pass
