"""An order and a view of the gate that pass every control, to change one thing at a time."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from core.config import RiskSettings
from core.limits.view import GateView
from core.model.market import FeedState
from core.model.order import Order, Side, TimeInForce
from tests.fakes import BTC, START_NS

LIMITS = RiskSettings()
MID = 6_000_000  # 60,000.00
LOTS = 1_500  # 0.015 BTC, 900 USDT
_ORDER = Order("o1", "d1", "BTCUSDT", Side.BUY, LOTS, MID + 1, TimeInForce.IOC,
               reduces=False, decided_ns=1)  # fmt: skip
_VIEW = GateView(
    now_ns=START_NS,
    instrument=BTC,
    feed_state=FeedState.LIVE,
    bid_ticks=MID - 1,
    ask_ticks=MID + 1,
    last_trade_ticks=MID,
    volatility_bucket="normal",
    clock_offset_ms=3.0,
    position_lots=0,
    working_buy_lots=0,
    working_sell_lots=0,
    own_ticks=None,
    other_exposure=Decimal(0),
    open_orders=0,
    orders_last_second=0,
    orders_last_minute=0,
    messages_last_second=0,
    repeated_fills=0,
    same_order_age_ms=None,
    today=Decimal(0),
    session=Decimal(0),
    drawdown=Decimal(0),
    losses_in_a_row=0,
    pause="",
    is_halted=False,
    halt_reason="",
)


def order(**changes: object) -> Order:
    return msgspec.structs.replace(_ORDER, **changes)


def closing(**changes: object) -> Order:
    """Return an order that closes a long position of ``LOTS``."""
    return order(**{"side": Side.SELL, "limit_ticks": MID - 1, "reduces": True} | changes)


def view(**changes: object) -> GateView:
    return msgspec.structs.replace(_VIEW, **changes)


def limits(**changes: object) -> RiskSettings:
    return msgspec.structs.replace(LIMITS, **changes)
