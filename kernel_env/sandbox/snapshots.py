"""Snapshots of an agent's folders, taken after each cell and put back when a cell goes wrong.

Runs inside the box, imported by `pid1.py` under `python -I -S`: the standard
library only, and of that little. Everything goes by descriptors and single
names, never by paths, so that no link leads out and no path is too long.

A snapshot is a tree of values in memory, one `Folder` per root. A `File` in it
has a key — mode, size, mtime, ctime, inode — and the name of a blob, a copy of
the content in the store. ctime cannot be set, so a file whose key is the one
recorded before was not written since: it is not read, the blob is shared, and
a folder in which nothing changed shares its whole value. A blob is never
written after it was made and carries its file's mode and mtime, so a hard link
to it *is* that file; a mere `chmod` or `touch` makes a new blob.

    after a cell     store.take("n8", roots, prior="n7")
    it broke         store.restore("n7", roots)     until then no process may write
    a branch         store.tree("n7", folder); mount folder/0 … as lower layers;
                     store.take("b1", roots, like="n7")

Every failure is an `OSError`. A failed `take` leaves the store as it was; a
failed `restore` leaves the roots half restored and can be tried again.

What is not covered:
- Owners (everything belongs to the caller), xattrs, ACLs, atimes.
- Hard links between files of the agent come back as separate files.
- Devices, fifos, sockets, mounts of other file systems and files of other
  users that may not be read: they are remembered so that `restore` keeps them,
  but neither kept nor made again.
- Writes through a shared memory map to a page that was already written through
  it: the system does not note them in the key (tmpfs never, ext4 until the page
  is flushed). `take` must be told the names of files that are so mapped: their key
  then never matches. Those mapped by programs it is not told of go unseen.
- A program that writes during `take`: its files are kept as they were read.
- File systems whose timestamps are coarser than the clock's tick.
- Two calls at once, and two stores on one folder.
"""

import errno
import itertools
import os
import stat
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

DEPTH = 200
"""Folders nested deeper are refused by `take`; as many descriptors may be open at a time,
twice as many in `restore`."""
CLOCK_REALTIME_COARSE = 5
"""The clock of timestamps on Linux: it ticks every 1 to 10 ms."""
UNKNOWN = -1
"""In place of a ctime that says nothing."""
CHUNK = 1 << 18
GONE = {errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.EINVAL}
"""A name that is no longer what it was when its folder was listed."""

Key = tuple[int, int, int, int, int]
"""mode, size, mtime in ns, ctime in ns, inode"""


class File(NamedTuple):
    """A regular file and the name of the blob with its content."""

    key: Key
    blob: str


class Link(NamedTuple):
    """A symbolic link."""

    key: Key
    target: str


class Other(NamedTuple):
    """Something that is left alone."""

    key: Key


class Folder(NamedTuple):
    """A folder; of its key only mode and mtime are used."""

    key: Key
    entries: "dict[str, File | Link | Other | Folder]"


Node = File | Link | Other | Folder
NOTHING = Folder((0, 0, 0, 0, 0), {})


class Work:
    """What one call has done so far; `like` and `mapped` are what `take` was told."""

    def __init__(self, *, like: bool = False, mapped: frozenset[str] = frozenset()) -> None:
        self.like, self.mapped = like, mapped
        self.copied = self.changed = self.newest = 0
        self.made: list[str] = []


class Opened:
    """A folder held open, whose owner has the rights `need` in it meanwhile.

    Leaving sets `mode`, which is what the folder had unless somebody assigns it.
    """

    def __init__(self, name: str, parent: int | None = None, need: int = 0o700) -> None:
        self.fd = open_own(name, os.O_RDONLY | os.O_DIRECTORY, parent)
        self.stat = os.fstat(self.fd)
        self.mode = self._current = stat.S_IMODE(self.stat.st_mode)
        self._need = need

    def __enter__(self) -> "Opened":
        self._set(self.mode | self._need)
        return self

    def __exit__(self, *_: object) -> None:
        self._set(self.mode)
        os.close(self.fd)

    def _set(self, mode: int) -> None:
        if mode != self._current:
            try:
                os.fchmod(self.fd, mode)
                self._current = mode
            except OSError:
                pass  # another user's, like /tmp: whatever needs the right will say so

    def list(self) -> list[tuple[str, os.stat_result]]:
        """Every name in it and what it stands for."""
        with os.scandir(self.fd) as found:
            return [(entry.name, entry.stat(follow_symlinks=False)) for entry in found]


