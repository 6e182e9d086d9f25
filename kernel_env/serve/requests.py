"""Define what clients ask for beside the actions of an agent; see `episode.actions` for these.

The docstrings and descriptions are also those of the tools that a model reads.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ListTasks(_Strict):
    """List the tasks for which episodes can be opened."""


class OpenEpisode(_Strict):
    """Open an episode: one task, a fresh kernel in a container, a budget of steps and seconds."""

    task: Annotated[str, Field(description="The name of a task; list_tasks shows them.")]
    seed: Annotated[int, Field(description="A number that is recorded with the result.")] = 0
    budget: Annotated[
        dict[str, int | float | None],
        Field(description="Lower limits, such as {'steps': 20, 'seconds': 600}."),
    ] = {}


class ForkEpisode(_Strict):
    """Copy an episode with its live kernel and files; each copy continues by itself."""

    n: Annotated[int, Field(ge=1, le=1000, description="How many copies.")] = 1
    at_step: Annotated[
        int | None, Field(description="The step after which they begin; null: the latest.")
    ] = None
    reseed: Annotated[bool, Field(description="Whether each draws random numbers of its own.")] = (
        False
    )


class CloseEpisode(_Strict):
    """End an episode and free its container. The submission that counts is graded then."""


class Call(_Strict):
    """A call of one of an agent's tools."""

    name: str
    arguments: dict[str, Any] = {}


def fault_of(error: ValidationError) -> str:
    """Return what is wrong with a request, in one line."""
    faults = error.errors(include_url=False)[:3]
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'the request'}: {fault['msg'].lower()}"
        for fault in faults
    )
