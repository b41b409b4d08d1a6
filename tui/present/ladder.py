"""The ladder: the book around its spread, sizes as bars, our own orders and exits marked.

Two shapes, chosen by how dense the book is, with hysteresis. *Static*: one row a tick; prices
stand still and the ladder re-centres only when the spread leaves the middle. *Levels*: one row
a known level around a fixed spread row, for books whose levels are many ticks apart. A price
beyond the levels the snapshot holds is drawn ``·``: not known, which is not the same as empty.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

import msgspec

from core.snapshot import BookLevel, InstrumentView
from tui.present.bars import bar_left, bar_right
from tui.present.exit_marks import (
    NO_MARK,
    ExitMark,
    exit_marks,
    mark_between,
    ticks_of,
    told_beyond,
)
from tui.present.line import Line, Panel, Role, Span
from tui.present.scene import Scene
from tui.present.text import fit, fit_right

_SPARSE_ENTER, _SPARSE_LEAVE = 2.0, 1.2
"""Levels shape above 2 ticks of spread-and-depth a row, static again below 1.2."""


class LadderView(msgspec.Struct, frozen=True):
    """What must be remembered from one frame to the next to hold the ladder still."""

    instrument: str = ""
    is_static: bool = True
    centre_ticks: int = 0


class _Row(msgspec.Struct, frozen=True):
    price: str
    bid: BookLevel | None = None
    ask: BookLevel | None = None
    bid_unknown: bool = False
    ask_unknown: bool = False
    role: Role = "text"
    marker: Span = Span(" ")
    """Direction of the last trade, at its price."""
    exit: Span = NO_MARK
    """Stop or target of the position, at its price."""


class _Columns(msgspec.Struct, frozen=True):
    bar: int
    qty: int
    price: int


def present_ladder(
    scene: Scene, last: LadderView, width: int, height: int
) -> tuple[Panel, LadderView]:
    """Return the ladder's panel for ``width`` x ``height`` cells and what to remember."""
    view = scene.view()
    if view is None:
        return Panel("LADDER", (), doubt=scene.doubt()), last
    title, doubt = f"LADDER {view.name}", scene.market_doubt()
    if not view.bids or not view.asks:
        return Panel(title, _no_book(view, doubt), doubt=doubt), last
    rows = max(1, height - 2)
    seen = _remember(view, last, rows)
    columns = _columns(view, width)
    marks = exit_marks(scene)
    body = _static_rows(view, seen, rows) if seen.is_static else _level_rows(view, rows)
    body, beyond = _with_exits(body, marks, view)
    biggest = max(level.lots for level in (*view.bids[:rows], *view.asks[:rows]))
    lines = [_head(columns)]
    lines += [
        _spread_line(view, width) if row is None else _line(row, columns, biggest) for row in body
    ]
    is_unproven = view.feed.unseen_s is not None
    depth = f"{len(view.bids)}+{len(view.asks)}" + ("" if beyond or is_unproven else " levels")
    if is_unproven:
        depth += ", unproven"
    if _is_cut(view, rows):
        depth += ", unknown beyond"
    if beyond:
        depth = f"{beyond} · {depth}"
    return Panel(title, lines, depth, doubt), seen


def _no_book(view: InstrumentView, doubt: str) -> tuple[Line, ...]:
    side = "bids" if not view.bids and view.asks else "asks" if view.bids else ""
    reason = view.feed.reason or (f"no {side}" if side else "") or doubt or "no message yet"
    return ((), (Span(" no book: ", "warn"), Span(reason)))


def _is_cut(view: InstrumentView, rows: int) -> bool:
    """Return whether the end of what is known of a side lies within the ladder's reach."""
    sides = ((view.feed.bids_known_to, view.bids), (view.feed.asks_known_to, view.asks))
    return any(known is not None and len(levels) < rows for known, levels in sides)


