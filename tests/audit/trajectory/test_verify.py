"""A recorded episode is played again, and the verdict says what came out."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from kernel_env.audit.trajectory import Options, Verification, read_recording, verify
from kernel_env.audit.trajectory.verify import replay_and_compare
from kernel_env.episode import Episode, open_episode
from kernel_env.episode.actions import (
    Action,
    ExecuteCode,
    GetHistory,
    RequestInfo,
    Reset,
    ValidateCode,
)
from kernel_env.grading.host import Grader
from support.episodes import SUBMIT_LINE

STEPS: list[Action] = [
    RequestInfo(info_type="all"),
    ExecuteCode(code="import os, time\nprint('pid', os.getpid(), object())\nprint(time.time())"),
    ExecuteCode(code="import random, numpy as np\nn = random.random()"),
    ValidateCode(code="n = 0\n1 / 0"),
    ExecuteCode(code="print('gone'); os.kill(os.getpid(), 9)"),
    ExecuteCode(code="n, np.random.rand(), {str(n) for n in range(30)}"),
    ExecuteCode(code="open('noise', 'w').write('x')\nimport sys; print('w', file=sys.stderr); undefined"),
    ExecuteCode(code=SUBMIT_LINE),
    ExecuteCode(code="import pandas as pd\npd.read_csv(os.environ['OUTPUT_PATH']).describe()"),
    GetHistory(last=4),
    ExecuteCode(code="open(os.environ['OUTPUT_PATH'], 'w').write('no table')"),
    Reset(),
    ExecuteCode(code="'n' in dir()"),
]  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def grader() -> AsyncIterator[Grader]:
    async with Grader() as shared:
        yield shared


async def record(tiny: str, out: Path, grader: Grader, actions: list[Action]) -> Path:
    """Record an episode and return its folder."""
    async with open_episode(tiny, sandbox="local", out=out, grader=grader) as episode:
        for action in actions:
            await episode.act(action, thought="so")
    return episode.folder


async def verified(folder: Path, tiny: str, grader: Grader, **options: object) -> Verification:
    """Verify a recorded episode in the sandbox `local`."""
    chosen = Options(task=tiny, sandbox="local", **options)  # type: ignore[arg-type]
    return await verify(read_recording(folder), chosen, grader=grader)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def recorded(tiny: str, grader: Grader, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an episode with every kind of step."""
    return await record(tiny, tmp_path_factory.mktemp("runs"), grader, STEPS)


async def test_the_same_code_is_reproduced(recorded: Path, tiny: str, grader: Grader) -> None:
    found = await verified(recorded, tiny, grader)

    assert found.verdict == "REPRODUCED", found.reason
    assert [step.outputs for step in found.compared] == [
        *("masked", "masked", "equal", "equal", "not compared", "equal", "equal", "equal", "equal"),
        *("not compared", "equal", "equal", "equal"),
    ]
    assert found.compared[0].masks == {"temporary path": 1}
    assert found.compared[1].masks == {"process ID": 1, "address": 1, "date": 1}
    assert found.final is not None
    assert found.final.same_bytes
    assert found.final.private is not None
    assert found.score_follows is True
    assert found.settings == ()
    assert json.loads(json.dumps(found.json()))["exit_code"] == 0


async def test_only_what_the_submission_needs_is_played(
    recorded: Path, tiny: str, grader: Grader, tmp_path: Path
) -> None:
    found = await verified(recorded, tiny, grader, final_only=True, out=tmp_path)

    assert found.verdict == "REPRODUCED", found.reason
    assert [each.step for each in found.plan if each.played] == [8]
    assert len(found.plan) == len(STEPS)
    (journal,) = tmp_path.glob("*/*/journal.jsonl")
    assert journal.read_bytes().count(b'"step": ') == 1


async def test_a_journal_alone_is_enough(recorded: Path, tiny: str, grader: Grader) -> None:
    found = await verified(recorded / "journal.jsonl", tiny, grader, final_only=True)

    assert found.verdict == "REPRODUCED"


async def test_text_that_differs_has_drifted_though_the_score_follows(
    tiny: str, grader: Grader, tmp_path: Path
) -> None:
    noise = ExecuteCode(code="import secrets\nprint('fine')\nprint(secrets.token_hex(4))")
    folder = await record(tiny, tmp_path, grader, [noise, ExecuteCode(code=SUBMIT_LINE)])

    found = await verified(folder, tiny, grader)

    assert found.verdict == "DRIFTED"
    assert found.first_difference is not None
    (difference,) = found.first_difference.differences
    assert difference.where == "stdout, line 2"
    assert difference.recorded != difference.replayed
    assert found.score_follows is True
    assert found.json()["first_difference"] == 1


