"""Each container has a user ID of its own, so that none uses up what Linux counts per user."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from kernel_env import plugins
from kernel_env.sandbox import Sandbox
from kernel_env.sandbox.conformance import SMALL
from kernel_env.sandbox.docker import users

pytestmark = pytest.mark.docker
SPEC = replace(SMALL, processes=200)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def containers(docker_images: None) -> AsyncIterator[tuple[Sandbox, Sandbox]]:
    """Two containers."""
    make = plugins.find("sandbox", "docker")
    async with make(SPEC) as one, make(SPEC) as other:
        yield one, other


async def run(sandbox: Sandbox, code: str) -> str:
    """Run Python code and return what it prints."""
    done = await sandbox.run([sandbox.python, "-c", code], timeout_s=60)
    assert done.exit_code == 0, done.output
    return done.output.decode().strip()


async def test_two_containers_have_different_users_with_the_same_name(
    containers: tuple[Sandbox, Sandbox],
) -> None:
    code = (
        "import getpass, grp, os, pathlib; u = os.getuid(); os.environ.pop('HOME');"
        "print(u, os.getgid(), getpass.getuser(), grp.getgrgid(u).gr_name, pathlib.Path.home(),"
        " os.stat('.').st_uid, os.access('.', os.W_OK))"
    )

    (one, *more), (other, *more_of_other) = [(await run(c, code)).split() for c in containers]

    assert one != other
    assert more == [one, "agent", "agent", "/home/agent", one, "True"]
    assert more_of_other == [other, "agent", "agent", "/home/agent", other, "True"]


async def test_a_container_cannot_use_up_the_inotify_instances_of_another(
    containers: tuple[Sandbox, Sandbox],
) -> None:
    use_up = (
        "import ctypes, time; libc = ctypes.CDLL(None)\n"
        "end = time.monotonic() + 60\n"  # and what another process gives back meanwhile
        "while time.monotonic() < end:\n"
        "    if libc.inotify_init1(0) < 0: time.sleep(0.01)"
    )
    hungry, other = containers
    process = await hungry.spawn([hungry.python, "-c", use_up])
    create = "import ctypes; print(ctypes.CDLL(None).inotify_init1(0) >= 0)"
    while await run(hungry, create) == "True":
        assert process.exit_code is None, process.tail()

    assert await run(other, create) == "True"
    await process.signal(9)


def test_a_user_id_is_held_by_one_and_then_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERNEL_ENV_CACHE", str(tmp_path))
    with users.hold_user_id() as first, users.hold_user_id() as second:
        assert first != second
    with users.hold_user_id() as third:
        assert third == first
