"""The essentials for a small terminal: forecasts, agent, position and P&L in eight lines."""

from __future__ import annotations

from tui.present.agent import agent_word
from tui.present.blotter import close_acts
from tui.present.line import Line, Panel, Span
from tui.present.pnl import money_role
from tui.present.positions import chosen_position, exits_line
from tui.present.scene import Scene
from tui.present.signals import forecast_lines, signal_line
from tui.present.status import notice_line
from tui.present.text import signed


def present_essentials(scene: Scene, width: int, height: int) -> Panel:
    """Return forecasts, agent, position and P&L for ``width`` x ``height`` cells."""
    view, snapshot = scene.view(), scene.snapshot
    if view is None or snapshot is None:
        return Panel("DESK", (), doubt=scene.doubt())
    lines: list[Line] = []
    position = chosen_position(scene)
    for forecast in view.forecasts:
        lines += forecast_lines(forecast, width, scene.min_labels)
    if position is not None and len(view.forecasts) > 1:
        del lines[1]  # the bar of the first: its line goes to the exits
    if not view.forecasts:
        lines.append((Span(" no forecast yet: waiting for signals", "dim"),))
    lines += [
        (Span(" agent ", "dim"), *agent_word(view.agent, view.agent_note)),
        (
            Span(" P&L ", "dim"),
            Span(signed(snapshot.pnl.total), money_role(snapshot.pnl.total)),
            Span(f" {snapshot.pnl.currency}  fees ", "dim"),
            Span(snapshot.pnl.fees),
        ),
    ]
    if position is not None:
        lines.append(exits_line(position))
    words = close_acts(snapshot, view.name)
    lines.append(
        (Span(" "), Span(" k ", "key"), Span(f" {words}", "warn")) if words
        else (Span(f" flat: nothing open in {view.name}", "dim"),)
    )  # fmt: skip
    room = height - 1 - len(lines)
    lines += [signal_line(signal, width) for signal in view.signals[: max(0, room)]]
    return Panel("DESK", lines, "", scene.market_doubt())


def present_notices(scene: Scene, width: int, height: int) -> Panel:
    """Return the engine's notices, newest first."""
    del width
    if scene.snapshot is None:
        return Panel("NOTICES", (), doubt=scene.doubt())
    newest = sorted(scene.snapshot.notices, key=lambda notice: -notice.number)
    lines = [notice_line(notice) for notice in newest[: max(0, height - 1)]]
    if not lines:
        lines = [(Span(" nothing to tell", "dim"),)]
    return Panel("NOTICES", lines, f"{len(newest)}")
