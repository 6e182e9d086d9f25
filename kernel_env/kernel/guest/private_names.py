"""List the private names of libraries that kernels rely on, and find one that is missing.

A library can rename them in any release, and then a kernel would fail later and in odd ways. So the
names are checked before a kernel boots. Without a name in `FORKING` kernels cannot be forked;
without one in `RUNNING` they cannot run. Those in `REPAIRING` are checked by a test.

Not noticed: a name that stays and changes its meaning. `make test-matrix` runs the tests of kernels
with the oldest and the newest versions in `TESTED_VERSIONS`.
"""

import importlib
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from types import FunctionType
from typing import Any, NamedTuple

TESTED_VERSIONS = {"ipykernel": "7.2 to 7.4", "IPython": "9.1 to 9.18", "pyzmq": "25.1 to 27.3"}


class PrivateName(NamedTuple):
    """A name of a library that its documentation does not promise."""

    module: str
    name: str
    """A global of the module, or `Class.attribute`; a method of the class can be what sets it."""
    purpose: str
    """What it is needed for; completes "it is needed to"."""
    optional: bool = False
    """Whether the module is checked only if it is loaded: not every image has the library."""


def _names(purpose: str, module: str, *names: str, optional: bool = False) -> list[PrivateName]:
    return [PrivateName(module, name, purpose, optional) for name in names]


CAP_STREAMS = "cap what a cell prints"
CAP_COPIES = "prevent IPython from keeping all output"
CAP_ERRORS = "cap tracebacks"
ADOPT_SOCKETS = "serve on sockets that the host bound"
RESTART = "let libraries start their lost workers again"
RENEW = "give a fork connections and threads of its own"

RUNNING = [
    *_names(
        CAP_STREAMS,
        "ipykernel.iostream",
        "OutStream._buffer_lock",
        "OutStream._buffers",
        "OutStream._exc",
        "OutStream._fid",
        "OutStream._flush",
        "OutStream._flush_pending",
        "OutStream._io_loop",
        "OutStream._local",
        "OutStream._master_pid",
        "OutStream._original_stdstream_fd",
        "OutStream._rotate_buffers",
        "OutStream._schedule_flush",
        "OutStream._setup_stream_redirects",
        "OutStream._should_watch",
        "OutStream._subprocess_flush_pending",
        "OutStream._watch_pipe_fd",
    ),
    *_names(
        CAP_COPIES,
        "IPython.core.interactiveshell",
        "InteractiveShell._format_exception_for_storage",
        "InteractiveShell._tee",
    ),
    *_names(CAP_COPIES, "IPython.core.history", "HistoryManager.exceptions"),
    *_names(CAP_COPIES, "IPython.core.history", "HistoryManager.output_hist_reprs"),
    *_names(CAP_ERRORS, "IPython.core.interactiveshell", "InteractiveShell._showtraceback"),
    *_names(CAP_ERRORS, "IPython.core.tbtools", "FrameInfo._from_stack_data_FrameInfo"),
    *_names(CAP_ERRORS, "IPython.core.ultratb", "VerboseTB.get_records"),
    *_names(CAP_ERRORS, "stack_data.core", "RepeatedFrames"),
    *_names("cap long representations", "IPython.lib.pretty", "_repr_pprint"),
    *_names(ADOPT_SOCKETS, "ipykernel.heartbeat", "Heartbeat._try_bind_socket"),
    *_names(ADOPT_SOCKETS, "ipykernel.kernelapp", "IPKernelApp._try_bind_socket", "Heartbeat"),
    *_names(
        "tell the host that its subscription has arrived",
        "ipykernel.iostream",
        "IOPubThread._send_welcome_message",
    ),
]
"""Names that every kernel needs."""

FORKING = [
    *_names(
        RENEW,
        "ipykernel.kernelapp",
        "IPKernelApp.configure_tornado_logger",
        "IPKernelApp.control_thread",
        "IPKernelApp.debug_shell_socket",
        "IPKernelApp.debugpy_socket",
        "IPKernelApp.init_heartbeat",
        "IPKernelApp.init_sockets",
        "IPKernelApp.iopub_socket",
        "IPKernelApp.iopub_thread",
        "IPKernelApp.shell_channel_thread",
    ),
    *_names(RENEW, "ipykernel.kernelbase", "Kernel._aborting"),
    *_names(RENEW, "ipykernel.iostream", "IOPubThread._event_pipe"),
    *_names(RENEW, "ipykernel.thread", "BaseThread.io_loop"),
    *_names("name the threads that a fork lacks", "concurrent.futures.thread", "_threads_queues"),
    *_names("fork between two cells", "ipykernel.kernelbase", "Kernel._main_asyncio_lock"),
    *_names(
        "keep the standard output of the sandbox",
        "ipykernel.iostream",
        "OutStream._original_stdstream_copy",
    ),
    *_names(
        "keep the standard output of the sandbox",
        "ipykernel.kernelbase",
        "Kernel._stderr",
        "Kernel._stdout",
    ),
    *_names("close the connections of the parent", "zmq.sugar.context", "Context._sockets"),
]
"""Names that kernels which can be forked need besides."""

