"""Programs that await, and that keep tasks, queues and loops."""

from support.semantics.program import CHILDREN, CONNECTIONS, TASKS, THREADS, of_kind

program = of_kind("asyncio")

PROGRAMS = (
    program(
        "await-at-top-level",
        """
        import asyncio
        x = 1
        await asyncio.sleep(0.01)
        x
        # %%
        async def double(n):
            await asyncio.sleep(0)
            return 2 * n
        await double(21)
        # %%
        [await double(n) for n in range(3)]
        """,
    ),
    program(
        "task-awaited-in-a-later-cell",
        """
        import asyncio
        async def work():
            await asyncio.sleep(0.5)
            return 'done'
        task = asyncio.create_task(work(), name='work')
        # %%
        await task
        # %%
        task.done(), task.get_name()
        """,
        TASKS,
    ),
    program(
        "task-that-is-done-is-kept",
        """
        import asyncio
        async def work():
            return 'done'
        task = asyncio.create_task(work())
        await asyncio.sleep(0.01)
        # %%
        task.done(), task.result(), await task
        """,
    ),
    program(
        "task-runs-between-cells",
        """
        import asyncio
        seen = []
        async def ticker():
            while True:
                seen.append(len(seen))
                await asyncio.sleep(0.01)
        task = asyncio.create_task(ticker())
        # %%
        await asyncio.sleep(0.1)
        len(seen) > 2
        # %%
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            print('cancelled')
        """,
        TASKS,
    ),
    program(
        "gather-and-exceptions",
        """
        import asyncio
        async def inverse(n):
            await asyncio.sleep(0.001 * n)
            return 1 / n
        await asyncio.gather(*map(inverse, (1, 2, 4)))
        # %%
        await asyncio.gather(inverse(0), inverse(1), return_exceptions=True)
        # %%
        await inverse(0)
        """,
    ),
    program(
        "task-group",
        """
        import asyncio
        async def fail(text):
            raise ValueError(text)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail('one'))
                group.create_task(fail('two'))
        except* ValueError as errors:
            print(sorted(map(str, errors.exceptions)))
        # %%
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(asyncio.sleep(0.01, n)) for n in range(3)]
        [task.result() for task in tasks]
        """,
    ),
    program(
        "queue-with-a-consumer",
        """
        import asyncio
        queue, got = asyncio.Queue(), []
        async def consume():
            while (item := await queue.get()) is not None:
                got.append(item)
        consumer = asyncio.create_task(consume())
        await queue.put(1)
        await asyncio.sleep(0)
        # %%
        await queue.put(2)
        await queue.put(None)
        await asyncio.wait_for(consumer, 2)
        got
        """,
        TASKS,
    ),
    program(
        "queue-without-a-task",
        """
        import asyncio
        queue = asyncio.Queue()
        queue.put_nowait('a')
        queue.put_nowait('b')
        # %%
        await queue.get()
        # %%
        await queue.get(), queue.qsize()
        """,
    ),
    program(
        "event-set-in-a-later-cell",
        """
        import asyncio
        event = asyncio.Event()
        async def waiter():
            await event.wait()
            return 'woken'
        task = asyncio.create_task(waiter())
        await asyncio.sleep(0)
        # %%
        event.set()
        await asyncio.wait_for(task, 2)
        """,
        TASKS,
    ),
    program(
        "lock-and-semaphore",
        """
        import asyncio
        lock, semaphore = asyncio.Lock(), asyncio.Semaphore(2)
        await lock.acquire()
        # %%
        lock.locked(), semaphore.locked()
        # %%
        lock.release()
        async with lock, semaphore:
            print('inside')
        """,
    ),
    program(
        "lock-that-was-waited-for",
        """
        import asyncio
        lock = asyncio.Lock()
        async def hold():
            async with lock:
                await asyncio.sleep(0.01)
        await asyncio.gather(hold(), hold())
        # %%
        await asyncio.gather(hold(), hold())
        lock.locked()
        """,
    ),
    program(
        "loop-in-a-thread",
        """
        import asyncio, threading
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        async def add(a, b):
            await asyncio.sleep(0.01)
            return a + b
        asyncio.run_coroutine_threadsafe(add(1, 2), loop).result(2)
        # %%
        asyncio.run_coroutine_threadsafe(add(3, 4), loop).result(2)
        # %%
        loop.call_soon_threadsafe(loop.stop)
        thread.join(2)
        loop.close()
        loop
        """,
        THREADS,
    ),
    program(
        "run-inside-a-running-loop",
        """
        import asyncio, warnings
        warnings.simplefilter('ignore')
        async def f(): pass
        asyncio.run(f())
        # %%
        asyncio.get_event_loop().run_until_complete(f())
        """,
        masks=[r"(?s)File \S*(asyncio|base_events)\S*\.py.*?(?=RuntimeError)"],
    ),
    program(
        "run-in-another-thread",
        """
        import asyncio, threading
        out = []
        async def f():
            await asyncio.sleep(0.01)
            out.append('ran')
        thread = threading.Thread(target=lambda: asyncio.run(f()))
        thread.start(); thread.join(2)
        out
        # %%
        await asyncio.to_thread(asyncio.run, f())
        out
        """,
    ),
    program(
        "default-executor",
        """
        import asyncio, time
        def block(n):
            time.sleep(0.01)
            return n * n
        await asyncio.to_thread(block, 3)
        # %%
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(None, block, n) for n in range(4)))
        """,
    ),
    program(
        "asyncio-subprocess",
        """
        import asyncio
        PIPE = asyncio.subprocess.PIPE
        cat = await asyncio.create_subprocess_exec('cat', stdin=PIPE, stdout=PIPE)
        cat.returncode
        # %%
        cat.stdin.write(b'line\\n')
        await cat.stdin.drain()
        await asyncio.wait_for(cat.stdout.readline(), 3)
        # %%
        out, _ = await asyncio.wait_for(cat.communicate(b'rest'), 3)
        out, cat.returncode
        """,
        CHILDREN,
    ),
    program(
        "asyncio-subprocess-in-one-cell",
        """
        import asyncio
        async def run(code):
            child = await asyncio.create_subprocess_shell(code, stdout=asyncio.subprocess.PIPE)
            return (await child.communicate())[0].decode(), child.returncode
        await run('echo one; exit 3')
        # %%
        await asyncio.gather(run('echo a'), run('echo b'))
        """,
    ),
    program(
        "async-generator-half-consumed",
        """
        async def count():
            for n in range(5):
                yield n
        numbers = count()
        await anext(numbers), await anext(numbers)
        # %%
        [n async for n in numbers]
        """,
    ),
    program(
        "timer-of-the-loop",
        """
        import asyncio
        fired = []
        handle = asyncio.get_running_loop().call_later(0.5, fired.append, 'late')
        # %%
        await asyncio.sleep(1)
        fired
        """,
        TASKS,
    ),
    program(
        "same-loop-in-each-cell",
        """
        import asyncio
        loop = asyncio.get_running_loop()
        # %%
        asyncio.get_running_loop() is loop, loop.is_running()
        """,
        TASKS,
    ),
    program(
        "timeouts",
        """
        import asyncio
        await asyncio.wait_for(asyncio.sleep(5), 0.05)
        # %%
        try:
            async with asyncio.timeout(0.05):
                await asyncio.sleep(5)
        except TimeoutError:
            print('timed out')
        """,
        masks=[r"(?s)File \S*(asyncio/)?(tasks|timeouts)\.py.*?(?=TimeoutError)"],
    ),
    program(
        "stream-server-on-loopback",
        """
        import asyncio
        async def answer(reader, writer):
            writer.write((await reader.readline()).upper())
            await writer.drain()
            writer.close()
        server = await asyncio.start_server(answer, '127.0.0.1', 0)
        port = server.sockets[0].getsockname()[1]
        async def ask(text):
            reader, writer = await asyncio.open_connection('127.0.0.1', port)
            writer.write(text)
            reply = await asyncio.wait_for(reader.read(), 3)
            writer.close()
            return reply
        await ask(b'hello\\n')
        # %%
        await ask(b'again\\n')
        # %%
        server.close()
        await ask(b'closed\\n')
        """,
        CONNECTIONS,
        masks=[r"\d{4,5}\)", r"(?s)File \S*asyncio.*?(?=ConnectionRefusedError)"],
    ),
    program(
        "context-variable-and-tasks",
        """
        import asyncio, contextvars
        who = contextvars.ContextVar('who', default='nobody')
        async def child():
            before = who.get()
            who.set('child')
            return before
        async def parent():
            who.set('parent')
            return await asyncio.create_task(child()), who.get()
        await asyncio.create_task(parent())
        # %%
        who.get()
        """,
    ),
    program(
        "future-set-in-a-later-cell",
        """
        import asyncio
        future = asyncio.get_running_loop().create_future()
        # %%
        future.set_result(42)
        # %%
        await future
        """,
    ),
    program(
        "exception-of-a-lost-task",
        """
        import asyncio
        async def fail():
            raise KeyError('lost')
        task = asyncio.create_task(fail())
        await asyncio.sleep(0.01)
        task.done()
        # %%
        repr(task.exception())
        """,
    ),
)
