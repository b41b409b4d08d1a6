"""Tax files: statements of account, and every line within a cent of what the ledger realized."""

from __future__ import annotations

import csv
import io
import re
import sqlite3
from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.clock import NS_PER_S, iso_ns
from core.errors import Failed, UserError
from core.lots import FifoBook
from core.model.event import Filled
from core.model.instrument import Instrument, plain
from core.model.order import Fill, Side
from ledger.chain import leaf_hash
from ledger.envelope import seal
from ledger.lot_rows import Place
from ledger.projections import Projector
from ledger.schema import PROJECTIONS, TRUTH
from ledger.store import DB_NAME
from ledger.tax import NOT_TAXABLE, TaxFile, tax_file
from ledger.tax_form import box_of, cents, form_line
from ledger.tax_source import TaxLot, closed_lots
from ledger.tax_year import is_long_term, parse_zone
from tests.ledger import factory
from tests.ledger.factory import INSTRUMENT, Dated

BUY, SELL = Side.BUY, Side.SELL
FORM_HEADER = (
    "Box,Description,Date Acquired,Date Sold,Proceeds,Cost Basis,Code,Adjustment,Gain,Wallet,"
    "Lot IDs,Ledger Seq"
)
KOINLY_HEADER = (
    "Date,Sent Amount,Sent Currency,Received Amount,Received Currency,Fee Amount,Fee Currency,"
    "Net Worth Amount,Net Worth Currency,Label,Description,TxHash"
)
COINTRACKER_HEADER = (
    "Date,Received Quantity,Received Currency,Sent Quantity,Sent Currency,Fee Amount,"
    "Fee Currency,Tag"
)


class Deal(NamedTuple):
    """One line of a statement of account."""

    when: str
    side: Side
    quantity: str
    price: str
    fee: str = "0"
    instrument: Instrument = INSTRUMENT
    fee_currency: str = ""

    @property
    def ts_ns(self) -> int:
        moment = datetime.fromisoformat(self.when).replace(tzinfo=UTC)
        return int(moment.timestamp()) * NS_PER_S


def ledger_of(
    deals: Iterable[Deal], *, broker: str = "paper", run: str = "run-1", number: int = 0
) -> list[Dated]:
    """Return a run that made the deals: RUN_STARTED is its first event, then a FILL each."""
    deals = list(deals)
    books = {deal.instrument.name: FifoBook(deal.instrument) for deal in deals}
    started = factory.run_started(run, [book.instrument for book in books.values()])
    events = [Dated(msgspec.structs.replace(started, broker=broker), deals[0].ts_ns)]
    for place, deal in enumerate(deals, number):
        events.append(Dated(_filled(books[deal.instrument.name], deal, place), deal.ts_ns))
    return events


def _filled(book: FifoBook, deal: Deal, number: int) -> Filled:
    instrument = deal.instrument
    fill = Fill(
        fill_id=f"f-{number}",
        client_order_id=f"o-{number}",
        instrument=instrument.name,
        side=deal.side,
        price_ticks=instrument.ticks(deal.price),
        qty_lots=instrument.lots(deal.quantity),
        fee=Decimal(deal.fee),
        fee_currency=deal.fee_currency or instrument.quote,
        is_maker=False,
        ts_ns=deal.ts_ns,
    )
    realized = sum((lot.realized for lot in book.apply(fill)), Decimal(0))
    return Filled(
        fill=fill,
        decision_id=f"d-{number}",
        price=deal.price,
        quantity=deal.quantity,
        notional=plain(instrument.notional(fill.price_ticks, fill.qty_lots)),
        realized_pnl=plain(realized),
        position_lots=book.position_lots,
        rationale="because",
    )


def made(state_dir: Path, year: int = 2026, fmt: str = "8949", zone: str = "UTC") -> TaxFile:
    return tax_file(state_dir, year=year, file_format=fmt, zone=parse_zone(zone))


def rows_of(file: TaxFile) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.text, newline="")))


