"""Run the tests of kernels with the oldest and the newest supported versions on every Python found.

    python tests/version_matrix.py [3.12 …]

The oldest versions are the lower bounds of the dependencies in `pyproject.toml`, or what a newer
Python needs at least. Each set gets a virtual environment of its own in `.matrix`. The sandbox is
`local`, so the kernels run with the set too. `make test-matrix` runs it.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".matrix"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
RESOLUTIONS = {"oldest": "lowest-direct", "newest": "highest"}
SHOWN = ("ipykernel", "IPython", "pyzmq")
TESTS = ("tests/kernel", "tests/jupyter", "tests/episode", "tests/sandbox/test_conformance.py")
NOT_HERE = "not docker and not kaggle and not browser and not llm"
PRINT_VERSIONS = f"""
from importlib.metadata import version
print(*map(version, {SHOWN!r}))
"""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What the tests of one set found."""

    python: str
    name: str
    versions: str
    """Versions of the shown packages; why there are none, if the set could not be installed."""
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    @property
    def ok(self) -> bool:
        """Whether tests ran and none failed."""
        return self.passed > 0 and self.failed == 0


def interpreter(version: str) -> str | None:
    """Return a program that runs this version of Python: of the path, or one that pyenv made."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    found = [shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python3"))]
    for program in filter(None, found):
        said = subprocess.run(
            [program, "-c", "import sys; print(sys.executable, *sys.version_info[:2])"],
            capture_output=True,
            text=True,
        ).stdout.split()
        if said[1:] == version.split("."):
            return said[0]
    return None


def uv(*arguments: str) -> str | None:
    """Run uv. Returns its last line if it failed, None otherwise."""
    done = subprocess.run(
        [sys.executable, "-m", "uv", *arguments, "--quiet"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    return (done.stderr.strip() or "uv failed") if done.returncode else None


def install(folder: Path, program: str, resolution: str) -> str | None:
    """Install a set into a new virtual environment. Returns why that failed, None otherwise."""
    python, versions = str(folder / "bin" / "python"), str(folder / "versions.txt")
    wheels = ("--only-binary", ":all:")
    return (
        uv("venv", "--clear", "--python", program, str(folder))
        or uv(
            *("pip", "compile", "pyproject.toml", "--python", python),
            *("--resolution", resolution, *wheels, "--output-file", versions),
        )
        or uv(
            *("pip", "install", "--python", python, "--constraint", versions, *wheels),
            *("--editable", ".", "--group", "dev"),
        )
    )


def run(python: str, program: str, name: str) -> Result:
    """Install one set and run the tests with it."""
    folder = FOLDER / f"{python}-{name}"
    if reason := install(folder, program, RESOLUTIONS[name]):
        return Result(python=python, name=name, versions=reason)
    executable, report = str(folder / "bin" / "python"), folder / "results.xml"
    versions = subprocess.run(
        [executable, "-c", PRINT_VERSIONS], capture_output=True, text=True, check=True
    ).stdout.split()
    subprocess.run(
        [
            *(executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"),
            *("-n", "2", "--dist", "loadfile", "-m", NOT_HERE, *TESTS),
        ],
        cwd=ROOT,
    )
    counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    if report.exists():
        for suite in ET.parse(report).getroot().iter("testsuite"):
            counts = {key: value + int(suite.get(key, 0)) for key, value in counts.items()}
    failed = counts["failures"] + counts["errors"]
    return Result(
        python=python,
        name=name,
        versions=", ".join(map(" ".join, zip(SHOWN, versions, strict=True))),
        passed=counts["tests"] - failed - counts["skipped"],
        failed=failed,
        skipped=counts["skipped"],
    )


def main() -> int:
    """Run every set and print a table. Returns the exit code."""
    results = []
    for python in sys.argv[1:] or PYTHONS:
        program = interpreter(python)
        if program is None:
            print(f"Python {python}: no interpreter was found; its sets are left out", flush=True)
            continue
        for name in RESOLUTIONS:
            print(f"Python {python}, {name} versions", flush=True)
            results.append(run(python, program, name))
    for result in results:
        print(
            f"Python {result.python} {result.name}: {result.passed} passed, {result.failed} failed,"
            f" {result.skipped} skipped ({result.versions})"
        )
    return 0 if results and all(result.ok for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
