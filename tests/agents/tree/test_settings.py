from pathlib import Path

import pytest

from kernel_env.agents.tree.settings import read_settings
from kernel_env.errors import KernelEnvError
from kernel_env.runner import make_agent
from support.cli import error_line, run_cli
from support.tree_search import plan


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 0}, "width is '0'; it must be a whole number from 1 to 64"),
        ({"width": True}, "width is 'True'; it must be a whole number from 1 to 64"),
        ({"drafts": 2.5}, "drafts is '2.5'; it must be a whole number from 1 to 1000"),
        ({"debug_probability": "x\n"}, r"debug_probability is 'x\n'; it must be a number"),
        ({"exploration": float("nan")}, "exploration is 'nan'; it must be a number from 0"),
        ({"policy": "uct"}, "no policy of the agent tree named 'uct'; known: aide, mcts"),
        ({"policy": ["aide"]}, "no policy of the agent tree named \"['aide']\"; known: aide, mcts"),
        ({"prepare": 1}, "prepare is '1'; it must be true or false"),
        ({"wdth": 3}, "no setting of the agent tree named 'wdth'; did you mean 'width'? known: "),
    ],
)
def test_a_wrong_setting_is_one_line(settings: dict[str, object], message: str) -> None:
    with pytest.raises(KernelEnvError) as raised:
        read_settings(settings)

    assert str(raised.value).startswith(message)


def test_defaults_are_valid(tiny: str, tmp_path: Path) -> None:
    make_agent(plan(tiny, "http://127.0.0.1:1/v1", tmp_path))


def test_the_command_line_says_what_is_wrong(tiny: str) -> None:
    options = ("--agent", "tree", "--model", "m", "--base-url", "http://127.0.0.1:1/v1")

    assert error_line(run_cli("run", tiny, *options, "--set", "policy=best")) == (
        "error: no policy of the agent tree named 'best'; known: aide, mcts"
    )
