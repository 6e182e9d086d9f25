"""Views over frozen folders, in real boxes: a program forks, its child enters a view and tells."""

import asyncio
import json
import textwrap
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import pytest

from kernel_env import plugins
from kernel_env.kernel.connection.launch import PROGRAM, PROGRAM_FOLDER
from kernel_env.sandbox import Sandbox
from kernel_env.sandbox.conformance import SMALL
from kernel_env.sandbox.protocol import SNAPSHOTS, WORKSPACE

SPEC = replace(SMALL, folders={PROGRAM: PROGRAM_FOLDER}, processes=128)

PRELUDE = """
import ctypes, errno, json, mmap, os, shutil, subprocess, sys, threading, time, traceback
sys.path.insert(0, PARENT)
from guest import overlay
os.chdir(WORKSPACE)

def write(path, text, mode="w"):
    with open(path, mode) as file:
        file.write(text)

def read(path):
    with open(path) as file:
        return file.read()

def freeze(name="0"):
    return shutil.copytree(WORKSPACE, f"{SNAPSHOTS}/trees/{name}", symlinks=True)

def layer(name, lower):
    own = f"{SNAPSHOTS}/branches/{name}"
    return {"at": WORKSPACE, "lower": lower, "upper": f"{own}/upper", "work": f"{own}/work"}

def branch(do, lower=None, name=None):
    "Fork a child that enters a view; what it has to say."
    lower, name = lower or freeze(), name or str(time.monotonic_ns())
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            overlay.enter([layer(name, lower)])
            said = do()
        except BaseException:
            said = traceback.format_exc()
        os.write(writing, json.dumps(said).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return json.loads(said)

"""


async def inside(box: Sandbox, program: str) -> Any:
    """Run a program with the prelude; what it left in `said`."""
    names = {
        "PARENT": str(box.where(PROGRAM).parent),
        "WORKSPACE": str(box.where(WORKSPACE)),
        "SNAPSHOTS": str(box.where(SNAPSHOTS)),
    }
    text = "\n".join(f"{name} = {value!r}" for name, value in names.items())
    text += PRELUDE + textwrap.dedent(program) + "\nprint(json.dumps(said))"
    done = await box.run([box.python, "-c", text], timeout_s=60)
    assert done.exit_code == 0, done.output.decode()
    return json.loads(done.output.decode().splitlines()[-1])


async def reason(box: Sandbox) -> str | None:
    said: str | None = await inside(box, "said = overlay.possible(SNAPSHOTS)")
    return said


@pytest.fixture
async def box(sandbox: str) -> AsyncIterator[Sandbox]:
    async with plugins.find("sandbox", sandbox)(SPEC) as opened:
        if sandbox == "local" and (why := await reason(opened)):
            pytest.skip(f"needs user namespaces: {why}")
        yield opened


@pytest.fixture
async def container() -> AsyncIterator[Sandbox]:
    async with plugins.find("sandbox", "docker")(SPEC) as opened:
        yield opened


# ── files ─────────────────────────────────────────────────────────────────────────────────


async def test_a_view_begins_with_the_frozen_tree(box: Sandbox) -> None:
    said = await inside(
        box,
        """
        os.makedirs("folder/inner")
        write("folder/inner/file", "deep")
        write("script", "")
        os.chmod("script", 0o750)
        os.symlink("folder", "link")
        os.chmod(WORKSPACE, 0o711)
        said = branch(lambda: [
            sorted(os.listdir()), read("link/inner/file"),
            oct(os.stat("script").st_mode), oct(os.stat(WORKSPACE).st_mode), os.getuid() == os.stat("script").st_uid])
        os.chmod(WORKSPACE, 0o755)
        """,
    )

    assert said == [["folder", "link", "script"], "deep", "0o100750", "0o40711", True]


