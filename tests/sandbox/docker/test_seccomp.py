"""Compare the seccomp profile with the engine's default profile, call by call.

The error of a call does not show what a filter decided: "not permitted" may come from the kernel.
So the probe adds a filter of its own, for its thread, that passes every call which the container's
filter allows to another thread, and that thread makes it fail with 99. No call is executed, so
every call can be tried with any arguments, and each result is the decision of the filter.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from kernel_env.sandbox.conformance import SMALL
from kernel_env.sandbox.docker import DockerSandbox
from kernel_env.sandbox.docker.seccomp import profile

Table = Mapping[str, str]
"""The result of each call: `reached`, or the name of the error that refused it."""

EXACT = {"unshare": 0x10020000, "mount": 0x6}
"""The two added calls, each with the only flags it allows."""

NUMBERS = {
    "x86_64": {"clone": 56, "socket": 41, "personality": 135, "mount": 165, "unshare": 272},
    "i386": {"clone": 120, "socket": 359, "personality": 136, "mount": 21, "unshare": 310},
    "aarch64": {"clone": 220, "socket": 198, "personality": 92, "mount": 40, "unshare": 97},
}
NUMBERS["x32"] = {name: number | 1 << 30 for name, number in NUMBERS["x86_64"].items()}

NAMESPACES = 0x7E020000
REFUSED = {
    "setns": (308, 268),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "umount2": (166, 39),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "clone3": (435, 435),
    "mount_setattr": (442, 442),
    "open_tree_attr": (467, 467),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "keyctl": (250, 219),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
}
"""Their numbers on x86_64 and aarch64."""

ENGINES_DIFFER = {
    "x86_64": {303, 310, 311, 329, 330, 331},
    "x32": {303, 329, 330, 331},
    "i386": {102, 341, 347, 348, 380, 381, 382},
    "aarch64": {264, 270, 271, 288, 289, 290},
}
"""socketcall, and calls that older engines refuse: name_to_handle_at, process_vm_*, pkey_*."""
IO_URING, FIRST_NEWER_CALL = {425, 426, 427}, 450

PROBE = r"""
import ctypes, errno, fcntl, json, mmap, os, platform, struct, sys, threading

NUMBERS, EXACT = json.loads(sys.argv[1])
MAGIC, REACHED = 0x5EC7, 99
MACHINE = platform.machine()
libc = ctypes.CDLL(None, use_errno=True)

def native(number, arguments):
    padded = [*arguments, 0, 0, 0, 0, 0][:5]
    result = libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, [*padded, MAGIC]))
    return ctypes.get_errno() if result == -1 else 0

code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(bytes.fromhex("53558b078b5f048b4f088b570c8b77108b6f188b7f14cd805d5bc3"))  # int 0x80
enter = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(ctypes.addressof(ctypes.c_char.from_buffer(code)))

def old(number, arguments, magic=MAGIC):
    words = [number, *[*arguments, 0, 0, 0, 0, 0][:5], magic]
    return -enter((ctypes.c_uint32 * 7)(*[word & 0xFFFFFFFF for word in words]))

def has_old():
    if MACHINE != "x86_64":
        return False
    child = os.fork()
    if not child:
        os._exit(0 if old(20, [], 0) < 0 else 1)  # getpid
    return os.waitpid(child, 0)[1] == 0

def watch():
    program = b"".join(struct.pack("HBBI", *line) for line in [
        (0x20, 0, 0, 16 + 8 * 5), (0x15, 0, 1, MAGIC), (0x06, 0, 0, 0x7FC00000), (0x06, 0, 0, 0x7FFF0000)])
    text = ctypes.create_string_buffer(program)
    head = struct.pack("HxxxxxxP", 4, ctypes.addressof(text))
    listener = libc.syscall({"x86_64": 317, "aarch64": 277}[MACHINE], 1, 8, head)
    assert listener >= 0, os.strerror(ctypes.get_errno())

    def answer():
        while True:
            note = bytearray(80)
            fcntl.ioctl(listener, 0xC0502100, note)
            fcntl.ioctl(listener, 0xC0182101, bytearray(note[:8] + struct.pack("qiI", 0, -REACHED, 0)))

    threading.Thread(target=answer, daemon=True).start()

def calls(abi):
    named = NUMBERS[abi]
    base = 1 << 30 if abi == "x32" else 0
    for number in range(471):
        if number in (335, 336) and abi != "i386":
            continue  # uretprobe, uprobe: the kernel hides them from every filter
        yield f"{number} with zeros", base + number, [0] * 5
        yield f"{number} with ones", base + number, [-1] * 5
    for family in range(50):
        yield f"socket {family}", named["socket"], [family]
    for value in [0, 8, 0x20000, 0x20008, 0xFFFFFFFF, 1, 2, 0x40000, 0x20009]:
        yield f"personality {value:#x}", named["personality"], [value]
    # a filter sees 32 bits of a 32-bit ABI; the kernel knows no flag beyond them
    bits = [0, *[1 << bit for bit in range(64 if abi == MACHINE else 32)]]
    for flags in {17, 0x3D0F00, *bits, *[17 | bit for bit in bits]}:
        yield f"clone {flags:#x}", named["clone"], [flags]
    for name, place in (("unshare", 0), ("mount", 3)):
        exact = EXACT[name]
        for flags in {*bits, *[exact | bit for bit in bits], *[exact ^ bit for bit in bits]}:
            yield f"{name} {flags:#x}", named[name], [0] * place + [flags - (1 << 64 if flags >> 63 else 0)]

