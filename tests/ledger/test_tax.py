"""Tax files as statements of account, what every row says, and what is refused."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from core.errors import Failed, UserError
from ledger.store import DB_NAME
from ledger.tax import NOT_TAXABLE
from tests.ledger import factory
from tests.ledger.statement import (
    BUY,
    COINTRACKER_HEADER,
    FORM_HEADER,
    KOINLY_HEADER,
    ROUND_TRIP,
    SELL,
    Deal,
    ledger_of,
    lines,
    made,
    other,
    rows_of,
)


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
    ("zone", "year", "dates", "fills"),
    [
        ("UTC", 2026, ("12/31/2025", "01/01/2026"), (1, 1)),
        ("America/New_York", 2025, ("12/31/2025", "12/31/2025"), (2, 0)),
        ("-05:00", 2025, ("12/31/2025", "12/31/2025"), (2, 0)),
        ("Asia/Tokyo", 2026, ("01/01/2026", "01/01/2026"), (0, 2)),
        ("+14:00", 2026, ("01/01/2026", "01/01/2026"), (0, 2)),
    ],
)
def test_year_and_dates_are_those_of_the_zone(
    tmp_path: Path, zone: str, year: int, dates: tuple[str, str], fills: tuple[int, int]
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
    assert tuple(made(tmp_path, each, "koinly", zone).rows for each in (2025, 2026)) == fills


def test_close_on_the_old_years_last_day_is_of_the_new_year_in_the_east(tmp_path: Path) -> None:
    """Before, fill, after:

    flat     buy 1 at 2025-12-31 10:00 UTC   ->  long 1
    long 1   sell 1 at 2025-12-31 10:00:01   ->  flat, in 2026 on Kiritimati (+14:00)
    """
    factory.write(tmp_path, ledger_of([
        Deal("2025-12-31T10:00:00", BUY, "1", "100"),
        Deal("2025-12-31T10:00:01", SELL, "1", "110"),
    ]))  # fmt: skip
    assert [made(tmp_path, year, zone="+14:00").rows for year in (2025, 2026)] == [0, 1]


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


@pytest.mark.parametrize("brokers", [("coinbase", "paper"), ("paper", "coinbase")])
def test_lot_of_a_run_that_traded_money_is_refused(
    tmp_path: Path, brokers: tuple[str, str]
) -> None:
    bought = Deal("2025-03-01T10:00:00", BUY, "2", "100")
    sold = Deal("2026-03-02T10:00:00", SELL, "2", "110")
    events = ledger_of([bought], broker=brokers[0])
    factory.write(tmp_path, events + ledger_of([sold], broker=brokers[1], run="run-2", number=1))
    with pytest.raises(UserError, match=r"^run run-[12] traded by the broker 'coinbase'"):
        made(tmp_path)


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
