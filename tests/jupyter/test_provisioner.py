"""Any Jupyter client can start a sandboxed kernel by its kernelspec."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager, KernelManager
from jupyter_client.multikernelmanager import AsyncMultiKernelManager
from jupyter_client.session import Session
from nbclient import NotebookClient

from kernel_env.episode import open_episode
from kernel_env.episode.actions import ExecuteCode
from kernel_env.errors import SandboxError, UsageError
from kernel_env.sandbox.docker import engine
from kernel_env.sandbox.docker.container import LABEL, owner
from support.episodes import SUBMIT_LINE
from support.kernelspecs import REPLY_S, install_kernelspec, run_async, run_blocking

CODE = "import os, socket\nx = 41\nprint(x + 1, sorted(os.listdir()), socket.if_nameindex()[0][1])"


@contextmanager
def blocking_kernel(
    kernelspecs: KernelSpecManager,
) -> Iterator[tuple[KernelManager, BlockingKernelClient]]:
    """Start a kernel and a client as a synchronous program does; end both on leaving."""
    manager = KernelManager(kernel_name="sealed", kernel_spec_manager=kernelspecs)
    manager.start_kernel()
    client = manager.client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=REPLY_S)
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@asynccontextmanager
async def connected(manager: AsyncKernelManager) -> AsyncIterator[AsyncKernelClient]:
    """Connect to a kernel that was started."""
    client = manager.client()
    assert isinstance(client, AsyncKernelClient)
    client.start_channels()
    try:
        await client.wait_for_ready(timeout=REPLY_S)
        yield client
    finally:
        client.stop_channels()


@pytest.mark.filterwarnings("ignore")  # nbclient's own
async def test_nbclient_runs_a_notebook_in_a_sandbox_by_its_kernelspec(
    tmp_path: Path, sandbox: str
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "train.csv").write_text("hello")
    tmp_path.chmod(0o755)
    kernelspecs = install_kernelspec(tmp_path, sandbox, data=str(data))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CODE)] * 2)

    manager = AsyncKernelManager(kernel_name="sealed", kernel_spec_manager=kernelspecs)
    await NotebookClient(notebook, km=manager, timeout=60).async_execute(cleanup_kc=True)

    assert notebook.cells[1].outputs[0].text == "42 [] lo\n"
    assert not manager.has_kernel


# ── restart ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("now", [False, True])
def test_clients_reconnect_to_a_kernel_that_restarts(
    tmp_path: Path, sandbox: str, now: bool
) -> None:
    kernelspecs = install_kernelspec(tmp_path, sandbox)
    with blocking_kernel(kernelspecs) as (manager, client):
        other = manager.client(session=Session(key=manager.session.key))
        other.start_channels()
        other.wait_for_ready(timeout=REPLY_S)
        run_blocking(client, "x = 41; open('f', 'w').write('kept')")
        before = manager.get_connection_info()

        for _ in range(2):
            manager.restart_kernel(now=now)
            client.wait_for_ready(timeout=REPLY_S)
        other.wait_for_ready(timeout=REPLY_S)
        after = run_blocking(client, "print('x' in dir(), open('f').read())")
        other_after = run_blocking(other, "print('x' in dir())")
        other.stop_channels()
        new = manager.client(session=Session(key=manager.session.key))
        new.start_channels()
        new.wait_for_ready(timeout=REPLY_S)
        new.stop_channels()

        assert manager.get_connection_info() == before
    assert after == "False kept\n"
    assert other_after == "False\n"


def test_a_cell_that_kills_its_kernel_is_undone_and_says_so(tmp_path: Path, sandbox: str) -> None:
    kernelspecs = install_kernelspec(tmp_path, sandbox)
    with blocking_kernel(kernelspecs) as (manager, client):
        run_blocking(client, "x = 41; open('f', 'w').write('kept')")

        texts = outputs_while_failing(
            client,
            "x = 0; print('seen', flush=True)\nimport os, time; time.sleep(0.3); os._exit(7)",
        )
        after = run_blocking(client, "print(x + 1, open('f').read())")

        assert manager.is_alive()
    assert texts[0] == "seen\n"
    assert texts[1].startswith(
        "KernelRestored: the kernel exited with code 7; this cell was undone"
    )
    assert after == "42 kept\n"


def outputs_while_failing(client: BlockingKernelClient, code: str) -> list[str]:
    """Run a cell that fails; return its outputs as text, the error last."""
    texts: list[str] = []

    def take(message: Any) -> None:
        content = message["content"]
        if message["msg_type"] == "error":
            texts.append("\n".join(content["traceback"]))
        elif message["msg_type"] == "stream":
            texts.append(content["text"])

    reply = client.execute_interactive(code, allow_stdin=False, timeout=REPLY_S, output_hook=take)
    assert reply["content"]["status"] == "error"
    return texts


@pytest.mark.docker
def test_a_kernel_whose_container_has_ended_is_restored_in_a_new_one(tmp_path: Path) -> None:
    kernelspecs = install_kernelspec(tmp_path, "docker")
    with blocking_kernel(kernelspecs) as (_, client):
        run_blocking(client, "x = 41; open('f', 'w').write('kept')")
        kill_own_container()

        after = run_blocking(client, "print(x + 1, open('f').read())")

    assert after.startswith("42 kept\n[kernel restored: the kernel ended with its sandbox")
    assert "1 earlier cell was replayed" in after


@pytest.mark.docker
async def test_a_restart_gets_a_new_container_if_the_old_one_has_ended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kernelspecs = install_kernelspec(tmp_path, "docker")
    manager = AsyncKernelManager(kernel_name="sealed", kernel_spec_manager=kernelspecs)
    await manager.start_kernel()
    try:
        async with connected(manager) as client:
            await run_async(client, "open('f', 'w').write('lost')")
            await asyncio.to_thread(kill_own_container)

            await manager.restart_kernel(now=True)
            await client.wait_for_ready(timeout=REPLY_S)
            after = await run_async(client, "import os; print(os.listdir())")
    finally:
        await manager.shutdown_kernel()

    assert after == "[]\n"
    assert "without its files" in caplog.text


def kill_own_container() -> None:
    """Kill the one container of this process."""
    docker = engine.connect()
    labels = [f"{LABEL}=sandbox", f"{LABEL}.owner={owner()}"]
    (container,) = docker.containers.list(filters={"label": labels}, ignore_removed=True)
    container.kill()
    docker.close()


# ── interrupts and ends ───────────────────────────────────────────────────────────────────


def test_a_cell_is_interrupted_also_from_another_event_loop(tmp_path: Path, sandbox: str) -> None:
    kernelspecs = install_kernelspec(tmp_path, sandbox)

    async def interrupt() -> None:  # as `jupyter console` does
        manager.interrupt_kernel()

    errors = []
    with blocking_kernel(kernelspecs) as (manager, client):
        run_blocking(client, "import time; x = 41")
        for interrupt_now in (manager.interrupt_kernel, lambda: asyncio.run(interrupt())):
            client.execute("print('begun'); time.sleep(600)", stop_on_error=False)
            wait_for_output(client)
            interrupt_now()
            errors.append(client.get_shell_msg(timeout=REPLY_S)["content"]["ename"])
        after = run_blocking(client, "x")

    assert errors == ["KeyboardInterrupt"] * 2
    assert after == "41"


def wait_for_output(client: BlockingKernelClient) -> None:
    """Wait until the cell has printed something."""
    while client.get_iopub_msg(timeout=REPLY_S)["msg_type"] != "stream":
        pass


async def test_two_kernels_share_nothing(tmp_path: Path, sandbox: str) -> None:
    kernelspecs = install_kernelspec(tmp_path, sandbox)
    kernels = AsyncMultiKernelManager(kernel_spec_manager=kernelspecs)
    names = await asyncio.gather(*(kernels.start_kernel(kernel_name="sealed") for _ in range(2)))
    first, second = (kernels.get_kernel(name) for name in names)
    try:
        async with connected(first) as to_first, connected(second) as to_second:
            await asyncio.gather(
                run_async(to_first, "x = 1; open('f', 'w').write('first')"),
                run_async(to_second, "x = 2; open('f', 'w').write('second')"),
            )
            await first.restart_kernel()
            await to_first.wait_for_ready(timeout=REPLY_S)
            in_first = await run_async(to_first, "print('x' in dir(), open('f').read())")
            in_second = await run_async(to_second, "print(x, open('f').read())")
            await kernels.shutdown_kernel(names[0])
            alone = await run_async(to_second, "print(x)")
    finally:
        await kernels.shutdown_all()

    assert in_first == "False first\n"
    assert in_second == "2 second\n"
    assert alone == "2\n"


async def test_a_kernel_that_cannot_start_leaves_nothing_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none")
    without_data = install_kernelspec(tmp_path, "local", data=str(tmp_path / "missing"))
    without_engine = install_kernelspec(tmp_path / "b", None)  # never in `local` without being told
    automatic = install_kernelspec(tmp_path / "c", "auto")

    for kernelspecs, error, reason in (
        (without_data, UsageError, "missing does not exist"),
        (without_engine, SandboxError, "Docker"),
        (automatic, SandboxError, "Without an engine nothing isolates this code"),
    ):
        manager = AsyncKernelManager(kernel_name="sealed", kernel_spec_manager=kernelspecs)
        manager.ready.add_done_callback(lambda ready: ready.exception())
        with pytest.raises(error, match=reason):
            await manager.start_kernel()
        assert not manager.has_kernel


# ── environment ───────────────────────────────────────────────────────────────────────────


def test_a_kernel_has_the_variables_that_kernel_json_names_and_none_of_the_host(
    tmp_path: Path, sandbox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = {"GREETING": "hello", "TEMPLATE": "${HOST_TOKEN}", "PYTHONPATH": "/data/lib"}
    kernelspecs = install_kernelspec(tmp_path, sandbox, env=env)
    monkeypatch.setenv("HOST_TOKEN", "a-secret")
    monkeypatch.setenv("GREETING", "the host's")

    with blocking_kernel(kernelspecs) as (manager, client):
        code = "import os\nfor item in sorted(os.environ.items()): print(*item, sep='=')"
        first = run_blocking(client, code)
        manager.restart_kernel(now=True, env={**os.environ, "PASSED": "also the host's"})
        client.wait_for_ready(timeout=REPLY_S)
        second = run_blocking(client, code)

    variables = dict(line.split("=", 1) for line in first.splitlines())
    assert {name: variables[name] for name in env} == env
    assert "a-secret" not in first
    assert not {"HOST_TOKEN", "PASSED", "PYTEST_CURRENT_TEST"} & variables.keys()
    assert second == first


@pytest.mark.filterwarnings("ignore")  # nbclient's own
async def test_a_trajectory_runs_as_a_notebook(tiny: str, tmp_path: Path, sandbox: str) -> None:
    read_back = "print(len(open(os.environ['OUTPUT_PATH']).readlines()))"
    async with open_episode(tiny, sandbox=sandbox, out=tmp_path / "runs") as episode:
        for code in (SUBMIT_LINE, read_back):
            await episode.act(ExecuteCode(code=code))
    public = episode.setup.prepared.public
    kernelspecs = install_kernelspec(tmp_path, sandbox, data=str(public))
    notebook = nbformat.read(episode.notebook, as_version=4)
    before = outputs_of(notebook)

    manager = AsyncKernelManager(kernel_name="sealed", kernel_spec_manager=kernelspecs)
    await NotebookClient(notebook, km=manager, timeout=60).async_execute(cleanup_kc=True)

    assert outputs_of(notebook) == before
    assert before[1][0]["text"].strip().isdigit()


def outputs_of(notebook: Any) -> list[list[Any]]:
    """Return the outputs of each code cell."""
    return [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
