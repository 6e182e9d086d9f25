"""Run the tests of adapters, each with the framework that it is for, in an environment of its own.

    python tests/frameworks/run.py [openenv …]

Frameworks pin versions that exclude each other, so none is a dependency of the tests. Each gets a
virtual environment in `.frameworks`, which is kept. One that cannot be installed here is left out,
with the reason. `make test-frameworks` runs it.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
from version_matrix import interpreter

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".frameworks"
TESTING = ("pytest>=8.2", "pytest-asyncio>=0.24", "hypothesis>=6.100")
"""What every environment has beside this project and the framework."""


@dataclass(frozen=True, kw_only=True)
class Framework:
    """A framework; the tests that need it are in `test_NAME.py`, or in several `test_NAME_….py`."""

    packages: tuple[str, ...]
    """What is installed: this project with an extra, and what the tests need beside it."""
    module: str
    """What these tests import."""
    python: str = ""
    """The version of Python that it needs; empty for the one that runs this."""


FRAMEWORKS = {
    "agentlightning": Framework(
        packages=(".", "agentlightning>=1,<2"), module="agentlightning", python="3.12"
    ),
    "inspect": Framework(packages=(".[inspect]",), module="inspect_ai"),
    "nemo_gym": Framework(packages=(".", "nemo-gym==0.4.*"), module="nemo_gym", python="3.12"),
    "openenv": Framework(packages=(".[openenv]",), module="openenv"),
    "pydantic_ai": Framework(
        packages=(".[mcp]", "pydantic-ai-slim[mcp]>=2.68,<3"), module="pydantic_ai"
    ),
    "skyrl": Framework(packages=(".[skyrl]",), module="skyrl_gym"),
    "verl": Framework(packages=(".[verl]", "torch==2.13.*"), module="verl"),
    "verifiers": Framework(packages=(".[verifiers]",), module="verifiers"),
    "trl": Framework(packages=(".[trl]", "torch==2.13.*", "matplotlib", "nbclient"), module="trl"),
}
"""Every framework, by the name in its test files."""


def tests_of(name: str) -> list[Path]:
    """Return the files with the tests that need a framework."""
    return sorted(Path(__file__).parent.glob(f"test_{name}*.py"))


def install(name: str) -> str:
    """Make the environment of a framework; return why that failed, empty if it did not."""
    folder, packages = FOLDER / name, FRAMEWORKS[name].packages
    python = str(folder / "bin" / "python")
    wanted = FRAMEWORKS[name].python
    base = interpreter(wanted) if wanted else sys.executable
    if base is None:
        return f"it needs Python {wanted}, which was not found"
    for arguments in (
        ("venv", "--quiet", "--allow-existing", "--python", base, str(folder)),
        ("pip", "install", "--quiet", "--python", python, "--editable", *packages, *TESTING),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "uv", *arguments],
            cwd=ROOT,
            env={"UV_FIND_LINKS": os.environ.get("PIP_FIND_LINKS", ""), **os.environ},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            return (done.stderr.strip() or "uv failed").splitlines()[-1]
    return ""


def run(name: str) -> int:
    """Run the tests of a framework; return the exit code."""
    python = FOLDER / name / "bin" / "python"
    options = (
        "-q",
        "-p",
        "no:cacheprovider",
        "-o",
        "filterwarnings=default",
        "-m",
        "frameworks and not slow",
    )
    return subprocess.run([python, "-m", "pytest", *options, *tests_of(name)], cwd=ROOT).returncode


def main() -> int:
    """Run all, or those that are named; return the exit code."""
    failed = []
    for name in sys.argv[1:] or FRAMEWORKS:
        if name not in FRAMEWORKS:
            print(f"no framework named {name!r}; known: {', '.join(FRAMEWORKS)}")
            return 2
        print(f"{name}: installing", flush=True)
        if reason := install(name):
            print(f"{name}: left out: it cannot be installed here: {reason}", flush=True)
        elif run(name):
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
