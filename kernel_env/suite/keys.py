"""Identify what a suite plays: equal settings have equal keys, and are played once.

A key is the SHA-256 of the resolved settings of an episode: of what an option comes to, not of how
it was written. `{ steps = 60 }` and a task whose own limit is 60 steps have the same key. What
cannot change what an agent does is excluded: where files are, how many episodes run at once, prices
and API keys. `ROLES` says it of every option.

Grader, answers and leaderboard have a key of their own, because a change of these needs no new
episode: the submissions are kept, and graded again.

The idea of a key over resolved settings, with a test that fails for an option without a role, is
Inspect's (`eval_set`); that of grading again is in Harbor and Inspect (`score`).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, Literal

from kernel_env import plugins
from kernel_env.agents.base import Options
from kernel_env.episode import EpisodeConfig
from kernel_env.episode.budget import Budget
from kernel_env.errors import UnknownName, UsageError
from kernel_env.runner import Plan
from kernel_env.suite.file import (
    AgentSection,
    EndpointSection,
    LimitsSection,
    SuiteFile,
)
from kernel_env.tasks import Task
from kernel_env.tasks.prepare import prepared_folder, sha256_of

VERSION = 1
"""The version of the settings' form."""
PROTOCOL = 1
"""What agents see and how their actions are carried out; raised by hand when that changes so that
results cannot be compared with earlier ones. The version of kernel_env is recorded, not hashed."""
GRADING = 1
"""How submissions are parsed and built-in metrics computed; raised by hand when scores change."""
OWN = "kernel-env"

Role = Literal["key", "task", "not"]
"""`key`: part of the settings; `task`: known from the task, which is in them by its content;
`not`: no part of them."""

ROLES: Mapping[type, Mapping[str, Role]] = {
    Plan: {"config": "key", "options": "key"},
    EpisodeConfig: {
        **dict.fromkeys(("task", "sandbox", "image", "budget", "reward"), "key"),
        **dict.fromkeys(("feedback", "counts", "agent", "seed", "random_seed"), "key"),
        **dict.fromkeys(("branching", "gpus", "devices"), "key"),
        **dict.fromkeys(("feedback_provider", "feedback_settings"), "key"),
        "model": "not",  # filled in from the agent, whose options are in the settings
        "out": "not",  # where files are
        "trusted": "not",  # only matters to `auto`, which a suite has not
        "gpu_device": "not",  # which of equal GPUs
    },
    Budget: dict.fromkeys(Budget.__dataclass_fields__, "key"),
    Options: {
        **dict.fromkeys(("script", "model", "temperature", "context_tokens"), "key"),
        **dict.fromkeys(("answer_tokens", "images", "seed", "provider", "settings"), "key"),
        "base_url": "not",  # the endpoint's name is
        "key_variable": "not",
        "max_calls": "not",  # how many at once
        "price_in": "not",  # what the same tokens cost
        "price_out": "not",
    },
    SuiteFile: {
        **dict.fromkeys(("tasks", "agents", "endpoints", "seeds", "budget"), "key"),
        **dict.fromkeys(("sandbox", "image", "reward", "feedback", "counts", "gpus"), "key"),
        "name": "not",
        "limits": "not",
        "anchor": "not",  # what is compared, not what is played
    },
    LimitsSection: dict.fromkeys(LimitsSection.model_fields, "not"),
    EndpointSection: {"base_url": "not", "key_variable": "not"},
    AgentSection: {
        **dict.fromkeys(("agent", "model", "endpoint", "temperature", "context_tokens"), "key"),
        **dict.fromkeys(("answer_tokens", "images", "script", "provider", "settings"), "key"),
        "name": "not",  # an agent can be renamed
        "max_calls": "not",
        "price_in": "not",
        "price_out": "not",
    },
}
"""The role of each option. A test fails for one that has none."""


