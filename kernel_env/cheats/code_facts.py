"""Collect from the code of cells which functions it calls, with which texts.

The code is parsed, never run. Texts are put together as far as the code spells them out: sums,
f-strings, `join`, paths, encodings, names that earlier cells bound. An unknown part is a `*`.
"""

import ast
import base64
import binascii
import json
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

LIMIT_CHARACTERS = 2_000_000
"""Longer code is not parsed."""
MAGIC_CHARACTERS = 100_000
"""Longer code is parsed as plain Python: each magic is a pass over all of it."""
MAX_DEPTH = 3
"""How many `exec` within each other are followed."""
TEXT_CHARACTERS = 100_000
"""A text is put together up to this length."""
MAX_NAMES = 10_000
"""How many names with texts are remembered."""
UNKNOWN = "*"
SIGNS: dict[type[ast.operator], str] = {ast.Add: "", ast.Div: "/"}
"""What stands between texts that an operator joins."""
OWN_TEXT = frozenset(
    {"split", "rsplit", "join", "replace", "strip", "lstrip", "rstrip", "startswith", "endswith"}
    | {"partition", "rpartition", "count", "find", "index", "contains", "sub", "match", "search"}
)
"""Methods of texts: their arguments are parts of texts, and no paths."""
SHELL_MAGICS = ("system", "getoutput", "run_line_magic", "run_cell_magic")
SHELLS = frozenset({"bash", "sh", "script", "pip", "conda", "sx", "system", "!"})
"""Magics that run programs."""
SHELL_CALLS = (
    *("os.system", "os.popen", "os.exec", "os.spawn", "os.posix_spawn", "subprocess.", "pty.spawn"),
    *("commands.", "asyncio.create_subprocess"),
)
"""Functions that run programs, by the beginnings of their names."""


@dataclass(frozen=True)
class Call:
    """A call in a cell."""

    function: str
    """The dotted name, imports resolved: `socket.create_connection`."""
    texts: tuple[str, ...]
    """The texts among its arguments, in lists too."""
    known: bool
    """Whether its first argument is known, or it has none."""


@dataclass
class Facts:
    """What a cell does, as far as its code tells."""

    calls: list[Call] = field(default_factory=list)
    texts: set[str] = field(default_factory=set)
    """All texts in it, those in JSON texts too."""
    arguments: set[str] = field(default_factory=set)
    """Those that are values: arguments, items, what names are bound to."""
    commands: list[str] = field(default_factory=list)
    """Commands for a shell."""
    modules: set[str] = field(default_factory=set)
    """Imported modules, by their dotted names."""
    attributes: set[str] = field(default_factory=set)
    """Dotted names that are read, imports resolved."""
    literals: list[ast.expr] = field(default_factory=list)
    """Lists, tuples, sets and mappings of constants."""


@dataclass
class Names:
    """What the names of a kernel stand for, from the cells before."""

    texts: dict[str, str] = field(default_factory=dict)
    modules: dict[str, str] = field(default_factory=dict)
    """The dotted name of what was imported, or of the function that a name was bound to."""
    results: set[str] = field(default_factory=set)
    """The names in `modules` that stand for what the function returned."""


def facts_of(code: str, names: Names, depth: int = 0) -> Facts | None:
    """Return what a cell does; None if its code is too long or cannot be parsed.

    Args:
        code: the cell. A very long one is read without magics.
        names: what earlier cells bound; it gets what this one binds.
        depth: how many `exec` the code is within.
    """
    from IPython.core.inputtransformer2 import TransformerManager

    if len(code) > LIMIT_CHARACTERS:
        return None
    facts = Facts()
    try:
        if len(code) <= MAGIC_CHARACTERS:
            code = TransformerManager().transform_cell(code)
        with warnings.catch_warnings(action="ignore"):  # about escapes in texts of the agent
            tree = ast.parse(code)
        Visitor(facts, names, depth).visit(tree)
    except (SyntaxError, ValueError, RuntimeError, MemoryError):  # also of too many magics
        return None
    return facts


