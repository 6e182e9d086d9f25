"""The reference page lists the fields of a manifest and the readers."""

import re
from pathlib import Path

from kernel_env.authoring.packs.manifest import Condition, SourceSection, TaskSection
from kernel_env.authoring.packs.readers import READERS

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "packs.md").read_text()
ROWS = re.findall(r"^\| (.*?) \|", PAGE.partition("## Sets")[0], re.MULTILINE)
LISTED = {name for row in ROWS for name in re.findall(r"`(\w+)`", row)}


def test_the_page_lists_the_fields_of_tasks_and_sources() -> None:
    fields = {field.alias or name for name, field in TaskSection.model_fields.items()}

    assert fields | set(SourceSection.model_fields) == LISTED


def test_the_page_lists_readers_and_conditions() -> None:
    for name in (*READERS, *Condition.model_fields):
        assert f"`{name}`" in PAGE
