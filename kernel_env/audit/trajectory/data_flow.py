"""Find in the code of a cell which names and files it uses, binds and may change.

The code is parsed, never run. What parsing cannot tell (`exec`, `globals()`, code that does not
parse) makes a cell `opaque`: it may use and change anything.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

OPAQUE = frozenset(
    {"exec", "eval", "globals", "locals", "vars", "setattr", "delattr", "__import__", "get_ipython"}
)
"""Functions by which code reaches names without naming them."""
CHANGING = frozenset(
    {"append", "extend", "insert", "pop", "remove", "clear", "update", "setdefault", "add"}
    | {"discard", "sort", "reverse", "fit", "fit_transform", "partial_fit", "fit_predict"}
    | {"train", "step", "backward", "load_state_dict", "fill", "put", "itemset", "popitem"}
    | {"appendleft", "popleft", "set_params", "__setitem__", "__next__"}
)
"""Methods that change their object, also where their value is used."""
RANDOM = re.compile(r"\b(?:random|rand\w*|seed|manual_seed|shuffle|sample|permutation|choice)\b")
SEARCHING = frozenset({"listdir", "scandir", "walk", "glob", "rglob", "iglob", "iterdir"})
"""Functions that find files without naming them."""
FILLING = frozenset({"append", "extend", "add", "update", "insert", "appendleft"})
"""Methods that, as a statement, write to their object and read nothing of it."""
READING = re.compile(r"(?:im)?read|load|open|fromfile|genfromtxt|exists|is_file|next")
"""The beginnings of names of functions that read files."""
LIMIT_CHARACTERS = 100_000
"""Longer code is not parsed."""
SIMPLE_MAGICS = frozenset({"matplotlib", "time", "timeit", "capture", "precision", "config"})
"""Magics that do no more than show, measure or hide."""


@dataclass(frozen=True)
class Call:
    """A call in a cell."""

    function: str
    """The last name of the function: `fit` of `model.fit`."""
    owner: str
    """The name that the method belongs to: `model`; empty for a function."""
    arguments: frozenset[str]
    """The names whose objects are passed."""
    is_statement: bool
    """Whether its value is not used, so that it is there for what it changes."""


@dataclass
class Flow:
    """What a cell does with names and files."""

    uses: set[str] = field(default_factory=set)
    """Names of earlier cells that it reads when it runs."""
    fills: set[str] = field(default_factory=set)
    """Names of earlier cells that it only writes to: `name[key] = …`."""
    used_in_functions: set[str] = field(default_factory=set)
    """Names that functions which it defines read when they are called."""
    filled_in_functions: set[str] = field(default_factory=set)
    """Names that such functions only write to."""
    binds: set[str] = field(default_factory=set)
    replaces: set[str] = field(default_factory=set)
    """Those that it binds in any case, and before it reads them."""
    changes: set[str] = field(default_factory=set)
    """Names whose objects it may change in place."""
    calls: list[Call] = field(default_factory=list)
    effects: dict[str, set[str]] = field(default_factory=dict)
    """For each function and class: the outer names whose objects it may change."""
    changes_arguments: set[str] = field(default_factory=set)
    """Functions that may change what they are called with."""
    changes_owner: set[str] = field(default_factory=set)
    """Methods that may change their object."""
    made_of: dict[str, set[str]] = field(default_factory=dict)
    """For each name: all names in what was assigned to it."""
    aliases: list[set[str]] = field(default_factory=list)
    """Names that may be bound to parts of the same object after an assignment."""
    loop_aliases: list[set[str]] = field(default_factory=list)
    """The same within a loop."""
    modules: dict[str, str] = field(default_factory=dict)
    """For each imported name: the library."""
    constants: set[str] = field(default_factory=set)
    """Texts in the code: each can be the name of a file."""
    reads: set[str] = field(default_factory=set)
    """Texts and names in calls of functions that read files."""
    searches: bool = False
    """Whether it finds files without naming them."""
    random: bool = False
    """Whether it may use the global random states."""
    always: str = ""
    """Why it is played in any case; empty if there is no such reason."""
    opaque: str = ""
    """Why names do not tell what it does; empty if they do."""


def flow_of(code: str) -> Flow:
    """Return what a cell does with names and files."""
    flow = Flow(random=RANDOM.search(code) is not None)
    if len(code) > LIMIT_CHARACTERS:
        flow.opaque = "its code is too long"
        return flow
    try:
        add_source(code, flow)
    except (SyntaxError, ValueError):
        flow.opaque = "its code cannot be parsed here"
    except (RecursionError, MemoryError):
        flow.opaque = "its code is nested too deeply"
    return flow


def add_source(code: str, flow: Flow) -> None:
    """Add what some code does, its magics included."""
    from IPython.core.inputtransformer2 import TransformerManager

    for statement in ast.parse(TransformerManager().transform_cell(code)).body:
        visitor = Visitor(flow)
        visitor.visit(statement)
        flow.uses |= visitor.read - flow.replaces
        flow.fills |= visitor.filled - flow.replaces
        if isinstance(statement, CERTAIN):
            flow.replaces |= visitor.bound - flow.uses


Function = ast.FunctionDef | ast.AsyncFunctionDef
BINDING = (ast.Assign, ast.AnnAssign, ast.Import, ast.ImportFrom)
CERTAIN = (*BINDING, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
"""Statements that bind their names in any case."""


class Visitor(ast.NodeVisitor):
    """Collects what a statement does; `flow` is that of its cell or function."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.bound: set[str] = set()
        self.read: set[str] = set()
        self.filled: set[str] = set()
        self._local: list[set[str]] = []
        """Names that loops, comprehensions and lambdas around the current node bind."""

    def bind(self, name: str) -> None:
        """Note a name that is bound."""
        self.bound.add(name)
        self.flow.binds.add(name)

    def change(self, node: ast.expr) -> None:
        """Note that the object of `name.attribute[index]` may be changed."""
        if (name := root_of(node)) is not None:
            self.flow.changes.add(name)

    def is_local(self, name: str) -> bool:
        """Return whether a name was bound by what is around the current node."""
        return any(name in names for names in self._local)

    def fill(self, node: ast.expr) -> None:
        """Note that something is written to `name.attribute[index]`, and what the index reads."""
        while isinstance(node, ast.Attribute | ast.Subscript):
            if isinstance(node, ast.Subscript):
                self.visit(node.slice)
            node = node.value
        if isinstance(node, ast.Name) and not self.is_local(node.id):
            self.filled.add(node.id)
        elif not isinstance(node, ast.Name):
            self.visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        """Note a name that is read, bound or deleted."""
        if not isinstance(node.ctx, ast.Load):
            if not self.is_local(node.id):
                self.bind(node.id)
            return
        if self.is_local(node.id):
            return
        self.read.add(node.id)
        if node.id in OPAQUE:
            self.flow.opaque = f"it uses {node.id}"

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """Note `name.attribute = …`."""
        if isinstance(node.ctx, ast.Load):
            self.generic_visit(node)
        else:
            self.change(node)
            self.fill(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """Note `name[index] = …`."""
        if isinstance(node.ctx, ast.Load):
            self.generic_visit(node)
        else:
            self.change(node)
            self.fill(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        """Note a text."""
        if isinstance(node.value, str):
            self.flow.constants.add(node.value)

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        """Note the names of an import."""
        for alias in node.names:
            module = getattr(node, "module", None) or alias.name
            if alias.name == "*":
                self.flow.opaque = f"it imports everything of {module}"
                continue
            name = alias.asname or alias.name.partition(".")[0]
            self.bind(name)
            self.flow.modules[name] = module.partition(".")[0]
            if "experimental" in module:
                self.flow.always = f"it imports {module}, which changes a library"

    visit_ImportFrom = visit_Import  # noqa: N815

    # ── assignments ───────────────────────────────────────────────────────────────────────

    def visit_Assign(self, node: ast.Assign | ast.AnnAssign | ast.NamedExpr) -> None:
        """Note what the assigned names are made of."""
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if node.value is not None:
            mentioned = {each.id for each in ast.walk(node.value) if isinstance(each, ast.Name)}
            for target in targets:
                self.flow.aliases.append({*roots_of(target), *roots_of(node.value)})
                for name in roots_of(target):
                    self.flow.made_of.setdefault(name, set()).update(mentioned)
        self.generic_visit(node)

    visit_AnnAssign = visit_NamedExpr = visit_Assign  # noqa: N815

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        """Note `name += value`, which reads, and may change in place."""
        self.change(node.target)
        if (name := root_of(node.target)) is not None:
            self.read.add(name)
        self.generic_visit(node)

    # ── names that only a part of the code has ────────────────────────────────────────────

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        """Note a loop: its target can be a part of what it runs over."""
        self.flow.loop_aliases.append({*roots_of(node.target), *roots_of(node.iter)})
        self.visit(node.iter)
        self.visit(node.target)
        self.within(set(roots_of(node.target)), [*node.body, *node.orelse])

    visit_AsyncFor = visit_For  # noqa: N815

    def visit_ListComp(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp
    ) -> None:
        """Note a comprehension, whose targets nothing outside sees."""
        for part in node.generators:
            self.visit(part.iter)
        names = {name for part in node.generators for name in roots_of(part.target)}
        values = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        tests = [test for part in node.generators for test in part.ifs]
        inner = [part.iter for part in node.generators[1:]]
        self.within(names, [*inner, *tests, *values])

    visit_SetComp = visit_GeneratorExp = visit_DictComp = visit_ListComp  # noqa: N815

    def visit_Lambda(self, node: ast.Lambda) -> None:
        """Note a lambda: what it reads, it reads when it is called."""
        for default in (*node.args.defaults, *filter(None, node.args.kw_defaults)):
            self.visit(default)
        outside, self.read = self.read, set()
        self.within(set(parameters_of(node.args)), [node.body])
        self.flow.used_in_functions |= self.read
        self.read |= outside

    def within(self, names: set[str], nodes: Sequence[ast.AST]) -> None:
        """Visit nodes in which some names are bound."""
        self._local.append(names)
        for node in nodes:
            self.visit(node)
        self._local.pop()

    # ── functions and classes: what their bodies do happens when they are called ──────────

    def visit_FunctionDef(self, node: Function) -> None:
        """Note a function."""
        arguments = node.args
        for outside in (*node.decorator_list, *arguments.defaults, *arguments.kw_defaults):
            if outside is not None:
                self.visit(outside)
        inner, body = self.add_body(node)
        declared = {
            name for each in ast.walk(node) if isinstance(each, ast.Global) for name in each.names
        }
        parameters = parameters_of(arguments)
        local = (inner.binds - declared) | set(parameters)
        passed = {name for call in inner.calls if call.is_statement for name in call.arguments}
        changed = inner.changes.union(*inner.effects.values())
        self.flow.effects[node.name] = (changed - local) | (inner.binds & declared)
        used = (body.read | inner.used_in_functions) - local
        self.flow.used_in_functions |= used
        self.flow.filled_in_functions |= (body.filled | inner.filled_in_functions) - local
        self.flow.made_of.setdefault(node.name, set()).update(used - {node.name})
        if (changed | passed) & set(parameters):
            self.flow.changes_arguments.add(node.name)
        if parameters and parameters[0] in changed:
            self.flow.changes_owner.add(node.name)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """Note a class: it has the effects of all its methods."""
        for outside in (*node.decorator_list, *node.bases, *(k.value for k in node.keywords)):
            self.visit(outside)
        inner, body = self.add_body(node)
        self.flow.effects |= inner.effects
        self.flow.effects[node.name] = set().union(*inner.effects.values())
        self.flow.used_in_functions |= body.read | inner.used_in_functions
        self.flow.filled_in_functions |= body.filled | inner.filled_in_functions
        self.flow.changes_arguments |= inner.changes_arguments
        self.flow.changes_owner |= inner.changes_owner

    def add_body(self, node: Function | ast.ClassDef) -> tuple[Flow, "Visitor"]:
        """Add what does not depend on when a body runs; return what it does, and its names."""
        self.bind(node.name)
        flow, inner = self.flow, Flow()
        visitor = Visitor(inner)
        for statement in node.body:
            visitor.visit(statement)
        flow.constants |= inner.constants
        flow.reads |= inner.reads
        flow.searches |= inner.searches
        flow.opaque = flow.opaque or inner.opaque
        flow.always = flow.always or inner.always
        flow.loop_aliases += [*inner.aliases, *inner.loop_aliases]
        flow.modules |= inner.modules
        return inner, visitor

    # ── calls ─────────────────────────────────────────────────────────────────────────────

    def visit_Expr(self, node: ast.Expr) -> None:
        """Note a call whose value is not used."""
        value = node.value.value if isinstance(node.value, ast.Await) else node.value
        if isinstance(value, ast.Call) and not is_magic(value):
            call = call_of(value, is_statement=True)
            self.flow.calls.append(call)
            if call.owner and call.function in FILLING:
                self.change(value.func)
                self.fill(value.func)
                for argument in (*value.args, *value.keywords):
                    self.visit(argument)
                return
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        """Note a call: of a magic, of a method that changes its object, of one that reads files."""
        if is_magic(node):
            self.add_magic(node)
            return
        call = call_of(node)
        self.flow.calls.append(call)
        in_place = any(keyword.arg in ("inplace", "out") for keyword in node.keywords)
        if call.function in CHANGING or call.function.endswith("_") or in_place:
            self.change(node.func)
        self.flow.searches |= call.function in SEARCHING
        if READING.match(call.function):
            for each in ast.walk(node):
                if isinstance(each, ast.Constant) and isinstance(each.value, str):
                    self.flow.reads.add(each.value)
                elif isinstance(each, ast.Name):
                    self.flow.reads.add(each.id)
        self.generic_visit(node)

    def add_magic(self, node: ast.Call) -> None:
        """Note a magic or a shell command."""
        texts = [each.value for each in node.args if isinstance(each, ast.Constant)]
        kind, name, *code = [str(node.func.attr), *map(str, texts)]  # type: ignore[attr-defined]
        if kind.startswith("run_") and name in SIMPLE_MAGICS:
            self.flow.always = f"it has the magic {name}"
            if name not in ("matplotlib", "config", "precision") and code:
                add_source(code[-1], self.flow)
            return
        self.flow.constants |= set(map(str, texts))
        self.flow.always = "it runs a command" if kind in COMMANDS else "it has a magic"
        self.flow.searches = True


COMMANDS = ("system", "getoutput")
MAGICS = ("run_line_magic", "run_cell_magic", *COMMANDS)
"""What IPython makes of lines that begin with `%` or `!`."""


def is_magic(node: ast.Call) -> bool:
    """Return whether a call is what IPython makes of a magic."""
    match node.func:
        case ast.Attribute(value=ast.Call(func=ast.Name(id="get_ipython")), attr=name):
            return name in MAGICS
    return False


def call_of(node: ast.Call, *, is_statement: bool = False) -> Call:
    """Return a call."""
    function, owner = "", None
    match node.func:
        case ast.Name(id=name):
            function = name
        case ast.Attribute(attr=name, value=value):
            function, owner = name, root_of(value)
    values = [*node.args, *(keyword.value for keyword in node.keywords)]
    passed = frozenset(name for value in values for name in roots_of(value))
    return Call(function, owner or "", passed, is_statement)


def parameters_of(arguments: ast.arguments) -> list[str]:
    """Return the names of a function's parameters, in order."""
    found = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    found += [each for each in (arguments.vararg, arguments.kwarg) if each]
    return [each.arg for each in found]


def root_of(node: ast.expr) -> str | None:
    """Return the name at the root of `name.attribute[index]`; None for any other expression."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Starred):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def roots_of(node: ast.expr) -> Iterator[str]:
    """Yield the names whose objects a value may consist of; a call makes a new object."""
    match node:
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
            pass
        case ast.Dict(values=parts) | ast.BoolOp(values=parts):
            pass
        case ast.IfExp(body=one, orelse=other):
            parts = [one, other]
        case ast.NamedExpr(value=value):
            parts = [value]
        case _:
            if (name := root_of(node)) is not None:
                yield name
            return
    for part in parts:
        yield from roots_of(part)
