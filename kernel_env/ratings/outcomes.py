"""Turn records of episodes into outcomes: what counts for an agent on a task with a seed.

scored     a submission was graded
floor      the episode ended by the agent's own doing, without a graded submission: the worst value
           of every measure, below every graded submission, and equal to other floors
missing    the episode was lost to the machine, the model's service, the task, the operator or us

Of several attempts the last one that counts is the outcome. No score decides which one is taken.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from kernel_env.episode.endings import CLASSES, counts
from kernel_env.episode.result import EpisodeResult
from kernel_env.errors import UsageError
from kernel_env.field_docs import show_fields
from kernel_env.untrusted_text import quote_name

CHEATS = ("oracle",)
"""Agents that know the answers: no comparison includes them."""
NO_DOMAIN = "other"
NO_AGENT = "no agent"
"""Names who acted in an episode that no registered agent played."""

Label = Callable[[EpisodeResult], str]
"""Returns what distinguishes agents of one program and model, such as a name in a suite."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What counts for an agent on a task with a seed."""

    agent: str
    """Program, model and label, such as `openai (gpt-x, terse)`."""
    task: str
    seed: int
    record: EpisodeResult
    """The attempt that counts."""
    attempts: int
    """Number of attempts that were made."""
    first: bool
    """Whether the first attempt is the one that counts."""

    @property
    def scored(self) -> bool:
        """Whether a submission was graded; otherwise the outcome is the floor."""
        return self.record.private_score is not None

    @property
    def strength(self) -> float:
        """The raw private score so that higher is better; minus infinity at the floor."""
        score = self.record.private_score
        if score is None:
            return -math.inf
        return score if self.record.higher_is_better else -score


@show_fields
@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """All outcomes, and what is missing."""

    outcomes: tuple[Outcome, ...]
    """Sorted by agent, task and seed."""
    missing: Mapping[str, tuple[tuple[str, int], ...]]
    """agent → the (task, seed) of which no attempt counts."""
    agents: tuple[str, ...]
    """All agents, sorted; also those of which nothing counts."""
    programs: Mapping[str, str]
    """agent → its program, as `--agent` names it."""
    labels: Mapping[str, str]
    """agent → its label."""
    tasks: Mapping[str, str]
    """task → domain, sorted; without the tasks that failed."""
    failed_tasks: tuple[str, ...]
    """Tasks whose own metric or preparation failed in a latest attempt: missing for all agents."""
    forks: int
    """Records left out because they continue another episode."""
    cheats: tuple[str, ...]
    """Agents left out because they know the answers."""
    records: Mapping[str, tuple[EpisodeResult, ...]]
    """agent → its records, sorted by task, seed and attempt: also those that do not count."""


def name_of(record: EpisodeResult, label: str = "") -> str:
    """Return the name of an agent: its program, then model and label in parentheses."""
    parts = (record.model, label if label != record.agent else "")
    inner = ", ".join(part for part in parts if part)
    program = record.agent or NO_AGENT
    return f"{program} ({inner})" if inner else program


def no_label(_: EpisodeResult) -> str:
    """Return no label."""
    return ""


def outcomes_of(records: Iterable[EpisodeResult], label: Label = no_label) -> Outcomes:
    """Sort records into outcomes and missing episodes.

    Args:
        records: in any order; a record that comes twice counts once.
        label: what distinguishes agents of one program and model.

    Raises `UsageError` if there are no records, or if scores of a task cannot be compared.
    """
    every = {(r.episode, name_of(r, label(r)), r.task, r.seed, r.attempt): r for r in records}
    if not every:
        raise UsageError("no records of episodes; give folders of runs that have ended")
    kept: dict[tuple[str, str, int], list[EpisodeResult]] = {}
    forks = 0
    for (_, agent, task, seed, _), record in every.items():
        if record.parent:
            forks += 1
        elif record.agent not in CHEATS:
            kept.setdefault((agent, task, seed), []).append(record)
    groups = {key: sorted(kept[key], key=attempt_order) for key in sorted(kept)}
    check_metrics([record for attempts in groups.values() for record in attempts])
    failed = sorted(
        {key[1] for key, tries in groups.items() if CLASSES.get(tries[-1].status) == "task"}
    )
    outcomes, missing = [], {agent: list[tuple[str, int]]() for agent, _, _ in groups}
    for (agent, task, seed), attempts in groups.items():
        if task in failed:
            continue
        counted = [record for record in attempts if counts(record.status)]
        if not counted:
            missing[agent].append((task, seed))
            continue
        outcomes.append(
            Outcome(
                agent=agent,
                task=task,
                seed=seed,
                record=counted[-1],
                attempts=len(attempts),
                first=counted[-1] is attempts[0],
            )
        )
    return Outcomes(
        outcomes=tuple(outcomes),
        missing={agent: tuple(each) for agent, each in missing.items()},
        agents=tuple(missing),
        programs={key[0]: attempts[0].agent for key, attempts in groups.items()},
        labels={key[0]: label(attempts[0]) for key, attempts in groups.items()},
        tasks={task: domain for task, domain in domains_of(groups).items() if task not in failed},
        failed_tasks=tuple(failed),
        forks=forks,
        cheats=tuple(sorted({r.agent for r in every.values() if r.agent in CHEATS})),
        records={
            agent: tuple(r for key, tries in groups.items() if key[0] == agent for r in tries)
            for agent in missing
        },
    )


def attempt_order(record: EpisodeResult) -> tuple[int, str, str]:
    """Return what attempts are sorted by: number, start, and the episode's id."""
    return record.attempt, record.started, record.episode


def domains_of(groups: Mapping[tuple[str, str, int], Sequence[EpisodeResult]]) -> dict[str, str]:
    """Return the domain of each task; records of earlier versions do not name it."""
    named: dict[str, set[str]] = {}
    for (_, task, _), attempts in groups.items():
        named.setdefault(task, set()).update(r.domain for r in attempts if r.domain)
    return {task: min(named[task], default=NO_DOMAIN) for task in sorted(named)}


def check_metrics(records: Iterable[EpisodeResult]) -> None:
    """Raise `UsageError` if the scores of a task are of two metrics, or of two directions."""
    seen: dict[str, EpisodeResult] = {}
    for record in records:
        if record.private_score is None:
            continue
        other = seen.setdefault(record.task, record)
        if other.metric and record.metric and other.metric != record.metric:
            found = f"is scored by {quote_name(other.metric)} and by {quote_name(record.metric)}"
        elif other.higher_is_better != record.higher_is_better:
            found = f"says of {quote_name(record.metric)} that higher is better, and that lower is"
        else:
            continue
        raise UsageError(
            f"the task {quote_name(record.task)} {found} (episodes {quote_name(other.episode)} and"
            f" {quote_name(record.episode)}); give records of one version of the task"
        )
