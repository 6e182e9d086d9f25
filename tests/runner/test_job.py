"""Check plans and the creation of their agents."""

import pytest

from kernel_env.agents.base import Options
from kernel_env.episode import EpisodeConfig
from kernel_env.errors import UnknownName, UsageError
from kernel_env.runner import Plan, make_agent, with_seeds


@pytest.fixture
def plan(tiny: str) -> Plan:
    """A plan whose configuration and options have different seeds."""
    config = EpisodeConfig(task=tiny, agent="scripted", seed=7)
    return Plan(config=config, options=Options(model="m", seed=3))


def test_with_seeds_changes_only_the_seed(plan: Plan) -> None:
    plans = with_seeds(plan, 3)

    assert [each.config.seed for each in plans] == [0, 1, 2]
    assert {each.config.task for each in plans} == {plan.config.task}
    assert [each.options for each in plans] == [plan.options] * 3


@pytest.mark.parametrize("count", [0, -1])
def test_the_number_of_seeds_must_be_positive(plan: Plan, count: int) -> None:
    with pytest.raises(UsageError, match=f"the number of seeds is {count}; it must be at least 1"):
        with_seeds(plan, count)


def test_an_agent_gets_the_seed_of_the_configuration(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kernel_env.plugins.find", lambda kind, name: lambda options: options)

    assert make_agent(plan) == Options(model="m", seed=7)


def test_an_agent_that_cannot_be_created_is_an_error(plan: Plan, tiny: str) -> None:
    unknown = Plan(config=EpisodeConfig(task=tiny, agent="scriptd"))

    with pytest.raises(UsageError, match="needs a script"):
        make_agent(plan)
    with pytest.raises(UnknownName, match="did you mean 'scripted'"):
        make_agent(unknown)
