"""List the Python libraries of a sandbox with their versions.

A program inside lists them: the files an image is built from do not name all that is in it. The
answer is stored per image, because an image never changes under its tag. For a sandbox without
images it is kept as long as this process runs.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

from kernel_env import cache
from kernel_env.errors import SandboxError
from kernel_env.sandbox.protocol import Sandbox

LIST = """
import json, platform
from importlib.metadata import distributions
parsed = [distribution.metadata for distribution in distributions()]
found = {each["Name"]: each["Version"] for each in parsed if each}
print(json.dumps({"python": platform.python_version(), "versions": found}))
"""
LIST_S = 60.0
"""Time limit; it takes a tenth of a second."""
MAX_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Libraries:
    """The Python of a sandbox, and the distributions that are installed for it."""

    python: str
    """Its version; empty if it is not known."""
    versions: Mapping[str, str]
    """The version of each distribution by its name, sorted."""


UNKNOWN = Libraries(python="", versions={})
_known: dict[str, Libraries] = {}
"""What this process has found, by interpreter and image."""


async def libraries_of(sandbox: Sandbox) -> Libraries:
    """Return the libraries of a sandbox in which no agent has run code yet.

    `UNKNOWN` if its Python does not list them. Raises `SandboxError`.
    """
    tag: str = getattr(sandbox, "image_tag", "")
    key = f"{type(sandbox).__qualname__} {sandbox.python} {tag}"
    if key not in _known:
        path = cache.folder() / "libraries" / f"{sha256(key.encode()).hexdigest()[:16]}.json"
        found = parsed(path.read_bytes()) if tag and path.is_file() else None
        if found is None:
            found = await list_inside(sandbox)
            if tag and found is not None:
                with suppress(OSError):  # it can be listed again
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(json.dumps(asdict(found)))
        _known[key] = found or UNKNOWN
    return _known[key]


async def list_inside(sandbox: Sandbox) -> Libraries | None:
    """List the libraries with a program in the sandbox; None if that fails."""
    argv = [sandbox.python, "-P", "-c", LIST]
    try:
        done = await sandbox.run(argv, timeout_s=LIST_S, limit_bytes=MAX_BYTES)
    except TimeoutError as error:
        raise SandboxError(f"the sandbox did not list its libraries in {LIST_S:g} s") from error
    return parsed(done.output.strip().rpartition(b"\n")[2]) if done.exit_code == 0 else None


def parsed(data: bytes) -> Libraries | None:
    """Parse what `LIST` prints; None if it is anything else."""
    try:
        found: Any = json.loads(data)
        versions = {str(name): str(version) for name, version in found["versions"].items()}
        python = str(found["python"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    names = sorted(versions, key=str.lower)
    return Libraries(python=python, versions={name: versions[name] for name in names})
