"""What the gate knows when an order asks to leave, and what a control is."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec

from core.config import RiskSettings
from core.model.decision import LimitCheck
from core.model.instrument import Instrument
from core.model.market import FeedState
from core.model.order import Order

UNKNOWN = "unknown"
"""The value of what cannot be told; a control that looks at it does not pass."""


class GateView(msgspec.Struct, frozen=True):
    """What the gate knows when an order asks to leave. The order itself is in no count."""

    now_ns: int
    instrument: Instrument
    feed_state: FeedState
    bid_ticks: int | None
    ask_ticks: int | None
    last_trade_ticks: int | None
    """Price of the newest public trade; None before the first."""
    volatility_bucket: str | None
    """None until there is a history."""
    clock_offset_ms: float | None
    """Our clock minus the venue's, the way of a message included; None if not known."""
    position_lots: int
    working_buy_lots: int
    """Lots of our open buy orders, unfilled, worst case."""
    working_sell_lots: int
    own_ticks: int | None
    """Limit of our own open order on the other side that an order meets first; None for none."""
    other_exposure: Decimal | None
    """Worst absolute value of our other instruments in the quote currency; None without a mark."""
    open_orders: int
    orders_last_second: int
    orders_last_minute: int
    messages_last_second: int
    """Orders and cancels."""
    repeated_fills: int
    """Our orders that filled on this side, one after the other, within the window."""
    same_order_age_ms: float | None
    """Since the newest order of this instrument, side, price and quantity; None for none."""
    today: Decimal | None
    """Realized today plus unrealized; None when a mark is missing."""
    session: Decimal | None
    """Realized plus unrealized since the start of the run; None when a mark is missing."""
    drawdown: Decimal | None
    """How far ``session`` lies below its peak; None when a mark is missing."""
    losses_in_a_row: int
    """Round trips that lost, without a gain between."""
    pause: str
    """Why nothing new may be opened in the instrument for a while; empty if it may."""
    is_halted: bool
    halt_reason: str
    queue_waiting: int = 0
    """Orders in the queue to the broker."""
    differences: str = ""
    """Where the broker says other than we; empty if it agrees."""
    position_doubt: str = ""
    """The difference about the position of this instrument; empty if there is none."""


class Case(msgspec.Struct, frozen=True):
    """What a control judges."""

    order: Order
    view: GateView
    limits: RiskSettings


Look = Callable[[Case], tuple[str, str, bool] | None]
"""Returns value, limit and whether it passed; None where an earlier control has said it all."""


class Control(msgspec.Struct, frozen=True):
    """One row of the table of controls."""

    code: str
    refused_when: str
    """In words, for the page on the gate."""
    look: Look
    of_entries: bool = True
    of_exits: bool = False

    def check(self, case: Case) -> LimitCheck | None:
        """Return the control as recorded."""
        found = self.look(case)
        return None if found is None else LimitCheck(self.code, *found)
