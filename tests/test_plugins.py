"""A plug-in that cannot be loaded is one line that names it."""

from pathlib import Path

import pytest

from kernel_env import plugins
from kernel_env.errors import UsageError

DISTRIBUTION = "broken_agents-1.dist-info"


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a distribution whose agents cannot be loaded."""
    (tmp_path / "broken_agents.py").write_text("class Agent: pass\n")
    (tmp_path / "broken_syntax.py").write_text("def agent(:\n")
    (tmp_path / "broken_code.py").write_text("raise RuntimeError('at import\\nhere')\n")
    info = tmp_path / DISTRIBUTION
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken_agents\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[kernel_env.agents]\n"
        "attribute = broken_agents:Agnet\n"
        "module = broken_missing:Agent\n"
        "syntax = broken_syntax:Agent\n"
        "code = broken_code:Agent\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("attribute", r"\(broken_agents:Agnet\) cannot be loaded: AttributeError: .*Agnet"),
        ("module", "ModuleNotFoundError: No module named 'broken_missing'"),
        ("syntax", "SyntaxError: "),
        ("code", r"RuntimeError: at import\\nhere"),
    ],
)
def test_a_plug_in_that_cannot_be_loaded_is_one_line(name: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as caught:
        plugins.find("agent", name)

    assert str(caught.value).startswith(f"the agent {name!r}")
    assert str(caught.value).isprintable()


AGENT = """
from dataclasses import dataclass
from beside_this_file import MODEL

@dataclass
class Mine:
    options: object
    model: str = MODEL
"""


def test_a_class_is_loaded_from_a_file_with_the_modules_beside_it(tmp_path: Path) -> None:
    (tmp_path / "beside_this_file.py").write_text("MODEL = 'm'\n")
    (tmp_path / "json.py").write_text(AGENT)

    found = plugins.load_class(str(tmp_path / "json.py"), "Mine")

    assert found(None).model == "m"


@pytest.mark.parametrize(
    ("text", "name", "reason"),
    [
        ("x = 1", "Mine", "Mine cannot be loaded from .*AttributeError: .*Mine"),
        ("1 / 0", "Mine", "ZeroDivisionError: division by zero"),
        ("def x(:", "Mine", "SyntaxError: "),
    ],
)
def test_a_file_without_the_class_is_one_line(
    tmp_path: Path, text: str, name: str, reason: str
) -> None:
    path = tmp_path / "agent.py"
    path.write_text(text)

    with pytest.raises(UsageError, match=reason):
        plugins.load_class(str(path), name)


@pytest.mark.parametrize("path", ["/nowhere/agent.py", "/etc/hostname", "agent"])
def test_what_is_no_python_file_is_one_line(path: str) -> None:
    with pytest.raises(UsageError, match=r"expected FILE\.py:CLASS"):
        plugins.load_class(path, "Mine")
