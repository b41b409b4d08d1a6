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
from core.model.transfer import Spent, Transfer
from core.transfers import move, spent_by


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
    if held is None and fill.side.sign != sign:
        return None  # some of the coins that were moved here are sold: the rest still has no exits
    if held is None or held.exits.sign != sign:
        # Not the book's opening: coins that were moved here before have no exits of their own.
        exits = exits_for(sign, mean_ticks(book), fill.ts_ns, settings)
        return Held(exits, lots, fill.ts_ns, (fill.client_order_id,))
    held.lots = lots
    if fill.side.sign == sign:
        held.exits = exits_for(sign, mean_ticks(book), held.opened_ns, settings, held.exits)
        if fill.client_order_id not in held.entries:
            held.entries += (fill.client_order_id,)
    return held


def follow_transfer(held: Held | None, book: FifoBook) -> Held | None:
    """Return the position after coins were moved, or paid a fee: the same exits, another size.

    Coins moved into a flat account get no exits: nobody said where they shall be sold.
    """
    if held is None or not book.position_lots:
        return None
    held.lots = book.position_lots
    return held


def from_history(
    instrument: Instrument, history: Iterable[Fill | Transfer | Spent], settings: ExitSettings
) -> Held | None:
    """Return the position that the history of one instrument leaves, with its exits; None if flat.

    ``history``: its fills and transfers, and what fees of others took out of it, oldest first.
    """
    since_flat: list[Fill | Transfer | Spent] = []
    lots, is_whole = 0, True
    for each in history:
        since_flat.append(each)
        # Fees paid in its coins take parts of a lot: such a history is lived through as a whole.
        is_whole = is_whole and not (isinstance(each, Spent) or _pays_itself(each))
        lots += _change_lots(each)
        if is_whole and not lots:
            since_flat.clear()
    book, held = FifoBook(instrument), None
    for each in since_flat:
        held = _live_through(each, held, book, settings)
    return held


def _change_lots(each: Fill | Transfer | Spent) -> int:
    match each:
        case Fill():
            return each.side.sign * each.qty_lots
        case Transfer():
            return each.change_lots
        case Spent():
            return 0


def _pays_itself(each: Fill | Transfer) -> bool:
    return isinstance(each, Fill) and each.fee_from == each.instrument


def _live_through(
    each: Fill | Transfer | Spent, held: Held | None, book: FifoBook, settings: ExitSettings
) -> Held | None:
    if isinstance(each, Fill):
        book.apply(each)
        spent = spent_by(each)
        if spent is not None and spent.instrument == each.instrument:
            book.spend(spent.fill_id, spent.quantity, spent.value, spent.ts_ns)
        return follow(held, book, each, settings)
    if isinstance(each, Transfer):
        move(book, each)
    else:
        book.spend(each.fill_id, each.quantity, each.value, each.ts_ns)
    return follow_transfer(held, book)


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
