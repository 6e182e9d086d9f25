"""Keep of an SVG drawing what can only be looked at, and number what its parts refer to.

The drawings come from our own specifications, with names of agents and tasks in them as data. The
elements and attributes are a list, so that no name can become a link, a script or a request.
"""

import re
from xml.etree import ElementTree as ET

NAMESPACE = "http://www.w3.org/2000/svg"
ELEMENTS = {"svg", "g", "path", "rect", "circle", "line", "text", "tspan", "defs", "clipPath"}
ATTRIBUTES = {
    *("x", "y", "x1", "x2", "y1", "y2", "dx", "dy", "cx", "cy", "r", "rx", "ry", "width", "height"),
    *("d", "transform", "viewBox", "opacity", "display", "class", "role", "text-anchor", "fill"),
    *("fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray"),
    *("stroke-dashoffset", "stroke-linecap", "stroke-linejoin", "stroke-miterlimit"),
    *("font-family", "font-size", "font-weight", "font-style", "pointer-events"),
    *("aria-hidden", "aria-label", "aria-roledescription"),
}
CLIP = re.compile(r"url\(#(\w+)\)")


def inert_svg(drawing: str, prefix: str) -> str:
    """Return the drawing as an element of an HTML page.

    Args:
        drawing: an SVG document.
        prefix: begins the IDs of its parts; no two drawings of a page share it.
    """
    root = ET.fromstring(drawing)  # noqa: S314 - written by the renderer, not by others
    found = [element.get("id", "") for element in root.iter() if element.get("id")]
    names = {name: f"{prefix}-{number}" for number, name in enumerate(found, 1)}
    kept = inert(root, names)
    assert kept is not None, "the drawing is an SVG element"
    return ET.tostring(kept, encoding="unicode", short_empty_elements=True)


def inert(element: ET.Element, names: dict[str, str]) -> ET.Element | None:
    """Return an element without what is not on the lists; None if it is not itself on them."""
    tag = element.tag.removeprefix(f"{{{NAMESPACE}}}")
    if tag not in ELEMENTS:
        return None
    values = {name: value for name, value in element.items() if name in ATTRIBUTES}
    if element.get("id"):
        values["id"] = names[element.get("id", "")]
    if clip := CLIP.fullmatch(element.get("clip-path", "")):
        values["clip-path"] = f"url(#{names.get(clip[1], '')})"
    kept = ET.Element(tag, values)
    kept.text, kept.tail = element.text, element.tail
    kept.extend(part for child in element if (part := inert(child, names)) is not None)
    return kept
