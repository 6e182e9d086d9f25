"""Take snapshots of the agent's folders after each cell, and restore them when a cell fails.

Runs inside the container, as part of the init process, under `python -I -S`: it imports little of
the standard library and nothing else. All access goes through file descriptors and single names,
never through paths, so that no link leads outside and no path is too long.

A snapshot is a tree of values in memory, one `Folder` per root. A `File` in it has a key (mode,
size, mtime, ctime, inode) and the name of a blob, a copy of the content in the store. No program
can set the ctime, so a file whose key equals the recorded one was not written since: it is not
read, the blob is shared, and a folder in which nothing changed shares its whole value. A blob is
never written after it was created and carries its file's mode and mtime, so a hard link to it can
replace the file; a mere `chmod` or `touch` creates a new blob.

    after a cell     store.take("n8", roots, prior="n7")
    the cell failed  store.restore("n7", roots)     until then no process must write
    a fork           store.create_lower("n7", folder); mount folder/0 ... as lower layers;
                     store.take("b1", roots, same_as="n7")

Every failure is an `OSError`. A failed `take` leaves the store as it was; after a failed `restore`
the roots are partly restored, and it can be tried again.

Not covered:
- Owners (everything belongs to the caller), extended attributes, ACLs, atimes.
- Hard links between files of the agent are restored as separate files.
- Devices, FIFOs, sockets, mounts of other file systems and unreadable files of other users: they
  are recorded so that `restore` keeps them, but neither stored nor created again.
- Writes through a shared memory mapping to a page that was already written through it: the file
  system does not record them in the key (tmpfs never, ext4 until the page is flushed). `take`
  needs the names of files that are mapped like this: their keys then never match. Mappings
  of other programs go unnoticed.
- A program that writes during `take`: its files are stored as they were read.
- File systems whose timestamps are coarser than the clock's tick.
- Two calls at once, and two stores on one folder.
"""

import errno
import itertools
import os
import stat

from .file_tree import (
    CHUNK_BYTES,
    EMPTY_FOLDER,
    MAX_DEPTH,
    UNKNOWN_CTIME,
    File,
    Folder,
    Key,
    Link,
    OpenFolder,
    Other,
    blobs_of,
    copy_content,
    create_link,
    empty_folder,
    entry_for_open_error,
    folder_key,
    key_of,
    open_as_owner,
    open_for_writing,
    remove_folder,
    set_mode_and_mtime,
    wait_for_clock_tick,
)

Node = File | Link | Other | Folder


class Operation:
    """The arguments, counters and new blobs of one call."""

    def __init__(self, *, same_as: bool = False, mapped: frozenset[str] = frozenset()) -> None:
        self.same_as, self.mapped = same_as, mapped
        self.copied_bytes = self.changed_names = self.newest_ctime = 0
        self.new_blobs: list[str] = []


