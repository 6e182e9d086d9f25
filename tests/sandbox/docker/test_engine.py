import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from kernel_env.errors import SandboxError
from kernel_env.sandbox.docker import engine


def test_a_missing_socket_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")

    with pytest.raises(engine.NoEngine) as caught:
        engine.connect()

    assert str(caught.value) == (
        f"no Docker engine answers at unix://{tmp_path}/none.sock (No such file or directory);"
        " start one, or choose the sandbox `local`, which isolates nothing"
    )


def test_a_socket_that_nobody_listens_to_is_one_clear_line(
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
def test_an_address_where_no_engine_is_gives_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)

    with pytest.raises(SandboxError, match="no Docker engine answers at") as caught:
        engine.connect()

    assert host in str(caught.value)
    assert "\n" not in str(caught.value)


def as_nobody(program: str, **env: str) -> str:
    """What a program of ours says when an ordinary user runs it."""
    argv = [sys.executable, "-c", program]
    env = {**os.environ, **env}
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout


root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")


@root
def test_a_socket_this_user_may_not_open_is_explained(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "mine.sock"))
        (tmp_path / "mine.sock").chmod(0o600)
        for folder in (tmp_path, *tmp_path.parents[:-2]):
            folder.chmod(folder.stat().st_mode | 0o011)
        listening.listen()
        said = as_nobody(
            "import os\nfrom kernel_env.sandbox.docker import engine\nos.setuid(65534)\n"
            "try:\n    engine.connect()\nexcept engine.SandboxError as error:\n    print(error)\n",
            DOCKER_HOST=f"unix://{tmp_path}/mine.sock",
        )

    assert "may not use the Docker engine" in said
    assert "usermod -aG docker" in said
    assert said.count("\n") == 1


def test_an_engine_named_elsewhere_is_never_replaced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    said: list[str] = []

    answers = engine.ensure(said.append)

    assert not answers
    assert "none was installed: DOCKER_HOST" in said[0]
    assert "ISOLATES NOTHING" in said[1]


def test_docker_off_refuses_an_installation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    monkeypatch.setenv("DOCKER", "off")
    said: list[str] = []

    answers = engine.ensure(said.append)

    assert not answers
    assert said[0].endswith("none was installed: DOCKER=off")


def test_proxies_of_the_environment_are_not_asked_for_a_local_socket(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("all_proxy", "ALL_PROXY", "http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")

    with pytest.raises(engine.NoEngine, match="No such file or directory"):
        engine.connect()


@pytest.mark.docker
def test_an_engine_that_answers_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    try:
        client = engine.connect()
    except SandboxError as error:
        pytest.skip(str(error))
    said: list[str] = []

    answers = engine.ensure(said.append)

    assert answers
    assert said == []
    assert client.ping()
    client.close()


@root
def test_installing_without_the_right_to_is_one_clear_line() -> None:
    said = as_nobody(
        "import os\nfrom kernel_env.sandbox.docker import debian\nos.setuid(65534)\n"
        "try:\n    debian.install(['mmdebstrap'], print)\n"
        "except debian.SandboxError as error:\n    print(error)\n"
    )

    assert said.startswith("mmdebstrap must be installed first, and ")
    assert said.count("\n") == 1
