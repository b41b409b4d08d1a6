"""Projections: decisions, orders, fills and lots as tables, derived from the events alone.

Written in the same transaction as the events, so they are never behind. ``rebuild`` makes them
anew; ``ledger.verify`` compares. ``Projector.apply`` is total: a new event type without a case
fails the type check and a test.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from decimal import Decimal, localcontext
from typing import Any, assert_never

from core.errors import InvariantError
from core.model.event import (
    Anchored,
    AnchorFailed,
    Answered,
    AnyEvent,
    CancelIntended,
    ClockRead,
    CommandRefused,
    DayMarked,
    Decided,
    DecisionsTaken,
    DifferenceResolved,
    ExitsBlind,
    ExitsSet,
    ExitTriggered,
    FeedChanged,
    FileRecorded,
    FilesRemoved,
    Filled,
    InputTaken,
    KeyRotated,
    KillTripped,
    LedgerEvent,
    MarkedOut,
    ModeChanged,
    NotDecided,
    OrderChanged,
    OrderIntended,
    Rearmed,
    Reconciled,
    Recovered,
    RiskChecked,
    RunEnded,
    RunStarted,
    SlippageMeasured,
    Transferred,
)
from core.model.instrument import Instrument, plain
from core.model.order import OrderStatus
from ledger import form
from ledger.canonical import decimal_text, float_text
from ledger.chain import EMPTY_HEAD, Head
from ledger.envelope import type_of
from ledger.lot_rows import LotTable, Place, insert_sql
from ledger.references import instruments_of, refs_of
from ledger.resume import CARRIED
from ledger.schema import PROJECTION_KEYS, PROJECTIONS, schema_of

WARMING = frozenset({"RUN_STARTED", "FILL", "TRANSFER"})
"""Types whose events the projector must have seen to go on: instruments, positions."""
SILENT = frozenset(
    {
        "FEED_CHANGED", "NO_TRADE", "DECISIONS", "KILL", "RE_ENABLED", "MODE_CHANGED",
        "COMMAND_REFUSED", "FILES_REMOVED", "FILE_RECORDED", "INPUT", "CLOCK",
    }
)  # fmt: skip
"""Types that leave no row in any table: whoever makes the tables need not read them."""
EXACT_DIGITS = 60


class Projector:
    """Applies events to the projection tables of one connection, in order."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        note_ref: Callable[[str, int], object] | None = None,
    ) -> None:
        """``note_ref`` takes the rows of ``trail`` in place of the table."""
        self._connection = connection
        self._execute = connection.cursor().execute  # one cursor: a new one each time costs 1 us
        self._note_ref = note_ref or self._write_ref
        self._venue = ""
        self._instruments: dict[str, Instrument] = {}
        self.lots = LotTable(connection)

    @property
    def venue(self) -> str:
        """Venue of the run in force, empty before the first."""
        return self._venue

    def instrument(self, name: str) -> Instrument:
        """Errors: ``InvariantError`` for a name that the run did not declare."""
        if name not in self._instruments:
            raise InvariantError(f"instrument {name} was not declared in RUN_STARTED")
        return self._instruments[name]

    def warm(self, seq: int, event: LedgerEvent) -> None:
        """Take a stored event into memory only; the tables have it already."""
        if isinstance(event, RunStarted):
            self._begin(event)
        elif isinstance(event, Filled):
            instrument, fill = self.instrument(event.fill.instrument), event.fill
            self._count(event, lambda: self.lots.warm(seq, instrument, fill))
        elif isinstance(event, Transferred):
            transfer = event.transfer
            self.lots.warm_transfer(seq, self.instrument(transfer.instrument), transfer)

    def apply(  # noqa: C901, PLR0912 - one case an event type, so that it is seen to be total
        self, place: Place, event: LedgerEvent
    ) -> None:
        """Write what an event means for the tables; the caller owns the transaction."""
        for ref in refs_of(event):
            self._note_ref(ref, place.seq)
        if type_of(event) in CARRIED:
            self._execute("INSERT INTO carried VALUES(?)", (place.seq,))
        known: AnyEvent = event  # type: ignore[assignment]
        match known:
            case RunStarted():
                self._begin(known)
            case Decided():
                self._decided(place, known)
            case Answered():
                self._answered(known)
            case RiskChecked():
                self._risk_checked(place, known)
            case OrderIntended():
                self._intended(place, known)
            case OrderChanged():
                self._moved(place, known.client_order_id, known.status, known.reason)
            case Recovered():
                self._recovered(place, known)
            case Filled():
                self._filled(place, known)
            case Transferred():
                instrument = self.instrument(known.transfer.instrument)
                self.lots.write_transfer(place, instrument, known)
            case (
                RunEnded() | FeedChanged() | NotDecided() | CancelIntended() | KillTripped()
                | Rearmed() | ModeChanged() | CommandRefused() | FilesRemoved()
                | DecisionsTaken() | InputTaken() | ClockRead() | FileRecorded() | KeyRotated()
                | SlippageMeasured() | MarkedOut() | ExitsSet() | ExitTriggered() | ExitsBlind()
                | Reconciled() | DifferenceResolved() | DayMarked() | Anchored() | AnchorFailed()
            ):  # fmt: skip
                pass  # no row: the event itself is the record
            case _:
                assert_never(known)

    def _write_ref(self, ref: str, seq: int) -> None:
        self._execute("INSERT INTO trail VALUES(?, ?)", (ref, seq))

    def _write(self, sql: str, *values: Any) -> int:
        return self._execute(sql, values).rowcount

    def _insert(self, table: str, **row: Any) -> None:
        self._execute(insert_sql(table, tuple(row)), tuple(row.values()))

    def _begin(self, event: RunStarted) -> None:
        self._venue = event.venue
        self._instruments = instruments_of(event)
        self.lots.begin_run(self._instruments)

    def _decided(self, place: Place, event: Decided) -> None:
        proposal, forecast = event.proposal, event.proposal.forecast
        instrument, agent = self.instrument(proposal.instrument), proposal.agent
        self._insert(
            "decisions",
            **place._asdict(),
            decision_id=proposal.decision_id,
            venue=instrument.venue,
            instrument=proposal.instrument,
            action=proposal.action.value,
            side=proposal.side.value,
            quantity=instrument.qty_text(proposal.qty_lots),
            limit_price=instrument.price_text(proposal.limit_ticks),
            mid=mid_text(instrument, proposal.mid2_ticks),
            horizon_s=forecast.horizon_s,
            p_up=float_text(forecast.p_up),
            base_rate=float_text(forecast.base_rate),
            skill=None if forecast.skill is None else float_text(forecast.skill),
            edge_bps=float_text(proposal.edge_bps),
            cost_bps=float_text(proposal.cost_bps),
            agent_id=None if agent is None else agent.agent_id,
            agent_lean=None if agent is None else float_text(agent.lean),
            mode=event.mode.value,
            rationale=proposal.rationale,
        )

    def _answered(self, event: Answered) -> None:
        self._write(
            "UPDATE decisions SET verdict = ?, answered_by = ?, waited_ns = ?, drift_ticks = ?"
            " WHERE decision_id = ?",
            event.verdict.value,
            event.actor,
            event.waited_ns,
            float_text(event.drift_ticks),
            event.decision_id,
        )

    def _risk_checked(self, place: Place, event: RiskChecked) -> None:
        """A denial closes the order; one denied before its intent is described by its decision."""
        if event.allowed:
            return
        if self._moved(place, event.client_order_id, OrderStatus.DENIED.value, event.code):
            return
        self._write(
            "INSERT INTO orders SELECT ?, ?, ?, venue, instrument, ?, decision_id, side, quantity,"
            " limit_price, '', action = 'EXIT', 'DENIED', '0', ?, ?, ?"
            " FROM decisions WHERE decision_id = ?",
            *place,
            event.client_order_id,
            event.code,
            place.seq,
            place.ts,
            event.decision_id,
        )

    def _intended(self, place: Place, event: OrderIntended) -> None:
        order, instrument = event.order, self.instrument(event.order.instrument)
        self._write(
            "DELETE FROM orders WHERE client_order_id = ? AND status = 'DENIED' AND tif = ''",
            order.client_order_id,
        )
        self._insert(
            "orders",
            **place._asdict(),
            venue=instrument.venue,
            instrument=order.instrument,
            client_order_id=order.client_order_id,
            decision_id=order.decision_id,
            side=order.side.value,
            quantity=instrument.qty_text(order.qty_lots),
            limit_price=instrument.price_text(order.limit_ticks),
            tif=order.tif.value,
            reduces=int(order.reduces),
            status=OrderStatus.INITIALIZED.value,
            filled="0",
            reason="",
            updated_seq=place.seq,
            updated_ts=place.ts,
        )

    def _moved(self, place: Place, client_order_id: str, status: str, reason: str) -> int:
        return self._write(
            "UPDATE orders SET status = ?, reason = ?, updated_seq = ?, updated_ts = ?"
            " WHERE client_order_id = ?",
            status,
            reason,
            place.seq,
            place.ts,
            client_order_id,
        )

    def _recovered(self, place: Place, event: Recovered) -> None:
        """Orders that a start closed are canceled, unless a word before has closed them."""
        for client_order_id in event.orders_closed:
            self._write(
                "UPDATE orders SET status = 'CANCELED', reason = ?, updated_seq = ?, updated_ts = ?"
                " WHERE client_order_id = ? AND status NOT IN"
                " ('DENIED', 'REJECTED', 'FILLED', 'CANCELED', 'EXPIRED')",
                event.note,
                place.seq,
                place.ts,
                client_order_id,
            )

    def _filled(self, place: Place, event: Filled) -> None:
        fill, instrument = event.fill, self.instrument(event.fill.instrument)
        self._insert(
            "fills",
            **place._asdict(),
            venue=instrument.venue,
            instrument=fill.instrument,
            side=fill.side.value,
            price=event.price,
            quantity=event.quantity,
            notional=event.notional,
            fee=decimal_text(fill.fee),
            fee_currency=fill.fee_currency,
            liquidity="maker" if fill.is_maker else "taker",
            client_order_id=fill.client_order_id,
            decision_id=event.decision_id,
            realized_pnl=event.realized_pnl,
            rationale=event.rationale,
            fill_id=fill.fill_id,
            position=instrument.qty_text(event.position_lots),
        )
        self._add_filled(fill.client_order_id, Decimal(event.quantity))
        self._count(event, lambda: self.lots.write(place, instrument, fill))

    def _count(self, event: Filled, work: Callable[[], object]) -> None:
        """Let lots be counted. Where the engine could not do it the fill stands without them."""
        if event.is_counted:
            work()
        else:
            self.lots.counting.ask(work, None)

    def _add_filled(self, client_order_id: str, quantity: Decimal) -> None:
        row = self._execute(
            "SELECT filled FROM orders WHERE client_order_id = ?", (client_order_id,)
        ).fetchone()
        if row is not None:
            self._write(
                "UPDATE orders SET filled = ? WHERE client_order_id = ?",
                plain(Decimal(row[0]) + quantity),
                client_order_id,
            )


