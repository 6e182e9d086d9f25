"""Programs that end in errors of every kind."""

from support.semantics.program import HALF_PAIRS, MODES, Difference, of_kind

program = of_kind("tracebacks")

FRAME = r"(?s)File \S*(IPython|site-packages|lib/python)\S*\.py.*?(?=\w+Error|Cell In)"
MANY_FRAMES = Difference(
    reason="A traceback shows its first and its last 10 frames and counts the others.",
    modes=MODES,
)

PROGRAMS = (
    program(
        "simple",
        """
        1 / 0
        # %%
        def f(x):
            return g(x)
        def g(x):
            y = x
            return y + 'text'
        f(1)
        # %%
        undefined_name
        # %%
        raise ValueError('ünïcode ✓')
        """,
    ),
    program(
        "chained",
        """
        def f():
            try:
                {}['missing']
            except KeyError as error:
                raise RuntimeError('while looking') from error
        f()
        # %%
        try:
            1 / 0
        except ZeroDivisionError:
            raise LookupError('during handling')
        # %%
        try:
            1 / 0
        except ZeroDivisionError:
            raise LookupError('without context') from None
        """,
    ),
    program(
        "groups",
        """
        def fail(error): raise error
        errors = []
        for error in (ValueError('one'), TypeError('two')):
            try: fail(error)
            except Exception as e: errors.append(e)
        raise ExceptionGroup('several', errors)
        # %%
        try:
            raise ExceptionGroup('outer', [ExceptionGroup('inner', [OSError(5, 'five')]), KeyError('k')])
        except* OSError as group:
            print(repr(group))
        """,
    ),
    program(
        "notes",
        """
        error = ValueError('with notes')
        error.add_note('first note')
        error.add_note('second\\nnote')
        raise error
        """,
    ),
    program(
        "syntax",
        """
        def broken(:
        # %%
        x = (1,
        # %%
          indented = 1
        # %%
        print 'old'
        # %%
        return 5
        # %%
        'unterminated
        # %%
        if True:
        pass
        # %%
        eval('1 +')
        # %%
        await_ = lambda: await x
        # %%
        x = 1 $ 2
        """,
    ),
    program(
        "recursion",
        """
        def endless(n): return endless(n + 1)
        endless(0)
        # %%
        1 + 1
        """,
        MANY_FRAMES,
    ),
    program(
        "deep-but-finite",
        """
        def deep(n):
            if n == 0: raise ValueError('at the bottom')
            return deep(n - 1)
        deep(3)
        """,
    ),
    program(
        "lone-surrogates",
        """
        raise ValueError('bad \\ud800 token')
        # %%
        print('bad \\udc80 output')
        # %%
        {}['key \\udcff']
        # %%
        'still works'
        """,
        HALF_PAIRS,
    ),
    program(
        "strange-exceptions",
        """
        class Own(Exception):
            def __init__(self, code): self.code = code
            def __str__(self): return f'code {self.code}'
        raise Own(5)
        # %%
        class NoText(Exception):
            def __str__(self): raise ValueError('no text')
        raise NoText()
        # %%
        class Base(BaseException): pass
        raise Base('base')
        # %%
        raise ValueError
        # %%
        raise ValueError('')
        # %%
        raise ValueError('a', 2, None)
        # %%
        raise 'not an exception'
        # %%
        assert 1 == 2, 'message'
        # %%
        assert False
        """,
    ),
    program(
        "own-tracebacks",
        """
        class Rendered(Exception):
            def _render_traceback_(self): return ['my own', 'traceback']
        raise Rendered()
        # %%
        import traceback
        try:
            1 / 0
        except ZeroDivisionError:
            traceback.print_exc()
        # %%
        import sys
        sys.last_type.__name__, str(sys.last_value)
        """,
        masks=[r'File "[^"]*"'],
    ),
    program(
        "last-errors",
        """
        1 / 0
        # %%
        import sys
        type(sys.last_value).__name__
        # %%
        import pdb, traceback
        [f.name for f in traceback.extract_tb(sys.last_traceback)][-1]
        # %%
        sys.exc_info()
        """,
    ),
    program(
        "keyboard-interrupt",
        """
        raise KeyboardInterrupt
        # %%
        raise KeyboardInterrupt('with text')
        # %%
        x = 1
        try:
            raise KeyboardInterrupt
        finally:
            x = 2
        # %%
        x
        """,
    ),
    program(
        "partly-done",
        """
        a = 1
        print('before')
        a = a + b
        print('after')
        # %%
        a
        # %%
        display('shown'); raise OSError(2, 'No such file', 'name')
        """,
    ),
    program(
        "errors-of-libraries",
        """
        import pandas as pd
        pd.DataFrame({'a': [1]})['b']
        # %%
        import numpy as np
        np.zeros((2, 3)) @ np.zeros((2, 3))
        # %%
        import json
        json.loads('{')
        # %%
        open('missing.csv')
        # %%
        int('x')
        """,
        masks=[r"(?s)File \S*(pandas|json)\S*.*?(?=\n\w+Error)", r"pandas/_libs/\S+"],
    ),
    program(
        "errors-in-lambdas-classes-and-comprehensions",
        """
        (lambda x: 1 / x)(0)
        # %%
        class Bad:
            value = 1 / 0
        # %%
        [1 / n for n in (1, 0)]
        # %%
        @property
        def p(self): raise AttributeError('in a property')
        class Has: prop = p
        Has().prop
        # %%
        exec('1 / 0')
        # %%
        exec(compile('a = 1\\nb = a / 0', 'made-up.py', 'exec'))
        """,
    ),
    program(
        "long-messages-and-values",
        """
        raise ValueError('x' * 3000)
        # %%
        raise ValueError('line\\n' * 50)
        # %%
        raise ValueError({n: 'v' * 10 for n in range(20)})
        """,
    ),
    program(
        "warnings-and-errors",
        """
        import warnings
        warnings.warn('careful')
        # %%
        def old(): warnings.warn('old', DeprecationWarning, stacklevel=2)
        old()
        # %%
        warnings.simplefilter('error')
        warnings.warn('now an error')
        # %%
        warnings.resetwarnings()
        '\\d'
        """,
    ),
    program(
        "unraisable",
        """
        class Bad:
            def __del__(self): raise ValueError('in __del__')
        Bad()
        del _
        # %%
        b = Bad()
        b = None
        # %%
        import gc
        gc.collect() >= 0
        """,
        masks=[r"(?s)Traceback.*?(?=ValueError)", r"Out\[\d+\]"],
    ),
    program(
        "context-managers-and-generators",
        """
        from contextlib import contextmanager, ExitStack
        @contextmanager
        def noisy():
            print('enter')
            try: yield 5
            finally: print('leave')
        with noisy() as n: raise ValueError(n)
        # %%
        stack = ExitStack()
        stack.enter_context(noisy())
        # %%
        stack.close()
        # %%
        def numbers():
            yield 1
            raise StopIteration
        list(numbers())
        """,
        masks=[r"(?s)File \S*contextlib\.py.*?(?=\n\w+Error|Cell In)"],
    ),
)
