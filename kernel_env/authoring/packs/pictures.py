"""Draw pictures of vectors as a few pixels."""

import io
import re

from kernel_env.errors import TaskError, UsageError

OVERSAMPLING = 4
"""Pixels that are drawn for each side of a pixel of the result."""
SIDE = re.compile(r'viewBox="[-\d.]+[ ,]+[-\d.]+[ ,]+([\d.]+)[ ,]+([\d.]+)"')


def side_of(svg: str) -> float:
    """Return the longer side of a picture in its own units, by its `viewBox`; 24 without one."""
    found = SIDE.search(svg)
    return max(map(float, found.groups())) if found else 24.0


def draw_svg(svg: bytes, size: int) -> list[int]:
    """Draw an SVG picture in black on white, as grey values from 0 to 255.

    Args:
        svg: the file.
        size: the side of the result in pixels.

    Returns:
        The pixels row by row, `size` times `size` of them.

    Raises:
        TaskError: the file is no picture.
        UsageError: the library that draws is not installed.
    """
    import numpy as np
    from PIL import Image

    try:
        import vl_convert
    except ImportError as error:
        raise UsageError(
            "drawing SVG needs the extra `report`; run: pip install 'kernel-env[report]'"
        ) from error
    try:
        text = svg.decode("utf-8")
        png = vl_convert.svg_to_png(text, scale=OVERSAMPLING * size / side_of(text))
    except ValueError as error:
        raise TaskError(f"no SVG picture: {error}") from error
    with Image.open(io.BytesIO(png)) as image:
        picture = image.convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    grey = Image.alpha_composite(white, picture).convert("L")
    small = grey.resize((size, size), Image.Resampling.BOX)
    return [int(value) for value in np.asarray(small).ravel()]
