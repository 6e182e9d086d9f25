"""The server that `kernel-env open` starts has sealed kernels and nothing else, and ends with them."""

import json
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import nbformat
import pytest

from kernel_env import temporary
from kernel_env.sandbox.docker import engine
from kernel_env.sandbox.docker.container import LABEL
from support.browser import opening

END_S = 30


def ask(address: str, path: str, data: bytes | None = None) -> Any:
    """Send a request to the server; returns its answer, or the status of an error."""
    parts = urlsplit(address)
    (token,) = parse_qs(parts.query)["token"]
    headers = {"Authorization": f"token {token}"}
    request = urllib.request.Request(f"{parts.scheme}://{parts.netloc}{path}", data, headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code


def containers_of(pid: int) -> list[str]:
    """Return the names of the running containers of a process."""
    client = engine.connect()
    found = client.containers.list(filters={"label": f"{LABEL}=sandbox"}, ignore_removed=True)
    names = [c.name for c in found if c.labels[f"{LABEL}.owner"].endswith(f":{pid}")]
    client.close()
    return names


@pytest.mark.slow
@pytest.mark.docker
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_but_sealed_kernels_can_be_started_and_none_stays(
    tmp_path: Path, number: signal.Signals
) -> None:
    notebook = tmp_path / "a.ipynb"
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(metadata={"kernelspec": spec}), notebook)

    with opening(notebook, "--image", "base") as (process, address):
        kernelspecs = ask(address, "/api/kernelspecs")["kernelspecs"]
        started = ask(address, "/api/kernels", b"{}")
        terminal = ask(address, "/api/terminals", b"{}")
        during = containers_of(process.pid)
        process.send_signal(number)
        code = process.wait(END_S)
    deadline = time.monotonic() + END_S
    while containers_of(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    left = temporary.folders_of(process.pid)
    for folder in left:  # `kernel-env doctor` finds those of a process that was killed
        temporary.remove(folder)

    assert list(kernelspecs) == ["python3"]
    assert kernelspecs["python3"]["spec"]["display_name"] == "Sealed Python (base)"
    assert started["name"] == "python3"
    assert terminal == 404
    assert len(during) == 1
    assert bool(left) == (number == signal.SIGKILL)
    assert code == (0 if number == signal.SIGTERM else -number)
    assert containers_of(process.pid) == []
