"""Play the tiny task with the tree agent and the scripted model, and read the tree."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernel_env.agents import Options
from kernel_env.bench.scripted_model import Script
from kernel_env.episode import EpisodeConfig
from kernel_env.episode.journal import read_journal
from kernel_env.episode.result import EpisodeResult
from kernel_env.episode.step import Graded
from kernel_env.episode.trajectory import Trajectory
from kernel_env.runner import Plan
from support.episodes import DEFINE_SUBMIT

SCRIPT = Script(
    prepare=f"{DEFINE_SUBMIT}slope = 0.0\nprepared = open('prepared', 'a').write('x')\n",
    drafts=["slope = 1.0; submit(slope)", "slope = 1.5; 1 / 0", "slope = 2.0; submit(slope)"],
    changes=[
        "slope += 0.25; submit(slope)",
        "slope += 0.5; submit(slope)",
        "slope -= 0.25; submit(slope)",
        "slope += 1 / (slope > 99); submit(slope)",
    ],
    repair="submit(slope)",
)
"""A search for the slope 3; some of its cells fail."""


def plan(task: str, url: str, out: Path, *, seed: int = 0, **more: Any) -> Plan:
    """Build the plan of a search; `budget` and `sandbox` are the episode's, others settings."""
    budget, sandbox = more.pop("budget", {"steps": 12}), more.pop("sandbox", "local")
    return Plan(
        config=EpisodeConfig(
            task=task, agent="tree", sandbox=sandbox, out=out, seed=seed, budget=budget
        ),
        options=Options(model="scripted", base_url=url, price_in=1.0, price_out=2.0, settings=more),
    )


@dataclass(frozen=True, kw_only=True)
class Found:
    """A tree as its journals have it."""

    result: EpisodeResult
    branches: list[Trajectory]
    """The episodes, in the order in which they began; the first is the root."""

    @property
    def root(self) -> Trajectory:
        """Return the first episode."""
        return self.branches[0]

    @property
    def best(self) -> float:
        """Return the best public score in the whole tree."""
        submissions = [step.submission for branch in self.branches for step in branch.steps]
        return min(s.grade.public_score for s in submissions if isinstance(s, Graded))

    @property
    def own_steps(self) -> int:
        """Return how many different steps were taken in the whole tree."""
        digests = {digest for branch in self.branches[1:] for digest in step_digests(branch)}
        return len(digests | set(step_digests(self.root)[:1]))

    def codes(self) -> list[tuple[str, ...]]:
        """Return the codes of each branch but the root, sorted."""
        return sorted(tuple(codes(branch)) for branch in self.branches[1:])


def codes(branch: Trajectory) -> list[str]:
    """Return the code of each step."""
    return [getattr(step.action, "code", "").strip() for step in branch.steps]


def step_digests(branch: Trajectory) -> list[str]:
    """Return what tells each step of a branch apart from all others: when it began."""
    return [f"{step.started} {step.spent.output_bytes}" for step in branch.steps]


def read_tree(result: EpisodeResult) -> Found:
    """Read the journals beside that of a result."""
    folder = Path(result.notebook).parent
    found = [read_journal(path) for path in folder.parent.glob("*/journal.jsonl")]
    first = [each for each in found if each.header.fork is None]
    forks = [each for each in found if each.header.fork is not None]
    return Found(result=result, branches=first + forks)