REPAIRING = [
    *_names(RESTART, "subprocess", "Popen._execute_child"),
    *_names(RESTART, "IPython.core.magics.script", "ScriptMagics.event_loop"),
    *_names(
        "let locks and queues of asyncio be used in a fork",
        "asyncio.mixins",
        "_LoopBoundMixin",
        "_LoopBoundMixin._get_loop",
        "_LoopBoundMixin._loop",
    ),
    *_names(
        RESTART,
        "concurrent.futures.process",
        "ProcessPoolExecutor._broken",
        "_ExecutorManagerThread.executor_reference",
        "_threads_wakeups",
    ),
    *_names(
        RESTART,
        "concurrent.futures.thread",
        "ThreadPoolExecutor._adjust_thread_count",
        "ThreadPoolExecutor._idle_semaphore",
        "ThreadPoolExecutor._threads",
    ),
    *_names(RESTART, "joblib.externals.loky.reusable_executor", "_executor", optional=True),
    *_names(
        RESTART,
        "multiprocessing.forkserver",
        "ForkServer._forkserver_address",
        "ForkServer._forkserver_alive_fd",
        "ForkServer._forkserver_pid",
        "_forkserver",
    ),
    *_names(RESTART, "multiprocessing.pool", "Pool._state"),
    *_names(RESTART, "multiprocessing.process", "BaseProcess._parent_pid"),
    *_names(
        RESTART,
        "multiprocessing.resource_tracker",
        "ResourceTracker._fd",
        "ResourceTracker._pid",
        "_resource_tracker",
    ),
    *_names(
        RESTART,
        "multiprocessing.util",
        "Finalize._weakref",
        "_afterfork_registry",
        "_finalizer_registry",
    ),
    *_names(
        RESTART, "subprocess", "Popen._execute_child", "Popen._internal_poll", "Popen._try_wait"
    ),
    *_names(
        RESTART,
        "torch.utils.data.dataloader",
        "DataLoader._iterator",
        "_MultiProcessingDataLoaderIter._workers",
        optional=True,
    ),
]
"""Names by which `lost_workers` repairs what is loaded; without one, that repair is left out.

Kernels do without; a test fails.
"""


def missing_name(names: Iterable[PrivateName]) -> str:
    """Return a sentence on the first of these names that is missing; empty if there is none."""
    for entry in names:
        if entry.optional and entry.module not in sys.modules:
            continue
        try:
            module = importlib.import_module(entry.module)
        except ImportError:
            return _sentence(entry, entry.module)
        if not _defines(module, entry.name):
            return _sentence(entry, f"{entry.module}.{entry.name}")
    return ""


def _defines(module: Any, name: str) -> bool:
    """Return whether a module defines a global, or an attribute of a class.

    An attribute that a class does not have itself must be set, or used, by one of its methods.
    """
    owner, _, attribute = name.rpartition(".")
    if not owner:
        return hasattr(module, attribute)
    cls = getattr(module, owner, None)
    if cls is None:
        return False
    methods = [value for value in vars(cls).values() if isinstance(value, FunctionType)]
    return hasattr(cls, attribute) or any(attribute in m.__code__.co_names for m in methods)


def _sentence(entry: PrivateName, path: str) -> str:
    package = entry.module.partition(".")[0]
    distribution = {"zmq": "pyzmq"}.get(package, package)
    if package in sys.stdlib_module_names:
        installed = f"Python {sys.version_info.major}.{sys.version_info.minor}"
    else:
        try:
            installed = f"{distribution} {version(distribution)}"
        except PackageNotFoundError:
            installed = distribution
    tested = TESTED_VERSIONS.get(distribution)
    return f"{installed} has no {path}, which is needed to {entry.purpose}" + (
        f"; tested with {distribution} {tested}" if tested else ""
    )
