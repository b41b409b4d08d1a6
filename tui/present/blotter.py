"""Working orders and fills: short tables with a cursor, and an exact word on ``k``."""

from __future__ import annotations

from collections.abc import Sequence

from core.clock import short_time
from core.snapshot import FillView, OrderView, Snapshot
from tui.present.line import Line, Panel, Role, Span, spread_out
from tui.present.pnl import money_role
from tui.present.scene import Scene
from tui.present.text import clock_time, fit, fit_right, money, signed, wrap

_STATUS = {
    "PARTIALLY_FILLED": "partial",
    "PENDING_CANCEL": "canceling",
    "UNKNOWN": "UNKNOWN",
}
"""Statuses that have a shorter word; the rest are written small."""


def trade_instrument(scene: Scene) -> str:
    """Return the instrument that ``k`` kills: of the focused row, else the selected one."""
    snapshot = scene.snapshot
    if snapshot is not None:
        if scene.focus == "positions" and snapshot.positions:
            return snapshot.positions[
                min(scene.position_row, len(snapshot.positions) - 1)
            ].instrument
        if scene.focus == "orders" and snapshot.orders:
            return snapshot.orders[min(scene.order_row, len(snapshot.orders) - 1)].instrument
    view = scene.view()
    return view.name if view is not None else ""


def close_words(snapshot: Snapshot, instrument: str) -> str:
    """Return exactly what killing the trade in ``instrument`` does; empty when nothing is open."""
    acts = close_acts(snapshot, instrument)
    return f"{instrument}: {acts}" if acts else ""


def close_acts(snapshot: Snapshot, instrument: str) -> str:
    """Return the acts alone: orders canceled, lots sold or bought; empty when nothing is open."""
    orders = sum(1 for order in snapshot.orders if order.instrument == instrument)
    lots = next((p for p in snapshot.positions if p.instrument == instrument and p.lots), None)
    acts = []
    if orders:
        acts.append(f"cancel {orders} order{'s' if orders > 1 else ''}")
    if lots is not None:
        side = "sell" if lots.lots > 0 else "buy"
        acts.append(f"{side} {lots.qty.lstrip('-')} to flat")
    return ", ".join(acts)


def close_lines(snapshot: Snapshot, instrument: str, width: int) -> list[Line]:
    """Return the one or two lines under the positions that say what ``k`` would do now."""
    words = close_words(snapshot, instrument)
    if not words:
        return [(Span(f" k: nothing open in {instrument or 'any instrument'}", "dim"),)]
    first, *rest = wrap(words, width - 6, 2)
    return [
        (Span(" "), Span(" k ", "key"), Span(f" {first}", "warn")),
        *((Span(f"     {text}", "warn"),) for text in rest),
    ]


def present_orders(scene: Scene, width: int, height: int) -> Panel:
    """Return the working orders' panel."""
    if scene.snapshot is None:
        return Panel("ORDERS", (), doubt=scene.doubt())
    orders = scene.snapshot.orders
    lines: list[Line] = [(Span(" no working order", "dim"),)]
    if orders:
        lines = window([_order(o, width - 1) for o in orders], scene.order_row, height - 1,
                        is_focused=scene.focus == "orders")  # fmt: skip
    return Panel("ORDERS", lines, f"{len(orders)} working", scene.doubt())


def _order(order: OrderView, width: int) -> Line:
    is_buy = order.side == "BUY"
    role: Role = "warn" if order.status == "UNKNOWN" else "text"
    name = (Span(fit(order.instrument, 9)),) if width >= 44 else ()
    left = (
        *name,
        Span("▲B " if is_buy else "▼S ", "up" if is_buy else "down"),
        Span(f"{order.filled}/{order.qty} "),
        Span(f"≤ {order.limit} " if is_buy else f"≥ {order.limit} ", "dim"),
        Span(_STATUS.get(order.status, order.status.lower()), role),
    )
    return spread_out(left, (Span(f" {short_time(order.age_ms)} ", "dim"),), width)


def present_fills(scene: Scene, width: int, height: int) -> Panel:
    """Return the fills' panel, newest first; the chosen fill's rationale stands under the list."""
    if scene.snapshot is None:
        return Panel("FILLS", (), doubt=scene.doubt())
    fills = scene.snapshot.fills
    if not fills:
        return Panel("FILLS", ((Span(" no fill yet in this run", "dim"),),), doubt=scene.doubt())
    reason_rows = min(5, max(1, (height - 1) // 3))
    rows = max(1, height - 1 - reason_rows)
    is_focused = scene.focus == "fills"
    lines = window(
        [_fill(f, width - 1) for f in fills], scene.fill_row, rows, is_focused=is_focused
    )
    lines += [()] * (rows - len(lines))
    chosen = fills[min(scene.fill_row, len(fills) - 1)]
    why = wrap(f"why: {chosen.rationale or 'no rationale recorded'}", width - 2, reason_rows)
    lines += [(Span(f" {text}", "dim"),) for text in why]
    return Panel("FILLS", lines, f"{len(fills)} newest", scene.doubt())


def _fill(fill: FillView, width: int) -> Line:
    is_buy = fill.side == "BUY"
    left = (
        Span(f"{clock_time(fill.time)} ", "dim"),
        Span("▲B " if is_buy else "▼S ", "up" if is_buy else "down"),
        Span(fit_right(fill.qty, 7)),
        Span(f" @ {fill.price}"),
        *((Span(f"  fee {money(fill.fee)}", "dim"),) if width >= 56 else ()),
        *((Span(f"  {fill.instrument}", "dim"),) if width >= 68 else ()),
    )
    value = (Span(f" {signed(fill.realized)} ", money_role(fill.realized)),)
    return spread_out(left, value, width)


def window(rows: Sequence[Line], cursor: int, height: int, *, is_focused: bool) -> list[Line]:
    """Return the ``height`` rows around the cursor; the cursor's row is marked when focused."""
    if height <= 0:
        return []
    cursor = min(cursor, len(rows) - 1)
    start = max(0, min(cursor - height // 2, len(rows) - height))
    out: list[Line] = []
    for index, row in enumerate(rows[start : start + height], start):
        is_here = is_focused and index == cursor
        out.append((Span("▸" if is_here else " ", "focus"), *row))
    return out
