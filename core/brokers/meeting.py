"""Where an order meets a book: what the two paper brokers answer differently."""

from __future__ import annotations

from abc import ABC, abstractmethod

import msgspec

from core.model.instrument import Instrument
from core.model.order import Order


class Ticket(msgspec.Struct):
    """One order as the broker knows it; only the broker writes it."""

    order: Order
    rest_lots: int
    fills: int = 0
    prevented_lots: int = 0
    """Lots taken off because they would have traded with our own."""
    ends_ns: int | None = None
    """When a resting DAY order ends."""
    closed: str = ""
    """How it ended; empty while it lives."""


class Meeting(ABC):
    """The questions of ``core.brokers.delayed`` about the book behind an instrument."""

    @abstractmethod
    def _find_instrument(self, name: str) -> Instrument | None:
        """Return the instrument of an order, or None if it does not trade here."""

    @abstractmethod
    def _why_closed(self, order: Order) -> str:
        """Return why no order can trade in this instrument now; empty if one can."""

    @abstractmethod
    def _would_take(self, order: Order) -> bool:
        """Return whether the other side shows the order's limit or better."""

    @abstractmethod
    def _why_not_whole(self, ticket: Ticket, own: Ticket | None) -> str:
        """Return why a FOK order cannot trade whole now, in front of ``own``; empty if it can."""

    @abstractmethod
    def _take(self, ticket: Ticket, own: Ticket | None, now_ns: int) -> list[tuple[int, int]]:
        """Walk the book for a fresh order, up to our own order ``own`` where one is in the way.

        Return (ticks, lots) of each level taken.
        """

    @abstractmethod
    def _rest(self, ticket: Ticket, now_ns: int) -> str:
        """Put what is left into the book, perhaps again; return why not, empty if it rests."""

    @abstractmethod
    def _unrest(self, ticket: Ticket, now_ns: int) -> None:
        """Take a resting order out of the book; it may turn out to be filled."""
