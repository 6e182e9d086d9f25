"""A budget limits the time of a cell, and ends an episode when it is used up."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from kernel_env.episode.actions import ExecuteCode, GetHistory, ValidateCode
from kernel_env.errors import EpisodeOver
from support.episodes import SUBMIT_LINE, OpenTiny, execute, execute_text


async def test_a_cell_is_interrupted_at_its_time_limit(open_tiny: OpenTiny) -> None:
    budget = {"cell_seconds": 1, "seconds": 30}
    async with open_tiny(sandbox="local", budget=budget) as episode:
        slow = await execute(episode, "x = 1\nimport time; time.sleep(30)")
        after = await execute_text(episode, "x")

    assert slow.cell.timed_out
    assert slow.cell.seconds < 3
    assert after == "1"


@pytest.mark.parametrize(
    ("budget", "code", "limit"),
    [
        ({"steps": 2}, "pass", "2 steps"),
        ({"seconds": 1.5}, "import time; time.sleep(10)", "1.5 seconds"),
        ({"output_bytes": 10}, "print('x' * 100)", "10 output bytes"),
    ],
)
async def test_an_episode_is_over_when_its_budget_is_used_up(
    open_tiny: OpenTiny, budget: dict[str, float], code: str, limit: str
) -> None:
    async with open_tiny(sandbox="local", budget=budget) as episode:
        for _ in range(2):
            if not episode.over:
                await execute(episode, code)
        assert episode.over == f"the budget of {limit} is used up"
        with pytest.raises(EpisodeOver, match="the episode is over"):
            await execute(episode, "1")

    assert episode.steps.ending is not None
    assert episode.steps.ending.status == "budget"


async def test_the_stored_bytes_that_are_left_are_shown_once_they_are_few(
    open_tiny: OpenTiny,
) -> None:
    async with open_tiny(sandbox="local", budget={"output_bytes": 3 << 20}) as episode:
        shown = []
        for _ in range(3):
            await execute(episode, f"# {'x' * 1_000_000}")
            shown.append(episode.observation.text.splitlines()[-1])

    assert ["can still be stored" in line for line in shown] == [False, False, True]
    assert shown[-1].endswith("s left; 0.1 MiB of output and submissions can still be stored]")


async def test_code_thoughts_outputs_and_submissions_count_as_stored_bytes(
    open_tiny: OpenTiny,
) -> None:
    long = "x" * 10_000
    async with open_tiny(sandbox="local") as episode:
        counts = [0]
        for action, thought in (
            (ExecuteCode(code=f"# {long}"), ""),
            (ExecuteCode(code="pass"), long),
            (ValidateCode(code="print('x' * 10_000)"), ""),
            (GetHistory(), ""),
            (ExecuteCode(code=SUBMIT_LINE), ""),
        ):
            step = await episode.act(action, thought=thought)
            counts.append(step.spent.output_bytes)
        (child,) = await episode.fork()
        await child.end()
        submission = next((child.folder / "submissions").iterdir())

    used = [after - before for before, after in pairwise(counts)]
    assert all(10_000 < size < 20_000 for size in used[:3]), used
    assert submission.stat().st_size < used[4] < submission.stat().st_size + 3000
    assert submission.stat().st_nlink == 2, "a fork does not copy the submissions of its parent"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("text", "print('é' * 200_000, '<b>&' * 200_000)"),
        ("HTML", "for _ in range(150): display({'text/html': '<' * 400}, raw=True)"),
        ("open tags", "display({'text/html': '<p>' * 100_000}, raw=True)"),
        ("Markdown", "display({'text/markdown': '<&' * 100_000}, raw=True)"),
        ("SVG", "display({'image/svg+xml': 'x' * 300_000}, raw=True)"),
        ("JSON", "display({'application/json': ['é' * 300_000]}, raw=True)"),
        ("errors", "raise ValueError('<`' * 50_000)"),
        ("code", f"# {'<`' * 100_000}"),
    ],
)
async def test_an_episode_leaves_at_most_four_times_its_budget_and_its_last_step(
    open_tiny: OpenTiny, name: str, code: str, print_later: Callable[[str], None]
) -> None:
    async with open_tiny(sandbox="local", budget={"output_bytes": 2 << 20}) as episode:
        while not episode.over:
            before = episode.spent.output_bytes
            await execute(episode, code)
        last_bytes = episode.spent.output_bytes - before

    left = sum(path.stat().st_size for path in episode.folder.rglob("*") if path.is_file())
    print_later(f"{name:12} {left / (2 << 20):.2f} times the budget")
    assert left < 4 * ((2 << 20) + last_bytes) + (1 << 16)
