"""Programs that keep files, locks, folders and databases open."""

from support.semantics.program import PROCESS, Difference, of_kind

program = of_kind("files")

PROGRAMS = (
    program(
        "append-across-cells",
        """
        log = open('log.txt', 'a')
        log.write('one\\n')
        # %%
        log.write('two\\n')
        log.flush()
        open('log.txt').read()
        # %%
        log.close()
        open('log.txt').read()
        """,
    ),
    program(
        "buffer-not-flushed",
        """
        out = open('out.txt', 'w')
        out.write('buffered ')
        # %%
        import os
        os.path.getsize('out.txt')
        # %%
        out.write('and closed')
        out.close()
        open('out.txt').read()
        """,
    ),
    program(
        "read-half-of-a-file",
        """
        open('lines.txt', 'w').write(''.join(f'line {n}\\n' for n in range(5000)))
        lines = open('lines.txt')
        next(lines), next(lines)
        # %%
        lines.readline(), sum(1 for _ in lines)
        # %%
        lines.seek(0), lines.readline(), lines.tell()
        """,
    ),
    program(
        "read-and-write-at-positions",
        """
        f = open('data.bin', 'w+b')
        f.write(bytes(range(100)))
        f.seek(10)
        # %%
        f.read(3), f.tell()
        # %%
        f.seek(11); f.write(b'XX'); f.seek(10)
        f.read(5)
        # %%
        f.truncate(12), f.seek(0, 2)
        """,
    ),
    program(
        "raw-descriptors",
        """
        import os
        fd = os.open('raw', os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.write(fd, b'0123456789')
        other = os.dup(fd)
        # %%
        os.lseek(fd, 2, os.SEEK_SET)
        os.read(other, 3)
        # %%
        os.read(fd, 3), os.pread(fd, 2, 0), os.close(other)
        # %%
        os.read(fd, 10), os.close(fd)
        """,
    ),
    program(
        "deleted-file-still-open",
        """
        import os
        f = open('gone', 'w+')
        f.write('still here')
        f.flush()
        os.remove('gone')
        # %%
        f.seek(0)
        f.read(), os.path.exists('gone'), os.fstat(f.fileno()).st_nlink
        # %%
        f.seek(0, 2); f.write('!'); f.seek(0)
        f.read()
        """,
    ),
    program(
        "file-replaced-while-open",
        """
        import os
        open('a', 'w').write('old')
        old = open('a')
        open('b', 'w').write('new')
        os.replace('b', 'a')
        # %%
        old.read(), open('a').read()
        """,
    ),
    program(
        "temporary-files",
        """
        import os, tempfile
        t = tempfile.TemporaryFile()
        named = tempfile.NamedTemporaryFile('w+', suffix='.txt')
        folder = tempfile.TemporaryDirectory()
        t.write(b'abc'); named.write('def'); named.flush()
        # %%
        t.seek(0, 2); t.write(b'!'); t.seek(0)
        t.read(), open(named.name).read(), os.listdir(folder.name)
        # %%
        open(f'{folder.name}/x', 'w').close()
        os.listdir(folder.name), named.close(), os.path.exists(named.name)
        # %%
        folder.cleanup()
        os.path.exists(folder.name)
        """,
    ),
    program(
        "mmap-of-a-file",
        """
        import mmap
        with open('mapped', 'wb') as f:
            f.write(b'\\0' * 4096)
        f = open('mapped', 'r+b')
        m = mmap.mmap(f.fileno(), 0)
        m[:5] = b'hello'
        # %%
        m[:5], open('mapped', 'rb').read(5)
        # %%
        m[0:1] = b'J'
        m.flush()
        open('mapped', 'rb').read(5)
        # %%
        open('mapped', 'r+b').write(b'W')
        m[:5]
        """,
    ),
    program(
        "numpy-memmap",
        """
        import numpy as np
        a = np.memmap('array', dtype='i4', mode='w+', shape=(10,))
        a[:] = range(10)
        # %%
        a[0] = 100
        a.flush()
        np.fromfile('array', dtype='i4')[:3]
        # %%
        b = np.load('array2.npy', mmap_mode='r') if np.save('array2.npy', a) is None else None
        int(b.sum()), int(a.sum())
        """,
    ),
    program(
        "working-directory",
        """
        import os
        os.makedirs('a/b')
        os.chdir('a/b')
        open('here.txt', 'w').write('x')
        # %%
        os.getcwd().split('/')[-2:], os.listdir()
        # %%
        os.chdir('../..')
        os.path.exists('a/b/here.txt')
        """,
    ),
    program(
        "working-directory-removed",
        """
        import os, shutil
        os.mkdir('d')
        os.chdir('d')
        shutil.rmtree('../d')
        # %%
        os.getcwd()
        # %%
        os.chdir('/')
        os.getcwd()
        """,
        masks=[r"(?s)Cell In.*(?=FileNotFoundError)"],
    ),
    program(
        "pipe-with-both-ends-in-the-kernel",
        """
        import os
        r, w = os.pipe()
        os.write(w, b'first ')
        # %%
        os.write(w, b'second')
        os.read(r, 100)
        # %%
        os.close(w)
        os.read(r, 100)
        """,
    ),
    program(
        "file-in-memory",
        """
        import os
        fd = os.memfd_create('scratch')
        os.write(fd, b'in memory')
        # %%
        os.pread(fd, 9, 0), os.lseek(fd, 0, os.SEEK_CUR)
        # %%
        os.lseek(fd, 0, os.SEEK_END), os.write(fd, b'!')
        os.pread(fd, 20, 0)
        """,
    ),
    program(
        "event-descriptor",
        """
        import os
        event = os.eventfd(3)
        # %%
        os.eventfd_write(event, 4)
        os.eventfd_read(event)
        """,
    ),
    program(
        "named-pipe",
        """
        import os
        os.mkfifo('fifo')
        r = os.open('fifo', os.O_RDONLY | os.O_NONBLOCK)
        w = os.open('fifo', os.O_WRONLY)
        os.write(w, b'through')
        # %%
        os.read(r, 100)
        # %%
        os.close(w)
        os.read(r, 100), os.close(r)
        """,
    ),
    program(
        "compressed-files",
        """
        import bz2, gzip, zipfile
        g = gzip.open('t.gz', 'wt')
        g.write('one ' * 1000)
        z = zipfile.ZipFile('t.zip', 'w')
        z.writestr('a.txt', 'A')
        # %%
        g.write('end'); g.close()
        z.writestr('b.txt', 'B'); z.close()
        len(gzip.open('t.gz').read()), zipfile.ZipFile('t.zip').namelist()
        """,
    ),
    program(
        "csv-writer-kept",
        """
        import csv
        f = open('t.csv', 'w', newline='')
        writer = csv.DictWriter(f, ['a', 'b'])
        writer.writeheader()
        # %%
        writer.writerow({'a': 1, 'b': 'x,y'})
        # %%
        f.close()
        open('t.csv', newline='').read()
        """,
    ),
    program(
        "links-and-permissions",
        """
        import os, stat
        open('target', 'w').write('t')
        os.symlink('target', 'soft'); os.link('target', 'hard')
        os.chmod('target', 0o640)
        # %%
        os.readlink('soft'), os.stat('hard').st_nlink, stat.filemode(os.stat('hard').st_mode)
        # %%
        os.remove('target')
        os.path.exists('soft'), os.path.lexists('soft'), open('hard').read()
        """,
    ),
    program(
        "umask-and-mode",
        """
        import os
        os.umask(0o077)
        # %%
        open('private', 'w').close()
        oct(os.stat('private').st_mode & 0o777), oct(os.umask(0o022))
        # %%
        open('public', 'w').close()
        oct(os.stat('public').st_mode & 0o777)
        """,
    ),
    program(
        "folder-descriptor-and-scandir",
        """
        import os
        os.mkdir('d')
        for n in range(3): open(f'd/{n}', 'w').close()
        fd = os.open('d', os.O_RDONLY)
        entries = os.scandir('d')
        first = next(entries).name
        # %%
        sorted([first, *(e.name for e in entries)]), sorted(os.listdir(fd))
        # %%
        with open('new', 'w', opener=lambda p, f: os.open(p, f, dir_fd=fd)) as f:
            f.write('x')
        os.path.exists('d/new'), os.close(fd)
        """,
        Difference(
            reason="A listing of a folder that was half read starts over in a copy.",
            modes=("trial", "fork"),
        ),
    ),
    program(
        "own-process-in-proc",
        """
        import os
        pid = os.getpid()
        fds = sorted(os.listdir('/proc/self/fd'))
        # %%
        os.getpid() == pid, os.path.isdir(f'/proc/{pid}')
        """,
        PROCESS,
    ),
)
