"""The programs, a module for each kind or two."""

import importlib
import pkgutil

from support.semantics.program import Program


def all_programs() -> tuple[Program, ...]:
    """Return the programs of all modules of this package."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return tuple(program for module in modules for program in module.PROGRAMS)
