"""Solution notebooks of a task folder are played and must be good."""

from collections.abc import AsyncIterator
from pathlib import Path

import nbformat
import pytest
import pytest_asyncio

from kernel_env.audit.task import board
from kernel_env.grading.host import Grader
from kernel_env.tasks import spec

pytestmark = pytest.mark.asyncio(loop_scope="module")
BEGIN = (
    "import os, pandas as pd\n"
    "data, path = os.environ['DATA_PATH'], os.environ['OUTPUT_PATH']\n"
    "sample = pd.read_csv(data + '/sample_submission.csv')\n"
    "test = pd.read_csv(data + '/test.csv')"
)
GOOD = "sample.assign(y=2.9 * test.x).to_csv(path, index=False)"
GOOD_RESULT = "scores 0.12934 / 0.11865 and beats 75 % / 75 % of the leaderboard"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def grader() -> AsyncIterator[Grader]:
    """One grading process for all."""
    async with Grader() as shared:
        yield shared


def write_solution(path: Path, code: str) -> None:
    cells = [nbformat.v4.new_code_cell(source) for source in (BEGIN, code)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("1 + 1", "solution.ipynb leaves no valid submission"),
        (
            "sample.to_csv(path, index=False)",
            "scores 3.0953 / 2.6387 and beats 0 % / 25 % of the leaderboard, expected more than"
            " 50 %; improve the notebook",
        ),
        (GOOD, GOOD_RESULT),
    ],
)
async def test_a_solution_must_beat_half_of_the_leaderboard(
    task_folder: Path, grader: Grader, code: str, text: str
) -> None:
    write_solution(task_folder / "solution.ipynb", code)

    (found,) = await board.check_solutions(spec.load(task_folder), "local", grader)

    assert text in found.text


async def test_the_solution_check_does_not_apply_without_a_solution(
    tiny: str, grader: Grader
) -> None:
    (found,) = await board.check_solutions(spec.load(Path(tiny)), "local", grader)

    assert (found.verdict, found.text) == ("not applicable", "there is no solution.ipynb")


@pytest.mark.docker
async def test_a_solution_for_another_image_is_played_in_that_image(
    task_folder: Path, grader: Grader, docker_images: None
) -> None:
    write_solution(task_folder / "solution.ipynb", GOOD)
    write_solution(
        task_folder / "solution-base.ipynb",
        f"import importlib.util\nassert importlib.util.find_spec('polars') is None\n{GOOD}",
    )

    found = await board.check_solutions(spec.load(task_folder), "docker", grader)

    assert [(f.check, f.verdict) for f in found] == [("solution", "ok"), ("solution base", "ok")]
    assert GOOD_RESULT in found[1].text


@pytest.mark.parametrize(
    ("image", "verdict", "text"),
    [
        ("base", "not run", "needs the image base in a container"),
        ("bass", "failed", "solution-bass.ipynb: no image named 'bass'"),
    ],
)
async def test_a_solution_for_another_image_needs_that_image(
    task_folder: Path, grader: Grader, image: str, verdict: str, text: str
) -> None:
    write_solution(task_folder / "solution.ipynb", GOOD)
    write_solution(task_folder / f"solution-{image}.ipynb", GOOD)

    found = await board.check_solutions(spec.load(task_folder), "local", grader)

    assert [f.check for f in found] == ["solution", f"solution {image}"]
    assert found[1].verdict == verdict
    assert found[1].text.startswith(text)
