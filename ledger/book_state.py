"""The lots as they stood at an event, so that a start need not count a million fills again.

Part of ``ledger.resume``, under the signature of the ledger's key like all of it; the verification
beside the engine counts every fill all the same, and compares the tables made of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from core.lots import FifoBook
from core.model.instrument import Instrument
from core.model.lot import OpenLot


class BookState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that a ``FifoBook`` holds; a test compares the two."""

    instrument: Instrument
    grid: Instrument
    parts: int
    held_parts: int
    open_lots: tuple[OpenLot, ...]
    position_lots: int
    realized: Decimal
    fees: Decimal
    spent: Decimal
    opened_ns: int


def states_of(books: Iterable[FifoBook]) -> tuple[BookState, ...]:
    """Return what the books hold now."""
    return tuple(BookState(**{**vars(book), "open_lots": tuple(book.open_lots)}) for book in books)


def book_of(state: BookState) -> FifoBook:
    """Return a book that goes on from ``state``."""
    book = FifoBook(state.instrument)
    for name in BookState.__struct_fields__:
        if name != "open_lots":
            setattr(book, name, getattr(state, name))
    book.open_lots.extend(state.open_lots)
    return book