class Store:
    """Snapshots by name, and their blobs in a folder that only the store writes.

    The folder is made if it is missing; blobs that an earlier store left in it are deleted.
    How much fits is up to the file system it is on.
    """

    def __init__(self, folder: str) -> None:
        self._folder = os.path.join(folder, "blobs")
        os.makedirs(self._folder, 0o700, exist_ok=True)
        empty(self._folder)
        self._blobs = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        self._numbers = itertools.count()
        self._uses: dict[str, int] = {}
        self._snapshots: dict[str, list[Folder]] = {}

    @property
    def names(self) -> list[str]:
        """The snapshots there are, in the order in which they were taken."""
        return list(self._snapshots)

    def take(
        self,
        name: str,
        roots: list[str],
        prior: str | None = None,
        like: str | None = None,
        mapped: frozenset[str] = frozenset(),
    ) -> dict[str, int]:
        """Keep what is in the roots as `name`, in place of an older snapshot of that name.

        `prior` names the snapshot to compare with: what did not change since is not copied.
        With `like` the roots are known to hold what that snapshot holds, on other inodes
        (an overlay was just mounted on its tree): what agrees in kind, mode, size and mtime
        is not copied. `mapped` are names, without folders, of files that some program has mapped
        to write to: they count as changed, now and later. Returns `copied_bytes`, and `files`,
        the regular files in the snapshot.
        """
        self._be_there()
        base = prior if like is None else like
        before = [NOTHING] * len(roots) if base is None else self._find(base, len(roots))
        work, taken, files = Work(like=like is not None, mapped=mapped), [], 0
        try:
            for root, was in zip(roots, before, strict=True):
                with Opened(root, need=0o500) as folder:
                    taken.append(self._scan(folder, was, 0, work))
        except BaseException:
            for blob in work.made:
                os.unlink(blob, dir_fd=self._blobs)
            raise
        for blob in blobs(taken):
            self._uses[blob] = self._uses.get(blob, 0) + 1
            files += 1
        self.forget(name)
        self._snapshots[name] = taken
        settle(work.newest)
        return {"copied_bytes": work.copied, "files": files}

    def restore(self, name: str, roots: list[str]) -> dict[str, int]:
        """Make the roots equal to a snapshot, touching only what differs by its key.

        A file whose inode is still the recorded one is rewritten in place, so descriptors
        open on it stay valid; one with further hard links is made anew, as is one that runs.
        Room is made first, so a full disk does not stop it. Returns `copied_bytes`, and
        `changed`, how many names were removed, made, rewritten or given another mode.
        """
        wanted, restored, work = self._find(name, len(roots)), [], Work()
        for root, want in zip(roots, wanted, strict=True):
            with Opened(root) as folder:
                self._prune(folder, want, work)
        for root, want in zip(roots, wanted, strict=True):
            with Opened(root) as folder:
                restored.append(self._fill(folder, want, work))
        self._snapshots[name] = restored
        settle(work.newest)
        return {"copied_bytes": work.copied, "changed": work.changed}

    def tree(self, name: str, folder: str) -> None:
        """Lay a snapshot out as `folder`/0, `folder`/1, …, one per root, of hard links to blobs.

        To be read only: whoever writes there changes the snapshot. What its owner may not
        read is copied instead of linked (blobs are always readable), as is a file with too
        many links or a folder on another file system.
        """
        roots = self._find(name)
        os.makedirs(folder, 0o700, exist_ok=True)
        with Opened(folder) as top:
            made: list[str] = []
            try:
                for number, root in enumerate(roots):
                    os.mkdir(str(number), 0o700, dir_fd=top.fd)
                    made.append(str(number))
                    with Opened(str(number), top.fd) as place:
                        self._plant(place, root)
            except BaseException:
                for place_made in made:
                    remove_folder(place_made, top)
                raise

    def forget(self, name: str) -> None:
        """Drop a snapshot and the blobs that no other one uses; trees keep their own links."""
        for blob in blobs(self._snapshots.pop(name, [])):
            self._uses[blob] -= 1
            if not self._uses[blob]:
                del self._uses[blob]
                try:
                    os.unlink(blob, dir_fd=self._blobs)
                except FileNotFoundError:
                    pass  # the agent's code deleted it

    def _be_there(self) -> None:
        """Make the folder again if the agent's code deleted it: what was in it is lost."""
        if not os.fstat(self._blobs).st_nlink:
            os.makedirs(self._folder, 0o700, exist_ok=True)
            os.close(self._blobs)
            self._blobs = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)

    def _find(self, name: str, roots: int | None = None) -> list[Folder]:
        if name not in self._snapshots:
            raise OSError(errno.ENOENT, f"there is no snapshot {name!r}")
        found = self._snapshots[name]
        if roots is not None and len(found) != roots:
            raise OSError(errno.EINVAL, f"snapshot {name!r} has {len(found)} roots, not {roots}")
        return found

    def _scan(self, folder: Opened, was: Folder, depth: int, work: Work) -> Folder:
        """The value of a folder; where nothing changed, the very value it had."""
        if depth > DEPTH:
            raise OSError(errno.ELOOP, f"folders are nested more than {DEPTH} deep")
        entries: dict[str, Node] = {}
        same = True
        with os.scandir(folder.fd) as found:
            for entry in found:
                name = entry.name
                try:
                    s = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                ctime = UNKNOWN if name in work.mapped else s.st_ctime_ns
                key = (s.st_mode, s.st_size, s.st_mtime_ns, ctime, s.st_ino)
                node = before = was.entries.get(name)
                if stat.S_ISDIR(s.st_mode):
                    node = self._descend(folder, name, key, before, depth + 1, work)
                elif before is None or before.key != key or ctime == UNKNOWN:
                    node = self._keep(folder.fd, name, key, before, work)
                if node is not None:
                    entries[name] = node
                same = same and node is before
        key = folder_key(folder.stat)
        if same and key == was.key and len(entries) == len(was.entries):
            return was
        return Folder(key, entries)

    def _descend(
        self, parent: Opened, name: str, key: Key, before: Node | None, depth: int, work: Work
    ) -> Node | None:
        """A folder in a folder; None if it is gone by now."""
        try:
            folder = Opened(name, parent.fd, need=0o500)
        except OSError as error:
            return missing(error, key)
        with folder:
            if folder.stat.st_dev != parent.stat.st_dev:
                return Other(key)
            was = before if isinstance(before, Folder) else NOTHING
            return self._scan(folder, was, depth, work)

    def _keep(
        self, fd: int, name: str, key: Key, before: Node | None, work: Work
    ) -> File | Link | Other | None:
        """Something new or changed that is no folder; None if it is gone by now."""
        work.newest = max(work.newest, key[3])
        alike = isinstance(before, File) and key[:3] == before.key[:3]
        if isinstance(before, File) and alike and (work.like or self._is_blob(key, before)):
            return File(key, before.blob)
        try:
            if stat.S_ISLNK(key[0]):
                return Link(key, os.readlink(name, dir_fd=fd))
            if not stat.S_ISREG(key[0]):
                return Other(key)
            source = open_own(name, os.O_RDONLY, fd)
        except OSError as error:
            return missing(error, key)
        try:
            s = os.fstat(source)
            if not stat.S_ISREG(s.st_mode):
                return None
            if key[3] != UNKNOWN:
                return self._copy(source, s, work)
            if isinstance(before, File) and alike and self._holds(source, s, before.blob):
                return File(key, before.blob)
            return self._copy(source, s, work)._replace(key=key)
        except OSError as error:
            what = f"{name[-100:]!r} ({key[1]} bytes) could not be kept: {error.strerror}"
            raise OSError(error.errno, what) from error
        finally:
            os.close(source)

    def _copy(self, source: int, s: os.stat_result, work: Work) -> File:
        """Make a blob of an open file. The key is from before: what is written later differs."""
        blob = str(next(self._numbers))
        target = os.open(blob, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=self._blobs)
        work.made.append(blob)
        work.newest = max(work.newest, s.st_ctime_ns)
        try:
            work.copied += copy(source, target, s)
            os.fchmod(target, stat.S_IMODE(s.st_mode) | 0o400)
            os.utime(target, ns=(s.st_mtime_ns, s.st_mtime_ns))
        finally:
            os.close(target)
        return File(key_of(s), blob)

    def _holds(self, source: int, s: os.stat_result, blob: str) -> bool:
        """Whether an open file has the content of a blob; one with holes is not looked through."""
        if s.st_blocks * 512 < s.st_size:
            return False
        kept = open_own(blob, os.O_RDONLY, self._blobs)
        try:
            at = 0
            while data := os.pread(source, CHUNK, at):
                if data != os.pread(kept, CHUNK, at):
                    return False
                at += len(data)
            return not os.pread(kept, 1, at)
        finally:
            os.close(kept)

    def _is_blob(self, key: Key, file: File) -> bool:
        """Whether this is the blob itself, seen through an overlay: a link more moves its ctime."""
        return key == key_of(os.stat(file.blob, dir_fd=self._blobs, follow_symlinks=False))

    def _unchanged(self, key: Key, file: File) -> bool:
        return key == file.key or (key[:3] == file.key[:3] and self._is_blob(key, file))

    # restore, in two passes

    def _prune(self, folder: Opened, want: Folder, work: Work) -> None:
        """Remove what the snapshot lacks or has as something else; cut files that have grown."""
        for name, s in folder.list():
            node, key = want.entries.get(name), key_of(s)
            alike = node is not None and stat.S_IFMT(node.key[0]) == stat.S_IFMT(s.st_mode)
            same_inode = node is not None and node.key[4] == s.st_ino
            match node:
                case Folder() if alike:
                    with Opened(name, folder.fd) as child:
                        if child.stat.st_dev != folder.stat.st_dev:
                            raise OSError(errno.EBUSY, f"something is mounted on {name[-100:]!r}")
                        self._prune(child, node, work)
                case File() if alike and self._unchanged(key, node):
                    pass
                case File() if alike and same_inode and s.st_nlink == 1:
                    if s.st_size > node.key[1] and (fd := writable(name, folder.fd)) is not None:
                        os.ftruncate(fd, node.key[1])
                        os.close(fd)
                case Link() if key == node.key:
                    pass
                case Other() if alike and same_inode:
                    pass
                case _:
                    work.changed += node is None or isinstance(node, Other)
                    if stat.S_ISDIR(s.st_mode):
                        remove_folder(name, folder)
                    else:
                        os.unlink(name, dir_fd=folder.fd)

    def _fill(self, folder: Opened, want: Folder, work: Work) -> Folder:
        """Make and rewrite what differs; the same value with keys that are true from now on."""
        present = dict(folder.list())
        entries: dict[str, Node] = {}
        for name, node in want.entries.items():
            match node:
                case Folder():
                    if made := name not in present:
                        os.mkdir(name, 0o700, dir_fd=folder.fd)
                    with Opened(name, folder.fd) as child:
                        work.changed += made or child.mode != stat.S_IMODE(node.key[0])
                        entries[name] = self._fill(child, node, work)
                case File():
                    entries[name] = self._rewrite(node, name, folder.fd, present.get(name), work)
                case Link() if name not in present:
                    work.changed += 1
                    make_link(node, name, folder.fd)
                    s = os.stat(name, dir_fd=folder.fd, follow_symlinks=False)
                    work.newest = max(work.newest, s.st_ctime_ns)
                    entries[name] = Link(key_of(s), node.target)
                case _:
                    entries[name] = node
        finish(folder, want)
        same = all(node is want.entries[name] for name, node in entries.items())
        return want if same else Folder(want.key, entries)

    def _rewrite(
        self, file: File, name: str, fd: int, s: os.stat_result | None, work: Work
    ) -> File:
        """Give a file its content, mode and mtime again, unless it has them."""
        if s is not None and self._unchanged(key_of(s), file):
            return file if key_of(s) == file.key else File(key_of(s), file.blob)
        target = None if s is None else writable(name, fd)  # `_prune` left it to be rewritten
        if s is not None and target is None:
            os.unlink(name, dir_fd=fd)
        work.changed += 1
        key = self._write(file, name, fd, target, work)
        work.newest = max(work.newest, key[3])
        return File(key, file.blob)

    def _write(self, file: File, name: str, fd: int, target: int | None, work: Work) -> Key:
        """Copy a blob to a new file, or to the one that is open as `target`."""
        source = open_own(file.blob, os.O_RDONLY, self._blobs)
        try:
            if target is None:
                target = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=fd)
            work.copied += copy(source, target, os.fstat(source))
            os.fchmod(target, stat.S_IMODE(file.key[0]))
            os.utime(target, ns=(file.key[2], file.key[2]))
            return key_of(os.fstat(target))
        finally:
            os.close(source)
            if target is not None:
                os.close(target)

    # tree

    def _plant(self, folder: Opened, want: Folder) -> None:
        for name, node in want.entries.items():
            match node:
                case Folder():
                    os.mkdir(name, 0o700, dir_fd=folder.fd)
                    with Opened(name, folder.fd) as child:
                        self._plant(child, node)
                case File():
                    self._link(node, name, folder.fd)
                case Link():
                    make_link(node, name, folder.fd)
        finish(folder, want)

    def _link(self, file: File, name: str, fd: int) -> None:
        if file.key[0] & 0o400:
            try:
                os.link(file.blob, name, src_dir_fd=self._blobs, dst_dir_fd=fd)
                return
            except OSError as error:
                if error.errno not in (errno.EMLINK, errno.EXDEV):
                    raise
        self._write(file, name, fd, None, Work())


