"""Is the data made the same way each time, and is the cached copy the data that was made?"""

import hashlib
import json
from pathlib import Path
from tempfile import TemporaryDirectory

from kernel_env import temporary
from kernel_env.errors import TaskError
from kernel_env.soundness.finding import Finding, failed, ok
from kernel_env.tasks import Task
from kernel_env.tasks import prepare as preparing

CHECK = "prepare"
TIMES = 2


def check(task: Task) -> list[Finding]:
    """Prepare it into fresh folders and compare byte by byte, through the checksums."""
    try:
        cached = preparing.prepare(task).public.parent
        with TemporaryDirectory(prefix=f"{temporary.PREFIX}-") as fresh:
            made = [made_afresh(task, Path(fresh) / str(number)) for number in range(TIMES)]
    except (TaskError, OSError) as error:
        return [failed(CHECK, str(error))]
    one, other = made
    if different := differing(one, other):
        return [
            failed(
                CHECK,
                f"prepared twice, {different} came out different; the same raw files must give the"
                " same bytes: seed every random number, sort what a set or a folder lists",
            )
        ]
    written = json.loads((cached / "checksums.json").read_text())
    if different := differing(written, sums_of(cached)):
        return [
            failed(
                CHECK,
                f"in the cached copy {different} is not what its checksums say; it was changed"
                f" since it was prepared: remove {cached}",
            )
        ]
    if different := differing(one, written):
        return [
            failed(
                CHECK,
                f"in the cached copy {different} is not what the prepare function makes now"
                f" (another version of pandas?): remove {cached}",
            )
        ]
    return [ok(CHECK, f"{TIMES} times the same {len(one):,} files, as in the cached copy")]


def made_afresh(task: Task, folder: Path) -> dict[str, object]:
    """The checksums of a copy of its own."""
    folder.mkdir(parents=True)
    preparing.check_raw(task)
    preparing.make(task, folder)
    found: dict[str, object] = json.loads((folder / "checksums.json").read_text())
    return found


def sums_of(folder: Path) -> dict[str, object]:
    """What checksums.json would say of the files that are there now."""
    return {
        str(path.relative_to(folder)): {
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "checksums.json"
    }


def differing(one: dict[str, object], other: dict[str, object]) -> str:
    """The files that differ, the first by name; empty when none does."""
    names = sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]}{more}" if names else ""
