"""Records of episodes that were never played, for reports and listings."""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from kernel_env.episode.activity import CellCounts
from kernel_env.episode.result import RECORD, EpisodeResult, Usage

AGENTS = (
    ("openai", "qwen-coder-32b", 0.62, 0.021),
    ("openai", "llama-70b", 0.55, 0.034),
    ("aide", "qwen-coder-32b", 0.58, 0.05),
    ("baseline", "", 0.4, 0.0),
    ("sample", "", 0.02, 0.0),
)
"""Program, model, mean position, dollars of an episode."""
DOMAINS = ("tabular", "vision", "language", "time-series")


def made_records(
    tasks: int, seeds: int, agents: Sequence[tuple] = AGENTS, domains: Sequence[str] = DOMAINS
) -> Iterator[EpisodeResult]:
    """Yield a record for each agent, task and seed; the same ones each time."""
    chance = random.Random(13)
    for task in range(tasks):
        hard = chance.uniform(-0.35, 0.35)
        for program, model, strength, dollars in agents:
            for seed in range(seeds):
                place = min(1.0, max(0.0, chance.gauss(strength + hard, 0.1)))
                yield replace(
                    made_record(f"task-{task:03}", program, model, seed, place, dollars, chance),
                    domain=domains[task % len(domains)],
                )


def made_record(
    task: str,
    program: str,
    model: str,
    seed: int,
    place: float,
    dollars: float,
    chance: random.Random,
) -> EpisodeResult:
    """Make up a record of an episode that beat a share of the leaderboard."""
    steps, score = chance.randint(8, 30), 0.5 + place / 2
    failed, money = chance.randint(0, 4), dollars * chance.uniform(0.5, 1.5)
    status = chance.choices(
        ["finished", "budget", "agent_failed", "machine_failed"], [80, 12, 4, 4]
    )[0]
    graded = status != "machine_failed" and (status != "agent_failed" or seed > 0)
    best = [
        [n * steps // 4, 10.0 * n, money * n / 4, place * n / 4, 0.5 + place * n / 8]
        for n in (1, 2, 4)
    ]
    name = f"{task}-{program}-{model or 'none'}-{seed}"
    return EpisodeResult(
        task=task,
        agent=program,
        model=model,
        seed=seed,
        status=status,
        steps=steps,
        public_score=score + 0.01 if graded else None,
        private_score=score if graded else None,
        position_public=place if graded else None,
        position_private=place if graded else None,
        normalised_private=place if graded else None,
        leaderboard_kind="reference",
        human_rank=None,
        total_reward=place,
        seconds=chance.uniform(60, 1500),
        usage=Usage(tokens=int(money * 1e6), money=money),
        notebook="",
        error="" if status in ("finished", "budget") else f"{status}: connection <b>lost</b>",
        episode=name,
        sandbox="docker",
        missing="",
        restored=0,
        states_lost=0,
        refusals=chance.randint(0, 1),
        submissions=3 if graded else 0,
        metric="accuracy",
        task_version=f"v-{task}",
        image="tabular",
        started=f"2026-11-{1 + seed:02}T0{int(task[-1]) % 10}:00:00+00:00",
        host="2 cores, 8 GB",
        cpus=2.0,
        memory_gb=4.0,
        budget={"steps": 30, "seconds": 1800.0 if program == "aide" else 1200.0},
        tokens={"prompt": int(money * 9e5), "answer": int(money * 1e5)},
        steps_by_kind={
            "execute_code": steps - 4,
            "validate_code": 2,
            "request_info": 1,
            "get_history": 1,
        },
        cells=CellCounts(
            execute_run=steps - 4, execute_failed=failed, validate_run=2, validate_failed=failed % 2
        ),
        errors={"ValueError": failed, "KeyError": failed // 2} if failed else {},
        best_by_step=best if graded else [],
    )


def write_records(folder: Path, records: Iterator[EpisodeResult] | Sequence[EpisodeResult]) -> Path:
    """Write records as the runs of a folder."""
    for record in records:
        run = folder / record.task / record.episode
        run.mkdir(parents=True, exist_ok=True)
        (run / RECORD).write_text(json.dumps(replace(record).json()))
    return folder


REAL = ("finished", "recovered-standby", "task-failed", "timed-out", "interrupted-journal")
"""Episodes of version 0.1 beside the records; the last one has not ended."""
