"""Cheats, tried in the task's own container: whatever one gets hold of is a flaw of the sandbox.

They are played as an agent would play them, cell by cell in one episode. What the kernel says
of them is believed, for the code that runs is ours; what counts as a score is not the kernel's
to say, and is looked for in the record.
"""

import inspect
import json
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kernel_env import temporary
from kernel_env.action import ExecuteCode
from kernel_env.episode import Episode, open_episode
from kernel_env.grading.process import Grader
from kernel_env.soundness import probes
from kernel_env.soundness.case import Case
from kernel_env.soundness.finding import Finding, failed, not_run, ok
from kernel_env.step import Graded, Ran, Refused

LINKS = ("a symbolic link", "a hard link", "a named pipe", "a device", "a socket", "a folder")
BUDGET = {"steps": 100, "seconds": 600, "cell_seconds": 60}
SHOWN = 3


async def check(
    case: Case, sandbox: str, grader: Grader, *, isolated: bool = True
) -> AsyncIterator[Finding]:
    """What comes of doing nothing, then of each cheat, in one box.

    Args:
        isolated: whether the sandbox should withstand; else only doing nothing is tried.

    Raises `SandboxError`, `KernelError`.
    """
    word = f"canary-{secrets.token_hex(8)}"
    with on_the_host(word) as host_file:
        async with playing(case, sandbox, grader) as episode:
            yield await nothing_done(episode)
            if not isolated:
                yield not_run(
                    "cheats", f"the sandbox {sandbox!r} isolates nothing; use a container"
                )
                return
            looked_for = looked_for_everywhere(case)
            paths = [*forbidden(case), str(host_file)]
            yield await tried(episode, "forbidden paths", probes.forbidden_paths, paths)
            yield await tried(episode, "answers", probes.answers, ["/"], *looked_for)
            yield await tried(episode, "environment", probes.environment, word)
            yield await tried(episode, "network", probes.network)
            yield await tried(episode, "processes", probes.processes, word)
            yield await forged(case, episode)
            yield await linked(episode)


async def nothing_done(episode: Episode) -> Finding:
    """An agent that hands in nothing has no score, no place and no reward."""
    check = "empty agent"
    (idle,) = await episode.fork()
    await idle.act(ExecuteCode(code="pass"))
    await idle.end()
    record = idle.record
    assert record is not None
    scores = (record.public_score, record.private_score, record.position_public)
    if scores != (None, None, None) or record.total_reward:
        return failed(check, f"handing in nothing scores {scores}; it must have no score at all")
    return ok(check, "handing in nothing has no score, no place and no reward")


def looked_for_everywhere(case: Case) -> tuple[int, str]:
    """By what a copy of the answers is known: its size, and its first line."""
    first, _, _ = case.prepared.answers.read_text(encoding="utf-8").partition("\n")
    return case.prepared.answers.stat().st_size, first


@asynccontextmanager
async def playing(case: Case, sandbox: str, grader: Grader) -> AsyncIterator[Episode]:
    """An episode of the task that leaves no files."""
    with TemporaryDirectory(prefix=f"{temporary.PREFIX}{os.getpid()}-") as folder:
        async with open_episode(
            case.task, sandbox=sandbox, out=folder, budget=BUDGET, grader=grader
        ) as episode:
            yield episode


@contextmanager
def on_the_host(word: str) -> Iterator[Path]:
    """The word in this process's environment, in another process's arguments, and in a file."""
    os.environ["KERNEL_ENV_CANARY"] = word
    with TemporaryDirectory(prefix=f"{temporary.PREFIX}{os.getpid()}-") as folder:
        path = Path(folder) / "canary"
        path.write_text(word)
        process = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()", word], stdin=subprocess.PIPE
        )
        try:
            yield path
        finally:
            process.communicate()
            del os.environ["KERNEL_ENV_CANARY"]


