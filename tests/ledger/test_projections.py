"""The tables: what each event means for them, and that nothing is left out."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InvariantError, ValueRefused
from core.lots import FifoBook
from core.model.event import AnyEvent, LedgerEvent, OrderChanged, Recovered, RiskChecked, RunStarted
from core.model.instrument import Instrument
from core.model.order import OrderStatus, Side
from ledger.chain import leaf_hash
from ledger.envelope import seal, type_of
from ledger.lot_rows import Place, regrid
from ledger.projections import SILENT, Projector, rebuild
from ledger.references import instruments_of
from ledger.resume import CARRIED
from ledger.schema import PROJECTION_KEYS, PROJECTIONS, TRUTH
from tests.ledger import factory


class _Tables:
    """Projection tables in memory, fed event by event."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.executescript("PRAGMA foreign_keys = ON;" + TRUTH + PROJECTIONS)
        self.projector = Projector(self.connection)
        self.seq = 0

    def take(self, *events: LedgerEvent) -> None:
        for event in events:
            self.seq += 1
            body = seal(
                event, seq=self.seq, ts_ns=self.seq, run="run-1", cause=None, actor="system",
                prev="0" * 64,
            )  # fmt: skip
            self.connection.execute(
                "INSERT INTO events VALUES(?, ?, ?)", (self.seq, leaf_hash(body), body)
            )
            ts = f"1970-01-01T00:00:00.{self.seq:09d}Z"
            self.projector.apply(Place(self.seq, ts, "run-1"), event)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql).fetchall()

    def dump(self) -> dict[str, list[tuple[Any, ...]]]:
        return {
            table: self.rows(f"SELECT * FROM {table} ORDER BY {keys}")
            for table, keys in PROJECTION_KEYS.items()
        }


@pytest.fixture
def tables() -> Iterator[_Tables]:
    made = _Tables()
    yield made
    made.connection.close()


def test_every_event_type_is_in_the_factory_and_has_a_mapping(tables: _Tables) -> None:
    events = factory.one_of_each()
    assert {type(event) for event in events} == set(AnyEvent.__args__)
    tables.take(*events)
    assert tables.rows("SELECT count(*) FROM fills") == [(3,)]


def test_unknown_event_type_has_no_mapping(tables: _Tables) -> None:
    class Stranger(LedgerEvent, frozen=True, tag="STRANGER"):
        pass

    with pytest.raises(AssertionError):
        tables.projector.apply(Place(1, "t", "r"), Stranger())


def test_rebuild_makes_the_same_tables_from_the_events(tables: _Tables) -> None:
    tables.take(*factory.one_of_each())
    before = tables.dump()
    tables.connection.execute("UPDATE fills SET price = '1'")
    tables.connection.execute("DELETE FROM trail")
    assert rebuild(tables.connection) == tables.seq
    assert tables.dump() == before
    assert all(before.values())


def test_decision_is_answered_in_its_row(tables: _Tables) -> None:
    tables.take(*[dated.event for dated in factory.day()[:5]])
    assert tables.rows(
        "SELECT action, side, quantity, limit_price, mid, p_up, skill, agent_lean, verdict,"
        " answered_by, waited_ns, drift_ticks FROM decisions"
    ) == [
        ("ENTER_LONG", "BUY", "10", "100.04", "100.015", "0.573125", "0.0123", "0.46",
         "approved", "human:trader", 1_234_000_000, "0.5"),
    ]  # fmt: skip


def test_what_is_not_known_stays_null(tables: _Tables) -> None:
    idea = factory.proposal("d-1", Side.BUY, factory.Action.ENTER_LONG, 20_000)
    unproven = msgspec.structs.replace(idea.forecast, skill=None)
    idea = msgspec.structs.replace(idea, agent=None, forecast=unproven)
    tables.take(factory.run_started(), factory.Decided(idea, factory.Mode.AUTO))
    assert tables.rows("SELECT skill, agent_id, agent_lean, verdict FROM decisions") == [
        (None, None, None, None)
    ]


def test_order_follows_its_statuses_and_fills(tables: _Tables) -> None:
    book = FifoBook(factory.INSTRUMENT)
    tables.take(
        factory.run_started(),
        factory.OrderIntended(factory.order("o-1", "d-1", Side.BUY, 10_000)),
        OrderChanged("o-1", "SUBMITTED", "", 0),
        factory.filled(book, "f-1", "o-1", "d-1", Side.BUY, 10_000, 4),
        factory.filled(book, "f-2", "o-1", "d-1", Side.BUY, 10_000, 5),
        OrderChanged("o-1", "EXPIRED", "rest of IOC", 9),
    )
    assert tables.rows("SELECT status, quantity, filled, reason, updated_seq FROM orders") == [
        ("EXPIRED", "10", "0.009", "rest of IOC", 6)
    ]