class Visitor(ast.NodeVisitor):
    """Collects what code does."""

    def __init__(self, facts: Facts, names: Names, depth: int) -> None:
        self.facts, self.names, self.depth = facts, names, depth

    # ── names ─────────────────────────────────────────────────────────────────────────────

    def visit_Import(self, node: ast.Import) -> None:
        """Note imported modules."""
        for alias in node.names:
            self.facts.modules.add(alias.name)
            if alias.asname:
                self.bind(self.names.modules, alias.asname, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Note what is imported of a module."""
        module = node.module or ""
        self.facts.modules.add(module)
        for alias in node.names:
            self.facts.modules.add(f"{module}.{alias.name}")
            self.bind(self.names.modules, alias.asname or alias.name, f"{module}.{alias.name}")

    def visit_Assign(self, node: ast.Assign | ast.AnnAssign | ast.NamedExpr) -> None:
        """Note what a name stands for."""
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        self.generic_visit(node)
        if node.value is None:
            return
        text, dotted = self.text(node.value), self.dotted(node.value)
        for target in targets:
            if isinstance(target, ast.Name):
                self.names.texts.pop(target.id, None)
                self.names.modules.pop(target.id, None)
                self.names.results.discard(target.id)
                if text is not None:
                    self.bind(self.names.texts, target.id, text)
                elif dotted:
                    self.bind(self.names.modules, target.id, dotted)
                    if isinstance(node.value, ast.Call) and dotted == self.dotted(node.value.func):
                        self.names.results.add(target.id)
        if text is not None:
            self.facts.arguments.add(text)

    visit_AnnAssign = visit_NamedExpr = visit_Assign  # noqa: N815

    def bind(self, table: dict[str, str], name: str, value: str) -> None:
        """Remember what a name stands for."""
        if len(table) < MAX_NAMES:
            table[name] = value

    def dotted(self, node: ast.expr) -> str:
        """Return the dotted name of an expression, imports resolved; empty if it has none."""
        match node:
            case ast.Name(id=name):
                return self.names.modules.get(name, name)
            case ast.Attribute(value=value, attr=attribute):
                prefix = self.dotted(value)
                return f"{prefix}.{attribute}" if prefix else attribute
            case ast.Call(func=ast.Name(id="getattr"), args=[owner, name, *_]):
                return f"{self.dotted(owner)}.{self.text(name) or UNKNOWN}"
            case ast.Subscript(value=value, slice=name) if self.dotted(value) == "sys.modules":
                return self.text(name) or UNKNOWN
            case ast.Call(func=function, args=arguments):
                name = self.dotted(function)
                if arguments and name.endswith(("__import__", "import_module")):
                    return self.text(arguments[0]) or UNKNOWN
                return name
        return ""

    # ── texts ─────────────────────────────────────────────────────────────────────────────

    def text(self, node: ast.expr | None) -> str | None:
        """Return the text that an expression stands for; None if it is none, or not known."""
        match node:
            case ast.Constant(value=str() as text):
                return text[:TEXT_CHARACTERS]
            case ast.Constant(value=bytes() as data):
                return data[:TEXT_CHARACTERS].decode("latin-1")
            case ast.Name(id=name):
                return self.names.texts.get(name)
            case ast.JoinedStr(values=parts):
                return joined("", map(self.text, parts))
            case ast.FormattedValue(value=value):
                return self.text(value)
            case ast.BinOp(left=left, op=ast.Add() | ast.Div() as op, right=right):
                sides = [self.text(left), self.text(right)]
                return None if sides == [None, None] else joined(SIGNS[type(op)], sides)
            case ast.BinOp(left=left, op=ast.Mod()):
                return self.text(left)
            case ast.Subscript(value=value, slice=ast.Slice(lower=None, upper=None, step=step)):
                backwards = isinstance(step, ast.UnaryOp) and isinstance(step.op, ast.USub)
                whole = self.text(value)
                return whole[::-1] if whole is not None and backwards else whole
            case ast.Call():
                return self.text_of_call(node)
        return None

    def text_of_call(self, node: ast.Call) -> str | None:
        """Return the text that a call stands for."""
        name = self.dotted(node.func).rpartition(".")[2]
        first = node.args[0] if node.args else None
        match node.func:
            case ast.Attribute(value=value, attr="join") if isinstance(first, ast.List | ast.Tuple):
                separator = self.text(value)
                return None if separator is None else joined(separator, map(self.text, first.elts))
            case ast.Attribute(value=value, attr="format" | "decode" | "encode" | "as_posix"):
                return self.text(value)
        if name in ("Path", "PurePath", "PosixPath", "join") and node.args:
            parts = [self.text(each) for each in node.args]
            return joined("/", parts) if any(parts) else None
        if name in ("str", "bytes", "fspath", "expanduser", "abspath"):
            return self.text(first)
        text = self.text(first) if first else None
        return decoded(name, text) if text is not None else None

    def visit_Expr(self, node: ast.Expr) -> None:
        """Leave out texts that stand alone: they are comments."""
        if not isinstance(node.value, ast.Constant):
            self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        """Note a text, and those in it if it is JSON."""
        if (text := self.text(node)) is not None:
            inner = set(texts_in_json(text))
            self.facts.texts |= {text, *inner}
            self.facts.arguments |= inner

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Note an f-string as a whole."""
        self.facts.texts.add(joined("", map(self.text, node.values)))
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                self.visit(part.value)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        """Note a sum of texts as a whole."""
        text = self.text(node)
        if text is not None:
            self.facts.texts.add(text)
        parts: list[ast.expr] = [node.left, node.right]
        while parts:
            part = parts.pop()
            if isinstance(part, ast.BinOp) and text is not None:
                parts += [part.left, part.right]
            else:
                self.visit(part)

    # ── what is read, called and listed ───────────────────────────────────────────────────

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """Note a dotted name."""
        if name := self.dotted(node):
            self.facts.attributes.add(name)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        """Note a call with the texts that it gets."""
        name = self.dotted(node.func)
        if isinstance(node.func, ast.Name) and node.func.id in self.names.results:
            name += ".__call__"
        values = [*node.args, *(keyword.value for keyword in node.keywords)]
        owner = node.func.value if isinstance(node.func, ast.Attribute) else None
        receiver = self.text(owner)
        found = [text for value in values for text in self.texts_within(value)]
        texts = (*([receiver] if receiver is not None else []), *found)
        known = not node.args or bool(found) or receiver is not None
        self.facts.calls.append(Call(name, texts, known))
        last = name.rpartition(".")[2]
        if last not in OWN_TEXT:
            self.facts.arguments.update(found)
        whole = self.text(node)
        self.facts.texts |= {*texts, *([whole] if whole is not None else [])}
        if name.startswith("get_ipython.") and last in SHELL_MAGICS:
            if last in ("system", "getoutput") or (found and found[0] in SHELLS):
                self.facts.commands.append(" ".join(found))
        elif name.startswith(SHELL_CALLS):
            self.facts.commands.append(" ".join(found))
        if name in ("exec", "eval", "compile") and found and self.depth < MAX_DEPTH:
            inner = facts_of(found[0], self.names, self.depth + 1)
            if inner is not None:
                self.add(inner)
        self.generic_visit(node)

    def add(self, inner: Facts) -> None:
        """Add what code in a text does."""
        facts = self.facts
        facts.calls += inner.calls
        facts.texts |= inner.texts
        facts.arguments |= inner.arguments
        facts.commands += inner.commands
        facts.modules |= inner.modules
        facts.attributes |= inner.attributes
        facts.literals += inner.literals

    def texts_within(self, node: ast.expr) -> Iterator[str]:
        """Yield the texts of an argument: itself, or the items of a list."""
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            for item in node.elts:
                yield from self.texts_within(item)
        elif isinstance(node, ast.Starred):
            yield from self.texts_within(node.value)
        elif (text := self.text(node)) is not None:
            yield text

    def visit_List(self, node: ast.List | ast.Tuple | ast.Set | ast.Dict) -> None:
        """Note a list of constants, and the texts in it."""
        items = node.values if isinstance(node, ast.Dict) else node.elts
        if len(items) >= MIN_LITERAL and all(map(is_constant, items)):
            self.facts.literals.append(node)
        for item in items:
            if (text := self.text(item)) is not None:
                self.facts.arguments.add(text)
        self.generic_visit(node)

    visit_Tuple = visit_Set = visit_Dict = visit_List  # noqa: N815


MIN_LITERAL = 10
"""Shorter lists are not noted."""


def is_constant(node: ast.expr) -> bool:
    """Return whether an expression is a number, a text, or a short list of them."""
    match node:
        case ast.Constant():
            return True
        case ast.UnaryOp(operand=inner):
            return is_constant(inner)
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return len(items) <= 2 and all(map(is_constant, items))
    return False


def joined(separator: str, parts: Iterable[str | None]) -> str:
    """Return parts as one text; an unknown one is a `*`."""
    return separator.join(UNKNOWN if each is None else each for each in parts)[:TEXT_CHARACTERS]


def decoded(function: str, text: str) -> str | None:
    """Return what a decoding function makes of a text; None for another function."""
    try:
        match function:
            case "b64decode" | "urlsafe_b64decode":
                return base64.b64decode(text, altchars=b"-_" if "url" in function else None).decode(
                    "latin-1"
                )
            case "fromhex" | "unhexlify":
                return bytes.fromhex(text).decode("latin-1")
            case "b85decode":
                return base64.b85decode(text).decode("latin-1")
    except (ValueError, binascii.Error):
        return None
    return None


def texts_in_json(text: str) -> Iterator[str]:
    """Yield the texts within a text that is JSON."""
    if not text.lstrip().startswith(("[", "{")):
        return
    try:
        level = [json.loads(text)]
    except (ValueError, RecursionError):
        return
    while level:
        value = level.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict | list):
            level += value.values() if isinstance(value, dict) else value
