"""Draw pictures of vectors as a few pixels, and check pictures of pixels.

What draws vectors would load whatever file of this machine a picture names, so only shapes are
drawn.
"""

import io
import re

from kernel_env.errors import TaskError, needs_extra

OVERSAMPLING = 4
"""Pixels that are drawn for each side of a pixel of the result."""
SIDE = re.compile(r'viewBox="[-\d.]+[ ,]+[-\d.]+[ ,]+([\d.]+)[ ,]+([\d.]+)"')


SHAPES = frozenset(
    {
        *("svg", "g", "defs", "symbol", "use", "title", "desc", "clipPath", "mask"),
        *("path", "circle", "ellipse", "rect", "line", "polygon", "polyline"),
        *("linearGradient", "radialGradient", "stop"),
    }
)
"""The elements that a picture can have: they load nothing."""


def check_shapes(svg: str) -> None:
    """Raise `ValueError` for a picture with other elements, or that refers to another file."""
    from xml.etree import ElementTree as ET

    for element in ET.fromstring(svg).iter():  # noqa: S314 - expat bounds what entities expand to
        tag = element.tag.rpartition("}")[2]
        if tag not in SHAPES:
            raise ValueError(f"it has the element {tag}; only shapes are drawn")
        for name, value in element.attrib.items():
            refers = name.rpartition("}")[2] == "href" or "url(" in value
            if refers and not re.match(r"(?:url\(['\"]?)?#", value.strip()):
                raise ValueError(f"its {name.rpartition('}')[2]} refers to another file")


def side_of(svg: str) -> float:
    """Return the longer side of a picture in its own units, by its `viewBox`; 24 without one."""
    found = SIDE.search(svg)
    return max(map(float, found.groups())) if found else 24.0


FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
MAX_PIXELS = 4096 * 4096
"""The pixels of the largest picture that an agent is given."""


def check_picture(data: bytes) -> None:
    """Raise `ValueError` unless a file is a picture of pixels that is not too large."""
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"it has {image.width} times {image.height} pixels, which is too much")
        image.verify()


def draw_svg(svg: bytes, size: int) -> list[int]:
    """Draw an SVG picture in black on white, as grey values from 0 to 255.

    Args:
        svg: the file.
        size: the side of the result in pixels.

    Returns:
        The pixels row by row, `size` times `size` of them.

    Raises:
        TaskError: the file is no picture, or holds more than shapes.
        MissingExtra: the library that draws is not installed.
    """
    import numpy as np
    from PIL import Image

    with needs_extra("drawing SVG", "report"):
        import vl_convert
    try:
        text = svg.decode("utf-8")
        check_shapes(text)
        png = vl_convert.svg_to_png(text, scale=OVERSAMPLING * size / side_of(text))
    except (ValueError, SyntaxError) as error:
        raise TaskError(f"no SVG picture: {error}") from error
    with Image.open(io.BytesIO(png)) as image:
        picture = image.convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    grey = Image.alpha_composite(white, picture).convert("L")
    small = grey.resize((size, size), Image.Resampling.BOX)
    return [int(value) for value in np.asarray(small).ravel()]
