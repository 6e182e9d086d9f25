"""What every sandbox promises, as code: run them against a backend of your own.

    @pytest.mark.parametrize("promise", PROMISES, ids=name)
    async def test_my_sandbox(promise: Promise) -> None:
        await promise(MySandbox)

Each promise is a coroutine that takes what makes a sandbox from a `Spec` and raises
`AssertionError` when the promise is broken. `PROMISES` hold for all, `ISOLATION` for
sandboxes whose `isolated` is true.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from kernel_env.errors import SandboxError
from kernel_env.sandbox.protocol import DATA, SNAPSHOTS, WORKSPACE, Sandbox, Spec

Make = Callable[[Spec], Sandbox]
Promise = Callable[[Make], Awaitable[None]]

SMALL = Spec(image="base", memory_gb=0.5, workspace_gb=0.0625, cpus=1, processes=64, files=2000)
LIMIT = 1 << 20


def name(promise: Promise) -> str:
    """A promise in words."""
    return getattr(promise, "__name__", "promise").replace("_", " ")


@contextmanager
def refused(kind: type[BaseException], word: str = "") -> Iterator[None]:
    """What is inside must fail with an error of this kind that has the word in it."""
    try:
        yield
    except kind as error:
        if word not in str(error):
            raise AssertionError(f"{word!r} is not in {error}") from error
    else:
        raise AssertionError(f"no {kind.__name__}")


async def sh(box: Sandbox, script: str, *, timeout_s: float = 20) -> tuple[int, str]:
    """Run a shell script in the workspace; its exit code and what it printed."""
    done = await box.run(["sh", "-c", script], timeout_s=timeout_s)
    return done.exit_code, done.output.decode().strip()


async def python(box: Sandbox, program: str, *, timeout_s: float = 20) -> str:
    """Run a Python program in the box; what it printed, or its last line of complaint."""
    done = await box.run([box.python, "-c", program], timeout_s=timeout_s)
    return done.output.decode().strip().rpartition("\n")[2]


# ── for every sandbox ─────────────────────────────────────────────────────────────────────


async def a_program_runs_in_the_workspace_and_its_exit_code_and_output_come_back(
    make: Make,
) -> None:
    async with make(SMALL) as box:
        code, output = await sh(box, "pwd; echo oops >&2; exit 3")
        assert code == 3
        assert output == f"{box.where(WORKSPACE)}\noops"


async def output_beyond_the_limit_is_cut_and_does_not_block_the_program(make: Make) -> None:
    async with make(SMALL) as box:
        done = await box.run(
            [box.python, "-c", "print('x' * 3_000_000)"], timeout_s=20, limit_bytes=1000
        )
        assert done.exit_code == 0
        assert done.output == b"x" * 1000


async def a_program_that_takes_too_long_is_killed(make: Make) -> None:
    async with make(SMALL) as box:
        with refused(TimeoutError):
            await box.run(["sleep", "60"], timeout_s=0.2)
        _, left = await sh(
            box, "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -c 'sleep [6]0'"
        )
        assert left == "0"


async def a_program_that_does_not_exist_is_an_error_that_names_it(make: Make) -> None:
    async with make(SMALL) as box:
        with refused(SandboxError, "no-such-program"):
            await box.spawn(["no-such-program"])


async def descriptors_are_handed_in_from_3_upwards(make: Make) -> None:
    async with make(SMALL) as box:
        outside, inside = os.pipe()
        try:
            process = await box.spawn(["sh", "-c", "echo hello >&3"], descriptors=[inside])
            assert await process.wait() == 0
        finally:
            os.close(inside)
        with os.fdopen(outside, "rb") as file:
            assert file.read() == b"hello\n"


async def a_signal_reaches_the_program_and_what_it_started(make: Make) -> None:
    async with make(SMALL) as box:
        process = await box.spawn(["sh", "-c", "sleep 61 & sleep 61"])
        await process.signal(signal.SIGKILL)
        assert await process.wait() == -signal.SIGKILL
        for _ in range(50):  # its child dies by the same signal, in its own time
            _, left = await sh(
                box, "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -c 'sleep [6]1'"
            )
            if left == "0":
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"{left} programs are left")


async def the_end_of_what_a_program_wrote_is_kept(make: Make) -> None:
    async with make(SMALL) as box:
        process = await box.spawn([box.python, "-c", "print('x' * 1_000_000); print('the end')"])
        await process.wait()
        for _ in range(100):
            if process.tail().endswith("the end\n"):
                return
            await asyncio.sleep(0.02)
        raise AssertionError(process.tail()[-100:])


async def many_programs_run_at_once(make: Make) -> None:
    async with make(SMALL) as box:
        scripts = [sh(box, f"sleep 0.1; echo {n}") for n in range(20)]
        assert [output for _, output in await asyncio.gather(*scripts)] == list(map(str, range(20)))


async def files_come_out_as_they_went_in(make: Make) -> None:
    async with make(SMALL) as box:
        path, data = WORKSPACE / "new folder" / "file", bytes(range(256)) * 1000
        await box.write(path, data)
        await box.write(path, data[1:])
        assert await box.read(path, limit_bytes=LIMIT) == data[1:]
        found = await box.stat(path)
        assert found is not None
        assert (found.what, found.size) == ("file", len(data) - 1)


async def only_regular_files_within_the_limit_are_read(make: Make) -> None:
    async with make(SMALL) as box:
        await sh(box, "mkdir d; mkfifo p; ln -s /etc/passwd l; truncate -s 10G z; touch e")
        wanted = {"d": "folder", "p": "special file", "l": "link", "z": "10,737,418,240 bytes"}
        for which, word in wanted.items():
            with refused(OSError, word):
                await box.read(WORKSPACE / which, limit_bytes=LIMIT)
        with refused(FileNotFoundError):
            await box.read(WORKSPACE / "missing", limit_bytes=LIMIT)
        assert await box.read(WORKSPACE / "e", limit_bytes=LIMIT) == b""


async def stat_tells_what_is_there_and_when_it_changed(make: Make) -> None:
    async with make(SMALL) as box:
        assert await box.stat(WORKSPACE / "f") is None
        await sh(box, "echo 1 > f; ln -s f l; mkdir d")
        kinds = [found and found.what for found in [await box.stat(WORKSPACE / n) for n in "fld"]]
        assert kinds == ["file", "link", "folder"]
        before = await box.stat(WORKSPACE / "f")
        assert before == await box.stat(WORKSPACE / "f")
        await sh(box, "sleep 0.02; touch -r l keep; echo 2 > f; touch -d @0 f")
        assert before != await box.stat(WORKSPACE / "f")


async def a_link_is_not_followed_when_writing(make: Make) -> None:
    async with make(SMALL) as box:
        await sh(box, "echo old > target; ln -s target l")
        with refused(OSError):
            await box.write(WORKSPACE / "l", b"new")
        assert await box.read(WORKSPACE / "target", limit_bytes=10) == b"old\n"


async def sweep_ends_every_program_and_keeps_or_deletes_the_files(make: Make) -> None:
    async with make(SMALL) as box:
        await sh(box, "echo 1 > f; mkdir -p d/e; echo 2 > d/e/f; chmod 500 d/e d")
        process = await box.spawn(["sh", "-c", "(setsid sleep 62 &) ; sleep 62"])
        await box.sweep(empty=False)
        assert await process.wait() == -signal.SIGKILL
        _, left = await sh(
            box, "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -c 'sleep [6]2'"
        )
        assert left == "0"
        assert await box.read(WORKSPACE / "f", limit_bytes=10) == b"1\n"
        await box.sweep(empty=True)
        assert (await sh(box, "ls -A"))[1] == ""


async def an_orphan_that_is_adopted_tells_how_it_ends(make: Make) -> None:
    async with make(SMALL) as box:
        _, pid = await sh(box, "(setsid sh -c 'sleep 0.3; exit 7' >/dev/null & echo $!)")
        process = await box.adopt(int(pid))
        assert await process.wait() == 7
        assert (process.exit_code, process.peak_bytes > 0) == (7, True)
        with refused(ProcessLookupError):
            await box.adopt(1 << 21)


async def programs_are_ended_but_for_those_that_are_kept(make: Make) -> None:
    async with make(SMALL) as box:
        kept = await box.spawn(["sleep", "64"])
        gone = await box.spawn(["sh", "-c", "(setsid sleep 65 &) ; sleep 65"])
        await box.end(keep=[kept.pid])
        assert await gone.wait() == -signal.SIGKILL
        _, left = await sh(
            box, "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -o 'sleep [6][45]'"
        )
        assert left == "sleep 64"
        assert kept.exit_code is None


async def programs_are_held_where_they_are_and_go_on(make: Make) -> None:
    async with make(SMALL) as box:
        write = "import sys, time\nwhile True: open(sys.argv[1], 'a').write('x'); time.sleep(0.02)"
        kept = await box.spawn([box.python, "-c", write, "kept"])
        held = await box.spawn([box.python, "-c", write, "held"])
        await sh(box, "while [ ! -s held -o ! -s kept ]; do sleep 0.05; done")
        stopped = await box.stop(keep=[kept.pid])
        assert held.pid in stopped
        assert kept.pid not in stopped
        before = await box.stat(WORKSPACE / "held"), await box.stat(WORKSPACE / "kept")
        await asyncio.sleep(0.3)
        assert await box.stat(WORKSPACE / "held") == before[0]
        assert await box.stat(WORKSPACE / "kept") != before[1]
        await box.go_on(stopped)
        await asyncio.sleep(0.3)
        assert await box.stat(WORKSPACE / "held") != before[0]


async def files_are_put_back_to_what_a_snapshot_holds(make: Make) -> None:
    async with make(SMALL) as box:
        await sh(box, "echo 1 > f; mkdir d; echo 2 > d/g; echo 3 > ~/h; echo 4 > ${TMPDIR:-/tmp}/t")
        await box.snapshot("one")
        await sh(box, "echo 5 > f; rm -r d; echo 6 > n; rm ~/h; echo 7 > ${TMPDIR:-/tmp}/t")
        await box.snapshot("two", prior="one")
        await box.restore("one")
        everything = "cat f d/g ~/h ${TMPDIR:-/tmp}/t; ls"
        assert (await sh(box, everything))[1].split() == [*"1234", "d", "f"]
        await box.restore("two")
        assert (await sh(box, "cat f n ${TMPDIR:-/tmp}/t; ls; ls ~"))[1].split() == [
            *"567",
            "f",
            "n",
        ]
        await box.forget("one")
        with refused(OSError, "one"):
            await box.restore("one")


async def what_a_view_is_made_of_is_made_and_removed(make: Make) -> None:
    async with make(SMALL) as box:
        await sh(box, "echo 1 > f")
        await box.snapshot("one")
        layers = await box.layers("one")
        assert (await sh(box, f"cat {layers[0]['lower']}/f; ls -A {box.where(SNAPSHOTS)}"))[
            1
        ].split() == ["1", "blobs", layers[0]["lower"].split("/")[-3]]
        await box.discard(layers)
        assert (await sh(box, f"ls -A {box.where(SNAPSHOTS)}"))[1] == "blobs"


async def folders_of_the_host_are_seen_where_the_box_says(make: Make) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "train.csv"
        path.write_text("a,b\n")
        Path(folder).chmod(0o755)
        path.chmod(0o644)
        async with make(replace(SMALL, folders={DATA: Path(folder)})) as box:
            assert await sh(box, f"cat {box.where(DATA)}/train.csv") == (0, "a,b")
            assert await box.read(DATA / "train.csv", limit_bytes=10) == b"a,b\n"


async def nothing_of_the_hosts_environment_is_inside(make: Make) -> None:
    os.environ["KERNEL_ENV_SECRET"] = "a secret of the host"  # noqa: S105
    try:
        async with make(SMALL) as box:
            _, output = await sh(box, "env; cat /proc/self/environ | tr '\\0' '\\n'")
            assert "secret" not in output.lower()
    finally:
        del os.environ["KERNEL_ENV_SECRET"]


async def when_the_box_ends_those_who_wait_are_told(make: Make) -> None:
    async with make(SMALL) as box:
        process = await box.spawn(["sleep", "63"])
        waiting = asyncio.create_task(process.wait())
        await asyncio.sleep(0)
    with refused(SandboxError):
        await asyncio.wait_for(waiting, 5)
    with refused(SandboxError):
        await box.run(["true"], timeout_s=5)


# ── for sandboxes that isolate ────────────────────────────────────────────────────────────


async def there_is_no_network(make: Make) -> None:
    async with make(SMALL) as box:
        said = await python(
            box,
            "import socket\n"
            "print(sorted(name for _, name in socket.if_nameindex()))\n"
            "try: socket.create_connection(('1.1.1.1', 53), 2)\n"
            "except OSError as error: print(type(error).__name__, error)",
        )
        assert "unreachable" in said, said
        assert await python(box, "import socket; print(socket.if_nameindex())") == "[(1, 'lo')]"


async def nothing_can_be_written_but_workspace_and_temporary_folders(make: Make) -> None:
    async with make(SMALL) as box:
        said = await python(
            box,
            "import os, pathlib\n"
            "found = []\n"
            "for root, folders, _ in os.walk('/'):\n"
            "    if root in ('/proc', '/sys'): folders[:] = []; continue\n"
            "    try: pathlib.Path(root, 'x').touch(); found.append(root)\n"
            "    except OSError: pass\n"
            "    mine = '/workspace', '/snapshots', '/tmp', '/dev/shm', '/home/agent'\n"
            "    if root in mine: folders[:] = []\n"
            "print(sorted(found))",
        )
        assert said == "['/dev/shm', '/home/agent', '/snapshots', '/tmp', '/workspace']", said


async def folders_of_the_host_cannot_be_changed(make: Make) -> None:
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        async with make(replace(SMALL, folders={DATA: Path(folder)})) as box:
            code, _ = await sh(box, "echo 1 > /data/new")
            assert code != 0
        assert os.listdir(folder) == []  # noqa: PTH208


async def programs_have_no_privilege_and_can_get_none(make: Make) -> None:
    async with make(SMALL) as box:
        _, output = await sh(
            box, "id -u; grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/self/status"
        )
        facts = dict(line.split(":\t") for line in output.splitlines()[1:])
        assert output.splitlines()[0] != "0"
        assert int(facts["CapEff"], 16) == 0
        assert int(facts["CapBnd"], 16) == 0
        assert facts["NoNewPrivs"] == "1"
        assert facts["Seccomp"] == "2"


async def what_a_program_gains_in_namespaces_of_its_own_ends_there(make: Make) -> None:
    async with make(SMALL) as box:
        said = await python(box, IN_NAMESPACES_OF_ITS_OWN)
        assert said == "[]", said
        assert await sh(box, "echo alive; ls /workspace") == (0, "alive")


IN_NAMESPACES_OF_ITS_OWN = r"""
import ctypes, os, resource, socket, stat
libc = ctypes.CDLL(None, use_errno=True)
libc.mount.argtypes = [*[ctypes.c_char_p] * 3, ctypes.c_ulong, ctypes.c_char_p]
found = []

