"""Lots as values: a parcel of position that is open, one that was closed, and which go first."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import msgspec


class LotMethod(StrEnum):
    """Which lots an order closes."""

    FIFO = "fifo"
    LIFO = "lifo"
    HIFO = "hifo"


class OpenLot(msgspec.Struct, frozen=True):
    """A parcel of position with its cost."""

    fill_id: str
    """Its name in this book: the fill id, or what ``FifoBook.apply`` was given."""
    sign: int
    """1 bought, -1 sold short."""
    qty_lots: int
    """Counted on the ``grid`` of its book, as of a closed lot."""
    price_ticks: int
    fee: Decimal
    """Opening fee still carried by this parcel, quote currency.

    Of a lot that was moved here: what its basis has beyond a price of whole ticks.
    """
    ts_ns: int
    """When it was acquired; a transfer keeps it."""
    venue_fill_id: str = ""
    """The venue's own id of the fill; a choice of lots names it."""
    is_moved: bool = False
    """It came by a transfer: its price says nothing about what was paid on this venue."""


class ClosedLot(msgspec.Struct, frozen=True):
    """A parcel bought and sold (or sold and bought back), or bought and paid as a fee.

    Of one that paid a fee ``close_ticks`` is 0 and ``close_fee`` is minus what it was worth.
    """

    open_fill_id: str
    close_fill_id: str
    sign: int
    qty_lots: int
    open_ticks: int
    close_ticks: int
    open_fee: Decimal
    close_fee: Decimal
    realized: Decimal
    """Gain net of both fees, quote currency."""
    opened_ns: int
    closed_ns: int