def lines(file: TaxFile, *columns: str) -> list[tuple[str, ...]]:
    return [tuple(row[column] for column in columns) for row in rows_of(file)]


def other(**fields: str) -> Instrument:
    return msgspec.structs.replace(INSTRUMENT, **fields)


# --- statements of account: Form 8949 -------------------------------------------------------------


def test_buy_fee_goes_into_the_basis_and_sale_fee_out_of_the_proceeds(tmp_path: Path) -> None:
    """Before, fill, after:

    flat     buy 2 at 100.00, fee 1.50    ->  long 2, cost 201.50
    long 2   sell 2 at 110.00, fee 2.25   ->  flat, proceeds 217.75, gain 16.25
    """
    factory.write(tmp_path, ledger_of([
        Deal("2026-03-01T10:00:00", BUY, "2", "100", "1.5"),
        Deal("2026-03-02T10:00:00", SELL, "2", "110", "2.25"),
    ]))  # fmt: skip
    file = made(tmp_path)
    assert file.text == (
        f"{FORM_HEADER}\r\nI,PAPER 2 SIM,03/01/2026,03/02/2026,217.75,201.50,,,16.25,sim,L2-3,3\r\n"
    )
    assert file.notes == (
        NOT_TAXABLE,
        "total: proceeds 217.75, cost basis 201.50, gain 16.25 USD, of it 16.25 short-term and "
        "0.00 long-term; exactly 16.25",
    )


def test_parts_of_a_lot_share_its_fee_and_are_a_line_each(tmp_path: Path) -> None:
    """Before, fill, after:

    flat     buy 3 at 100.00, fee 3.00   ->  long 3, cost 303.00
    long 3   sell 1 at 120.00            ->  long 2; line: 1, basis 101.00, gain 19.00
    long 2   buy 1 at 130.00, fee 1.00   ->  long 2 of the first, 1 of the second
    long 3   sell 3 at 90.00, fee 0.30   ->  flat; lines: 2 of the first, then 1 of the second
    """
    factory.write(tmp_path, ledger_of([
        Deal("2026-03-01T10:00:00", BUY, "3", "100", "3"),
        Deal("2026-03-02T10:00:00", SELL, "1", "120"),
        Deal("2026-03-03T10:00:00", BUY, "1", "130", "1"),
        Deal("2026-03-04T10:00:00", SELL, "3", "90", "0.3"),
    ]))  # fmt: skip
    columns = ("Description", "Date Acquired", "Proceeds", "Cost Basis", "Gain", "Lot IDs")
    assert lines(made(tmp_path), *columns, "Ledger Seq") == [
        ("PAPER 1 SIM", "03/01/2026", "120.00", "101.00", "19.00", "L2-3", "3"),
        ("PAPER 2 SIM", "03/01/2026", "179.80", "202.00", "-22.20", "L2-5", "5"),
        ("PAPER 1 SIM", "03/03/2026", "89.90", "131.00", "-41.10", "L4-5", "5"),
    ]


def test_short_sale_is_of_the_day_it_was_bought_back_and_short_term(tmp_path: Path) -> None:
    """Before, fill, after:

    flat      sell 2 at 50.00, fee 0.50 in 2024   ->  short 2, proceeds 99.50
    short 2   buy 3 at 40.00, fee 0.30 in 2026    ->  long 1; line of 2026: basis 80.20, gain 19.30
    """
    factory.write(tmp_path, ledger_of([
        Deal("2024-02-01T10:00:00", SELL, "2", "50", "0.5"),
        Deal("2026-03-02T10:00:00", BUY, "3", "40", "0.3"),
    ]))  # fmt: skip
    assert lines(made(tmp_path), *FORM_HEADER.split(",")[:6], "Gain") == [
        ("I", "PAPER 2 SIM, short sale", "03/02/2026", "03/02/2026", "99.50", "80.20", "19.30")
    ]
    assert made(tmp_path, 2024).rows == 0


