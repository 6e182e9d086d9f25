"""Programs that write to standard output and error in every way."""

from support.semantics.program import MODES, THREADS, Difference, of_kind

program = of_kind("output streams")

PROGRAMS = (
    program(
        "print-and-flush",
        """
        print('a'); print('b', end=''); print('c', 'd', sep='-')
        # %%
        import sys
        print('out'); sys.stdout.flush()
        print('err', file=sys.stderr); sys.stderr.flush()
        print('out again')
        # %%
        sys.stdout.write('returned')
        # %%
        sys.stdout.writelines(['x', 'y\\n'])
        """,
    ),
    program(
        "c-level-output",
        """
        import ctypes
        libc = ctypes.CDLL(None)
        n = libc.printf(b'from printf %d\\n', 5), libc.fflush(None)
        # %%
        n = libc.puts(b'from puts'), libc.fflush(None)
        """,
    ),
    program(
        "c-level-output-without-a-flush",
        """
        import ctypes
        libc = ctypes.CDLL(None)
        n = libc.printf(b'kept in a buffer\\n')
        # %%
        n = libc.fflush(None)
        """,
        Difference(
            reason="Text that C code prints appears in its cell; plain Jupyter waits for a flush.",
            modes=MODES,
        ),
    ),
    program(
        "descriptors",
        """
        import os
        n = os.write(1, b'to one\\n')
        # %%
        n = os.write(2, b'to two\\n')
        # %%
        n = os.write(1, 'ünï ✓\\n'.encode())
        """,
    ),
    program(
        "original-streams",
        """
        import sys
        print('to __stdout__', file=sys.__stdout__, flush=True)
        # %%
        print('to __stderr__', file=sys.__stderr__, flush=True)
        # %%
        sys.stdout.fileno() >= 0, sys.stdout.isatty(), sys.stdout.encoding, sys.stdout.writable()
        """,
    ),
    program(
        "carriage-returns-and-backspaces",
        """
        for n in range(5): print(f'\\r{n * 25}%', end='', flush=True)
        print()
        # %%
        print('windows\\r\\nline')
        # %%
        print('abc\\b\\bX')
        # %%
        print('first\\rsecond line\\rlast')
        """,
    ),
    program(
        "progress-like-tqdm",
        """
        import sys, time
        for n in range(4):
            sys.stderr.write(f'\\r{n * 33:3d}%|{"#" * n:<3}| {n}/3'); sys.stderr.flush()
            time.sleep(0.01)
        sys.stderr.write('\\n')
        # %%
        print('done')
        """,
    ),
    program(
        "tqdm",
        """
        from tqdm import tqdm
        sum(tqdm(range(3), bar_format='{n}/{total}'))
        # %%
        from tqdm.auto import tqdm
        """,
        needs=["tqdm"],
    ),
    program(
        "logging",
        """
        import logging
        logging.warning('to the root')
        # %%
        logging.basicConfig(level=logging.INFO, format='%(levelname)s %(message)s', force=True)
        logging.info('now shown')
        # %%
        logger = logging.getLogger('own')
        logger.setLevel(logging.DEBUG)
        logger.debug('debug of %s', 'own')
        # %%
        try: 1 / 0
        except ZeroDivisionError: logger.exception('with a traceback')
        """,
        masks=[r'File "[^"]*"'],
    ),
    program(
        "logging-to-stdout",
        """
        import logging, sys
        handler = logging.StreamHandler(sys.stdout)
        logging.getLogger('o').addHandler(handler)
        logging.getLogger('o').error('one')
        # %%
        logging.getLogger('o').error('two')
        """,
    ),
    program(
        "warnings",
        """
        import warnings
        warnings.warn('shown')
        # %%
        for _ in range(3): warnings.warn('in a loop')
        # %%
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            warnings.warn('caught')
        len(caught), str(caught[0].message)
        # %%
        import logging
        logging.captureWarnings(True)
        warnings.warn('logged')
        """,
        masks=[r"\S*ipykernel\S*:\d+"],
    ),
    program(
        "warning-of-a-module-shown-once",
        """
        open('noisy.py', 'w').write('import warnings\\ndef f(): warnings.warn("once")\\n')
        import noisy
        noisy.f()
        # %%
        noisy.f()
        # %%
        noisy.f(); noisy.f()
        """,
        masks=[r"\S*noisy\.py"],
    ),
    program(
        "redirected",
        """
        import contextlib, io
        out = io.StringIO()
        with contextlib.redirect_stdout(out): print('captured')
        out.getvalue()
        # %%
        with open('f.txt', 'w') as f, contextlib.redirect_stderr(f):
            import sys; print('in a file', file=sys.stderr)
        open('f.txt').read()
        """,
    ),
    program(
        "stdout-replaced-across-cells",
        """
        import io, sys
        real, sys.stdout = sys.stdout, io.StringIO()
        print('hidden')
        # %%
        print('hidden too')
        # %%
        text, sys.stdout = sys.stdout.getvalue(), real
        text
        """,
    ),
    program(
        "descriptors-redirected",
        """
        import os
        saved = os.dup(1)
        f = open('captured.txt', 'w')
        os.dup2(f.fileno(), 1)
        os.write(1, b'to the file\\n')
        os.dup2(saved, 1); os.close(saved); f.close()
        open('captured.txt').read()
        # %%
        n = os.write(1, b'shown again\\n')
        """,
    ),
    program(
        "pprint-and-encodings",
        """
        import pprint
        pprint.pprint({'b': [1] * 40, 'a': {'x': 'y' * 60}})
        # %%
        print('中文 ✓ 💡 é', '\\u202e', '\\x1b[1mbold\\x1b[0m')
        # %%
        print('tab\\tand\\x0bvertical\\x0cfeed', repr('\\x00'))
        """,
    ),
    program(
        "many-lines",
        """
        _ = [print(n) for n in range(300)]
        # %%
        print('x' * 10_000)
        # %%
        for n in range(100): print(n, end=' ')
        """,
    ),
    program(
        "output-of-a-thread-in-a-later-cell",
        """
        import threading, time
        lines = []
        stop = threading.Event()
        def work():
            n = 0
            while not stop.wait(0.01):
                lines.append(n)
        t = threading.Thread(target=work); t.start()
        # %%
        n = len(lines)
        time.sleep(0.1)
        len(lines) > n
        # %%
        stop.set(); t.join(2); t.is_alive()
        """,
        THREADS,
    ),
    program(
        "print-replaced",
        """
        import builtins
        original = print
        def loud(*args, **options): original('LOUD', *args, **options)
        builtins.print = loud
        # %%
        print('text')
        # %%
        builtins.print = original
        print('quiet')
        """,
    ),
)
