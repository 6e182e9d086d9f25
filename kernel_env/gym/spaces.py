"""Define the observation and action spaces of the environment."""

from collections.abc import Callable
from typing import Any

from gymnasium import spaces

from kernel_env.episode import json_codec
from kernel_env.episode.actions import ExecuteCode, GetHistory, RequestInfo
from kernel_env.errors import ActionError


class Values(spaces.Space[Any]):
    """A space of the values that satisfy a predicate, such as texts of any length.

    It can be sent to another process if the predicate is a function of a module.
    """

    def __init__(self, name: str, holds: Callable[[Any], bool], samples: tuple[Any, ...]) -> None:
        super().__init__()
        self.name, self._holds, self._samples = name, holds, samples

    def sample(self, mask: Any = None, probability: Any = None) -> Any:  # noqa: ARG002
        """Return one of a few harmless examples."""
        return self._samples[int(self.np_random.integers(len(self._samples)))]

    def contains(self, x: Any) -> bool:
        """Return whether `x` is in the space."""
        return self._holds(x)

    @property
    def is_np_flattenable(self) -> bool:
        """Return False: texts are not arrays."""
        return False

    def __repr__(self) -> str:
        return f"Values({self.name})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Values) and other.name == self.name

    __hash__ = None  # type: ignore[assignment]


def is_text(value: Any) -> bool:
    """Return whether a value is a string."""
    return isinstance(value, str)


def is_score(value: Any) -> bool:
    """Return whether a value is a float."""
    return isinstance(value, float)


def is_score_or_none(value: Any) -> bool:
    """Return whether a value is a float, or None."""
    return value is None or isinstance(value, float)


def is_count(value: Any) -> bool:
    """Return whether a value is an integer of at least 0."""
    return isinstance(value, int) and value >= 0


def is_action(value: Any) -> bool:
    """Return whether `env.step` accepts a value."""
    try:
        json_codec.parse_action(value)
    except ActionError:
        return False
    return True


def text() -> Values:
    """Return the space of all strings."""
    return Values("text", is_text, ("", "text"))


def score(*, missing: bool) -> Values:
    """Return the space of floats; with `missing`, None is in it as well."""
    if missing:
        return Values("score or None", is_score_or_none, (0.0, 0.5))
    return Values("score", is_score, (0.0, 0.5))


def count() -> Values:
    """Return the space of integers of at least 0."""
    return Values("count", is_count, (0, 1))


def observations() -> spaces.Dict:
    """Return the space of observations."""
    return spaces.Dict(
        {
            "text": text(),
            "error": text(),
            "restored": text(),
            "state_lost": text(),
            "public_score": score(missing=True),
            "best_public_score": score(missing=True),
            "position": score(missing=False),
            "steps_left": count(),
            "seconds_left": score(missing=False),
        }
    )


ACTIONS = Values(
    "action",
    is_action,
    tuple(
        json_codec.action_json(action)
        for action in (
            RequestInfo(info_type="name"),
            GetHistory(last=1),
            ExecuteCode(code="pass"),
        )
    ),
)
