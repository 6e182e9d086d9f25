"""Checks that programs cannot reach the host, for back ends with `isolated = True`."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from kernel_env.sandbox.conformance.support import SMALL, Check, Make, python, sh
from kernel_env.sandbox.protocol import DATA


async def there_is_no_network(make: Make) -> None:
    async with make(SMALL) as sandbox:
        said = await python(
            sandbox,
            "import socket\n"
            "print(sorted(name for _, name in socket.if_nameindex()))\n"
            "try: socket.create_connection(('1.1.1.1', 53), 2)\n"
            "except OSError as error: print(type(error).__name__, error)",
        )
        assert "unreachable" in said, said
        assert await python(sandbox, "import socket; print(socket.if_nameindex())") == "[(1, 'lo')]"


async def nothing_can_be_written_but_workspace_and_temporary_folders(make: Make) -> None:
    async with make(SMALL) as sandbox:
        said = await python(
            sandbox,
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
        async with make(replace(SMALL, folders={DATA: Path(folder)})) as sandbox:
            code, _ = await sh(sandbox, "echo 1 > /data/new")
            assert code != 0
        assert os.listdir(folder) == []  # noqa: PTH208


async def programs_have_no_privilege_and_can_get_none(make: Make) -> None:
    async with make(SMALL) as sandbox:
        _, output = await sh(
            sandbox, "id -u; grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/self/status"
        )
        facts = dict(line.split(":\t") for line in output.splitlines()[1:])
        assert output.splitlines()[0] != "0"
        assert int(facts["CapEff"], 16) == 0
        assert int(facts["CapBnd"], 16) == 0
        assert facts["NoNewPrivs"] == "1"
        assert facts["Seccomp"] == "2"


async def privileges_in_own_namespaces_do_not_reach_outside(make: Make) -> None:
    async with make(SMALL) as sandbox:
        said = await python(sandbox, IN_NAMESPACES_OF_ITS_OWN)
        assert said == "[]", said
        assert await sh(sandbox, "echo alive; ls /workspace") == (0, "alive")


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


async def endless_writing_runs_out_of_space(make: Make) -> None:
    async with make(SMALL) as sandbox:
        for folder in ("/workspace", "/snapshots", "/tmp", "/dev/shm", "/home/agent"):  # noqa: S108
            _, output = await sh(
                sandbox, f"dd if=/dev/zero of={folder}/big bs=1M; rm {folder}/big", timeout_s=60
            )
            assert "No space left" in output, (folder, output)
        _, output = await sh(
            sandbox, "i=0; while [ $i -lt 3000 ]; do : > f$i || exit; i=$((i+1)); done"
        )
        assert "No space left" in output


async def a_fork_bomb_stops_at_the_limit_and_is_cleaned_up(make: Make) -> None:
    async with make(SMALL) as sandbox:
        process = await sandbox.spawn(
            [
                sandbox.python,
                "-c",
                "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass",
            ]
        )
        await asyncio.sleep(1)
        await sandbox.clean_up(workspace=False)
        await process.wait()
        assert await sh(sandbox, "echo alive") == (0, "alive")


async def memory_is_bounded(make: Make) -> None:
    async with make(SMALL) as sandbox:
        done = await sandbox.run([sandbox.python, "-c", "b'x' * (3 << 30)"], timeout_s=60)
        assert done.exit_code != 0
        assert await sh(sandbox, "echo alive") == (0, "alive")


async def the_init_process_cannot_be_ended_traced_or_read(make: Make) -> None:
    async with make(SMALL) as sandbox:
        await sh(sandbox, "kill -9 1; kill -15 1; kill -2 1; kill -11 1")
        said = await python(
            sandbox,
            "import ctypes\n"
            "found = [ctypes.CDLL(None).ptrace(16, 1, 0, 0)]\n"
            "for path in ('environ', 'mem', 'fd/0', 'fd/3', 'root/etc/passwd'):\n"
            "    try: open('/proc/1/' + path, 'rb').read(1); found.append(path)\n"
            "    except OSError: pass\n"
            "print(found)",
        )
        assert said == "[-1]", said
        assert await sh(sandbox, "echo alive") == (0, "alive")


async def no_socket_of_the_host_is_reachable(make: Make) -> None:
    async with make(SMALL) as sandbox:
        _, output = await sh(sandbox, "find / -xdev -type s 2>/dev/null; ls /run/kernel_env")
        assert "door" not in output.split()


async def processes_and_devices_of_the_host_are_invisible(make: Make) -> None:
    async with make(SMALL) as sandbox:
        pids = await python(
            sandbox, "import os; print(max(int(p) for p in os.listdir('/proc') if p.isdigit()))"
        )
        assert int(pids) < 1000
        _, devices = await sh(sandbox, "ls /dev")
        assert not {d for d in devices.split() if d.startswith(("sd", "vd", "nvme", "kvm", "mem"))}
        _, sockets = await sh(sandbox, "ls /var/run/docker.sock /run/docker.sock 2>/dev/null")
        assert sockets == ""


ISOLATION_CHECKS: tuple[Check, ...] = (
    there_is_no_network,
    nothing_can_be_written_but_workspace_and_temporary_folders,
    folders_of_the_host_cannot_be_changed,
    programs_have_no_privilege_and_can_get_none,
    privileges_in_own_namespaces_do_not_reach_outside,
    endless_writing_runs_out_of_space,
    a_fork_bomb_stops_at_the_limit_and_is_cleaned_up,
    memory_is_bounded,
    the_init_process_cannot_be_ended_traced_or_read,
    no_socket_of_the_host_is_reachable,
    processes_and_devices_of_the_host_are_invisible,
)
"""For sandboxes whose `isolated` is true."""
