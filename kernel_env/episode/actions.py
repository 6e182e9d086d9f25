"""Define the five actions of an agent. Their docstrings also describe the tools to models."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from kernel_env.tasks.info import InfoType


class _Strict:
    __pydantic_config__ = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True)
class RequestInfo(_Strict):
    """Read about the task: description, data, submission format. Takes a step."""

    info_type: Annotated[InfoType, Field(description="What to return; 'all' returns everything.")]
    kind: Literal["request_info"] = "request_info"


@dataclass(frozen=True, kw_only=True)
class ValidateCode(_Strict):
    """Check the syntax of code, then run it on a fork of the kernel that is discarded."""

    code: Annotated[str, Field(description="Python source; it is never graded.")]
    kind: Literal["validate_code"] = "validate_code"


@dataclass(frozen=True, kw_only=True)
class ExecuteCode(_Strict):
    """Run code as the next notebook cell, then grade the submission file if it changed."""

    code: Annotated[str, Field(description="Python source; names of earlier cells are defined.")]
    kind: Literal["execute_code"] = "execute_code"


@dataclass(frozen=True, kw_only=True)
class GetHistory(_Strict):
    """Return the latest steps again. Takes a step."""

    last: Annotated[int, Field(ge=1, le=100, description="How many steps to show.")] = 5
    kind: Literal["get_history"] = "get_history"


@dataclass(frozen=True, kw_only=True)
class Reset(_Strict):
    """Start a fresh kernel in an empty workspace. The budget keeps running."""

    kind: Literal["reset"] = "reset"


KINDS = (RequestInfo, ValidateCode, ExecuteCode, GetHistory, Reset)
Action = Annotated[
    RequestInfo | ValidateCode | ExecuteCode | GetHistory | Reset, Field(discriminator="kind")
]