async def test_what_one_writes_no_other_sees(box: Sandbox) -> None:
    said = await inside(
        box,
        """
        write("common", "common")
        write("unwanted", "")
        lower = freeze()
        def first():
            write("common", ", first", "a"); write("new", "first"); os.unlink("unwanted")
            return [read("common"), sorted(os.listdir())]
        def second():
            return [read("common"), sorted(os.listdir())]
        one = branch(first, lower)
        write("common", ", parent", "a")
        other = branch(second, lower)
        said = [one, other, [read("common"), sorted(os.listdir())]]
        """,
    )

    first, second, parent = said
    assert first == ["common, first", ["common", "new"]]
    assert second == ["common", ["common", "unwanted"]]
    assert parent == ["common, parent", ["common", "unwanted"]]


async def test_programs_started_in_a_view_see_it(box: Sandbox) -> None:
    said = await inside(
        box,
        """
        def do():
            write("f", "in the view")
            return subprocess.run(["cat", f"{WORKSPACE}/f"], capture_output=True, text=True).stdout
        write("f", "parent")
        said = branch(do)
        """,
    )

    assert said == "in the view"


async def test_views_nest_thirty_deep(box: Sandbox) -> None:
    said = await inside(
        box,
        """
        def down(depth):
            write("trail", f"{depth} ", "a")
            if depth == 30:
                return read("trail")
            deeper = branch(lambda: down(depth + 1), freeze(str(depth)), str(depth))
            assert read("trail").split()[-1] == str(depth)
            return deeper
        write("trail", "")
        said = [down(0), read("trail")]
        """,
    )

    assert said == [" ".join(map(str, range(31))) + " ", "0 "]


async def test_a_nested_view_may_lie_over_any_frozen_folder(box: Sandbox) -> None:
    said = await inside(
        box,
        """
        write("f", "before")
        early = freeze("early")
        write("f", "after")
        late = freeze("late")
        def outer():
            write("own", "")
            inner = branch(lambda: [read("f"), os.listdir()], early)
            return [inner, read("f"), sorted(os.listdir())]
        said = branch(outer, late)
        """,
    )

    assert said == [["before", ["f"]], "after", ["f", "own"]]


async def test_renaming_a_folder_of_the_lower_layer_fails_and_moving_it_works(
    box: Sandbox,
) -> None:
    said = await inside(
        box,
        """
        os.mkdir("old"); write("old/file", "kept"); write("f", "")
        def do():
            try: os.rename("old", "new")
            except OSError as error: name = errno.errorcode[error.errno]
            shutil.move("old", "new")
            os.mkdir("own"); os.rename("own", "own too"); os.rename("f", "g")
            return [name, read("new/file"), sorted(os.listdir())]
        said = branch(do)
        """,
    )

    assert said == ["EXDEV", "kept", ["g", "new", "own too"]]


async def test_the_host_reads_a_view_through_its_process(box: Sandbox) -> None:
    write = "write('f', 'in the view'); print(os.getpid(), flush=True); time.sleep(60)"
    names = f"PARENT, WORKSPACE, SNAPSHOTS = {str(box.where(PROGRAM).parent)!r},"
    names += f" {str(box.where(WORKSPACE))!r}, {str(box.where(SNAPSHOTS))!r}\n"
    program = f"{names}{PRELUDE}\noverlay.enter([layer('b', freeze())]); {write}"
    process = await box.spawn([box.python, "-c", program])
    while not process.tail().endswith("\n"):
        assert process.exit_code is None, process.tail()
        await asyncio.sleep(0.01)

    path = PurePosixPath(f"/proc/{process.tail().strip()}/root{box.where(WORKSPACE)}/f")
    found = await box.read(path, limit_bytes=100)

    assert found == b"in the view"
    assert await box.stat(WORKSPACE / "f") is None


# ── what a process holds ──────────────────────────────────────────────────────────────────