def test_long_and_short_term_are_apart_in_the_total(tmp_path: Path) -> None:
    """Before, fill, after:

    flat     buy 1 at 10.00 on 2025-01-15   ->  long 1
    long 1   buy 1 at 20.00 on 2025-01-16   ->  long 2
    long 2   sell 2 at 50.00 on 2026-01-16  ->  flat; 40.00 after more than a year, 30.00 after one
    """
    factory.write(tmp_path, ledger_of([
        Deal("2025-01-15T10:00:00", BUY, "1", "10"),
        Deal("2025-01-16T10:00:00", BUY, "1", "20"),
        Deal("2026-01-16T10:00:00", SELL, "2", "50"),
    ]))  # fmt: skip
    file = made(tmp_path)
    assert lines(file, "Box", "Gain") == [("L", "40.00"), ("I", "30.00")]
    assert "of it 30.00 short-term and 40.00 long-term; exactly 70" in file.notes[-1]


def test_fills_of_one_instant_keep_the_order_of_the_ledger(tmp_path: Path) -> None:
    """Before, fill, after, all at 10:00:00:

    flat     buy 1 at 100.00   ->  long 1
    long 1   buy 1 at 110.00   ->  long 2
    long 2   sell 1 at 120.00  ->  long 1, gain 20.00 of the first
    long 1   sell 1 at 105.00  ->  flat, loss 5.00 of the second
    """
    now = "2026-03-01T10:00:00"
    factory.write(tmp_path, ledger_of([
        Deal(now, BUY, "1", "100"), Deal(now, BUY, "1", "110"),
        Deal(now, SELL, "1", "120"), Deal(now, SELL, "1", "105"),
    ]))  # fmt: skip
    assert lines(made(tmp_path), "Lot IDs", "Gain") == [("L2-4", "20.00"), ("L3-5", "-5.00")]
    assert [row["Description"][-1] for row in rows_of(made(tmp_path, fmt="koinly"))] == [
        "2", "3", "4", "5",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("zone", "year", "dates"),
    [
        ("UTC", 2026, ("12/31/2025", "01/01/2026")),
        ("America/New_York", 2025, ("12/31/2025", "12/31/2025")),
        ("-05:00", 2025, ("12/31/2025", "12/31/2025")),
        ("Asia/Tokyo", 2026, ("01/01/2026", "01/01/2026")),
        ("+14:00", 2026, ("01/01/2026", "01/01/2026")),
    ],
)
def test_year_and_dates_are_those_of_the_zone(
    tmp_path: Path, zone: str, year: int, dates: tuple[str, str]
) -> None:
    """Before, fill, after:

    flat     buy 1 at 2025-12-31 20:00 UTC    ->  long 1
    long 1   sell 1 at 2026-01-01 04:59:59    ->  flat, in a year that the zone decides
    """
    factory.write(tmp_path, ledger_of([
        Deal("2025-12-31T20:00:00", BUY, "1", "100"),
        Deal("2026-01-01T04:59:59", SELL, "1", "110"),
    ]))  # fmt: skip
    assert lines(made(tmp_path, year, zone=zone), "Date Acquired", "Date Sold") == [dates]
    for wrong in (year - 1, year + 1):
        assert made(tmp_path, wrong, zone=zone).rows == 0


def test_lots_go_on_over_runs_and_a_second_wallet_has_its_own(tmp_path: Path) -> None:
    """Before, fill, after:

    run-1 on sim     flat     buy 1 at 100.00   ->  long 1
    run-2 on paper2  flat     buy 1 at 10.00    ->  long 1 there
    run-3 on sim     long 1   sell 1 at 130.00  ->  flat; gain 30.00, not 120.00
    """
    away = other(venue="paper2")
    first = [Deal("2026-01-01T00:00:00", BUY, "1", "100")]
    second = [Deal("2026-01-02T00:00:00", BUY, "1", "10", instrument=away)]
    third = [Deal("2026-01-03T00:00:00", SELL, "1", "130")]
    events = ledger_of(first) + ledger_of(second, run="run-2", number=1)
    factory.write(tmp_path, events + ledger_of(third, run="run-3", number=2))
    assert lines(made(tmp_path), "Gain", "Wallet", "Lot IDs") == [("30.00", "sim", "L2-6")]


