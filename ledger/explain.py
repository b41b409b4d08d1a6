"""Explaining a trade from the ledger alone: which events belong to it, told by ``ledger.story``."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from core.errors import UserError
from core.model.event import (
    Answered,
    CancelIntended,
    Decided,
    Filled,
    LedgerEvent,
    MarkedOut,
    OrderChanged,
    OrderIntended,
    RiskChecked,
    RunStarted,
    SlippageMeasured,
    Transferred,
)
from core.model.instrument import Instrument
from ledger.outcome import outcome_of
from ledger.points_view import seen_at
from ledger.reading import Stored, event_at, seqs_of
from ledger.references import instruments_of
from ledger.store import reading
from ledger.story import Story
from ledger.transfer_story import transfer_story


def explain(state_dir: Path, key: str) -> list[str]:
    """Return the story of a fill, order, decision or transfer as lines of plain text.

    ``key`` is a seq or an id. Errors: ``UserError`` if it names nothing that was decided.
    """
    with reading(state_dir) as connection:
        first = [event_at(connection, seq) for seq in seqs_of(connection, key)]
        if isinstance(first[0].event, Transferred):
            instruments = _instruments(connection, first)
            instrument = instruments[first[0].event.transfer.instrument]
            return [safe(line) for line in transfer_story(first[0], first[0].event, instrument)]
        named = [
            stored for stored in first if _order_id(stored.event) or _decision_id(stored.event)
        ]
        if not named:
            raise UserError(
                f"{key[:80]} is a {first[0].envelope.type}: only fills, orders, decisions and "
                "transfers have a story; see it with: tapewright ledger show"
            )
        events = _related(connection, key, named)
        outcomes = {
            stored.seq: outcome_of(connection, stored.seq)
            for stored in events
            if isinstance(stored.event, Filled)
        }
        seen = seen_at(connection, state_dir, events)
        story = Story(events, _instruments(connection, events), outcomes, seen)
    return [safe(line) for line in story.lines()]


def safe(text: str) -> str:
    """Return ``text`` with everything that could steer a terminal replaced by U+FFFD."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def _order_id(event: LedgerEvent) -> str:
    match event:
        case RiskChecked() | OrderChanged() | CancelIntended() | SlippageMeasured() | MarkedOut():
            return event.client_order_id
        case OrderIntended():
            return event.order.client_order_id
        case Filled():
            return event.fill.client_order_id
        case _:
            return ""


def _decision_id(event: LedgerEvent) -> str:
    match event:
        case Decided():
            return event.proposal.decision_id
        case Answered() | RiskChecked() | Filled() | SlippageMeasured():
            return event.decision_id
        case OrderIntended():
            return event.order.decision_id
        case _:
            return ""


def _related(connection: sqlite3.Connection, key: str, named: list[Stored]) -> list[Stored]:
    """Return the events of the orders and decisions that ``named`` speak of, in order.

    Asked for a fill or an order, other orders of the same decision stay out.
    """
    orders = {_order_id(stored.event) for stored in named} - {""}
    is_decision = all(isinstance(stored.event, Decided | Answered) for stored in named) or key in {
        _decision_id(stored.event) for stored in named
    }
    found = _trail(connection, orders)
    decisions = {_decision_id(stored.event) for stored in [*found, *named]} - {""}
    for stored in _trail(connection, decisions):
        order_id = _order_id(stored.event)
        if not order_id or order_id in orders or is_decision:
            found.append(stored)
    if is_decision:
        found += _trail(connection, {_order_id(stored.event) for stored in found} - {""})
    return sorted({stored.seq: stored for stored in found}.values(), key=lambda item: item.seq)


def _trail(connection: sqlite3.Connection, refs: Iterable[str]) -> list[Stored]:
    seqs = {
        seq
        for ref in refs
        for (seq,) in connection.execute("SELECT seq FROM trail WHERE ref = ?", (ref,))
    }
    return [event_at(connection, seq) for seq in sorted(seqs)]


def _instruments(connection: sqlite3.Connection, events: list[Stored]) -> dict[str, Instrument]:
    """Return the instruments as declared by the run of the first event."""
    instruments: dict[str, Instrument] = {}
    for stored in _trail(connection, {events[0].envelope.run}):
        if isinstance(stored.event, RunStarted):
            instruments = instruments_of(stored.event)
    return instruments