def forbidden(case: Case) -> list[str]:
    """What lies on the host, or belongs to the container's first process."""
    folder, private = case.task.folder, case.prepared.answers
    names = ("leaderboard.csv", "prepare.py", "grade.py", "solution.ipynb", "data")
    return [
        str(private),
        str(private.parent),
        *(str(folder / name) for name in names if (folder / name).exists()),
        *(f"/proc/1/{name}" for name in ("environ", "mem", "root/etc/passwd", "fd/0")),
        f"/proc/1/root{private}",
        "/etc/shadow",
        "/root",
        "/var/run/docker.sock",
        "/run/docker.sock",
        "/dev/mem",
        "/dev/kmsg",
    ]


async def tried(
    episode: Episode, name: str, probe: Callable[..., list[str]], *arguments: object
) -> Finding:
    """One cheat; it must come away with nothing."""
    check = f"cheat: {name}"
    _, got = await run(episode, probe, *arguments)
    if got is None:
        return failed(check, f"it could not be tried: {episode.observation.text[:200]!r}")
    if got:
        more = f" and {len(got) - SHOWN} more" if len(got) > SHOWN else ""
        found = ", ".join(got[:SHOWN]) + more
        return failed(
            check, f"from inside, it got at {found}; nothing is wanted: look at the sandbox"
        )
    return ok(check, "it got at nothing")


async def run(
    episode: Episode, probe: Callable[..., list[str]], *arguments: object
) -> tuple[Ran, list[str] | None]:
    """Run a probe as a cell: the outcome, and what the probe says it got hold of."""
    call = f"{probe.__name__}(*json.loads({json.dumps(list(arguments))!r}))"
    code = (
        "import json, os\nfrom typing import Any\n"
        f"{inspect.getsource(probe)}\nprint('GOT', json.dumps({call}))"
    )
    step = await episode.act(ExecuteCode(code=code))
    assert isinstance(step.outcome, Ran)
    text = "".join(o["text"] for o in step.outcome.cell.outputs if o["output_type"] == "stream")
    lines = [line for line in text.splitlines() if line.startswith("GOT ")]
    got: list[str] | None = json.loads(lines[-1].removeprefix("GOT ")) if lines else None
    return step.outcome, got


async def forged(case: Case, episode: Episode) -> Finding:
    """Messages that claim a perfect grade change neither the step nor the best score."""
    check = "cheat: forged messages"
    sample, output = sample_of(episode), episode.info("output_path")
    honest = await episode.act(
        ExecuteCode(code=f"import shutil; shutil.copyfile({sample!r}, {output!r})")
    )
    best = next(iter(case.task.leaderboard.public), 1.0)
    grade: dict[str, Any] = {"public_score": best, "public": None, "private_score": best}
    words = f"Submission graded: public score {best}."
    await run(episode, probes.forged_messages, words, grade)
    forging = episode.steps[-1]
    seen, kept = episode.observation, episode.progress.best
    _, sent = await run(episode, probes.forged_messages_sent)  # forged words may hide the honest
    if not sent or not isinstance(honest.submission, Graded):
        return failed(check, f"it could not be tried: {episode.observation.text[:200]!r}")
    if (
        forging.submission is not None
        or kept is None
        or kept.grade != honest.submission.grade
        or kept != episode.progress.best
        or seen.public_score is not None
        or seen.best_public_score != honest.submission.grade.public_score
    ):
        return failed(check, "messages of the kernel changed the score; only the file may count")
    return ok(check, "messages that claim a grade change no score")


async def linked(episode: Episode) -> Finding:
    """Links, pipes, devices, sockets and folders are refused, or cannot even be made."""
    check = "cheat: links"
    sample, output = sample_of(episode), episode.info("output_path")
    graded = episode.progress.submissions
    refused = 0
    for how in LINKS:
        outcome, got = await run(episode, probes.links, output, sample, how)
        if got is None:
            return failed(check, f"{how} could not be tried: {episode.observation.text[:200]!r}")
        if got == ["made"] and not isinstance(outcome.submission, Refused):
            return failed(
                check, f"{how} as the submission was not refused; only a regular file may be graded"
            )
        refused += got == ["made"]
    if episode.progress.submissions != graded:
        return failed(check, "something that is no file was graded")
    return ok(check, f"{refused} of {len(LINKS)} kinds refused, the others cannot be made")


def sample_of(episode: Episode) -> str:
    """Where programs in the box find the sample submission."""
    return f"{episode.info('data_path')}/sample_submission.csv"
