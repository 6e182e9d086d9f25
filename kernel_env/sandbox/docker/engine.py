"""Connect to the Docker engine, or install and start one.

`connect` is used by sandboxes and changes nothing. `ensure` is used by the set-up: as root on a
Debian-like machine it installs the distribution's engine and starts it, unless the environment has
`DOCKER=off`. An engine elsewhere, named by DOCKER_HOST or a Docker context, is used if it answers
and never replaced.
"""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import requests
from docker.context import ContextAPI
from docker.errors import DockerException

from kernel_env.errors import SandboxError
from kernel_env.sandbox.docker import debian

SOCKET = "unix:///var/run/docker.sock"
PING_S = 10
RESPONSE_S = 60
START_S = 60.0
LOG_PATH = Path("/var/log/kernel-env-dockerd.log")
"""Log of an engine that was started here without systemd."""
PID_PATH = Path("/var/run/docker.pid")
"""File in which a running engine writes its process ID."""

Report = Callable[[str], None]


class NoEngine(SandboxError):
    """No engine answers at its address."""


def connect() -> docker.DockerClient:
    """Return a client of the engine that answers.

    Raises `NoEngine` if none does, `SandboxError` if it refuses this user or does not run Linux
    containers.
    """
    engine_address = address()
    _check_socket(engine_address)
    try:
        client = docker.from_env(timeout=PING_S)
        system = client.version().get("Os", "linux")
    except (DockerException, requests.RequestException) as error:
        raise NoEngine(_no_engine_message(engine_address, _root_cause(error))) from error
    if system != "linux":
        client.close()
        raise SandboxError(
            f"the Docker engine at {engine_address} runs {system} containers;"
            " switch it to Linux containers, or choose the sandbox `local`, which isolates nothing"
        )
    client.api.timeout = RESPONSE_S
    return client


def ensure(report: Report) -> bool:
    """Ensure that an engine answers; False if none does and none can be installed.

    Each action, and each reason not to act, is reported in one line. Raises `SandboxError` if an
    engine refuses this user, or if one could not be installed or started.
    """
    try:
        connect().close()
    except NoEngine as error:
        if reason := _install_blocked_reason():
            report(f"{error}; none was installed: {reason}")
            report(
                "WARNING: without an engine only the sandbox `local` works, and IT ISOLATES NOTHING"
            )
            return False
    else:
        return True
    if _find_dockerd() is None:
        debian.install(["docker.io", "ca-certificates", "mmdebstrap"], report)
    _start_engine(report)
    return True


def address() -> str:
    """Return the engine's address: DOCKER_HOST, the Docker context, or the default socket."""
    if host := os.environ.get("DOCKER_HOST"):
        return host
    context = ContextAPI.get_context(os.environ.get("DOCKER_CONTEXT"))
    return (context.Host if context else None) or SOCKET


@contextmanager
def as_sandbox_error(failure: str) -> Iterator[None]:
    """Turn errors of the engine's client and of the disk into a `SandboxError` of one line."""
    try:
        yield
    except (DockerException, requests.RequestException, OSError) as error:
        message = getattr(error, "explanation", None) or str(error)
        raise SandboxError(f"{failure}: {debian.error_line(str(message))}") from error


def _no_engine_message(engine_address: str, reason: str) -> str:
    return (
        f"no Docker engine answers at {engine_address} ({reason});"
        " start one, or choose the sandbox `local`, which isolates nothing"
    )


def _check_socket(engine_address: str) -> None:
    # The SDK distinguishes these cases only in its messages, and leaves its socket open.
    scheme, _, path = engine_address.partition("://")
    if scheme not in {"unix", "http+unix"}:
        return
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PING_S)
        try:
            connection.connect("/" + path.lstrip("/"))
        except PermissionError as error:
            raise SandboxError(
                f"this user has no access to the Docker engine at {engine_address}; join its group"
                ' (sudo usermod -aG docker "$USER", then log in again) or run as root'
            ) from error
        except OSError as error:
            raise NoEngine(
                _no_engine_message(engine_address, error.strerror or str(error))
            ) from error


def _root_cause(error: BaseException) -> str:
    while inner := error.__cause__ or error.__context__:
        error = inner
    return debian.error_line(str(error)) or type(error).__name__


def _install_blocked_reason() -> str | None:
    """Return why no engine is installed or started here; None if one is."""
    if os.environ.get("DOCKER", "").lower() in {"off", "0", "no", "false"}:
        return "DOCKER=off"
    if address().partition("://")[2].lstrip("/") not in {"var/run/docker.sock", "run/docker.sock"}:
        return "DOCKER_HOST or a Docker context names another engine"
    return debian.install_unavailable_reason()


def _find_dockerd() -> str | None:
    return shutil.which("dockerd", path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin")


def _start_engine(report: Report) -> None:
    if Path("/run/systemd/system").is_dir():
        report("starting the Docker engine: systemctl start docker")
        completed = debian.run(["systemctl", "start", "docker"])
        if completed.exit_code != 0 or not _wait_for_engine(
            time.monotonic() + START_S, lambda: True
        ):
            raise SandboxError(
                f"the Docker engine did not start: {debian.error_line(completed.output)}"
            )
        return
    # Kernels without a packet filter cannot have Docker's bridge; the containers need no network.
    for options in ([], ["--bridge=none", "--iptables=false", "--ip6tables=false"]):
        report(f"starting the Docker engine: {' '.join(['dockerd', *options])} (log: {LOG_PATH})")
        if _start_dockerd(options):
            return
        log_error = _log_error()
        if not re.search("iptables|nftables|bridge", log_error):
            break
    raise SandboxError(f"the Docker engine did not start: {log_error}; see {LOG_PATH}")


def _start_dockerd(options: list[str]) -> bool:
    dockerd = _find_dockerd()
    if dockerd is None:
        raise SandboxError("no Docker engine was found after its installation: dockerd is missing")
    with as_sandbox_error("the Docker engine did not start"), LOG_PATH.open("wb") as log:
        # A session of its own without inherited pipes: whoever waits for the output of this process
        # must not wait for the engine, and Ctrl-C in this terminal must not end it.
        engine = subprocess.Popen(
            [dockerd, *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            umask=0o022,
            start_new_session=True,
        )
    # This engine exits if another started first: the package's start script, a second set-up.
    answered = _wait_for_engine(
        time.monotonic() + START_S, lambda: engine.poll() is None or _other_dockerd_runs()
    )
    if not answered and engine.poll() is None:
        engine.terminate()
        engine.wait()
    engine.returncode = 0  # it outlives this process on purpose; prevents Python's warning
    return answered


def _other_dockerd_runs() -> bool:
    try:
        os.kill(int(PID_PATH.read_text()), 0)
    except (OSError, ValueError):
        return False
    return True


def _wait_for_engine(deadline: float, is_running: Callable[[], bool]) -> bool:
    while True:
        # Checked before connecting: another engine may answer although this one has exited.
        keep_waiting = is_running() and time.monotonic() < deadline
        try:
            connect().close()
        except NoEngine:
            if not keep_waiting:
                return False
            time.sleep(0.2)
        else:
            return True


def _log_error() -> str:
    with as_sandbox_error("its log cannot be read"):
        return debian.error_line(LOG_PATH.read_text(errors="replace"))