def mid_text(instrument: Instrument, mid2_ticks: int) -> str:
    """Return a mid given in half ticks as exact price text."""
    with localcontext() as context:
        context.prec = EXACT_DIGITS
        return plain(instrument.tick_size * mid2_ticks / 2)


def rebuild(connection: sqlite3.Connection) -> int:
    """Make all projection tables anew from the events; return the events read.

    The caller holds a write transaction. Errors: ``ValueRefused`` for a body that cannot be read.
    """
    for table in ("projected", *reversed(PROJECTION_KEYS)):
        connection.execute(f"DROP TABLE IF EXISTS {table}")
    for statement in PROJECTIONS.split(";\n"):
        connection.execute(statement)
    projector, count, head = Projector(connection), 0, EMPTY_HEAD
    events = connection.cursor().execute("SELECT seq, hash, body FROM events ORDER BY seq")
    for seq, stored_hash, body in events:
        count, head = count + 1, Head(seq, stored_hash)
        kind = form.kind_of(body)
        if kind in SILENT:
            continue
        located = form.read(body, kind)
        projector.apply(Place(seq, located.ts, located.run), located.payload)
    place_tables(connection, head)
    return count


def place_tables(connection: sqlite3.Connection, head: Head) -> None:
    """Note that the tables are those of the events up to ``head``, in the open transaction."""
    if head.seq == 0:
        return
    if not connection.execute("UPDATE projected SET seq = ?, hash = ?", head).rowcount:
        connection.execute("INSERT INTO projected VALUES(?, ?)", head)


def are_tables_current(connection: sqlite3.Connection, head: Head) -> bool:
    """Tell whether the tables have today's shape and say that they are of the event ``head``."""
    model = sqlite3.connect(":memory:")
    try:
        model.executescript(PROJECTIONS)
        wanted = schema_of(model)
    finally:
        model.close()
    found = schema_of(connection)
    if any(found.get(name) != sql for name, sql in wanted.items()):
        return False
    row = connection.execute("SELECT seq, hash FROM projected").fetchone()
    return bool(row == (tuple(head) if head.seq else None))
