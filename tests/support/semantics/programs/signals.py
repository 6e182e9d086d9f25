"""Programs with signals, timers and functions that run at exit."""

from support.semantics.program import CHILDREN, TIMERS, of_kind

program = of_kind("signals")

PROGRAMS = (
    program(
        "alarm",
        """
        import signal, time
        fired = []
        signal.signal(signal.SIGALRM, lambda number, frame: fired.append(number))
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        time.sleep(0.2)
        fired == [signal.SIGALRM]
        # %%
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        time.sleep(0.2)
        len(fired)
        # %%
        signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL
        """,
    ),
    program(
        "alarm-in-a-later-cell",
        """
        import signal, time
        fired = []
        signal.signal(signal.SIGALRM, lambda *_: fired.append(1))
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        # %%
        time.sleep(0.6)
        len(fired)
        """,
        TIMERS,
    ),
    program(
        "alarm-that-raises",
        """
        import signal, time
        def timed_out(number, frame): raise TimeoutError('too slow')
        signal.signal(signal.SIGALRM, timed_out)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        time.sleep(5)
        # %%
        signal.setitimer(signal.ITIMER_REAL, 0)
        """,
    ),
    program(
        "interval-timer",
        """
        import signal, time
        ticks = 0
        def tick(*_):
            global ticks
            ticks += 1
        signal.signal(signal.SIGALRM, tick)
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        # %%
        before = ticks
        time.sleep(0.3)
        ticks > before
        # %%
        signal.setitimer(signal.ITIMER_REAL, 0)[1] > 0
        """,
        TIMERS,
    ),
    program(
        "interrupt-handler",
        """
        import os, signal
        previous = signal.getsignal(signal.SIGINT)
        got = []
        signal.signal(signal.SIGINT, lambda *_: got.append('interrupted'))
        os.kill(os.getpid(), signal.SIGINT)
        got
        # %%
        signal.getsignal(signal.SIGINT) is not previous
        # %%
        os.kill(os.getpid(), signal.SIGINT)
        got
        """,
    ),
    program(
        "interrupt-of-itself",
        """
        import os, signal, time
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
        # %%
        signal.raise_signal(signal.SIGINT)
        # %%
        import _thread
        _thread.interrupt_main()
        time.sleep(1)
        # %%
        'alive'
        """,
        masks=[r"(?s)Cell In.*(?=KeyboardInterrupt)"],
    ),
    program(
        "child-signal",
        """
        import signal, subprocess, time
        seen = []
        signal.signal(signal.SIGCHLD, lambda number, frame: seen.append(number))
        child = subprocess.Popen(['true'])
        time.sleep(0.3)
        len(seen) >= 1, child.wait()
        # %%
        n = len(seen)
        child = subprocess.Popen(['true'])
        child.wait(), time.sleep(0.1)
        len(seen) > n
        # %%
        signal.signal(signal.SIGCHLD, signal.SIG_DFL) is not None
        """,
    ),
    program(
        "children-reaped-automatically",
        """
        import os, signal, subprocess, time
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        child = subprocess.Popen(['true'])
        time.sleep(0.2)
        child.wait()
        # %%
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        subprocess.run(['sh', '-c', 'exit 3']).returncode
        """,
    ),
    program(
        "user-signals-and-masks",
        """
        import signal, threading
        got = []
        signal.signal(signal.SIGUSR1, lambda number, frame: got.append(number))
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        got, signal.sigpending() == {signal.SIGUSR1}
        # %%
        signal.SIGUSR1 in signal.pthread_sigmask(signal.SIG_BLOCK, ())
        # %%
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        len(got) >= 1
        """,
    ),
    program(
        "signal-from-a-child",
        """
        import os, signal, subprocess, time
        got = []
        signal.signal(signal.SIGUSR2, lambda *_: got.append('usr2'))
        subprocess.run(f'kill -USR2 {os.getpid()}', shell=True)
        time.sleep(0.1)
        got
        # %%
        subprocess.run(f'kill -USR2 {os.getpid()}', shell=True)
        time.sleep(0.1)
        len(got)
        """,
    ),
    program(
        "dispositions",
        """
        import signal
        names = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD)}
        [getattr(names[s], 'name', 'function') for s in names]
        # %%
        {s: signal.getsignal(s) for s in names} == names
        # %%
        import subprocess
        subprocess.run(['sh', '-c', 'kill -PIPE $$']).returncode
        # %%
        subprocess.run(['sh', '-c', 'kill -INT $$; sleep 0.1']).returncode
        """,
    ),
    program(
        "fault-handler",
        """
        import faulthandler, sys
        faulthandler.enable(open('fault.log', 'w'))
        faulthandler.is_enabled()
        # %%
        with open('dump', 'w') as f:
            faulthandler.dump_traceback(f, all_threads=False)
        'File' in open('dump').read()
        # %%
        faulthandler.disable(), faulthandler.is_enabled()
        """,
    ),
    program(
        "functions-at-exit",
        """
        import atexit
        atexit.register(print, 'never seen')
        # %%
        atexit.unregister(print)
        # %%
        import os
        pid = os.fork() or os._exit(0)
        os.waitpid(pid, 0)[1]
        """,
    ),
    program(
        "wait-for-a-signal",
        """
        import os, signal, threading
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        signal.sigtimedwait({signal.SIGUSR1}, 2) is not None
        # %%
        signal.sigtimedwait({signal.SIGUSR1}, 0.01)
        """,
    ),
    program(
        "paused-child",
        """
        import os, signal, subprocess
        child = subprocess.Popen(['sleep', '60'])
        child.send_signal(signal.SIGSTOP)
        pid, status = os.waitpid(child.pid, os.WUNTRACED)
        os.WIFSTOPPED(status)
        # %%
        child.terminate()
        child.send_signal(signal.SIGCONT)
        child.wait(5)
        """,
        CHILDREN,
    ),
)
