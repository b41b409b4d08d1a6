"""The price chart: one column a bar, two steps a cell, the price axis on the right.

The axis holds still: it moves only when a price leaves it or uses less than half of it.
A column's glyphs depend on the bar and the axis alone and are cached, so that a frame costs
the newest bar plus joining the rows.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby

import msgspec

from core.snapshot import Bar, InstrumentView
from tui.present.bars import merge
from tui.present.exit_marks import ExitMark, exit_marks
from tui.present.line import Line, Panel, Role, Span
from tui.present.scene import Scene
from tui.present.text import fit, fit_right

_TIMES_S = (15, 30, 60, 120, 300)
SHOWN_S = 120
"""Seconds the chart shows at least, once there are so many."""
_STEPS_S = (1, 2, 5, 10, 15, 30)


class Axis(msgspec.Struct, frozen=True):
    """The price range on show; remembered from frame to frame."""

    instrument: str = ""
    low: float = 0.0
    high: float = 0.0


def present_chart(scene: Scene, last: Axis, width: int, height: int) -> tuple[Panel, Axis]:
    """Return the chart's panel for ``width`` x ``height`` cells and the axis to remember."""
    view = scene.view()
    if view is None:
        return Panel("PRICE", (), doubt=scene.doubt()), last
    title, doubt = f"PRICE {view.name}", scene.market_doubt()
    if not view.bars:
        waiting: tuple[Line, ...] = ((), (Span(" waiting for data: no bar yet", "dim"),))
        return Panel(title, waiting, doubt=doubt), last
    decimals = decimals_of(view.tick_size)
    label = max(8, len(f"{view.bars[-1].close:.{decimals}f}") + 3)
    columns = max(1, width - label - 1)
    step_s = step_of(len(view.bars), columns)
    bars = group(view.bars, step_s)[-columns:]
    axis = next_axis(last, view, bars)
    plot, volume_rows = _rows_of(height - 2)
    lines = _price_lines(bars, axis, plot, columns)
    marks = exit_marks(scene)
    tags = _add_exits(lines, marks, axis)
    _add_axis(lines, view, axis, label, tags)
    lines += _volume(bars, volume_rows, columns)
    lines.append(_times(bars, columns))
    return Panel(title, lines, f"{step_s} s bars · {len(bars) * step_s} s", doubt), axis


def step_of(n_bars: int, columns: int) -> int:
    """Return the seconds a column covers, so that at least ``SHOWN_S`` are on show."""
    wanted = min(SHOWN_S, n_bars)
    return next((step for step in _STEPS_S if step * columns >= wanted), _STEPS_S[-1])