# --- boxes, holding, cents ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("acquired", "last_short_day", "first_long_day"),
    [
        ("2025-01-15", "2026-01-15", "2026-01-16"),
        ("2024-12-31", "2025-12-31", "2026-01-01"),
        ("2023-02-28", "2024-02-29", "2024-03-01"),
        ("2024-02-28", "2025-02-28", "2025-03-01"),
        ("2024-02-29", "2025-02-28", "2025-03-01"),
        ("2023-03-01", "2024-03-01", "2024-03-02"),
    ],
)
def test_more_than_a_year_counts_from_the_day_after(
    acquired: str, last_short_day: str, first_long_day: str
) -> None:
    bought = date.fromisoformat(acquired)
    assert not is_long_term(bought, bought)
    assert not is_long_term(bought, date.fromisoformat(last_short_day))
    assert is_long_term(bought, date.fromisoformat(first_long_day))


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
        filled = _filled(FifoBook(INSTRUMENT), deal, number)
        expected += book.apply(filled.fill)
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


# --- importers ------------------------------------------------------------------------------------

ROUND_TRIP = (
    Deal("2026-03-01T10:00:00", BUY, "2", "100", "1.5"),
    Deal("2026-12-31T23:59:59", SELL, "2.5", "110.05"),
)


def test_koinly_gets_its_columns_and_utc(tmp_path: Path) -> None:
    factory.write(tmp_path, ledger_of(ROUND_TRIP))
    file = made(tmp_path, fmt="koinly", zone="-05:00")
    assert file.text == (
        f"{KOINLY_HEADER}\r\n"
        "2026-03-01 10:00:00 UTC,200,USD,2,SIM,1.5,USD,,,,"
        '"PAPER buy SIM-USD on sim, fill f-0, ledger seq 2",\r\n'
        "2026-12-31 23:59:59 UTC,2.5,SIM,275.125,USD,,,,,,"
        '"PAPER sell SIM-USD on sim, fill f-1, ledger seq 3",\r\n'
    )
    assert file.notes == (
        NOT_TAXABLE,
        "1 fills sold more than was held: importers know no short sales and will miss a purchase",
    )


def test_cointracker_gets_its_columns_and_the_tag_says_paper(tmp_path: Path) -> None:
    factory.write(tmp_path, ledger_of(ROUND_TRIP))
    assert made(tmp_path, fmt="cointracker").text == (
        f"{COINTRACKER_HEADER}\r\n"
        "03/01/2026 10:00:00,2,SIM,200,USD,1.5,USD,PAPER\r\n"
        "12/31/2026 23:59:59,275.125,USD,2.5,SIM,,,PAPER\r\n"
    )


def test_importers_take_any_quote_and_a_fee_in_a_third_currency(tmp_path: Path) -> None:
    euro = other(name="SIM-EUR", quote="EUR")
    deal = Deal("2026-03-01T10:00:00", BUY, "2", "100", "0.5", euro, "BNB")
    factory.write(tmp_path, ledger_of([deal]))
    columns = ("Sent Amount", "Sent Currency", "Fee Amount", "Fee Currency")
    assert lines(made(tmp_path, fmt="koinly"), *columns) == [("200", "EUR", "0.5", "BNB")]


@pytest.mark.parametrize("fmt", ["koinly", "cointracker"])
def test_rebate_is_refused_by_importers(tmp_path: Path, fmt: str) -> None:
    factory.write(tmp_path, ledger_of([Deal("2026-03-01T10:00:00", BUY, "2", "100", "-0.5")]))
    with pytest.raises(UserError, match=r"^seq 2: the fee is a rebate"):
        made(tmp_path, fmt=fmt)


# --- marks, guards, refusals ----------------------------------------------------------------------


