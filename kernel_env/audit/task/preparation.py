"""Is the data made the same way each time, and is the cached copy the data that was made?"""

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
Sums = dict[str, object]
"""What checksums.json holds: for each file its bytes and sha256."""


def check(task: Task) -> list[Finding]:
    """Prepare it twice in fresh folders (a new cached copy is one) and compare all bytes."""
    if what := preparing.missing(task):
        return [not_run(CHECK, f"{what} is not here; {preparing.howto(task)}")]
    is_old = preparing.is_prepared(task)
    try:
        cached = preparing.prepare(task).public.parent
        with TemporaryDirectory(prefix=f"{temporary.PREFIX}{os.getpid()}-") as fresh:
            made = [made_afresh(task, Path(fresh) / str(n)) for n in range(2 if is_old else 1)]
    except (TaskError, OSError) as error:
        return [failed(CHECK, str(error))]
    written: Sums = json.loads((cached / "checksums.json").read_text())
    if not is_old:
        made.append(written)
    if different := differing(made[0], made[1]):
        return [
            failed(
                CHECK,
                f"prepared twice, {different} came out different; the same raw files must give the"
                " same bytes: seed every random number, sort what a set or a folder lists",
            )
        ]
    if different := differing(written, sums_of(cached)):
        return [
            failed(
                CHECK,
                f"in the cached copy {different} is not what its checksums say; it was changed"
                f" since it was prepared: remove {cached}",
            )
        ]
    if different := differing(made[0], written):
        return [
            failed(
                CHECK,
                f"in the cached copy {different} is not what the prepare function makes now"
                f" (another version of pandas?): remove {cached}",
            )
        ]
    return [ok(CHECK, f"twice the same {len(written):,} files, and the cached copy has them")]


def made_afresh(task: Task, folder: Path) -> Sums:
    """The checksums of a copy of its own."""
    folder.mkdir(parents=True)
    preparing.check_raw(task)
    preparing.make(task, folder)
    found: Sums = json.loads((folder / "checksums.json").read_text())
    return found


def sums_of(folder: Path) -> Sums:
    """What checksums.json would say of the files that are there now."""
    return {
        str(path.relative_to(folder)): {
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "checksums.json"
    }


def differing(one: Sums, other: Sums) -> str:
    """The files that differ, the first by name; empty when none does."""
    names = sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]}{more}" if names else ""
