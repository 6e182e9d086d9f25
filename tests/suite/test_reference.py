"""The pages on suites say what the code does."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from pydantic_core import PydanticUndefined

from kernel_env.suite.file import (
    AgentSection,
    EndpointSection,
    LimitsSection,
    Section,
    SuiteFile,
    read_suite_file,
)
from kernel_env.suite.log import ORDER

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "reference" / "suite-file.md").read_text()
SECTIONS = dict(zip(("", "agents", "endpoints", "limits"), PAGE.split("\n## "), strict=False))


def rows(section: str) -> list[list[str]]:
    """Return the cells of the first table of a section."""
    lines = SECTIONS[section].splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("|---")) + 1
    table = lines[first:]
    end = next((n for n, line in enumerate(table) if not line.startswith("|")), len(table))
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table[:end]]


@pytest.mark.parametrize(
    ("section", "model"),
    [
        ("", SuiteFile),
        ("agents", AgentSection),
        ("endpoints", EndpointSection),
        ("limits", LimitsSection),
    ],
)
def test_each_key_is_listed_with_its_default(section: str, model: type[Section]) -> None:
    listed = {name.strip("`"): default for name, _, default, _ in rows(section)}

    expected = {}
    for name, field in model.model_fields.items():
        match field.default:
            case _ if field.default is PydanticUndefined:
                expected[name] = ""
            case None:
                expected[name] = "none"
            case LimitsSection():
                expected[name] = "see below"
            case value:
                expected[name] = f"`{json.dumps(value)}`"
    assert listed == expected
    assert list(listed) == list(expected)


def test_each_kind_of_record_is_listed() -> None:
    table = PAGE.partition("| kind | when |")[2]

    assert tuple(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == ORDER


def test_the_file_in_the_guide_is_valid(tmp_path: Path) -> None:
    guide = (DOCS / "how-to" / "suite.md").read_text()
    (text,) = re.findall(r"```toml\n(.*?)```", guide, re.DOTALL)
    path = tmp_path / "nightly.toml"
    path.write_text(text)

    assert read_suite_file(path).limits.money == tomllib.loads(text)["limits"]["money"] == 40
