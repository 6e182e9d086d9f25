"""Train with TRL: an `environment_factory` for `GRPOTrainer`.

    from kernel_env.adapters.trl import Environments

    environments = Environments(budget={"steps": 10})
    GRPOTrainer(model, train_dataset=rows, environment_factory=environments, args=…)

A row of the data set has a `prompt` and a `task`. With `state` and `cells`, all rollouts of a
state are branches of one live kernel in which the cells have run; see `LiveStates`. `seed` is
optional.

TRL takes each public method of an environment for a tool, and never closes one. So there is none
but the tools, `reset` and `get_reward`, and a rollout ends with the reward, the next reset, the
environment, or the program. It calls the tools of a batch one after the other: `trl_batch` is for
cells that take long.
"""

import inspect
import json
import threading
import weakref
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from kernel_env.errors import UnknownName, UsageError
from kernel_env.rollouts.live_states import LiveStates
from kernel_env.rollouts.rollout import Rollout
from kernel_env.rollouts.synchronous import SyncRollout

TOOLS = ("execute_code", "finish")
OBSERVATION_CHARS = 4_000
"""About a thousand tokens: what does not fit into `max_completion_length` ends a rollout in TRL."""
TYPES = {"string": str, "integer": int}


class Environments:
    """Makes the environments of a trainer. It can be sent to another process."""

    def __init__(
        self,
        *,
        tools: tuple[str, ...] = TOOLS,
        show_task: bool = True,
        reward: Any = "final",
        observation_chars: int = OBSERVATION_CHARS,
        **options: Any,
    ) -> None:
        """Start nothing.

        Args:
            tools: the tools that the model gets; `reset` cannot be one of them.
            show_task: whether the task, and what was done in a state, are added to the prompt.
            reward: see `EpisodeConfig`; `final` cannot be raised by probing the public score.
            observation_chars: the most characters of a tool's answer.
            options: as those of `LiveStates`, such as `budget`, `sandbox`, `warm` and `keep`.

        Raises `UsageError`.
        """
        self._tools, self._show_task = tools, show_task
        self._options = {"reward": reward, "observation_chars": observation_chars, **options}
        self._states: LiveStates | None = None
        environment_class(tools)
        LiveStates(**self._options)

    def __call__(self) -> "Environment":
        """Return a new environment; nothing is started before its first reset."""
        made: Environment = environment_class(self._tools)(self)
        return made

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs: not what is running here."""
        return {**self.__dict__, "_states": None}

    def begin(self, row: Mapping[str, Any]) -> SyncRollout:
        """Begin the rollout of a row in the background."""
        if not row.get("task"):
            raise UsageError("a row of the data set has no task; give it a column `task`")
        return self.states.begin(
            row["task"],
            state=row.get("state") or "",
            cells=row.get("cells") or (),
            seed=row.get("seed") or 0,
        )

    def prompt(self, row: Mapping[str, Any], rollout: SyncRollout) -> str | None:
        """Return what is added to the prompt of a row; waits only if the row names a state."""
        if not self._show_task:
            return None
        text = rollout.prompt if row.get("state") else self.states.opening(row["task"])
        return f"\n\n{text}"

    @property
    def states(self) -> LiveStates:
        """Return the live states of this process."""
        if self._states is None:
            self._states = LiveStates(**self._options)
        return self._states

    def close(self) -> None:
        """End the live states; for a trainer that is not the last thing a program does."""
        if self._states is not None:
            self._states.close()


class Environment:
    """One rollout after the other, as TRL plays them; `environment_class` adds the tools."""

    def __init__(self, environments: Environments) -> None:
        self._environments = environments
        self._open: list[SyncRollout] = []
        """The rollout that runs, if one does."""
        weakref.finalize(self, close_in_background, self._open).atexit = False

    def reset(self, **row: Any) -> str | None:
        """Begin the rollout of a row in the background, and return what is added to its prompt."""
        close_in_background(self._open)
        self._open.append(self._environments.begin(row))
        return self._environments.prompt(row, self._open[0])

    def get_reward(self) -> float | None:
        """End the rollout and return its reward; None if the machine failed, to leave it out."""
        if not self._open:
            return None
        rollout = self._open.pop()
        reward = rollout.reward  # waits until it has begun
        rollout.close()
        return reward if reward is None else rollout.reward

    def _call(self, name: str, arguments: Mapping[str, Any]) -> str:
        if not self._open:
            raise UsageError("the rollout has ended; reset the environment")
        return self._open[0].call(name, arguments).text


def close_in_background(rollouts: list[SyncRollout]) -> None:
    """Close rollouts without waiting for their containers; this can be called in any thread."""
    while rollouts:
        threading.Thread(target=rollouts.pop().close, name="kernel_env-close").start()


@cache
def environment_class(tools: tuple[str, ...]) -> type:
    """Return a class of environments with these tools as methods. Raises `UnknownName`."""
    schemas = {each["function"]["name"]: each["function"] for each in Rollout.tools()}
    del schemas["reset"]  # TRL's own method has this name
    for name in tools:
        if name not in schemas:
            raise UnknownName("tool for TRL", name, schemas)
    return type("KernelEnv", (Environment,), {name: method(schemas[name]) for name in tools})


def method(schema: Mapping[str, Any]) -> Callable[..., str]:
    """Return a method that calls a tool, with the signature and docstring that TRL reads."""
    name, fields = schema["name"], schema["parameters"]["properties"]

    def tool(self: Environment, **arguments: Any) -> str:
        return self._call(name, arguments)

    required = schema["parameters"].get("required", ())
    parameters = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    for field, about in fields.items():
        default = inspect.Parameter.empty if field in required else about.get("default", "")
        kind = TYPES[about["type"]]
        parameters.append(
            inspect.Parameter(
                field, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind
            )
        )
        tool.__annotations__[field] = kind
    del tool.__annotations__["arguments"], tool.__annotations__["self"]
    lines = [f"    {field}: {described(about)}" for field, about in fields.items()]
    tool.__doc__ = "\n".join([schema["description"], *(["", "Args:", *lines] if lines else [])])
    tool.__name__ = tool.__qualname__ = name
    tool.__signature__ = inspect.Signature(parameters, return_annotation=str)  # type: ignore[attr-defined]
    return tool


def described(about: Mapping[str, Any]) -> str:
    """Return the description of an argument, with its choices as TRL reads them."""
    choices = f" (choices: {json.dumps(about['enum'])})" if "enum" in about else ""
    return f"{about['description']}{choices}"