def reach(what, attempt):  # a refusal is an OSError, or -1 from a C function
    try:
        result = attempt()
    except (OSError, ValueError):
        return
    if result != -1:
        found.append(what)

def mount(kind, flags=6, source=b"none", at=b"/tmp", data=None):
    return lambda: libc.mount(source, at, kind, flags, data)

def over(lower):  # what an overlay shows of a folder: not what the container hides in it
    path = b"/tmp/over" + lower.replace(b"/", b"-")
    for name in (path, path + b"/at", path + b"/upper", path + b"/work"):
        os.mkdir(name)
    options = b"lowerdir=%s,upperdir=%s/upper,workdir=%s/work,userxattr" % (lower, path, path)
    return mount(b"overlay", at=path + b"/at", data=options)

uid, gid = os.getuid(), os.getgid()
if libc.unshare(0x10020000) == 0:
    for name, text in ("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1"):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    with open("/proc/self/status") as file:
        held = next(line for line in file if line.startswith("CapEff"))
    assert int(held.split()[1], 16), held

for flags in (1 << 7, 1 << 17, *[1 << bit for bit in range(25, 31)]):
    reach(f"unshare {flags:#x}", lambda: libc.unshare(flags))
for kind in b"proc sysfs cgroup cgroup2 mqueue ext4 devtmpfs debugfs securityfs".split():
    reach(f"mount {kind}", mount(kind))