def test_order_denied_before_its_intent_is_described_by_its_decision(tables: _Tables) -> None:
    idea = factory.proposal("d-1", Side.SELL, factory.Action.EXIT, 20_000)
    tables.take(
        factory.run_started(),
        factory.Decided(idea, factory.Mode.AUTO),
        RiskChecked("o-1", "d-1", allowed=False, code="collar", checks=()),
    )
    row = "SELECT client_order_id, side, quantity, reduces, status, filled, reason FROM orders"
    assert tables.rows(row) == [("o-1", "SELL", "10", 1, "DENIED", "0", "collar")]


def test_order_denied_after_its_intent_keeps_its_row(tables: _Tables) -> None:
    tables.take(
        factory.run_started(),
        factory.OrderIntended(factory.order("o-1", "d-1", Side.BUY, 10_000)),
        RiskChecked("o-1", "d-1", allowed=False, code="collar", checks=()),
        RiskChecked("o-2", "d-none", allowed=False, code="collar", checks=()),
    )
    assert tables.rows("SELECT client_order_id, status, reason, seq FROM orders") == [
        ("o-1", "DENIED", "collar", 2)
    ]


def test_recovery_closes_what_was_open_and_only_that(tables: _Tables) -> None:
    tables.take(factory.run_started())
    for number, status in enumerate(OrderStatus):
        order_id = f"o-{number}"
        tables.take(
            factory.OrderIntended(factory.order(order_id, "d", Side.BUY, 1)),
            OrderChanged(order_id, status.value, "", 0),
        )
    ids = tuple(f"o-{number}" for number in range(len(OrderStatus)))
    tables.take(Recovered(ids, {}, "died with the process"))
    after = [OrderStatus(status) for (status,) in tables.rows("SELECT status FROM orders")]
    for before, status in zip(OrderStatus, after, strict=True):
        assert status is (before if before.is_closed else OrderStatus.CANCELED)


def test_same_order_id_twice_is_refused(tables: _Tables) -> None:
    intent = factory.OrderIntended(factory.order("o-1", "d-1", Side.BUY, 1))
    tables.take(factory.run_started(), intent)
    with pytest.raises(sqlite3.IntegrityError):
        tables.take(intent)


def test_same_fill_of_an_order_twice_is_refused(tables: _Tables) -> None:
    event = factory.filled(FifoBook(factory.INSTRUMENT), "f-1", "o-1", "d-1", Side.BUY, 1, 1)
    tables.take(factory.run_started(), event)
    with pytest.raises(sqlite3.IntegrityError):
        tables.take(event)


def test_event_of_an_undeclared_instrument_is_refused(tables: _Tables) -> None:
    with pytest.raises(InvariantError, match="not declared"):
        tables.take(factory.OrderIntended(factory.order("o-1", "d-1", Side.BUY, 1)))


def test_run_that_describes_an_instrument_badly_is_refused() -> None:
    for fields in ({}, {"name": "A", "base": "A", "quote": "B", "tick_size": "x", "lot_size": "1"}):
        event = msgspec.structs.replace(factory.run_started(), instruments=(fields,))
        with pytest.raises(InvariantError, match="described an instrument badly"):
            instruments_of(event)


# --- lots -----------------------------------------------------------------------------------------


