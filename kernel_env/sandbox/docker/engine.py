"""The Docker engine: find the one that answers, or install and start one.

`connect` is what a sandbox needs and changes nothing. `ensure` is what a set-up
needs: as root on a Debian-like machine it installs the distribution's engine and
starts it, unless the environment says `DOCKER=off`. An engine elsewhere, named by
DOCKER_HOST or a Docker context, is used when it answers and never replaced.
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
ANSWER_S = 60
START_S = 60.0
LOG = Path("/var/log/kernel-env-dockerd.log")
"""What an engine that we started without systemd says."""
PID = Path("/var/run/docker.pid")
"""Where a running engine writes its process's number."""

Say = Callable[[str], None]


class NoEngine(SandboxError):
    """Nothing answers where the engine should be."""


def connect() -> docker.DockerClient:
    """A client of the engine that answers.

    Raises `NoEngine` when none does, `SandboxError` when it refuses this user or runs no Linux.
    """
    where = address()
    _knock(where)
    try:
        client = docker.from_env(timeout=PING_S)
        system = client.version().get("Os", "linux")
    except (DockerException, requests.RequestException) as error:
        raise NoEngine(_silent(where, _root(error))) from error
    if system != "linux":
        client.close()
        raise SandboxError(
            f"the Docker engine at {where} runs {system} containers;"
            " switch it to Linux containers, or choose the sandbox `local`, which isolates nothing"
        )
    client.api.timeout = ANSWER_S
    return client


def ensure(say: Say) -> bool:
    """See to it that an engine answers; False when none does and none may be installed.

    Each thing it does and each reason not to is said in one line. Raises `SandboxError` when an
    engine refuses this user, and when one could not be installed or started.
    """
    try:
        connect().close()
    except NoEngine as error:
        if reason := _hands_off():
            say(f"{error}; none was installed: {reason}")
            say(
                "WARNING: without an engine only the sandbox `local` works, and IT ISOLATES NOTHING"
            )
            return False
    else:
        return True
    if _dockerd() is None:
        debian.install(["docker.io", "ca-certificates", "mmdebstrap"], say)
    _start(say)
    return True


def address() -> str:
    """Where the engine should answer: DOCKER_HOST, the Docker context, or the usual socket."""
    if host := os.environ.get("DOCKER_HOST"):
        return host
    context = ContextAPI.get_context(os.environ.get("DOCKER_CONTEXT"))
    return (context.Host if context else None) or SOCKET


@contextmanager
def plainly(doing: str) -> Iterator[None]:
    """Turn what the engine's client and the disk raise inside into a `SandboxError` of one line."""
    try:
        yield
    except (DockerException, requests.RequestException, OSError) as error:
        said = getattr(error, "explanation", None) or str(error)
        raise SandboxError(f"{doing}: {debian.gist(str(said))}") from error


def _silent(where: str, why: str) -> str:
    return (
        f"no Docker engine answers at {where} ({why});"
        " start one, or choose the sandbox `local`, which isolates nothing"
    )


def _knock(where: str) -> None:
    # The SDK would tell these cases apart only in its words, and leave its socket open.
    scheme, _, path = where.partition("://")
    if scheme not in {"unix", "http+unix"}:
        return
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(PING_S)
        try:
            door.connect("/" + path.lstrip("/"))
        except PermissionError as error:
            raise SandboxError(
                f"this user may not use the Docker engine at {where}; join its group"
                ' (sudo usermod -aG docker "$USER", then log in again) or run as root'
            ) from error
        except OSError as error:
            raise NoEngine(_silent(where, error.strerror or str(error))) from error


def _root(error: BaseException) -> str:
    while inner := error.__cause__ or error.__context__:
        error = inner
    return debian.gist(str(error)) or type(error).__name__


def _hands_off() -> str | None:
    """Why no engine of ours would be installed or started here; None when one would."""
    if os.environ.get("DOCKER", "").lower() in {"off", "0", "no", "false"}:
        return "DOCKER=off"
    if address().partition("://")[2].lstrip("/") not in {"var/run/docker.sock", "run/docker.sock"}:
        return "DOCKER_HOST or a Docker context names another one"
    return debian.cannot_install()


def _dockerd() -> str | None:
    return shutil.which("dockerd", path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin")


def _start(say: Say) -> None:
    if Path("/run/systemd/system").is_dir():
        say("starting the Docker engine: systemctl start docker")
        ended = debian.run(["systemctl", "start", "docker"])
        if ended.exit_code != 0 or not _answers(time.monotonic() + START_S, lambda: True):
            raise SandboxError(f"the Docker engine did not start: {debian.gist(ended.output)}")
        return
    # Kernels with no packet filter cannot have Docker's bridge; our containers need no network.
    for options in ([], ["--bridge=none", "--iptables=false", "--ip6tables=false"]):
        say(f"starting the Docker engine: {' '.join(['dockerd', *options])} (log: {LOG})")
        if _started(options):
            return
        words = _last_words()
        if not re.search("iptables|nftables|bridge", words):
            break
    raise SandboxError(f"the Docker engine did not start: {words}; see {LOG}")


def _started(options: list[str]) -> bool:
    dockerd = _dockerd()
    if dockerd is None:
        raise SandboxError("no Docker engine was found after its installation: dockerd is missing")
    with plainly("the Docker engine did not start"), LOG.open("wb") as log:
        # A session of its own, and none of our pipes: whoever waits for our output must not
        # wait for the engine, and a Ctrl-C at our terminal must not end it.
        engine = subprocess.Popen(
            [dockerd, *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            umask=0o022,
            start_new_session=True,
        )
    # Ours gives up when another got there first: the package's own start script, a second set-up.
    answers = _answers(
        time.monotonic() + START_S, lambda: engine.poll() is None or _another_is_starting()
    )
    if not answers and engine.poll() is None:
        engine.terminate()
        engine.wait()
    engine.returncode = 0  # it outlives us, on purpose; without this Python warns about it
    return answers


def _another_is_starting() -> bool:
    try:
        os.kill(int(PID.read_text()), 0)
    except (OSError, ValueError):
        return False
    return True


def _answers(deadline: float, alive: Callable[[], bool]) -> bool:
    while True:
        # Asked before the knock: an engine of somebody else may answer although ours gave up.
        goes_on = alive() and time.monotonic() < deadline
        try:
            connect().close()
        except NoEngine:
            if not goes_on:
                return False
            time.sleep(0.2)
        else:
            return True


def _last_words() -> str:
    with plainly("its log cannot be read"):
        return debian.gist(LOG.read_text(errors="replace"))
