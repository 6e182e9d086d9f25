"""Files that a process holds open or mapped when it enters an overlay."""

from kernel_env.sandbox import Sandbox
from support.overlays import run_inside


async def test_open_files_keep_their_offset_and_write_into_the_overlay(
    open_sandbox: Sandbox,
) -> None:
    result = await run_inside(
        open_sandbox,
        """
        write("log", "one\\n"); write("data", "0123456789"); write("both", "abcdef")
        log = open("log", "a")
        data = open("data", "rb", buffering=0); data.seek(4)
        both = open("both", "r+b", buffering=0); both.seek(2)
        flags = [os.get_inheritable(f.fileno()) for f in (log, data, both)]
        os.set_inheritable(data.fileno(), True)
        def body():
            log.write("two\\n"); log.flush(); both.write(b"XY")
            return [data.read(3).decode(), both.tell(), read("log"), read("both"),
                    [os.get_inheritable(f.fileno()) for f in (log, data, both)]]
        child = in_overlay(body)
        result = [child, read("log"), read("both"), data.tell(), both.tell()]
        """,
    )

    child, log, both, data_at, both_at = result
    assert child == ["456", 4, "one\ntwo\n", "abXYef", [False, True, False]]
    assert (log, both) == ("one\n", "abcdef")
    assert (data_at, both_at) == (4, 2), "the parent's offsets were moved"


async def test_descriptors_share_an_offset_only_if_they_did_before(
    open_sandbox: Sandbox,
) -> None:
    result = await run_inside(
        open_sandbox,
        """
        write("f", "0123456789")
        one = os.open("f", os.O_RDWR); two = os.dup(one); other = os.open("f", os.O_RDWR)
        def body():
            os.write(one, b"ab")
            return [os.lseek(fd, 0, os.SEEK_CUR) for fd in (one, two, other)]
        release = tuple(map(int, os.uname().release.split(".")[:2]))
        result = in_overlay(body) if release >= (6, 10) else [2, 2, 0]
        """,
    )

    assert result == [2, 2, 0]


async def test_reader_sees_writes_through_another_descriptor(open_sandbox: Sandbox) -> None:
    result = await run_inside(
        open_sandbox,
        """
        write("f", "")
        reader = open("f", "rb", buffering=0); writer = open("f", "wb", buffering=0)
        def body():
            writer.write(b"text")
            return reader.read().decode()
        result = [in_overlay(body), reader.read().decode()]
        """,
    )

    assert result == ["text", ""]


async def test_deleted_open_file_is_copied_and_stays_deleted(open_sandbox: Sandbox) -> None:
    result = await run_inside(
        open_sandbox,
        """
        import tempfile
        kept = tempfile.TemporaryFile(dir=".", buffering=0)
        kept.write(b"secret"); os.ftruncate(kept.fileno(), 1 << 20); kept.seek(3)
        named = open("named (deleted)", "w+", buffering=1); named.write("a name\\n")
        again = os.open(f"/proc/self/fd/{kept.fileno()}", os.O_RDWR)
        def grandchild():
            kept.write(b"DEEP")
            return kept.tell()
        def body():
            kept.write(b"RET")
            seen = os.pread(again, 6, 0).decode()
            below = in_overlay(grandchild, f"{SNAPSHOTS}/trees/0")
            named.write("more\\n")
            return [seen, below, os.pread(again, 10, 0).decode().strip("\\0"), kept.tell(), os.fstat(again).st_size,
                    os.fstat(again).st_nlink, os.listdir(), read("named (deleted)")]
        child = in_overlay(body)
        result = [child, os.pread(again, 10, 0).decode().strip("\\0"), kept.tell(), read("named (deleted)")]
        """,
    )

    child, content, offset, named = result
    seen = ["secRET", 10, "secRET", 6, 1 << 20, 0, ["named (deleted)"], "a name\nmore\n"]
    assert child == seen
    assert (content, offset, named) == ("secret", 3, "a name\n")


async def test_file_missing_in_the_frozen_folder_is_copied(open_sandbox: Sandbox) -> None:
    result = await run_inside(
        open_sandbox,
        """
        lower = freeze()
        newer = open("newer", "w+b", buffering=0); newer.write(b"made since")
        def body():
            newer.write(b", changed"); newer.seek(0)
            return [newer.read().decode(), os.listdir()]
        result = [in_overlay(body, lower), read("newer")]
        """,
    )

    assert result == [["made since, changed", []], "made since"]


