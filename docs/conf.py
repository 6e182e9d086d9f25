"""Configure the documentation: Sphinx, MyST and the PyData theme, built without a network."""

import dataclasses
import inspect
import re
import sys
from contextlib import suppress
from importlib import import_module
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any, Protocol, get_type_hints

import latex2mathml.converter
from docutils import nodes
from IPython.lib.lexers import IPython3Lexer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pygments.lexer import bygroups, using
from pygments.lexers import PythonLexer
from pygments.token import Operator, Text
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.errors import ConfigError
from sphinx.pycode import ModuleAnalyzer
from sphinx.util import logging

sys.path.insert(0, str(Path(__file__).parent))

import api

import kernel_env

project = "kernel_env"
version = release = version_of("kernel-env")
project_copyright = "the authors of kernel_env"

extensions = [
    "myst_nb",  # Markdown and notebooks; it sets myst_parser up
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",  # the sections Args, Returns and Raises of docstrings
]
exclude_patterns = ["_build", "**/.ipynb_checkpoints"]

# Tutorials are executed, in a temporary folder; headings can be linked to as `page.md#heading`.
nb_execution_mode = "cache"
nb_execution_in_temp = True
# It needs PyTorch; its outputs are stored.
nb_execution_excludepatterns = ["**/10_train_a_tiny_model.ipynb"]
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_output_stderr = "remove"  # a warning there names files of the machine that ran the notebook
nb_render_markdown_format = "myst"  # tables and formulas in what a cell displays
myst_enable_extensions = ["deflist", "dollarmath"]
myst_disable_syntax = ["math_inline"]  # $NAME is a variable; $$…$$ is a formula
myst_heading_anchors = 3
suppress_warnings = ["misc.highlighting_failure"]  # notebooks show whatever language they met

# In docstrings `name` is a link where the reference has such a name, and code elsewhere.
default_role = "py:obj"
nitpicky = True
nitpick_ignore_regex = [
    ("py:obj", ".*"),
    ("py:.*", r"(?!kernel_env\.).*"),  # other projects' names: their documentation is not fetched
]
nitpick_ignore = [("py:class", name) for name in api.INTERNAL]

autodoc_default_options = {
    "members": True,
    "undoc-members": True,
    "member-order": "bysource",
    "exclude-members": "metadata, model_config",
}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autosummary_generate = False
python_maximum_signature_line_length = 110
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

html_theme = "pydata_sphinx_theme"
html_title = project
html_math_renderer = "mathml"
html_show_sourcelink = False
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "show_toc_level": 1,
    "navbar_align": "left",
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {
    name: [] for name in ("architecture", "changelog", "glossary", "index", "security")
}


class Written:
    """A default that is shown as it is written."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


ONE_LINERS = ("attribute", "data", "property")
KEPT: dict[str, list[str]] = {}
"""Docstrings of these kinds while napoleon works."""


def is_value(kind: type) -> bool:
    """Return whether a class is a dataclass or a model: its fields say how it is created."""
    return dataclasses.is_dataclass(kind) or issubclass(kind, BaseModel)


def short(value: Any) -> str:
    """Write a default as its author did: of a value with fields, those that were set."""
    if isinstance(value, BaseModel):
        given = {name: getattr(value, name) for name in sorted(value.model_fields_set)}
    elif dataclasses.is_dataclass(value):
        given = {
            field.name: getattr(value, field.name)
            for field in dataclasses.fields(value)
            if getattr(value, field.name) != field.default
        }
    else:
        return repr(value)
    return f"{type(value).__name__}({', '.join(f'{n}={short(v)}' for n, v in given.items())})"


def simplify(kind: type) -> None:
    """Let autodoc find a plain type, a default and a description for each field of a class.

    Autodoc reads annotations, where constraints hide the type; attributes of the class, which
    a default factory and a model do not leave there; and docstrings under fields, for which
    pydantic's `Field(description=...)` may stand. Only the process of the build is changed.
    """
    own = vars(kind).get("__annotations__", {})
    analyzer = ModuleAnalyzer.for_module(kind.__module__)
    analyzer.analyze()
    for name, annotation in own.items():
        for extra in getattr(annotation, "__metadata__", ()):
            if isinstance(extra, FieldInfo) and extra.description:
                key = (kind.__qualname__, name)
                analyzer.attr_docs.setdefault(key, [extra.description, ""])
    with suppress(NameError):  # a type that is imported for type checkers alone
        own.update({name: hint for name, hint in get_type_hints(kind).items() if name in own})
    defaults: dict[str, Any] = {}
    if dataclasses.is_dataclass(kind):
        for field in dataclasses.fields(kind):
            if field.default_factory is not dataclasses.MISSING:
                defaults[field.name] = Written(f"{field.default_factory.__name__}()")
            elif field.default is not dataclasses.MISSING:
                defaults[field.name] = Written(short(field.default))
    elif issubclass(kind, BaseModel):
        for name, info in kind.model_fields.items():
            if not info.is_required():
                defaults[name] = Written(short(info.get_default(call_default_factory=True)))
    for name, default in defaults.items():
        if name in own:
            setattr(kind, name, default)


def directives(page: str) -> str:
    """Write the summary and the directives of a page of the reference."""
    summary, details = [], []
    for module, names in api.PAGES[page].items():
        for name in names:
            bare = name.removesuffix("()")
            found = getattr(import_module(module), bare)
            match found:
                case type():
                    directive = "exception" if issubclass(found, BaseException) else "class"
                    if is_value(found):
                        simplify(found)
                case _ if inspect.isroutine(found):
                    directive = "function"
                case _:
                    directive = "data"
            summary.append(f"   ~{module}.{bare}")
            details.append(f".. auto{directive}:: {module}.{bare}")
    head = [".. autosummary::", "   :nosignatures:", ""]
    return "\n".join(
        ["```{eval-rst}", *head, *summary, "", *"\n\n".join(details).split("\n"), "```"]
    )


def write_reference(app: Sphinx, docname: str, source: list[str]) -> None:
    """Replace `{{ api }}` on a page of the reference by what `api.PAGES` has for it."""
    page = docname.removeprefix("reference/")
    if page in api.PAGES:
        source[0] = source[0].replace("{{ api }}", directives(page))


def shorten_signature(
    app: Sphinx,
    what: str,
    name: str,
    obj: Any,
    options: Any,
    signature: str | None,
    returns: str | None,
) -> tuple[str, str] | None:
    """Show no arguments for values, protocols, and what is not made by hand."""
    if what == "class" and isinstance(obj, type):
        by_hand = not any(
            f"{name.removeprefix(f'{module}.')}()" in names
            for names_of in api.PAGES.values()
            for module, names in names_of.items()
            if name.startswith(f"{module}.")
        )
        if is_value(obj) or Protocol in obj.__bases__ or not by_hand:
            return "", ""
    return None


def before_napoleon(
    app: Sphinx,
    what: str,
    name: str,
    obj: Any,
    options: Any,
    lines: list[str],
) -> None:
    """Store a field's docstring: napoleon takes what stands before a colon for a type."""
    if what in ONE_LINERS:
        KEPT[name] = list(lines)
    fields = vars(obj).get("__doc__") if what == "class" else None
    if hasattr(fields, "own"):  # made for help(): the reference shows the fields itself
        lines[:] = [*inspect.cleandoc(fields.own).split("\n"), ""]


