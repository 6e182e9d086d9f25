"""Every private name that guest programs take from a library is listed, and checked at boot."""

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel_env.kernel.connection.launch import PROGRAM_FOLDER
from kernel_env.kernel.guest import private_names
from kernel_env.kernel.guest.private_names import (
    FORKING,
    REPAIRING,
    RUNNING,
    PrivateName,
    missing_name,
)

OWN = "kernel_env.kernel.guest"
PUBLIC = {"_exit", "_fields_", "_replace"}
"""Names that begin with an underscore and are documented."""
OF_THE_HOST = {"_send_welcome_message"}
"""What the host waits for, and no guest program mentions."""
GUARDED = {"_event_loop_finalizer", "_loop_process", "_starting_process"}
"""What some supported versions lack, or guest programs add: it is looked up with a default."""
LISTED = {entry.name.rpartition(".")[2] for entry in (*RUNNING, *FORKING, *REPAIRING)}
SOURCES = sorted(PROGRAM_FOLDER.glob("*.py"))


def is_private(name: str) -> bool:
    """Return whether a name is private and not one that Python itself reserves."""
    return name.startswith("_") and not name.startswith("__") and name not in PUBLIC


def own_names(tree: ast.AST) -> set[str]:
    """Return the names that a module defines: functions, classes, variables and attributes."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                found.add(name)
    return found


def foreign_names(path: Path) -> Iterator[str]:
    """Yield the private names that a guest program takes from objects of libraries."""
    tree = ast.parse(path.read_text())
    own = own_names(tree)
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name) if is_private(name) and name not in own:
                yield name
            case ast.ImportFrom(level=0, names=aliases):
                yield from (alias.name for alias in aliases if is_private(alias.name))


def inherited_names(path: Path) -> Iterator[str]:
    """Yield the private names that classes of a guest program share with a class of a library."""
    tree = ast.parse(path.read_text())
    if not any(isinstance(node, ast.ClassDef) and node.bases for node in ast.walk(tree)):
        return
    module = importlib.import_module(f"{OWN}.{path.stem}")
    used = own_names(tree) | {
        node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)
    }
    for _, cls in inspect.getmembers(module, inspect.isclass):
        for base in cls.__mro__ if cls.__module__ == module.__name__ else ():
            if base.__module__.partition(".")[0] in ("ipykernel", "IPython"):
                source = importlib.import_module(base.__module__)
                for name in filter(is_private, used):
                    if private_names._defines(source, f"{base.__name__}.{name}"):
                        yield name


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_every_private_name_that_a_guest_program_uses_is_listed(path: Path) -> None:
    assert {*foreign_names(path), *inherited_names(path)} - LISTED - GUARDED == set()


def test_every_listed_name_is_used_by_a_guest_program() -> None:
    sources = "".join(path.read_text() for path in SOURCES if path.stem != "private_names")

    assert {
        name for name in LISTED - OF_THE_HOST if not re.search(rf"\b{name}\b", sources)
    } == set()


def test_every_listed_name_exists_here() -> None:
    assert missing_name(RUNNING) == ""
    assert missing_name(FORKING) == ""
    assert missing_name(REPAIRING) == ""


def test_a_missing_attribute_is_named_with_its_purpose_and_the_versions_that_were_tested() -> None:
    gone = PrivateName("ipykernel.iostream", "OutStream._gone", "cap what a cell prints")

    said = missing_name([*RUNNING, gone])

    assert said.startswith("ipykernel ")
    assert " has no ipykernel.iostream.OutStream._gone, " in said
    assert "which is needed to cap what a cell prints; tested with ipykernel " in said


def test_a_missing_class_global_or_module_is_named() -> None:
    for module, name, path in [
        ("ipykernel.iostream", "Gone.attribute", "ipykernel.iostream.Gone.attribute"),
        ("IPython.lib.pretty", "_gone", "IPython.lib.pretty._gone"),
        ("zmq.gone", "Context._sockets", "zmq.gone"),
    ]:
        assert f" has no {path}, " in missing_name([PrivateName(module, name, "test")])


def test_a_missing_name_of_the_standard_library_is_said_with_the_version_of_python() -> None:
    assert missing_name([PrivateName("asyncio.tasks", "_gone", "test")]) == (
        f"Python {sys.version_info.major}.{sys.version_info.minor} has no asyncio.tasks._gone,"
        " which is needed to test"
    )


def test_a_library_that_is_not_loaded_is_not_checked() -> None:
    assert missing_name([PrivateName("zmq.gone", "_x", "test", optional=True)]) == ""
