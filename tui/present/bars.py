"""Bars, gauges and curves out of block characters: numbers in, text in exact cells out."""

from __future__ import annotations

from collections.abc import Sequence

from tui.present.line import Line, Role, Span

_RIGHT = " ▏▎▍▌▋▊▉█"
_UP = " ▁▂▃▄▅▆▇█"


def bar_right(share: float, width: int) -> str:
    """Return a bar growing rightwards over ``share`` (clamped to [0, 1]) of ``width`` cells."""
    eighths = round(min(1.0, max(0.0, share)) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_RIGHT[rest] if rest else "")).ljust(width)


def bar_left(share: float, width: int) -> str:
    """Return a bar growing leftwards; Unicode has only halves and one eighth on this side."""
    halves = round(min(1.0, max(0.0, share)) * width * 2)
    full, rest = divmod(halves, 2)
    if not full and not rest and share > 0:
        return "▕".rjust(width)
    return (("▐" if rest else "") + "█" * full).rjust(width)


def signed_bar(value: float, half: int) -> Line:
    """Return a bar left or right of a centre line; ``value`` in [-1, 1], ``2 * half + 1`` cells."""
    left = bar_left(-value, half) if value < 0 else " " * half
    right = bar_right(value, half) if value > 0 else " " * half
    return (Span(left, "down"), Span("│", "dim"), Span(right, "up"))


def sparkline(values: Sequence[float], width: int, low: float, high: float) -> str:
    """Return the newest ``width`` values as eighth blocks between ``low`` and ``high``."""
    span = (high - low) or 1.0
    newest = values[-width:] if width > 0 else ()
    marks = (_UP[1 + round(min(1.0, max(0.0, (v - low) / span)) * 7)] for v in newest)
    return "".join(marks).rjust(width)


def gauge(p: float, base: float, width: int, low: float, high: float) -> Line:
    """Return a gauge from ``low`` to ``high`` filled from one half to ``p``.

    The centre mark is one half, ``╎`` is the base rate: the number to beat.
    """
    last = width - 1

    def cell(x: float) -> int:
        return round(min(1.0, max(0.0, (x - low) / (high - low))) * last)

    centre, at, tick = cell(0.5), cell(p), cell(base)
    role: Role = "up" if p > 0.5 else "down"
    spans = []
    for x in range(width):
        is_filled = centre <= x <= at or at <= x <= centre
        if x == centre:
            spans.append(Span("┃", "accent" if tick == centre else "strong"))
        elif x == tick:
            spans.append(Span("╎", "accent"))
        elif is_filled:
            spans.append(Span("█", role))
        else:
            spans.append(Span("─", "faint"))
    return merge(spans)


def merge(spans: Sequence[Span]) -> Line:
    """Return the spans with neighbours of one role joined: fewer escapes on the wire."""
    out: list[Span] = []
    for text, role in spans:
        if out and out[-1].role == role:
            out[-1] = Span(out[-1].text + text, role)
        else:
            out.append(Span(text, role))
    return tuple(out)


def curve(values: Sequence[float], width: int, height: int) -> list[Line]:
    """Return the newest ``width`` values as columns in eighths of a cell, low at the bottom.

    The bottom is the lowest value on show, not zero: label it. Colour is the sign of the value.
    Shapes: ``height`` lines of ``width`` cells, newest at the right.
    """
    newest = list(values[-width:]) if width > 0 else []
    if not newest or height <= 0:
        return []
    low, high = min(newest), max(newest)
    scale = (8 * height - 1) / ((high - low) or 1.0)
    heights = [1 + round((value - low) * scale) for value in newest]
    roles: list[Role] = ["up" if v > 0 else "down" if v < 0 else "dim" for v in newest]
    pad = Span(" " * (width - len(newest)))
    lines = []
    for y in range(height):
        floor = 8 * (height - 1 - y)
        marks = [_UP[min(8, max(0, tall - floor))] for tall in heights]
        lines.append(merge([pad, *(Span(m, r) for m, r in zip(marks, roles, strict=True))]))
    return lines
