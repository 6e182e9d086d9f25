"""Check that preparing the data is deterministic and that the cached data is unchanged."""

import hashlib
import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory

from kernel_env import temporary
from kernel_env.audit.task.finding import Finding, failed, not_run, ok
from kernel_env.errors import TaskError
from kernel_env.tasks import Task
from kernel_env.tasks import prepare as preparing

CHECK = "prepare"
Checksums = dict[str, object]
"""The content of checksums.json: the size in bytes and the SHA-256 of each file."""


def check(task: Task) -> list[Finding]:
    """Prepare the task twice and compare all bytes, also with the cached data.

    When the cache is empty, the first of the two becomes the cached data.
    """
    if what := preparing.missing(task):
        return [not_run(CHECK, f"{what} is not here; {preparing.instructions(task)}")]
    is_old = preparing.is_prepared(task)
    try:
        cached = preparing.prepare(task).public.parent
        with TemporaryDirectory(prefix=f"{temporary.PREFIX}{os.getpid()}-") as fresh:
            made = [
                prepare_fresh_copy(task, Path(fresh) / str(n)) for n in range(2 if is_old else 1)
            ]
    except (TaskError, OSError) as error:
        return [failed(CHECK, str(error))]
    written: Checksums = json.loads((cached / "checksums.json").read_text())
    if not is_old:
        made.append(written)
    if different := differing_files(made[0], made[1]):
        return [
            failed(
                CHECK,
                f"{different} differ between two runs of prepare, expected equal bytes; seed every"
                " random number generator and sort sets and folder listings",
            )
        ]
    if different := differing_files(written, compute_checksums(cached)):
        return [
            failed(
                CHECK,
                f"the cached {different} do not match checksums.json: changed after preparing;"
                f" remove {cached}",
            )
        ]
    if different := differing_files(made[0], written):
        return [
            failed(
                CHECK,
                f"the cached {different} differ from what prepare writes now, for example with"
                f" another version of pandas; remove {cached}",
            )
        ]
    return [ok(CHECK, f"two runs wrote the same {len(written):,} files, equal to the cached ones")]


def prepare_fresh_copy(task: Task, folder: Path) -> Checksums:
    """Prepare the task in a folder and return its checksums."""
    folder.mkdir(parents=True)
    preparing.check_raw(task)
    preparing.run_prepare(task, folder)
    found: Checksums = json.loads((folder / "checksums.json").read_text())
    return found


def compute_checksums(folder: Path) -> Checksums:
    """Compute the checksums of the files that a folder holds now."""
    return {
        str(path.relative_to(folder)): {
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "checksums.json"
    }


def differing_files(one: Checksums, other: Checksums) -> str:
    """Return which files differ, as text: the first by name and the number of others, or empty."""
    names = sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]}{more}" if names else ""
