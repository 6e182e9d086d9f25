"""GPUs are found, selected and held; a sandbox sees those it was given and no other."""

import asyncio
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from kernel_env import plugins
from kernel_env.errors import SandboxError, UnknownName, UsageError
from kernel_env.sandbox import Sandbox, Spec, gpus
from kernel_env.sandbox.conformance import SMALL
from kernel_env.sandbox.local import LocalSandbox
from support.gpus import (
    GPU,
    GPU_DEVICES,
    LIBRARY_PATH,
    install_gpus,
    install_nvidia_smi,
    wait_for_gpus,
)


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """UUIDs of the two GPUs of this machine."""
    return install_gpus(tmp_path / tmp_path.name, 2, monkeypatch)


# ── find and select ───────────────────────────────────────────────────────────────────────


def test_gpus_are_listed_with_model_and_memory(two_gpus: list[str]) -> None:
    found = gpus.present()

    assert [gpu.uuid for gpu in found] == two_gpus
    assert gpus.describe(found[:1]) == "0 (NVIDIA H100 80GB HBM3 with 80 GiB)"


@pytest.mark.parametrize(
    ("visible", "expected"), [("1", [1]), ("1,0", [1, 0]), ("", []), ("-1", []), ("{1}", [1])]
)
def test_cuda_visible_devices_restricts_and_orders_them(
    two_gpus: list[str], monkeypatch: pytest.MonkeyPatch, visible: str, expected: list[int]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible.format(*two_gpus))

    assert [gpu.index for gpu in gpus.present()] == expected


def test_a_driver_that_does_not_work_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failure = "Failed to initialize NVML: Driver/library version mismatch"
    install_nvidia_smi(tmp_path, f"echo '{failure}'; echo more; exit 18", monkeypatch)

    with pytest.raises(SandboxError) as caught:
        gpus.select(1, [])

    assert str(caught.value) == (
        f"the GPUs of this machine cannot be listed: {tmp_path}/nvidia-smi: {failure}"
    )


@pytest.mark.parametrize(
    ("count", "names", "expected"),
    [
        (None, [], []),
        (0, [], []),
        (1, [], [0, 1]),
        (2, [], [0, 1]),
        (None, ["1"], [1]),
        (1, ["{1}"], [1]),
        (2, ["1", "0"], [1, 0]),
    ],
)
def test_the_named_gpus_or_all_are_candidates(
    two_gpus: list[str], count: int | None, names: list[str], expected: list[int]
) -> None:
    found = gpus.select(count, [name.format(*two_gpus) for name in names])

    assert [gpu.index for gpu in found] == expected


@pytest.mark.parametrize(
    ("count", "names", "message"),
    [
        (-1, [], "the number of GPUs is -1; it must be 0 or more"),
        (True, [], "the number of GPUs is True; it must be 0 or more"),
        (3, [], "3 GPUs are asked for, and this machine has 2: 0 (NVIDIA H100 80GB HBM3 with"),
        (None, ["2"], "no GPU named '2'; known: 0, 1"),
        (1, ["0", "1"], "1 GPU is asked for, and 2 GPUs are named (0,1); give one of the two"),
        (0, ["0"], "0 GPUs are asked for, and 1 GPU is named (0)"),
        (None, ["0", "{0}"], "name one device twice"),
    ],
)
def test_a_wrong_request_is_one_line(
    two_gpus: list[str], count: int | None, names: list[str], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        gpus.select(count, [name.format(*two_gpus) for name in names])

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, UnknownName) == message.startswith("no GPU")


