r"""Formulas in a description as one line of text that a terminal can show.

>>> text(r"\frac1n \sum_{i=1}^{n} (\hat y_i - y_i)^2")
'1/n Σᵢ₌₁ⁿ (ŷᵢ - yᵢ)²'

Enough TeX for the definition of a metric. What it does not know stays readable: a
command becomes its name.
"""

import re
import unicodedata

TOKEN = re.compile(r"\\[A-Za-z]+\*?|\\.|\s+|.", re.DOTALL)
DISPLAY = re.compile(r"\$\$(.+?)\$\$", re.DOTALL)
INLINE = re.compile(r"(?<![\\$`\w])\$(?![\s$])([^$\n`]+?)(?<![\s\\])\$(?![\w$])")
CODE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.DOTALL | re.MULTILINE)
SPECIAL = re.compile(r"([\\`*_{}\[\]<>#+|~-])")
"""What markdown would take for its own."""

SUB = dict(
    zip("0123456789+-−=()aehijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ", strict=True)
)
SUP = dict(
    zip(
        "0123456789+-−=()abcdefghijklmnoprstuvwxyzT",
        "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻᵀ",
        strict=True,
    )
)
ACCENTS = {"hat": "\u0302", "widehat": "\u0302", "bar": "\u0304", "overline": "\u0304"}
ACCENTS |= {"tilde": "\u0303", "vec": "\u20d7", "dot": "\u0307"}
WORDS = ("mathrm", "text", "operatorname", "mathbf", "mathit", "mathcal", "mathbb", "textbf")
FRACTIONS = ("frac", "tfrac", "dfrac")
SIZES = re.compile(r"(left|right|[bB]igg?[lrm]?)$")
BIG = {"sum": "Σ", "prod": "∏", "int": "∫"}
SIGNS = """
    alpha α beta β gamma γ delta δ epsilon ε varepsilon ε lambda λ mu μ pi π rho ρ sigma σ tau τ
    theta θ kappa κ phi φ omega ω eta η chi χ Delta Δ Omega Ω ell ℓ infty ∞ partial ∂
    le ≤ leq ≤ ge ≥ geq ≥ ne ≠ neq ≠ approx ≈ in ∈ notin ∉ cap ∩ cup ∪ subset ⊂ setminus ∖
    cdot · times × pm ± div ÷ to → rightarrow → mapsto ↦ forall ∀ ldots … dots … cdots ⋯
    lvert | rvert | vert | mid | lVert ‖ rVert ‖ lfloor ⌊ rfloor ⌋ lceil ⌈ rceil ⌉
    langle ⟨ rangle ⟩ lbrace { rbrace }
"""
SYMBOLS: dict[str, str] = dict(pair.split() for pair in re.findall(r"\w+ \S+", SIGNS))
SYMBOLS |= dict.fromkeys(("quad", "qquad"), " ")
SYMBOLS |= dict.fromkeys(("displaystyle", "limits", "nolimits", "nonumber"), "")
RANGE = re.compile(rf"([Σ∏∫](?:_\([^()]*\)|[{''.join({*SUB.values(), *SUP.values()})}])++)(?=\S)")
"""A sum and what it goes over, with its summand right behind it."""
CHARACTERS = {"\\,": " ", "\\;": " ", "\\:": " ", "\\ ": " ", "\\!": "", "\\\\": "; ", "\\|": "‖"}
DEEP = 30
"""Braces within braces; nobody means more."""


def readable(markdown: str) -> str:
    """A text whose formulas are text too; code in it stays as it is."""
    parts = CODE.split(markdown)
    return "".join(part if n % 2 else formulas(part) for n, part in enumerate(parts))


def formulas(markdown: str) -> str:
    """Display formulas on a line of their own, inline ones in their sentence."""
    shown = DISPLAY.sub(lambda found: f"\n\n> {escaped(text(found[1]))}\n\n", markdown)
    return INLINE.sub(lambda found: escaped(text(found[1])), shown)


def escaped(line: str) -> str:
    """Not markdown any more."""
    return SPECIAL.sub(r"\\\1", line)


def text(tex: str) -> str:
    """A formula as one line."""
    tokens = TOKEN.findall(tex)
    tokens.reverse()  # the next one is the last
    shown = ""
    while tokens:  # a brace too many ends a group that was never begun
        shown += group(tokens, 0)
    apart = RANGE.sub(r"\1 ", " ".join(shown.split()))
    return re.sub(r"(?<=[(\[]) | (?=[)\]])", "", apart)


def group(tokens: list[str], depth: int) -> str:
    """Everything up to the brace that closes it."""
    shown = ""
    while tokens and (mark := tokens.pop()) != "}":
        match mark:
            case "_":
                shown = shown.rstrip() + script(argument(tokens, depth), SUB, "_")
            case "^":
                shown = shown.rstrip() + script(argument(tokens, depth), SUP, "^")
            case "&" | "~":
                shown += " "
            case _:
                shown += piece(mark, tokens, depth)
    return shown


def piece(mark: str, tokens: list[str], depth: int) -> str:
    """What one token, with the arguments that it takes, looks like."""
    if mark == "{":
        return group(tokens, depth + 1) if depth < DEEP else ""
    if mark.isspace():
        return " "
    if not mark.startswith("\\") or mark == "\\":
        return mark
    name = mark[1:].rstrip("*")
    if name in FRACTIONS:
        above, below = argument(tokens, depth), argument(tokens, depth)
        return f"{whole(above)}/{whole(below)}"
    if name == "sqrt":
        return f"√{whole(argument(tokens, depth), always=True)}"
    if name in ACCENTS:
        letter = argument(tokens, depth)
        return unicodedata.normalize("NFC", letter + ACCENTS[name]) if len(letter) == 1 else letter
    if name in WORDS:
        return argument(tokens, depth)
    if name in ("begin", "end"):
        argument(tokens, depth)
        return ""
    if SIZES.match(name):
        return argument(tokens, depth).replace(".", "")
    if name in BIG:
        return f" {BIG[name]}"
    return CHARACTERS[mark] if mark in CHARACTERS else SYMBOLS.get(name, name)


def argument(tokens: list[str], depth: int) -> str:
    """What belongs to the command before: a group, or one token."""
    while tokens and tokens[-1].isspace():
        tokens.pop()
    if not tokens or tokens[-1] == "}" or depth >= DEEP:
        return ""
    return piece(tokens.pop(), tokens, depth + 1).strip()


def script(what: str, letters: dict[str, str], sign: str) -> str:
    """An index or an exponent, in small letters where there are some for all of it."""
    tight = re.sub(r"\s*([=<>≤≥∈+-])\s*", r"\1", what)
    if all(letter in letters for letter in tight):
        return "".join(letters[letter] for letter in tight)
    return sign + (tight if len(tight) == 1 else f"({tight})")


def whole(what: str, *, always: bool = False) -> str:
    """In brackets, unless it holds together without."""
    return what if not always and re.fullmatch(r"[\w.]+", what) else f"({what})"