for lower in (b"/", b"/proc", b"/sys", b"/dev"):
    reach(f"an overlay over {lower}", over(lower))
reach("a bind", mount(None, 0x1000, b"/proc", b"/tmp"))
reach("a recursive bind", mount(None, 0x5000, b"/", b"/tmp"))
reach("a root that can be written", mount(None, 0x20, None, b"/"))
reach("a remounted folder", mount(None, 0x1026, None, b"/proc/sys"))
reach("a shared mount", mount(None, 0x100000, None, b"/"))
reach("a moved mount", mount(None, 0x2000, b"/workspace", b"/tmp"))
reach("umount", lambda: libc.umount2(b"/proc/kcore", 2))
reach("setns", lambda: libc.setns(os.open("/proc/self/ns/net", os.O_RDONLY), 0))
reach("chroot", lambda: os.chroot("/tmp"))
for number in (1, os.getppid()):
    reach(f"ptrace {number}", lambda: libc.ptrace(16, number, 0, 0))
    for path in ("environ", "mem", "fd/0", "fd/3", "root/etc/passwd", "ns/mnt"):
        reach(f"/proc/{number}/{path}", lambda: os.open(f"/proc/{number}/{path}", os.O_RDONLY))
    reach(f"the map of {number}", lambda: os.open(f"/proc/{number}/uid_map", os.O_WRONLY))
