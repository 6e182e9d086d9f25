"""Random actions on a tree of episodes lose nothing: every episode stays equal to its model.

An agent's cells are made of `Edit`s, each a line of code and what that line does to the model.
A cell ends normally, with an error, by its time limit, or with a crash of the kernel; it is
executed or only validated. Episodes fork, from the latest or an earlier step, reset and end in
any order. After each action every running episode must contain exactly what its model contains.

`KERNEL_ENV_ACTIONS=20000 pytest tests/kernel/test_model.py -s` runs that many actions in each
sandbox. On CI the actions are the same each time.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

pytest.register_assert_rewrite("support.episode_model.machine", "support.episode_model.state")

from support.episode_model.actions import (  # noqa: E402 - the line above must come first
    DOCKER_ACTIONS,
    LOCAL_ACTIONS,
)
from support.episode_model.machine import EpisodeTree  # noqa: E402

MAX_ACTIONS = 150
"""Actions in one example; its episodes mostly share a container."""


def test_random_actions_on_a_tree_of_episodes_lose_nothing(
    tiny: str, sandbox: str, tmp_path: Path, print_later: Callable[[str], None]
) -> None:
    class Tree(EpisodeTree):
        pass

    Tree.sandbox, Tree.task, Tree.out = sandbox, tiny, tmp_path
    Tree.kinds = {}
    default = LOCAL_ACTIONS if sandbox == "local" else DOCKER_ACTIONS
    action_count = int(os.environ.get("KERNEL_ENV_ACTIONS", default))

    try:
        run_state_machine_as_test(
            Tree,
            settings=settings(
                max_examples=1 + -(-action_count // MAX_ACTIONS),  # the first does nothing
                stateful_step_count=min(action_count, MAX_ACTIONS),
                deadline=None,
                derandomize="CI" in os.environ,
                database=None,
                phases=[Phase.generate],  # to shrink would take hours; the steps are printed
                suppress_health_check=list(HealthCheck),
                print_blob=True,
            ),
        )
    finally:
        print_later(f"{Tree.action_count} actions in the {sandbox} sandbox: {Tree.kinds}")

    assert Tree.action_count >= 0.9 * action_count