def group(bars: Sequence[Bar], step_s: int) -> Sequence[Bar]:
    """Return the bars joined into bars of ``step_s`` seconds that end on its multiples.

    The newest may be unfinished; joined bars keep the still edges of their seconds.
    """
    if step_s <= 1:
        return bars
    out: list[Bar] = []
    for bar in bars:
        end_s = -(-bar.end_s // step_s) * step_s
        if out and out[-1].end_s == end_s:
            last = out[-1]
            out[-1] = Bar(
                end_s=end_s,
                open=last.open,
                high=max(last.high, bar.high),
                low=min(last.low, bar.low),
                close=bar.close,
                volume=last.volume + bar.volume,
            )
        else:
            out.append(Bar(end_s, bar.open, bar.high, bar.low, bar.close, bar.volume))
    return out


def _rows_of(height: int) -> tuple[int, int]:
    """Split the height: a fifth for volume once there is room for it."""
    volume = height // 5 if height >= 10 else 0
    return max(1, height - volume), volume


def decimals_of(tick_size: str) -> int:
    """Return the number of decimals of a plain decimal text."""
    return len(tick_size.partition(".")[2])


def next_axis(last: Axis, view: InstrumentView, bars: Sequence[Bar]) -> Axis:
    """Return ``last`` while it still serves, else a new range with room on both sides."""
    low, high = min(bar.low for bar in bars), max(bar.high for bar in bars)
    is_inside = last.low <= low and high <= last.high
    if last.instrument == view.name and is_inside and high - low >= 0.4 * (last.high - last.low):
        return last
    least = 8 * float(view.tick_size)
    if last.instrument == view.name and is_inside and last.high - last.low <= 1.6 * least:
        return last
    room = max(0.12 * (high - low), (least - (high - low)) / 2, 0.0)
    return Axis(view.name, low - room, high + room)


@lru_cache(maxsize=4096)
def _column(top: int, bottom: int, high: int, low: int, rows: int) -> str:
    """Return one bar's glyphs from top to bottom; arguments in half rows from the top."""
    marks = []
    for y in range(rows):
        upper, lower = 2 * y, 2 * y + 1
        body = (top <= upper <= bottom, top <= lower <= bottom)
        wick = (high <= upper <= low, high <= lower <= low)
        if body == (True, True):
            mark = "█"
        elif body == (True, False):
            mark = "┃" if wick[1] else "▀"
        elif body == (False, True):
            mark = "┃" if wick[0] else "▄"
        else:
            mark = {(True, True): "│", (True, False): "╵", (False, True): "╷"}.get(wick, " ")
        marks.append(mark)
    return "".join(marks)


def _price_lines(bars: Sequence[Bar], axis: Axis, rows: int, width: int) -> list[Line]:
    scale = (2 * rows - 1) / ((axis.high - axis.low) or 1.0)

    def at(price: float) -> int:
        return round((axis.high - price) * scale)

    columns = [
        _column(at(max(b.open, b.close)), at(min(b.open, b.close)), at(b.high), at(b.low), rows)
        for b in bars
    ]
    roles: list[Role] = ["up" if bar.close >= bar.open else "down" for bar in bars]
    pad = Span(" " * (width - len(bars)))
    return [_join(pad, [column[y] for column in columns], roles) for y in range(rows)]


def _join(pad: Span, marks: list[str], roles: list[Role]) -> Line:
    """Join one row's glyphs; a blank takes the role of what is before it."""
    spans = [pad]
    start, role = 0, roles[0]
    for x, mark in enumerate(marks):
        if roles[x] != role and mark != " ":
            spans.append(Span("".join(marks[start:x]), role))
            start, role = x, roles[x]
    spans.append(Span("".join(marks[start:]), role))
    return tuple(spans)


def _add_exits(
    lines: list[Line], marks: tuple[ExitMark, ...], axis: Axis
) -> dict[int, tuple[str, Role]]:
    """Draw a line where each exit lies, behind the bars; return its tag by row.

    One off the axis has its tag at the edge, for the axis follows the bars alone.
    """
    rows, tags = len(lines), dict[int, tuple[str, Role]]()
    scale = (2 * rows - 1) / ((axis.high - axis.low) or 1.0)
    for mark in marks:
        is_above = mark.value > axis.high
        if is_above or mark.value < axis.low:
            tags.setdefault(0 if is_above else rows - 1, (
                mark.beyond(is_above=is_above) + mark.price, mark.role
            ))  # fmt: skip
            continue
        y = min(rows - 1, max(0, round((axis.high - mark.value) * scale) // 2))
        lines[y] = _behind(lines[y], mark.role)
        tags.setdefault(y, (f"{mark.letter} {mark.price}", mark.role))
    return tags


def _behind(line: Line, role: Role) -> Line:
    """Return the line with its blanks dashed."""
    spans: list[Span] = []
    for text, own in line:
        for is_blank, run in groupby(text, key=lambda mark: mark == " "):
            part = "".join(run)
            spans.append(Span("┄" * len(part), role) if is_blank else Span(part, own))
    return merge(spans)


def _add_axis(
    lines: list[Line], view: InstrumentView, axis: Axis, label: int,
    tags: dict[int, tuple[str, Role]],
) -> None:  # fmt: skip
    """Put labels, the exits' tags and the last price's tag at the right of the price rows."""
    decimals = decimals_of(view.tick_size)
    rows = len(lines)
    every = 3 if rows < 12 else 4
    close, opened = view.bars[-1].close, view.bars[-1].open
    place = (axis.high - close) / ((axis.high - axis.low) or 1.0)
    tag_row = min(rows - 1, max(0, round(place * (2 * rows - 1)) // 2))
    for y in range(rows):
        if y == tag_row:
            mark, role = ("▲", "up_tag") if close >= opened else ("▼", "down_tag")
            text = Span(fit(f"{mark}{close:.{decimals + 1}f}", label), role)  # type: ignore[arg-type]
            lines[y] = (*lines[y], Span("┤", "dim"), text)
        elif y in tags:
            lines[y] = (*lines[y], Span("┤", "dim"), Span(fit(tags[y][0], label), tags[y][1]))
        elif y % every == 0:
            price = axis.high - (2 * y + 0.5) / max(1, 2 * rows - 1) * (axis.high - axis.low)
            text = Span(fit_right(f"{price:.{decimals}f}", label - 1), "dim")
            lines[y] = (*lines[y], Span("┤", "faint"), text)
        else:
            lines[y] = (*lines[y], Span("│", "faint"))


def _volume(bars: Sequence[Bar], rows: int, width: int) -> list[Line]:
    biggest = max((bar.volume for bar in bars), default=0.0)
    if rows <= 0:
        return []
    blocks = " ▁▂▃▄▅▆▇█"
    pad = Span(" " * (width - len(bars)))
    heights = [round(bar.volume / biggest * rows * 8) if biggest > 0 else 0 for bar in bars]
    out: list[Line] = []
    for y in range(rows):
        floor = (rows - 1 - y) * 8
        marks = "".join(blocks[min(8, max(0, height - floor))] for height in heights)
        out.append((pad, Span(marks, "faint"), Span("│", "faint")))
    out[0] = (*out[0], Span(f" {biggest:.3g}", "dim"))
    out[-1] = (*out[-1], Span(" vol", "dim"))
    return out


def _times(bars: Sequence[Bar], width: int) -> Line:
    """Return ``hh:mm:ss`` UTC under the bars that end on a round time."""
    text = [" "] * width
    start = width - len(bars)
    free = 0
    step_s = max(1, bars[-1].end_s - bars[-2].end_s) if len(bars) > 1 else 1
    every_s = next((t for t in _TIMES_S if t >= 14 * step_s and t % step_s == 0), _TIMES_S[-1])
    for x, bar in enumerate(bars):
        place = start + x
        if bar.end_s % every_s == 0 and place >= free and place + 9 <= width:
            stamp = "╵" + time.strftime("%H:%M:%S", time.gmtime(bar.end_s))
            text[place : place + len(stamp)] = stamp
            free = place + len(stamp) + 1
    return merge([Span("".join(text), "dim"), Span("┘", "faint"), Span(" UTC", "dim")])
