"""The one gate: every order passes ``check``, and a refusal is final.

Every control is evaluated and recorded, passed or not. Orders that can only reduce a position
are spared the controls that limit new risk, never those that guard the price.
Source: reliability of controls after RTS 6 Art. 15 and SEC 15c3-5 (pre-trade, blocking).
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from core.config import RiskSettings
from core.model.decision import LimitCheck
from core.model.instrument import Instrument, plain
from core.model.market import FeedState
from core.model.order import Order, Side


class GateView(msgspec.Struct, frozen=True):
    """What the gate knows when an order asks to leave."""

    instrument: Instrument
    feed_state: FeedState
    bid_ticks: int | None
    ask_ticks: int | None
    position_lots: int
    working_buy_lots: int
    """Lots of our open buy orders, unfilled, worst case."""
    working_sell_lots: int
    own_ticks: int | None
    """Limit of our own open order on the other side that an order meets first; None for none."""
    clock_offset_ms: float | None
    """Our clock minus the venue's, the way of a message included; None if not known."""
    open_orders: int
    orders_last_minute: int
    today: Decimal | None
    """Realized today plus unrealized; None when a mark is missing."""
    is_halted: bool
    halt_reason: str


class GateVerdict(msgspec.Struct, frozen=True):
    allowed: bool
    code: str
    """Name of the first control that failed; empty when allowed."""
    checks: tuple[LimitCheck, ...]

    @property
    def why(self) -> str:
        """Return the failed controls in words."""
        return "; ".join(
            f"{c.control} was {c.value}, limit {c.limit}" for c in self.checks if not c.passed
        )


def check(order: Order, view: GateView, limits: RiskSettings) -> GateVerdict:
    """Evaluate every control that applies to ``order``."""
    checks = [
        *_book_checks(order, view, limits),
        _own_order_check(order, view),
        *(_exit_checks(order, view) if order.reduces else _entry_checks(order, view, limits)),
    ]
    failed = [c for c in checks if not c.passed]
    return GateVerdict(not failed, failed[0].control if failed else "", tuple(checks))


def _book_checks(order: Order, view: GateView, limits: RiskSettings) -> list[LimitCheck]:
    bid, ask = view.bid_ticks, view.ask_ticks
    live = view.feed_state is FeedState.LIVE
    checks = [LimitCheck("feed_state", view.feed_state.value, "live", live)]
    if bid is None or ask is None:
        side = "empty" if bid is None and ask is None else "one-sided"
        return [*checks, LimitCheck("book_sides", side, "two-sided", passed=False)]
    checks.append(LimitCheck("book_sides", "two-sided", "two-sided", passed=True))
    state = "crossed" if bid >= ask else "open"
    checks.append(LimitCheck("book_crossed", state, "open", bid < ask))
    # An exit takes what the other side shows, however wide the spread: it must be possible.
    exit_ticks = bid if order.side is Side.SELL else ask
    reference2 = 2 * exit_ticks if order.reduces else bid + ask
    away_bps = abs(2 * order.limit_ticks - reference2) * 10_000 / reference2
    collar = limits.price_collar_bps
    checks.append(
        LimitCheck(
            "price_collar_bps", f"{away_bps:.3f}", f"{collar:g}",
            order.limit_ticks > 0 and away_bps <= collar,
        )
    )  # fmt: skip
    return checks


def _own_order_check(order: Order, view: GateView) -> LimitCheck:
    """Keep us from trading with ourselves, which venues refuse as a wash trade.

    Exits too: one that met our own order would close nothing. A close cancels our orders first.
    Source: Alpaca-API issue 82, alpaca-java issue 145.
    """
    price, own = view.instrument.price_text(order.limit_ticks), view.own_ticks
    if own is None:
        return LimitCheck("own_orders", price, "none on the other side", passed=True)
    is_buy = order.side is Side.BUY
    limit = (
        f"{'below our sell' if is_buy else 'above our buy'} at {view.instrument.price_text(own)}"
    )
    is_clear = order.limit_ticks < own if is_buy else order.limit_ticks > own
    return LimitCheck("own_orders", price, limit, is_clear)


def _entry_checks(order: Order, view: GateView, limits: RiskSettings) -> list[LimitCheck]:
    price = max(order.limit_ticks, view.ask_ticks or 0)
    notional = view.instrument.notional(price, order.qty_lots)
    working = view.working_buy_lots if order.side.sign > 0 else view.working_sell_lots
    worst = abs(view.position_lots + order.side.sign * (working + order.qty_lots))
    position = view.instrument.notional(price, worst)
    spread_bps = 0.0
    if view.bid_ticks and view.ask_ticks:
        spread_bps = (view.ask_ticks - view.bid_ticks) * 20_000 / (view.bid_ticks + view.ask_ticks)
    today = view.today
    floor = view.instrument.min_notional
    offset, ahead, behind = (
        view.clock_offset_ms, limits.max_clock_ahead_ms, limits.max_clock_behind_ms
    )  # fmt: skip
    return [
        LimitCheck("kill_latch", view.halt_reason if view.is_halted else "armed", "armed",
                   not view.is_halted),
        LimitCheck("order_lots", str(order.qty_lots), "above 0", order.qty_lots > 0),
        LimitCheck("min_notional", plain(notional), plain(floor), notional >= floor),
        LimitCheck("max_order_notional", plain(notional), plain(limits.max_order_notional),
                   notional <= limits.max_order_notional),
        LimitCheck("max_position_notional", plain(position), plain(limits.max_position_notional),
                   position <= limits.max_position_notional),
        LimitCheck("max_spread_bps", f"{spread_bps:.3f}", f"{limits.max_spread_bps:g}",
                   spread_bps <= limits.max_spread_bps),
        LimitCheck("max_daily_loss", "unknown" if today is None else plain(today),
                   plain(-limits.max_daily_loss),
                   today is not None and today > -limits.max_daily_loss),
        LimitCheck("max_open_orders", str(view.open_orders), str(limits.max_open_orders),
                   view.open_orders < limits.max_open_orders),
        LimitCheck("max_orders_per_minute", str(view.orders_last_minute),
                   str(limits.max_orders_per_minute),
                   view.orders_last_minute < limits.max_orders_per_minute),
        LimitCheck("clock_offset_ms", "unknown" if offset is None else f"{offset:.1f}",
                   f"{-behind} to {ahead}",
                   offset is not None and -behind <= offset <= ahead),
    ]  # fmt: skip


def _exit_checks(order: Order, view: GateView) -> list[LimitCheck]:
    working = view.working_buy_lots if order.side.sign > 0 else view.working_sell_lots
    room = -order.side.sign * view.position_lots - working
    return [
        LimitCheck(
            "reduces_only", str(order.qty_lots), f"at most {max(room, 0)}",
            0 < order.qty_lots <= room,
        )
    ]  # fmt: skip
