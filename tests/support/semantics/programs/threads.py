"""Programs with threads, locks and pools of threads."""

from support.semantics.program import POOLS, THREADS, of_kind

program = of_kind("threads")

PROGRAMS = (
    program(
        "thread-joined-in-a-later-cell",
        """
        import threading
        stop, result = threading.Event(), []
        def work():
            stop.wait(30)
            result.append('stopped')
        thread = threading.Thread(target=work, name='worker', daemon=True)
        thread.start()
        thread.is_alive()
        # %%
        stop.set()
        thread.join(2)
        result, thread.is_alive()
        """,
        THREADS,
    ),
    program(
        "threads-in-one-cell",
        """
        import threading
        total, lock = 0, threading.Lock()
        def add():
            global total
            for _ in range(1000):
                with lock:
                    total += 1
        threads = [threading.Thread(target=add) for _ in range(8)]
        for t in threads: t.start()
        for t in threads: t.join()
        total
        # %%
        any(t.is_alive() for t in threads)
        """,
    ),
    program(
        "locks-held-across-cells",
        """
        import threading
        lock, rlock, semaphore = threading.Lock(), threading.RLock(), threading.Semaphore(1)
        lock.acquire(), rlock.acquire(), semaphore.acquire()
        # %%
        lock.locked(), lock.acquire(timeout=0.05), rlock.acquire(), semaphore.acquire(blocking=False)
        # %%
        lock.release(); rlock.release(); rlock.release(); semaphore.release()
        lock.acquire(timeout=0.05), rlock.acquire(timeout=0.05), semaphore.acquire(timeout=0.05)
        """,
    ),
    program(
        "lock-held-by-a-thread",
        """
        import threading
        lock, holding, stop = threading.Lock(), threading.Event(), threading.Event()
        def hold():
            with lock:
                holding.set()
                stop.wait(30)
        thread = threading.Thread(target=hold, daemon=True)
        thread.start()
        holding.wait(2)
        # %%
        lock.acquire(timeout=0.05)
        # %%
        stop.set()
        lock.acquire(timeout=2)
        """,
        THREADS,
    ),
    program(
        "executor-kept",
        """
        from concurrent.futures import ThreadPoolExecutor
        pool = ThreadPoolExecutor(2)
        list(pool.map(abs, [-1, -2, -3]))
        # %%
        pool.submit(pow, 2, 5).result(timeout=3)
        # %%
        pool.shutdown()
        pool.submit(pow, 2, 5)
        """,
        masks=[r"(?s)File \S*concurrent\S*\.py.*?(?=RuntimeError)"],
    ),
    program(
        "executor-in-each-cell",
        """
        from concurrent.futures import ThreadPoolExecutor, as_completed
        def square(n): return n * n
        with ThreadPoolExecutor(4) as pool:
            print(list(pool.map(square, range(5))))
        # %%
        with ThreadPoolExecutor(4) as pool:
            futures = [pool.submit(square, n) for n in range(5)]
            print(sorted(f.result() for f in as_completed(futures)))
        # %%
        def fail(): raise LookupError('in a thread')
        with ThreadPoolExecutor(1) as pool:
            error = pool.submit(fail).exception()
        error
        """,
    ),
    program(
        "executor-made-and-used-later",
        """
        from concurrent.futures import ThreadPoolExecutor
        pool = ThreadPoolExecutor(2)
        # %%
        list(pool.map(abs, [-1, -2]))
        """,
    ),
    program(
        "future-finished-in-a-later-cell",
        """
        from concurrent.futures import ThreadPoolExecutor
        import threading
        go = threading.Event()
        pool = ThreadPoolExecutor(1)
        future = pool.submit(go.wait, 30)
        future.done()
        # %%
        go.set()
        future.result(timeout=2)
        """,
        THREADS,
    ),
    program(
        "thread-pool-of-multiprocessing",
        """
        from multiprocessing.pool import ThreadPool
        pool = ThreadPool(2)
        pool.map(abs, [-1, -2])
        # %%
        pool.map_async(abs, [-3, -4]).get(timeout=3)
        # %%
        pool.close(); pool.join()
        """,
        POOLS,
    ),
    program(
        "local-data",
        """
        import threading
        local = threading.local()
        local.value = 'main'
        # %%
        seen = []
        t = threading.Thread(target=lambda: seen.append(hasattr(local, 'value')))
        t.start(); t.join()
        local.value, seen
        """,
    ),
    program(
        "main-thread",
        """
        import threading
        me = threading.current_thread()
        me is threading.main_thread(), me.name
        # %%
        threading.current_thread() is me is threading.main_thread()
        # %%
        threading.get_ident() == me.ident
        """,
    ),
    program(
        "timer",
        """
        import threading
        fired = threading.Event()
        timer = threading.Timer(0.6, fired.set)
        timer.start()
        # %%
        fired.wait(3)
        """,
        THREADS,
    ),
    program(
        "consumer-thread",
        """
        import queue, threading
        tasks, results = queue.Queue(), queue.Queue()
        def consume():
            while (item := tasks.get()) is not None:
                results.put(item * 2)
        thread = threading.Thread(target=consume, daemon=True)
        thread.start()
        tasks.put(1)
        results.get(timeout=2)
        # %%
        tasks.put(21)
        results.get(timeout=2)
        # %%
        tasks.put(None)
        thread.join(2)
        thread.is_alive()
        """,
        THREADS,
    ),
    program(
        "queue-kept-without-a-thread",
        """
        import queue
        q = queue.Queue()
        for n in range(3): q.put(n)
        # %%
        q.get(), q.qsize()
        # %%
        q.get(timeout=1), q.get_nowait(), q.empty()
        """,
    ),
    program(
        "background-counter",
        """
        import threading, time
        n, stop = 0, False
        def count():
            global n
            while not stop:
                n += 1
                time.sleep(0.005)
        thread = threading.Thread(target=count, daemon=True)
        thread.start()
        # %%
        before = n
        time.sleep(0.1)
        n > before
        # %%
        stop = True
        thread.join(2)
        thread.is_alive()
        """,
        THREADS,
    ),
    program(
        "prints-of-a-thread",
        """
        import threading
        def say():
            print('from a thread')
        t = threading.Thread(target=say)
        t.start(); t.join()
        # %%
        t = threading.Thread(target=say)
        t.start(); t.join()
        print('from the cell')
        """,
    ),
    program(
        "exception-in-a-thread",
        """
        import threading
        def fail():
            raise ValueError('in a thread')
        t = threading.Thread(target=fail, name='failing')
        t.start(); t.join()
        # %%
        caught = []
        threading.excepthook = lambda args: caught.append((args.thread.name, str(args.exc_value)))
        t = threading.Thread(target=fail, name='caught')
        t.start(); t.join()
        caught
        """,
        masks=[r'(?s)File "[^"]*threading\.py.*?(?=File)'],
    ),
    program(
        "condition-and-barrier",
        """
        import threading
        condition, barrier, log = threading.Condition(), threading.Barrier(3), []
        def wait():
            barrier.wait(3)
            with condition:
                log.append('through')
                condition.notify_all()
        threads = [threading.Thread(target=wait) for _ in range(2)]
        for t in threads: t.start()
        barrier.wait(3)
        with condition:
            condition.wait_for(lambda: len(log) == 2, 3)
        for t in threads: t.join()
        log
        # %%
        barrier.n_waiting, barrier.broken
        """,
    ),
    program(
        "thread-local-random-and-numpy",
        """
        import numpy as np
        from concurrent.futures import ThreadPoolExecutor
        generators = [np.random.default_rng(n) for n in range(3)]
        with ThreadPoolExecutor(3) as pool:
            first = list(pool.map(lambda g: int(g.integers(100)), generators))
        first
        # %%
        [int(g.integers(100)) for g in generators]
        """,
    ),
)
