"""Connecting to the Docker engine, and every reason not to be able to."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from kernel_env.errors import SandboxError
from kernel_env.sandbox.docker import engine


def test_missing_socket_is_reported_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")

    with pytest.raises(engine.NoEngine) as caught:
        engine.connect()

    assert str(caught.value) == (
        f"no Docker engine answers at unix://{tmp_path}/none.sock (No such file or directory);"
        " start one, or choose the sandbox `local`, which isolates nothing"
    )


def test_socket_without_listener_is_reported_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as abandoned:
        abandoned.bind(str(tmp_path / "dead.sock"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/dead.sock")

    with pytest.raises(engine.NoEngine, match=r"dead\.sock \(Connection refused\);"):
        engine.connect()


@pytest.mark.parametrize(
    "host", ["tcp://127.0.0.1:1", "ssh://nobody@127.0.0.1", "carrier://pigeon"]
)
def test_address_without_engine_is_reported_in_one_line(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)

    with pytest.raises(SandboxError, match="no Docker engine answers at") as caught:
        engine.connect()

    assert host in str(caught.value)
    assert "\n" not in str(caught.value)


def output_as_nobody(program: str, **env: str) -> str:
    """Return the output of a Python program that can become an ordinary user."""
    argv = [sys.executable, "-c", program]
    env = {**os.environ, **env}
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout


root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")


@root
def test_socket_without_permission_is_explained(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "mine.sock"))
        (tmp_path / "mine.sock").chmod(0o600)
        for folder in (tmp_path, *tmp_path.parents[:-2]):
            folder.chmod(folder.stat().st_mode | 0o011)
        listening.listen()
        output = output_as_nobody(
            "import os\nfrom kernel_env.sandbox.docker import engine\nos.setuid(65534)\n"
            "try:\n    engine.connect()\nexcept engine.SandboxError as error:\n    print(error)\n",
            DOCKER_HOST=f"unix://{tmp_path}/mine.sock",
        )

    assert "no access to the Docker engine" in output
    assert "usermod -aG docker" in output
    assert output.count("\n") == 1


def test_engine_named_elsewhere_is_never_replaced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    reports: list[str] = []

    answered = engine.ensure(reports.append)

    assert not answered
    assert "none was installed: DOCKER_HOST" in reports[0]
    assert "ISOLATES NOTHING" in reports[1]


def test_docker_off_prevents_installation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    monkeypatch.setenv("DOCKER", "off")
    reports: list[str] = []

    answered = engine.ensure(reports.append)

    assert not answered
    assert reports[0].endswith("none was installed: DOCKER=off")


def test_local_socket_does_not_use_proxies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("all_proxy", "ALL_PROXY", "http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")

    with pytest.raises(engine.NoEngine, match="No such file or directory"):
        engine.connect()


@pytest.mark.docker
def test_running_engine_is_used_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    try:
        client = engine.connect()
    except SandboxError as error:
        pytest.skip(str(error))
    reports: list[str] = []

    answered = engine.ensure(reports.append)

    assert answered
    assert reports == []
    assert client.ping()
    client.close()


@root
def test_installing_without_permission_is_reported_in_one_line() -> None:
    output = output_as_nobody(
        "import os\nfrom kernel_env.sandbox.docker import debian\nos.setuid(65534)\n"
        "try:\n    debian.install(['mmdebstrap'], print)\n"
        "except debian.SandboxError as error:\n    print(error)\n"
    )

    assert output.startswith("mmdebstrap must be installed first, and ")
    assert output.count("\n") == 1
