"""Provide the tiny task, a Docker engine where a test needs one, and checks for leftovers."""

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import settings

from kernel_env.errors import SandboxError
from kernel_env.sandbox.docker import engine, images
from kernel_env.sandbox.docker.container import LABEL, owner
from support.browser import find_browser

TINY = Path(__file__).parent / "support" / "tiny"
settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")


def pytest_configure(config: pytest.Config) -> None:
    """Use one cache for all processes of this run, so that each task is prepared once.

    Compiled modules are kept, whatever the caller's environment says: the tests start hundreds of
    Python processes, each of which would compile the package again.
    """
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if not hasattr(config, "workerinput"):
        os.environ["KERNEL_ENV_CACHE"] = tempfile.mkdtemp(prefix="ke-cache-")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the cache of this run."""
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop("KERNEL_ENV_CACHE"))


LONG = (
    *("faults/test_damage.py", "jupyter/test_lab.py", "report/test_report_in_browser.py"),
    *("faults/test_floods.py", "kernel/test_warm_pool.py", "docs/test_how_to.py"),
    *("semantics/test_programs.py", "task/test_run_checks.py", "play/test_in_browser.py"),
    *("docs/test_notebooks.py", "bench/test_bench.py", "docs/test_site.py", "test_soak.py"),
)
"""The files that take longest. They run first, so that no worker still runs one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of long files first."""
    items.sort(key=lambda item: not item.path.as_posix().endswith(LONG))


@pytest.fixture(scope="session", autouse=True)
def private_folder() -> Iterator[None]:
    """Use a temporary folder of this process; require that it is left empty."""
    folder = Path(tempfile.mkdtemp(prefix="ke-tests-"))
    before = dict(os.environ)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    yield
    remaining = [path.name for path in folder.glob("kernel-env-*")]
    os.environ.clear()
    os.environ.update(before)
    tempfile.tempdir = None
    shutil.rmtree(folder)
    assert remaining == [], "temporary folders were left behind"


@pytest.fixture(autouse=True)
def notebooks_are_valid(request: pytest.FixtureRequest) -> Iterator[None]:
    """Require that every notebook of an episode that a test leaves behind is valid."""
    folder = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    yield
    for path in folder.rglob("trajectory.ipynb") if folder else ():
        if not path.is_file() or not path.with_name("journal.jsonl").exists():
            continue
        notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
        nbformat.validate(notebook)
        assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Let programs that tests start be interrupted.

    A shell starts background jobs with SIGINT ignored, and `nohup` with SIGHUP ignored; children
    inherit that. A signal with a handler is not ignored in children.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)


@pytest.fixture(scope="session", autouse=True)
def all_containers_end() -> Iterator[None]:
    """Require that every container of this process has ended after all tests."""
    yield
    try:
        client = engine.connect()
    except SandboxError:
        return
    labels = {"label": [f"{LABEL}=sandbox", f"{LABEL}.owner={owner()}"]}
    containers = client.containers.list(all=True, filters=labels, ignore_removed=True)
    remaining = [container.name for container in containers]
    client.close()
    assert remaining == [], "containers were left behind"


@pytest.fixture(scope="session")
def docker_images() -> None:
    """Build the default image. Without an engine the test is skipped, or fails on CI."""
    try:
        client = engine.connect()
    except SandboxError as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI requires a Docker engine: {error}")
        pytest.skip(f"needs a Docker engine: {error}")
    images.build(client, images.find(images.DEFAULT), lambda *_: None)
    client.close()


@pytest.fixture(scope="session")
def torch_image(docker_images: None) -> None:
    """Require the image torch. It is not built here: that takes minutes."""
    client = engine.connect()
    image = images.find("torch")
    built = images.is_built(client, image)
    client.close()
    if not built:
        pytest.skip(f"needs the image torch; run: {images.build_command(image)}")


@pytest.fixture(autouse=True)
def _docker(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("docker"):
        request.getfixturevalue("docker_images")


@pytest.fixture(autouse=True)
def _torch(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("torch"):
        request.getfixturevalue("torch_image")


@pytest.fixture(autouse=True)
def _kaggle(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("kaggle") and not find_spec("kaggle"):
        pytest.skip("needs Kaggle's client: pip install 'kernel-env[kaggle]'")


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Any]:
    """Start a headless browser. Without one the test is skipped, or fails on CI."""
    path = find_browser()
    if path is None or not find_spec("playwright"):
        need = "a browser: apt-get install chromium; pip install playwright"
        if os.environ.get("CI"):
            pytest.fail(f"CI requires {need}")
        pytest.skip(f"needs {need}")
    from playwright.async_api import async_playwright

    async with async_playwright() as driver:
        # The browser's own sandbox refuses root, and shows nothing but pages of these tests.
        chromium = await driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        await chromium.close()


DOCKER = pytest.param("docker", marks=pytest.mark.docker)


@pytest.fixture(scope="module", params=[DOCKER, pytest.param("local", marks=pytest.mark.slow)])
def sandbox(request: pytest.FixtureRequest) -> str:
    """Name of a sandbox: by default the test runs in a container only.

    `local` runs the same code without one. What only it does is tested by tests that name it, and
    the tests that are about both name both.
    """
    name: str = request.param
    if name == "docker":
        request.getfixturevalue("docker_images")
    return name


# ── measurements ──────────────────────────────────────────────────────────────────────────

MEASUREMENT = "measurement"


@pytest.fixture
def print_later(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Record a line that is printed after all tests, also with several processes."""
    return partial(record_property, MEASUREMENT)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the lines that tests recorded."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            properties = getattr(report, "user_properties", ())
            lines = [value for name, value in properties if name == MEASUREMENT]
            if lines and report.when == "call":
                terminalreporter.write_sep("-", report.nodeid)
                for line in lines:
                    terminalreporter.write_line(str(line))


# ── the tiny task ─────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="session")
def tiny() -> str:
    """Folder of the tiny task: predict a straight line with noise."""
    return str(TINY)


@pytest.fixture
def task_folder(tmp_path: Path) -> Path:
    """Folder of a copy of the tiny task, which a test can change."""
    return Path(shutil.copytree(TINY, tmp_path / "tiny"))
