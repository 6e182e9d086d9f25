"""Make libraries usable in a fork although the threads and processes that served them are gone.

Each library that keeps workers must find that it has none, so that it starts new ones; an object
that cannot start new ones says that it is closed. Otherwise its next use would wait for ever.
"""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

from .standby import parent_objects

RESOURCE_TRACKERS = (
    "multiprocessing.resource_tracker",
    "joblib.externals.loky.backend.resource_tracker",
    "loky.backend.resource_tracker",
)
"""Modules with a process that watches shared resources. A search would touch every module."""


def forget_workers(shell: Any) -> None:
    """Repair what is loaded; an error in one library does not keep others from being repaired."""
    steps: tuple[Callable[[Any], None], ...] = (
        forget_children,
        rebind_asyncio,
        forget_script_loop,
        forget_joblib_pool,
        forget_executors,
        close_pools,
        restart_queues,
        forget_fork_server,
        forget_resource_trackers,
        forget_data_loaders,
        stop_parallel_tokenizers,
    )
    for step in steps:
        with suppress(Exception):
            step(shell)


def forget_children(_: Any) -> None:
    """Let `Popen` objects of programs that another process started report SIGKILL."""
    popen: Any = sys.modules["subprocess"].Popen
    if hasattr(popen._internal_poll, "in_fork"):
        return
    poll, try_wait, execute = popen._internal_poll, popen._try_wait, popen._execute_child

    def execute_and_sign(program: Any, *args: Any, **kwargs: Any) -> Any:
        program.started_by = os.getpid()
        return execute(program, *args, **kwargs)

    def is_lost(program: Any) -> bool:
        if getattr(program, "started_by", None) == os.getpid():
            return False
        try:
            os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        except ChildProcessError:
            return True
        return False

    def poll_own(program: Any, *args: Any, **kwargs: Any) -> Any:
        if program.returncode is None and is_lost(program):
            program.returncode = -signal.SIGKILL
        return poll(program, *args, **kwargs)

    def try_wait_for_own(program: Any, flags: int) -> Any:
        return (program.pid, signal.SIGKILL) if is_lost(program) else try_wait(program, flags)

    poll_own.in_fork = True  # type: ignore[attr-defined]
    popen._internal_poll, popen._try_wait = poll_own, try_wait_for_own
    popen._execute_child = execute_and_sign


def script_magics(shell: Any) -> Any:
    """Return the object behind `%%bash` and its kind, if it has an event loop in a thread."""
    magics: Any = shell.magics_manager.registry.get("ScriptMagics")
    return magics if getattr(magics, "event_loop", None) is not None else None


def restarted_threads(shell: Any) -> list[Any]:
    """Return the threads of IPython that `forget_workers` lets start again."""
    finalizer: Any = getattr(script_magics(shell), "_event_loop_finalizer", None)
    found = finalizer.peek() if finalizer is not None else None
    return [value for value in (found[2] if found else ()) if isinstance(value, threading.Thread)]


def forget_script_loop(shell: Any) -> None:
    """Let `%%bash` and its kind start a new thread with an event loop."""
    if magics := script_magics(shell):
        parent_objects.append(magics.event_loop)
        if finalizer := getattr(magics, "_event_loop_finalizer", None):
            finalizer.detach()
            magics._event_loop_finalizer = None
        magics.event_loop = None


def forget_joblib_pool(_: Any) -> None:
    """Let joblib start a new process pool at its next use."""
    loky: Any = sys.modules.get("joblib.externals.loky.reusable_executor")
    if loky is not None and loky._executor is not None:
        parent_objects.append(loky._executor)
        loky._executor = None


def forget_executors(_: Any) -> None:
    """Let thread pools start new threads; mark process pools as broken."""
    threads: Any = sys.modules.get("concurrent.futures.thread")
    if threads is not None:
        start_thread = threads.ThreadPoolExecutor._adjust_thread_count
        if not hasattr(start_thread, "in_fork"):
            threads.ThreadPoolExecutor._adjust_thread_count = replacing_dead_threads(start_thread)
    processes: Any = sys.modules.get("concurrent.futures.process")
    for thread in list(processes._threads_wakeups) if processes is not None else ():
        executor = thread.executor_reference()
        if executor is not None:
            executor._broken = "its worker processes are not part of this copy of the kernel"


