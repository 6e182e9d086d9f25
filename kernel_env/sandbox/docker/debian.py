"""Install packages on a Debian-like host, and build the root file system of an image from them.

Mirrors, proxies and keys are the host's own: apt is queried, nothing is configured here.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kernel_env.errors import SandboxError

PACKAGES = ("ca-certificates", "python3", "python3-venv", "tzdata")
"""Packages of the distribution that the images need."""
EXCLUDED_PATHS = (
    "/usr/share/doc/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/man/*",
)
HOST_APT_FILES = ("apt.conf.d/99mmdebstrap", "sources.list", "sources.list.d")
"""Files in /etc/apt with the host's mirrors and proxies, which are not copied into an image."""

TERMINAL_CODE = re.compile(r"\x1b\[[\d;]*[A-Za-z]")
PYTHON_EXCEPTION = re.compile(r"(?:\w+\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit)(?::|$)")
PYTHON_PLACE = re.compile(r'File "(.+)", line (\d+)')

Report = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class CompletedProgram:
    """A program that has exited."""

    exit_code: int
    output: str
    """Standard output and standard error."""


def run(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> CompletedProgram:
    """Run a program of the host and wait for it. Raises `SandboxError` if it cannot be started."""
    # Output goes to a file: a service that a package starts would hold a pipe open indefinitely.
    with tempfile.TemporaryFile() as output:
        try:
            completed = subprocess.run(
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
        return CompletedProgram(
            exit_code=completed.returncode, output=output.read().decode(errors="replace")
        )


def error_line(output: str) -> str:
    r"""Return the line of a failed program's output that states the reason.

    That is the first line marked as an error as apt and pip do, else the last exception of Python
    with its place, else the last line.

    >>> error_line("Reading package lists...\nE: Unable to locate package docker.io\nE: giving up")
    'Unable to locate package docker.io'
    >>> error_line('  File "a.py", line 3\nSyntaxError: invalid syntax\ntidying up')
    'SyntaxError: invalid syntax (a.py, line 3)'
    """
    lines = [" ".join(line.split()) for line in TERMINAL_CODE.sub("", output).splitlines()]
    lines = [line for line in lines if line]
    if any("no space left on device" in line.lower() for line in lines):
        return "the disk is full; make room (`docker system df` shows what the engine holds)"
    for prefix in ("E: ", "ERROR: "):
        for line in lines:
            if line.startswith(prefix):
                return line.removeprefix(prefix)
    for number, line in reversed(list(enumerate(lines))):
        if PYTHON_EXCEPTION.match(line):
            places = [place for text in lines[:number] if (place := PYTHON_PLACE.match(text))]
            return f"{line} ({places[-1][1]}, line {places[-1][2]})" if places else line
    return lines[-1] if lines else ""


def install_unavailable_reason() -> str | None:
    """Return why packages cannot be installed on this host; None if they can."""
    if shutil.which("apt-get") is None:
        return "this machine has no apt-get"
    if os.geteuid() != 0:
        return "only root can install packages"
    return None


def install(packages: Sequence[str], report: Report) -> None:
    """Install packages of the distribution and report it. Raises `SandboxError`."""
    names = " ".join(packages)
    if reason := install_unavailable_reason():
        raise SandboxError(f"{names} must be installed first, and {reason}")
    report(f"installing with apt-get: {names} (takes a minute)")
    environment = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1"}
    apt_get = ["apt-get", "-o", "DPkg::Lock::Timeout=300"]
    updated = run([*apt_get, "update"], env=environment)
    completed = run(
        [*apt_get, "install", "-y", "--no-install-recommends", *packages],
        env=environment,
    )
    if completed.exit_code != 0:
        # An update may fail because of an unrelated source. If the source was needed, report that.
        failed = completed if updated.exit_code == 0 else updated
        raise SandboxError(f"{names} could not be installed: {error_line(failed.output)}")


def release_codename() -> str:
    """Return the host's release by its code name, such as `bookworm`. Raises `SandboxError`."""
    try:
        lines = Path("/etc/os-release").read_text().splitlines()
    except OSError:
        lines = []
    release = dict(line.split("=", 1) for line in lines if "=" in line)
    for key in ("UBUNTU_CODENAME", "DEBIAN_CODENAME", "VERSION_CODENAME"):
        if name := release.get(key, "").strip('"'):
            return name
    raise SandboxError("/etc/os-release names no release of Debian or Ubuntu")


def apt_sources(codename: str) -> list[Path]:
    """Return the host's apt source files that list the distribution itself."""
    row_format = "$(SOURCESENTRY) $(RELEASE) $(COMPONENT)"
    targets = run(["apt-get", "indextargets", "--format", row_format, "Created-By: Packages"])
    releases = {codename, f"{codename}-updates", f"{codename}-security"}
    rows = [line.rsplit(" ", 2) for line in targets.output.splitlines() if line.count(" ") >= 2]
    files = {
        Path(entry.rpartition(":")[0])
        for entry, release, component in rows
        if release in releases and component in {"main", "universe"}
    }
    if targets.exit_code != 0 or not files:
        raise SandboxError(
            f"apt's sources name no packages of {codename}: {error_line(targets.output)}"
        )
    return sorted(files)


def build_root_archive(archive: Path, report: Report, *, release: str | None = None) -> None:
    """Write a minimal root file system with Python into a tar archive.

    Args:
        archive: the file to write.
        report: receives a line on what is done.
        release: a release by its code name, from the host's own mirrors; by default the host's.

    Raises `SandboxError`.
    """
    if shutil.which("mmdebstrap") is None:
        install(["mmdebstrap"], report)
    own = release_codename()
    name = release or own
    report(f"building a minimal {name} system from the distribution's packages (takes a minute)")
    with tempfile.TemporaryDirectory(prefix="kernel-env-") as folder:
        options = Path(folder, "options.conf")
        options.write_text(_apt_transport_options())
        sources = []
        for number, source in enumerate(apt_sources(own)):
            sources.append(Path(folder, f"{number}{source.suffix}"))
            sources[-1].write_text(re.sub(rf"\b{own}\b", name, source.read_text()))
        completed = run(
            [
                "mmdebstrap",
                "--variant=minbase",
                f"--include={','.join(PACKAGES)}",
                f"--aptopt={options}",
                *(f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDED_PATHS),
                f'--customize-hook=cd "$1/etc/apt" && rm -rf {" ".join(HOST_APT_FILES)}',
                name,
                str(archive),
                *map(str, sources),
            ]
        )
    if completed.exit_code != 0:
        raise SandboxError(
            f"mmdebstrap could not build a {name} system: {error_line(completed.output)}"
        )


def _apt_transport_options() -> str:
    """Return the host's apt options on proxies, certificates, retries and clocks."""
    prefixes = ("Acquire::http", "Acquire::https", "Acquire::Retries", "Acquire::Check-")
    settings = run(["apt-config", "dump", "Acquire"]).output.splitlines()
    return "".join(f"{line}\n" for line in settings if line.startswith(prefixes))
