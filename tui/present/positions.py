"""Positions with their exits: what is held, at what price, and where it ends by itself."""

from __future__ import annotations

from core.clock import short_time
from core.snapshot import ExitsView, PositionView
from tui.present.blotter import close_lines, trade_instrument, window
from tui.present.line import Line, Panel, Role, Span, spread_out
from tui.present.pnl import money_role
from tui.present.scene import Scene
from tui.present.text import fit, money, signed

UNKNOWN = "—"


def present_positions(scene: Scene, width: int, height: int) -> Panel:
    """Return the positions' panel: side in a word, P&L, the exits, and what ``k`` would do."""
    if scene.snapshot is None:
        return Panel("POSITIONS", (), doubt=scene.doubt())
    positions = scene.snapshot.positions
    lines: list[Line] = [(Span(" flat: no position", "dim"),)]
    chosen = chosen_position(scene)
    detail = [] if chosen is None else _detail(chosen)
    if positions:
        rows = [_position(position, width - 1) for position in positions]
        is_focused = scene.focus == "positions"
        room = max(1, height - 3 - len(detail))
        lines = window(rows, scene.position_row, room, is_focused=is_focused)
    lines += detail
    lines += close_lines(scene.snapshot, trade_instrument(scene), width)
    held = sum(1 for position in positions if position.lots)
    return Panel("POSITIONS", lines, f"{held} open", scene.doubt())


def chosen_position(scene: Scene) -> PositionView | None:
    """Return the position that the keys are about, else the first one that is open."""
    if scene.snapshot is None:
        return None
    held = [position for position in scene.snapshot.positions if position.lots]
    name = trade_instrument(scene)
    return next((each for each in held if each.instrument == name), held[0] if held else None)


def _position(position: PositionView, width: int) -> Line:
    side: Role = "up" if position.lots > 0 else "down" if position.lots < 0 else "dim"
    word = "▲ LONG" if position.lots > 0 else "▼ SHORT" if position.lots < 0 else "FLAT"
    left = [Span(fit(position.instrument, 9)), Span(fit(word, 8), side)]
    if position.lots:
        left.append(Span(position.qty.lstrip("-")))
        if position.doing:
            left.append(Span(f" {position.doing}", "warn"))
        value, name = position.unrealized, ""
    else:
        value, name = position.realized, "realized "
    return spread_out(
        tuple(left), (Span(f" {name}", "dim"), Span(f"{signed(value)} ", money_role(value))), width
    )


def _detail(position: PositionView) -> list[Line]:
    """Return entry and mark, then the exits, one a line."""
    exits = position.exits
    mark = UNKNOWN if position.mark is None else money(position.mark)
    first: Line = (
        Span(" entry  ", "dim"), Span(money(position.average_price)),
        Span("  mark ", "dim"), Span(mark),
    )  # fmt: skip
    age = Span(f"{short_time(position.held_s * 1000)} old")
    if exits is None:
        return [first, (Span(" exits  —", "dim"),), (Span(" time   ", "dim"), age)]
    if exits.blind:
        first = (Span(f" exits cannot act: {exits.blind}", "error"),)
    return [
        first,
        _level("stop", exits.stop, exits.stop_bps, exits),
        _level("target", exits.target, exits.target_bps, exits),
        (Span(" time   ", "dim"), Span(time_left(exits)), Span("  ", "dim"), age),
    ]


def _level(name: str, price: str | None, bps: float | None, exits: ExitsView) -> Line:
    if price is None:
        return (Span(f" {name:<7}", "dim"), Span("off", "warn" if name == "stop" else "dim"))
    hand = (Span(" by hand", "accent"),) if name in exits.by_hand else ()
    return (
        Span(f" {name:<7}", "dim"), Span(price, "strong"), Span(f" {distance(bps)}", "text"), *hand
    )  # fmt: skip


def distance(bps: float | None) -> str:
    """Return a distance in bps with its sign; ``—`` without a book to measure from."""
    return UNKNOWN if bps is None else f"{bps:+.1f} bps"


def time_left(exits: ExitsView) -> str:
    """Return what is left until the time stop."""
    if exits.left_s is None:
        return "off"
    return f"{short_time(int(exits.left_s * 1000))} left" if exits.left_s > 0 else "due now"


def exits_line(position: PositionView) -> Line:
    """Return the exits of a position in one short line, for a small terminal."""
    exits = position.exits
    if exits is None:
        return (Span(" exits —", "dim"),)
    if exits.blind:
        return (Span(f" exits cannot act: {exits.blind}", "error"),)
    stop, target = exits.stop or "off", exits.target or "off"
    left = "off" if exits.left_s is None else short_time(max(0, int(exits.left_s * 1000)))
    return (
        Span(" stop ", "dim"), Span(stop, "strong"), Span(_short(exits.stop_bps)),
        Span(" tgt ", "dim"), Span(target, "strong"), Span(_short(exits.target_bps)),
        Span(f" {left}", "dim"),
    )  # fmt: skip


def _short(bps: float | None) -> str:
    return "" if bps is None else f" {bps:+.0f}"


def planned_lines(exits: ExitsView, width: int, *, is_tall: bool) -> list[Line]:
    """Return the exits that an entry will carry: with prices where there is room."""
    time = "no time stop" if exits.left_s is None else f"after {exits.left_s:g} s"
    stop = "off" if exits.stop is None else f"{exits.stop} {distance(exits.stop_bps)}"
    target = "off" if exits.target is None else f"{exits.target} {distance(exits.target_bps)}"
    if is_tall:
        right = (Span(f"{time} ", "dim"),)
        return [
            spread_out((Span(" stop   ", "dim"), Span(stop)), right, width),
            (Span(" target ", "dim"), Span(target)),
        ]
    stop = "off" if exits.stop_bps is None else f"{exits.stop_bps:+g}"
    target = "off" if exits.target_bps is None else f"{exits.target_bps:+g} bps"
    return [
        (Span(" stop ", "dim"), Span(stop), Span(" target ", "dim"), Span(target),
         Span(f" {time}", "dim"))
    ]  # fmt: skip


def reverse_lines(position: PositionView) -> list[str]:
    """Return exactly what reversing a position sends, for the trader to agree to."""
    qty = position.qty.lstrip("-")
    out, back = ("SELL", "LONG") if position.lots > 0 else ("BUY", "SHORT")
    other = "SHORT" if back == "LONG" else "LONG"
    return [
        f"{position.instrument} is {back} {qty} @ {money(position.average_price)}.",
        "",
        f"1. {out} {qty}: the position is closed, its orders are canceled.",
        f"2. {out} up to {qty} more, through the gate: {other}, with exits of its own.",
        "",
        "If the gate refuses the second step, you are flat.",
    ]