def empty(folder: str) -> None:
    """Delete what is in a folder, whatever it is and however deep, and keep the folder.

    Raises `OSError` for what cannot be deleted, such as a mount; nothing in one is touched.
    """
    with Opened(folder) as top:
        clear(top)


def clear(top: Opened) -> None:
    """Empty an open folder."""
    while clear_below(top, top, 0):
        pass


def clear_below(folder: Opened, top: Opened, depth: int) -> bool:
    """Empty a folder; what lies too deep is moved to the top, for another round (then True)."""
    moved = False
    for name, s in folder.list():
        if not stat.S_ISDIR(s.st_mode):
            os.unlink(name, dir_fd=folder.fd)
            continue
        with Opened(name, folder.fd) as child:
            if depth == DEPTH:
                os.rename(name, os.urandom(16).hex(), src_dir_fd=folder.fd, dst_dir_fd=top.fd)
                moved = True
                continue
            if child.stat.st_dev == top.stat.st_dev:
                moved |= clear_below(child, top, depth + 1)
        os.rmdir(name, dir_fd=folder.fd)
    return moved


def remove_folder(name: str, parent: Opened) -> None:
    """Delete a folder and all that is in it, unless it is another file system's."""
    with Opened(name, parent.fd) as folder:
        if folder.stat.st_dev == parent.stat.st_dev:
            clear(folder)
    os.rmdir(name, dir_fd=parent.fd)


