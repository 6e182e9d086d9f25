"""Draw the scores of an episode over its steps, as a PNG image."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from PIL import Image, ImageDraw, ImageFont

from kernel_env.untrusted_text import escape_line

WIDTH, HEIGHT = 760, 240
"""Size of the image, pixels."""
LEFT, RIGHT, TOP, BOTTOM = 74, 20, 30, 34
"""Margins, pixels."""
SCALE = 2
"""How much larger it is drawn before it is made smooth."""
INK, PALE, BEST, CHOSEN = "#57606a", "#d0d7de", "#0969da", "#bc4c00"


@dataclass(frozen=True, kw_only=True)
class Point:
    """A graded submission."""

    step: int
    score: float
    """The public score."""


def draw_scores(
    points: Sequence[Point],
    *,
    steps: int,
    metric: str,
    higher_is_better: bool,
    chosen_step: int | None = None,
) -> bytes:
    """Return the chart as a PNG image.

    Args:
        points: the submissions, at least one, in the order of their steps; their scores are finite.
        steps: the episode's number of steps, the range of the horizontal axis.
        metric: the metric's name, the title of the vertical axis.
        higher_is_better: which scores are better.
        chosen_step: the step whose submission counts, which is marked.
    """
    image = Image.new("RGB", (WIDTH * SCALE, HEIGHT * SCALE), "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(12 * SCALE)
    scores = [point.score for point in points]
    ticks = round_values(min(scores), max(scores))
    low, high = min(ticks[0], *scores), max(ticks[-1], *scores)

    def at(step: float, score: float) -> tuple[float, float]:
        across = (step - 0.5) / max(1, steps)
        up = (score - low) / (high - low)
        return (
            SCALE * (LEFT + across * (WIDTH - LEFT - RIGHT)),
            SCALE * (HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)),
        )

    digits = max(0, 1 - math.floor(math.log10(ticks[1] - ticks[0])))
    for tick in ticks:
        x, y = at(0.5, tick)
        draw.line([(x, y), (SCALE * (WIDTH - RIGHT), y)], PALE, SCALE)
        label = f"{tick:.4g}" if abs(tick) >= 1e5 else f"{tick:.{min(digits, 6)}f}"
        draw.text((x - 8 * SCALE, y), label, INK, font, anchor="rm")
    for number in step_values(steps):
        x, _ = at(number, low)
        y = SCALE * (HEIGHT - BOTTOM + 6)
        draw.text((x, y), str(number), INK, font, anchor="mt")
    better = max if higher_is_better else min
    line: list[tuple[float, float]] = []
    for point, best in zip(points, accumulate(scores, better), strict=True):
        if line:
            line.append((at(point.step, best)[0], line[-1][1]))
        line.append(at(point.step, best))
    line.append((SCALE * (WIDTH - RIGHT), line[-1][1]))
    draw.line(line, BEST, 2 * SCALE)
    for point in points:
        chosen = point.step == chosen_step
        radius = (5 if chosen else 3) * SCALE
        draw.circle(at(point.step, point.score), radius, CHOSEN if chosen else BEST)
    arrow = "higher" if higher_is_better else "lower"
    title = f"public score ({escape_line(metric, 60)}, {arrow} is better) of each submission"
    title += "; line: best so far" + ("; large dot: the one that counts" if chosen_step else "")
    draw.text((8 * SCALE, 8 * SCALE), printable(title), INK, font)
    draw.text((SCALE * (WIDTH - RIGHT), SCALE * (HEIGHT - 6)), "step", INK, font, anchor="rb")
    small = image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    small.quantize(256).save(file, "PNG", optimize=True)
    return file.getvalue()


def printable(text: str) -> str:
    """Return a text in characters that the font has."""
    return text.encode("latin-1", "replace").decode("latin-1")


def round_values(low: float, high: float) -> list[float]:
    """Return about four round values from just below `low` to just above `high`."""
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        margin = abs(low) / 10 or 1.0
        low, high = low - margin, high + margin
    rough = (high - low) / 3
    power = 10.0 ** math.floor(math.log10(rough))
    size = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)
    first = math.floor(low / size)
    return [(first + i) * size for i in range(math.ceil(high / size) - first + 1)]


def step_values(steps: int) -> list[int]:
    """Return at most eleven numbers of steps for the horizontal axis."""
    size = next(s for e in range(9) for s in (10**e, 2 * 10**e, 5 * 10**e) if steps / s <= 10)
    return sorted({1, *range(size, steps + 1, size)} - ({size} if size == 2 else set()))
