"""Programs that use IPython's magics on Python code, names, files and settings."""

from support.semantics.program import PAGER, of_kind

program = of_kind("magics")

TIMES = r"CPU times.*"
FRAME = r"(?s)File \S*(IPython|site-packages)\S*\.py.*?(?=\w+Error)"

PROGRAMS = (
    program(
        "time",
        """
        %time x = sum(range(10))
        # %%
        %time x + 1
        # %%
        %%time
        y = x * 2
        y
        # %%
        x, y
        """,
        masks=[TIMES],
    ),
    program(
        "time-of-a-failing-cell",
        """
        %%time
        a = 1
        b = 1 / 0
        # %%
        a
        """,
        masks=[TIMES, FRAME],
    ),
    program(
        "timeit",
        """
        %timeit -n 1 -r 1 pass
        # %%
        %%timeit -n 1 -r 1 -q x = 5
        x + 1
        # %%
        result = %timeit -n 2 -r 3 -q -o pass
        result.loops, len(result.all_runs), type(result).__name__
        """,
        masks=[r"[\d.]+ \S+ ± [\d.]+ \S+ per loop"],
    ),
    program(
        "capture",
        """
        %%capture captured
        print('hidden')
        import sys
        print('error', file=sys.stderr)
        42
        # %%
        captured.stdout, captured.stderr, len(captured.outputs)
        # %%
        captured.show()
        # %%
        %%capture --no-stderr only_out
        print('a')
        # %%
        captured(), only_out.stdout
        """,
    ),
    program(
        "capture-function",
        """
        from IPython.utils.capture import capture_output
        with capture_output() as out:
            print('inside'); display('shown')
        out.stdout, [str(o.data) for o in out.outputs]
        # %%
        out.show()
        """,
    ),
    program(
        "writefile-and-run",
        """
        %%writefile script.py
        import sys
        print(__name__, sys.argv[1:])
        value = 42
        # %%
        %%writefile -a script.py
        print('appended')
        # %%
        %run script.py a b
        # %%
        value
        # %%
        %%file other.py
        print(value + 1)
        # %%
        %run -i other.py
        # %%
        %pycat other.py
        """,
    ),
    program(
        "run-fails",
        """
        %%writefile failing.py
        def f():
            raise ValueError('in a script')
        f()
        # %%
        %run failing.py
        # %%
        %run -n failing.py
        # %%
        %run missing.py
        """,
        masks=[FRAME],
    ),
    program(
        "run-sets-argv-and-main",
        """
        open('s.py', 'w').write('import sys, __main__; print(len(sys.argv), __main__.__name__); import this_is_missing')
        %run s.py
        # %%
        import sys, __main__
        __name__, __main__.__dict__ is globals()
        """,
        masks=[FRAME],
    ),
    program(
        "load",
        """
        open('snippet.py', 'w').write('loaded = 1\\n')
        %load snippet.py
        # %%
        'loaded' in globals()
        """,
    ),
    program(
        "help-on-an-object",
        """
        def documented(a, b=2):
            '''Say what it does.'''
            return a + b
        # %%
        documented?
        # %%
        documented??
        # %%
        %pinfo documented
        # %%
        ?documented
        # %%
        missing_name?
        """,
        masks=[r"File: +\S+"],
    ),
    program(
        "pdef-pdoc-psource",
        """
        class Thing:
            '''A thing.'''
            def method(self, x): return x
        %pdef Thing.method
        # %%
        %pdoc Thing
        # %%
        %psource Thing
        # %%
        Thing.met*?
        """,
    ),
    program(
        "help-function",
        """
        def f(x):
            '''Return x.'''
        help(f)
        # %%
        f.__doc__
        """,
    ),
    program(
        "quick-reference-in-the-pager",
        """
        from IPython.core.page import page
        page('a long text\\nof two lines')
        # %%
        %page -r 'text'
        """,
    ),
    program(
        "prun",
        """
        def work(): return sum(range(100))
        stats = %prun -q -r work()
        type(stats).__name__
        # %%
        %prun -l 0 work()
        """,
        PAGER,
        masks=[r"(?s)function calls.*"],
    ),
    program(
        "modes-of-tracebacks",
        """
        def f(): 1 / 0
        %xmode Minimal
        f()
        # %%
        %xmode Plain
        f()
        # %%
        %xmode Verbose
        f()
        # %%
        %xmode Context
        f()
        # %%
        %tb
        """,
        masks=[r"File \S+\.py:\d+"],
    ),
    program(
        "matplotlib-inline",
        """
        %matplotlib inline
        # %%
        %matplotlib --list
        """,
    ),
    program(
        "notebook-languages",
        """
        %%html
        <b>bold</b>
        # %%
        %%javascript
        console.log(1)
        # %%
        %%js
        2
        # %%
        %%latex
        $x^2$
        # %%
        %%svg
        <svg xmlns="http://www.w3.org/2000/svg"/>
        # %%
        %%markdown
        *text*
        # %%
        %%HTML
        <i>i</i>
        """,
    ),
    program(
        "pip-list",
        """
        %pip list
        """,
        needs=["pip"],
    ),
)