@pytest.mark.parametrize("broker", ["paper", "sim", "delayed"])
@pytest.mark.parametrize("fmt", ["8949", "koinly", "cointracker"])
def test_every_row_says_paper_and_the_same_ledger_makes_the_same_file(
    tmp_path: Path, broker: str, fmt: str
) -> None:
    factory.write(tmp_path, ledger_of(ROUND_TRIP, broker=broker))
    file = made(tmp_path, fmt=fmt)
    assert file.rows == len(rows_of(file)) > 0
    column = "Tag" if fmt == "cointracker" else "Description"
    assert all(re.match(r"PAPER( |$)", row[column]) for row in rows_of(file))
    assert file.notes[0] == NOT_TAXABLE
    assert made(tmp_path, fmt=fmt) == file


@pytest.mark.parametrize("fmt", ["8949", "koinly", "cointracker"])
def test_run_that_traded_money_is_refused(tmp_path: Path, fmt: str) -> None:
    factory.write(tmp_path, ledger_of(ROUND_TRIP, broker="coinbase"))
    with pytest.raises(UserError, match="traded by the broker 'coinbase'"):
        made(tmp_path, fmt=fmt)


def test_text_columns_start_no_formula_and_losses_stay_numbers(tmp_path: Path) -> None:
    evil = other(venue="=cmd|' /C calc'!A1", base="+SIM", name="-USD", quote="USDT")
    factory.write(tmp_path, ledger_of([
        Deal("2026-03-01T10:00:00", BUY, "2", "100", instrument=evil, fee="0.01"),
        Deal("2026-03-02T10:00:00", SELL, "2", "90", instrument=evil),
    ]))  # fmt: skip
    (row,) = rows_of(made(tmp_path))
    assert row["Wallet"] == "'=cmd|' /C calc'!A1"
    assert row["Gain"] == "-20.01"
    for fmt in ("8949", "koinly", "cointracker"):
        for row in rows_of(made(tmp_path, fmt=fmt)):
            for name, cell in row.items():
                assert not cell.startswith(("=", "+", "@")), name
                assert not cell.startswith("-") or re.fullmatch(r"-\d+\.\d\d", cell), name
    assert rows_of(made(tmp_path, fmt="koinly"))[0]["Received Currency"] == "'+SIM"


@pytest.mark.parametrize("coin", ["USDT", "USDC", "BUSD"])
def test_dollar_coin_counts_as_a_dollar_and_is_told(tmp_path: Path, coin: str) -> None:
    pair = other(name=f"SIM{coin}", quote=coin)
    factory.write(tmp_path, ledger_of([
        Deal("2026-03-01T10:00:00", BUY, "2", "100", instrument=pair),
        Deal("2026-03-02T10:00:00", SELL, "2", "110", instrument=pair),
    ]))  # fmt: skip
    file = made(tmp_path)
    assert lines(file, "Gain") == [("20.00",)]
    assert file.notes[1] == f"{coin} counted as USD, one to one"


@pytest.mark.parametrize("quote", ["EUR", "BTC", "USDX"])
def test_other_quote_is_refused_by_the_form(tmp_path: Path, quote: str) -> None:
    pair = other(name=f"SIM-{quote}", quote=quote)
    factory.write(tmp_path, ledger_of([
        Deal("2026-03-01T10:00:00", BUY, "2", "100", instrument=pair),
        Deal("2026-03-02T10:00:00", SELL, "2", "110", instrument=pair),
    ]))  # fmt: skip
    with pytest.raises(UserError, match=f"^seq 3: SIM-{quote} is traded in {quote}, Form 8949 is"):
        made(tmp_path)