def test_lots_open_close_and_turn(tables: _Tables) -> None:
    """Before, fill, after:

    flat      buy 5   ->  long 5
    long 5    sell 2  ->  long 3, closed 2
    long 3    sell 4  ->  short 1, closed 3
    """
    book = FifoBook(factory.INSTRUMENT)
    tables.take(
        factory.run_started(),
        factory.filled(book, "f", "o-1", "d", Side.BUY, 10_000, 5),
        factory.filled(book, "f", "o-2", "d", Side.SELL, 10_010, 2),
        factory.filled(book, "f", "o-3", "d", Side.SELL, 9_990, 4),
    )
    lots = tables.rows(
        "SELECT open_seq, close_seq, side, quantity, open_price, close_price FROM lots"
        " ORDER BY open_seq, close_seq"
    )
    assert lots == [
        (2, 3, "LONG", "0.002", "100", "100.1"),
        (2, 4, "LONG", "0.003", "100", "99.9"),
        (4, None, "SHORT", "0.001", "99.9", None),
    ]
    realized = [Decimal(row[0]) for row in tables.rows(
        "SELECT realized_pnl FROM lots WHERE close_seq IS NOT NULL"
    )]  # fmt: skip
    assert sum(realized) == book.realized


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.sampled_from(Side), st.integers(9_000, 11_000), st.integers(1, 50)),
        min_size=1,
        max_size=30,
    )
)
def test_lots_keep_quantity_fees_and_realized_of_any_fills(
    trades: list[tuple[Side, int, int]],
) -> None:
    book, tables = FifoBook(factory.INSTRUMENT), _Tables()
    tables.take(factory.run_started())
    for number, (side, ticks, lots) in enumerate(trades):
        tables.take(factory.filled(book, "f", f"o-{number}", "d", side, ticks, lots))
    rows = tables.rows("SELECT side, quantity, open_fee, close_fee, realized_pnl FROM lots")
    held = sum(
        (1 if side == "LONG" else -1) * Decimal(quantity)
        for side, quantity, _, close_fee, _ in rows
        if close_fee is None
    )
    assert held == factory.INSTRUMENT.qty(book.position_lots)
    assert sum(Decimal(row[4]) for row in rows if row[4] is not None) == book.realized
    assert sum(Decimal(row[2]) + Decimal(row[3] or 0) for row in rows) == book.fees
    before = tables.dump()
    rebuild(tables.connection)
    assert tables.dump() == before
    tables.connection.close()


def test_lots_move_onto_a_finer_grid_exactly(tables: _Tables) -> None:
    finer = Instrument("sim", "SIM-USD", "SIM", "USD", Decimal("0.001"), Decimal("0.0001"))
    book = FifoBook(factory.INSTRUMENT)
    tables.take(factory.run_started(), factory.filled(book, "f", "o-1", "d", Side.BUY, 10_000, 5))
    moved = regrid(book, finer)
    assert (moved.position_lots, moved.open_lots[0].price_ticks) == (50, 100_000)
    tables.take(
        factory.run_started("run-2", [finer]),
        factory.filled(moved, "f", "o-2", "d", Side.SELL, 100_100, 50),
    )
    assert tables.rows("SELECT quantity, open_price, close_price FROM lots") == [
        ("0.005", "100", "100.1")
    ]


def test_lots_that_do_not_lie_on_the_new_grid_are_refused() -> None:
    coarse = Instrument("sim", "SIM-USD", "SIM", "USD", Decimal("0.03"), Decimal("0.001"))
    book = FifoBook(factory.INSTRUMENT)
    factory.filled(book, "f", "o-1", "d", Side.BUY, 10_000, 5)
    with pytest.raises(ValueRefused):
        regrid(book, coarse)


# --- the truth table ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE events SET body = x'00' WHERE seq = 1",
        "UPDATE events SET seq = 9 WHERE seq = 1",
        "DELETE FROM events WHERE seq = 1",
        "DELETE FROM events",
        "INSERT OR REPLACE INTO events SELECT * FROM events WHERE seq = 1",
        "INSERT INTO events VALUES(9, zeroblob(32), x'00')",
        "INSERT INTO events VALUES(2, zeroblob(31), x'00')",
        "INSERT INTO events VALUES(2, zeroblob(32), NULL)",
        "INSERT INTO events VALUES(2, zeroblob(32), 'text')",
    ],
)
def test_events_can_only_be_appended(tables: _Tables, sql: str) -> None:
    tables.take(factory.run_started())
    before = tables.rows("SELECT * FROM events")
    with pytest.raises(sqlite3.IntegrityError):
        tables.connection.execute(sql)
    assert tables.rows("SELECT * FROM events") == before


def test_rows_of_a_run_on_several_venues_name_the_venue_of_their_instrument() -> None:
    tables = _Tables()
    events = [each.event for each in factory.day()]
    started = next(each for each in events if isinstance(each, RunStarted))
    own = tuple({**fields, "venue": "coinbase"} for fields in started.instruments)
    joined = msgspec.structs.replace(started, venue="binance+coinbase", instruments=own)
    tables.take(*(joined if each is started else each for each in events))
    for table in ("decisions", "orders", "fills"):
        assert set(tables.rows(f"SELECT venue FROM {table}")) == {("coinbase",)}
    assert {each.venue for each in instruments_of(joined).values()} == {"coinbase"}
    assert {each.venue for each in instruments_of(started).values()} == {started.venue}


def test_silent_types_leave_no_row_in_any_table(tables: _Tables) -> None:
    tables.take(*factory.one_of_each())
    before = tables.dump()
    silent = [event for event in factory.one_of_each() if type_of(event) in SILENT]
    assert {type_of(event) for event in silent} == SILENT
    assert not SILENT & CARRIED
    tables.take(*silent)
    assert tables.dump() == before
