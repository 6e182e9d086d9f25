"""Say which episodes the clients of a server can open: tasks, and options of the operator."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from kernel_env.episode import EpisodeConfig
from kernel_env.episode.budget import Budget
from kernel_env.errors import TaskError, UnknownName, UsageError
from kernel_env.field_docs import show_fields
from kernel_env.rollouts.turn import check_limit
from kernel_env.sandbox.selection import choose
from kernel_env.tasks import catalog, spec
from kernel_env.tasks.info import metadata

SUMMARY = ("name", "summary", "domain", "kind", "metric", "higher_is_better")
"""What a list of tasks says of each; an episode's prompt says the rest."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Offer:
    """Which episodes clients can open. What a client selects is checked by `config`.

    A client selects a task by name, a seed, and lower limits. Sandbox, image, reward, feedback and
    folders are the operator's: a client could otherwise run code outside of a container.
    """

    tasks: Mapping[str, Path]
    """The folder of each task, by name."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `EpisodeConfig`, for all episodes."""
    warm: int = 0
    """Number of sandboxes that are started in advance, per task."""
    observation_chars: int | None = None
    """The most characters of what an agent reads after a call; None: no limit but the usual."""

    @cached_property
    def summaries(self) -> list[dict[str, Any]]:
        """Return what a client learns of each task; those with defects are left out."""
        found = []
        for name, folder in sorted(self.tasks.items()):
            try:
                task = spec.load(folder)
            except TaskError:
                continue
            facts = metadata(task, {})
            found.append({"task": name} | {each: facts[each] for each in SUMMARY})
        return found

    def config(
        self, task: str, *, seed: int = 0, budget: Mapping[str, float | None] | None = None
    ) -> EpisodeConfig:
        """Return the configuration of an episode that a client asks for.

        Raises `UnknownName` for a task that is not offered, `UsageError`, `TaskError`.
        """
        if task not in self.tasks:
            raise UnknownName("task", task, self.tasks)
        config = EpisodeConfig(task=str(self.tasks[task]), trusted=False, seed=seed, **self.options)
        limits = Budget.of(config.load_task()).changed(config.budget)
        lower = limits.changed(budget or {})
        for name in budget or {}:
            limit, wanted = getattr(limits, name), getattr(lower, name)
            if limit is not None and (wanted is None or wanted > limit):
                raise UsageError(
                    f"the budget's {name} can be at most {limit:g} on this server; {wanted} was"
                    " requested"
                )
        return replace(config, budget={**config.budget, **(budget or {})})


def offer_of(
    names: Sequence[str],
    *,
    warm: int = 0,
    observation_chars: int | None = None,
    **options: Any,
) -> Offer:
    """Return an offer of some tasks, or of all in the catalogue if none is named.

    Args:
        names: names of tasks, or task folders.
        warm: number of sandboxes that are started in advance, per task.
        observation_chars: the most characters of what an agent reads after a call.
        options: fields of `EpisodeConfig`.

    Raises `UnknownName`, `UsageError`, `TaskError` if a task or an option is wrong, and
    `SandboxError` where no engine answers, unless the sandbox is `local`.
    """
    folders = [catalog.folder_of(name) for name in names]
    tasks = {folder.name: folder for folder in folders} or catalog.task_folders()
    if not tasks:
        raise UsageError("there is no task to serve; name one with --tasks")
    check_limit(observation_chars)
    offer = Offer(tasks=tasks, options=options, warm=warm, observation_chars=observation_chars)
    for task in tasks if names else list(tasks)[:1]:
        sandbox = offer.config(task).sandbox
    choose(sandbox, trusted=False)
    return offer
