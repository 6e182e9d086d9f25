"""What tests share: the tiny task, an engine where one is needed, and a look for leftovers."""

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest

from kernel_env.errors import SandboxError
from kernel_env.sandbox.docker import engine, images
from kernel_env.sandbox.docker.container import LABEL, owner

TINY = Path(__file__).parent / "support" / "tiny"


@pytest.fixture(scope="session", autouse=True)
def places() -> Iterator[None]:
    """A cache and temporary folder of this run's own; nothing of ours may be left in the latter."""
    folder = Path(tempfile.mkdtemp(prefix="ke-tests-"))
    (folder / "tmp").mkdir()
    before = dict(os.environ)
    os.environ["KERNEL_ENV_CACHE"] = str(folder / "cache")
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder / "tmp")
    yield
    left = [path.name for path in (folder / "tmp").glob("kernel-env-*")]
    os.environ.clear()
    os.environ.update(before)
    tempfile.tempdir = None
    shutil.rmtree(folder)
    assert left == [], "temporary folders were left behind"


@pytest.fixture(scope="session", autouse=True)
def interrupts() -> None:
    """Programs that tests start can be interrupted, even where a shell started us in the background
    and we may not, or `nohup` did. What is caught here is not ignored there."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)


@pytest.fixture(scope="session", autouse=True)
def no_container_is_left() -> Iterator[None]:
    """Every container that a test started is gone in the end."""
    yield
    try:
        client = engine.connect()
    except SandboxError:
        return
    mine = {"label": [f"{LABEL}=sandbox", f"{LABEL}.owner={owner()}"]}
    left = [c.name for c in client.containers.list(all=True, filters=mine, ignore_removed=True)]
    client.close()
    assert left == [], "containers were left behind"


@pytest.fixture(scope="session")
def built() -> None:
    """An engine with the images. Without an engine the test is skipped; on CI it fails."""
    try:
        client = engine.connect()
    except SandboxError as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI has an engine, always: {error}")
        pytest.skip(f"needs a Docker engine: {error}")
    for image in images.known().values():
        images.build(client, image, lambda *_: None)
    client.close()


@pytest.fixture(autouse=True)
def _docker(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("docker"):
        request.getfixturevalue("built")


@pytest.fixture(autouse=True)
def _kaggle(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("kaggle") and not find_spec("kaggle"):
        pytest.skip("needs Kaggle's client: pip install 'kernel-env[kaggle]'")


@pytest.fixture(params=["local", pytest.param("docker", marks=pytest.mark.docker)])
def sandbox(request: pytest.FixtureRequest) -> str:
    """The name of a sandbox: what holds for one holds for the other."""
    name: str = request.param
    return name


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Say something that was measured; it is printed when all tests are over."""
    return partial(record_property, "told")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the tests told, wherever they ran."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            told = [text for name, text in getattr(report, "user_properties", ()) if name == "told"]
            if told and report.when == "call":
                terminalreporter.write_sep("-", report.nodeid)
                for text in told:
                    terminalreporter.write_line(str(text))


@pytest.fixture
def tiny() -> str:
    """A task folder that takes no time: a line through a cloud of points."""
    return str(TINY)


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    """A copy of the tiny task, to be broken."""
    return Path(shutil.copytree(TINY, tmp_path / "tiny"))
