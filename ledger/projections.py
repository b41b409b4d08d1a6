"""Projections: decisions, orders, fills and lots as tables, derived from the events alone.

Written in the same transaction as the events, so they are never behind. ``rebuild`` makes them
anew; ``ledger.verify`` compares. ``Projector.apply`` is total: a new event type without a case
fails the type check and a test.
"""

from __future__ import annotations

import sqlite3
from decimal import Decimal, localcontext
from typing import Any, assert_never

from core.errors import InvariantError
from core.model.event import (
    Answered,
    AnyEvent,
    CancelIntended,
    CommandRefused,
    Decided,
    FeedChanged,
    FilesRemoved,
    Filled,
    KillTripped,
    LedgerEvent,
    ModeChanged,
    NotDecided,
    OrderChanged,
    OrderIntended,
    Rearmed,
    Recovered,
    RiskChecked,
    RunEnded,
    RunStarted,
)
from core.model.instrument import Instrument, plain
from core.model.order import OrderStatus
from ledger.canonical import decimal_text, float_text
from ledger.envelope import unseal
from ledger.lot_rows import LotTable, Place
from ledger.references import instruments_of, refs_of
from ledger.schema import PROJECTION_KEYS, PROJECTIONS

WARMING = frozenset({b"RUN_STARTED", b"FILL"})
"""Types whose events the projector must have seen to go on: instruments, positions."""
EXACT_DIGITS = 60


class Projector:
    """Applies events to the projection tables of one connection, in order."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
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
            self.lots.warm(seq, self.instrument(event.fill.instrument), event.fill)

    def apply(  # noqa: C901 - one case an event type, so that it is seen to be total
        self, place: Place, event: LedgerEvent
    ) -> None:
        """Write what an event means for the tables; the caller owns the transaction."""
        for ref in sorted(refs_of(event)):
            self._write("INSERT INTO trail VALUES(?, ?)", ref, place.seq)
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
            case (
                RunEnded() | FeedChanged() | NotDecided() | CancelIntended() | KillTripped()
                | Rearmed() | ModeChanged() | CommandRefused() | FilesRemoved()
            ):  # fmt: skip
                pass  # no row: the event itself is the record
            case _:
                assert_never(known)

    def _write(self, sql: str, *values: Any) -> int:
        return self._connection.execute(sql, values).rowcount

    def _insert(self, table: str, **row: Any) -> None:
        marks = ", ".join("?" * len(row))
        sql = f"INSERT INTO {table}({', '.join(row)}) VALUES({marks})"
        self._write(sql, *row.values())

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
        self.lots.write(place, instrument, fill)

    def _add_filled(self, client_order_id: str, quantity: Decimal) -> None:
        row = self._connection.execute(
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
    for table in reversed(PROJECTION_KEYS):
        connection.execute(f"DROP TABLE IF EXISTS {table}")
    for statement in PROJECTIONS.split(";\n"):
        connection.execute(statement)
    projector, count = Projector(connection), 0
    for seq, body in connection.execute("SELECT seq, body FROM events ORDER BY seq").fetchall():
        envelope, event = unseal(body)
        projector.apply(Place(seq, envelope.ts, envelope.run), event)
        count += 1
    return count
