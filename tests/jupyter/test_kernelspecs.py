"""Kernelspecs are installed, listed and removed, and name kernels that every program can start."""

import asyncio
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.connect import write_connection_file
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager

from kernel_env.jupyter import kernelspecs
from support.cli import error_line, run_cli
from support.jupyter_clients import client_at, run, sealed_kernel
from support.kernelspecs import REPLY_S, run_async


def test_a_kernelspec_is_installed_listed_and_removed(tmp_path: Path) -> None:
    user = {"JUPYTER_DATA_DIR": str(tmp_path / "user")}
    data = tmp_path / "data"
    data.mkdir()

    installed = run_cli("kernelspec", "install", "--data", data, "--user", "--json", **user)
    again = run_cli(
        "kernelspec", "install", "--user", "--display-name", "Mine", "--sandbox", "local", **user
    )
    listed = run_cli("kernelspec", "list", "--json", **user)
    folder = Path(json.loads(installed.stdout)["folder"])
    content = json.loads((folder / "kernel.json").read_text())
    removed = run_cli("kernelspec", "remove", "sealed-tabular", **user)
    missing = run_cli("kernelspec", "remove", "sealed-tabular", **user)

    assert folder == tmp_path / "user" / "kernels" / "sealed-tabular"
    assert content["display_name"] == "Sealed Python (tabular)"
    assert content["metadata"]["kernel_provisioner"]["config"]["data"] == str(data)
    assert again.stdout.startswith("local-tabular: ")
    rows = {row["name"]: row for row in map(json.loads, listed.stdout.splitlines())}
    assert rows["sealed-tabular"]["sandbox"] == "docker"
    assert rows["local-tabular"]["sandbox"] == "local"
    assert removed.stdout.strip() == f"removed: {folder}"
    assert not folder.exists()
    assert "no kernelspec of kernel_env is called 'sealed-tabular'" in error_line(missing)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "/nowhere"], "data folder /nowhere does not exist"),
        (["--sandbox", "dockr"], "no sandbox named 'dockr'; did you mean 'docker'?"),
        (["--image", "tabula"], "no image named 'tabula'"),
        (["--task", "adult-incom"], "no task named 'adult-incom'; did you mean 'adult-income'?"),
        (["--name", "a b"], "'a b' cannot be the name of a kernelspec"),
        (["--name", "other"], "is a kernelspec of another program"),
        (["--prefix", "/tmp"], "choose one of --user and --prefix"),
    ],
)
def test_a_kernelspec_that_cannot_work_is_not_installed(
    tmp_path: Path, options: list[str], message: str
) -> None:
    other = tmp_path / "kernels" / "other"
    other.mkdir(parents=True)
    (other / "kernel.json").write_text('{"argv": []}')

    done = run_cli("kernelspec", "install", "--user", *options, JUPYTER_DATA_DIR=str(tmp_path))

    assert message in error_line(done)
    assert os.listdir(tmp_path / "kernels") == ["other"]


def test_open_says_what_is_missing(tmp_path: Path) -> None:
    nothing = run_cli("open", tmp_path)
    ended = run_cli("open", tmp_path / "a.ipynb", "--existing", tmp_path / "gone.json")

    assert "no journal.jsonl and no trajectory.ipynb" in error_line(nothing)
    assert "cannot be read" in error_line(ended)


# ── kernels ───────────────────────────────────────────────────────────────────────────────


async def test_the_command_of_a_kernelspec_serves_a_kernel(tmp_path: Path) -> None:
    content = kernelspecs.definition(
        kernelspecs.KernelConfig(sandbox="local", env={"GREETING": "hello"}), "Sealed"
    )
    file, _ = write_connection_file(str(tmp_path / "connection.json"), ip="127.0.0.1")
    command = [word.replace("{connection_file}", file) for word in content["argv"]]
    process = await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE)
    try:
        async with client_at(Path(file)) as client:
            greeting = await run(client, "import os; os.environ['GREETING']")
            client.execute("import time; print('begun', flush=True); time.sleep(600)")
            while (await client.get_iopub_msg(timeout=REPLY_S))["msg_type"] != "stream":
                pass
            process.send_signal(signal.SIGINT)
            interrupted = await client.get_shell_msg(timeout=REPLY_S)
            client.shutdown()
            _, errors = await asyncio.wait_for(process.communicate(), REPLY_S)
    finally:
        if process.returncode is None:
            process.kill()

    assert greeting.text == "'hello'"
    assert interrupted["content"]["ename"] == "KeyboardInterrupt"
    assert process.returncode == 0
    assert b"Traceback" not in errors


async def test_an_existing_kernel_is_used_by_many_and_ended_by_none(tmp_path: Path) -> None:
    async with sealed_kernel("local") as sealed:
        file = sealed.server.connection_file
        kernelspecs.write(
            tmp_path, "existing", kernelspecs.definition_of_existing(file, "Existing")
        )
        managers = [
            AsyncKernelManager(
                kernel_name="existing",
                kernel_spec_manager=KernelSpecManager(kernel_dirs=[str(tmp_path)]),
            )
            for _ in range(2)
        ]
        for manager in managers:
            await manager.start_kernel()
        first, second = (manager.client() for manager in managers)
        assert isinstance(first, AsyncKernelClient)
        assert isinstance(second, AsyncKernelClient)
        for client in (first, second):
            client.start_channels()
            await client.wait_for_ready(timeout=REPLY_S)
        await run_async(first, "x = 41")
        await managers[0].shutdown_kernel()
        seen = await run_async(second, "x + 1")
        await managers[1].shutdown_kernel(now=True)
        for client in (first, second):
            client.stop_channels()
        async with client_at(file) as third:
            after = await run(third, "x")

    assert seen == "42"
    assert after.text == "41"
