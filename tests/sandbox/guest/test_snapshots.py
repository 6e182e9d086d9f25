"""What is kept, what comes back, and what a hostile tree can do about it.

Paths are relative: each test runs in a folder of its own, as us and, where we are
root, in a child process that became an ordinary user, whom a mode of 0 stops.
"""

import contextlib
import ctypes
import errno
import itertools
import mmap
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    multiple,
    rule,
    run_state_machine_as_test,
)

from kernel_env.sandbox.guest import snapshots
from kernel_env.sandbox.guest.file_tree import DEPTH, empty
from kernel_env.sandbox.guest.snapshots import Store

NOBODY = 65534
WS = Path("ws")
ROOTS = ["ws"]
Seen = dict[str, tuple[str, int, bytes]]
"""Kind, mode, and content or target of every path."""

root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: another user, or a mount")
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc")


def everyone(test: Callable[[], None]) -> Callable[..., None]:
    """Run a test as us and, if that is root, as an ordinary user too."""

    @pytest.mark.parametrize("user", [None, pytest.param(NOBODY, marks=root)], ids=["us", "nobody"])
    def run(place: Path, user: int | None) -> None:
        if user is None:
            test()
        else:
            os.chown(WS, user, user)
            os.chown(".", user, user)
            become(user, test)

    run.__name__ = test.__name__
    return run


def become(user: int, body: Callable[[], None]) -> None:
    """Run `body` in a child process of another user; what fails there fails here."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
            body()
            code = 0
        except BaseException:  # noqa: BLE001  # whatever it is, the parent raises it
            os.write(tell, traceback.format_exc().encode()[-60_000:])
        finally:
            os._exit(code)
    os.close(tell)
    with os.fdopen(told, "rb") as file:
        report = file.read().decode()
    _, status = os.waitpid(child, 0)
    assert status == 0, report or f"the child ended with status {status}"


@pytest.fixture
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current folder of the test's own with an empty `ws`: in memory as in a box, or on disk."""
    on_disk = getattr(request, "param", "memory") == "disk" or not os.access("/dev/shm", os.W_OK)
    folder = Path(tempfile.mkdtemp(prefix="ke-snapshots-", dir=None if on_disk else "/dev/shm"))
    monkeypatch.chdir(folder)
    WS.mkdir()
    yield folder
    monkeypatch.undo()
    empty(str(folder))
    folder.rmdir()


