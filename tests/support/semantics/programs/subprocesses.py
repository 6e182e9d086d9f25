"""Programs that start other programs, and talk to them in later cells."""

from support.semantics.program import CHILDREN, of_kind

program = of_kind("subprocess")

PROGRAMS = (
    program(
        "run-captures-output",
        """
        import subprocess, sys
        done = subprocess.run([sys.executable, '-c', 'print(6 * 7)'], capture_output=True, text=True)
        done.returncode, done.stdout
        # %%
        subprocess.run(['tr', 'a-z', 'A-Z'], input='shout', capture_output=True, text=True).stdout
        """,
    ),
    program(
        "run-check-raises",
        """
        import subprocess
        subprocess.run(['sh', '-c', 'exit 3'], check=True)
        # %%
        subprocess.run(['no-such-program'])
        # %%
        subprocess.check_output('echo partly; exit 4', shell=True)
        """,
        masks=[r"(?s)File \S*subprocess\.py.*?(?=CalledProcessError|FileNotFoundError)"],
    ),
    program(
        "popen-communicate-in-a-later-cell",
        """
        from subprocess import PIPE, Popen
        cat = Popen(['cat'], stdin=PIPE, stdout=PIPE)
        # %%
        cat.communicate(b'hi')
        # %%
        cat.returncode
        """,
        CHILDREN,
    ),
    program(
        "popen-line-by-line",
        """
        from subprocess import PIPE, Popen
        sed = Popen(['sed', '-u', 's/a/b/g'], stdin=PIPE, stdout=PIPE, text=True, bufsize=1)
        def ask(line):
            print(line, file=sed.stdin)
            return sed.stdout.readline()
        ask('banana')
        # %%
        ask('cascade')
        # %%
        sed.stdin.close()
        sed.wait(5), sed.stdout.read()
        """,
        CHILDREN,
    ),
    program(
        "popen-pipeline",
        """
        from subprocess import PIPE, Popen
        first = Popen(['seq', '12'], stdout=PIPE)
        second = Popen(['sort', '-r'], stdin=first.stdout, stdout=PIPE, text=True)
        first.stdout.close()
        # %%
        out = second.communicate()[0].split()
        first.wait(), out[0], len(out)
        """,
        CHILDREN,
    ),
    program(
        "popen-poll-and-terminate",
        """
        import subprocess
        child = subprocess.Popen(['sleep', '60'])
        child.poll()
        # %%
        child.terminate()
        child.wait(5)
        # %%
        child.poll(), child.returncode
        """,
        CHILDREN,
    ),
    program(
        "popen-holds-the-write-end",
        """
        from subprocess import PIPE, Popen
        wc = Popen(['wc', '-c'], stdin=PIPE, stdout=PIPE)
        wc.stdin.write(b'x' * 1000)
        # %%
        wc.stdin.write(b'y' * 24)
        wc.stdin.flush()
        # %%
        wc.stdin.close()
        int(wc.stdout.read()), wc.wait(5)
        """,
        CHILDREN,
    ),
    program(
        "popen-file-as-output",
        """
        import subprocess
        out = open('out.txt', 'w')
        child = subprocess.Popen(['sh', '-c', 'echo one; sleep 0.6; echo two'], stdout=out)
        # %%
        print(child.wait(5))
        out.close()
        open('out.txt').read()
        """,
        CHILDREN,
    ),
    program(
        "inherited-output",
        """
        import subprocess, time
        code = subprocess.call(['echo', 'from a child'])
        time.sleep(0.2)
        # %%
        import os
        status = os.system('echo from a shell; exit 2')
        # %%
        status >> 8
        """,
    ),
    program(
        "timeout-keeps-what-was-read",
        """
        import subprocess
        try:
            subprocess.run(['sh', '-c', 'echo early; exec sleep 60'], stdout=subprocess.PIPE, timeout=0.3)
        except subprocess.TimeoutExpired as error:
            print(error.stdout, error.timeout)
        # %%
        1 + 1
        """,
    ),
    program(
        "session-and-group",
        """
        import os, signal, subprocess
        child = subprocess.Popen(['sh', '-c', 'sleep 60 & wait'], start_new_session=True)
        os.getpgid(child.pid) == child.pid
        # %%
        os.killpg(child.pid, signal.SIGKILL)
        child.wait(5)
        """,
        CHILDREN,
    ),
    program(
        "no-unknown-children",
        """
        import os
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError as error:
            print(error)
        # %%
        import psutil
        len(psutil.Process().children())
        # %%
        import subprocess
        child = subprocess.Popen(['true'])
        os.waitpid(-1, 0)[0] == child.pid
        """,
    ),
    program(
        "fork-and-pipe",
        """
        import os
        r, w = os.pipe()
        if not (pid := os.fork()):
            os.write(w, b'from the child')
            os._exit(5)
        os.close(w)
        text = os.read(r, 100)
        text, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        # %%
        os.read(r, 100)
        """,
    ),
    program(
        "forked-child-waits-for-a-later-cell",
        """
        import os
        r, w = os.pipe()
        answer_r, answer_w = os.pipe()
        if not (pid := os.fork()):
            os.close(w)
            os.write(answer_w, os.read(r, 10).upper())
            os._exit(0)
        os.close(r); os.close(answer_w)
        # %%
        os.write(w, b'go')
        # %%
        os.read(answer_r, 10), os.waitpid(pid, 0)[1]
        """,
        CHILDREN,
    ),
    program(
        "pexpect-across-cells",
        """
        import pexpect
        shell = pexpect.spawn('sh', echo=False, encoding='utf8')
        shell.setecho(False)
        shell.sendline('PS1=; echo ready-$((1 + 1))')
        shell.expect(r'ready-\\d')
        # %%
        shell.sendline('n=41')
        shell.sendline('echo answer-$((n + 1))')
        shell.expect(r'answer-(\\d+)')
        shell.match[1]
        # %%
        shell.close(force=True)
        """,
        CHILDREN,
    ),
    program(
        "background-job-of-a-shell",
        """
        import subprocess
        subprocess.run('(sleep 0.6; echo done > late.txt) > /dev/null 2>&1 &', shell=True).returncode
        # %%
        import os, time
        for _ in range(25):
            if os.path.exists('late.txt'):
                break
            time.sleep(0.1)
        os.path.exists('late.txt')
        """,
        CHILDREN,
    ),
    program(
        "environment-and-folder-of-a-child",
        """
        import os, subprocess
        os.environ['GREETING'] = 'hello'
        os.mkdir('sub')
        os.chdir('sub')
        # %%
        subprocess.run('echo $GREETING; basename $PWD', shell=True, capture_output=True, text=True).stdout
        # %%
        subprocess.run(['env'], env={'ONLY': '1'}, capture_output=True, text=True).stdout
        """,
    ),
    program(
        "popen-context-and-iteration",
        """
        from subprocess import PIPE, STDOUT, Popen
        with Popen('echo out; echo err >&2', shell=True, stdout=PIPE, stderr=STDOUT, text=True) as p:
            for line in p.stdout:
                print('got', line, end='')
        p.returncode
        # %%
        repr(p)
        """,
    ),
)
