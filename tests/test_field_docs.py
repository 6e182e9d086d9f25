"""`help()` shows a field's documentation, and importing a class reads no source."""

import ast
import pydoc
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, ClassVar

import pytest
from pydantic import BaseModel, Field, TypeAdapter

import kernel_env
from kernel_env.field_docs import FieldDocs, show_fields


@show_fields
@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limit what an episode may use.

    A limit that is None is not set.
    """

    KIND: ClassVar[str] = "limits"
    steps: int = 2 * 50
    """Steps the agent may take."""
    seconds: float
    folders: dict[str, str] = field(default_factory=dict)
    """Folders that are seen inside.

    Each has a name.
    """
    _cache: int = 0
    """Nobody's business."""

    def left(self) -> int:
        """Tell how many steps are left."""
        return self.steps


WHOLE = """\
Limit what an episode may use.

A limit that is None is not set.

Fields:
    steps: int = 2 * 50
        Steps the agent may take.
    seconds: float
    folders: dict[str, str] = field(default_factory=dict)
        Folders that are seen inside.

        Each has a name."""


def test_help_shows_the_fields_of_a_dataclass() -> None:
    shown = pydoc.plain(pydoc.render_doc(Limits))

    assert pydoc.getdoc(Limits) == WHOLE
    for line in WHOLE.splitlines():
        assert line in shown
    assert "Nobody" not in shown


def test_a_constraint_is_not_shown() -> None:
    @show_fields
    @dataclass
    class Section:
        """Describe a table of a file."""

        limit_mb: Annotated[float, Field(gt=0)] = 100

    assert pydoc.getdoc(Section) == (
        "Describe a table of a file.\n\nFields:\n    limit_mb: float = 100"
    )


@pytest.mark.parametrize(
    "name", ["Budget", "EpisodeConfig", "EpisodeResult", "Observation", "Step", "Task"]
)
def test_help_shows_the_fields_of_a_public_dataclass(name: str) -> None:
    shown = pydoc.render_doc(getattr(kernel_env, name), renderer=pydoc.plaintext)

    assert "Fields:" in shown
    for each in fields(getattr(kernel_env, name)):
        assert f"     {each.name}: " in shown


def test_a_class_that_help_cannot_show_is_refused() -> None:
    class Section(BaseModel):
        """Describe a table of a file."""

    with pytest.raises(TypeError, match="metaclass ModelMetaclass"):
        show_fields(Section)


def test_the_class_works_as_before() -> None:
    limits = Limits(seconds=1.0)

    assert replace(limits, steps=3).left() == 3
    assert TypeAdapter(Limits).validate_json(b'{"seconds": 1}') == limits
    assert limits.__doc__ == Limits.__doc__


def test_a_subclass_has_a_docstring_of_its_own() -> None:
    class Narrow(Limits):
        """Limit less."""

    class Silent(Limits):
        pass

    assert Narrow.__doc__ == "Limit less."
    assert Silent.__doc__ is None


def test_the_source_is_read_once_and_only_when_somebody_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parsed = []
    parse = ast.parse
    monkeypatch.setattr(
        ast, "parse", lambda *args, **named: parsed.append(1) or parse(*args, **named)
    )

    decorated = show_fields(
        type("Made", (), {"__doc__": "Have no source.", "__module__": __name__})
    )
    fresh = FieldDocs(Limits)
    before = len(parsed)
    fresh.__get__(None, Limits)
    once = len(parsed)
    fresh.__get__(None, Limits)

    assert (before, len(parsed)) == (0, once)
    assert decorated.__doc__ == "Have no source."