async def test_other_predictions_are_compared_by_their_score(
    tiny: str, grader: Grader, tmp_path: Path
) -> None:
    noise = "\nimport secrets\nsubmit(3 + (1 + secrets.randbelow(10**6) / 1e6) / 1e3)"
    folder = await record(tiny, tmp_path, grader, [ExecuteCode(code=SUBMIT_LINE + noise)])

    for tolerance, verdict in ((0.5, "REPRODUCED"), (0.0, "DRIFTED")):
        found = await verified(folder, tiny, grader, tolerance=tolerance)

        assert found.verdict == verdict, found.reason
        assert found.final is not None
        assert found.final.public is not None
        assert not found.final.same_bytes
        assert found.final.public.tolerance == tolerance
        assert found.score_follows is (verdict == "REPRODUCED")


async def test_forks_draw_the_random_numbers_that_they_drew(
    tiny: str, grader: Grader, tmp_path: Path
) -> None:
    draw = ExecuteCode(code="import random, numpy as np\n(random.random(), np.random.rand())")
    folders = []
    async with open_episode(tiny, sandbox="local", out=tmp_path, grader=grader) as episode:
        await episode.act(ExecuteCode(code="import random, numpy as np\nx = 1"))
        (child,) = await episode.fork(reseed=True)
        await child.act(draw)
        (grandchild,) = await child.fork(reseed=True)
        for one in (child, grandchild):
            await one.act(draw)
            await one.end()
            folders.append(one.folder)

    for folder in folders:
        found = await verified(folder, tiny, grader)
        assert found.verdict == "REPRODUCED", found.reason
        assert [step.outputs for step in found.compared][1:] == ["equal", "equal"]


async def test_what_a_person_did_is_done_again_in_their_name(
    tiny: str, grader: Grader, tmp_path: Path
) -> None:
    async with open_episode(
        tiny, sandbox="local", out=tmp_path, grader=grader, budget={"steps": 2}
    ) as episode:
        await episode.act(ExecuteCode(code="x = 1"))
        for code in (SUBMIT_LINE, "x = 2"):
            await episode.act(ExecuteCode(code=code), actor="human")
        await episode.act(ExecuteCode(code="x"))

    found = await verified(episode.folder, tiny, grader)

    assert found.verdict == "REPRODUCED", found.reason
    assert len(found.compared) == 4
    assert found.compared[1].submission is not None
    assert found.final is None


# ── verdicts without a replay, and replays that do not end ────────────────────────────────


async def test_what_was_changed_is_not_run(recorded: Path, tiny: str, tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    file.write_bytes((recorded / "journal.jsonl").read_bytes().replace(b"1 / 0", b"1 / 1"))

    found = await verify(read_recording(file), Options(task=tiny, sandbox="local", out=tmp_path))

    assert found.verdict == "TAMPERED"
    assert found.tampering[0].where == "step 4"
    assert found.json()["exit_code"] == 4
    assert list(tmp_path.iterdir()) == [file]


async def test_a_task_that_is_not_here_cannot_be_run(recorded: Path) -> None:
    found = await verify(read_recording(recorded), Options(sandbox="local"))

    assert found.verdict == "FAILED"
    assert "'tiny' is not in the catalogue" in found.reason


async def test_a_replay_that_runs_out_of_time_has_failed(
    recorded: Path, tiny: str, grader: Grader
) -> None:
    found = await verified(recorded, tiny, grader, seconds=0.001)

    assert found.verdict == "FAILED"
    assert "before step" in found.reason


async def test_a_cell_that_needs_more_time_here_has_failed(
    tiny: str, grader: Grader, tmp_path: Path
) -> None:
    code = ExecuteCode(code="import time; time.sleep(0.5)")
    recording = read_recording(await record(tiny, tmp_path, grader, [code]))
    header = recording.trajectory.header
    header = replace(header, budget=replace(header.budget, cell_seconds=0.2))
    slower = replace(recording, trajectory=replace(recording.trajectory, header=header))

    found = await replay_and_compare(slower, Options(task=tiny, sandbox="local"), grader=grader)

    assert found.verdict == "FAILED"
    assert "step 1 reached its time limit here" in found.reason


async def test_interrupted_cells_are_compared_by_how_they_ended(
    tiny: str, grader: Grader, tmp_path: Path
) -> None:
    code = "import time\nfor n in range(10**6):\n    print(n); time.sleep(0.01)"
    episode: Episode
    async with open_episode(
        tiny, sandbox="local", out=tmp_path, grader=grader, budget={"cell_seconds": 0.3}
    ) as episode:
        await episode.act(ExecuteCode(code=code))

    found = await verified(episode.folder, tiny, grader)

    assert found.verdict == "REPRODUCED", found.reason
    assert found.compared[0].outputs == "not compared"
    assert "time limit" in found.compared[0].note
