r"""Convert TeX formulas in Markdown to plain text that a terminal can show.

>>> formula_to_text(r"\frac1n \sum_{i=1}^{n} (\hat y_i - y_i)^2")
'1/n Σᵢ₌₁ⁿ (ŷᵢ - yᵢ)²'

It supports the TeX that definitions of metrics need. An unknown command becomes its name.
"""

import re
import unicodedata

TOKEN = re.compile(r"\\[A-Za-z]+\*?|\\.|\s+|.", re.DOTALL)
DISPLAY = re.compile(r"\$\$(.+?)\$\$", re.DOTALL)
INLINE = re.compile(r"(?<![\\$`\w])\$(?![\s$])([^$\n`]+?)(?<![\s\\])\$(?![\w$])")
CODE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.DOTALL | re.MULTILINE)
MARKDOWN_CHARACTERS = re.compile(r"([\\`*_{}\[\]<>#+|~-])")
"""Characters that have a meaning in Markdown."""

SUBSCRIPTS = dict(
    zip("0123456789+-−=()aehijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ", strict=True)
)
SUPERSCRIPTS = dict(
    zip(
        "0123456789+-−=()abcdefghijklmnoprstuvwxyzT",
        "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻᵀ",
        strict=True,
    )
)
ACCENTS = {"hat": "\u0302", "widehat": "\u0302", "bar": "\u0304", "overline": "\u0304"}
ACCENTS |= {"tilde": "\u0303", "vec": "\u20d7", "dot": "\u0307"}
FONT_COMMANDS = (
    "mathrm",
    "text",
    "operatorname",
    "mathbf",
    "mathit",
    "mathcal",
    "mathbb",
    "textbf",
)
FRACTION_COMMANDS = ("frac", "tfrac", "dfrac")
DELIMITER_SIZES = re.compile(r"(left|right|[bB]igg?[lrm]?)$")
LARGE_OPERATORS = {"sum": "Σ", "prod": "∏", "int": "∫"}
SYMBOL_TABLE = """
    alpha α beta β gamma γ delta δ epsilon ε varepsilon ε lambda λ mu μ pi π rho ρ sigma σ tau τ
    theta θ kappa κ phi φ omega ω eta η chi χ Delta Δ Omega Ω ell ℓ infty ∞ partial ∂
    le ≤ leq ≤ ge ≥ geq ≥ ne ≠ neq ≠ approx ≈ in ∈ notin ∉ cap ∩ cup ∪ subset ⊂ setminus ∖
    cdot · times × pm ± div ÷ to → rightarrow → mapsto ↦ forall ∀ ldots … dots … cdots ⋯
    lvert | rvert | vert | mid | lVert ‖ rVert ‖ lfloor ⌊ rfloor ⌋ lceil ⌈ rceil ⌉
    langle ⟨ rangle ⟩ lbrace { rbrace }
"""
SYMBOLS: dict[str, str] = dict(pair.split() for pair in re.findall(r"\w+ \S+", SYMBOL_TABLE))
SYMBOLS |= dict.fromkeys(("quad", "qquad"), " ")
SYMBOLS |= dict.fromkeys(("displaystyle", "limits", "nolimits", "nonumber"), "")
OPERATOR_WITH_LIMITS = re.compile(
    rf"([Σ∏∫](?:_\([^()]*\)|[{''.join({*SUBSCRIPTS.values(), *SUPERSCRIPTS.values()})}])++)(?=\S)"
)
"""A large operator with its limits, directly followed by its operand."""
ESCAPED_CHARACTERS = {
    "\\,": " ",
    "\\;": " ",
    "\\:": " ",
    "\\ ": " ",
    "\\!": "",
    "\\\\": "; ",
    "\\|": "‖",
}
MAX_DEPTH = 30
"""The deepest nesting of groups that is converted; deeper groups become empty."""


def replace_formulas(markdown: str) -> str:
    """Replace the formulas in Markdown with plain text; code is not changed."""
    parts = CODE.split(markdown)
    return "".join(part if n % 2 else replace_outside_code(part) for n, part in enumerate(parts))


