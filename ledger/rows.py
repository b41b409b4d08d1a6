"""What a new run takes over from the ledger: fills, transfers, open orders, the number of runs.

Read from the events, never from the tables. ``LedgerWriter`` gathers it while it walks the chain;
``load_history`` reads a ledger that it has walked before.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from core.errors import Failed, ValueRefused
from core.model.event import (
    DayMarked,
    ExitsSet,
    Filled,
    LedgerEvent,
    OrderChanged,
    OrderIntended,
    Recovered,
    RunStarted,
    Transferred,
)
from core.model.instrument import Instrument
from core.model.order import Fill, Order, OrderStatus
from core.model.transfer import Spent, Transfer
from core.transfers import spent_by
from ledger import form
from ledger.chain import EMPTY_HEAD, Head
from ledger.envelope import KINDS
from ledger.references import instruments_of
from ledger.resume import CARRIED, CARRIED_WHILE_OPEN, events_to_read
from ledger.store import DB_NAME, reading

WANTED = CARRIED | CARRIED_WHILE_OPEN
"""A type that is to be read here goes into one of these: a quick start reads no other."""


class PastFill(msgspec.Struct, frozen=True):
    """One fill of the past, in the ticks and lots of the instrument in force at that time."""

    seq: int
    instrument: Instrument
    fill: Fill
    decision_id: str
    realized_pnl: str


class PastTransfer(msgspec.Struct, frozen=True):
    """One transfer of the past, in the lots of the instrument in force at that time."""

    seq: int
    instrument: Instrument
    transfer: Transfer


class OpenOrder(msgspec.Struct, frozen=True):
    """An order that was intended and that nothing has closed."""

    seq: int
    venue: str
    order: Order
    status: OrderStatus
    filled_lots: int


class History(msgspec.Struct, frozen=True):
    """What the ledger remembers that a new run needs."""

    run_count: int = 0
    last_run_id: str = ""
    is_clean: bool = True
    """The last run wrote its end."""
    head: Head = EMPTY_HEAD
    fills: tuple[PastFill, ...] = ()
    transfers: tuple[PastTransfer, ...] = ()
    open_orders: dict[str, OpenOrder] = {}
    """By client order id, oldest first."""
    exits: dict[tuple[str, str], ExitsSet] = {}
    """The last EXITS of each open position, by venue and instrument."""
    day_marked: DayMarked | None = None
    """The last midnight that passed with a position."""

    def exits_of(self, instruments: Iterable[Instrument]) -> dict[str, ExitsSet]:
        """Return the last EXITS of the open positions in these instruments, by name."""
        return {
            instrument.name: self.exits[instrument.venue, instrument.name]
            for instrument in instruments
            if (instrument.venue, instrument.name) in self.exits
        }

    def fills_of(self, instruments: Iterable[Instrument]) -> list[Fill]:
        """Return the fills of these instruments (by venue and name), oldest first.

        Prices and quantities are moved onto the grids the instruments have now: a venue may have
        changed one. Errors: ``ValueRefused`` if an old price or quantity does not lie on it.
        """
        now = {(instrument.venue, instrument.name): instrument for instrument in instruments}
        return [
            _regrid(past, now[past.instrument.venue, past.instrument.name])
            for past in self.fills
            if (past.instrument.venue, past.instrument.name) in now
        ]

    def transfers_of(self, instruments: Iterable[Instrument]) -> list[Transfer]:
        """Return the transfers of these instruments, oldest first, as ``fills_of``."""
        now = {(instrument.venue, instrument.name): instrument for instrument in instruments}
        return [
            _regrid_transfer(past, now[past.instrument.venue, past.instrument.name])
            for past in self.transfers
            if (past.instrument.venue, past.instrument.name) in now
        ]

    def past_of(self, instruments: Iterable[Instrument]) -> list[Fill | Transfer | Spent]:
        """Return all that made the lots of these instruments, oldest first, as ``fills_of``.

        ``Spent`` tells of fees that fills of other instruments paid in their coins.
        """
        now = {(instrument.venue, instrument.name): instrument for instrument in instruments}
        found: list[tuple[int, Fill | Transfer | Spent]] = []
        for past in self.fills:
            key = (past.instrument.venue, past.instrument.name)
            spent = spent_by(past.fill)
            if key in now:
                found.append((past.seq, _regrid(past, now[key])))
            elif spent is not None and (key[0], spent.instrument) in now:
                found.append((past.seq, spent))
        for each in self.transfers:
            key = (each.instrument.venue, each.instrument.name)
            if key in now:
                found.append((each.seq, _regrid_transfer(each, now[key])))
        return [each for _, each in sorted(found, key=lambda pair: pair[0])]


def _regrid_transfer(past: PastTransfer, now: Instrument) -> Transfer:
    old, transfer = past.instrument, past.transfer
    if old.lot_size == now.lot_size:
        return transfer
    return msgspec.structs.replace(
        transfer,
        qty_lots=now.lots(old.qty(transfer.qty_lots)),
        fee_lots=now.lots(old.qty(transfer.fee_lots)),
    )


def _regrid(past: PastFill, now: Instrument) -> Fill:
    old, fill = past.instrument, past.fill
    if old.tick_size == now.tick_size and old.lot_size == now.lot_size:
        return fill
    return msgspec.structs.replace(
        fill,
        price_ticks=now.ticks(old.price(fill.price_ticks)),
        qty_lots=now.lots(old.qty(fill.qty_lots)),
    )


def load_history(state_dir: Path, before_seq: int | None = None) -> History:
    """Return what the ledger in ``state_dir`` remembers; an empty history if there is none.

    ``before_seq`` is for a replay: what was remembered when that event was not there yet.

    Errors: ``Failed`` for a ledger that cannot be read.
    """
    if not (state_dir / DB_NAME).is_file():
        return History()
    gathering = Gathering()
    with reading(state_dir) as connection:
        for seq, stored_hash, body in events_to_read(connection, state_dir, before_seq):
            gathering.head = Head(seq, stored_hash)
            kind = form.kind_of(body)
            if kind in KINDS and kind not in WANTED:
                continue
            try:
                gathering.take(seq, form.event_of(body, kind))
            except ValueRefused as error:
                raise Failed(f"ledger refused: seq {seq}: {error}") from error
    return gathering.history()


class Gathering:
    """Takes the events in order, once, and keeps what ``History`` holds."""

    def __init__(self) -> None:
        self.head = EMPTY_HEAD
        self._run_count, self._last_run_id, self._is_clean, self._venue = 0, "", True, ""
        self._instruments: dict[str, Instrument] = {}
        self._fills: list[PastFill] = []
        self._transfers: list[PastTransfer] = []
        self._open: dict[str, OpenOrder] = {}
        self._exits: dict[tuple[str, str], ExitsSet] = {}
        self._day_marked: DayMarked | None = None

    def take(  # noqa: C901 - one case an event type that is asked for
        self, seq: int, event: LedgerEvent
    ) -> None:
        self._is_clean = False
        match event:
            case RunStarted():
                self._run_count += 1
                self._last_run_id, self._venue = event.run_id, event.venue
                self._instruments = instruments_of(event)
            case OrderIntended(order=order):
                self._open[order.client_order_id] = OpenOrder(
                    seq, self._venue_of(order), order, OrderStatus.INITIALIZED, 0
                )
            case OrderChanged():
                self._change(event)
            case Recovered():
                for client_order_id in event.orders_closed:
                    self._open.pop(client_order_id, None)
            case Filled():
                self._fill(seq, event)
            case Transferred(transfer=transfer):
                instrument = self._instruments[transfer.instrument]
                if not event.position_lots:
                    self._exits.pop((instrument.venue, instrument.name), None)
                self._transfers.append(PastTransfer(seq, instrument, transfer))
            case ExitsSet(instrument=name):
                self._exits[self._instruments[name].venue, name] = event
            case DayMarked():
                self._day_marked = event
            case _:  # RUN_ENDED, the only other type asked for
                self._is_clean = True

    def _venue_of(self, order: Order) -> str:
        instrument = self._instruments.get(order.instrument)
        return self._venue if instrument is None else instrument.venue

    def _change(self, event: OrderChanged) -> None:
        status = OrderStatus(event.status)
        known = self._open.get(event.client_order_id)
        if known is None:
            return
        if status.is_closed:
            del self._open[event.client_order_id]
        else:
            self._open[event.client_order_id] = msgspec.structs.replace(known, status=status)

    def _fill(self, seq: int, event: Filled) -> None:
        fill = event.fill
        if not event.position_lots:
            self._exits.pop((self._instruments[fill.instrument].venue, fill.instrument), None)
        self._fills.append(
            PastFill(
                seq,
                self._instruments[fill.instrument],
                fill,
                event.decision_id,
                event.realized_pnl,
            )
        )
        known = self._open.get(fill.client_order_id)
        if known is not None:
            self._open[fill.client_order_id] = msgspec.structs.replace(
                known, filled_lots=known.filled_lots + fill.qty_lots
            )

    def history(self) -> History:
        return History(
            run_count=self._run_count,
            last_run_id=self._last_run_id,
            is_clean=self._is_clean,
            head=self.head,
            fills=tuple(self._fills),
            transfers=tuple(self._transfers),
            day_marked=self._day_marked,
            open_orders=self._open,
            exits=self._exits,
        )
