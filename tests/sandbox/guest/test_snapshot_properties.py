"""Every sequence of operations on an agent's files, checked against a model of the files."""

import os
import tempfile
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

from kernel_env.sandbox.guest.file_tree import empty_folder
from kernel_env.sandbox.guest.snapshots import SnapshotStore
from support.snapshots import (
    Tree,
    for_each_user,
    read_tree,
)

NAMES = st.sampled_from(["a", "b"])
CONTENTS = st.binary(max_size=8)


def is_accessible(tree: Tree, path: str) -> bool:
    """Return whether all folders above a path exist and their owner has every permission."""
    above = Path(path).parent
    return all(
        tree.get(str(p), ("", 0, b""))[0] == "folder" and tree[str(p)][1] & 0o700 == 0o700
        for p in (above, *above.parents)
    )


def paths_below(tree: Tree, path: str) -> list[str]:
    return [p for p in tree if p == path or p.startswith(f"{path}/")]


class SnapshotMachine(RuleBasedStateMachine):
    """An agent changes its files while snapshots are taken, restored and deleted.

    The model is a table of the expected files; the disk is read only after a restore.
    """

    paths = st.lists(NAMES, min_size=1, max_size=2).map("/".join)
    taken: Bundle[str] = Bundle("taken")

    @initialize()
    def begin(self) -> None:
        os.umask(0o022)
        self.folder = tempfile.mkdtemp(dir=".")
        self.ws = Path(self.folder, "ws")
        self.ws.mkdir(mode=0o755)
        self.ws.chmod(0o755)
        self.store = SnapshotStore(f"{self.folder}/store")
        self.model: Tree = {".": ("folder", 0o755, b"")}
        self.make_folder("b")
        for path in ("a", "b/a"):
            self.write(path, b"first")
        self.recorded: dict[str, tuple[Tree, dict[str, int]]] = {}
        self.count = 0

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            empty_folder(self.folder)
            Path(self.folder).rmdir()

    def is_file(self, path: str) -> bool:
        """Return whether a path is a file that its owner can read and write."""
        kind, mode, _ = self.model.get(path, ("", 0, b""))
        return is_accessible(self.model, path) and kind == "file" and mode & 0o600 == 0o600

    @rule(path=paths, data=CONTENTS)
    def write(self, path: str, data: bytes) -> None:
        if is_accessible(self.model, path) and (path not in self.model or self.is_file(path)):
            (self.ws / path).write_bytes(data)
            self.model[path] = ("file", self.model.get(path, ("", 0o644, b""))[1], data)

    @rule(path=paths, data=CONTENTS)
    def append(self, path: str, data: bytes) -> None:
        if self.is_file(path):
            with (self.ws / path).open("ab") as file:
                file.write(data)
            self.model[path] = (*self.model[path][:2], self.model[path][2] + data)

    @rule(path=paths)
    def overwrite_and_restore_mtime(self, path: str) -> None:
        if self.is_file(path):
            s = (self.ws / path).stat()
            data = bytes(255 - byte for byte in self.model[path][2])
            with (self.ws / path).open("r+b") as file:
                file.write(data)
            os.utime(self.ws / path, ns=(s.st_atime_ns, s.st_mtime_ns))
            self.model[path] = (*self.model[path][:2], data)

    @rule(path=paths, size=st.sampled_from([0, 3, 20_000]))
    def truncate(self, path: str, size: int) -> None:
        if self.is_file(path):
            os.truncate(self.ws / path, size)
            self.model[path] = (
                *self.model[path][:2],
                self.model[path][2][:size].ljust(size, b"\0"),
            )

    @rule(path=paths, hole=st.sampled_from([5000, 70_000]), data=CONTENTS)
    def write_behind_a_hole(self, path: str, hole: int, data: bytes) -> None:
        if self.is_file(path):
            with (self.ws / path).open("r+b") as file:
                file.seek(hole)
                file.write(data)
            old = self.model[path][2]
            new = (
                old if not data else old[:hole].ljust(hole, b"\0") + data + old[hole + len(data) :]
            )
            self.model[path] = (*self.model[path][:2], new)

    @rule(path=paths)
    def make_folder(self, path: str) -> None:
        if is_accessible(self.model, path) and path not in self.model:
            (self.ws / path).mkdir()
            self.model[path] = ("folder", 0o755, b"")

    @rule(path=paths, to=st.sampled_from(["a", "nowhere", "/etc/passwd", "../.."]))
    def make_link(self, path: str, to: str) -> None:
        if is_accessible(self.model, path) and path not in self.model:
            (self.ws / path).symlink_to(to)
            self.model[path] = ("link", 0, to.encode())

    @rule(old=paths, new=paths)
    def rename(self, old: str, new: str) -> None:
        is_free = (
            is_accessible(self.model, new)
            and new not in self.model
            and not new.startswith(f"{old}/")
        )
        kind, mode, _ = self.model.get(old, ("", 0, b""))
        is_movable = is_accessible(self.model, old) and (kind in ("file", "link") or mode & 0o200)
        if is_free and is_movable and kind:
            (self.ws / old).rename(self.ws / new)
            for path in paths_below(self.model, old):
                self.model[new + path[len(old) :]] = self.model.pop(path)

    @rule(path=paths, mode=st.sampled_from([0o000, 0o200, 0o400, 0o500, 0o644, 0o755, 0o1777]))
    def chmod(self, path: str, mode: int) -> None:
        if is_accessible(self.model, path) and self.model.get(path, ("",))[0] in ("file", "folder"):
            (self.ws / path).chmod(mode)
            self.model[path] = (self.model[path][0], mode, self.model[path][2])

    @rule(path=paths)
    def delete(self, path: str) -> None:
        if path in self.model and is_accessible(self.model, path):
            if self.model[path][0] == "folder":
                empty_folder(str(self.ws / path))
                (self.ws / path).rmdir()
            else:
                (self.ws / path).unlink()
            for deleted in paths_below(self.model, path):
                del self.model[deleted]

    @rule(path=paths)
    def replace_with_folder(self, path: str) -> None:
        self.delete(path)
        self.make_folder(path)

    @rule(target=taken, prior=st.none() | taken)
    def take(self, prior: str | None) -> Any:
        if prior is not None and prior not in self.recorded:
            return multiple()
        self.count += 1
        name = str(self.count)
        done = self.store.take(name, [str(self.ws)], prior=prior)
        again = self.store.take(name, [str(self.ws)], prior=name)
        self.recorded[name] = (dict(self.model), self.times(self.model))
        assert again["copied_bytes"] == 0
        assert again["files"] == done["files"] == sum(v[0] == "file" for v in self.model.values())
        return name

    @rule(name=taken)
    def restore(self, name: str) -> None:
        if name in self.recorded:
            self.store.restore(name, [str(self.ws)])
            again = self.store.restore(name, [str(self.ws)])
            tree, times = self.recorded[name]
            self.model = dict(tree)
            assert again == {"copied_bytes": 0, "changed": 0}
            assert self.times(self.model) == times
            assert read_tree(self.ws) == tree

    @rule(name=taken)
    def create_lower_layer(self, name: str) -> None:
        if name in self.recorded:
            self.store.create_lower(name, f"{self.folder}/tree")
            assert read_tree(Path(self.folder, "tree", "0")) == self.recorded[name][0]
            empty_folder(f"{self.folder}/tree")

    @rule(name=consumes(taken))
    def delete_snapshot(self, name: str) -> None:
        self.store.delete(name)
        self.recorded.pop(name, None)
        assert sorted(self.store.names) == sorted(self.recorded)
        if not self.recorded:
            assert os.listdir(f"{self.folder}/store/blobs") == []

    def times(self, tree: Tree) -> dict[str, int]:
        """Return the modification times of the accessible paths."""
        return {
            p: (self.ws / p).lstat().st_mtime_ns for p in tree if p == "." or is_accessible(tree, p)
        }


@pytest.mark.parametrize("work_folder", ["memory", "disk"], indirect=True)
@for_each_user
def test_restore_undoes_every_sequence_of_operations() -> None:
    on_disk = not Path.cwd().is_relative_to("/dev/shm")
    limits = settings(
        max_examples=15 if on_disk else 50,  # a disk is much slower
        stateful_step_count=40,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )

    run_state_machine_as_test(SnapshotMachine, settings=limits)
