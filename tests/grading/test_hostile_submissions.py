"""Whatever bytes are handed in, the answer is a score or a rejection, and others do not wait."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import pytest_asyncio

from kernel_env.errors import SubmissionError
from kernel_env.grading import child, worker
from kernel_env.grading.host import Grader, GradingSpec
from support.schemas import schema

BOTH = ("Public", "Private")
GOOD = b"id,y\n" + b"".join(b"%d,0.5\n" % n for n in range(100))
SLOW = b'"a\nb\nc"' + b"," * 2_500_000
"""A file that pandas reads for minutes: its header spans three lines, so it is not seen in time."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def grader() -> AsyncIterator[Grader]:
    async with Grader() as shared:
        yield shared


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> GradingSpec:
    folder = tmp_path_factory.mktemp("answers")
    table = pd.DataFrame({"id": range(100), "y": [n % 2 for n in range(100)]})
    table["Usage"] = ["Public" if n < 40 else "Private" for n in range(100)]
    table.to_csv(folder / "answers.csv", index=False)
    (folder / "sample_submission.csv").write_bytes(GOOD)
    return GradingSpec(
        answers=folder / "answers.csv",
        schema=schema(targets=("y",)),
        metric="roc_auc",
        sample=folder / "sample_submission.csv",
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\n" + b"," * 2_500_000, "about 2,500,001 columns"),
        (b'id,y\n1,"' + b"x" * 3_000_000, "not a CSV table"),
        (b"id,y\n" + b"1,2\n" * 500_000, "has 500,000 rows; this task expects 100"),
        (b"id,y\n1," + b"7" * 20_000_000, "not finite numbers"),
        (b'"' + b"\n" * 5_000_000, "not a CSV table"),
        (b"id,y\n" + b'"",' * 1_000_000, "about 1,000,001 columns"),
        (b"id,y\n" + b"\xf0\x9f" * 1_000_000, "not UTF-8"),
    ],
)
async def test_hostile_bytes_are_rejected(
    grader: Grader, spec: GradingSpec, data: bytes, message: str
) -> None:
    with pytest.raises(SubmissionError, match=message):
        await grader.grade(data, spec, BOTH)

    assert (await grader.grade(GOOD, spec, BOTH)).public == 0.5


async def test_nobody_waits_for_a_file_that_is_parsed_for_long(
    grader: Grader, spec: GradingSpec
) -> None:
    await grader.grade(GOOD, spec, BOTH)
    slow = asyncio.create_task(grader.grade(SLOW, spec, BOTH))
    await asyncio.sleep(0.5)

    began = time.monotonic()
    scores = await grader.grade(GOOD, spec, BOTH)
    waited = time.monotonic() - began

    assert scores.public == 0.5
    assert not slow.done()
    assert waited < 10
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow


@pytest.mark.slow
async def test_a_file_that_cannot_be_parsed_in_time_is_rejected_within_30_seconds(
    grader: Grader, spec: GradingSpec
) -> None:
    began = time.monotonic()
    with pytest.raises(SubmissionError, match="cannot be parsed within 25 s"):
        await grader.grade(SLOW, spec, BOTH)

    assert time.monotonic() - began < 30


def in_a_child(function: Callable[[], bytes], **changed: object) -> child.Result:
    """Run a function with the limits of a parser, some of them changed."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        return child.run(function, replace(worker.parsing_limits(b""), **changed), ours)


def open_this_file() -> bytes:
    return Path(__file__).read_bytes()


def count_descriptors() -> bytes:
    return b"%d" % sum(is_open(n) for n in range(200))


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def allocate() -> bytes:
    return bytes(4 << 30)


def spin() -> bytes:
    while True:
        pass


def test_a_parser_can_open_nothing_and_use_no_more_than_its_limits() -> None:
    assert in_a_child(open_this_file).failure == "crash"
    assert in_a_child(open_this_file, opens_files=True).data == Path(__file__).read_bytes()
    assert in_a_child(count_descriptors).data == b"4"  # the standard ones and the result's
    assert in_a_child(allocate).failure == "memory"
    assert in_a_child(spin, seconds=0.5).failure == "time"
    assert in_a_child(lambda: bytes(3 << 20)).failure == "memory"
    assert in_a_child(lambda: os.kill(os.getpid(), signal.SIGSEGV) or b"").failure == "crash"
    assert in_a_child(lambda: b"x").data == b"x"


async def test_the_grading_process_has_nothing_of_the_hosts_environment(
    spec: GradingSpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KERNEL_ENV_SECRET", "a secret of the host")
    monkeypatch.setenv("OPENAI_API_KEY", "another one")
    code = tmp_path / "grade.py"
    code.write_text(
        "import os\nfrom kernel_env.errors import SubmissionError\n"
        "def grade(answers, submission):\n"
        "    raise SubmissionError(' '.join(sorted(os.environ)))\n"
    )
    own = GradingSpec(answers=spec.answers, schema=spec.schema, metric=None, grade_file=code)
    async with Grader() as grader:
        with pytest.raises(SubmissionError) as caught:
            await grader.grade(GOOD, own, BOTH)

    needed = {"PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR"}
    threads = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"}
    own_names = {"KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK"}  # scikit-learn sets them
    assert set(str(caught.value).split()) <= needed | threads | own_names
    assert {"TMPDIR", *threads} <= set(str(caught.value).split())


async def test_a_cancelled_grade_ends_its_processes(grader: Grader, spec: GradingSpec) -> None:
    await grader.grade(GOOD, spec, BOTH)
    process = grader._process
    assert process is not None
    before = {process.pid}

    slow = asyncio.create_task(grader.grade(SLOW, spec, BOTH))
    while len(processes_of(process.pid)) < 3:  # the request's and the parser
        await asyncio.sleep(0.05)
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow

    for _ in range(100):
        if processes_of(process.pid) == before:
            break
        await asyncio.sleep(0.1)
    assert processes_of(process.pid) == before


def processes_of(session: int) -> set[int]:
    """Return the processes of a session."""
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                if os.getsid(int(folder.name)) == session and state != "Z":
                    found.add(int(folder.name))
            except OSError:
                continue
    return found
