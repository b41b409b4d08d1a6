"""Orders, their states and reports, fills.

How a status may change is in ``core.model.lifecycle``.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import msgspec


class Side(StrEnum):
    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        """1 for BUY, -1 for SELL."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> Side:
        return Side.SELL if self is Side.BUY else Side.BUY


class TimeInForce(StrEnum):
    IOC = "IOC"
    """Immediate or cancel: what cannot trade on arrival ends."""
    FOK = "FOK"
    """Fill or kill: trades whole on arrival or not at all."""
    GTC = "GTC"
    """Good till canceled: what cannot trade on arrival rests."""
    DAY = "DAY"
    """Rests like GTC and ends with the venue's trading day."""

    @property
    def may_rest(self) -> bool:
        return self in {TimeInForce.GTC, TimeInForce.DAY}


class OrderStatus(StrEnum):
    INITIALIZED = "INITIALIZED"
    DENIED = "DENIED"
    SUBMITTED = "SUBMITTED"
    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    PENDING_CANCEL = "PENDING_CANCEL"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    UNKNOWN = "UNKNOWN"

    @property
    def is_closed(self) -> bool:
        return self in _CLOSED


_CLOSED = frozenset(
    {
        OrderStatus.DENIED,
        OrderStatus.REJECTED,
        OrderStatus.FILLED,
        OrderStatus.CANCELED,
        OrderStatus.EXPIRED,
    }
)


class Order(msgspec.Struct, frozen=True):
    """Our instruction, immutable: what was sent."""

    client_order_id: str
    decision_id: str
    """The decision that asked for it; ``kill`` and ``close`` orders name their command."""
    instrument: str
    side: Side
    qty_lots: int
    limit_ticks: int
    tif: TimeInForce
    reduces: bool
    """True if it can only make the position smaller."""
    decided_ns: int
    post_only: bool = False
    """It may only rest: an order that would take is rejected."""
    closes: tuple[str, ...] = ()
    """Venue fill ids of the lots it closes first, chosen before it leaves; empty: the oldest."""
    stamp: str = ""
    """Of the gate, for this order as it passed (``core.gate.stamp_of``); empty before."""


class Fill(msgspec.Struct, frozen=True):
    """Our execution."""

    fill_id: str
    client_order_id: str
    instrument: str
    side: Side
    price_ticks: int
    qty_lots: int
    fee: Decimal
    fee_currency: str
    is_maker: bool
    ts_ns: int
    fee_value: Decimal | None = None
    """What a fee in another currency was worth in quote currency when it was paid."""
    fee_value_source: str = ""
    """Where that price came from, such as ``binance BNBUSDT mid``; empty without one."""
    fee_from: str = ""
    """Instrument of this venue out of whose lots a fee in coins was paid; empty: none has them."""
    closes: tuple[str, ...] = ()
    """The lots that its order had chosen to close, as in the order's durable intent."""


class ReportKind(StrEnum):
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    """The unfilled rest of an IOC order."""
    CANCEL_REJECTED = "cancel_rejected"
    """A cancel found nothing to cancel; it says nothing about the order itself."""
    NOT_FOUND = "not_found"
    """Asked about an order, the venue does not know it; it may still be on its way there."""


class BrokerOrder(msgspec.Struct, frozen=True):
    """An order that works at the broker, in the broker's words."""

    order: Order
    filled_lots: int


class OrderReport(msgspec.Struct, frozen=True):
    """What a venue said about one of our orders."""

    kind: ReportKind
    client_order_id: str
    ts_ns: int
    reason: str = ""
    fill: Fill | None = None
    filled_lots: int | None = None
    """Lots filled of the order so far, as the venue adds them up; None where it does not say.

    A FILLED without ``fill`` tells by it alone that the order is done.
    """


class BrokerStart(msgspec.Struct, frozen=True):
    """What a broker held and told when a run began."""

    held: dict[str, int]
    """Lots by instrument; none is not listed."""
    told: tuple[OrderReport, ...]
    """Reports that waited for the run, in the order they are taken."""