async def test_open_files_go_on_where_they_were_and_write_into_the_view(box: Sandbox) -> None:
    said = await inside(
        box,
        """
        write("log", "one\\n"); write("data", "0123456789"); write("both", "abcdef")
        log = open("log", "a")
        data = open("data", "rb", buffering=0); data.seek(4)
        both = open("both", "r+b", buffering=0); both.seek(2)
        flags = [os.get_inheritable(f.fileno()) for f in (log, data, both)]
        os.set_inheritable(data.fileno(), True)
        def do():
            log.write("two\\n"); log.flush(); both.write(b"XY")
            return [data.read(3).decode(), both.tell(), read("log"), read("both"),
                    [os.get_inheritable(f.fileno()) for f in (log, data, both)]]
        child = branch(do)
        said = [child, read("log"), read("both"), data.tell(), both.tell()]
        """,
    )

    child, log, both, data_at, both_at = said
    assert child == ["456", 4, "one\ntwo\n", "abXYef", [False, True, False]]
    assert (log, both) == ("one\n", "abcdef")
    assert (data_at, both_at) == (4, 2), "the parent's offsets were moved"


async def test_descriptors_that_shared_an_offset_share_it_again_and_others_do_not(
    box: Sandbox,
) -> None:
    said = await inside(
        box,
        """
        write("f", "0123456789")
        one = os.open("f", os.O_RDWR); two = os.dup(one); other = os.open("f", os.O_RDWR)
        def do():
            os.write(one, b"ab")
            return [os.lseek(fd, 0, os.SEEK_CUR) for fd in (one, two, other)]
        release = tuple(map(int, os.uname().release.split(".")[:2]))
        said = branch(do) if release >= (6, 10) else [2, 2, 0]
        """,
    )

    assert said == [2, 2, 0]


async def test_a_reader_sees_what_a_writer_of_the_same_file_writes(box: Sandbox) -> None:
    said = await inside(
        box,
        """
        write("f", "")
        reader = open("f", "rb", buffering=0); writer = open("f", "wb", buffering=0)
        def do():
            writer.write(b"told")
            return reader.read().decode()
        said = [branch(do), reader.read().decode()]
        """,
    )

    assert said == ["told", ""]


async def test_a_deleted_open_file_is_copied_and_stays_deleted(box: Sandbox) -> None:
    said = await inside(
        box,
        """
        import tempfile
        kept = tempfile.TemporaryFile(dir=".", buffering=0)
        kept.write(b"secret"); os.ftruncate(kept.fileno(), 1 << 20); kept.seek(3)
        named = open("named (deleted)", "w+", buffering=1); named.write("a name\\n")
        again = os.open(f"/proc/self/fd/{kept.fileno()}", os.O_RDWR)
        def grandchild():
            kept.write(b"DEEP")
            return kept.tell()
        def do():
            kept.write(b"RET")
            seen = os.pread(again, 6, 0).decode()
            below = branch(grandchild, f"{SNAPSHOTS}/trees/0")
            named.write("more\\n")
            return [seen, below, os.pread(again, 10, 0).decode().strip("\\0"), kept.tell(), os.fstat(again).st_size,
                    os.fstat(again).st_nlink, os.listdir(), read("named (deleted)")]
        child = branch(do)
        said = [child, os.pread(again, 10, 0).decode().strip("\\0"), kept.tell(), read("named (deleted)")]
        """,
    )

    child, content, offset, named = said
    seen = ["secRET", 10, "secRET", 6, 1 << 20, 0, ["named (deleted)"], "a name\nmore\n"]
    assert child == seen
    assert (content, offset, named) == ("secret", 3, "a name\n")


async def test_a_file_that_the_frozen_tree_lacks_is_copied(box: Sandbox) -> None:
    said = await inside(
        box,
        """
        lower = freeze()
        newer = open("newer", "w+b", buffering=0); newer.write(b"made since")
        def do():
            newer.write(b", changed"); newer.seek(0)
            return [newer.read().decode(), os.listdir()]
        said = [branch(do, lower), read("newer")]
        """,
    )

    assert said == [["made since, changed", []], "made since"]


