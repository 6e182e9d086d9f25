"""Check that equal settings have equal keys, and that every option has a role in them."""

import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_env.agents.base import Options
from kernel_env.episode import EpisodeConfig
from kernel_env.runner import Plan
from kernel_env.suite.keys import (
    ROLES,
    canonical,
    changed_fields,
    grade_key_of,
    key_of,
    settings_of,
)
from kernel_env.suite.plan import plan_suite
from kernel_env.tasks import catalog
from kernel_env.tasks.prepare import prepare
from support.suites import TINY, write_suite


@pytest.mark.parametrize("kind", ROLES, ids=lambda kind: kind.__name__)
def test_every_option_has_a_role(kind: type) -> None:
    fields = (
        {field.name for field in dataclasses.fields(kind)}
        if dataclasses.is_dataclass(kind)
        else set(kind.model_fields)  # type: ignore[attr-defined]
    )

    assert set(ROLES[kind]) == fields, "say in suite/keys.py whether the new option is in the key"


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A plan whose options are not the defaults, as far as they are in the key."""
    (tmp_path / "script.json").write_text("[]")
    config = EpisodeConfig(task=str(TINY), sandbox="local", agent="scripted", seed=1)
    return Plan(config=config, options=Options(script=tmp_path / "script.json", model="m"))


def key(plan: Plan, endpoint: str = "e") -> str:
    return key_of(settings_of(plan, endpoint=endpoint))


CHANGED: dict[str, Any] = {
    "sandbox": "docker",
    "image": "tabular",
    "budget": {"steps": 7},
    "reward": "final",
    "feedback": "validity",
    "counts": "last",
    "feedback_provider": "llm",
    "feedback_settings": {"every": 2},
    "agent": "baseline",
    "seed": 2,
    "random_seed": 2,
    "branching": False,
    "gpus": 2,
    "devices": {"/dev/x": "/dev/null"},
    "out": "elsewhere",
    "trusted": False,
    "model": "another",
    "gpu_device": "0",
}


def test_each_option_of_an_episode_does_what_its_role_says(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kernel_env.sandbox.gpus.select", lambda *_: ())
    roles = {name: role for name, role in ROLES[EpisodeConfig].items() if name != "task"}
    assert set(CHANGED) == set(roles)
    base = replace(plan, config=replace(plan.config, gpus=1, feedback_provider="static"))

    for name, value in CHANGED.items():
        other = replace(base, config=replace(base.config, **{name: value}))
        assert (key(other) != key(base)) == (roles[name] == "key"), name


def test_each_option_of_an_agent_does_what_its_role_says(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("[ ]")
    changed = {
        "script": tmp_path / "other.json",
        "model": "n",
        "temperature": 0.5,
        "context_tokens": 9,
        "answer_tokens": 9,
        "images": True,
        "provider": "deepseek",
        "settings": {"width": 3},
        "base_url": "http://x",
        "key_variable": "K",
        "max_calls": 3,
        "price_in": 1.0,
        "price_out": 1.0,
    }
    roles = {name: role for name, role in ROLES[Options].items() if name != "seed"}
    assert set(changed) == set(roles)

    for name, value in changed.items():
        other = replace(plan, options=replace(plan.options, **{name: value}))  # type: ignore[arg-type]
        assert (key(other) != key(plan)) == (roles[name] == "key"), name
    assert key(plan, "another endpoint") != key(plan)


def test_a_default_and_its_explicit_value_have_one_key(plan: Plan) -> None:
    explicit = replace(
        plan.config,
        image="base",
        budget={"steps": 30, "seconds": 300, "cell_seconds": 60.0, "tokens": None},
        feedback="public",
        counts="best",
        gpus=0,
    )

    assert key(replace(plan, config=explicit)) == key(plan)


def test_the_content_of_an_agents_file_is_in_the_key_and_its_path_is_not(
    plan: Plan, tmp_path: Path
) -> None:
    keys = []
    for folder, text in (("a", "class A: 1"), ("b", "class A: 1"), ("c", "class A: 2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "agent.py").write_text(text)
        agent = f"{tmp_path / folder}/agent.py:A"
        keys.append(key(replace(plan, config=replace(plan.config, agent=agent))))

    assert keys[0] == keys[1] != keys[2]


def test_what_grades_has_a_key_of_its_own(plan: Plan, task_folder: Path) -> None:
    def keys() -> tuple[str, str]:
        task = catalog.find(str(task_folder))
        prepare(task)
        config = replace(plan.config, task=task)
        return key(replace(plan, config=config)), grade_key_of(task)

    before = keys()
    board = task_folder / "leaderboard.csv"
    board.write_text(board.read_text().replace("1.5,1.5", "1.6,1.6"))
    new_board = keys()
    toml = task_folder / "task.toml"
    toml.write_text(toml.read_text().replace('name = "rmse"', 'name = "mae"'))
    new_metric = keys()
    prepare_py = task_folder / "prepare.py"
    prepare_py.write_text(prepare_py.read_text().replace("scale=0.1", "scale=0.2"))
    new_answers = keys()

    assert before[0] == new_board[0] == new_metric[0] != new_answers[0]
    assert len({before[1], new_board[1], new_metric[1], new_answers[1]}) == 4


def test_without_prepared_data_the_grade_key_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERNEL_ENV_CACHE", str(tmp_path))

    assert grade_key_of(catalog.find(str(TINY))) == ""


def test_a_new_name_or_limit_of_a_suite_changes_no_key(tmp_path: Path) -> None:
    one = plan_suite(write_suite(tmp_path, {"name": "line"}))
    agent = {"name": "other", "agent": one.file.agents[0].agent, "max_calls": 3}
    two = plan_suite(write_suite(tmp_path, agent, name="x", limits={"episodes": 1}, anchor="other"))

    assert [job.key for job in one.jobs] == [job.key for job in two.jobs]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(max_examples=30)
@given(st.dictionaries(st.text(), JSON))
def test_the_canonical_form_is_stable_and_differences_are_found(values: dict[str, Any]) -> None:
    plain = canonical(values)
    shuffled = dict(reversed(values.items()))

    assert canonical(plain) == plain
    assert key_of(shuffled) == key_of(values) == key_of(plain)
    assert changed_fields(plain, plain) == []
    present = {name for name, value in plain.items() if value is not None}
    assert changed_fields({}, {**plain, "new": 1}) == sorted({*present, "new"})
