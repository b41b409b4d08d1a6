"""The lots in the ledger are those the engine traded by: kept live, read again, and made anew.

Fills of two instruments, fees in the coins of either, transfers with fees of their own.
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from pathlib import Path

import msgspec
import numpy as np
import pytest

from core.lots import FifoBook
from core.model.event import Filled, OrderIntended, Transferred
from core.model.instrument import plain
from core.model.lot import LotMethod, OpenLot
from core.model.order import Fill, Side
from core.model.transfer import Transfer, TransferWay
from core.transfers import spent_by
from ledger.lot_rows import LotTable
from ledger.projections import rebuild
from ledger.schema import PROJECTION_KEYS
from ledger.store import open_for_writing, reading
from ledger.verify import verify
from ledger.writer import LedgerWriter
from tests.ledger import factory
from tests.ledger.factory import INSTRUMENT, START_NS, Dated

OTHER = msgspec.structs.replace(INSTRUMENT, name="DIM-USD", base="DIM", lot_size=Decimal("0.01"))


class Account:
    """Books that trade at random: several at an instant, fees of all kinds, lots chosen."""

    def __init__(self, seed: int, run: str) -> None:
        self._rng = np.random.default_rng(seed)
        self._run = run
        self.books = {each.name: FifoBook(each) for each in (INSTRUMENT, OTHER)}
        self._ts_ns = START_NS

    def trade(self, count: int) -> list[Dated]:
        started = factory.run_started(self._run, (INSTRUMENT, OTHER))
        events = [Dated(started, self._ts_ns)]
        numbers = iter(map(int, self._rng.permutation(count)))
        for _ in range(count):
            book = self.books[str(self._rng.choice(list(self.books)))]
            name = f"{self._run}-o{next(numbers)}-1"
            is_moved = self._rng.random() < 0.2 and book.held_parts >= 0
            event = self._moved(book, name) if is_moved else self._filled(book, name)
            events.append(Dated(event, self._ts_ns))
        return events

    def _moved(self, book: FifoBook, name: str) -> Transferred:
        rng = self._rng
        self._ts_ns += 1_000
        held = book.position_lots
        fee_value = Decimal(int(rng.integers(0, 10**9))).scaleb(-7) if rng.random() < 0.7 else None
        if held < 2 or rng.random() < 0.5:
            lots, fee_lots = int(rng.integers(1, 300)), int(rng.integers(0, 2))
            basis = Decimal(int(rng.integers(0, 10**9))).scaleb(-5)
            transfer = Transfer(
                name, book.instrument.name, TransferWay.IN, lots, "cold", self._ts_ns,
                START_NS - int(rng.integers(1, 10**18)), basis, fee_lots, fee_value,
            )  # fmt: skip
        else:
            lots = int(rng.integers(1, held))
            transfer = Transfer(
                name, book.instrument.name, TransferWay.OUT, lots, "cold", self._ts_ns,
                fee_lots=int(rng.integers(0, held - lots + 1)), fee_value=fee_value,
            )  # fmt: skip
        return factory.moved(book, transfer)

    def _filled(self, book: FifoBook, fill_id: str) -> Filled:
        rng, instrument = self._rng, book.instrument
        self._ts_ns += int(rng.choice([0, 1_000]))
        side = Side.BUY if rng.random() < 0.5 else Side.SELL
        lots, ticks = int(rng.integers(1, 500)), int(rng.integers(1, 10**6))
        in_coins = rng.random() < 0.4
        payer = str(rng.choice(["", *self.books])) if in_coins else ""
        coin = self.books[payer].instrument.base if payer else "COIN"
        method = list(LotMethod)[int(rng.integers(3))]
        closes = book.pick(method, lots) if book.position_lots * side.sign < 0 else ()
        fill = Fill(
            fill_id, f"o-{fill_id}", instrument.name, side, ticks, lots,
            Decimal(int(rng.integers(0, 10**9))).scaleb(-8), coin if in_coins else "USD",
            is_maker=False, ts_ns=self._ts_ns, closes=closes,
            fee_value=Decimal(int(rng.integers(0, 10**12))).scaleb(-11) if in_coins else None,
            fee_value_source="test" if in_coins else "", fee_from=payer,
        )  # fmt: skip
        realized = sum((lot.realized for lot in book.apply(fill)), Decimal(0))
        spent = spent_by(fill)
        if spent is not None:
            paying = self.books[payer]
            lots_paid = paying.spend(fill_id, spent.quantity, spent.value, spent.ts_ns)
            if paying is book:
                realized += sum((lot.realized for lot in lots_paid), Decimal(0))
        return Filled(
            fill=fill,
            decision_id="",
            price=instrument.price_text(ticks),
            quantity=instrument.qty_text(lots),
            notional=plain(instrument.notional(ticks, lots)),
            realized_pnl=plain(realized),
            position_lots=book.position_lots,
            rationale="",
        )


def tables(folder: Path) -> dict[str, list[tuple[object, ...]]]:
    with reading(folder) as connection:
        return {
            table: connection.execute(f"SELECT * FROM {table} ORDER BY {keys}").fetchall()
            for table, keys in PROJECTION_KEYS.items()
        }


def as_kept(book: FifoBook) -> list[OpenLot]:
    """Return the open lots without the names that a book gives them itself."""
    return [msgspec.structs.replace(lot, fill_id="") for lot in book.open_lots]


def compare(lots: LotTable, books: dict[str, FifoBook]) -> None:
    for book in lots.books():
        live = books[book.instrument.name]
        assert as_kept(book) == as_kept(live)
        assert (book.position_lots, book.realized) == (live.position_lots, live.realized)
        assert (book.fees, book.opened_ns) == (live.fees, live.opened_ns)
        assert (book.spent, book.held) == (live.spent, live.held)


@pytest.mark.parametrize("seed", range(4))
def test_lots_of_the_ledger_are_the_live_ones_after_a_restart_and_after_a_rebuild(
    seed: int, tmp_path: Path
) -> None:
    account = Account(seed, "run-1")
    factory.write(tmp_path, account.trade(60))
    kept = tables(tmp_path)
    writer = LedgerWriter(tmp_path)
    compare(writer._disk.projector.lots, account.books)
    writer.close()
    connection = open_for_writing(tmp_path)
    try:
        connection.execute("BEGIN")
        rebuild(connection)
        connection.execute("COMMIT")
    finally:
        connection.close()
    assert tables(tmp_path) == kept
    assert verify(tmp_path).findings == ()


def test_rows_of_the_lots_table_are_the_live_lots(tmp_path: Path) -> None:
    account = Account(7, "run-1")
    factory.write(tmp_path, account.trade(80))
    rows = "instrument, quantity, open_price, open_fee, realized_pnl, close_seq"
    with reading(tmp_path) as connection, localcontext() as context:
        context.prec = 60
        found = connection.execute(f"SELECT {rows} FROM lots ORDER BY open_seq").fetchall()
        for name, book in account.books.items():
            mine = [row for row in found if row[0] == name]
            realized = sum(Decimal(row[4]) for row in mine if row[5] is not None)
            assert realized == book.realized
            still_open = sorted(row[1:4] for row in mine if row[5] is None)
            assert still_open == sorted(
                (
                    book.grid.qty_text(lot.qty_lots),
                    book.instrument.price_text(lot.price_ticks),
                    plain(lot.fee),
                )
                for lot in book.open_lots
            )


def test_choice_of_lots_stands_in_the_ledger_before_the_sale_and_is_honored(
    tmp_path: Path,
) -> None:
    """Bought at 100 and at 101; the sale's order named the second: its intent came first."""
    book = FifoBook(INSTRUMENT)
    events = [Dated(factory.run_started(), START_NS)]
    for number, ticks in ((1, 10_000), (2, 10_100)):
        events.append(
            Dated(factory.filled(book, f"f{number}", "", "", Side.BUY, ticks, 10), START_NS)
        )
    order = msgspec.structs.replace(
        factory.order("o-sale", "d-sale", Side.SELL, 10_200, 10),
        closes=book.pick(LotMethod.LIFO, 10),
    )
    events.append(Dated(OrderIntended(order), START_NS))
    sale = factory.filled(FifoBook(INSTRUMENT), "f3", "o-sale", "d-sale", Side.SELL, 10_200, 10)
    fill = msgspec.structs.replace(sale.fill, closes=order.closes)
    realized = sum((lot.realized for lot in book.apply(fill)), Decimal(0))
    events.append(
        Dated(msgspec.structs.replace(sale, fill=fill, realized_pnl=plain(realized)), START_NS)
    )
    factory.write(tmp_path, events)
    with reading(tmp_path) as connection:
        closed = connection.execute(
            "SELECT open_seq, close_seq, open_price FROM lots WHERE close_seq IS NOT NULL"
        ).fetchall()
    assert closed == [(3, 5, "101")]
