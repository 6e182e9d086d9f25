"""Show the fields of a dataclass, each with its documentation, in `help()`.

    @show_fields
    @dataclass(frozen=True, kw_only=True)
    class Budget:
        \"\"\"The limits of an episode.\"\"\"

        steps: int = 100
        \"\"\"Steps the agent may take.\"\"\"

Python does not keep the string under a field. It is read from the source file when the docstring
of the class is first requested; importing the module costs one small object per class.
"""

from collections.abc import Iterator
from typing import Any, TypeVar

T = TypeVar("T", bound=type)


class FieldDocs:
    """A descriptor that computes the docstring of a class when it is read."""

    def __init__(self, cls: type) -> None:
        self.cls = cls
        self.own: str = cls.__doc__ or ""
        """The docstring without the fields."""
        self.whole: str | None = None

    def __get__(self, instance: Any, owner: type | None = None) -> str:
        """Return the docstring with the fields; without them if there is no source file."""
        if self.whole is None:
            from inspect import cleandoc

            try:
                lines = list(described(self.cls))
            except (OSError, TypeError, SyntaxError):
                lines = []
            own = cleandoc(self.own)
            self.whole = "\n".join([own, "", "Fields:", *lines] if lines else [own])
        return self.whole


def show_fields(cls: T) -> T:
    """Decorate a dataclass, above `@dataclass`, so that `help()` shows its fields.

    Not for a class whose docstring is used otherwise, for example as the description of a tool.

    Raises:
        TypeError: the class has a metaclass of its own, as models and protocols have; `help()`
            would show no docstring at all.
    """
    if type(cls) is not type:
        raise TypeError(f"{cls.__name__} has the metaclass {type(cls).__name__}; it must be type")
    cls.__doc__ = FieldDocs(cls)  # type: ignore[assignment]
    return cls


def described(cls: type) -> Iterator[str]:
    """Yield the source line of each public field, followed by its documentation."""
    import ast
    import inspect
    import textwrap

    indent = " " * 4
    (found,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    body = found.body if isinstance(found, ast.ClassDef) else []
    for node, after in zip(body, [*body[1:], None], strict=True):
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=kind, value=default):
                pass
            case _:
                continue
        if name.startswith("_") or ast.unparse(kind).startswith("ClassVar"):
            continue
        match kind:
            case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[plain, *_])):
                kind = plain
        value = f" = {ast.unparse(default)}" if default else ""
        yield f"{indent}{name}: {ast.unparse(kind)}{value}"
        match after:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield textwrap.indent(inspect.cleandoc(text), 2 * indent)
