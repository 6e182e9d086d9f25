"""The five things an agent can do. Frozen values: the same text serves model, MCP and reader."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from kernel_env.tasks.info import InfoType


class _Strict:
    __pydantic_config__ = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True)
class RequestInfo(_Strict):
    """Read about the task: description, data, submission format. Changes nothing; takes a step."""

    info_type: Annotated[InfoType, Field(description="What to be told; 'all' tells everything.")]
    kind: Literal["request_info"] = "request_info"


@dataclass(frozen=True, kw_only=True)
class ValidateCode(_Strict):
    """Try code without consequences: check its syntax, then run it where nothing it does lasts."""

    code: Annotated[str, Field(description="Python source to try; it is never graded.")]
    kind: Literal["validate_code"] = "validate_code"


@dataclass(frozen=True, kw_only=True)
class ExecuteCode(_Strict):
    """Run code as the next notebook cell, then grade the submission file if it changed."""

    code: Annotated[str, Field(description="Python source; names from earlier cells are defined.")]
    kind: Literal["execute_code"] = "execute_code"


@dataclass(frozen=True, kw_only=True)
class GetHistory(_Strict):
    """See the latest steps again. Changes nothing; takes a step."""

    last: Annotated[int, Field(ge=1, le=100, description="How many steps to show.")] = 5
    kind: Literal["get_history"] = "get_history"


@dataclass(frozen=True, kw_only=True)
class Reset(_Strict):
    """Start over with a fresh kernel and an empty workspace. The budget goes on running."""

    kind: Literal["reset"] = "reset"


KINDS = (RequestInfo, ValidateCode, ExecuteCode, GetHistory, Reset)
Action = Annotated[
    RequestInfo | ValidateCode | ExecuteCode | GetHistory | Reset, Field(discriminator="kind")
]