async def test_a_memory_map_writes_into_the_view(box: Sandbox) -> None:
    said = await inside(
        box,
        """
        import numpy as np
        table = np.memmap("table", dtype="i4", mode="w+", shape=3000); table[:] = 7
        table = np.memmap("table", dtype="i4", mode="r+")
        write("words", "x" * 10_000)
        with open("words", "rb") as file:
            words = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        with open("words", "r+b") as file:
            tail = mmap.mmap(file.fileno(), 4096, offset=4096)
        def do():
            table[1500] = 8; table.flush(); tail[0:3] = b"abc"
            return [int(table[0]), int(np.fromfile("table", "i4")[1500]), read("words")[4096:4100],
                    words[4096:4100].decode(), int(table.sum())]
        child = branch(do)
        table[0] = 9
        said = [child, int(table[1500]), read("words")[4096:4100]]
        """,
    )

    assert said == [[7, 8, "abcx", "abcx", 21001], 7, "xxxx"]


async def test_a_memory_map_of_a_deleted_file_is_the_childs_own(box: Sandbox) -> None:
    said = await inside(
        box,
        """
        import numpy as np, gc
        a = np.memmap("a", dtype="u1", mode="w+", shape=5000); a[:] = 1
        os.unlink("a")
        b = open("b", "w+b"); b.truncate(5000)
        libc = overlay.libc
        where = libc.mmap(None, 8192, 3, 1, b.fileno(), 0)
        b.close(); os.unlink("b")
        ctypes.memset(where, 2, 5000)
        def do():
            a[0] = 5; ctypes.memset(where, 6, 1)
            return [int(a[0]), int(a[4999]), ctypes.string_at(where, 5000)[0], ctypes.string_at(where, 5000)[4999], os.listdir()]
        child = branch(do)
        said = [child, int(a[0]), ctypes.string_at(where, 1)[0]]
        """,
    )

    assert said == [[5, 1, 6, 2, []], 1, 2]


async def test_the_working_directory_is_entered_again(box: Sandbox) -> None:
    said = await inside(
        box,
        """
        os.makedirs("a/b"); os.chdir("a/b")
        def do():
            write("f", "")
            return [os.getcwd(), os.listdir(), os.listdir(f"{WORKSPACE}/a/b")]
        child = branch(do)
        empty = os.listdir()
        os.rmdir(f"{WORKSPACE}/a/b")
        lost = branch(os.getcwd, f"{SNAPSHOTS}/trees/0")
        os.rmdir(f"{WORKSPACE}/a")
        os.chdir("/")
        said = [child, empty, lost, branch(os.getcwd, f"{SNAPSHOTS}/trees/0"), WORKSPACE]
        """,
    )

    child, empty, lost, outside, workspace = said
    assert child == [f"{workspace}/a/b", ["f"], ["f"]]
    assert empty == []
    assert lost == workspace
    assert outside == "/"


async def test_an_open_folder_is_the_views(box: Sandbox) -> None:
    said = await inside(
        box,
        """
        os.mkdir("d"); os.mkdir("gone")
        d = os.open("d", os.O_RDONLY | os.O_DIRECTORY); path = os.open("d", os.O_PATH)
        gone = os.open("gone", os.O_RDONLY); os.rmdir("gone")
        def do():
            os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=d))
            os.close(os.open("g", os.O_CREAT | os.O_WRONLY, dir_fd=path))
            return [sorted(os.listdir("d")), os.listdir(gone), sorted(os.listdir())]
        said = [branch(do), os.listdir("d")]
        """,
    )

    assert said == [[["f", "g"], [], ["d"]], []]


