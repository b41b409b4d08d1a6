"""Fakes that the tests of the engine share: a ledger in memory, a latch, a feed set by hand."""

from __future__ import annotations

from concurrent.futures import Future
from decimal import Decimal

import numpy as np

from core.book import Book
from core.clock import NS_PER_S
from core.errors import InvariantError
from core.feeds.protocol import FeedCounters, InstrumentFeed
from core.model.event import LedgerEvent
from core.model.instrument import Instrument
from core.model.market import (
    BookMoved,
    FeedCause,
    FeedOutput,
    FeedState,
    FeedStateChanged,
    TradePrint,
)
from core.model.order import BrokerOrder, Fill, Order, OrderReport, ReportKind
from core.model.transfer import Transfer

START_NS = 1_700_000_000 * NS_PER_S
BTC = Instrument(
    venue="binance",
    name="BTCUSDT",
    base="BTC",
    quote="USDT",
    tick_size=Decimal("0.01"),
    lot_size=Decimal("0.00001"),
)


class MemorySink:
    """An EventSink that keeps what it is given; ``fail`` makes it a broken ledger."""

    def __init__(self) -> None:
        self.events: list[tuple[int, LedgerEvent, int | None]] = []
        self.kept: list[bytes] = []
        self.is_broken = False
        self.no_room = ""
        """Why it keeps no payload."""
        self.flushes = 0

    def append(self, event: LedgerEvent, ts_ns: int, cause: int | None = None) -> int:
        if self.is_broken:
            raise InvariantError("disk is full")
        self.events.append((ts_ns, event, cause))
        return len(self.events)

    def keep(self, data: bytes) -> str:
        if self.is_broken:
            raise InvariantError("disk is full")
        if self.no_room:
            return self.no_room
        self.kept.append(data)
        return ""

    def flush(self) -> Future[None]:
        if self.is_broken:
            raise InvariantError("disk is full")
        self.flushes += 1
        future: Future[None] = Future()
        future.set_result(None)
        return future

    def of(self, kind: type[LedgerEvent]) -> list:
        return [event for _, event, _ in self.events if isinstance(event, kind)]

    def types(self) -> list[str]:
        return [type(event).__name__ for _, event, _ in self.events]


class MemoryLatch:
    def __init__(self) -> None:
        self.reason = ""
        self.is_durable = True
        self.flattens = False
        self.scoped: dict[str, MemoryLatch] = {}

    def of(self, scope: str) -> MemoryLatch:
        return self.scoped.setdefault(scope, MemoryLatch())

    def trip(self, reason: str, actor: str, ts_ns: int, *, flattens: bool = False) -> bool:
        self.reason = f"{reason} by {actor}"
        self.flattens = flattens
        return self.is_durable

    def rearm(self) -> None:
        self.reason = ""


class HandFeed:
    """A feed protocol whose books are set by the test."""

    venue = "binance"

    def __init__(self, *instruments: Instrument) -> None:
        self.instruments = [InstrumentFeed(one, Book(one)) for one in instruments or (BTC,)]
        self.counters = FeedCounters()

    def set_book(
        self, now_ns: int, bids: list[tuple[int, int]], asks: list[tuple[int, int]], index: int = 0
    ) -> BookMoved:
        """Replace the book by (ticks, lots) levels and return the event of it."""
        feed = self.instruments[index]
        feed.book.clear()
        rows = [(0, *level) for level in bids] + [(1, *level) for level in asks]
        feed.book.apply(np.array(rows, np.int64).reshape(-1, 3))
        feed.last_recv_ns = feed.last_event_ns = now_ns
        feed.book.moved(now_ns, now_ns, is_live=feed.state is FeedState.LIVE)
        return BookMoved(index, now_ns, now_ns)

    def set_state(
        self, now_ns: int, state: FeedState, reason: str = "test", index: int = 0
    ) -> FeedStateChanged:
        self.instruments[index].state = state
        self.instruments[index].reason = reason
        return FeedStateChanged(index, state, FeedCause.GAP, reason, now_ns)

    def url(self) -> str:
        return "hand://"

    def on_open(self, now_ns: int) -> list[FeedOutput]:
        return []

    def receive(self, data: bytes, recv_ns: int) -> list[FeedOutput]:
        return []

    def on_http(self, url: str, body: bytes, recv_ns: int) -> list[FeedOutput]:
        return []

    def on_http_failed(self, url: str, reason: str, now_ns: int) -> list[FeedOutput]:
        return []

    def on_close(self, reason: str, now_ns: int) -> list[FeedOutput]:
        return []

    def on_time(self, now_ns: int) -> list[FeedOutput]:
        return []


class HandBroker:
    """A broker that only remembers; the test makes the reports."""

    name = "hand"

    def __init__(self) -> None:
        self.submitted: list[Order] = []
        self.canceled: list[str] = []
        self.reports: list[OrderReport] = []
        self.asked: list[str] = []
        self.working: list[BrokerOrder] = []
        self.held: dict[str, int] = {}
        self.filled: list[Fill] = []
        self.failure = ""

    def submit(self, order: Order, now_ns: int) -> None:
        self.submitted.append(order)

    def cancel(self, client_order_id: str, now_ns: int) -> None:
        self.canceled.append(client_order_id)

    def next_due_ns(self) -> int | None:
        return None

    def advance(self, now_ns: int) -> None: ...

    def on_market(self, instrument: int, now_ns: int) -> None: ...

    def on_trade(self, trade: TradePrint) -> None: ...

    def take_reports(self) -> list[OrderReport]:
        reports, self.reports = self.reports, []
        return reports

    def ask(self, client_order_id: str, now_ns: int) -> None:
        self.asked.append(client_order_id)

    def open_orders(self) -> list[BrokerOrder]:
        return list(self.working)

    def positions(self) -> dict[str, int]:
        return dict(self.held)

    def fills_since(self, ts_ns: int) -> list[Fill]:
        return [fill for fill in self.filled if fill.ts_ns >= ts_ns]

    def move(self, transfer: Transfer) -> None:
        name = transfer.instrument
        self.held[name] = self.held.get(name, 0) + transfer.change_lots

    def trouble(self) -> str:
        return self.failure

    def fill(self, order: Order, lots: int, ticks: int, ts_ns: int, fee: str = "0.1") -> None:
        """Queue a fill report."""
        fill = Fill(
            fill_id=f"{order.client_order_id}-{ts_ns}-{lots}",
            client_order_id=order.client_order_id,
            instrument=order.instrument,
            side=order.side,
            price_ticks=ticks,
            qty_lots=lots,
            fee=Decimal(fee),
            fee_currency="USDT",
            is_maker=False,
            ts_ns=ts_ns,
        )
        self.filled.append(fill)
        held = self.held.get(order.instrument, 0)
        self.held[order.instrument] = held + order.side.sign * lots
        self.reports.append(OrderReport(ReportKind.FILLED, order.client_order_id, ts_ns, fill=fill))

    def report(self, order: Order, kind: ReportKind, ts_ns: int, reason: str = "") -> None:
        self.reports.append(OrderReport(kind, order.client_order_id, ts_ns, reason))
