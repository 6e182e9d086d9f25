"""Make the outputs of a cell harmless to whoever opens a notebook.

What a program displays can hold scripts, pictures of other machines, styles that cover a page, and
images that need all memory. Jupyter shows an output in whatever form it knows, and nbconvert shows
HTML, SVG and Markdown as they are. So a notebook shows only forms that cannot act:

| form | what is shown |
|---|---|
| text, errors | as they are |
| HTML | tables, lists, headings, pictures inside; no scripts, styles, links (`inert_html`) |
| Markdown | without its HTML and its pictures |
| PNG, JPEG, GIF | as they are, up to `MAX_PIXELS` |
| SVG | as a picture, in which nothing runs |
| LaTeX | unless a command of it can do more than show a formula |
| JSON | as it is |
| anything else | named by its type and its size |

The outputs as they came stay in the metadata of their cell.
"""

import base64
import re
from collections.abc import Iterable
from typing import Any

from kernel_env.episode.inert_html import inert_html
from kernel_env.kernel.cell import Output
from kernel_env.untrusted_text import quote_name, without_html

MAX_PIXELS = 40_000_000
"""The most pixels of a picture that is shown; a browser needs 4 bytes for each."""
PICTURES = ("image/png", "image/jpeg", "image/gif")
INSIDE = re.compile(r"data:(image/(?:png|jpeg|gif));base64,([A-Za-z0-9+/=\s]*)")
"""The address of a picture inside a page."""
MAX_FORMULA = 100_000
"""The longest TeX that is shown, in characters."""
COMMANDS = re.compile(
    r"\\(?:href|url|html\w*|class|style|cssId|data|require|def|let|gdef|edef|xdef|futurelet|csname"
    r"|newcommand|renewcommand|providecommand|newenvironment|renewenvironment|unicode|mmlToken"
    r"|includegraphics|input|bbox|texttip|toggle|\w{0,20}tip)(?![A-Za-z])"
    r"|<(?=[A-Za-z/!?])"
)
"""Commands of TeX that do more than show a formula, in one renderer or another; and HTML."""


def visible(outputs: Iterable[Output]) -> list[Output]:
    """Return outputs as a notebook shows them."""
    return [visible_output(output) for output in outputs]


def visible_output(output: Output) -> Output:
    """Return an output as a notebook shows it."""
    if "data" not in output:
        return output
    data = output["data"]
    shown = {kind: found for kind in data if (found := visible_form(kind, data[kind])) is not None}
    if "image/svg+xml" in data and not shown.keys() & {"text/html", *PICTURES}:
        shown["text/html"] = drawing(str(data["image/svg+xml"]))
    left_out = [
        f"[{quote_name(kind)}, {size_of(value):,} characters: not shown]"
        for kind, value in data.items()
        if kind not in shown
    ]
    if left_out and not shown:
        shown["text/plain"] = "\n".join(left_out[:10])
    metadata = {kind: output["metadata"][kind] for kind in shown if kind in output["metadata"]}
    sizes = {kind: size for kind, value in metadata.items() if (size := size_only(value))}
    return {**output, "data": shown, "metadata": sizes}


def visible_form(kind: str, value: Any) -> Any:
    """Return what is shown of one form of a display; None if nothing is."""
    if kind == "application/json":
        return value
    if not isinstance(value, str):
        return None
    if kind == "text/plain":
        return value
    if kind == "text/html":
        return inert_html(value, is_inside)
    if kind == "text/markdown":
        return str(without_html(value))
    if kind == "text/latex":
        return value if is_plain_formula(value) else None
    if kind in PICTURES:
        return value if is_picture(kind, value) else None
    return None


def drawing(svg: str) -> str:
    """Return an SVG drawing as HTML: in an image nothing runs and nothing is loaded."""
    return f'<img src="data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}">'


def is_plain_formula(tex: str) -> bool:
    """Return whether TeX shows a formula and does nothing else."""
    return len(tex) <= MAX_FORMULA and not COMMANDS.search(tex)


def is_inside(address: str) -> bool:
    """Return whether the address of a picture is that of one inside the page."""
    found = INSIDE.fullmatch(address)
    return bool(found and is_picture(found[1], found[2]))


def is_picture(kind: str, text: str) -> bool:
    """Return whether a text is a picture in base64 that can be shown without harm."""
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except ValueError:  # not only Base64: a page would show the rest as attributes
        return False
    size = picture_size(kind, data)
    return size is not None and 0 < size[0] * size[1] <= MAX_PIXELS


def picture_size(kind: str, data: bytes) -> tuple[int, int] | None:
    """Return width and height of a picture, in pixels; None if it is none of its kind."""
    if kind == "image/png" and data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR":
        return int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    if kind == "image/gif" and data[:6] in (b"GIF87a", b"GIF89a") and len(data) >= 10:
        return int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    if kind == "image/jpeg" and data[:2] == b"\xff\xd8":
        return jpeg_size(data)
    return None


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height of a JPEG picture, from its frame header (ITU T.81, B.2.2)."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(data[at + 7 : at + 9]), int.from_bytes(data[at + 5 : at + 7])
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return None


def size_only(metadata: Any) -> dict[str, int]:
    """Return of a display's metadata how large it is to be shown."""
    if not isinstance(metadata, dict):
        return {}
    return {
        name: value
        for name in ("width", "height")
        if type(value := metadata.get(name)) is int and 0 < value <= 10_000
    }


def size_of(value: Any) -> int:
    """Return the length of a form of a display, in characters."""
    return len(value) if isinstance(value, str) else len(str(value))