class SnapshotStore:
    """Snapshots by name, with their blobs in a folder that only the store writes.

    The folder is created if it is missing; blobs that an earlier store left in it are deleted. The
    file system of the folder limits how much fits.
    """

    def __init__(self, folder: str) -> None:
        self._folder = os.path.join(folder, "blobs")
        os.makedirs(self._folder, 0o700, exist_ok=True)
        empty_folder(self._folder)
        self._blobs = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        self._numbers = itertools.count()
        self._uses: dict[str, int] = {}
        self._snapshots: dict[str, list[Folder]] = {}

    @property
    def names(self) -> list[str]:
        """Return the names of the snapshots, oldest first."""
        return list(self._snapshots)

    def take(
        self,
        name: str,
        roots: list[str],
        prior: str | None = None,
        same_as: str | None = None,
        mapped: frozenset[str] = frozenset(),
    ) -> dict[str, int]:
        """Record the content of the roots as snapshot `name`; replaces a snapshot of that name.

        Args:
            name: the name of the new snapshot.
            roots: the paths of the folders.
            prior: the snapshot to compare with; unchanged files are not copied.
            same_as: a snapshot whose content the roots are known to have on other inodes, because
                an overlay was just mounted on its tree. Files that agree in type, mode, size and
                mtime are not copied.
            mapped: names, without folders, of files that a program has mapped for writing. They
                count as changed, now and later.

        Returns `copied_bytes`, and `files`, the number of regular files in the snapshot.
        """
        self._ensure_folder()
        base = prior if same_as is None else same_as
        before = [EMPTY_FOLDER] * len(roots) if base is None else self._roots_of(base, len(roots))
        operation, taken, files = Operation(same_as=same_as is not None, mapped=mapped), [], 0
        try:
            for root, previous in zip(roots, before, strict=True):
                with OpenFolder(root, need=0o500) as folder:
                    taken.append(self._scan(folder, previous, 0, operation))
        except BaseException:
            for blob in operation.new_blobs:
                os.unlink(blob, dir_fd=self._blobs)
            raise
        for blob in blobs_of(taken):
            self._uses[blob] = self._uses.get(blob, 0) + 1
            files += 1
        self.delete(name)
        self._snapshots[name] = taken
        wait_for_clock_tick(operation.newest_ctime)
        return {"copied_bytes": operation.copied_bytes, "files": files}

    def restore(self, name: str, roots: list[str]) -> dict[str, int]:
        """Make the roots equal to a snapshot; only what differs by its key is touched.

        A file that still has the recorded inode is rewritten in place, so open descriptors stay
        valid. A file with more hard links is created anew, as is a running program. Files are
        deleted first, so a full disk does not prevent it.

        Returns `copied_bytes`, and `changed`: how many names were deleted, created, rewritten or
        given another mode.
        """
        wanted_roots, restored, operation = self._roots_of(name, len(roots)), [], Operation()
        for root, wanted in zip(roots, wanted_roots, strict=True):
            with OpenFolder(root) as folder:
                self._prune(folder, wanted, operation)
        for root, wanted in zip(roots, wanted_roots, strict=True):
            with OpenFolder(root) as folder:
                restored.append(self._fill(folder, wanted, operation))
        self._snapshots[name] = restored
        wait_for_clock_tick(operation.newest_ctime)
        return {"copied_bytes": operation.copied_bytes, "changed": operation.changed_names}

    def create_lower(self, name: str, folder: str) -> None:
        """Create the folders `folder`/0, `folder`/1, one per root, as hard links to the blobs.

        They serve as lower layers of overlays and must not be written: that would change the
        snapshot. A file that its owner cannot read is copied instead of linked (blobs are always
        readable), as is a file with too many links or a folder on another file system.
        """
        roots = self._roots_of(name)
        os.makedirs(folder, 0o700, exist_ok=True)
        with OpenFolder(folder) as top:
            created: list[str] = []
            try:
                for number, root in enumerate(roots):
                    os.mkdir(str(number), 0o700, dir_fd=top.fd)
                    created.append(str(number))
                    with OpenFolder(str(number), top.fd) as target:
                        self._build_tree(target, root)
            except BaseException:
                for number_made in created:
                    remove_folder(number_made, top)
                raise

    def delete(self, name: str) -> None:
        """Delete a snapshot and the blobs that no other one uses; lower layers keep their links."""
        for blob in blobs_of(self._snapshots.pop(name, [])):
            self._uses[blob] -= 1
            if not self._uses[blob]:
                del self._uses[blob]
                try:
                    os.unlink(blob, dir_fd=self._blobs)
                except FileNotFoundError:
                    pass  # the agent's code deleted it

    def _ensure_folder(self) -> None:
        """Create the folder again if the agent's code deleted it; its content is lost."""
        if not os.fstat(self._blobs).st_nlink:
            os.makedirs(self._folder, 0o700, exist_ok=True)
            os.close(self._blobs)
            self._blobs = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)

    def _roots_of(self, name: str, roots: int | None = None) -> list[Folder]:
        if name not in self._snapshots:
            raise OSError(errno.ENOENT, f"no snapshot named {name!r}")
        found = self._snapshots[name]
        if roots is not None and len(found) != roots:
            raise OSError(errno.EINVAL, f"snapshot {name!r} has {len(found)} roots, not {roots}")
        return found

    def _scan(
        self, folder: OpenFolder, previous: Folder, depth: int, operation: Operation
    ) -> Folder:
        """Return the value of a folder; if nothing changed, the same object as before."""
        if depth > MAX_DEPTH:
            raise OSError(errno.ELOOP, f"folders are nested more than {MAX_DEPTH} deep")
        entries: dict[str, Node] = {}
        same = True
        with os.scandir(folder.fd) as found:
            for entry in found:
                name = entry.name
                try:
                    s = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                ctime = UNKNOWN_CTIME if name in operation.mapped else s.st_ctime_ns
                key = (s.st_mode, s.st_size, s.st_mtime_ns, ctime, s.st_ino)
                node = before = previous.entries.get(name)
                if stat.S_ISDIR(s.st_mode):
                    node = self._scan_child(folder, name, key, before, depth + 1, operation)
                elif before is None or before.key != key or ctime == UNKNOWN_CTIME:
                    node = self._record(folder.fd, name, key, before, operation)
                if node is not None:
                    entries[name] = node
                same = same and node is before
        key = folder_key(folder.stat)
        if same and key == previous.key and len(entries) == len(previous.entries):
            return previous
        return Folder(key, entries)

    def _scan_child(
        self,
        parent: OpenFolder,
        name: str,
        key: Key,
        before: Node | None,
        depth: int,
        operation: Operation,
    ) -> Node | None:
        """Return the value of a folder in a folder; None if it is gone by now."""
        try:
            folder = OpenFolder(name, parent.fd, need=0o500)
        except OSError as error:
            return entry_for_open_error(error, key)
        with folder:
            if folder.stat.st_dev != parent.stat.st_dev:
                return Other(key)
            previous = before if isinstance(before, Folder) else EMPTY_FOLDER
            return self._scan(folder, previous, depth, operation)

    def _record(
        self, fd: int, name: str, key: Key, before: Node | None, operation: Operation
    ) -> File | Link | Other | None:
        """Return the value of a new or changed entry that is no folder; None if it is gone."""
        operation.newest_ctime = max(operation.newest_ctime, key[3])
        same_stat = isinstance(before, File) and key[:3] == before.key[:3]
        if (
            isinstance(before, File)
            and same_stat
            and (operation.same_as or self._is_link_to_blob(key, before))
        ):
            return File(key, before.blob)
        try:
            if stat.S_ISLNK(key[0]):
                return Link(key, os.readlink(name, dir_fd=fd))
            if not stat.S_ISREG(key[0]):
                return Other(key)
            source = open_as_owner(name, os.O_RDONLY, fd)
        except OSError as error:
            return entry_for_open_error(error, key)
        try:
            s = os.fstat(source)
            if not stat.S_ISREG(s.st_mode):
                return None
            if key[3] != UNKNOWN_CTIME:
                return self._make_blob(source, s, operation)
            if isinstance(before, File) and same_stat and self._equals_blob(source, s, before.blob):
                return File(key, before.blob)
            return self._make_blob(source, s, operation)._replace(key=key)
        except OSError as error:
            message = f"{name[-100:]!r} ({key[1]} bytes) could not be stored: {error.strerror}"
            raise OSError(error.errno, message) from error
        finally:
            os.close(source)

    def _make_blob(self, source: int, s: os.stat_result, operation: Operation) -> File:
        """Copy an open file to a new blob. Its key is from before, so later writes are noticed."""
        blob = str(next(self._numbers))
        target = os.open(blob, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=self._blobs)
        operation.new_blobs.append(blob)
        operation.newest_ctime = max(operation.newest_ctime, s.st_ctime_ns)
        try:
            operation.copied_bytes += copy_content(source, target, s)
            os.fchmod(target, stat.S_IMODE(s.st_mode) | 0o400)
            os.utime(target, ns=(s.st_mtime_ns, s.st_mtime_ns))
        finally:
            os.close(target)
        return File(key_of(s), blob)

    def _equals_blob(self, source: int, s: os.stat_result, blob: str) -> bool:
        """Return whether an open file equals a blob; a file with holes is not compared."""
        if s.st_blocks * 512 < s.st_size:
            return False
        stored = open_as_owner(blob, os.O_RDONLY, self._blobs)
        try:
            at = 0
            while data := os.pread(source, CHUNK_BYTES, at):
                if data != os.pread(stored, CHUNK_BYTES, at):
                    return False
                at += len(data)
            return not os.pread(stored, 1, at)
        finally:
            os.close(stored)

    def _is_link_to_blob(self, key: Key, file: File) -> bool:
        """Return whether an overlay shows the blob itself, whose ctime moves with each new link."""
        return key == key_of(os.stat(file.blob, dir_fd=self._blobs, follow_symlinks=False))

    def _unchanged(self, key: Key, file: File) -> bool:
        return key == file.key or (key[:3] == file.key[:3] and self._is_link_to_blob(key, file))

    # Restore runs in two passes: `_prune` frees room, then `_fill` writes.

    def _prune(self, folder: OpenFolder, wanted: Folder, operation: Operation) -> None:
        """Delete entries that the snapshot lacks or has with another type; truncate grown files."""
        for name, s in folder.list():
            node, key = wanted.entries.get(name), key_of(s)
            same_type = node is not None and stat.S_IFMT(node.key[0]) == stat.S_IFMT(s.st_mode)
            same_inode = node is not None and node.key[4] == s.st_ino
            match node:
                case Folder() if same_type:
                    with OpenFolder(name, folder.fd) as child:
                        if child.stat.st_dev != folder.stat.st_dev:
                            raise OSError(errno.EBUSY, f"something is mounted on {name[-100:]!r}")
                        self._prune(child, node, operation)
                case File() if same_type and self._unchanged(key, node):
                    pass
                case File() if same_type and same_inode and s.st_nlink == 1:
                    if (
                        s.st_size > node.key[1]
                        and (fd := open_for_writing(name, folder.fd)) is not None
                    ):
                        os.ftruncate(fd, node.key[1])
                        os.close(fd)
                case Link() if key == node.key:
                    pass
                case Other() if same_type and same_inode:
                    pass
                case _:
                    operation.changed_names += node is None or isinstance(node, Other)
                    if stat.S_ISDIR(s.st_mode):
                        remove_folder(name, folder)
                    else:
                        os.unlink(name, dir_fd=folder.fd)

    def _fill(self, folder: OpenFolder, wanted: Folder, operation: Operation) -> Folder:
        """Create and rewrite what differs. Returns the folder's value with the new keys."""
        present = dict(folder.list())
        entries: dict[str, Node] = {}
        for name, node in wanted.entries.items():
            match node:
                case Folder():
                    if created := name not in present:
                        os.mkdir(name, 0o700, dir_fd=folder.fd)
                    with OpenFolder(name, folder.fd) as child:
                        operation.changed_names += created or child.mode != stat.S_IMODE(
                            node.key[0]
                        )
                        entries[name] = self._fill(child, node, operation)
                case File():
                    entries[name] = self._rewrite(
                        node, name, folder.fd, present.get(name), operation
                    )
                case Link() if name not in present:
                    operation.changed_names += 1
                    create_link(node, name, folder.fd)
                    s = os.stat(name, dir_fd=folder.fd, follow_symlinks=False)
                    operation.newest_ctime = max(operation.newest_ctime, s.st_ctime_ns)
                    entries[name] = Link(key_of(s), node.target)
                case _:
                    entries[name] = node
        set_mode_and_mtime(folder, wanted)
        same = all(node is wanted.entries[name] for name, node in entries.items())
        return wanted if same else Folder(wanted.key, entries)

    def _rewrite(
        self, file: File, name: str, fd: int, s: os.stat_result | None, operation: Operation
    ) -> File:
        """Restore content, mode and mtime of a file, unless it has them."""
        if s is not None and self._unchanged(key_of(s), file):
            return file if key_of(s) == file.key else File(key_of(s), file.blob)
        # `_prune` left the file if it can be rewritten in place.
        target = None if s is None else open_for_writing(name, fd)
        if s is not None and target is None:
            os.unlink(name, dir_fd=fd)
        operation.changed_names += 1
        key = self._copy_blob(file, name, fd, target, operation)
        operation.newest_ctime = max(operation.newest_ctime, key[3])
        return File(key, file.blob)

    def _copy_blob(
        self, file: File, name: str, fd: int, target: int | None, operation: Operation
    ) -> Key:
        """Copy a blob to a new file, or to the file that is open as `target`."""
        source = open_as_owner(file.blob, os.O_RDONLY, self._blobs)
        try:
            if target is None:
                target = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=fd)
            operation.copied_bytes += copy_content(source, target, os.fstat(source))
            os.fchmod(target, stat.S_IMODE(file.key[0]))
            os.utime(target, ns=(file.key[2], file.key[2]))
            return key_of(os.fstat(target))
        finally:
            os.close(source)
            if target is not None:
                os.close(target)

    def _build_tree(self, folder: OpenFolder, wanted: Folder) -> None:
        for name, node in wanted.entries.items():
            match node:
                case Folder():
                    os.mkdir(name, 0o700, dir_fd=folder.fd)
                    with OpenFolder(name, folder.fd) as child:
                        self._build_tree(child, node)
                case File():
                    self._link_blob(node, name, folder.fd)
                case Link():
                    create_link(node, name, folder.fd)
        set_mode_and_mtime(folder, wanted)

    def _link_blob(self, file: File, name: str, fd: int) -> None:
        if file.key[0] & 0o400:
            try:
                os.link(file.blob, name, src_dir_fd=self._blobs, dst_dir_fd=fd)
                return
            except OSError as error:
                if error.errno not in (errno.EMLINK, errno.EXDEV):
                    raise
        self._copy_blob(file, name, fd, None, Operation())
