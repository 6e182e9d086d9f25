"""A sandbox whose start is cancelled, and then its end as well, leaves no folder behind."""

import asyncio
import os
from pathlib import Path

import pytest

from kernel_env.sandbox.docker import DockerSandbox
from kernel_env.sandbox.local import LocalSandbox
from kernel_env.sandbox.protocol import Spec


def folders() -> set[str]:
    return {path.name for path in Path(os.environ["TMPDIR"]).glob("kernel-env-*")}


@pytest.mark.parametrize(
    "make", [LocalSandbox, pytest.param(DockerSandbox, marks=pytest.mark.docker)]
)
async def test_no_folder_is_left(make: type[LocalSandbox | DockerSandbox]) -> None:
    before = folders()
    for delay_s in (0.0, 0.01, 0.05, 0.1, 0.2):
        start = asyncio.create_task(make(Spec()).__aenter__())
        while not folders() - before and not start.done():
            await asyncio.sleep(0)
        await asyncio.sleep(delay_s)

        start.cancel()
        await asyncio.sleep(0.001)
        start.cancel()

        if not (await asyncio.wait({start}))[0].pop().cancelled():
            await start.result().__aexit__(None, None, None)
        assert folders() == before, delay_s
