"""What a Debian-like host can give: packages, and the root of an image made of them.

Mirrors, proxies and keys are the host's own: apt is asked, nothing is configured here.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kernel_env.errors import SandboxError

PACKAGES = ("ca-certificates", "python3", "python3-venv", "tzdata")
"""What the images need of a distribution."""
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*")
HOST_ONLY = ("apt.conf.d/99mmdebstrap", "sources.list", "sources.list.d")
"""In /etc/apt: the host's mirrors and proxies, which are nobody's business inside."""

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A program that has ended."""

    exit_code: int
    output: str
    """Standard output and standard error."""


def run(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> Ended:
    """Run a program of the host to its end. Raises `SandboxError` when it cannot be started."""
    # Into a file: a package may start a service, which would hold a pipe open for ever.
    with tempfile.TemporaryFile() as output:
        try:
            ended = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
                umask=0o022,
                check=False,
            )
        except OSError as error:
            raise SandboxError(f"{argv[0]} cannot be started: {error.strerror}") from error
        output.seek(0)
        return Ended(exit_code=ended.returncode, output=output.read().decode(errors="replace"))


def gist(output: str) -> str:
    """The line of a failed program's output that says why.

    >>> gist("Reading package lists...\\nE: Unable to locate package docker.io\\nE: giving up")
    'Unable to locate package docker.io'
    """
    lines = [" ".join(line.split()) for line in output.splitlines() if line.strip()]
    if any("no space left on device" in line.lower() for line in lines):
        return "the disk is full; make room (`docker system df` shows what the engine holds)"
    for mark in ("E: ", "ERROR: "):
        for line in lines:
            if line.startswith(mark):
                return line.removeprefix(mark)
    return lines[-1] if lines else ""


def cannot_install() -> str | None:
    """Why packages cannot be installed on this host; None when they can."""
    if shutil.which("apt-get") is None:
        return "this machine has no apt-get"
    if os.geteuid() != 0:
        return "only root may install packages"
    return None


def install(packages: Sequence[str], say: Say) -> None:
    """Install packages of the distribution, saying so. Raises `SandboxError`."""
    names = " ".join(packages)
    if reason := cannot_install():
        raise SandboxError(f"{names} must be installed first, and {reason}")
    say(f"installing with apt-get: {names} (takes a minute)")
    quietly = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1"}
    waiting = ["apt-get", "-o", "DPkg::Lock::Timeout=300"]
    updated = run([*waiting, "update"], env=quietly)
    ended = run(
        [*waiting, "install", "-y", "--no-install-recommends", *packages],
        env=quietly,
    )
    if ended.exit_code != 0:
        # An update may fail for a source that does not matter; if it mattered, it is the reason.
        cause = ended if updated.exit_code == 0 else updated
        raise SandboxError(f"{names} could not be installed: {gist(cause.output)}")


def suite() -> str:
    """The host's release by its code name, such as `bookworm`. Raises `SandboxError`."""
    try:
        lines = Path("/etc/os-release").read_text().splitlines()
    except OSError:
        lines = []
    release = dict(line.split("=", 1) for line in lines if "=" in line)
    for key in ("UBUNTU_CODENAME", "DEBIAN_CODENAME", "VERSION_CODENAME"):
        if name := release.get(key, "").strip('"'):
            return name
    raise SandboxError("/etc/os-release names no release of Debian or Ubuntu")


def sources(suite: str) -> list[Path]:
    """The host's apt source files that name the distribution itself, not only third parties."""
    row = "$(SOURCESENTRY) $(RELEASE) $(COMPONENT)"
    listed = run(["apt-get", "indextargets", "--format", row, "Created-By: Packages"])
    releases = {suite, f"{suite}-updates", f"{suite}-security"}
    rows = [line.rsplit(" ", 2) for line in listed.output.splitlines() if line.count(" ") >= 2]
    files = {
        Path(entry.rpartition(":")[0])
        for entry, release, component in rows
        if release in releases and component in {"main", "universe"}
    }
    if listed.exit_code != 0 or not files:
        raise SandboxError(f"apt's sources name no packages of {suite}: {gist(listed.output)}")
    return sorted(files)


def make_root(archive: Path, say: Say) -> None:
    """Write the root of a minimal system with Python into a tar archive. Raises `SandboxError`."""
    if shutil.which("mmdebstrap") is None:
        install(["mmdebstrap"], say)
    name = suite()
    say(f"making a minimal {name} from the distribution's packages (takes a minute)")
    with tempfile.NamedTemporaryFile("w", prefix="kernel-env-", suffix=".conf") as options:
        options.write(_transport())
        options.flush()
        ended = run(
            [
                "mmdebstrap",
                "--variant=minbase",
                f"--include={','.join(PACKAGES)}",
                f"--aptopt={options.name}",
                *(f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT),
                f'--customize-hook=cd "$1/etc/apt" && rm -rf {" ".join(HOST_ONLY)}',
                name,
                str(archive),
                *map(str, sources(name)),
            ]
        )
    if ended.exit_code != 0:
        raise SandboxError(f"mmdebstrap could not make a {name}: {gist(ended.output)}")


def _transport() -> str:
    """How the host's apt reaches its mirrors: proxies, certificates, retries, clocks."""
    wanted = ("Acquire::http", "Acquire::https", "Acquire::Retries", "Acquire::Check-")
    settings = run(["apt-config", "dump", "Acquire"]).output.splitlines()
    return "".join(f"{line}\n" for line in settings if line.startswith(wanted))