async def test_what_lies_elsewhere_is_left_alone(box: Sandbox) -> None:
    said = await inside(
        box,
        """
        import tempfile
        other = tempfile.NamedTemporaryFile("w+"); other.write("one"); other.flush()
        neighbour = open(f"{SNAPSHOTS}/x", "wb", buffering=0)
        def do():
            other.write(", two"); other.flush(); neighbour.write(b"kept")
        branch(do)
        said = [read(other.name), read(f"{SNAPSHOTS}/x")]
        """,
    )

    assert said == ["one, two", "kept"]


# ── errors ────────────────────────────────────────────────────────────────────────────────


async def test_an_error_names_its_step(box: Sandbox) -> None:
    said = await inside(
        box,
        """
        missing = branch(lambda: None, f"{SNAPSHOTS}/trees/missing")
        done = threading.Event(); thread = threading.Thread(target=done.wait); thread.start()
        try: overlay.enter([layer("b", freeze())])
        except OSError as error: threads = [str(error), os.getcwd() == WORKSPACE]
        done.set(); thread.join()
        said = [missing, threads]
        """,
    )

    missing, threads = said
    assert "make the folders of the view: No such file or directory" in missing
    assert threads == ["[Errno 22] unshare: Invalid argument", True]


async def test_whether_it_is_possible_is_told_and_leaves_nothing(box: Sandbox) -> None:
    said = await inside(box, "said = [overlay.possible(SNAPSHOTS), os.listdir(SNAPSHOTS)]")

    assert said == [None, ["blobs"]]


async def test_a_folder_that_is_missing_makes_it_impossible(box: Sandbox) -> None:
    said = await inside(box, "said = overlay.possible('/dev/null/x')")

    assert "Not a directory" in said


@pytest.mark.docker
async def test_under_the_engines_own_profile_it_is_impossible_and_the_reason_is_told() -> None:
    async with plugins.find("sandbox", "docker")(replace(SPEC, branching=False)) as box:
        why = await reason(box)
        said = await inside(
            box,
            """
            unshare = overlay.libc.unshare
            status = dict(line.split(":\\t") for line in read("/proc/self/status").splitlines())
            said = [status["Seccomp"], unshare(0x10000000), unshare(0x10020000), os.listdir(SNAPSHOTS)]
            """,
        )

    assert why == "unshare: Operation not permitted"
    assert said == ["2", -1, -1, ["blobs"]]


# ── what is gained ────────────────────────────────────────────────────────────────────────


async def test_no_capability_is_left(box: Sandbox) -> None:
    said = await inside(
        box,
        """
        def sets():
            status = dict(line.split(":\\t") for line in read("/proc/self/status").splitlines())
            return [*(int(status[f"Cap{which}"], 16) for which in ("Eff", "Prm", "Inh", "Bnd", "Amb")), status["NoNewPrivs"]]
        def do():
            libc = overlay.libc
            code = "print(open('/proc/self/status').read())"
            started = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
            status = dict(line.split(":\\t") for line in started.splitlines() if line)
            return [sets(), int(status["CapEff"], 16),
                    libc.mount(b"none", WORKSPACE.encode(), b"tmpfs", 6, None), libc.umount2(WORKSPACE.encode(), 2),
                    libc.ptrace(16, os.getppid(), 0, 0)]
        said = [branch(do), os.geteuid() == 0]
        """,
    )

    (sets, started, *calls), root = said
    kept = 1 << 31 if root else 0  # CAP_SETFCAP, for root's further namespaces
    assert sets == [kept, kept, 0, kept, 0, "1"]
    assert started == kept
    assert calls == [-1, -1, -1]


@pytest.mark.docker
async def test_the_first_process_stays_out_of_reach_of_a_view(container: Sandbox) -> None:
    said = await inside(
        container,
        """
        def do():
            found = [overlay.libc.ptrace(16, 1, 0, 0)]
            for path in ("environ", "mem", "fd/0", "fd/3", "root/etc/passwd", "maps"):
                try: open("/proc/1/" + path, "rb").read(1); found.append(path)
                except OSError: pass
            return found
        said = branch(do)
        """,
    )

    assert said == [-1]