for path in "/x /etc/x /run/kernel_env/x /proc/sys/kernel/hostname /proc/sysrq-trigger".split():
    reach(path, lambda: os.open(path, os.O_WRONLY | os.O_CREAT))
reach("a device", lambda: os.mknod("/tmp/device", stat.S_IFBLK | 0o600, os.makedev(8, 0)))
reach("memory", lambda: os.mknod("/tmp/memory", stat.S_IFCHR | 0o600, os.makedev(1, 1)))
reach("another user", lambda: os.setuid(1))
reach("another group", lambda: os.setgroups([]))
reach("a file of root's", lambda: os.chmod("/etc/passwd", 0o666))
reach("a file given away", lambda: os.chown("/workspace", 1, 1))
reach("packets", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
reach("raw sockets", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
reach("a name", lambda: socket.sethostname("mine"))
reach("a place before others", lambda: os.setpriority(os.PRIO_PROCESS, 0, -5))
reach("a real-time place", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))
reach("a higher limit", lambda: resource.setrlimit(resource.RLIMIT_CORE, (1, 1)))
killer = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
reach("no memory killer", lambda: os.write(killer, b"-1000"))
reach("the clock", lambda: __import__("time").clock_settime(0, 0))
print(found)
"""
"""A program that makes itself root in namespaces of its own, if it can, and tries to reach out."""


async def a_program_that_writes_for_ever_runs_out_of_space(make: Make) -> None:
    async with make(SMALL) as box:
        for folder in ("/workspace", "/snapshots", "/tmp", "/dev/shm", "/home/agent"):  # noqa: S108
            _, output = await sh(
                box, f"dd if=/dev/zero of={folder}/big bs=1M; rm {folder}/big", timeout_s=60
            )
            assert "No space left" in output, (folder, output)
        _, output = await sh(
            box, "i=0; while [ $i -lt 3000 ]; do : > f$i || exit; i=$((i+1)); done"
        )
        assert "No space left" in output


async def a_fork_bomb_stops_at_the_limit_and_can_be_swept_away(make: Make) -> None:
    async with make(SMALL) as box:
        process = await box.spawn(
            [box.python, "-c", "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass"]
        )
        await asyncio.sleep(1)
        await box.sweep(empty=False)
        await process.wait()
        assert await sh(box, "echo alive") == (0, "alive")


async def memory_is_bounded(make: Make) -> None:
    async with make(SMALL) as box:
        done = await box.run([box.python, "-c", "b'x' * (3 << 30)"], timeout_s=60)
        assert done.exit_code != 0
        assert await sh(box, "echo alive") == (0, "alive")


async def the_first_process_cannot_be_ended_traced_or_read(make: Make) -> None:
    async with make(SMALL) as box:
        await sh(box, "kill -9 1; kill -15 1; kill -2 1; kill -11 1")
        said = await python(
            box,
            "import ctypes\n"
            "found = [ctypes.CDLL(None).ptrace(16, 1, 0, 0)]\n"
            "for path in ('environ', 'mem', 'fd/0', 'fd/3', 'root/etc/passwd'):\n"
            "    try: open('/proc/1/' + path, 'rb').read(1); found.append(path)\n"
            "    except OSError: pass\n"
            "print(found)",
        )
        assert said == "[-1]", said
        assert await sh(box, "echo alive") == (0, "alive")


async def nobody_else_can_come_in_through_the_doorway(make: Make) -> None:
    async with make(SMALL) as box:
        _, output = await sh(box, "find / -xdev -type s 2>/dev/null; ls /run/kernel_env")
        assert "door" not in output.split()


async def the_hosts_processes_and_devices_are_out_of_sight(make: Make) -> None:
    async with make(SMALL) as box:
        pids = await python(
            box, "import os; print(max(int(p) for p in os.listdir('/proc') if p.isdigit()))"
        )
        assert int(pids) < 1000
        _, devices = await sh(box, "ls /dev")
        assert not {d for d in devices.split() if d.startswith(("sd", "vd", "nvme", "kvm", "mem"))}
        _, sockets = await sh(box, "ls /var/run/docker.sock /run/docker.sock 2>/dev/null")
        assert sockets == ""


PROMISES: tuple[Promise, ...] = (
    a_program_runs_in_the_workspace_and_its_exit_code_and_output_come_back,
    output_beyond_the_limit_is_cut_and_does_not_block_the_program,
    a_program_that_takes_too_long_is_killed,
    a_program_that_does_not_exist_is_an_error_that_names_it,
    descriptors_are_handed_in_from_3_upwards,
    a_signal_reaches_the_program_and_what_it_started,
    the_end_of_what_a_program_wrote_is_kept,
    many_programs_run_at_once,
    files_come_out_as_they_went_in,
    only_regular_files_within_the_limit_are_read,
    stat_tells_what_is_there_and_when_it_changed,
    a_link_is_not_followed_when_writing,
    sweep_ends_every_program_and_keeps_or_deletes_the_files,
    an_orphan_that_is_adopted_tells_how_it_ends,
    programs_are_ended_but_for_those_that_are_kept,
    programs_are_held_where_they_are_and_go_on,
    files_are_put_back_to_what_a_snapshot_holds,
    what_a_view_is_made_of_is_made_and_removed,
    folders_of_the_host_are_seen_where_the_box_says,
    nothing_of_the_hosts_environment_is_inside,
    when_the_box_ends_those_who_wait_are_told,
)

ISOLATION: tuple[Promise, ...] = (
    there_is_no_network,
    nothing_can_be_written_but_workspace_and_temporary_folders,
    folders_of_the_host_cannot_be_changed,
    programs_have_no_privilege_and_can_get_none,
    what_a_program_gains_in_namespaces_of_its_own_ends_there,
    a_program_that_writes_for_ever_runs_out_of_space,
    a_fork_bomb_stops_at_the_limit_and_can_be_swept_away,
    memory_is_bounded,
    the_first_process_cannot_be_ended_traced_or_read,
    nobody_else_can_come_in_through_the_doorway,
    the_hosts_processes_and_devices_are_out_of_sight,
)

__all__ = ["ISOLATION", "PROMISES", "SMALL", "Make", "Promise", "name"]
