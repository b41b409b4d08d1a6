"""A position with its exits, and how fills move both: the same live and out of the ledger."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from core.config import ExitSettings
from core.exits import exits_for, mean_ticks
from core.lots import FifoBook
from core.model import event as ev
from core.model.exits import ExitKind, Exits
from core.model.instrument import Instrument
from core.model.order import Fill


class Held(msgspec.Struct):
    """One position with its exits; only ``AttachedExits`` writes it."""

    exits: Exits
    lots: int
    opened_ns: int
    entries: tuple[str, ...] = ()
    """Client order ids of the entries it is made of."""
    is_restored: bool = False
    """From the ledger, and not yet told of in this run."""
    seq: int | None = None
    """Of its last EXITS in the ledger."""
    triggered_ns: int = 0
    blind_ns: int = 0
    """Since when the exits cannot act; 0 while they can."""
    is_blind_told: bool = False
    is_stuck_told: bool = False


def follow(held: Held | None, book: FifoBook, fill: Fill, settings: ExitSettings) -> Held | None:
    """Return the position after ``fill``, which ``book`` has taken; None when it is flat.

    An entry sets stop and target from the mean of what is held; a fill that makes the position
    smaller moves neither. The time stop runs from the first fill.
    """
    lots = book.position_lots
    if not lots:
        return None
    sign = 1 if lots > 0 else -1
    if held is None or held.exits.sign != sign:
        exits = exits_for(sign, mean_ticks(book), book.opened_ns, settings)
        return Held(exits, lots, book.opened_ns, (fill.client_order_id,))
    held.lots = lots
    if fill.side.sign == sign:
        held.exits = exits_for(sign, mean_ticks(book), held.opened_ns, settings, held.exits)
        if fill.client_order_id not in held.entries:
            held.entries += (fill.client_order_id,)
    return held


def from_fills(
    instrument: Instrument, fills: Iterable[Fill], settings: ExitSettings
) -> Held | None:
    """Return the position that the fills of one instrument leave, with its exits; None if flat."""
    since_flat: list[Fill] = []
    lots = 0
    for fill in fills:
        since_flat.append(fill)
        lots += fill.side.sign * fill.qty_lots
        if not lots:
            since_flat.clear()
    book, held = FifoBook(instrument), None
    for fill in since_flat:
        book.apply(fill)
        held = follow(held, book, fill, settings)
    return held


def with_hand(exits: Exits, past: ev.ExitsSet, instrument: Instrument) -> Exits:
    """Return ``exits`` with what the trader had set according to an EXITS of an earlier run.

    Errors: ``ValueRefused`` for a price that is off the grid the instrument has now.
    """
    by_hand = past.exits.by_hand
    exits = msgspec.structs.replace(exits, by_hand=by_hand)
    if ExitKind.STOP in by_hand:
        ticks = None if past.stop is None else instrument.ticks(past.stop)
        exits = msgspec.structs.replace(exits, stop_ticks=ticks)
    if ExitKind.TARGET in by_hand:
        ticks = None if past.target is None else instrument.ticks(past.target)
        exits = msgspec.structs.replace(exits, target_ticks=ticks)
    if ExitKind.TIME in by_hand:
        exits = msgspec.structs.replace(exits, due_ns=past.exits.due_ns)
    return exits