abis = {MACHINE: native} | ({"x32": native} if MACHINE == "x86_64" else {}) | ({"i386": old} if has_old() else {})
watch()
results = {}
for abi, call in abis.items():
    for label, number, arguments in calls(abi):
        error = call(number, arguments)
        results[f"{abi} {label}"] = "reached" if error == REACHED else errno.errorcode[error]
print(json.dumps(results))
"""


def newly_allowed(default: Table, custom: Table) -> set[str]:
    """Return the calls that `default` refuses and `custom` allows; both must list the same calls."""
    assert default.keys() == custom.keys(), "the tables list different calls"
    return {call for call in default if default[call] != "reached" == custom[call]}


def added_calls(table: Table) -> set[str]:
    """Return the two added calls for every ABI (64 bits, 32 bits) that the machine can run."""
    kinds = {call.split()[0] for call in table}
    return {f"{kind} {name} {flags:#x}" for kind in kinds for name, flags in EXACT.items()}


def engines_differ_about(call: str) -> bool:
    """Return whether some engine from 20.10 to 29 refuses a call, or the call is newer than all."""
    kind, name, *rest = call.split()
    if name == "socket":
        return int(rest[0]) in {38, 40}
    if not name.isdigit():
        return False
    return int(name) in ENGINES_DIFFER[kind] | IO_URING or int(name) >= FIRST_NEWER_CALL


async def probe(*, branching: bool) -> Table:
    async with DockerSandbox(replace(SMALL, branching=branching)) as sandbox:
        argument = json.dumps([NUMBERS, EXACT])
        done = await sandbox.run([sandbox.python, "-I", "-S", "-c", PROBE, argument], timeout_s=60)
    assert done.exit_code == 0, (done.exit_code, done.output.decode())
    table: Table = json.loads(done.output)
    return table


@pytest.fixture(scope="module")
def tables(docker_images: None) -> tuple[Table, Table]:
    return asyncio.run(probe(branching=False)), asyncio.run(probe(branching=True))


@pytest.mark.docker
def test_only_the_two_additions_are_weaker_than_the_default_profile(
    tables: tuple[Table, Table],
) -> None:
    default, custom = tables

    assert newly_allowed(default, custom) == added_calls(custom)


@pytest.mark.docker
def test_profile_is_stricter_only_where_engines_differ(tables: tuple[Table, Table]) -> None:
    default, custom = tables

    lost = newly_allowed(custom, default)

    assert {call for call in lost if not engines_differ_about(call)} == set()


@pytest.mark.docker
def test_additions_allow_exactly_their_flags(tables: tuple[Table, Table]) -> None:
    _, custom = tables

    reached = {call for call, result in custom.items() if result == "reached"}

    assert {call for call in reached if call.split()[1] in EXACT} == added_calls(custom)
    assert not {
        call for call in reached if "clone" in call and int(call.split()[2], 16) & NAMESPACES
    }


@pytest.mark.docker
def test_other_calls_for_namespaces_and_mounts_are_refused(
    tables: tuple[Table, Table],
) -> None:
    _, custom = tables
    machine = "x86_64" if "x86_64 0 with zeros" in custom else "aarch64"

    for name, (x86_64, aarch64) in REFUSED.items():
        number = x86_64 if machine == "x86_64" else aarch64
        for what in ("zeros", "ones"):
            error = "ENOSYS" if name in {"clone3", "open_tree_attr"} else "EPERM"
            assert custom[f"{machine} {number} with {what}"] == error, name


def test_call_allowed_only_by_the_profile_is_weaker() -> None:
    default = {"read": "reached", "mount": "EPERM", "clone3": "ENOSYS", "bpf": "EPERM"}

    assert newly_allowed(default, {**default, "mount": "reached"}) == {"mount"}
    assert newly_allowed(default, {**default, "clone3": "reached"}) == {"clone3"}


def test_call_refused_by_the_profile_is_not_weaker() -> None:
    default = {"read": "reached", "mount": "EPERM"}

    assert newly_allowed(default, default) == set()
    assert newly_allowed(default, {"read": "EPERM", "mount": "ENOSYS"}) == set()


def test_tables_of_different_calls_are_not_compared() -> None:
    with pytest.raises(AssertionError, match="different calls"):
        newly_allowed({"read": "reached"}, {})


def test_profile_lists_each_unconditional_call_once() -> None:
    parsed = json.loads(profile())

    assert parsed["defaultAction"] == "SCMP_ACT_ERRNO"
    unconditional = [
        name for rule in parsed["syscalls"] if not rule.get("args") for name in rule["names"]
    ]
    assert sorted(set(unconditional)) == sorted(unconditional)
    limited = {name for rule in parsed["syscalls"] if rule.get("args") for name in rule["names"]}
    assert limited == {"socket", "personality", "clone", "unshare", "mount"}
    assert not limited & set(unconditional)