def replacing_dead_threads(start_thread: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return the method that starts a thread of a pool, for pools whose threads may be gone."""

    def adjust_thread_count(executor: Any) -> None:
        if executor._threads and not any(thread.is_alive() for thread in executor._threads):
            executor._threads.clear()
            while executor._idle_semaphore.acquire(blocking=False):
                pass
        start_thread(executor)

    adjust_thread_count.in_fork = True  # type: ignore[attr-defined]
    return adjust_thread_count


def close_pools(_: Any) -> None:
    """Close pools of multiprocessing: their methods raise `ValueError`."""
    pools: Any = sys.modules.get("multiprocessing.pool")
    for thing in finalized_objects(sys.modules.get("multiprocessing.util")) if pools else ():
        if isinstance(thing, pools.Pool):
            thing._state = pools.TERMINATE


def end_tasks(tasks: Iterable[Any]) -> None:
    """Cancel tasks of an event loop that does not run any more: awaiting them raises."""
    for task in tasks:
        with suppress(Exception):  # a task of another implementation
            asyncio.Future.cancel(task)


def rebind_asyncio(_: Any) -> None:
    """Let locks, events and queues of asyncio change to the event loop of this process."""
    from asyncio import mixins

    mixin: Any = mixins._LoopBoundMixin
    if hasattr(mixin._get_loop, "in_fork"):
        return
    get_loop, process = mixin._get_loop, os.getpid

    def get_own_loop(bound: Any) -> Any:
        if getattr(bound, "loop_process", None) != process():
            bound._loop, bound.loop_process = None, process()
        return get_loop(bound)

    get_own_loop.in_fork = True  # type: ignore[attr-defined]
    mixin._get_loop = get_own_loop


def restart_queues(_: Any) -> None:
    """Let the queues of multiprocessing start new threads."""
    util: Any = sys.modules.get("multiprocessing.util")
    queues: Any = sys.modules.get("multiprocessing.queues")
    for (_number, _id, function), thing in list(util._afterfork_registry.items()) if queues else ():
        if isinstance(thing, queues.Queue):
            function(thing)


def forget_fork_server(_: Any) -> None:
    """Let multiprocessing start a new process for its start method `forkserver`."""
    forkserver: Any = sys.modules.get("multiprocessing.forkserver")
    if forkserver is not None:
        server = forkserver._forkserver
        server._forkserver_pid = server._forkserver_alive_fd = server._forkserver_address = None


def forget_resource_trackers(_: Any) -> None:
    """Let multiprocessing and Joblib start new processes that watch shared resources."""
    for name in RESOURCE_TRACKERS:
        if (tracker := getattr(sys.modules.get(name), "_resource_tracker", None)) is not None:
            tracker._fd = tracker._pid = None
    ours: Any = sys.modules.get("multiprocessing.resource_tracker")
    if ours is not None and not hasattr(ours.unregister, "in_fork"):
        ours.unregister = unregistering_unknown(ours.register, ours.unregister)


def unregistering_unknown(register: Callable[..., Any], unregister: Callable[..., Any]) -> Any:
    """Return a function that unregisters a resource that only an earlier process may know of."""

    def register_and_unregister(name: str, kind: str) -> None:
        register(name, kind)
        unregister(name, kind)

    register_and_unregister.in_fork = True  # type: ignore[attr-defined]
    return register_and_unregister


def finalized_objects(util: Any) -> Iterator[Any]:
    """Yield the objects of multiprocessing that clean up when they are collected."""
    for finalizer in list(util._finalizer_registry.values()):
        reference = getattr(finalizer, "_weakref", None)
        if reference is not None and (thing := reference()) is not None:
            yield thing


def forget_data_loaders(_: Any) -> None:
    """Let PyTorch's data loaders with persistent workers start new ones."""
    module: Any = sys.modules.get("torch.utils.data.dataloader")
    if module is None or hasattr(module.DataLoader.__iter__, "in_fork"):
        return
    iterate = module.DataLoader.__iter__

    def iterate_with_own_workers(loader: Any) -> Any:
        workers = getattr(loader._iterator, "_workers", ())
        if any(worker._parent_pid != os.getpid() for worker in workers):
            parent_objects.append(loader._iterator)
            loader._iterator = None
        return iterate(loader)

    iterate_with_own_workers.in_fork = True  # type: ignore[attr-defined]
    module.DataLoader.__iter__ = iterate_with_own_workers


def stop_parallel_tokenizers(_: Any) -> None:
    """Let tokenizers do without their threads, as they do by themselves unless told otherwise."""
    if "tokenizers" in sys.modules:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