def after_napoleon(
    app: Sphinx,
    what: str,
    name: str,
    obj: Any,
    options: Any,
    lines: list[str],
) -> None:
    """Restore a field's docstring."""
    if what in ONE_LINERS:
        lines[:] = KEPT.pop(name)


def find_by_short_name(
    app: Sphinx,
    env: BuildEnvironment,
    node: pending_xref,
    contnode: nodes.TextElement,
) -> nodes.Node | None:
    """Link `Budget` and `Episode.fork` wherever they are said, if one name ends like that.

    A name in small letters may mean many things, so it is one of the package's own, or no link.
    """
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"].removesuffix("()")
    ending = f".{target}" if target[:1].isupper() else f"kernel_env.{target}"
    kinds = ("class", "exception", "function", "method", "property")
    found = {
        (entry.docname, entry.node_id)
        for name, entry in env.domains.python_domain.objects.items()
        if entry.objtype in kinds and name.endswith(ending)
    }
    if len(found) != 1:
        return None
    ((docname, anchor),) = found
    assert env.app is not None
    uri = env.app.builder.get_relative_uri(node["refdoc"], docname)
    return nodes.reference("", "", contnode, refuri=f"{uri}#{anchor}", internal=True)


class NotebookLexer(IPython3Lexer):
    """Colour cells that begin with `%%agent`, whose code is Python like that of other cells."""

    tokens = {  # noqa: RUF012 - Pygments' own declaration
        "root": [
            (
                r"(?s)(\s*)(%%agent)([^\n]*\n)(.*)",
                bygroups(Text, Operator, Text, using(PythonLexer)),
            ),
            *IPython3Lexer.tokens["root"],
        ]
    }


def write_math(writer: Any, node: nodes.math | nodes.math_block) -> None:
    """Write a formula as MathML, which browsers show without a script."""
    display = "block" if isinstance(node, nodes.math_block) else "inline"
    formula = latex2mathml.converter.convert(node.astext(), display=display)
    if unknown := re.search(r"\\[A-Za-z]+", formula):
        logging.getLogger(__name__).warning(
            "%s in a formula is not known", unknown.group(), location=node
        )
    writer.body.append(formula)
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Connect the functions above."""
    shown = {
        name.removesuffix("()")
        for page in api.PAGES.values()
        for name in page.get("kernel_env", [])
    }
    if missing := sorted(set(kernel_env.__all__) - shown):
        raise ConfigError(f"docs/api.py has no page for {', '.join(missing)}")
    app.connect("source-read", write_reference)
    app.connect("autodoc-process-signature", shorten_signature)
    app.connect("autodoc-process-docstring", before_napoleon, priority=400)
    app.connect("autodoc-process-docstring", after_napoleon, priority=600)
    app.connect("missing-reference", find_by_short_name)
    app.add_lexer("ipython3", NotebookLexer)
    app.add_html_math_renderer("mathml", (write_math, None), (write_math, None))
