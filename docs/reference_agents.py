"""Run the reference agents on the embedded tasks and make the table of their places.

    python docs/reference_agents.py [--runs FOLDER] [--write] [TASK…]

Episodes that `--runs` already has at seed 0 are not run again. The table is printed; `--write` puts
it into `docs/reference/agents.md`.
"""

import argparse
import asyncio
import tempfile
from pathlib import Path

from kernel_env.episode import EpisodeConfig
from kernel_env.episode.result import EpisodeResult
from kernel_env.episode.results import read_results
from kernel_env.grading.host import Grader
from kernel_env.runner import Plan, run_episode

AGENTS = ("sample", "random-valid", "constant", "automl-lite")
ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "agents.md"
BEGIN, END = "<!-- places -->\n", "<!-- end of places -->\n"
"""The marks around the table on the page."""

Results = dict[tuple[str, str], EpisodeResult]
"""The result of each pair of a task and an agent."""


async def run_missing(tasks: list[str], folder: Path) -> Results:
    """Run each agent on each task, unless the folder has the result; return all results."""
    found = {
        (each.task, each.agent): each
        for each in read_results(folder)
        if each.seed == 0 and each.status == "finished"
    }
    async with Grader() as grader:
        for task in tasks:
            for agent in AGENTS:
                if (task, agent) not in found:
                    config = EpisodeConfig(task=task, agent=agent, out=str(folder))
                    found[task, agent] = await run_episode(Plan(config=config), grader=grader)
    return found


def table(tasks: list[str], found: Results) -> str:
    """Return the table: a row for each task, then the mean."""
    lines = [f"| task | {' | '.join(AGENTS)} |", f"|---|{'---|' * len(AGENTS)}"]
    lines += [
        f"| {task} | {' | '.join(place(found[task, agent]) for agent in AGENTS)} |"
        for task in tasks
    ]
    means = [
        " / ".join(
            f"{100 * sum(positions) / len(tasks):.0f}"
            for positions in (
                [found[task, agent].position_public or 0.0 for task in tasks],
                [found[task, agent].position_private or 0.0 for task in tasks],
            )
        )
        for agent in AGENTS
    ]
    return "\n".join([*lines, f"| **mean** | {' | '.join(means)} |"]) + "\n"


def place(result: EpisodeResult) -> str:
    """Return the share of the leaderboard that a result beats, public / private, in percent."""
    positions = (result.position_public, result.position_private)
    return " / ".join("–" if each is None else f"{100 * each:.0f}" for each in positions)


def main() -> None:
    """Print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    embedded = sorted(path.parent.name for path in (ROOT / "tasks").glob("*/task.toml"))
    parser.add_argument("tasks", nargs="*", default=embedded, metavar="TASK")
    parser.add_argument("--runs", type=Path, help="default: a temporary folder")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.runs or Path(temporary)
        text = table(options.tasks, asyncio.run(run_missing(options.tasks, folder)))
    print(text, end="")  # noqa: T201
    if options.write:
        page = PAGE.read_text(encoding="utf-8")
        before, rest = page.split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}{text}{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