async def test_memory_mapping_writes_into_the_overlay(open_sandbox: Sandbox) -> None:
    result = await run_inside(
        open_sandbox,
        """
        import numpy as np
        table = np.memmap("table", dtype="i4", mode="w+", shape=3000); table[:] = 7
        table = np.memmap("table", dtype="i4", mode="r+")
        write("words", "x" * 10_000)
        with open("words", "rb") as file:
            words = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        with open("words", "r+b") as file:
            tail = mmap.mmap(file.fileno(), 4096, offset=4096)
        def body():
            table[1500] = 8; table.flush(); tail[0:3] = b"abc"
            return [int(table[0]), int(np.fromfile("table", "i4")[1500]), read("words")[4096:4100],
                    words[4096:4100].decode(), int(table.sum())]
        child = in_overlay(body)
        table[0] = 9
        result = [child, int(table[1500]), read("words")[4096:4100]]
        """,
    )

    assert result == [[7, 8, "abcx", "abcx", 21001], 7, "xxxx"]


async def test_memory_mapping_of_a_deleted_file_is_copied(open_sandbox: Sandbox) -> None:
    result = await run_inside(
        open_sandbox,
        """
        import numpy as np, gc
        a = np.memmap("a", dtype="u1", mode="w+", shape=5000); a[:] = 1
        os.unlink("a")
        b = open("b", "w+b"); b.truncate(5000)
        libc = overlay.libc
        where = libc.mmap(None, 8192, 3, 1, b.fileno(), 0)
        b.close(); os.unlink("b")
        ctypes.memset(where, 2, 5000)
        def body():
            a[0] = 5; ctypes.memset(where, 6, 1)
            return [int(a[0]), int(a[4999]), ctypes.string_at(where, 5000)[0], ctypes.string_at(where, 5000)[4999], os.listdir()]
        child = in_overlay(body)
        result = [child, int(a[0]), ctypes.string_at(where, 1)[0]]
        """,
    )

    assert result == [[5, 1, 6, 2, []], 1, 2]


async def test_working_directory_is_changed_to_the_overlay(open_sandbox: Sandbox) -> None:
    result = await run_inside(
        open_sandbox,
        """
        os.makedirs("a/b"); os.chdir("a/b")
        def body():
            write("f", "")
            return [os.getcwd(), os.listdir(), os.listdir(f"{WORKSPACE}/a/b")]
        child = in_overlay(body)
        empty = os.listdir()
        os.rmdir(f"{WORKSPACE}/a/b")
        lost = in_overlay(os.getcwd, f"{SNAPSHOTS}/trees/0")
        os.rmdir(f"{WORKSPACE}/a")
        os.chdir("/")
        result = [child, empty, lost, in_overlay(os.getcwd, f"{SNAPSHOTS}/trees/0"), WORKSPACE]
        """,
    )

    child, empty, lost, outside, workspace = result
    assert child == [f"{workspace}/a/b", ["f"], ["f"]]
    assert empty == []
    assert lost == workspace
    assert outside == "/"


async def test_open_folder_belongs_to_the_overlay(open_sandbox: Sandbox) -> None:
    result = await run_inside(
        open_sandbox,
        """
        os.mkdir("d"); os.mkdir("gone")
        d = os.open("d", os.O_RDONLY | os.O_DIRECTORY); path = os.open("d", os.O_PATH)
        gone = os.open("gone", os.O_RDONLY); os.rmdir("gone")
        def body():
            os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=d))
            os.close(os.open("g", os.O_CREAT | os.O_WRONLY, dir_fd=path))
            return [sorted(os.listdir("d")), os.listdir(gone), sorted(os.listdir())]
        result = [in_overlay(body), os.listdir("d")]
        """,
    )

    assert result == [[["f", "g"], [], ["d"]], []]


async def test_files_elsewhere_stay_shared(open_sandbox: Sandbox) -> None:
    result = await run_inside(
        open_sandbox,
        """
        import tempfile
        other = tempfile.NamedTemporaryFile("w+"); other.write("one"); other.flush()
        neighbour = open(f"{SNAPSHOTS}/x", "wb", buffering=0)
        def body():
            other.write(", two"); other.flush(); neighbour.write(b"kept")
        in_overlay(body)
        result = [read(other.name), read(f"{SNAPSHOTS}/x")]
        """,
    )

    assert result == ["one, two", "kept"]