def open_own(name: str, flags: int, parent: int | None = None) -> int:
    """Open a file or folder, never through a link and without waiting for a pipe's other end.

    What its owner forbade himself is allowed for this moment. It is held by a descriptor
    meanwhile, so that the mode of nothing else is changed (outside Linux: by its name).
    """
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return os.open(name, flags, dir_fd=parent)
    except PermissionError:
        if sys.platform != "linux":
            os.chmod(name, 0o700, dir_fd=parent, follow_symlinks=False)
            return os.open(name, flags, dir_fd=parent)
        held = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=parent)
        try:
            mode, path = os.fstat(held).st_mode, f"/proc/self/fd/{held}"
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise
            os.chmod(path, stat.S_IMODE(mode) | 0o700)
            try:
                return os.open(path, flags & ~os.O_NOFOLLOW)
            finally:
                os.chmod(path, stat.S_IMODE(mode))
        finally:
            os.close(held)


def writable(name: str, fd: int) -> int | None:
    """A file opened for writing; None if it is a program that runs."""
    try:
        return open_own(name, os.O_WRONLY, fd)
    except OSError as error:
        if error.errno != errno.ETXTBSY:
            raise
        return None


def copy(source: int, target: int, s: os.stat_result) -> int:
    """Give `target` the content of `source`, whose stat is `s`; the number of bytes copied.

    Holes stay holes. A target without any is overwritten rather than first cut to nothing:
    a cut would take private pages from programs that have it mapped.
    """
    if s.st_blocks * 512 < s.st_size:
        os.ftruncate(target, 0)
    os.ftruncate(target, s.st_size)
    copied = end = 0
    while end < s.st_size:
        try:
            at = os.lseek(source, end, os.SEEK_DATA)
            end = min(os.lseek(source, at, os.SEEK_HOLE), s.st_size)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole from here on
                break
            at, end = end, s.st_size  # a file system that does not tell
        while at < end:
            if not (moved := copy_some(source, target, at, end - at)):
                return copied  # it was cut meanwhile
            at, copied = at + moved, copied + moved
    return copied


