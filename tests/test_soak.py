"""Many short episodes with forks, trials and faults, after which nothing of ours may be left.

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
from kernel_env.episode.actions import ExecuteCode, Reset, ValidateCode
from kernel_env.errors import SandboxError
from kernel_env.grading.host import Grader
from kernel_env.sandbox.docker import engine
from kernel_env.sandbox.docker.container import owner

EPISODES = int(os.environ.get("KERNEL_ENV_SOAK", "20"))
IN_DOCKER = 6
"""One of so many is in a container: to start one takes longest."""
WARM_UP = 8
GROWTH_BYTES = 40 << 20

SUBMIT = """
import os
rows = open(os.environ["DATA_PATH"] + "/test.csv").read().split()[1:]
with open(os.environ["OUTPUT_PATH"], "w") as f:
    f.write("id,y\\n" + "".join(f"{r.split(',')[0]},{3 * float(r.split(',')[1])}\\n" for r in rows))
"""
FAULTS = ("os._exit(1)", "os.kill(os.getpid(), 9)", "import ctypes; ctypes.string_at(0)")


def left() -> Counter[str]:
    """Everything of ours that there is: processes, mounts, folders, and kinds of descriptors."""
    found: Counter[str] = Counter()
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and process.name != str(os.getpid()):
            try:
                mine = f"\nPPid:\t{os.getpid()}\n" in (process / "status").read_text()
                command = (process / "cmdline").read_bytes()
            except OSError:
                continue
            ours = tempfile.gettempdir().encode() in command and b"pid1.py" in command
            found["processes"] += mine or ours
    found["mounts"] = Path("/proc/self/mountinfo").read_text().count("kernel-env")
    found["folders"] = len(list(Path(tempfile.gettempdir()).glob("kernel-env-*")))
    for link in list(Path("/proc/self/fd").iterdir()):
        try:
            kind = str(link.readlink()).partition(":")[0]
        except OSError:
            continue
        found["file" if kind.startswith("/") else kind] += 1
    found["containers"] = containers()
    found["tasks"] = len(asyncio.all_tasks())
    return found


def containers() -> int:
    try:
        client = engine.connect()
    except SandboxError:
        return 0
    mine = client.containers.list(all=True, filters={"label": f"kernel-env.owner={owner()}"})
    client.close()
    return len(mine)


def resident() -> int:
    """Bytes of memory of this process."""
    gc.collect()
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


async def run(episode: Episode, code: str) -> None:
    step = await episode.act(ExecuteCode(code=code))
    assert step.state_lost is None


async def short(tiny: str, sandbox: str, out: Path, grader: Grader, drawn: random.Random) -> int:
    """One episode with what may happen in one; how many episodes it became."""
    async with open_episode(tiny, sandbox=sandbox, out=out, grader=grader) as episode:
        await run(episode, SUBMIT + "x = [1]")
        await episode.act(ValidateCode(code="x.append(9); os.remove(os.environ['OUTPUT_PATH'])"))
        await run(episode, f"x.append(2); {drawn.choice(FAULTS)}")
        children = await episode.fork(drawn.randint(1, 2), reseed=drawn.random() < 0.5)
        children += await episode.fork(at_step=drawn.randint(0, 3))
        for child in children:
            await run(child, "import subprocess; x = 3; p = subprocess.Popen(['sleep', '99'])")
            if drawn.random() < 0.5:
                await run(child, f"import os\n{drawn.choice(FAULTS)}")
            await child.act(ValidateCode(code="import os; os._exit(1)"))
        if drawn.random() < 0.3:
            await episode.act(Reset())
        else:
            await run(episode, "assert x == [1]")
        drawn.shuffle(children)
        for child in children:
            await child.end()
    return 1 + len(children)


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's /proc")
@pytest.mark.docker
async def test_after_many_episodes_nothing_is_left_and_nothing_has_grown(
    tiny: str, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    drawn = random.Random(1)
    before, held, done = Counter[str](), 0, 0

    async with Grader() as grader:
        for number in range(EPISODES):
            if number == min(WARM_UP, EPISODES // 2):
                before, held = left(), resident()
            sandbox = "local" if number % IN_DOCKER else "docker"
            done += await short(tiny, sandbox, tmp_path, grader, drawn)
        after, grown = left(), resident() - held

    tell(f"{EPISODES} episodes and their {done - EPISODES} forks; the host grew by")
    tell(f"{grown / (1 << 20):.1f} MiB; there is {dict(after)}, there was {dict(before)}")
    assert after == before
    assert after["containers"] == after["folders"] == after["mounts"] == 0
    assert grown < GROWTH_BYTES
