"""Orders, their states and reports, fills.

The order status table is the one place where a status may change (``next_status``).
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import msgspec

from core.errors import InvariantError


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
    GTC = "GTC"


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
_S = OrderStatus
TRANSITIONS: dict[OrderStatus, frozenset[OrderStatus]] = {
    _S.INITIALIZED: frozenset({_S.DENIED, _S.SUBMITTED}),
    _S.SUBMITTED: frozenset(
        {
            _S.ACCEPTED,
            _S.REJECTED,
            _S.PARTIALLY_FILLED,
            _S.FILLED,
            _S.PENDING_CANCEL,
            _S.CANCELED,
            _S.EXPIRED,
            _S.UNKNOWN,
        }
    ),
    _S.ACCEPTED: frozenset(
        {_S.PARTIALLY_FILLED, _S.FILLED, _S.PENDING_CANCEL, _S.CANCELED, _S.EXPIRED, _S.UNKNOWN}
    ),
    _S.PARTIALLY_FILLED: frozenset(
        {_S.PARTIALLY_FILLED, _S.FILLED, _S.PENDING_CANCEL, _S.CANCELED, _S.EXPIRED, _S.UNKNOWN}
    ),
    _S.PENDING_CANCEL: frozenset(
        {
            _S.PARTIALLY_FILLED,
            _S.FILLED,
            _S.CANCELED,
            _S.EXPIRED,
            _S.REJECTED,
            _S.ACCEPTED,
            _S.PENDING_CANCEL,
            _S.UNKNOWN,
        }
    ),
    _S.UNKNOWN: frozenset(
        {
            _S.ACCEPTED,
            _S.REJECTED,
            _S.PARTIALLY_FILLED,
            _S.FILLED,
            _S.CANCELED,
            _S.EXPIRED,
            _S.PENDING_CANCEL,
        }
    ),
}
"""Allowed next statuses. A closed status has none."""


def next_status(status: OrderStatus, wanted: OrderStatus) -> OrderStatus:
    """Return ``wanted`` if the table allows it. Errors: ``InvariantError`` otherwise."""
    if wanted not in TRANSITIONS.get(status, frozenset()):
        raise InvariantError(f"order status {status} -> {wanted} was not in the table")
    return wanted


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


class ReportKind(StrEnum):
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    """The unfilled rest of an IOC order."""
    CANCEL_REJECTED = "cancel_rejected"
    """A cancel found nothing to cancel; it says nothing about the order itself."""


class OrderReport(msgspec.Struct, frozen=True):
    """What a venue said about one of our orders."""

    kind: ReportKind
    client_order_id: str
    ts_ns: int
    reason: str = ""
    fill: Fill | None = None