def settings_of(plan: Plan, *, endpoint: str) -> dict[str, Any]:
    """Return the resolved settings of an episode as JSON.

    Args:
        plan: the episode.
        endpoint: the name of the model's service.

    Raises `UsageError` if a file of the agent cannot be read, or the reward is a function.
    """
    config, options = plan.config, plan.options
    task = config.load_task()
    sandbox = plugins.find("sandbox", config.sandbox)
    if not isinstance(config.reward, str):
        raise UsageError("a suite needs a reward by its name; a function cannot be compared")
    if not isinstance(config.feedback_provider, str):
        raise UsageError("a suite needs a provider of feedback by its name, not an object")
    protocol = config.protocol
    settings = {
        "v": VERSION,
        "protocol": PROTOCOL,
        "task": {
            "id": task.id,
            "version": prepared_folder(task).name,
            "file": task.file.submission.file,
            "limit_mb": task.file.submission.limit_mb,
        },
        "sandbox": {
            **plug_in("sandbox", config.sandbox),
            "image": image_digest(sandbox, config),
            "cpus": task.file.limits.cpus,
            "memory_gb": task.file.limits.memory_gb,
            "workspace_gb": task.file.limits.workspace_gb,
            "libraries": task.file.resources.libraries,
            "branching": config.branching,
            "gpus": config.gpu_count,
            "devices": sorted(config.devices),
        },
        "agent": {
            **agent_of(config.agent),
            "model": options.model,
            "provider": options.provider,
            "endpoint": endpoint,
            "settings": options.settings,
            "temperature": options.temperature,
            "context_tokens": options.context_tokens,
            "answer_tokens": options.answer_tokens,
            "images": options.images,
            "script": options.script and digest_of(options.script),
        },
        "budget": asdict(Budget.of(task).changed(config.budget)),
        "reward": config.reward,
        "feedback": protocol.feedback,
        "counts": protocol.counts,
        "seed": config.seed,
        "random_seed": config.random_seed,
    }
    if config.feedback_provider:  # without one the keys are those of earlier versions
        provider = plug_in("feedback provider", config.feedback_provider)
        settings["comments"] = {**provider, "settings": config.feedback_settings}
    plain: dict[str, Any] = canonical(settings)
    return plain


def key_of(settings: Mapping[str, Any]) -> str:
    """Return the key of settings: a SHA-256, hexadecimal."""
    text = json.dumps(canonical(settings), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def canonical(value: Any) -> Any:
    """Return a value as JSON in which equal values look the same: 60.0 becomes 60."""
    match value:
        case Mapping():
            return {str(name): canonical(each) for name, each in value.items()}
        case list() | tuple():
            return [canonical(each) for each in value]
        case float() if value.is_integer():
            return int(value)
    return value


def changed_fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the names of the settings that differ, with dots between the levels."""
    names: list[str] = []
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            names += [f"{name}.{inner}" for inner in changed_fields(old, new)]
        elif old != new:
            names.append(name)
    return names


# ── what grades ───────────────────────────────────────────────────────────────────────────


def grade_key_of(task: Task) -> str:
    """Return the key of grader, answers and leaderboard; empty before the data is prepared."""
    try:
        found = json.loads((prepared_folder(task) / "checksums.json").read_bytes())
    except OSError:
        return ""
    answers = {name: each["sha256"] for name, each in found.items() if name.startswith("private/")}
    name, board = task.file.metric.name, task.leaderboard
    grader: dict[str, Any] = {"name": name}
    if task.grade_file:
        grader["sha256"] = digest_of(task.grade_file)
    elif name in plugins.names("metric"):
        grader = plug_in("metric", name)
    return key_of(
        {
            "v": VERSION,
            "grading": GRADING,
            "grader": grader,
            "higher_is_better": task.scoring.higher_is_better,
            "schema": asdict(task.scoring.schema),
            "answers": answers,
            "board": [board.kind, board.public, board.private],
        }
    )


# ── identities ────────────────────────────────────────────────────────────────────────────


def agent_of(name: str) -> dict[str, Any]:
    """Identify an agent: a plug-in by its distribution's version, a file by its content.

    Modules that the file imports are not part of it. Raises `UsageError`.
    """
    path, colon, class_name = name.rpartition(":")
    if colon:
        return {"class": class_name, "sha256": digest_of(Path(path))}
    return plug_in("agent", name)


@cache
def plug_in(kind: plugins.Kind, name: str) -> dict[str, Any]:
    """Identify a plug-in by its name and, unless it is built in, its distribution's version.

    Raises `UnknownName`.
    """
    for entry in plugins.entries(kind).select(name=name):
        distribution = entry.dist
        if distribution is None or distribution.name == OWN:
            return {"name": name}
        return {"name": name, "distribution": f"{distribution.name} {distribution.version}"}
    raise UnknownName(kind, name, plugins.names(kind))


def image_digest(sandbox: Any, config: EpisodeConfig) -> str:
    """Return what identifies the content of the image; its name if the sandbox cannot tell."""
    from kernel_env.sandbox.protocol import Spec

    spec = Spec(image=config.image_name, gpus=config.gpu_count)
    digest: str = getattr(sandbox, "image_digest", lambda _: "")(spec)
    return digest or config.image_name


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file of an agent or grader. Raises `UsageError`."""
    try:
        return sha256_of(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