def replace_outside_code(markdown: str) -> str:
    """Replace the formulas in Markdown that has no code; a display formula becomes a quote."""
    converted = DISPLAY.sub(
        lambda found: f"\n\n> {escape_markdown(formula_to_text(found[1]))}\n\n", markdown
    )
    return INLINE.sub(lambda found: escape_markdown(formula_to_text(found[1])), converted)


def escape_markdown(line: str) -> str:
    """Escape the characters that have a meaning in Markdown."""
    return MARKDOWN_CHARACTERS.sub(r"\\\1", line)


def formula_to_text(tex: str) -> str:
    """Convert a formula to one line of text."""
    tokens = TOKEN.findall(tex)
    tokens.reverse()  # so that pop() returns the next one
    converted = ""
    while tokens:  # an unmatched closing brace ends `read_group` early
        converted += read_group(tokens, 0)
    spaced = OPERATOR_WITH_LIMITS.sub(r"\1 ", " ".join(converted.split()))
    return re.sub(r"(?<=[(\[]) | (?=[)\]])", "", spaced)


def read_group(tokens: list[str], depth: int) -> str:
    """Convert the tokens up to the closing brace, which is removed, too."""
    converted = ""
    while tokens and (current := tokens.pop()) != "}":
        match current:
            case "_":
                converted = converted.rstrip() + format_script(
                    read_argument(tokens, depth), SUBSCRIPTS, "_"
                )
            case "^":
                converted = converted.rstrip() + format_script(
                    read_argument(tokens, depth), SUPERSCRIPTS, "^"
                )
            case "&" | "~":
                converted += " "
            case _:
                converted += read_token(current, tokens, depth)
    return converted


def read_token(current: str, tokens: list[str], depth: int) -> str:
    """Convert one token and the arguments that it takes."""
    if current == "{":
        return read_group(tokens, depth + 1) if depth < MAX_DEPTH else ""
    if current.isspace():
        return " "
    if not current.startswith("\\") or current == "\\":
        return current
    name = current[1:].rstrip("*")
    if name in FRACTION_COMMANDS:
        above, below = read_argument(tokens, depth), read_argument(tokens, depth)
        return f"{parenthesise(above)}/{parenthesise(below)}"
    if name == "sqrt":
        return f"√{parenthesise(read_argument(tokens, depth), force=True)}"
    if name in ACCENTS:
        letter = read_argument(tokens, depth)
        return unicodedata.normalize("NFC", letter + ACCENTS[name]) if len(letter) == 1 else letter
    if name in FONT_COMMANDS:
        return read_argument(tokens, depth)
    if name in ("begin", "end"):
        read_argument(tokens, depth)
        return ""
    if DELIMITER_SIZES.match(name):
        return read_argument(tokens, depth).replace(".", "")
    if name in LARGE_OPERATORS:
        return f" {LARGE_OPERATORS[name]}"
    return ESCAPED_CHARACTERS[current] if current in ESCAPED_CHARACTERS else SYMBOLS.get(name, name)


def read_argument(tokens: list[str], depth: int) -> str:
    """Convert the next argument of a command: a group or one token."""
    while tokens and tokens[-1].isspace():
        tokens.pop()
    if not tokens or tokens[-1] == "}" or depth >= MAX_DEPTH:
        return ""
    return read_token(tokens.pop(), tokens, depth + 1).strip()


def format_script(content: str, characters: dict[str, str], sign: str) -> str:
    """Format an index or an exponent.

    Args:
        content: the index or exponent as text.
        characters: the small characters; used if there is one for each character of `content`.
        sign: `_` or `^`, used otherwise.
    """
    compact = re.sub(r"\s*([=<>≤≥∈+-])\s*", r"\1", content)
    if all(letter in characters for letter in compact):
        return "".join(characters[letter] for letter in compact)
    return sign + (compact if len(compact) == 1 else f"({compact})")


def parenthesise(content: str, *, force: bool = False) -> str:
    """Put text in parentheses, unless it is a single word or number."""
    return content if not force and re.fullmatch(r"[\w.]+", content) else f"({content})"