def _remember(view: InstrumentView, last: LadderView, rows: int) -> LadderView:
    """Choose the shape and the centre; hold both while they still serve."""
    bid, ask = view.bids[0].ticks, view.asks[0].ticks
    depth = max(1, min(len(view.bids), len(view.asks), rows // 2))
    span = view.asks[depth - 1].ticks - view.bids[depth - 1].ticks + 1
    is_same = last.instrument == view.name
    limit = _SPARSE_ENTER if (is_same and last.is_static) or not is_same else _SPARSE_LEAVE
    is_static = span <= limit * 2 * depth and ask - bid < rows // 2
    mid = (bid + ask) // 2
    slack = max(1, rows // 4)
    holds = is_same and last.is_static and abs(mid - last.centre_ticks) <= slack
    return LadderView(view.name, is_static, last.centre_ticks if holds else mid)


def _static_rows(view: InstrumentView, seen: LadderView, rows: int) -> list[_Row | None]:
    bids = {level.ticks: level for level in view.bids}
    asks = {level.ticks: level for level in view.asks}
    best_bid, best_ask = view.bids[0].ticks, view.asks[0].ticks
    low_known, high_known = view.bids[-1].ticks, view.asks[-1].ticks
    prices = _Prices(view.tick_size)
    out: list[_Row | None] = []
    ticks, split = seen.centre_ticks + (rows - 1) // 2, False
    while len(out) < rows:
        if not split and 2 * ticks <= best_bid + best_ask:
            out.append(None)  # the spread row stands between the sides, wherever they are
            split = True
            continue
        out.append(
            _Row(
                price=prices.text(ticks),
                bid=bids.get(ticks),
                ask=asks.get(ticks),
                bid_unknown=ticks < low_known,
                ask_unknown=ticks > high_known,
                role="up_strong" if ticks == best_bid else "down_strong" if ticks == best_ask
                else "dim" if best_bid < ticks < best_ask else "text",
                marker=_marker(view, prices.text(ticks)),
            )
        )  # fmt: skip
        ticks -= 1
    return out


def _level_rows(view: InstrumentView, rows: int) -> list[_Row | None]:
    above = (rows - 1) // 2
    below = rows - 1 - above
    prices = _Prices(view.tick_size)
    asks: list[BookLevel | None] = [*view.asks[:above]]
    asks += [None] * (above - len(asks))
    bids: list[BookLevel | None] = [*view.bids[:below]]
    bids += [None] * (below - len(bids))
    return [
        *(_level_row(view, prices, level, is_bid=False) for level in reversed(asks)),
        None,
        *(_level_row(view, prices, level, is_bid=True) for level in bids),
    ]


def _level_row(
    view: InstrumentView, prices: _Prices, level: BookLevel | None, *, is_bid: bool
) -> _Row:
    if level is None:
        return _Row("·", bid_unknown=is_bid, ask_unknown=not is_bid, role="faint")
    text = prices.text(level.ticks)
    is_best = level is (view.bids[0] if is_bid else view.asks[0])
    strong: Role = "up_strong" if is_bid else "down_strong"
    return _Row(
        text,
        bid=level if is_bid else None,
        ask=None if is_bid else level,
        role=strong if is_best else "text",
        marker=_marker(view, text),
    )


def _with_exits(
    body: list[_Row | None], marks: tuple[ExitMark, ...], view: InstrumentView
) -> tuple[list[_Row | None], str]:
    """Return the rows with the exits marked, and what lies outside of them in words.

    A row of the levels shape stands for the prices down (of a bid) or up (of an ask) from the level
    before it: the exit is marked at the first level at which it would have been passed.
    """
    if not marks:
        return body, ""
    known = [ticks_of(row.price, view.tick_size) if row else None for row in body]
    shown = [ticks for ticks in known if ticks is not None]
    best_bid, best_ask = view.bids[0].ticks, view.asks[0].ticks
    out: list[_Row | None] = []
    for place, (row, ticks) in enumerate(zip(body, known, strict=True)):
        if row is None or ticks is None:
            out.append(row)
            continue
        low = high = ticks
        if ticks < best_bid:
            high = max(ticks, (_near(known, place, -1) or best_bid) - 1)
        elif ticks > best_ask:
            low = min(ticks, (_near(known, place, 1) or best_ask) + 1)
        mark = mark_between(marks, view.tick_size, low, high)
        out.append(row if mark is NO_MARK else msgspec.structs.replace(row, exit=mark))
    return out, told_beyond(marks, view, min(shown), max(shown))


def _near(known: list[int | None], place: int, step: int) -> int | None:
    """Return the price of the next row towards the spread."""
    place += step
    return known[place] if 0 <= place < len(known) else None


def _marker(view: InstrumentView, price: str) -> Span:
    last = (view.last_trade or "").split(" ")[0]
    if not last or not _same_price(last, price):
        return Span(" ")
    if view.last_trade_side == 0:
        return Span("◆", "accent")
    return Span("▲", "up") if view.last_trade_side > 0 else Span("▼", "down")


def _same_price(one: str, other: str) -> bool:
    if one == other:
        return True
    if "." not in one and "." not in other:
        return False
    return one.rstrip("0").rstrip(".") == other.rstrip("0").rstrip(".")


class _Prices:
    """Ticks to price text with the tick size's decimals, so that the column stands straight."""

    def __init__(self, tick_size: str) -> None:
        try:
            self._tick = Decimal(tick_size)
        except InvalidOperation:
            self._tick = Decimal(1)

    def text(self, ticks: int) -> str:
        return f"{self._tick * ticks:f}"

    def mid(self, bid_ticks: int, ask_ticks: int) -> str:
        return f"{self._tick * (bid_ticks + ask_ticks) / 2:f}"


def _columns(view: InstrumentView, width: int) -> _Columns:
    prices = _Prices(view.tick_size)
    price = max(len(prices.text(view.asks[-1].ticks)), len(prices.text(view.bids[-1].ticks)))
    widest = max(len(level.qty) for level in (*view.bids, *view.asks))
    qty = min(max(6, widest), max(6, (width - price - 6) // 3))
    bar = max(0, (width - price - 6 - 2 * qty) // 2)
    return _Columns(bar, qty, price)


def _head(columns: _Columns) -> Line:
    side = columns.bar + columns.qty
    return (
        Span(" " + fit_right("bid", side) + " ", "dim"),
        Span(fit_right("price", columns.price + 2), "dim"),
        Span("   " + fit("ask", columns.qty), "dim"),
    )


def _line(row: _Row, columns: _Columns, biggest: int) -> Line:
    bid, ask = row.bid, row.ask
    own_bid, own_ask = bid is not None and bid.own_lots > 0, ask is not None and ask.own_lots > 0
    bid_text = bid.qty if bid else "·" if row.bid_unknown else ""
    ask_text = ask.qty if ask else "·" if row.ask_unknown else ""
    return (
        Span(" "),
        Span(bar_left(bid.lots / biggest, columns.bar) if bid else " " * columns.bar, "up_bar"),
        Span(fit_right(bid_text, columns.qty), "up" if bid else "faint"),
        Span("▶" if own_bid else " ", "accent"),
        row.marker,
        Span(fit_right(row.price, columns.price), row.role),
        row.exit,
        Span("◀" if own_ask else " ", "accent"),
        Span(fit(ask_text, columns.qty), "down" if ask else "faint"),
        Span(" "),
        Span(bar_right(ask.lots / biggest, columns.bar) if ask else "", "down_bar"),
    )


def _spread_line(view: InstrumentView, width: int) -> Line:
    bid, ask = view.bids[0], view.asks[0]
    ticks = ask.ticks - bid.ticks
    if ticks <= 0:
        return (Span(fit(f" crossed book: bid {bid.price} ask {ask.price}", width), "error"),)
    prices = _Prices(view.tick_size)
    unit = "tick" if ticks == 1 else "ticks"
    spread = view.spread or prices.text(ticks)
    text = f" mid {prices.mid(bid.ticks, ask.ticks)} · spread {spread} · {ticks} {unit} "
    return (Span(text.center(width), "band"),)
