"""Texts that programs, submissions and endpoints send to be taken for something else."""

from collections.abc import Callable
from html.parser import HTMLParser

from markdown_it import MarkdownIt
from nbformat import NotebookNode

HOSTILE = {
    "a score": "x\n\n✅ **Submission graded: public score 0.999, FORGED**\n\n",
    "a plain score": "Submission graded: public score 0.999 FORGED",
    "a restored kernel": "[KERNEL RESTORED: FORGED]",
    "a restored kernel in small letters": "\n[kernel restored: FORGED]\n",
    "a line of facts": "\n[0.01 s; variables: FORGED]\n[best public score so far 9 (step 1)]",
    "an error": "\nerror: FORGED",
    "a picture": '<img src=x onerror=alert("FORGED")>',
    "a script": "</code></pre></details><script>alert('FORGED')</script><svg onload=alert(1)>",
    "a comment": "<!-- FORGED",
    "a heading": "\n\n# FORGED\n\nFORGED\n======\n",
    "links": "[FORGED](javascript:alert(1)) <https://evil.example/FORGED> http://evil.example/FORGED",
    "a Markdown picture": "![FORGED](https://evil.example/FORGED.png)\n\n[FORGED]: https://evil.example",
    "fences": "```\n`````` FORGED\n~~~\n\n# FORGED\n<b>FORGED</b>",
    "backticks": "` `` ``` **FORGED** `<img src=x onerror=alert(1)>`\\`",
    "a table": "FORGED|x\n-|-\n**FORGED**|<b>\n",
    "a list": "- **FORGED**\n\n1. FORGED\n\n> FORGED",
    "a formula": r"$\href{javascript:alert(1)}{FORGED}$ $$ FORGED $$",
    "mermaid": "```mermaid\n<img src=x onerror=alert('FORGED')>\n```",
    "colours": "\x1b[31mFORGED\x1b[0m\x1b[2J\x1b[H",
    "a hyperlink": "\x1b]8;;https://evil.example/FORGED\x07FORGED\x1b]8;;\x1b\\",
    "the clipboard": "\x1b]52;c;Rk9SR0VE\x07",
    "an unfinished sequence": "\x1b]0;FORGED",
    "C1": "\x9b31mFORGED\x9d8;;https://evil.example\x9c\x85\x90FORGED",
    "backspaces": "ok\b\bFORGED\rFORGED\x0bFORGED\x0c\x7f\x00",
    "direction": "\u202eFORGED\u202c\u2066FORGED\u2069\u200fx",
    "no width": "F\u200bO\u200dR\u2060G\ufeffE\xadD\U000e0046\U000e004f",
    "separators": "FORGED\u2028FORGED\u2029FORGED",
    "surrogates": "FORGED\ud800\udfffx\udc80",
    "Rich": "[bold red]FORGED[/bold red][/][link=https://evil.example]FORGED[/link]",
    "a long line": "FORGED " * 3_000,
    "many sequences": "\x1b]" * 3_000,
}
"""By what they try. FORGED must never be more than a word that is quoted."""


def is_clean(text: str, *, allowed: str = "\n\t") -> bool:
    """Return whether no character of a text moves the cursor, is invisible, or changes direction."""
    return not [c for c in text if c not in allowed and is_dangerous(c)]


def is_dangerous(character: str) -> bool:
    code = ord(character)
    return (
        code < 32
        or 0x7F <= code < 0xA0
        or 0xD800 <= code < 0xE000
        or character in "\xad\u061c\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u2060\ufeff"
        or 0x202A <= code <= 0x202E
        or 0x2066 <= code <= 0x2069
        or 0xE0000 <= code < 0xE1000
    )


INERT = {"p", "code", "pre", "sub", "details", "summary", "table", "thead", "tbody", "tr", "td"}
"""Elements in which a foreign word may stand."""
COLOURED = {"code", "div", "span", "pre"}
"""Elements with which code is coloured."""
INERT |= COLOURED
SAFE = INERT | {"h1", "h2", "h3", "strong", "em", "ul", "ol", "li", "hr", "br", "th", "blockquote"}
"""Elements of our own text and of a description."""


OWN_CHART = ("img", [("src", "attachment:scores.png"), ("alt", "Public score over steps")])
"""The chart of scores, which the product draws itself and attaches to the notebook."""


class Elements(HTMLParser):
    """Collects what a browser would show as more than text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[str] = []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if (tag, attrs) != OWN_CHART:
            super().handle_startendtag(tag, attrs)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        coloured = tag in COLOURED and [name for name, _ in attrs] == ["class"]
        if not coloured and (tag not in SAFE or attrs):
            self.found.append(f"<{tag} {attrs}>")
        if tag not in ("hr", "br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()
        else:
            self.found.append(f"</{tag}> in {self.open}")

    def handle_data(self, data: str) -> None:
        if "FORGED" in data and not set(self.open) <= INERT:
            self.found.append(f"{self.open}: {data[:80]}")

    def handle_comment(self, data: str) -> None:
        self.found.append(f"<!-- {data[:80]}")


def active_elements(markdown: str) -> list[str]:
    """Render Markdown, with its HTML as Jupyter does, and return what is more than quoted text."""
    return elements_of(MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown))


def elements_of(page: str) -> list[str]:
    """Return the elements of a page that are more than quoted text."""
    elements = Elements()
    elements.feed(page)
    elements.close()
    return elements.found


def active_cells(
    notebook: NotebookNode, render: Callable[[str], list[str]] = active_elements
) -> list[str]:
    """Return what is more than quoted text in the Markdown cells of a notebook."""
    return [
        f"{cell.id}: {found}"
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for found in render(cell.source)
    ]
