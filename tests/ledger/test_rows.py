"""History: what a new run takes over from the events."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from core.errors import Failed, ValueRefused
from core.lots import FifoBook
from core.model.event import (
    ExitsSet,
    Filled,
    OrderChanged,
    OrderIntended,
    Recovered,
    RunEnded,
)
from core.model.exits import ExitKind, Exits
from core.model.instrument import Instrument
from core.model.order import OrderStatus, Side
from ledger.rows import History, load_history
from ledger.store import DB_NAME
from ledger.writer import LedgerWriter
from tests.ledger import factory

Dated = factory.Dated


def test_no_ledger_is_an_empty_history(tmp_path: Path) -> None:
    assert load_history(tmp_path) == History()
    assert list(tmp_path.iterdir()) == []


def test_finished_day_leaves_fills_and_no_orders(tmp_path: Path) -> None:
    seq, head_hash = factory.write_day(tmp_path)
    history = load_history(tmp_path)
    assert (history.run_count, history.last_run_id, history.is_clean) == (1, "run-1", True)
    assert (history.head.seq, history.head.hash.hex()) == (seq, head_hash)
    assert history.open_orders == {}
    assert [past.decision_id for past in history.fills] == ["d-run-1-in"] * 2 + ["d-run-1-out"]


def test_fills_rebuild_the_book_of_the_engine(tmp_path: Path) -> None:
    factory.write_day(tmp_path)
    book = FifoBook(factory.INSTRUMENT)
    for fill in load_history(tmp_path).fills_of([factory.INSTRUMENT]):
        book.apply(fill)
    assert (book.position_lots, book.realized) == (0, Decimal("0.6199884"))


def test_fills_of_other_venues_stay_out(tmp_path: Path) -> None:
    factory.write_day(tmp_path)
    other = Instrument("coinbase", "SIM-USD", "SIM", "USD", Decimal("0.01"), Decimal("0.001"))
    assert load_history(tmp_path).fills_of([other]) == []


def test_fills_come_on_the_grid_of_today_or_not_at_all(tmp_path: Path) -> None:
    factory.write_day(tmp_path)
    history = load_history(tmp_path)
    finer = Instrument("sim", "SIM-USD", "SIM", "USD", Decimal("0.001"), Decimal("0.0005"))
    assert [(fill.price_ticks, fill.qty_lots) for fill in history.fills_of([finer])] == [
        (100_020, 8_000),
        (100_030, 12_000),
        (100_090, 20_000),
    ]
    coarse = Instrument("sim", "SIM-USD", "SIM", "USD", Decimal("0.05"), Decimal("0.001"))
    with pytest.raises(ValueRefused):
        history.fills_of([coarse])


def test_orders_that_nothing_closed_are_open(tmp_path: Path) -> None:
    book = FifoBook(factory.INSTRUMENT)
    events = [factory.run_started()]
    for name in ("never-sent", "working", "unknown", "done", "recovered"):
        events.append(OrderIntended(factory.order(name, "d", Side.BUY, 10_000)))  # type: ignore[arg-type]
    events += [  # type: ignore[arg-type]
        OrderChanged("working", "ACCEPTED", "", 0),
        factory.filled(book, "f-1", "working", "d", Side.BUY, 10_000, 3),
        OrderChanged("working", "PARTIALLY_FILLED", "", 3),
        OrderChanged("unknown", "UNKNOWN", "no reply", 0),
        OrderChanged("done", "CANCELED", "", 0),
        OrderChanged("stranger", "ACCEPTED", "", 0),
        Recovered(("recovered",), {}, "x"),
    ]
    factory.write(tmp_path, [Dated(event, 0) for event in events])
    history = load_history(tmp_path)
    assert {
        key: (found.status, found.filled_lots) for key, found in history.open_orders.items()
    } == {
        "never-sent": (OrderStatus.INITIALIZED, 0),
        "working": (OrderStatus.PARTIALLY_FILLED, 3),
        "unknown": (OrderStatus.UNKNOWN, 0),
    }
    assert history.open_orders["working"].order.qty_lots == 10_000
    assert not history.is_clean


def test_run_that_ended_is_clean_until_the_next_begins(tmp_path: Path) -> None:
    factory.write(tmp_path, [Dated(factory.run_started(), 0), Dated(RunEnded("r", "x", {}), 0)])
    assert load_history(tmp_path).is_clean
    factory.write(tmp_path, [Dated(factory.run_started("run-2"), 0)])
    history = load_history(tmp_path)
    assert (history.is_clean, history.run_count, history.last_run_id) == (False, 2, "run-2")


def test_history_is_read_while_the_writer_holds_the_ledger(tmp_path: Path) -> None:
    factory.write_day(tmp_path)
    ledger = LedgerWriter(tmp_path)
    assert load_history(tmp_path).head.seq == 20
    ledger.close()


def test_event_that_cannot_be_read_stops_the_recovery(tmp_path: Path) -> None:
    factory.write_day(tmp_path)
    with closing(sqlite3.connect(tmp_path / DB_NAME)) as connection:
        connection.execute("DROP TRIGGER events_never_change")
        connection.execute("UPDATE events SET body = x'7b7d' WHERE seq = 9")
        connection.commit()
    with pytest.raises(Failed, match="seq 9"):
        load_history(tmp_path)


def exits_set(lots: int, stop: str) -> ExitsSet:
    exits = Exits(1 if lots > 0 else -1, by_hand=(ExitKind.STOP,))
    return ExitsSet("SIM-USD", lots, "100", exits, stop, None, "human:trader", "stop set")


def test_the_last_exits_of_an_open_position_are_taken_over_and_those_of_a_flat_one_are_not(
    tmp_path: Path,
) -> None:
    day = list(factory.day())
    place = next(i for i, dated in enumerate(day) if isinstance(dated.event, Filled)) + 1
    moved = [Dated(exits_set(5, stop), day[place].ts_ns) for stop in ("99.80", "99.90")]
    opened = [*day[:place], *moved]
    factory.write(tmp_path, opened)
    kept = load_history(tmp_path).exits_of([factory.INSTRUMENT])
    assert {name: event.stop for name, event in kept.items()} == {"SIM-USD": "99.90"}
    other = Instrument("coinbase", "SIM-USD", "SIM", "USD", Decimal("0.01"), Decimal("0.001"))
    assert load_history(tmp_path).exits_of([other]) == {}
    factory.write(tmp_path, day[place:])
    assert load_history(tmp_path).exits_of([factory.INSTRUMENT]) == {}
