"""The reference page of task.toml has every field with its default, and no other."""

import re
from collections.abc import Iterator
from pathlib import Path

from pydantic_core import PydanticUndefined

from kernel_env.tasks.task_file import Section, TaskFile

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "task-folder.md"
FROM_THE_FOLDER = {"id": "the folder's name", "name": "`id`"}
"""Fields whose default is computed when the folder is loaded."""


def fields(model: type[Section], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the name and the default of each field, as the page writes them."""
    for name, field in model.model_fields.items():
        found = re.search(r"kernel_env\.tasks\.task_file\.(\w+Section)", str(field.annotation))
        if found:
            sections = {each.__name__: each for each in Section.__subclasses__()}
            yield from fields(sections[found[1]], f"{name}.")
            continue
        default = "" if field.default is PydanticUndefined else written(field.default)
        yield prefix + name, FROM_THE_FOLDER.get(prefix + name, default)


def written(value: object) -> str:
    """Return a default as the page writes it."""
    if value is None:
        return "none"
    if value in ("", {}, []):
        return "empty"
    return f"`{value}`" if isinstance(value, str) else f"{value:g}"


def test_the_page_lists_the_fields_of_task_toml() -> None:
    section = PAGE.read_text().partition("## task.toml")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]

    assert {row[0].strip(" `"): row[2].strip() for row in rows} == dict(fields(TaskFile))
