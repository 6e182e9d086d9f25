"""Programs that keep settings of the interpreter, of libraries and of the process."""

from support.semantics.program import PROCESS, of_kind

program = of_kind("state")

PROGRAMS = (
    program(
        "collector-settings",
        """
        import gc
        gc.isenabled(), gc.get_threshold()[0] > 0
        # %%
        gc.disable(); gc.set_threshold(500, 5, 5)
        # %%
        gc.isenabled(), gc.get_threshold()
        # %%
        gc.enable(); gc.isenabled()
        """,
    ),
    program(
        "decimal-locale-and-time-zone",
        """
        import decimal, locale, os, time
        decimal.getcontext().prec = 5
        os.environ['TZ'] = 'Asia/Tokyo'; time.tzset()
        # %%
        decimal.Decimal(1) / 3, time.strftime('%H', time.localtime(0)), time.tzname[0]
        # %%
        locale.setlocale(locale.LC_ALL, 'C')
        # %%
        locale.setlocale(locale.LC_ALL), decimal.getcontext().prec
        """,
    ),
    program(
        "arguments",
        """
        import sys
        sys.argv[0].split('/')[-1]
        # %%
        import argparse
        parser = argparse.ArgumentParser()
        parser.add_argument('--n', type=int, default=3)
        parser.parse_known_args()[0].n
        # %%
        parser.parse_args([]), parser.parse_args(['--n', '5'])
        # %%
        sys.argv = ['prog', '--n', '7']
        # %%
        parser.parse_args()
        """,
    ),
    program(
        "main-module",
        """
        import __main__, sys
        x = 5
        __main__.x, sys.modules['__main__'] is __main__, __name__
        # %%
        __main__.y = 6
        # %%
        y, vars(__main__) is globals()
        # %%
        get_ipython() is not None, type(get_ipython()).__name__, get_ipython().user_ns is globals()
        # %%
        __file__
        """,
    ),
    program(
        "special-names",
        """
        sorted(n for n in globals() if not n.startswith('_'))
        # %%
        __builtins__.__name__, __doc__ is None or type(__doc__).__name__
        # %%
        sorted(n for n in dir(__builtins__) if n in ('display', 'get_ipython', '__IPYTHON__'))
        """,
    ),
    program(
        "settings-of-libraries",
        """
        import numpy as np, pandas as pd
        np.set_printoptions(precision=2); np.seterr(divide='raise')
        pd.options.display.float_format = '{:.1f}'.format
        # %%
        np.array([1 / 3]), pd.Series([1 / 3])
        # %%
        np.array([1.0]) / 0
        # %%
        with np.errstate(divide='ignore'): print(np.array([1.0]) / 0)
        np.geterr()['divide']
        # %%
        import matplotlib
        matplotlib.rcParams['lines.linewidth'] = 3.5
        # %%
        matplotlib.rcParams['lines.linewidth'], matplotlib.get_backend()
        """,
    ),
    program(
        "built-in-names-overwritten",
        """
        list = [1, 2]
        max = 5
        # %%
        list, max
        # %%
        list('ab')
        # %%
        del list, max
        list('ab'), max(1, 2)
        """,
    ),
    program(
        "limits-and-switches",
        """
        import sys
        sys.setrecursionlimit(500)
        sys.setswitchinterval(0.01)
        sys.set_int_max_str_digits(1000)
        # %%
        sys.getrecursionlimit(), sys.getswitchinterval(), sys.get_int_max_str_digits()
        # %%
        def f(n): return n and f(n - 1)
        f(100)
        # %%
        int('1' * 2000)
        """,
    ),
    program(
        "limits-of-the-process",
        """
        import os, resource
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
        os.nice(1) - os.nice(0)
        # %%
        resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        # %%
        files = [open('/dev/null') for _ in range(300)]
        len(files)
        """,
    ),
    program(
        "environment-variables",
        """
        import os
        os.environ['NET_A'] = '1'
        os.putenv('NET_B', '2')
        # %%
        os.environ['NET_A'], os.environ.get('NET_B'), os.popen('echo $NET_A$NET_B').read()
        # %%
        del os.environ['NET_A']
        os.popen('echo [$NET_A]').read()
        # %%
        os.environ['MPLBACKEND'], os.environ.get('PAGER'), 'PYTHONPATH' in os.environ
        """,
    ),
    program(
        "clocks",
        """
        import time
        wall, steady, cpu = time.time(), time.monotonic(), time.process_time()
        # %%
        time.time() >= wall, time.monotonic() >= steady, time.perf_counter() > 0
        """,
    ),
    program(
        "processor-time",
        """
        import time
        sum(range(10 ** 6))
        used = time.process_time()
        # %%
        time.process_time() >= used
        """,
        PROCESS,
    ),
    program(
        "tracing-and-profiling",
        """
        import tracemalloc
        tracemalloc.start()
        data = [bytes(1000) for _ in range(100)]
        tracemalloc.get_traced_memory()[0] > 100_000
        # %%
        tracemalloc.is_tracing(), tracemalloc.get_traced_memory()[0] > 100_000
        # %%
        tracemalloc.stop()
        # %%
        import sys
        calls = []
        sys.setprofile(lambda frame, event, arg: calls.append(event))
        len('x')
        sys.setprofile(None)
        'c_call' in calls
        """,
    ),
    program(
        "hooks-of-the-interpreter",
        """
        import sys
        sys.excepthook = lambda *error: print('hooked')
        1 / 0
        # %%
        sys.addaudithook(lambda event, args: audited.append(event) if event == 'net.event' else None)
        audited = []
        # %%
        sys.audit('net.event')
        audited
        # %%
        sys.unraisablehook = lambda info: print('unraisable', info.exc_type.__name__)
        class Bad:
            def __del__(self): raise ValueError
        Bad() and None
        # %%
        b = Bad(); del b
        """,
    ),
    program(
        "execution-counts",
        """
        get_ipython().execution_count
        # %%
        1 / 0
        # %%
        get_ipython().execution_count
        # %%
        def broken(:
        # %%
        get_ipython().execution_count, len(In)
        """,
    ),
    program(
        "run-cell-from-a-cell",
        """
        get_ipython().run_cell('inner = 5; inner')
        # %%
        inner
        # %%
        get_ipython().ex('z = 1'), get_ipython().ev('z + 1')
        # %%
        get_ipython().set_next_input('x = 1')
        """,
        masks=[r"(?s)<ExecutionResult.*"],
    ),
)
