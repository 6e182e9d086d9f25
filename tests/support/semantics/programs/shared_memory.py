"""Programs with memory that processes share."""

from support.semantics.program import of_kind

program = of_kind("shared memory")

PROGRAMS = (
    program(
        "shared-memory-by-name",
        """
        from multiprocessing.shared_memory import SharedMemory
        block = SharedMemory(create=True, size=100, name='net-by-name')
        block.buf[:3] = b'abc'
        # %%
        other = SharedMemory(name='net-by-name')
        bytes(other.buf[:3])
        # %%
        other.buf[0] = 65
        bytes(block.buf[:3])
        # %%
        other.close(); block.close(); block.unlink()
        # %%
        SharedMemory(name='net-by-name')
        """,
        names_memory=True,
        masks=[r"(?s)File \S*shared_memory\.py.*(?=FileNotFoundError)"],
    ),
    program(
        "shared-memory-and-a-child",
        """
        import os
        from multiprocessing.shared_memory import SharedMemory
        block = SharedMemory(create=True, size=10)
        if not (pid := os.fork()):
            block.buf[0] = 7
            os._exit(0)
        os.waitpid(pid, 0)[1], block.buf[0]
        # %%
        block.buf[0] = 8
        block.buf[0]
        # %%
        block.close(); block.unlink()
        """,
        names_memory=True,
    ),
    program(
        "shareable-list",
        """
        from multiprocessing.shared_memory import ShareableList
        values = ShareableList([1, 'two', 3.0])
        # %%
        values[0] = 10
        list(values)
        # %%
        list(ShareableList(name=values.shm.name))
        # %%
        values.shm.close(); values.shm.unlink()
        """,
        names_memory=True,
    ),
    program(
        "numpy-in-shared-memory",
        """
        import numpy as np
        from multiprocessing.shared_memory import SharedMemory
        block = SharedMemory(create=True, size=80)
        a = np.ndarray(10, dtype='i8', buffer=block.buf)
        a[:] = np.arange(10)
        # %%
        a += 1
        int(a.sum())
        # %%
        b = a.copy()
        del a
        block.close(); block.unlink()
        int(b.sum())
        """,
        names_memory=True,
    ),
    program(
        "anonymous-map",
        """
        import mmap
        m = mmap.mmap(-1, 4096)
        m[:3] = b'abc'
        # %%
        m[0:1] = b'X'
        m[:3]
        # %%
        private = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        private[:2] = b'pq'
        # %%
        private[:2], m[:3]
        """,
    ),
    program(
        "anonymous-map-and-a-child",
        """
        import mmap, os
        m = mmap.mmap(-1, 4096)
        # %%
        if not (pid := os.fork()):
            m[:5] = b'child'
            os._exit(0)
        os.waitpid(pid, 0)[1], m[:5]
        # %%
        m[:5] = b'reset'
        m[:5]
        """,
    ),
    program(
        "files-in-dev-shm",
        """
        import os
        path = '/dev/shm/net-file'
        os.path.exists(path)
        # %%
        with open(path, 'w') as f: f.write('one')
        # %%
        with open(path, 'a') as f: f.write(' two')
        open(path).read()
        # %%
        os.remove(path)
        os.path.exists(path)
        """,
        names_memory=True,
    ),
    program(
        "files-in-tmp",
        """
        import os, tempfile
        path = f'{tempfile.gettempdir()}/net-file'
        os.path.exists(path)
        # %%
        with open(path, 'x') as f: f.write('one')
        # %%
        open(path).read(), os.remove(path)
        """,
    ),
    program(
        "files-at-home",
        """
        import os
        path = os.path.expanduser('~/net-file')
        os.path.exists(path)
        # %%
        with open(path, 'x') as f: f.write('one')
        # %%
        open(path).read()
        """,
    ),
    program(
        "shared-array-in-a-pool",
        """
        import multiprocessing as mp
        context = mp.get_context('fork')
        shared = context.Array('i', 4)
        def fill(n): shared[n] = n * n
        with context.Pool(2) as pool:
            pool.map(fill, range(4))
        list(shared)
        # %%
        with shared.get_lock():
            shared[0] = -1
        list(shared)
        # %%
        with context.Pool(2) as pool:
            pool.map(fill, range(4))
        list(shared)
        """,
    ),
    program(
        "raw-array-and-ctypes-structure",
        """
        import ctypes, multiprocessing.sharedctypes as shared
        class Point(ctypes.Structure):
            _fields_ = [('x', ctypes.c_double), ('y', ctypes.c_double)]
        point = shared.RawValue(Point, 1, 2)
        numbers = shared.RawArray('i', range(3))
        # %%
        point.x += 10
        numbers[0] = 9
        point.x, point.y, list(numbers)
        # %%
        point.x, list(numbers)
        """,
    ),
)