@pytest.fixture
def tmpfs(place: Path) -> Iterator[Callable[..., Path]]:
    """Mounts small file systems, or skips."""
    mounted: list[Path] = []

    def mount(name: str, options: str, kind: str = "tmpfs") -> Path:
        folder = place / name
        folder.mkdir(exist_ok=True)
        argv = ["mount", "-t", kind, "-o", options, kind, str(folder)]
        done = subprocess.run(argv, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"needs to mount a {kind}: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in reversed(mounted):
        subprocess.run(["umount", "-l", str(folder)], check=True)


def look(folder: Path) -> Seen:
    """What is in a folder, itself included, even where its owner may not look."""
    seen: Seen = {}

    def visit(path: Path) -> None:
        s = path.lstat()
        mode, where = stat.S_IMODE(s.st_mode), str(path.relative_to(folder))
        if path.is_symlink():
            seen[where] = ("link", 0, os.fsencode(path.readlink()))
        elif stat.S_ISDIR(s.st_mode):
            seen[where] = ("folder", mode, b"")
            if mode & 0o700 != 0o700:
                path.chmod(mode | 0o700)
            for inside in path.iterdir():
                visit(inside)
            if mode & 0o700 != 0o700:
                path.chmod(mode)
        elif stat.S_ISREG(s.st_mode):
            if not mode & 0o400:
                path.chmod(mode | 0o400)
            seen[where] = ("file", mode, path.read_bytes())
            if not mode & 0o400:
                path.chmod(mode)
        else:
            seen[where] = ("other", mode, b"")

    visit(folder)
    return seen


def blobs() -> int:
    return len(os.listdir("store/blobs"))


# every sequence of operations


NAMES = st.sampled_from(["a", "b"])
CONTENTS = st.binary(max_size=8)


def fits(seen: Seen, path: str) -> bool:
    """Whether the folders above a path exist and their owner may do anything in them."""
    above = Path(path).parent
    return all(
        seen.get(str(p), ("", 0, b""))[0] == "folder" and seen[str(p)][1] & 0o700 == 0o700
        for p in (above, *above.parents)
    )


def below(seen: Seen, path: str) -> list[str]:
    return [p for p in seen if p == path or p.startswith(f"{path}/")]


class Life(RuleBasedStateMachine):
    """An agent works on its files while they are kept, put back, laid out and forgotten.

    The model is a plain table of what must be there; the disk is read only after a restore.
    """

    paths = st.lists(NAMES, min_size=1, max_size=2).map("/".join)
    kept: Bundle[str] = Bundle("kept")

    @initialize()
    def begin(self) -> None:
        os.umask(0o022)
        self.folder = tempfile.mkdtemp(dir=".")
        self.ws = Path(self.folder, "ws")
        self.ws.mkdir(mode=0o755)
        self.ws.chmod(0o755)
        self.store = Store(f"{self.folder}/store")
        self.now: Seen = {".": ("folder", 0o755, b"")}
        self.make_folder("b")
        for path in ("a", "b/a"):
            self.write(path, b"first")
        self.then: dict[str, tuple[Seen, dict[str, int]]] = {}
        self.count = 0

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            empty(self.folder)
            Path(self.folder).rmdir()

    def is_file(self, path: str) -> bool:
        """Whether it is a file that its owner may read and write."""
        kind, mode, _ = self.now.get(path, ("", 0, b""))
        return fits(self.now, path) and kind == "file" and mode & 0o600 == 0o600

    @rule(path=paths, data=CONTENTS)
    def write(self, path: str, data: bytes) -> None:
        if fits(self.now, path) and (path not in self.now or self.is_file(path)):
            (self.ws / path).write_bytes(data)
            self.now[path] = ("file", self.now.get(path, ("", 0o644, b""))[1], data)

    @rule(path=paths, data=CONTENTS)
    def append(self, path: str, data: bytes) -> None:
        if self.is_file(path):
            with (self.ws / path).open("ab") as file:
                file.write(data)
            self.now[path] = (*self.now[path][:2], self.now[path][2] + data)

    @rule(path=paths)
    def overwrite_and_set_the_time_back(self, path: str) -> None:
        if self.is_file(path):
            s = (self.ws / path).stat()
            data = bytes(255 - byte for byte in self.now[path][2])
            with (self.ws / path).open("r+b") as file:
                file.write(data)
            os.utime(self.ws / path, ns=(s.st_atime_ns, s.st_mtime_ns))
            self.now[path] = (*self.now[path][:2], data)

    @rule(path=paths, size=st.sampled_from([0, 3, 20_000]))
    def truncate(self, path: str, size: int) -> None:
        if self.is_file(path):
            os.truncate(self.ws / path, size)
            self.now[path] = (*self.now[path][:2], self.now[path][2][:size].ljust(size, b"\0"))

    @rule(path=paths, hole=st.sampled_from([5000, 70_000]), data=CONTENTS)
    def write_behind_a_hole(self, path: str, hole: int, data: bytes) -> None:
        if self.is_file(path):
            with (self.ws / path).open("r+b") as file:
                file.seek(hole)
                file.write(data)
            old = self.now[path][2]
            new = (
                old if not data else old[:hole].ljust(hole, b"\0") + data + old[hole + len(data) :]
            )
            self.now[path] = (*self.now[path][:2], new)

    @rule(path=paths)
    def make_folder(self, path: str) -> None:
        if fits(self.now, path) and path not in self.now:
            (self.ws / path).mkdir()
            self.now[path] = ("folder", 0o755, b"")

    @rule(path=paths, to=st.sampled_from(["a", "nowhere", "/etc/passwd", "../.."]))
    def make_link(self, path: str, to: str) -> None:
        if fits(self.now, path) and path not in self.now:
            (self.ws / path).symlink_to(to)
            self.now[path] = ("link", 0, to.encode())

    @rule(old=paths, new=paths)
    def rename(self, old: str, new: str) -> None:
        free = fits(self.now, new) and new not in self.now and not new.startswith(f"{old}/")
        kind, mode, _ = self.now.get(old, ("", 0, b""))
        movable = fits(self.now, old) and (kind in ("file", "link") or mode & 0o200)
        if free and movable and kind:
            (self.ws / old).rename(self.ws / new)
            for path in below(self.now, old):
                self.now[new + path[len(old) :]] = self.now.pop(path)

    @rule(path=paths, mode=st.sampled_from([0o000, 0o200, 0o400, 0o500, 0o644, 0o755, 0o1777]))
    def chmod(self, path: str, mode: int) -> None:
        if fits(self.now, path) and self.now.get(path, ("",))[0] in ("file", "folder"):
            (self.ws / path).chmod(mode)
            self.now[path] = (self.now[path][0], mode, self.now[path][2])

    @rule(path=paths)
    def delete(self, path: str) -> None:
        if path in self.now and fits(self.now, path):
            if self.now[path][0] == "folder":
                empty(str(self.ws / path))
                (self.ws / path).rmdir()
            else:
                (self.ws / path).unlink()
            for gone in below(self.now, path):
                del self.now[gone]

    @rule(path=paths)
    def replace_by_a_folder(self, path: str) -> None:
        self.delete(path)
        self.make_folder(path)

    @rule(target=kept, prior=st.none() | kept)
    def take(self, prior: str | None) -> Any:
        if prior is not None and prior not in self.then:
            return multiple()
        self.count += 1
        name = str(self.count)
        done = self.store.take(name, [str(self.ws)], prior=prior)
        again = self.store.take(name, [str(self.ws)], prior=name)
        self.then[name] = (dict(self.now), self.times(self.now))
        assert again["copied_bytes"] == 0
        assert again["files"] == done["files"] == sum(v[0] == "file" for v in self.now.values())
        return name

    @rule(name=kept)
    def restore(self, name: str) -> None:
        if name in self.then:
            self.store.restore(name, [str(self.ws)])
            again = self.store.restore(name, [str(self.ws)])
            seen, times = self.then[name]
            self.now = dict(seen)
            assert again == {"copied_bytes": 0, "changed": 0}
            assert self.times(self.now) == times
            assert look(self.ws) == seen

    @rule(name=kept)
    def tree(self, name: str) -> None:
        if name in self.then:
            self.store.tree(name, f"{self.folder}/tree")
            assert look(Path(self.folder, "tree", "0")) == self.then[name][0]
            empty(f"{self.folder}/tree")

    @rule(name=consumes(kept))
    def forget(self, name: str) -> None:
        self.store.forget(name)
        self.then.pop(name, None)
        assert sorted(self.store.names) == sorted(self.then)
        if not self.then:
            assert os.listdir(f"{self.folder}/store/blobs") == []

    def times(self, seen: Seen) -> dict[str, int]:
        """When each thing was last written, where that can be asked."""
        return {p: (self.ws / p).lstat().st_mtime_ns for p in seen if p == "." or fits(seen, p)}


@pytest.mark.parametrize("place", ["memory", "disk"], indirect=True)
@everyone
def test_whatever_is_done_to_the_files_a_restore_undoes_it() -> None:
    few = settings(
        max_examples=50,
        stateful_step_count=40,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )

    run_state_machine_as_test(Life, settings=few)


# what is copied


@everyone
def test_only_what_changed_is_copied() -> None:
    store = Store("store")
    for n in range(20):
        (WS / f"{n}").write_bytes(b"x" * 100)
    first = store.take("1", ROOTS)
    (WS / "3").write_bytes(b"y" * 70)

    same = store.take("2", ROOTS, prior="1")
    idle = store.take("3", ROOTS, prior="2")

    assert first == {"copied_bytes": 2000, "files": 20}
    assert same == {"copied_bytes": 70, "files": 20}
    assert idle == {"copied_bytes": 0, "files": 20}
    assert blobs() == 21


@everyone
def test_a_restore_touches_only_what_differs() -> None:
    store = Store("store")
    (WS / "kept").write_bytes(b"kept")
    (WS / "written").write_bytes(b"before")
    store.take("1", ROOTS)
    inode, ctime = (WS / "written").stat().st_ino, (WS / "kept").stat().st_ctime_ns
    (WS / "written").write_bytes(b"after!")

    done = store.restore("1", ROOTS)

    assert done == {"copied_bytes": 6, "changed": 1}
    assert (WS / "written").read_bytes() == b"before"
    assert (WS / "written").stat().st_ino == inode
    assert (WS / "kept").stat().st_ctime_ns == ctime
    assert store.take("2", ROOTS, prior="1")["copied_bytes"] == 0


@everyone
def test_times_are_restored() -> None:
    store = Store("store")
    (WS / "folder").mkdir()
    (WS / "folder/file").write_text("before")
    (WS / "link").symlink_to("folder")
    paths = [WS / "folder/file", WS / "link", WS / "folder", WS]
    for n, path in enumerate(paths):
        os.utime(path, ns=(0, 1_000_000_007 * (n + 1)), follow_symlinks=False)
    store.take("1", ROOTS)
    (WS / "folder/file").write_text("after")
    (WS / "link").unlink()
    (WS / "folder/new").write_text("new")

    store.restore("1", ROOTS)
    store.tree("1", "tree")
    times = [path.lstat().st_mtime_ns for path in paths]
    shown = [(Path("tree/0") / path.relative_to(WS)).lstat().st_mtime_ns for path in paths]

    assert times == shown == [1_000_000_007 * (n + 1) for n in range(4)]


@everyone
def test_a_deletion_is_noticed_even_if_the_folder_s_mtime_is_as_before() -> None:
    store = Store("store")
    (WS / "a").write_text("a")
    (WS / "b").write_text("b")
    old = WS.stat().st_mtime_ns
    store.take("1", ROOTS)
    (WS / "a").unlink()
    os.utime(WS, ns=(old, old))

    store.take("2", ROOTS, prior="1")
    store.tree("2", "tree")

    assert os.listdir("tree/0") == ["b"]


@everyone
def test_a_write_is_noticed_even_if_size_and_mtime_are_as_before() -> None:
    store = Store("store")
    (WS / "a").write_bytes(b"12345")
    old = (WS / "a").stat().st_mtime_ns
    store.take("1", ROOTS)

    (WS / "a").write_bytes(b"54321")
    os.utime(WS / "a", ns=(old, old))
    done = store.take("2", ROOTS, prior="1")

    assert done["copied_bytes"] == 5


@everyone
def test_older_snapshots_can_be_restored_and_later_ones_stay_valid() -> None:
    store = Store("store")
    for n in range(3):
        (WS / "a").write_text(f"content {n}")
        (WS / f"only{n}").mkdir()
        store.take(str(n), ROOTS, prior=str(n - 1) if n else None)
    last = look(WS)

    store.restore("0", ROOTS)
    oldest = look(WS)
    store.restore("2", ROOTS)
    latest = look(WS)
    store.restore("0", ROOTS)

    assert set(oldest) == {".", "a", "only0"}
    assert oldest["a"][2] == b"content 0"
    assert latest == last
    assert look(WS) == oldest


@everyone
def test_several_roots_are_kept_together() -> None:
    store = Store("store")
    Path("home").mkdir()
    (WS / "a").write_text("workspace")
    Path("home/a").write_text("home")
    store.take("1", ["ws", "home"])
    empty("ws")
    empty("home")

    store.restore("1", ["ws", "home"])
    store.tree("1", "tree")

    assert (WS / "a").read_text() == Path("tree/0/a").read_text() == "workspace"
    assert Path("home/a").read_text() == Path("tree/1/a").read_text() == "home"
    with pytest.raises(OSError, match="has 2 roots, not 1"):
        store.restore("1", ["ws"])


@everyone
def test_forgetting_deletes_what_no_other_snapshot_uses() -> None:
    store = Store("store")
    (WS / "shared").write_text("shared")
    (WS / "a").write_text("one")
    store.take("1", ROOTS)
    (WS / "a").write_text("two")
    store.take("2", ROOTS, prior="1")
    store.tree("1", "tree")

    store.forget("1")
    store.forget("1")
    left = blobs()
    store.forget("2")

    assert left == 2
    assert blobs() == 0
    assert store.names == []
    assert Path("tree/0/a").read_text() == "one"


@everyone
def test_what_is_not_there_is_an_os_error() -> None:
    store = Store("store")
    store.take("1", ROOTS)

    for fail in (
        lambda: store.take("2", ROOTS, prior="none"),
        lambda: store.take("2", ROOTS, like="none"),
        lambda: store.take("2", ["ws", "elsewhere"]),
        lambda: store.restore("none", ROOTS),
        lambda: store.tree("none", "tree"),
    ):
        with pytest.raises(OSError, match=r"no snapshot|No such file"):
            fail()

    assert store.names == ["1"]
    assert blobs() == 0


@everyone
def test_a_new_store_deletes_what_an_earlier_one_left() -> None:
    (WS / "a").write_text("a")
    Store("store").take("1", ROOTS)

    store = Store("store")

    assert store.names == []
    assert blobs() == 0


# restoring under a program that lives on


@everyone
def test_a_descriptor_opened_before_is_valid_after_a_restore() -> None:
    store = Store("store")
    (WS / "log").write_bytes(b"before\n")
    with (WS / "log").open("r+b", buffering=0) as file:
        store.take("1", ROOTS)
        file.write(b"lost, and longer than it was\n")

        store.restore("1", ROOTS)
        file.seek(0)
        read = file.read()
        file.write(b"after\n")

    assert read == b"before\n"
    assert (WS / "log").read_bytes() == b"before\nafter\n"


@everyone
def test_a_file_that_replaced_another_is_left_to_whoever_has_it_open() -> None:
    store = Store("store")
    (WS / "a").write_text("before")
    store.take("1", ROOTS)
    (WS / "new").write_text("another")
    (WS / "new").rename(WS / "a")
    with (WS / "a").open() as file:
        store.restore("1", ROOTS)
        read = file.read()

    assert read == "another"
    assert (WS / "a").read_text() == "before"


@everyone
def test_a_private_map_keeps_its_pages_through_a_restore() -> None:
    store = Store("store")
    (WS / "array").write_bytes(b"a" * 8192)
    with (
        (WS / "array").open("r+b") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as m,
    ):
        store.take("1", ROOTS)
        m[0:4] = b"mine"
        file.write(b"lost")
        file.flush()

        store.restore("1", ROOTS)
        mapped = m[0:8]

    assert mapped == b"mineaaaa"
    assert (WS / "array").read_bytes() == b"a" * 8192


@linux
@pytest.mark.parametrize("place", ["disk"], indirect=True)  # /dev/shm may be mounted noexec
@everyone
def test_a_program_that_runs_is_made_anew() -> None:
    store = Store("store")
    shutil.copy("/bin/sleep", WS / "program")
    store.take("1", ROOTS)
    (WS / "program").chmod(0o700)
    running = subprocess.Popen(["ws/program", "60"])
    try:
        store.restore("1", ROOTS)
    finally:
        running.kill()
        running.wait()

    assert stat.S_IMODE((WS / "program").stat().st_mode) == 0o755
    assert (WS / "program").read_bytes() == Path("/bin/sleep").read_bytes()


@everyone
def test_hard_links_come_back_as_separate_files() -> None:
    store = Store("store")
    (WS / "a").write_text("both")
    (WS / "b").hardlink_to(WS / "a")
    store.take("1", ROOTS)
    (WS / "a").write_text("lost")
    (WS / "c").hardlink_to(WS / "a")

    store.restore("1", ROOTS)
    again = store.restore("1", ROOTS)
    (WS / "a").write_text("only a")

    assert again["changed"] == 0
    assert (WS / "b").read_text() == "both"
    assert not (WS / "c").exists()


# trees


@everyone
def test_each_tree_shows_the_modes_and_times_of_its_own_snapshot() -> None:
    store = Store("store")
    (WS / "a").write_text("a")
    (WS / "a").chmod(0o640)
    os.utime(WS / "a", ns=(5, 1_000_000_001))
    store.take("1", ROOTS)
    (WS / "a").chmod(0o555)
    os.utime(WS / "a", ns=(5, 2_000_000_002))
    store.take("2", ROOTS, prior="1")

    store.tree("1", "one")
    store.tree("2", "two")
    one, two = Path("one/0/a").stat(), Path("two/0/a").stat()

    assert (stat.S_IMODE(one.st_mode), one.st_mtime_ns) == (0o640, 1_000_000_001)
    assert (stat.S_IMODE(two.st_mode), two.st_mtime_ns) == (0o555, 2_000_000_002)
    assert one.st_nlink == two.st_nlink == 2


@everyone
def test_a_tree_that_cannot_be_finished_is_removed() -> None:
    store = Store("store")
    store.take("1", ["ws", "ws"])
    Path("tree/1").mkdir(parents=True)

    with pytest.raises(FileExistsError):
        store.tree("1", "tree")

    assert os.listdir("tree") == ["1"]


@everyone
def test_roots_known_to_be_like_a_snapshot_are_not_copied() -> None:
    store = Store("store")
    for name in "abc":
        (WS / name).write_text(name)
    store.take("1", ROOTS)
    shutil.copytree("ws", "copy", copy_function=shutil.copy2)
    Path("copy/b").write_text("changed")

    liked = store.take("2", ["copy"], like="1")
    idle = store.take("3", ["copy"], prior="2")

    assert liked == {"copied_bytes": 7, "files": 3}
    assert idle["copied_bytes"] == 0
    assert blobs() == 4


@root
@linux
def test_a_branch_on_an_overlay_keeps_only_what_it_wrote(tmpfs: Callable[..., Path]) -> None:
    store = Store(f"{tmpfs('store', 'size=9m')}/of")
    for name in "abc":
        (WS / name).write_text(name)
    store.take("1", ROOTS)
    store.tree("1", "store/tree")
    upper = tmpfs("upper", "size=9m")
    (upper / "files").mkdir()
    (upper / "work").mkdir()
    layers = f"userxattr,lowerdir=store/tree/0,upperdir={upper}/files,workdir={upper}/work"
    branch = tmpfs("branch", layers, "overlay")

    liked = store.take("b1", [str(branch)], like="1")
    store.tree("1", "store/another")  # the blobs' ctimes move, and with them what the branch shows
    idle = store.take("b2", [str(branch)], prior="b1")
    (branch / "a").write_text("written")
    (branch / "b").unlink()
    wrote = store.take("b3", [str(branch)], prior="b2")
    back = store.restore("b1", [str(branch)])

    assert liked == idle == {"copied_bytes": 0, "files": 3}
    assert wrote == {"copied_bytes": 7, "files": 2}
    assert back == {"copied_bytes": 2, "changed": 2}
    assert look(branch) == look(WS) == look(Path("store/tree/0"))


# hostile trees


@everyone
def test_what_its_owner_may_not_read_is_kept_and_removed_all_the_same() -> None:
    store = Store("store")
    (WS / "secret").write_text("secret")
    (WS / "folder/inner").mkdir(parents=True)
    (WS / "folder/inner/file").write_text("inside")
    for path, mode in (
        ("secret", 0),
        ("folder/inner/file", 0o200),
        ("folder/inner", 0),
        ("folder", 0o100),
    ):
        (WS / path).chmod(mode)
    store.take("1", ROOTS)
    idle = store.take("2", ROOTS, prior="1")
    kept = look(WS)
    empty("ws")
    (WS / "new/inner").mkdir(parents=True)
    (WS / "new/inner/file").write_text("new")
    for path in ("new/inner/file", "new/inner", "new", "."):
        (WS / path).chmod(0)

    store.restore("1", ROOTS)
    store.tree("1", "tree")

    assert idle["copied_bytes"] == 0
    assert kept["secret"] == ("file", 0, b"secret")
    assert kept["folder/inner/file"] == ("file", 0o200, b"inside")
    assert look(WS) == look(Path("tree/0")) == kept


@root
@linux
def test_a_process_that_nobody_may_trace_can_do_that_too(place: Path) -> None:
    def body() -> None:
        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE, as pid1.py does
        (WS / "secret").write_text("secret")
        (WS / "secret").chmod(0)
        (WS / "folder").mkdir(mode=0)
        done = Store("store").take("1", ROOTS)
        empty("ws")

        assert done["copied_bytes"] == 6
        assert os.listdir("ws") == []

    os.chown(".", NOBODY, NOBODY)
    os.chown(WS, NOBODY, NOBODY)

    become(NOBODY, body)


@everyone
def test_pipes_and_sockets_are_neither_opened_nor_made_again() -> None:
    store = Store("store")
    os.mkfifo(WS / "old")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("ws/socket")
    os.mkfifo(WS / "lost")
    os.mkfifo(WS / "replaced")
    inode = (WS / "old").stat().st_ino
    done = store.take("1", ROOTS)
    os.mkfifo(WS / "new")
    os.mkfifo(WS / "another")
    (WS / "another").rename(WS / "replaced")
    (WS / "lost").unlink()
    (WS / "lost").write_text("a file now")

    store.restore("1", ROOTS)
    store.tree("1", "tree")

    assert done == {"copied_bytes": 0, "files": 0}
    assert sorted(os.listdir("ws")) == ["old", "socket"]
    assert (WS / "old").stat().st_ino == inode
    assert os.listdir("tree/0") == []


@everyone
def test_no_link_leads_out() -> None:
    store = Store("store")
    Path("outside").mkdir()
    Path("outside/precious").write_text("precious")
    (WS / "folder").mkdir()
    (WS / "folder/precious").write_text("mine")
    (WS / "file").write_text("mine")
    (WS / "link").symlink_to("../outside")
    store.take("1", ROOTS)
    kept = look(WS)
    shutil.rmtree(WS / "folder")
    (WS / "folder").symlink_to("../outside")
    (WS / "file").unlink()
    (WS / "file").symlink_to("../outside/precious")
    (WS / "link").unlink()
    (WS / "link").symlink_to("elsewhere")

    done = store.take("2", ROOTS)
    store.restore("1", ROOTS)
    restored = look(WS)
    empty("ws")

    assert done["files"] == 0
    assert restored == kept
    assert os.listdir("ws") == []
    assert Path("outside/precious").read_text() == "precious"


@everyone
def test_a_root_that_became_a_link_is_refused() -> None:
    store = Store("store")
    store.take("1", ROOTS)
    Path("outside").mkdir()
    Path("outside/precious").write_text("precious")
    WS.rmdir()
    WS.symlink_to("outside")

    for fail in (
        lambda: store.take("2", ROOTS),
        lambda: store.restore("1", ROOTS),
        lambda: empty("ws"),
    ):
        with pytest.raises(NotADirectoryError):
            fail()

    assert os.listdir("outside") == ["precious"]
    WS.unlink()


@everyone
def test_a_terabyte_of_hole_is_neither_read_nor_stored() -> None:
    store = Store("store")
    with (WS / "sparse").open("wb") as file:
        file.truncate(1 << 40)
        file.seek(1 << 39)
        file.write(b"middle")
    done = store.take("1", ROOTS)
    with (WS / "sparse").open("r+b") as file:
        file.write(b"lost")
        file.truncate(1 << 30)

    store.restore("1", ROOTS)
    store.tree("1", "tree")

    for path in (WS / "sparse", Path("tree/0/sparse")):
        with path.open("rb") as file:
            start, _, middle = file.read(4), file.seek(1 << 39), file.read(7)
        assert (start, middle) == (b"\0\0\0\0", b"middle\0")
        assert path.stat().st_size == 1 << 40
        assert path.stat().st_blocks < 100
    assert done["copied_bytes"] < 100_000


@everyone
def test_names_may_be_any_bytes() -> None:
    store = Store("store")
    names = [b"\xff\xfe", b"new\nline", "ü".encode("latin-1"), b"*"]
    for name in names:
        Path(os.fsdecode(b"ws/" + name)).write_bytes(name)
    (WS / "link").symlink_to(os.fsdecode(b"\xff\xfe"))
    store.take("1", ROOTS)
    kept = look(WS)
    empty("ws")

    store.restore("1", ROOTS)

    assert look(WS) == kept
    assert set(names) < set(os.listdir(b"ws"))


def dig(folder: str, names: list[str]) -> None:
    """Make folders in folders, beyond the length of a path, and a file in the last."""
    fd = os.open(folder, os.O_RDONLY)
    for name in names:
        os.mkdir(name, dir_fd=fd)
        inner = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(os.open("bottom", os.O_WRONLY | os.O_CREAT, dir_fd=fd))
    os.close(fd)


@everyone
def test_paths_may_be_longer_than_the_system_allows() -> None:
    store = Store("store")
    dig("ws", ["x" * 250] * 20)
    done = store.take("1", ROOTS)
    empty("ws")

    made = store.restore("1", ROOTS)
    store.tree("1", "tree")
    idle = store.take("2", ["tree/0"], like="1")

    assert done["files"] == idle["files"] == 1
    assert made["changed"] == 21


@everyone
def test_two_thousand_folders_in_each_other_are_refused_and_removed() -> None:
    store = Store("store")
    dig("ws", ["d"] * DEPTH)
    full = store.take("1", ROOTS)
    dig("ws", ["e"] * 2000)

    with pytest.raises(OSError, match="nested") as refused:
        store.take("2", ROOTS, prior="1")
    done = store.restore("1", ROOTS)
    dig("ws", ["e"] * 2000)
    empty("ws")

    assert full["files"] == 1
    assert refused.value.errno == errno.ELOOP
    assert done["changed"] == 1
    assert os.listdir("ws") == []
    assert store.names == ["1"]


@everyone
def test_folders_that_are_deep_and_locked_are_removed() -> None:
    fd = os.open("ws", os.O_RDONLY)
    opened = [fd]
    for _ in range(3 * DEPTH):
        os.mkdir("d", dir_fd=opened[-1])
        opened.append(os.open("d", os.O_RDONLY, dir_fd=opened[-1]))
    for fd in reversed(opened):
        os.fchmod(fd, 0)
        os.close(fd)

    empty("ws")

    assert stat.S_IMODE(WS.stat().st_mode) == 0
    WS.chmod(0o700)
    assert os.listdir("ws") == []


@everyone
def test_a_program_that_writes_meanwhile_cannot_make_it_fail() -> None:
    store = Store("store")
    (WS / "steady").write_text("steady")

    def disturb() -> None:
        for n in itertools.count():
            one, other = WS / f"{n % 17}", WS / f"{n % 7}"
            with contextlib.suppress(OSError):
                match n % 11:
                    case 0 | 1 | 2:
                        (WS / "made").write_bytes(b"x" * (n % 999))
                        (WS / "made").rename(one)
                    case 3:
                        one.rename(other)
                    case 4:
                        one.mkdir()
                    case 5:
                        (one / "inside").mkdir(mode=0o100)
                    case 6:
                        os.mkfifo(one)
                    case 7:
                        one.symlink_to("steady")
                    case 8:
                        empty(str(one))
                    case 9:
                        one.rmdir()
                    case _:
                        one.unlink()

    program = os.fork()
    if program == 0:
        try:
            disturb()
        finally:
            os._exit(1)
    try:
        for n in range(150):
            store.take(f"{n}", ROOTS, prior=f"{n - 1}" if n else None)
    finally:
        os.kill(program, signal.SIGKILL)
        os.waitpid(program, 0)
    store.take("last", ROOTS, prior="149")
    kept = look(WS)
    empty("ws")

    store.restore("last", ROOTS)

    assert {p: v for p, v in kept.items() if v[0] != "other"} == look(WS)


# room


@root
@linux
@pytest.mark.parametrize("options", ["size=1m", "size=9m,nr_inodes=20"])
def test_what_does_not_fit_leaves_the_store_as_it_was(
    options: str, tmpfs: Callable[..., Path]
) -> None:
    folder = tmpfs("store", options)
    store = Store("store")
    for n in range(10):
        (WS / f"{n}").write_bytes(b"x" * 50_000)
    store.take("1", ROOTS)
    kept, before = look(WS), os.statvfs(folder)
    for n in range(10, 40):
        (WS / f"{n}").write_bytes(b"x" * 50_000)

    with pytest.raises(OSError, match=r"'\d+' \(50000 bytes\) could not be kept: No space") as full:
        store.take("2", ROOTS, prior="1")
    after = os.statvfs(folder)
    store.restore("1", ROOTS)

    assert full.value.errno == errno.ENOSPC
    assert store.names == ["1"]
    assert (after.f_bfree, after.f_ffree) == (before.f_bfree, before.f_ffree)
    assert look(WS) == kept


@root
@linux
def test_a_restore_finds_room_on_a_full_disk(tmpfs: Callable[..., Path]) -> None:
    files = tmpfs("ws", "size=1m")
    store = Store("store")
    (files / "a").write_bytes(b"a" * 400_000)
    (files / "b").write_bytes(b"b" * 400_000)
    store.take("1", ROOTS)
    kept = look(files)

    for gone, grown in ("ab", "ba"):
        (files / gone).unlink()
        (files / grown).write_bytes(b"c" * 900_000)
        store.restore("1", ROOTS)

        assert look(files) == kept


# mounts and the program that imports it


@root
@linux
def test_a_file_system_mounted_inside_is_left_alone(tmpfs: Callable[..., Path]) -> None:
    store = Store("store")
    (WS / "a").write_text("a")
    mounted = tmpfs("ws/mounted", "size=1m")
    (mounted / "data").write_text("data")
    done = store.take("1", ROOTS)
    (mounted / "data").write_text("written")

    store.restore("1", ROOTS)
    with pytest.raises(OSError, match="busy"):
        empty("ws")

    assert done == {"copied_bytes": 1, "files": 1}
    assert (mounted / "data").read_text() == "written"


@linux
@everyone
def test_roots_may_be_given_through_a_process() -> None:
    store = Store("store")
    (WS / "a").write_text("a")
    path = f"/proc/{os.getpid()}/cwd/ws"

    done = store.take("1", [path])
    (WS / "a").write_text("b")
    store.restore("1", [path])

    assert done["files"] == 1
    assert (WS / "a").read_text() == "a"


def test_the_guest_package_imports_little_else() -> None:
    folder = Path(snapshots.__file__).parents[1]
    heavy = ["kernel_env", "site", "pathlib", "shutil", "dataclasses", "tempfile", "threading"]
    program = f"import sys; sys.path[:0] = [{str(folder)!r}]; from guest import snapshots; "
    program += f"print([name for name in {heavy} if name in sys.modules])"

    argv = [sys.executable, "-I", "-S", "-c", program]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


def test_a_file_that_is_mapped_to_be_written_never_counts_as_unchanged(place: Path) -> None:
    store, path, names = Store("store"), Path("ws/mapped"), frozenset(["mapped"])
    path.write_bytes(b"0" * 8192)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[0] = ord("1")
        store.take("a", ["ws"], mapped=names)
        memory[1] = ord("2")  # the page is writable already: nothing is noted
        store.take("b", ["ws"], prior="a", mapped=names)
        memory[2] = ord("3")

        store.restore("b", ["ws"])
        later = path.read_bytes()[:4]
        store.restore("a", ["ws"])
        earlier = path.read_bytes()[:4]

        assert (later, earlier) == (b"1200", b"1000")
