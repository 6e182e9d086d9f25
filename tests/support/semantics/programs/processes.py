"""Programs with multiprocessing, by each start method."""

from collections.abc import Iterator
from textwrap import dedent

from support.semantics.program import CHILDREN, CONNECTIONS, POOLS, Program, of_kind

program = of_kind("multiprocessing")

METHODS = ("fork", "spawn", "forkserver")
CONTEXT = """
import multiprocessing as mp
mp = mp.get_context({method!r})
"""

WITH_EACH_METHOD = {
    "process-and-queue": """
        queue = mp.Queue()
        process = mp.Process(target=queue.put, args=(42,))
        process.start()
        queue.get(timeout=8), process.join(8), process.exitcode
        # %%
        process = mp.Process(target=queue.put, args=('again',))
        process.start()
        queue.get(timeout=8), process.join(8), process.exitcode
        """,
    "pool-in-each-cell": """
        with mp.Pool(2) as pool:
            print(pool.map(abs, range(-3, 0)))
        # %%
        with mp.Pool(2) as pool:
            print(pool.starmap(pow, [(2, 3), (3, 2)]))
        """,
    "event-lock-and-value-with-a-child": """
        event, lock, value = mp.Event(), mp.Lock(), mp.Value('i', 5)
        process = mp.Process(target=event.set)
        process.start()
        event.wait(8), process.join(8), event.is_set()
        # %%
        event.clear()
        with lock, value.get_lock():
            value.value += 1
        event.is_set(), value.value
        # %%
        process = mp.Process(target=event.set)
        process.start(); process.join(8)
        event.is_set(), value.value, lock.acquire(timeout=1)
        """,
    "executor-in-each-cell": """
        from concurrent.futures import ProcessPoolExecutor
        with ProcessPoolExecutor(2, mp_context=mp) as pool:
            print(list(pool.map(abs, [-1, -2])))
        # %%
        with ProcessPoolExecutor(1, mp_context=mp) as pool:
            print(repr(pool.submit(int, 'x').exception()))
        """,
}
WITH_EACH_METHOD_AND_POOLS = {
    "pool-kept": """
        pool = mp.Pool(2)
        pool.map(abs, [-1, -2])
        # %%
        pool.apply_async(pow, (2, 10)).get(timeout=8)
        # %%
        pool.terminate(); pool.join()
        """,
    "executor-kept": """
        from concurrent.futures import ProcessPoolExecutor
        pool = ProcessPoolExecutor(2, mp_context=mp)
        list(pool.map(abs, [-1, -2]))
        # %%
        pool.submit(pow, 2, 10).result(timeout=8)
        # %%
        pool.shutdown()
        """,
    "manager-kept": """
        manager = mp.Manager()
        shared = manager.dict(a=1)
        numbers = manager.list([1, 2])
        # %%
        shared['b'] = 2
        numbers.append(3)
        dict(shared), list(numbers)
        # %%
        manager.shutdown()
        """,
}

WITH_EACH_METHOD_AND_CHILDREN = {
    "pipe-to-a-child": """
        mine, theirs = mp.Pipe()
        ready = mp.Event()
        process = mp.Process(target=theirs.send, args=('hello',))
        process.start()
        # %%
        mine.poll(8) and mine.recv()
        # %%
        process.join(8)
        process.exitcode
        """,
}


def with_each_method() -> Iterator[Program]:
    """Return the templates for each start method."""
    for differs, templates in (
        ((), WITH_EACH_METHOD),
        ((POOLS,), WITH_EACH_METHOD_AND_POOLS),
        ((CHILDREN,), WITH_EACH_METHOD_AND_CHILDREN),
    ):
        for method in METHODS:
            for name, template in templates.items():
                source = CONTEXT.format(method=method) + dedent(template)
                # A child that is not forked opens locks and semaphores by their names.
                named = method != "fork" and not differs
                yield program(f"{name}-{method}", source, *differs, names_memory=named)


