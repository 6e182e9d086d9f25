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

from .file_tree import (
    CHUNK,
    DEPTH,
    NOTHING,
    UNKNOWN,
    File,
    Folder,
    Key,
    Link,
    Opened,
    Other,
    blobs,
    copy,
    empty,
    finish,
    folder_key,
    key_of,
    make_link,
    missing,
    open_own,
    remove_folder,
    settle,
    writable,
)

Node = File | Link | Other | Folder


class Work:
    """What one call has done so far; `like` and `mapped` are what `take` was told."""

    def __init__(self, *, like: bool = False, mapped: frozenset[str] = frozenset()) -> None:
        self.like, self.mapped = like, mapped
        self.copied = self.changed = self.newest = 0
        self.made: list[str] = []


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
