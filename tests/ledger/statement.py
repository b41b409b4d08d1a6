"""Statements of account as ledger events, and the tax files made of them.

A deal is one line of a statement; ``ledger_of`` makes it a FILL that agrees with its lots.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import msgspec

from core.clock import NS_PER_S
from core.lots import FifoBook
from core.model.event import Filled
from core.model.instrument import Instrument, plain
from core.model.order import Fill, Side
from ledger.tax import TaxFile, tax_file
from ledger.tax_year import parse_zone
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
        events.append(Dated(filled(books[deal.instrument.name], deal, place), deal.ts_ns))
    return events


def filled(book: FifoBook, deal: Deal, number: int) -> Filled:
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
        fee_value=Decimal(deal.fee) if deal.fee_currency else None,
        fee_value_source="one to one" if deal.fee_currency else "",
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


ROUND_TRIP = (
    Deal("2026-03-01T10:00:00", BUY, "2", "100", "1.5"),
    Deal("2026-12-31T23:59:59", SELL, "2.5", "110.05"),
)
