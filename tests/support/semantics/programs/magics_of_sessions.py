"""Programs that use IPython's magics on its own session: history, settings, hooks, extensions."""

from support.semantics.program import of_kind

program = of_kind("magics")

TIMES = r"CPU times.*"
FRAME = r"(?s)File \S*(IPython|site-packages)\S*\.py.*?(?=\w+Error)"

PROGRAMS = (
    program(
        "history",
        """
        a = 1
        # %%
        %history
        # %%
        %history -n 1-2
        # %%
        %hist -g a =
        # %%
        In[1], len(In)
        """,
        masks=[r" +\d+/\d+: "],
    ),
    program(
        "underscores",
        """
        21
        # %%
        _ * 2
        # %%
        _, __, _1, _i2, Out[2]
        # %%
        _i, _ii
        # %%
        sorted(Out)
        """,
    ),
    program(
        "who",
        """
        number, text = 1, 'a'
        %who
        # %%
        %who_ls int
        # %%
        %whos
        """,
    ),
    program(
        "environment",
        """
        %env NET_VARIABLE=1
        # %%
        %env NET_VARIABLE
        # %%
        import os
        os.environ['NET_VARIABLE'], os.getenv('MISSING')
        # %%
        %set_env NET_VARIABLE 2
        # %%
        !echo $NET_VARIABLE
        """,
    ),
    program(
        "folders",
        """
        import os
        os.mkdir('d')
        %cd d
        # %%
        %pwd
        # %%
        %pushd ..
        # %%
        os.path.exists('d')
        # %%
        %popd
        # %%
        %cd -q ..
        os.path.basename(os.getcwd()), len(_dh)
        # %%
        %bookmark here
        %bookmark -l
        """,
    ),
    program(
        "store",
        """
        kept = [1, 2]
        %store kept
        # %%
        del kept
        %store -r kept
        kept
        # %%
        %store -d kept
        %store
        """,
    ),
    program(
        "aliases-and-macros",
        """
        print('one')
        # %%
        %macro again 1
        # %%
        again
        # %%
        %alias shout echo LOUD %s
        # %%
        shout a b
        # %%
        %rerun 1
        """,
    ),
    program(
        "settings",
        """
        %precision 3
        3.14159
        # %%
        %config InteractiveShell.ast_node_interactivity = 'all'
        # %%
        1
        2
        # %%
        get_ipython().ast_node_interactivity
        """,
    ),
    program(
        "reset-of-names",
        """
        a, ab, b = 1, 2, 3
        %reset_selective -f a
        # %%
        'ab' in globals(), b
        # %%
        %reset -f
        # %%
        'b' in globals(), len(Out)
        """,
    ),
    program(
        "own-magics",
        """
        from IPython.core.magic import register_cell_magic, register_line_magic
        @register_line_magic
        def twice(line): return 2 * line
        @register_cell_magic
        def upper(line, cell): print(line, cell.upper())
        # %%
        %twice ab
        # %%
        %%upper arg
        text
        # %%
        get_ipython().run_line_magic('twice', 'x')
        # %%
        %not_a_magic
        # %%
        %%not_a_cell_magic
        """,
    ),
    program(
        "own-input-transformer",
        """
        def shout(lines): return [line.replace('SAY', 'print') for line in lines]
        get_ipython().input_transformers_cleanup.append(shout)
        # %%
        SAY('hello')
        # %%
        get_ipython().input_transformers_cleanup.remove(shout)
        """,
    ),
    program(
        "own-events-and-hooks",
        """
        log = []
        def before(info): log.append(info.raw_cell[:5])
        get_ipython().events.register('pre_run_cell', before)
        # %%
        log
        # %%
        get_ipython().events.unregister('pre_run_cell', before)
        get_ipython().set_custom_exc((KeyError,), lambda self, kind, value, tb, tb_offset=None: print('custom', kind.__name__))
        # %%
        {}['missing']
        """,
    ),
    program(
        "own-completer-and-formatter",
        """
        from IPython.display import display
        formatter = get_ipython().display_formatter.formatters['text/plain']
        formatter.for_type(complex, lambda z, p, cycle: p.text(f'<{z.real:g} and {z.imag:g}>'))
        1 + 2j
        # %%
        [3j]
        # %%
        formatter.pop(complex) is not None, 1j
        """,
    ),
    program(
        "extensions",
        """
        open('my_extension.py', 'w').write(
            'def load_ipython_extension(ip): ip.user_ns["loaded"] = True\\n'
            'def unload_ipython_extension(ip): del ip.user_ns["loaded"]\\n')
        %load_ext my_extension
        loaded
        # %%
        %load_ext my_extension
        # %%
        %unload_ext my_extension
        'loaded' in globals()
        # %%
        %load_ext no_such_extension
        """,
        masks=[r"(?s)File \S*(importlib|extensions)\S*.*?(?=ModuleNotFoundError)"],
    ),
    program(
        "automagic",
        """
        pwd
        # %%
        import os
        os.path.basename(_)
        # %%
        %automagic
        # %%
        pwd
        """,
    ),
    program(
        "list-of-magics",
        """
        magics = get_ipython().magics_manager.magics
        sorted(magics['line'])
        # %%
        sorted(magics['cell'])
        """,
    ),
    program(
        "input-is-not-available",
        """
        input('name? ')
        # %%
        import getpass
        getpass.getpass()
        # %%
        1
        """,
        masks=[r"(?s)(File|Cell) .*(?=StdinNotImplementedError)"],
    ),
    program(
        "exit-and-system-exit",
        """
        import sys
        sys.exit()
        # %%
        sys.exit('a message')
        # %%
        raise SystemExit(3)
        # %%
        'still here'
        """,
        masks=[r"(?s)\S*interactiveshell\.py.*"],
    ),
)
