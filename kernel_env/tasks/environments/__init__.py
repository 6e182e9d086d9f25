"""Make Python environments with the libraries that another benchmark's code was written for.

Scores depend on the versions of numpy, pandas and scikit-learn, and some graders fail with newer
ones. So the code of a benchmark whose requirements are in this folder (`<benchmark>.lock`, written
by `make lock`) runs in an environment with these versions, when preparing data and when grading.
`kernel-env tasks prepare` makes it, once per benchmark, in the cache.

Our own modules are imported there, too, from a folder that has nothing else.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from kernel_env import cache
from kernel_env.errors import DownloadError
from kernel_env.grading.host import Interpreter

LOCKS = Path(__file__).parent
PYTHON = "3.11"
"""The version of Python that the lock files are for."""
TIMEOUT_S = 1800
"""The longest that an installation can take."""


def lock_file(benchmark: str) -> Path | None:
    """Return the requirements of a benchmark's code; None if our own libraries serve."""
    path = LOCKS / f"{benchmark}.lock"
    return path if path.is_file() else None


def digest(benchmark: str) -> str:
    """Return the SHA-256 of a benchmark's requirements, hexadecimal."""
    return hashlib.sha256((LOCKS / f"{benchmark}.lock").read_bytes()).hexdigest()


def folder(benchmark: str) -> Path:
    """Return the folder of a benchmark's environment in the cache; it need not exist yet."""
    return cache.folder() / "environments" / f"{benchmark}-{digest(benchmark)[:16]}"


def interpreter(benchmark: str) -> Interpreter | None:
    """Return the Python of a benchmark's environment; None if it has none, or it was not made."""
    if lock_file(benchmark) is None:
        return None
    home = folder(benchmark)
    found = Interpreter(python=home / "bin" / "python", modules=home / "own")
    return found if found.python.exists() else None


def make(benchmark: str) -> Interpreter | None:
    """Make the environment of a benchmark's code if it needs one and has none.

    Wheels come from uv's cache if they are there, and are downloaded otherwise.

    Returns:
        Its Python; None if our own libraries serve.

    Raises:
        DownloadError: there is no uv and no fitting Python, or a package cannot be installed.
    """
    lock = lock_file(benchmark)
    if lock is None or interpreter(benchmark):
        return interpreter(benchmark)
    target = folder(benchmark)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise DownloadError(f"{target.parent} cannot be written: {error.strerror}") from error
    try:
        install(benchmark, lock, draft)
        own = draft / "own"
        own.mkdir()
        (own / "kernel_env").symlink_to(Path(__file__).parents[2])
        draft.chmod(0o755)
        draft.rename(target)
    except OSError as error:
        if interpreter(benchmark) is None:  # otherwise another process made it first
            raise DownloadError(f"{target} cannot be written: {error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return interpreter(benchmark)


def install(benchmark: str, lock: Path, into: Path) -> None:
    """Create an environment and install the requirements. Raises `DownloadError`."""
    uv = uv_command()
    python = os.fspath(into / "bin" / "python")
    if uv is not None:
        run(benchmark, [*uv, "venv", "--quiet", "--allow-existing", "--python", PYTHON, str(into)])
        argv = [*uv, "pip", "install", "--quiet", "--python", python]
        argv += ["--only-binary", ":all:", "--require-hashes", "-r", str(lock)]
        try:
            run(benchmark, [*argv, "--offline"])
        except DownloadError:
            run(benchmark, argv)
        return
    if ".".join(map(str, sys.version_info[:2])) != PYTHON:
        raise DownloadError(
            f"the code of {benchmark} needs Python {PYTHON}, and this is another one; install uv,"
            " which gets it (pip install uv)"
        )
    run(benchmark, [sys.executable, "-m", "venv", str(into)])
    argv = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run(benchmark, [*argv, "--only-binary", ":all:", "--require-hashes", "-r", str(lock)])


def uv_command() -> list[str] | None:
    """Return how uv is started; None if it is not installed."""
    beside = Path(sys.executable).with_name("uv")
    if beside.is_file():
        return [os.fspath(beside)]
    found = shutil.which("uv")
    return [found] if found else None


def run(benchmark: str, argv: Sequence[str]) -> None:
    """Run a step of the installation. Raises `DownloadError` with the last line of its error."""
    try:
        done = subprocess.run(
            argv, capture_output=True, timeout=TIMEOUT_S, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DownloadError(
            f"the environment of {benchmark} cannot be made: {argv[0]}: {error}"
        ) from error
    if done.returncode:
        words = " ".join(done.stderr.decode(errors="replace").split())
        raise DownloadError(
            f"the environment of {benchmark} cannot be made: {words[-300:] or 'no reason given'};"
            " check the network, then run it again"
        )
