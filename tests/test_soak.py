"""After many short episodes with forks, trials and crashes, no resource is left in use.

`KERNEL_ENV_SOAK=500 pytest tests/test_soak.py -s` is the long version.
"""

import asyncio
import gc
import os
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from kernel_env.episode import Episode, open_episode
from kernel_env.episode.actions import Reset
from kernel_env.errors import SandboxError
from kernel_env.grading.host import Grader
from support.episodes import container_ids, execute, validate

EPISODES = int(os.environ.get("KERNEL_ENV_SOAK", "8"))
DOCKER_EVERY = 4
"""Every so many episodes run in a container, which takes longest to start."""
WARM_UP = 6
"""Number of episodes before the first measurement."""
MAX_GROWTH_BYTES = 40 << 20

SUBMIT = """
import os
rows = open(os.environ["DATA_PATH"] + "/test.csv").read().split()[1:]
with open(os.environ["OUTPUT_PATH"], "w") as f:
    f.write("id,y\\n" + "".join(f"{r.split(',')[0]},{3 * float(r.split(',')[1])}\\n" for r in rows))
"""
FAULTS = ("os._exit(1)", "os.kill(os.getpid(), 9)", "import ctypes; ctypes.string_at(0)")


def resources() -> Counter[str]:
    """Count the processes, mounts, folders, descriptors, containers and tasks in use."""
    counts: Counter[str] = Counter()
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and process.name != str(os.getpid()):
            try:
                is_child = f"\nPPid:\t{os.getpid()}\n" in (process / "status").read_text()
                command = (process / "cmdline").read_bytes()
            except OSError:
                continue
            in_sandbox = f"{tempfile.gettempdir()}/kernel-env-".encode() in command
            counts["processes"] += is_child or in_sandbox
    counts["mounts"] = Path("/proc/self/mountinfo").read_text().count("kernel-env")
    counts["folders"] = len(list(Path(tempfile.gettempdir()).glob("kernel-env-*")))
    for link in list(Path("/proc/self/fd").iterdir()):
        try:
            kind = str(link.readlink()).partition(":")[0]
        except OSError:
            continue
        counts["file" if kind.startswith("/") else kind] += 1
    counts["containers"] = container_count()
    counts["tasks"] = len(asyncio.all_tasks())
    return counts


def container_count() -> int:
    try:
        return len(container_ids(stopped=True))
    except SandboxError:
        return 0


def private_bytes() -> int:
    """Return the private memory of this process."""
    gc.collect()
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


async def execute_without_loss(episode: Episode, code: str) -> None:
    outcome = await execute(episode, code)
    assert outcome.cell.state_lost is None


async def run_episode(
    task: str, sandbox: str, out: Path, grader: Grader, random_: random.Random
) -> int:
    """Run one episode with random crashes and forks; return the number of episodes with forks."""
    async with open_episode(task, sandbox=sandbox, out=out, grader=grader) as episode:
        await execute_without_loss(episode, SUBMIT + "x = [1]")
        await validate(episode, "x.append(9); os.remove(os.environ['OUTPUT_PATH'])")
        await execute_without_loss(episode, f"x.append(2); {random_.choice(FAULTS)}")
        children = await episode.fork(random_.randint(1, 2), reseed=random_.random() < 0.5)
        children += await episode.fork(at_step=random_.randint(0, 3))
        for child in children:
            await execute_without_loss(
                child, "import subprocess; x = 3; p = subprocess.Popen(['sleep', '99'])"
            )
            if random_.random() < 0.5:
                await execute_without_loss(child, f"import os\n{random_.choice(FAULTS)}")
            await validate(child, "import os; os._exit(1)")
        if random_.random() < 0.3:
            await episode.act(Reset())
        else:
            await execute_without_loss(episode, "assert x == [1]")
        random_.shuffle(children)
        for child in children:
            await child.end()
    return 1 + len(children)


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's /proc")
@pytest.mark.docker
async def test_many_episodes_leave_no_resources_in_use(
    tiny: str, tmp_path: Path, print_later: Callable[[str], None]
) -> None:
    random_ = random.Random(1)
    before, bytes_before, count = Counter[str](), 0, 0
    others = resources()  # of fixtures that live as long as this process

    async with Grader() as grader:
        for number in range(EPISODES):
            if number == min(WARM_UP, EPISODES // 2):
                before, bytes_before = resources(), private_bytes()
            sandbox = "local" if number % DOCKER_EVERY else "docker"
            count += await run_episode(tiny, sandbox, tmp_path, grader, random_)
        after, growth = resources(), private_bytes() - bytes_before

    print_later(f"{EPISODES} episodes with {count - EPISODES} forks: {growth / 2**20:.1f} MiB more")
    print_later(f"before: {dict(before)}; after: {dict(after)}")
    assert after == before
    expected = others["containers"], others["mounts"], others["folders"] + 1  # the grader's
    assert (after["containers"], after["mounts"], after["folders"]) == expected
    assert growth < MAX_GROWTH_BYTES
