"""Programs that write modules, import them and reload them."""

from support.semantics.program import of_kind

program = of_kind("modules")

FRAME = r"(?s)File \S*(importlib|frozen|runpy)\S*.*?(?=\w+Error)"

PROGRAMS = (
    program(
        "write-and-import",
        """
        open('mod.py', 'w').write('x = 1')
        # %%
        import mod
        mod.x, mod.__file__.split('/')[-1]
        """,
    ),
    program(
        "writefile-and-import",
        """
        %%writefile helpers.py
        def double(n):
            return 2 * n
        # %%
        from helpers import double
        double(21)
        # %%
        import sys
        'helpers' in sys.modules
        """,
    ),
    program(
        "reload",
        """
        import importlib
        open('mod.py', 'w').write('x = 1')
        import mod
        mod.x
        # %%
        open('mod.py', 'w').write('x = 22; y = 3')
        mod.x
        # %%
        importlib.reload(mod)
        mod.x, mod.y
        """,
    ),
    program(
        "autoreload",
        """
        %load_ext autoreload
        %autoreload 2
        open('auto.py', 'w').write('def f(): return 1')
        import auto
        auto.f()
        # %%
        import time; time.sleep(0.01)
        open('auto.py', 'w').write('def f(): return 1000')
        # %%
        auto.f()
        # %%
        %autoreload 0
        """,
    ),
    program(
        "import-after-a-failed-import",
        """
        import importlib
        import not_yet
        # %%
        open('not_yet.py', 'w').write('x = 5')
        importlib.invalidate_caches()
        import not_yet
        not_yet.x
        """,
    ),
    program(
        "packages-and-relative-imports",
        """
        import os
        os.makedirs('pack/inner')
        open('pack/__init__.py', 'w').write('from .a import A\\n__all__ = ["A"]')
        open('pack/a.py', 'w').write('from .inner import b\\nA = b.B + 1')
        open('pack/inner/__init__.py', 'w').close()
        open('pack/inner/b.py', 'w').write('B = 41')
        # %%
        import pack
        from pack import *
        A, pack.inner.b.B
        # %%
        from importlib import resources
        resources.files('pack').joinpath('a.py').read_text()
        # %%
        !python -m pack.a && echo ran
        """,
    ),
    program(
        "run-as-a-module",
        """
        open('tool.py', 'w').write('import sys\\nif __name__ == "__main__": print(sys.argv[1:])')
        !python -m tool x y
        # %%
        %run -m tool z
        # %%
        import runpy
        sorted(k for k in runpy.run_path('tool.py') if not k.startswith('_'))
        """,
    ),
    program(
        "error-in-a-module",
        """
        open('broken.py', 'w').write('x = 1\\ny = 1 / 0\\n')
        import broken
        # %%
        import sys
        'broken' in sys.modules
        # %%
        open('bad_syntax.py', 'w').write('def f(:\\n')
        import bad_syntax
        """,
        masks=[r"File \S+(?=\.py)"],
    ),
    program(
        "circular-imports",
        """
        open('one.py', 'w').write('import two\\nx = 1')
        open('two.py', 'w').write('import one\\ny = getattr(one, "x", "not yet")')
        import one
        one.two.y
        """,
    ),
    program(
        "path-entries",
        """
        import os, sys
        os.mkdir('lib')
        open('lib/inside.py', 'w').write('x = 7')
        sys.path.append('lib')
        # %%
        import inside
        inside.x
        # %%
        sys.path.remove('lib')
        '' in sys.path
        """,
    ),
    program(
        "import-from-a-new-folder",
        """
        import os
        os.mkdir('elsewhere')
        open('elsewhere/there.py', 'w').write('x = 8')
        os.chdir('elsewhere')
        # %%
        import there
        there.x
        """,
    ),
    program(
        "modules-made-in-cells",
        """
        import sys, types
        sys.modules['made'] = made = types.ModuleType('made')
        made.x = 3
        # %%
        import made as again
        again.x, again is made
        # %%
        del sys.modules['made']
        import made
        """,
    ),
    program(
        "import-hooks",
        """
        import importlib.abc, importlib.machinery, sys
        class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
            def find_spec(self, name, path, target=None):
                if name.startswith('virtual_'):
                    return importlib.machinery.ModuleSpec(name, self)
            def exec_module(self, module): module.name = module.__name__
        sys.meta_path.append(Finder())
        # %%
        import virtual_a
        virtual_a.name
        """,
    ),
    program(
        "star-imports-and-future",
        """
        from __future__ import annotations
        from math import *
        def f(x: Undefined): pass
        floor(2.5), f.__annotations__
        # %%
        def g(y: AlsoUndefined): pass
        g.__annotations__
        """,
    ),
    program(
        "module-with-state-and-children",
        """
        open('counter.py', 'w').write('n = 0\\ndef up():\\n    global n\\n    n += 1\\n    return n\\n')
        import counter
        counter.up()
        # %%
        counter.up()
        # %%
        import subprocess, sys
        code = 'import counter; print(counter.up())'
        subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout, counter.up()
        """,
    ),
)
