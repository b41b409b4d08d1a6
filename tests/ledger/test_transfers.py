"""Transfers and fees paid in coins in the ledger: lots, tables, verification, tax files."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core.lots import FifoBook
from core.model.event import MovedLot, Transferred
from core.model.instrument import plain
from core.model.transfer import Transfer, TransferWay
from core.state import StateDir
from core.transfers import spent_by
from ledger.explain import explain
from ledger.rebuild import rebuild_tables
from ledger.rows import load_history
from ledger.store import reading
from ledger.verify import verify
from tests.ledger import attacker, factory
from tests.ledger.factory import INSTRUMENT, Dated, moved
from tests.ledger.statement import BUY, SELL, Deal, filled, lines, made, rows_of

COIN = msgspec.structs.replace(INSTRUMENT, name="FEE-USD", base="FEE", lot_size=Decimal("0.01"))


class Statement:
    """Deals and transfers of two instruments as a ledger; each agrees with the lots before it."""

    def __init__(self) -> None:
        self.books = {each.name: FifoBook(each) for each in (INSTRUMENT, COIN)}
        first = Deal("2026-01-01T00:00:00", BUY, "1", "1").ts_ns
        started = msgspec.structs.replace(
            factory.run_started("run-1", (INSTRUMENT, COIN)), broker="paper"
        )
        self.events = [Dated(started, first)]

    def deal(self, deal: Deal, **changes: Any) -> None:
        """Trade; ``changes`` are of the fill, such as ``fee_value``."""
        plain_event = filled(FifoBook(deal.instrument), deal, len(self.events))
        fill = msgspec.structs.replace(plain_event.fill, **changes)
        book = self.books[deal.instrument.name]
        realized = sum((lot.realized for lot in book.apply(fill)), Decimal(0))
        spent = spent_by(fill)
        if spent is not None:
            paying = self.books[spent.instrument]
            lots = paying.spend("x", spent.quantity, spent.value, spent.ts_ns)
            if paying is book:
                realized += sum((lot.realized for lot in lots), Decimal(0))
        event = msgspec.structs.replace(
            plain_event, fill=fill, realized_pnl=plain(realized), position_lots=book.position_lots
        )
        self.events.append(Dated(event, deal.ts_ns))

    def move(self, when: str, way: TransferWay, quantity: str, **changes: Any) -> None:
        ts_ns = Deal(when, BUY, "1", "1").ts_ns
        transfer = Transfer(
            f"t-{len(self.events)}", "SIM-USD", way, INSTRUMENT.lots(quantity), "cold", ts_ns
        )
        if "acquired" in changes:
            changes["acquired_ns"] = Deal(changes.pop("acquired"), BUY, "1", "1").ts_ns
        transfer = msgspec.structs.replace(transfer, **changes)
        self.events.append(Dated(moved(self.books["SIM-USD"], transfer), ts_ns))

    def write(self, folder: Path) -> Path:
        factory.write(folder, self.events)
        report = verify(folder)
        assert report.findings == (), report.findings
        return folder


def rows(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    with reading(folder) as connection:
        return connection.execute(sql).fetchall()


def test_coins_that_came_are_sold_with_the_basis_and_the_date_they_had(tmp_path: Path) -> None:
    """Before, what happened, after, in one wallet:

    flat    2 come, bought on 1 May 2024 for 90  ->  long 2
    long 2  buy 1 at 100                         ->  long 3
    long 3  sell 2.5 at 110                      ->  long 0.5: the coins that came went first
    """
    one = Statement()
    one.move("2026-03-01T10:00:00", TransferWay.IN, "2", basis=Decimal(90),
             acquired="2024-05-01T00:00:00")  # fmt: skip
    one.deal(Deal("2026-03-02T10:00:00", BUY, "1", "100"))
    one.deal(Deal("2026-03-03T10:00:00", SELL, "2.5", "110"))
    file = made(one.write(tmp_path))
    assert lines(file, "Box", "Date Acquired", "Proceeds", "Cost Basis", "Gain", "Lot IDs") == [
        ("L", "05/01/2024", "220.00", "90.00", "130.00", "L2-4"),
        ("I", "03/02/2026", "55.00", "50.00", "5.00", "L3-4"),
    ]
    assert "1 of 2 lines have basis and date as told with a transfer" in file.notes
    assert rows(tmp_path, "SELECT quantity, open_price, opened_ts FROM lots"
                " WHERE close_seq IS NULL") == [
        ("0.5", "100", "2026-03-02T10:00:00.000000000Z")
    ]  # fmt: skip


def test_coins_that_went_are_no_sale_and_the_fee_that_they_cost_is_one(tmp_path: Path) -> None:
    one = Statement()
    one.deal(Deal("2026-03-01T10:00:00", BUY, "2", "100", "2"))
    one.move("2026-03-02T10:00:00", TransferWay.OUT, "1", fee_lots=500, fee_value=Decimal(60),
             fee_value_source="sim SIM-USD mid")  # fmt: skip
    folder = one.write(tmp_path)
    file = made(folder)
    assert lines(file, "Description", "Proceeds", "Cost Basis", "Gain", "Lot IDs") == [
        ("PAPER 0.5 SIM, paid as a fee", "60.00", "50.50", "9.50", "L2-3-fee")
    ]
    assert rows(folder, "SELECT way, quantity, basis, wallet, fee, position FROM transfers") == [
        ("OUT", "1", "101", "cold", "0.5", "0.5")
    ]
    assert rows(folder, "SELECT coin, quantity, covered, value FROM spent") == [
        ("SIM", "0.5", "0.5", "60")
    ]


@pytest.mark.parametrize("acquired_year", [2024, 2026])
def test_how_long_coins_were_held_counts_from_the_purchase_and_not_the_transfer(
    tmp_path: Path, acquired_year: int
) -> None:
    one = Statement()
    one.move("2026-03-01T10:00:00", TransferWay.IN, "1", basis=Decimal(50),
             acquired=f"{acquired_year}-02-01T00:00:00")  # fmt: skip
    one.deal(Deal("2026-03-02T10:00:00", SELL, "1", "100"))
    assert lines(made(one.write(tmp_path)), "Box") == [("L" if acquired_year == 2024 else "I",)]


def test_a_fee_in_a_third_coin_is_a_line_of_its_own_and_part_of_the_others_cost(
    tmp_path: Path,
) -> None:
    """1 FEE bought at 10; 0.025 of it pay for a purchase when they are worth 0.5."""
    one = Statement()
    one.deal(Deal("2026-01-02T00:00:00", BUY, "1", "10", instrument=COIN))
    one.deal(Deal("2026-03-01T10:00:00", BUY, "2", "100", "0.025", fee_currency="FEE"),
             fee_value=Decimal("0.5"), fee_from="FEE-USD",
             fee_value_source="sim FEE-USD mid")  # fmt: skip
    one.deal(Deal("2026-03-02T10:00:00", SELL, "2", "110"))
    file = made(one.write(tmp_path))
    assert lines(file, "Description", "Proceeds", "Cost Basis", "Gain", "Ledger Seq") == [
        ("PAPER 0.025 FEE, paid as a fee", "0.50", "0.25", "0.25", "3"),
        ("PAPER 2 SIM", "220.00", "200.50", "19.50", "4"),
    ]
    left = rows(tmp_path, "SELECT quantity FROM lots WHERE close_seq IS NULL")
    assert left == [("0.975",)]


def test_a_fee_in_the_coin_itself_leaves_less_to_sell(tmp_path: Path) -> None:
    one = Statement()
    one.deal(Deal("2026-03-01T10:00:00", BUY, "2", "100", "0.002", fee_currency="SIM"),
             fee_value=Decimal("0.2"), fee_from="SIM-USD")  # fmt: skip
    one.deal(Deal("2026-03-02T10:00:00", SELL, "1.998", "110"))
    file = made(one.write(tmp_path))
    assert lines(file, "Description", "Proceeds", "Cost Basis") == [
        ("PAPER 0.002 SIM, paid as a fee", "0.20", "0.20"),
        ("PAPER 1.998 SIM", "219.78", "200.00"),
    ]


@pytest.mark.parametrize("leg", [0, 1])
def test_without_a_price_only_that_line_has_no_numbers_and_says_why(
    tmp_path: Path, leg: int
) -> None:
    one = Statement()
    one.deal(Deal("2026-01-02T00:00:00", BUY, "1", "10", instrument=COIN))
    fees = [{}, {}]
    fees[leg] = {"fee_value": None, "fee_from": "FEE-USD"}
    for number, (side, price) in enumerate(((BUY, "100"), (SELL, "110"))):
        deal = Deal(f"2026-03-0{number + 1}T10:00:00", side, "2", price, "0.02")
        deal = deal._replace(fee_currency="FEE") if fees[number] else deal
        one.deal(deal, **fees[number])
    one.deal(Deal("2026-04-01T10:00:00", BUY, "1", "50"))
    one.deal(Deal("2026-04-02T10:00:00", SELL, "1", "60"))
    file = made(one.write(tmp_path))
    told = lines(file, "Description", "Proceeds", "Cost Basis", "Gain")
    which = ("opening", "close")[leg]
    assert (
        "PAPER 0.02 FEE, paid as a fee - NOT COUNTED: this coin had no price when it was paid",
        "", "", "",
    ) in told  # fmt: skip
    assert (
        f"PAPER 2 SIM - NOT COUNTED: the fee of the {which}, 0.02 FEE, had no price when it was "
        "paid", "", "", "",
    ) in told  # fmt: skip
    assert told[-1] == ("PAPER 1 SIM", "60.00", "50.00", "10.00")
    assert sum("a line has no numbers" in note for note in file.notes) == 2
    assert file.notes[-1].startswith("total: proceeds 60.00, cost basis 50.00, gain 10.00 USD")


def test_coins_that_the_ledger_never_saw_have_no_basis_and_the_line_says_so(
    tmp_path: Path,
) -> None:
    one = Statement()
    one.deal(Deal("2026-01-02T00:00:00", BUY, "0.01", "10", instrument=COIN))
    one.deal(Deal("2026-03-01T10:00:00", BUY, "2", "100", "0.05", fee_currency="FEE"),
             fee_value=Decimal("0.5"), fee_from="FEE-USD")  # fmt: skip
    one.deal(Deal("2026-03-01T11:00:00", BUY, "2", "100", "0.05", fee_currency="BNB"),
             fee_value=Decimal("0.5"))  # fmt: skip
    file = made(one.write(tmp_path))
    assert lines(file, "Description", "Proceeds", "Gain", "Ledger Seq") == [
        ("PAPER 0.01 FEE, paid as a fee", "0.10", "0.00", "3"),
        ("PAPER 0.04 FEE, paid as a fee - NOT COUNTED: no FEE was held in this ledger, so its "
         "basis is not known", "", "", "3"),
        ("PAPER 0.05 BNB, paid as a fee - NOT COUNTED: no BNB was held in this ledger, so its "
         "basis is not known", "", "", "4"),
    ]  # fmt: skip


def test_importers_get_transfers_with_one_side_and_their_fee(tmp_path: Path) -> None:
    one = Statement()
    one.move("2026-03-01T10:00:00", TransferWay.IN, "2", basis=Decimal("90.5"),
             acquired="2024-05-01T00:00:00")  # fmt: skip
    one.deal(Deal("2026-03-02T10:00:00", BUY, "1", "100"))
    one.move("2026-03-03T10:00:00", TransferWay.OUT, "1", fee_lots=10, fee_value=Decimal(1))
    folder = one.write(tmp_path)
    columns = ("Date", "Sent Amount", "Sent Currency", "Received Amount", "Received Currency",
               "Fee Amount", "Fee Currency")  # fmt: skip
    koinly = made(folder, fmt="koinly")
    assert lines(koinly, *columns) == [
        ("2026-03-01 10:00:00 UTC", "", "", "2", "SIM", "", ""),
        ("2026-03-02 10:00:00 UTC", "100", "USD", "1", "SIM", "", ""),
        ("2026-03-03 10:00:00 UTC", "1", "SIM", "", "", "0.01", "SIM"),
    ]
    told = [row["Description"] for row in rows_of(koinly)]
    assert told[0] == "PAPER transfer from cold, basis 90.5 USD, acquired 2024-05-01, ledger seq 2"
    assert told[2] == "PAPER transfer to cold, basis 45.25 USD, ledger seq 4"
    tracker = ("Received Quantity", "Sent Quantity", "Fee Amount", "Tag")
    assert lines(made(folder, fmt="cointracker"), *tracker) == [
        ("2", "", "", "PAPER"), ("1", "100", "", "PAPER"), ("", "1", "0.01", "PAPER"),
    ]  # fmt: skip
    assert made(folder, year=2025, fmt="koinly").rows == 0


def _told(folder: Path, **changes: Any) -> list[str]:
    """Return what verify finds when a transfer says something else than its numbers."""
    one = Statement()
    one.deal(Deal("2026-03-01T10:00:00", BUY, "2", "100", "2"))
    one.move("2026-03-02T10:00:00", TransferWay.OUT, "1", fee_lots=500, fee_value=Decimal(60))
    event = one.events[-1].event
    assert isinstance(event, Transferred)
    one.events[-1] = one.events[-1]._replace(event=msgspec.structs.replace(event, **changes))
    factory.write(folder, one.events)
    return [finding.text for finding in verify(folder).findings]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"quantity": "2"}, "quantity says 2, the fills so far make it 1"),
        ({"fee_quantity": "0.4"}, "fee_quantity says 0.4, the fills so far make it 0.5"),
        ({"realized_pnl": "9"}, "realized_pnl says 9, the fills so far make it 9.5"),
        ({"position_lots": 400}, "position_lots says 400, the fills so far make it 500"),
        ({"lots": ()}, "lots says 0 parcels, the fills so far make it 1, or others"),
    ],
)
def test_a_transfer_that_does_not_agree_with_the_lots_is_found(
    tmp_path: Path, changes: dict[str, Any], what: str
) -> None:
    assert any(what in text for text in _told(tmp_path, **changes))


def test_a_basis_that_was_told_wrong_is_found(tmp_path: Path) -> None:
    lot = MovedLot("f-1", "1", "100.5", Deal("2026-03-01T10:00:00", BUY, "1", "1").ts_ns)
    assert any("1 parcels, the fills so far make it 1, or others" in text
               for text in _told(tmp_path, lots=(lot,)))  # fmt: skip


def test_edited_tables_are_found_and_made_anew(tmp_path: Path) -> None:
    one = Statement()
    one.move("2026-03-01T10:00:00", TransferWay.IN, "2", basis=Decimal(90),
             acquired="2024-05-01T00:00:00")  # fmt: skip
    one.move("2026-03-03T10:00:00", TransferWay.OUT, "1", fee_lots=10, fee_value=Decimal(1))
    folder = one.write(tmp_path)
    for sql, table in (
        ("UPDATE transfers SET wallet = 'other'", "transfers"),
        ("UPDATE spent SET value = '2'", "spent"),
        ("DELETE FROM spent", "spent"),
        ("UPDATE lots SET opened_ts = '2020'", "lots"),
    ):
        attacker.run_sql(folder, sql)
        assert f"table {table}" in verify(folder).findings[0].text
        rebuild_tables(StateDir(folder), 0)
        assert verify(folder).findings == ()


def test_sums_of_tables_count_transfers_and_coins_that_paid(tmp_path: Path) -> None:
    one = Statement()
    one.move("2026-03-01T10:00:00", TransferWay.IN, "2", basis=Decimal(90),
             acquired="2024-05-01T00:00:00")  # fmt: skip
    folder = one.write(tmp_path)
    attacker.run_sql(folder, "UPDATE transfers SET quantity = '3'")
    told = [finding.text for finding in verify(folder).findings]
    assert any("SIM-USD on sim: fills add up to 3, open lots to 2" in text for text in told)


def test_a_start_takes_transfers_over_in_their_place_between_the_fills(tmp_path: Path) -> None:
    one = Statement()
    one.deal(Deal("2026-01-02T00:00:00", BUY, "1", "10", instrument=COIN))
    one.move("2026-03-01T10:00:00", TransferWay.IN, "2", basis=Decimal(90),
             acquired="2024-05-01T00:00:00")  # fmt: skip
    one.deal(Deal("2026-03-02T10:00:00", BUY, "1", "100", "0.02", fee_currency="FEE"),
             fee_value=Decimal("0.5"), fee_from="FEE-USD")  # fmt: skip
    history = load_history(one.write(tmp_path))
    past = history.past_of([INSTRUMENT])
    assert [type(each).__name__ for each in past] == ["Transfer", "Fill"]
    assert history.transfers_of([COIN]) == []
    coins = history.past_of([COIN])
    assert [type(each).__name__ for each in coins] == ["Fill", "Spent"]
    finer = msgspec.structs.replace(INSTRUMENT, lot_size=Decimal("0.0001"))
    (again,) = history.transfers_of([finer])
    assert again.qty_lots == 20_000


def test_a_transfer_has_a_story(tmp_path: Path) -> None:
    one = Statement()
    one.move("2026-03-01T10:00:00", TransferWay.IN, "2", basis=Decimal(90),
             acquired="2024-05-01T00:00:00")  # fmt: skip
    one.move("2026-03-03T10:00:00", TransferWay.OUT, "1", fee_lots=10, fee_value=Decimal(1))
    folder = one.write(tmp_path)
    came = "\n".join(explain(folder, "t-1"))
    assert "2 SIM came from cold" in came
    assert "cost 90 USD in all and were bought on 2024-05-01" in came
    went = "\n".join(explain(folder, "3"))
    assert "1 SIM went to cold" in went
    assert "1 SIM of t-1, bought 2024-05-01, basis 45 USD" in went
    assert "It cost 0.01 SIM, worth 1 USD" in went


def test_a_fill_of_a_coin_that_paid_is_explained_with_what_paid_its_fee(tmp_path: Path) -> None:
    one = Statement()
    one.deal(Deal("2026-01-02T00:00:00", BUY, "1", "10", instrument=COIN))
    one.deal(Deal("2026-03-01T10:00:00", BUY, "2", "100", "0.025", fee_currency="FEE"),
             fee_value=Decimal("0.5"), fee_from="FEE-USD")  # fmt: skip
    folder = one.write(tmp_path)
    assert "its fee was paid with 0.025 of FEE-USD opened at 10 (seq 2): 0.25" in "\n".join(
        explain(folder, "3")
    )
    assert "0.025 LONG opened by seq 2 at 10: paid as a fee after" in "\n".join(
        explain(folder, "2")
    )
