"""Fills for Koinly and CoinTracker: their columns, exactly."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import UserError
from ledger.tax import NOT_TAXABLE
from tests.ledger import factory
from tests.ledger.statement import (
    BUY,
    COINTRACKER_HEADER,
    KOINLY_HEADER,
    ROUND_TRIP,
    SELL,
    Deal,
    ledger_of,
    lines,
    made,
    other,
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


def test_sale_of_all_that_was_held_is_no_short_sale(tmp_path: Path) -> None:
    factory.write(tmp_path, ledger_of([
        Deal("2026-03-01T10:00:00", BUY, "2", "100"), Deal("2026-03-02T10:00:00", SELL, "2", "110"),
    ]))  # fmt: skip
    assert made(tmp_path, fmt="koinly").notes == (NOT_TAXABLE,)


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