PROGRAMS = (
    *with_each_method(),
    program(
        "functions-of-cells-in-forked-children",
        """
        import multiprocessing as mp
        context = mp.get_context('fork')
        def cube(n): return n ** 3
        with context.Pool(2) as pool:
            print(pool.map(cube, range(4)))
        # %%
        factor = 10
        def scaled(n): return factor * n
        with context.Pool(2) as pool:
            print(pool.map(scaled, range(4)))
        """,
    ),
    program(
        "function-of-a-cell-in-a-spawned-child",
        """
        import multiprocessing as mp
        def f(): pass
        process = mp.get_context('spawn').Process(target=f)
        process.start()
        process.join(10)
        process.exitcode
        """,
        masks=[r"(?s)Traceback.*(?=AttributeError)"],
    ),
    program(
        "module-with-workers",
        """
        %%writefile worker.py
        import os
        def square(n): return n * n
        def parent(_): return os.getppid()
        # %%
        import multiprocessing as mp, os, worker
        with mp.get_context('spawn').Pool(2) as pool:
            print(pool.map(worker.square, range(4)), set(pool.map(worker.parent, [0])) == {os.getpid()})
        # %%
        with mp.get_context('fork').Pool(2) as pool:
            print(pool.map(worker.square, range(4)), set(pool.map(worker.parent, [0])) == {os.getpid()})
        """,
    ),
    program(
        "long-lived-worker",
        """
        import multiprocessing as mp
        context = mp.get_context('fork')
        def serve(connection):
            while (request := connection.recv()) is not None:
                connection.send(request.upper())
        mine, theirs = context.Pipe()
        worker = context.Process(target=serve, args=(theirs,), daemon=True)
        worker.start()
        theirs.close()
        mine.send('one')
        mine.poll(5) and mine.recv()
        # %%
        mine.send('two')
        mine.poll(5) and mine.recv()
        # %%
        mine.send(None)
        worker.join(5)
        worker.exitcode, worker.is_alive(), len(mp.active_children())
        """,
        CHILDREN,
    ),
    program(
        "value-and-lock-without-a-child",
        """
        import multiprocessing as mp
        value, lock, array = mp.Value('i', 1), mp.Lock(), mp.Array('d', 3)
        # %%
        lock.acquire(timeout=1), array[0]
        value.value = 99
        array[0] = 1.5
        # %%
        value.value, list(array), lock.acquire(timeout=0.1)
        # %%
        lock.release()
        lock.acquire(timeout=1)
        """,
    ),
    program(
        "queue-in-one-process",
        """
        import multiprocessing as mp
        queue, simple = mp.Queue(), mp.SimpleQueue()
        simple.put('kept')
        # %%
        queue.put(1)
        queue.get(timeout=5)
        # %%
        simple.get(), simple.empty()
        """,
    ),
    program(
        "queue-fed-before-a-cell-ends",
        """
        import multiprocessing as mp, time
        queue = mp.Queue()
        queue.put('kept')
        time.sleep(0.1)
        # %%
        queue.get(timeout=5)
        # %%
        queue.put('second')
        queue.get(timeout=5), queue.empty()
        """,
    ),
    program(
        "pipe-with-both-ends-here",
        """
        import multiprocessing as mp
        a, b = mp.Pipe()
        a.send({'x': 1})
        # %%
        b.recv()
        # %%
        b.send([2])
        a.poll(1) and a.recv(), a.poll()
        """,
        CONNECTIONS,
    ),
    program(
        "semaphores-conditions-and-barriers",
        """
        import multiprocessing as mp
        semaphore, event, condition = mp.Semaphore(2), mp.Event(), mp.Condition()
        semaphore.acquire()
        # %%
        semaphore.acquire(timeout=0.1), semaphore.acquire(timeout=0.05), event.is_set()
        event.set()
        # %%
        event.is_set(), semaphore.release(), semaphore.acquire(timeout=0.1)
        # %%
        with condition:
            condition.notify_all()
            print(condition.wait(0.01))
        """,
    ),
    program(
        "child-that-fails",
        """
        import multiprocessing as mp, os
        context = mp.get_context('fork')
        process = context.Process(target=os._exit, args=(7,))
        process.start(); process.join(5)
        process.exitcode
        # %%
        process = context.Process(target=os.abort)
        process.start(); process.join(5)
        process.exitcode
        # %%
        with context.Pool(1) as pool:
            print(repr(pool.apply_async(int, ('x',)).get(5)))
        """,
        masks=[r"(?s)RemoteTraceback.*(?=ValueError)"],
    ),
    program(
        "broken-process-pool",
        """
        import os
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context
        pool = ProcessPoolExecutor(1, mp_context=get_context('fork'))
        type(pool.submit(os._exit, 1).exception(timeout=5)).__name__
        # %%
        try:
            pool.submit(abs, 1)
        except Exception as error:
            print(type(error).__name__)
        """,
    ),
    program(
        "joblib-processes",
        """
        from joblib import Parallel, delayed
        def square(n): return n * n
        Parallel(n_jobs=2)(delayed(square)(n) for n in range(4))
        # %%
        Parallel(n_jobs=2)(delayed(square)(n) for n in range(4, 6))
        # %%
        Parallel(n_jobs=2, prefer='threads')(delayed(square)(n) for n in range(3))
        """,
    ),
    program(
        "start-method-and-process-objects",
        """
        import multiprocessing as mp
        mp.get_start_method(), mp.current_process().name, mp.parent_process()
        # %%
        mp.active_children(), mp.current_process().daemon
        """,
    ),
    program(
        "main-module-of-children",
        """
        import subprocess, sys
        import __main__
        hasattr(__main__, '__file__'), __main__.__spec__, __name__, __main__.__dict__ is globals()
        """,
    ),
)
