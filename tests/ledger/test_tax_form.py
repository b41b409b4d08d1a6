"""Lines of Form 8949: boxes, cents, and every line within a cent of what the ledger realized."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.clock import iso_ns
from core.lots import FifoBook
from core.model.instrument import plain
from core.model.order import Side
from ledger.chain import leaf_hash
from ledger.envelope import seal
from ledger.lot_rows import Place
from ledger.projections import Projector
from ledger.schema import PROJECTIONS, TRUTH
from ledger.tax_form import box_of, cents, form_line
from ledger.tax_source import closed_lots
from ledger.tax_values import TaxLot
from ledger.tax_year import parse_zone
from tests.ledger import factory
from tests.ledger.factory import INSTRUMENT, Dated
from tests.ledger.statement import (
    BUY,
    SELL,
    Deal,
    filled,
    ledger_of,
    lines,
    made,
)


@pytest.mark.parametrize(
    ("venue", "year", "boxes"),
    [
        ("binance", 2025, ("I", "L")),
        ("binance", 2024, ("C", "F")),
        ("alpaca", 2026, ("C", "F")),
    ],
)
def test_box_says_that_no_form_was_received(venue: str, year: int, boxes: tuple[str, str]) -> None:
    assert (
        box_of(venue, year, long_term=False),
        box_of(venue, year, long_term=True),
    ) == boxes


@pytest.mark.parametrize(
    ("exact", "shown"),
    [("0.005", "0.01"), ("0.0049", "0.00"), ("1.015", "1.02"), ("-0.005", "-0.01"),
     ("-0.004", "0.00"), ("2.675", "2.68"), ("1234567890123456789.125", "1234567890123456789.13")],
)  # fmt: skip
def test_cents_are_rounded_half_up(exact: str, shown: str) -> None:
    assert f"{cents(Decimal(exact)):f}" == shown


def test_gain_is_the_difference_of_what_is_shown(tmp_path: Path) -> None:
    """Before, fill, after: the exact gain is 0.011; one side is rounded up, the other down.

    flat        buy 0.001 at 104.50   ->  cost 0.1045, shown 0.10
    long 0.001  sell 0.001 at 115.50  ->  proceeds 0.1155, shown 0.12
    """
    factory.write(tmp_path, ledger_of([
        Deal("2026-03-01T10:00:00", BUY, "0.001", "104.5"),
        Deal("2026-03-02T10:00:00", SELL, "0.001", "115.5"),
    ]))  # fmt: skip
    file = made(tmp_path)
    assert lines(file, "Proceeds", "Cost Basis", "Gain") == [("0.12", "0.10", "0.02")]
    assert file.notes[-1].endswith("exactly 0.011")


class _Memory:
    """A ledger's tables in memory, for many examples."""

    def __init__(self, events: Iterable[Dated]) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.executescript("PRAGMA foreign_keys = ON;" + TRUTH + PROJECTIONS)
        projector = Projector(self.connection)
        for seq, (event, ts_ns, _) in enumerate(events, 1):
            body = seal(
                event, seq=seq, ts_ns=ts_ns, run="run-1", cause=None, actor="system", prev="0" * 64
            )
            row = (seq, leaf_hash(body), body)
            self.connection.execute("INSERT INTO events VALUES(?, ?, ?)", row)
            projector.apply(Place(seq, iso_ns(ts_ns), "run-1"), event)

    def lots(self, year: int, zone: str) -> list[TaxLot]:
        return list(closed_lots(self.connection, year, parse_zone(zone)))


_DEALS = st.lists(
    st.tuples(
        st.sampled_from(Side), st.integers(1, 5_000), st.integers(1, 200_000),
        st.integers(0, 10**6), st.integers(0, 40 * 86_400),
    ),
    min_size=1, max_size=25,
)  # fmt: skip


@settings(max_examples=60)
@given(_DEALS, st.sampled_from(["UTC", "-11:00", "+13:00", "America/New_York"]))
@pytest.mark.slow
def test_gains_of_all_years_add_up_to_what_the_ledger_realized(
    drawn: list[tuple[Side, int, int, int, int]], zone: str
) -> None:
    """The oracle is the FIFO book of the fills; every lot is in one year, whatever the zone."""
    ts, deals = datetime(2024, 11, 1, tzinfo=UTC).timestamp(), []
    book = FifoBook(INSTRUMENT)
    for side, lots, ticks, fee, wait_s in drawn:
        ts += wait_s
        when = datetime.fromtimestamp(ts, UTC).isoformat()[:19]
        texts = (INSTRUMENT.qty_text(lots), INSTRUMENT.price_text(ticks))
        deals.append(Deal(when, side, *texts, plain(Decimal(fee).scaleb(-6))))
    expected = []
    for number, deal in enumerate(deals):
        expected += book.apply(filled(FifoBook(INSTRUMENT), deal, number).fill)
    memory = _Memory(ledger_of(deals))
    found = [lot for year in range(2023, 2030) for lot in memory.lots(year, zone)]
    memory.connection.close()
    form = [form_line(lot, parse_zone(zone)) for lot in found]
    assert [lot.realized for lot in found] == [lot.realized for lot in expected]
    for line, lot in zip(form, expected, strict=True):
        assert abs(line.gain - lot.realized) <= Decimal("0.01")
        assert line.gain == line.proceeds - line.basis
        assert line.gain.as_tuple().exponent == -2
        assert line.acquired <= line.sold
    total = sum((line.gain for line in form), Decimal(0))
    assert abs(total - book.realized) <= Decimal("0.01") * len(form)


@settings(max_examples=60)
@given(_DEALS)
@pytest.mark.slow
def test_proceeds_and_basis_add_up_to_the_money_that_moved(
    drawn: list[tuple[Side, int, int, int, int]],
) -> None:
    """Closed at the end, all that was sold is proceeds and all that was bought is basis."""
    deals = [
        Deal("2026-01-01T00:00:00", side, INSTRUMENT.qty_text(lots), INSTRUMENT.price_text(ticks),
             plain(Decimal(fee).scaleb(-6)))
        for side, lots, ticks, fee, _ in drawn
    ]  # fmt: skip
    held = sum(deal.side.sign * Decimal(deal.quantity) for deal in deals)
    if held:
        side = SELL if held > 0 else BUY
        deals.append(Deal("2026-01-02T00:00:00", side, plain(abs(held)), "77.77", "0.123457"))
    sold = [deal for deal in deals if deal.side is SELL]
    bought = [deal for deal in deals if deal.side is BUY]
    money_in = sum(Decimal(d.quantity) * Decimal(d.price) - Decimal(d.fee) for d in sold)
    money_out = sum(Decimal(d.quantity) * Decimal(d.price) + Decimal(d.fee) for d in bought)
    memory = _Memory(ledger_of(deals))
    lots = memory.lots(2026, "UTC")
    memory.connection.close()
    assert sum(lot.proceeds for lot in lots) == money_in
    assert sum(lot.basis for lot in lots) == money_out


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=6))
def test_cents_are_never_off_by_more_than_half_of_one(value: Decimal) -> None:
    assert abs(cents(value) - value) <= Decimal("0.005")
    assert cents(value) == value.quantize(Decimal("0.01"), ROUND_HALF_UP)
    assert not f"{cents(value):f}".startswith("-0.00")
