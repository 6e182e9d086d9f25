"""Programs that run other programs by IPython's syntax."""

from support.semantics.program import CHILDREN, of_kind

program = of_kind("shell magics")

PROGRAMS = (
    program(
        "exclamation-mark",
        """
        !echo from a shell
        # %%
        name, n = 'world', 3
        !echo hello $name {n + 1}
        # %%
        !exit 3
        # %%
        _exit_code
        """,
    ),
    program(
        "assigned-output",
        """
        lines = !printf 'a\\nb\\n'
        lines
        # %%
        lines.n, lines.s, lines.grep('b')
        # %%
        files = %sx ls /
        'tmp' in files
        """,
    ),
    program(
        "two-exclamation-marks",
        """
        !!echo listed
        # %%
        _
        # %%
        %system echo as a magic
        """,
    ),
    program(
        "standard-error-and-missing-programs",
        """
        !echo to stderr >&2
        # %%
        !no-such-program 2> /dev/null || echo missing
        # %%
        !false
        _exit_code
        """,
    ),
    program(
        "working-directory-of-shells",
        """
        !mkdir -p sub && touch sub/file
        !cd sub && ls
        # %%
        !ls sub
        # %%
        %cd -q sub
        !basename $PWD
        """,
    ),
    program(
        "bash",
        """
        %%bash
        for n in 1 2 3; do echo -n "$n "; done; echo
        # %%
        %%bash
        echo again
        # %%
        %%bash
        echo third
        """,
    ),
    program(
        "sh-with-arguments",
        """
        %%sh -s one two
        echo $1-$2
        # %%
        %%sh
        echo to stderr >&2
        """,
    ),
    program(
        "script-and-python",
        """
        %%script sed s/a/b/
        banana
        # %%
        %%python3
        print(sum(range(5)))
        # %%
        %%perl
        print 6 * 7, "\\n";
        """,
    ),
    program(
        "bash-fails",
        """
        %%bash
        echo before
        exit 3
        # %%
        %%bash --no-raise-error
        exit 4
        # %%
        %%script no-such-interpreter
        x
        """,
        masks=[
            r"(?s)(File|Cell) \S*(script|IPython).*?(?=CalledProcessError)",
            r"(?s)Cell In.*(?=CalledProcessError)",
        ],
    ),
    program(
        "bash-into-variables",
        """
        %%bash --out out --err err
        echo o; echo e >&2
        # %%
        out, err
        """,
    ),
    program(
        "bash-in-the-background",
        """
        %%bash --bg --out stream --proc child
        echo from the background
        # %%
        (await stream.read()).decode(), await child.wait()
        """,
        CHILDREN,
    ),
    program(
        "bash-then-other-children",
        """
        %%bash
        echo first
        # %%
        import subprocess
        subprocess.run(['echo', 'second'], capture_output=True).stdout
        # %%
        import asyncio
        child = await asyncio.create_subprocess_exec('true')
        await child.wait()
        # %%
        %%bash
        echo last
        """,
    ),
    program(
        "bash-after-a-plain-cell",
        """
        x = 1
        # %%
        %%bash
        echo one
        # %%
        x
        # %%
        %%bash
        echo two
        """,
    ),
    program(
        "background-job-ended-in-a-later-cell",
        """
        %%bash --bg --proc sleeper
        exec sleep 60
        # %%
        sleeper.terminate()
        await sleeper.wait()
        """,
        CHILDREN,
    ),
)