@pytest.mark.parametrize("leg", [0, 1])
def test_fee_in_a_third_currency_is_refused_by_the_form(tmp_path: Path, leg: int) -> None:
    deals = [
        Deal("2026-03-01T10:00:00", BUY, "2", "100", "0.5"),
        Deal("2026-03-02T10:00:00", SELL, "2", "110", "0.5"),
    ]
    deals[leg] = deals[leg]._replace(fee_currency="BNB")
    factory.write(tmp_path, ledger_of(deals))
    with pytest.raises(UserError, match=r"^seq 3: a fee of this lot of SIM-USD was paid in BNB"):
        made(tmp_path)


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("UPDATE lots SET close_price = '999'", "seq 3: the lot opened by 2 does not add up"),
        ("UPDATE lots SET close_price = '=1+1'", "seq 3: close_price was '=1\\+1'"),
        ("UPDATE lots SET quantity = 'NaN'", "seq 3: quantity was 'NaN'"),
        ("DELETE FROM trail", "run run-1 has no RUN_STARTED"),
    ],
)
def test_table_changed_by_hand_is_not_reported(tmp_path: Path, sql: str, problem: str) -> None:
    factory.write(tmp_path, ledger_of([
        Deal("2026-03-01T10:00:00", BUY, "2", "100"), Deal("2026-03-02T10:00:00", SELL, "2", "110"),
    ]))  # fmt: skip
    connection = sqlite3.connect(tmp_path / DB_NAME, isolation_level=None)
    connection.execute(sql)
    connection.close()
    with pytest.raises(Failed, match=f"^{problem}"):
        made(tmp_path)


def test_base_traded_as_several_instruments_is_told(tmp_path: Path) -> None:
    second = other(name="SIM-USDC", quote="USDC")
    factory.write(tmp_path, ledger_of([
        Deal("2026-03-01T10:00:00", BUY, "1", "100"),
        Deal("2026-03-02T10:00:00", BUY, "1", "100", instrument=second),
        Deal("2026-03-03T10:00:00", SELL, "1", "110", instrument=second),
        Deal("2026-03-04T10:00:00", SELL, "1", "110"),
    ]))  # fmt: skip
    notes = made(tmp_path).notes
    assert sum("SIM on sim was traded as SIM-USD, SIM-USDC" in note for note in notes) == 1


def test_stocks_take_other_boxes_and_wash_sales_are_told_of(tmp_path: Path) -> None:
    stock = other(venue="alpaca", name="SPY", base="SPY")
    factory.write(tmp_path, ledger_of([
        Deal("2026-03-01T10:00:00", BUY, "1", "100", instrument=stock),
        Deal("2026-03-03T10:00:00", SELL, "1", "90", instrument=stock),
    ]))  # fmt: skip
    file = made(tmp_path)
    assert lines(file, "Box", "Code", "Adjustment", "Gain") == [("C", "", "", "-10.00")]
    assert "stocks: wash sales are not looked for; Code and Adjustment are empty" in file.notes


@pytest.mark.parametrize(
    ("fmt", "header", "note"),
    [
        ("8949", FORM_HEADER, "no lots were closed in 2031 (UTC): the file has only its header"),
        ("koinly", KOINLY_HEADER, "no fills in 2031 (UTC): the file has only its header"),
        ("cointracker", COINTRACKER_HEADER, "no fills in 2031 (UTC): the file has only its header"),
    ],
)
def test_year_without_rows_is_a_header_and_a_note(
    tmp_path: Path, fmt: str, header: str, note: str
) -> None:
    factory.write_day(tmp_path)
    assert made(tmp_path, 2031, fmt) == (header + "\r\n", 0, (NOT_TAXABLE, note))


@pytest.mark.parametrize(
    "text",
    ["", "nowhere", "America", "../../etc/passwd", "/etc/localtime", "+15:00", "5", "-05:60", "٠"],
)
def test_bad_zone_is_one_clear_line(text: str) -> None:
    with pytest.raises(UserError, match=r"^--timezone was .* allowed is UTC, an offset") as caught:
        parse_zone(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "hours"), [("UTC", 0), ("utc", 0), ("+05:30", 5.5), ("-0330", -3.5), ("Asia/Tokyo", 9)]
)
def test_zone_is_an_offset_or_a_name(text: str, hours: float) -> None:
    offset = datetime(2026, 1, 1, tzinfo=parse_zone(text)).utcoffset()
    assert offset is not None
    assert offset.total_seconds() == hours * 3600