def copy_some(source: int, target: int, at: int, count: int) -> int:
    """Copy some bytes at one offset, in the kernel where it can; 0 at the end of the source."""
    try:
        os.lseek(target, at, os.SEEK_SET)
        return os.sendfile(target, source, at, count)
    except OSError:  # cannot or has no room: plain copying can, or says which
        return os.pwrite(target, os.pread(source, min(count, CHUNK), at), at)


def key_of(s: os.stat_result) -> Key:
    """What tells whether a file was written."""
    return (s.st_mode, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino)


def folder_key(s: os.stat_result) -> Key:
    """What a snapshot has to know of a folder itself."""
    return (s.st_mode, 0, s.st_mtime_ns, 0, 0)


def missing(error: OSError, key: Key) -> Other | None:
    """What to record in place of something that could not be opened: it is gone or not ours."""
    if error.errno in GONE:
        return None
    if isinstance(error, PermissionError):
        return Other(key)
    raise error


def make_link(link: Link, name: str, fd: int) -> None:
    """Make a symbolic link with its mtime."""
    os.symlink(link.target, name, dir_fd=fd)
    os.utime(name, ns=(link.key[2], link.key[2]), dir_fd=fd, follow_symlinks=False)


def finish(folder: Opened, want: Folder) -> None:
    """Give a folder its mode and, now that nothing more is made in it, its mtime."""
    folder.mode = stat.S_IMODE(want.key[0])
    if os.fstat(folder.fd).st_mtime_ns != want.key[2]:
        try:
            os.utime(folder.fd, ns=(want.key[2], want.key[2]))
        except PermissionError:
            pass  # another user's, like /tmp


def blobs(roots: list[Folder]) -> Iterator[str]:
    """The blobs that a snapshot uses."""
    todo = list(roots)
    while todo:
        for node in todo.pop().entries.values():
            if isinstance(node, File):
                yield node.blob
            elif isinstance(node, Folder):
                todo.append(node)


def settle(newest: int) -> None:
    """Wait for the tick after `newest`, so that whatever is written from now on has another ctime.

    At most for two of the longest ticks: a clock that was set back is not waited for.
    """
    if sys.platform == "linux":
        for _ in range(20):
            if time.clock_gettime_ns(CLOCK_REALTIME_COARSE) > newest:
                return
            time.sleep(0.001)