def test_a_machine_whose_gpus_are_hidden_has_none(
    two_gpus: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")

    with pytest.raises(UsageError, match=r"this machine has none in CUDA_VISIBLE_DEVICES=7$"):
        gpus.select(1, [])


# ── hold ──────────────────────────────────────────────────────────────────────────────────


async def test_a_gpu_is_held_by_one_at_a_time_and_the_others_wait(two_gpus: list[str]) -> None:
    candidates = gpus.present()
    held: list[gpus.Gpu] = []
    most = ended = 0

    async def work(count: int) -> None:
        nonlocal most, ended
        async with gpus.hold(candidates, count) as mine:
            assert len(mine) == count
            assert not set(mine) & set(held)
            held.extend(mine)
            most = max(most, len(held))
            await asyncio.sleep(0.05)
            for gpu in mine:
                held.remove(gpu)
        ended += 1

    with pytest.warns(gpus.WaitingForGpuWarning, match="waiting until another episode ends"):
        await asyncio.gather(*(work(count) for count in (1, 1, 2, 1, 2, 1)))

    assert (ended, most) == (6, 2)


async def test_a_wait_that_is_cancelled_holds_nothing(two_gpus: list[str]) -> None:
    first, second = gpus.present()
    async with gpus.hold([first], 1):
        with pytest.warns(gpus.WaitingForGpuWarning):
            waiting = await wait_for_gpus([first, second], 2)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

        async with gpus.hold([second], 1) as held:
            assert held == (second,)


async def test_a_gpu_is_free_again_when_the_process_that_held_it_was_killed(
    two_gpus: list[str],
) -> None:
    program = (
        "import asyncio, time\nfrom kernel_env.sandbox import gpus\n"
        "async def main():\n"
        "    async with gpus.hold(gpus.present(), 2):\n"
        "        print('held', flush=True); time.sleep(600)\n"
        "asyncio.run(main())"
    )
    other = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert other.stdout is not None
    assert other.stdout.readline() == b"held\n"
    with pytest.warns(gpus.WaitingForGpuWarning):
        waiting = await wait_for_gpus(gpus.present(), 1)

    other.kill()
    other.communicate()

    assert len(await asyncio.wait_for(waiting, 60)) == 1


async def test_a_cache_that_cannot_be_written_is_one_line(
    two_gpus: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("KERNEL_ENV_CACHE", str(tmp_path / "file"))

    with pytest.raises(UsageError, match=f"GPUs cannot be locked in {tmp_path}/file/gpus: "):
        await gpus.hold(gpus.present(), 1).__aenter__()


# ── in a sandbox ──────────────────────────────────────────────────────────────────────────


async def variables(sandbox: Sandbox) -> dict[str, str]:
    """Return the environment of a program in a sandbox."""
    program = "import json, os; print(json.dumps(dict(os.environ)))"
    done = await sandbox.run([sandbox.python, "-c", program], timeout_s=60)
    found: dict[str, str] = json.loads(done.output)
    return found


async def test_the_local_sandbox_shows_the_gpus_it_was_given(
    two_gpus: list[str], tmp_path: Path
) -> None:
    async with LocalSandbox(Spec(gpus=1, gpu_devices=(two_gpus[1],))) as sandbox:
        found = await variables(sandbox)

    assert found["CUDA_VISIBLE_DEVICES"] == two_gpus[1]
    assert found["LD_LIBRARY_PATH"] == LIBRARY_PATH
    assert str(tmp_path / tmp_path.name) in found["PATH"].split(":")


async def test_the_local_sandbox_hides_gpus_that_were_not_asked_for(two_gpus: list[str]) -> None:
    async with LocalSandbox(Spec()) as sandbox:
        found = await variables(sandbox)

    assert found["CUDA_VISIBLE_DEVICES"] == ""
    assert "LD_LIBRARY_PATH" not in found


async def test_the_local_sandbox_cannot_rename_a_device() -> None:
    message = f"the local sandbox cannot show the device /dev/zero as {GPU}"

    with pytest.raises(SandboxError, match=message):
        await LocalSandbox(Spec(devices=GPU_DEVICES)).__aenter__()
    async with LocalSandbox(Spec(devices={PurePosixPath("/dev/zero"): Path("/dev/zero")})):
        pass


@pytest.mark.docker
async def test_a_container_has_a_device_under_another_name() -> None:
    spec = replace(SMALL, devices=GPU_DEVICES)
    program = f"print(open('{GPU}', 'r+b', buffering=0).read(3))"

    async with plugins.find("sandbox", "docker")(spec) as sandbox:
        done = await sandbox.run([sandbox.python, "-c", program], timeout_s=60)

    assert done.output == b"b'\\x00\\x00\\x00'\n"


@pytest.mark.docker
async def test_a_container_without_gpus_hides_those_of_an_engine_that_passes_all() -> None:
    async with plugins.find("sandbox", "docker")(SMALL) as sandbox:
        found = await variables(sandbox)

    assert found["NVIDIA_VISIBLE_DEVICES"] == "void"


@pytest.mark.docker
@pytest.mark.skipif(Path(GPU).exists(), reason="this machine has a GPU")
@pytest.mark.parametrize("names", [(), ("GPU-of-a-test",)])
async def test_an_engine_without_nvidia_runtime_is_one_line(names: tuple[str, ...]) -> None:
    spec = replace(SMALL, gpus=1, gpu_devices=names)

    with pytest.raises(SandboxError) as caught:
        await plugins.find("sandbox", "docker")(spec).__aenter__()

    assert str(caught.value) == (
        "the Docker engine cannot pass GPUs to containers; install the NVIDIA Container Toolkit and"
        " restart the engine, or use no GPU (--gpus 0)"
    )
