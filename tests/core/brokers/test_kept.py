"""The memory of a paper venue: it counts for itself, and a new process finds it again."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.brokers import memory
from core.brokers.kept import ENDED_WITH_PROCESS, KeptBroker
from core.brokers.memory import NAME, PaperMemory
from core.errors import Failed
from core.model.order import Order, ReportKind, Side, TimeInForce
from core.model.transfer import Transfer, TransferWay
from tests.fakes import BTC, HandBroker

NAME_BTC = BTC.name


def order(key: str = "o1", lots: int = 10, side: Side = Side.BUY) -> Order:
    return Order(key, "d1", NAME_BTC, side, lots, 100, TimeInForce.GTC,
                 reduces=False, decided_ns=1)  # fmt: skip


class Bench:
    """A kept broker before a road that the test plays, in a folder or in memory alone."""

    def __init__(self, folder: Path | None = None, opening: int = 0) -> None:
        self.road = HandBroker()
        kept = None if folder is None else PaperMemory(folder)
        self.broker = KeptBroker(self.road, [BTC], {NAME_BTC: opening}, kept)

    def trade(self, one: Order, lots: int, ts_ns: int = 5) -> None:
        self.broker.submit(one, 1)
        self.road.report(one, ReportKind.ACCEPTED, 2)
        self.road.fill(one, lots, 100, ts_ns)
        self.broker.take_reports()

    def ask(self, key: str) -> list[ReportKind]:
        self.broker.ask(key, 9)
        return [report.kind for report in self.broker.take_reports()]


def test_it_adds_up_what_the_road_fills_and_says_so_with_every_report() -> None:
    bench = Bench(opening=5)
    bench.broker.submit(order(), 1)
    bench.road.fill(order(), 4, 100, 5)
    bench.road.fill(order(), 6, 100, 6)
    assert [report.filled_lots for report in bench.broker.take_reports()] == [4, 10]
    assert bench.broker.positions() == {NAME_BTC: 15}
    assert [fill.qty_lots for fill in bench.broker.fills_since(6)] == [6]


def test_an_order_on_its_way_is_not_known_yet() -> None:
    bench = Bench()
    bench.broker.submit(order(), 1)
    assert bench.broker.open_orders() == []
    assert bench.ask("o1") == [ReportKind.NOT_FOUND]
    bench.road.report(order(), ReportKind.ACCEPTED, 2)
    bench.broker.take_reports()
    assert [each.order for each in bench.broker.open_orders()] == [order()]
    assert bench.ask("o1") == [ReportKind.ACCEPTED]


def test_asked_it_tells_the_fills_and_the_end_again() -> None:
    bench = Bench()
    bench.trade(order(), 4)
    bench.road.report(order(), ReportKind.EXPIRED, 7)
    bench.broker.take_reports()
    assert bench.ask("o1") == [ReportKind.FILLED, ReportKind.EXPIRED]
    assert bench.ask("nobody") == [ReportKind.NOT_FOUND]


def test_a_new_process_finds_the_account_and_its_open_orders_canceled(tmp_path: Path) -> None:
    bench = Bench(tmp_path, opening=3)
    bench.trade(order("o1"), 10)
    bench.trade(order("o2", side=Side.SELL), 4)
    again = Bench(tmp_path, opening=77)  # not asked: the file knows
    assert again.broker.positions() == {NAME_BTC: 3 + 10 - 4}
    assert again.broker.open_orders() == []
    again.broker.ask("o2", 9)
    fill, end = again.broker.take_reports()
    assert fill.fill is not None
    assert (end.kind, end.reason, end.filled_lots) == (ReportKind.CANCELED, ENDED_WITH_PROCESS, 4)


def test_a_line_that_a_crash_cut_off_was_never_told_and_goes(tmp_path: Path) -> None:
    Bench(tmp_path).trade(order(), 4)
    path = tmp_path / NAME
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines()[-1][:-9])
    assert Bench(tmp_path).broker.positions() == {NAME_BTC: 4}
    Bench(tmp_path).trade(order("o2"), 1)
    assert Bench(tmp_path).broker.positions() == {NAME_BTC: 5}


def test_a_line_in_the_middle_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    Bench(tmp_path).trade(order(), 4)
    path = tmp_path / NAME
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], b"{nonsense", *lines[1:]]))
    with pytest.raises(Failed, match="line 2 cannot be read"):
        PaperMemory(tmp_path)


def test_a_file_that_grew_large_is_written_anew_with_the_same_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "ORDERS_KEPT", 3)
    bench = Bench(tmp_path, opening=2)
    for number in range(20):
        bench.trade(order(f"o{number}", lots=4), 4)
    monkeypatch.setattr(memory, "BYTES_MAX", 1_000)
    size = (tmp_path / NAME).stat().st_size
    again = Bench(tmp_path)
    assert (tmp_path / NAME).stat().st_size < size
    assert again.broker.positions() == {NAME_BTC: 82}
    assert again.ask("o19") == [ReportKind.FILLED]
    assert again.ask("o1") == [ReportKind.NOT_FOUND]
    assert Bench(tmp_path).broker.positions() == {NAME_BTC: 82}


def test_a_disk_that_takes_no_more_is_told_and_the_reports_still_come(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert bench.broker.trouble() == ""
    bench.broker._memory._file = 1_000_000  # type: ignore[union-attr]  # no such file
    bench.broker.submit(order(), 1)
    bench.road.fill(order(), 4, 100, 5)
    assert len(bench.broker.take_reports()) == 1
    assert NAME in bench.broker.trouble()
    assert bench.broker.positions() == {NAME_BTC: 4}


def moved(lots: int, name: str) -> Transfer:
    return Transfer(name, NAME_BTC, TransferWay.IN, lots, "cold", 1, fee_lots=1)


def test_transfers_survive_the_process_and_are_booked_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, opening=3)
    bench.broker.move(moved(6, "t-1"))
    assert bench.broker.positions() == {NAME_BTC: 8}
    known = [moved(6, "t-1"), moved(4, "t-2")]  # a crash came between the ledger and the venue
    again = KeptBroker(HandBroker(), [BTC], {}, PaperMemory(tmp_path), known)
    assert again.positions() == {NAME_BTC: 11}
    assert KeptBroker(HandBroker(), [BTC], {}, PaperMemory(tmp_path), known).positions() == {
        NAME_BTC: 11
    }


def test_transfers_stay_known_when_the_file_is_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, opening=3)
    bench.broker.move(moved(6, "t-1"))
    bench.trade(order(), 10)
    monkeypatch.setattr(memory, "BYTES_MAX", 10)
    monkeypatch.setattr(memory, "ORDERS_KEPT", 0)
    for _ in range(2):
        again = KeptBroker(HandBroker(), [BTC], {}, PaperMemory(tmp_path), [moved(6, "t-1")])
        assert again.positions() == {NAME_BTC: 18}


def test_without_a_memory_the_transfers_of_the_ledger_count_from_the_start() -> None:
    broker = KeptBroker(HandBroker(), [BTC], {NAME_BTC: 2}, None, [moved(6, "t-1")])
    assert broker.positions() == {NAME_BTC: 7}
