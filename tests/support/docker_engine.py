"""Run a Docker engine of a test's own, beside the machine's, which can be killed."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import docker
import pytest

from kernel_env.sandbox.docker import engine, images
from support.suites import runs

OPTIONS = ("--bridge=none", "--iptables=false", "--ip6tables=false")
"""Containers of sandboxes have no network; the machine's rules are its own."""


class OwnEngine:
    """An engine in a folder; its programs are children of this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = f"unix://{folder}/docker.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        argv = [
            *("unshare", "--net"),  # else it removes the bridge of the engine that runs here
            *("dockerd", *OPTIONS, "--host", self.address, "--pidfile", self.folder / "pid"),
            *("--data-root", self.folder / "root", "--exec-root", self.folder / "exec"),
        ]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log)
        for _ in range(300):
            if self._answers():
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.2)
        log_end = (self.folder / "log").read_text(errors="replace")[-6000:]
        raise AssertionError(f"the engine did not start: {log_end}")

    def _answers(self) -> bool:
        """Return whether it answers. The library's client leaves connections open that fail."""
        with socket.socket(socket.AF_UNIX) as connection, suppress(OSError):
            connection.settimeout(10)
            connection.connect(str(self.folder / "docker.sock"))
            connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in connection.recv(100)
        return False

    def kill(self) -> None:
        """Kill the engine, and nothing else of it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        # Its containerd dies with it, and is taken for running while nobody has reaped it.
        pid = self.folder / "exec" / "containerd" / "containerd.pid"
        while runs(int(pid.read_text())):
            time.sleep(0.05)
        pid.unlink()

    def _programs(self) -> list[int]:
        """Return the programs that run with files in the engine's folder."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                if f"{self.folder}/".encode() in path.read_bytes():
                    found.append(int(path.parent.name))
        return found

    def client(self) -> docker.DockerClient:
        """Return a client of this engine."""
        return docker.DockerClient(base_url=self.address, timeout=120)

    def load(self, image: str) -> None:
        """Copy an image from the machine's engine."""
        source, own = engine.connect(), self.client()
        own.images.load(source.images.get(image).save(named=True))
        source.close()
        own.close()

    def close(self) -> None:
        """End all programs of the engine, and remove its folder."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(60)
        for pid in self._programs():  # they end with the engine, unless that was killed
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for mount in reversed([path for path in mounts if path.startswith(f"{self.folder}/")]):
            subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
        shutil.rmtree(self.folder)


@contextmanager
def own_engine(image: str) -> Iterator[OwnEngine]:
    """Start an engine with a copy of an image; skip the test where no second one can run."""
    if os.geteuid() or not shutil.which("dockerd"):
        pytest.skip("a second Docker engine needs root and dockerd")
    found = OwnEngine(Path(tempfile.mkdtemp(prefix="ke-engine-", dir="/tmp")))
    try:
        found.start()
        found.load(images.find(image).tag)
        yield found
    finally:
        found.close()
