"""Charts as inline SVG: lines, areas and bars, coloured by the page's style sheet.

No script and nothing from outside. Floats are for drawing only; texts are escaped here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

import msgspec

WIDTH = 860
HEIGHT = 230
LEFT, RIGHT, TOP, BOTTOM = 74, 12, 12, 26
TICKS_MIN = 3

Scale = Callable[[float], float]


class Series(msgspec.Struct, frozen=True):
    """A line of (x, y) in data units."""

    name: str
    style: str
    """Class in the style sheet."""
    points: Sequence[tuple[float, float]]
    is_area: bool = False
    """Filled down (or up) to zero."""
    is_stepped: bool = False
    """Keeps its value until the next point."""


class Bar(msgspec.Struct, frozen=True):
    """One bar; ``title`` shows when the pointer rests on it."""

    value: float
    title: str


def line_chart(series: Sequence[Series], label_x: Callable[[float], str], what: str) -> str:
    """Return a chart of ``series``; zero is always in view. Empty without two points."""
    points = [point for one in series for point in one.points]
    if len({x for x, _ in points}) < 2:
        return ""
    low_x, high_x = min(x for x, _ in points), max(x for x, _ in points)
    place_x = _scale(low_x, high_x, LEFT, WIDTH - RIGHT)
    ticks, place_y = _y_axis([y for _, y in points])
    parts = [_grid(ticks, place_y)]
    parts += [_path(one, place_x, place_y) for one in series]
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        x = low_x + share * (high_x - low_x)
        parts.append(_text(place_x(x), HEIGHT - 8, label_x(x), anchor))
    return _svg(parts, what)


def bar_chart(bars: Sequence[Bar], what: str) -> str:
    """Return a chart of bars in the given order, up for gains; empty without bars."""
    if not bars:
        return ""
    ticks, place_y = _y_axis([bar.value for bar in bars])
    step = (WIDTH - LEFT - RIGHT) / len(bars)
    gap = min(2.0, step * 0.15)
    # A few bars do not fill the width: they would look like walls.
    wide = min(step - gap, 22.0)
    parts = [_grid(ticks, place_y)]
    zero = place_y(0.0)
    for place, bar in enumerate(bars):
        y = place_y(bar.value)
        x = LEFT + (place + 0.5) * step - wide / 2
        style = "gain" if bar.value >= 0 else "loss"
        parts.append(
            f'<rect class="{style}" x="{x:.2f}" y="{min(y, zero):.2f}" width="{wide:.2f}" '
            f'height="{max(abs(y - zero), 0.5):.2f}"><title>{escape(bar.title)}</title></rect>'
        )
    return _svg(parts, what)


def nice_ticks(low: float, high: float) -> list[float]:
    """Return round values that cover ``low`` to ``high``, at least ``TICKS_MIN``, even steps."""
    span = (high - low) or abs(high) or 1.0
    step: float = 10.0 ** math.floor(math.log10(span))
    while span / step < TICKS_MIN:
        step /= 2 if round(step / 10 ** math.floor(math.log10(step))) != 5 else 2.5
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [place * step for place in range(first, max(last, first + 1) + 1)]


def _y_axis(values: Sequence[float]) -> tuple[list[float], Scale]:
    ticks = nice_ticks(min(0.0, *values), max(0.0, *values))
    return ticks, _scale(ticks[0], ticks[-1], HEIGHT - BOTTOM, TOP)


def _scale(low: float, high: float, start: float, end: float) -> Scale:
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _grid(ticks: Sequence[float], place_y: Scale) -> str:
    parts = []
    digits = max(0, math.ceil(-math.log10(ticks[1] - ticks[0]) - 1e-9))
    digits += f"{ticks[1] - ticks[0]:.{digits}f}" == f"{0:.{digits}f}"
    for tick in ticks:
        y = place_y(tick)
        style = "zero" if abs(tick) < 1e-12 else "grid"
        parts.append(
            f'<line class="{style}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.2f}" y2="{y:.2f}"/>'
        )
        parts.append(_text(LEFT - 8, y + 4, f"{tick:,.{digits}f}", "end"))
    return "".join(parts)


def _path(series: Series, place_x: Scale, place_y: Scale) -> str:
    words: list[str] = []
    for x, y in series.points:
        at_x, at_y = f"{place_x(x):.2f}", f"{place_y(y):.2f}"
        if not words:
            words.append(f"M{at_x} {at_y}")
        elif series.is_stepped:
            words.append(f"H{at_x}V{at_y}")
        else:
            words.append(f"L{at_x} {at_y}")
    if series.is_area:
        zero = place_y(0.0)
        first, last = series.points[0][0], series.points[-1][0]
        words.append(f"L{place_x(last):.2f} {zero:.2f}L{place_x(first):.2f} {zero:.2f}Z")
    return f'<path class="{series.style}" d="{"".join(words)}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.2f}" y="{y:.2f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(parts: Sequence[str], what: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(what)}">'
        f"{''.join(parts)}</svg>"
    )
