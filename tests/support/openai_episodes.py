"""Builders for tests that play the tiny task with the openai agent."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from kernel_env.episode.actions import ExecuteCode
from kernel_env.episode.journal import read_journal
from kernel_env.episode.result import EpisodeResult
from kernel_env.episode.step import Step

Play = Callable[..., Awaitable[EpisodeResult]]
"""The fixture `play`: plays the tiny task and returns its result."""

SOLVE = """\
import os
import pandas as pd
test = pd.read_csv(os.environ["DATA_PATH"] + "/test.csv")
test.assign(y=3 * test.x)[["id", "y"]].to_csv(os.environ["OUTPUT_PATH"], index=False)
"""
"""Code that writes a good submission of the tiny task."""


def cell(code: str) -> ExecuteCode:
    """Build the action that executes a cell."""
    return ExecuteCode(code=code)


def steps(result: EpisodeResult) -> list[Step]:
    """Read the steps of an episode from its journal."""
    return list(read_journal(Path(result.notebook).with_name("journal.jsonl")).steps)


def codes(result: EpisodeResult) -> list[str]:
    """Return the code of each step, or the kind of an action without code."""
    return [getattr(step.action, "code", step.action.kind).strip() for step in steps(result)]
