"""Keep of HTML what can only be looked at: tables, lists, words, pictures inside the page.

The output is written anew from a list of elements and attributes, each opened element is closed in
order, and all else becomes text or goes. So it neither runs anything, nor asks another machine, nor
leaves its place in the page. Time is linear in the length, whatever the input; parsers that build
a tree as browsers do need minutes for a megabyte that was made for them.
"""

import re
from collections.abc import Callable
from html import escape

MAX_CHARACTERS = 1_000_000
"""The longest HTML that is kept."""
MAX_NESTED = 200
"""The most elements inside each other that are kept."""
ELEMENTS = {
    *("table", "thead", "tbody", "tfoot", "tr", "th", "td", "caption", "colgroup", "col"),
    *("p", "div", "span", "br", "hr", "pre", "code", "blockquote", "ul", "ol", "li", "dl", "dt"),
    *("dd", "h1", "h2", "h3", "h4", "h5", "h6", "b", "i", "em", "strong", "u", "s", "sub", "sup"),
    *("small", "details", "summary", "img"),
}
EMPTY = {"br", "hr", "img", "col"}
"""Elements without content."""
HIDDEN = {"script", "style", "title", "template", "noscript", "iframe", "textarea"}
"""Elements whose content is no text of the page."""
NUMBERS = {"width", "height", "colspan", "rowspan", "start"}
WORDS = {"alt", "title", "align"}
TOKEN = re.compile(
    r"<!--|<[!?]|<(?P<close>/?)(?P<name>[A-Za-z][A-Za-z0-9]{0,20})(?P<attributes>(?:[\s/][^<>]*)?)>"
)
ATTRIBUTE = re.compile(r"""\b([A-Za-z]{1,12})\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'=`]+))""")
NUMBER = re.compile(r"\d{1,5}")


def inert_html(html: str, is_picture: Callable[[str], bool]) -> str | None:
    """Return what is kept of HTML; None if it is too long, nested too deep, or would grow much.

    Args:
        html: any text.
        is_picture: whether the `src` of an image is one that may be shown.
    """
    if len(html) > MAX_CHARACTERS:
        return None
    kept: list[str] = []
    opened: list[str] = []
    at = 0
    while found := TOKEN.search(html, at):
        kept.append(text(html[at : found.start()]))
        at = found.end()
        if found["name"] is None:
            at = end_of(html, at, "-->" if found[0] == "<!--" else ">")
            continue
        name = found["name"].lower()
        if name in HIDDEN:
            closing = re.compile(rf"</{name}\s*>", re.IGNORECASE).search(html, at)
            at = at if found["close"] else closing.end() if closing else len(html)
        elif name in ELEMENTS and found["close"]:
            kept += closed(opened, name)
        elif name in ELEMENTS:
            kept.append(f"<{name}{attributes(name, found['attributes'], is_picture)}>")
            if name not in EMPTY:
                opened.append(name)
                if len(opened) > MAX_NESTED:
                    return None
    kept.append(text(html[at:]))
    kept += [f"</{name}>" for name in reversed(opened)]
    shown = "".join(kept)
    return shown if len(shown) <= 2 * len(html) + 100 else None


def text(words: str) -> str:
    """Return text between elements; its character references stay."""
    return words.replace("<", "&lt;").replace(">", "&gt;")


def end_of(html: str, at: int, mark: str) -> int:
    """Return where a comment or declaration ends."""
    end = html.find(mark, at)
    return len(html) if end < 0 else end + len(mark)


def closed(opened: list[str], name: str) -> list[str]:
    """Close an element and all that are open inside it; nothing if it is not open."""
    if name not in opened:
        return []
    ended = []
    while True:
        last = opened.pop()
        ended.append(f"</{last}>")
        if last == name:
            return ended


def attributes(name: str, given: str, is_picture: Callable[[str], bool]) -> str:
    """Return the attributes of an element that are kept, as text."""
    kept = {}
    for found in ATTRIBUTE.finditer(given):
        attribute = found[1].lower()
        value = found[2] or found[3] or found[4] or ""
        if attribute in NUMBERS and NUMBER.fullmatch(value):
            kept[attribute] = value
        elif attribute in WORDS:
            kept[attribute] = value.replace("&quot;", '"').replace("&amp;", "&")
        elif (name, attribute) == ("img", "src") and is_picture(value):
            kept[attribute] = value
    return "".join(f' {attribute}="{escape(value)}"' for attribute, value in kept.items())
