"""Several venues behind one face: indices, requests, outages, counts, handovers."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import numpy as np
import pytest

from core.brokers.kept import KeptBroker
from core.brokers.paper import PaperBroker
from core.clock import NS_PER_MS, SystemClock
from core.config import Settings
from core.engine import Engine, EngineSetup
from core.errors import UserError
from core.feeds.coinbase import CoinbaseProtocol
from core.feeds.handover import Handover, Renewal
from core.feeds.joined import Joined
from core.feeds.link import FeedLink
from core.feeds.socket import run_feed
from core.model.decision import Mode
from core.model.market import FeedCause, FeedState, FetchHttp, SendText
from core.session import Session
from tests.core.feeds import wire
from tests.core.feeds.test_overlap import Market
from tests.core.feeds.test_overlap import protocol_at as binance_at
from tests.core.feeds.wire import T0, S, instrument
from tests.fakes import MemoryLatch, MemorySink
from tests.stub_venue import StubVenue

BOOK = [("bid", "99.00", "1"), ("offer", "100.01", "1.5")]


class Rows:
    """A tape that remembers the rows."""

    def __init__(self) -> None:
        self.rows: list[np.ndarray] = []

    def append(self, row: np.ndarray) -> None:
        self.rows.append(row.copy())


class Two:
    """An engine on Binance and Coinbase, fed by hand through the two parts."""

    def __init__(self, binance=None, coinbase=None) -> None:
        self.joined = Joined([binance or wire.binance(), coinbase or wire.coinbase()])
        self.sink, self.tape = MemorySink(), Rows()
        settings = Settings()
        self.engine = Engine(
            EngineSetup(
                protocol=self.joined,
                settings=settings,
                mode=Mode.OBSERVE,
                sink=self.sink,
                latch=MemoryLatch(),
                run_id="cafe0123" * 4,
                fee_bps=Decimal(10),
            )
        )
        paper = PaperBroker(self.joined.instruments, settings)
        mine = [feed.instrument for feed in self.joined.instruments]
        broker = KeptBroker(paper, mine, {})
        self.session = Session(self.engine, broker, self.sink, self.tape)
        self.binance, self.coinbase = self.joined.parts
        for part in self.joined.parts:
            part.wear(self.session)

    def go_live(self) -> None:
        self.binance.on_open(T0)
        self.coinbase.on_open(T0)
        asks = [["101.00", "1.0"]]
        self.binance.receive(wire.depth(100, 101, bids=[["90.00", "1.0"]], asks=asks), T0)
        self.binance.on_http(wire.depth_url(), wire.snapshot(100, [["89.00", "1.0"]], asks), T0)
        self.coinbase.receive(wire.l2(0, "snapshot", BOOK, "BTC-USD"), T0)

    def states(self) -> list[FeedState]:
        return [desk.feed.state for desk in self.engine.desks]


def test_instruments_of_all_venues_stand_in_one_list_and_rows_name_their_own():
    two = Two()
    two.go_live()
    assert [feed.instrument.name for feed in two.joined.instruments] == ["BTCUSDT", "BTC-USD"]
    assert two.states() == [FeedState.LIVE, FeedState.LIVE]
    assert [(int(row["instrument"]), int(row["bid_ticks"])) for row in two.tape.rows] == [
        (0, 9_000),
        (1, 9_900),
    ]
    assert two.joined.venue == "binance+coinbase"


def test_trades_and_counts_are_those_of_their_venue():
    two = Two()
    two.go_live()
    two.coinbase.receive(wire.market_trades(1, "update", [("7", "99.5", "0.5", "BUY")]), T0 + 1)
    assert [desk.feed.trades for desk in two.engine.desks] == [0, 1]
    assert (two.binance.counters.frames, two.coinbase.counters.frames) == (1, 2)
    assert two.session.counters.frames == 3
    assert two.session.counters_of(0) is two.binance.counters
    assert two.session.counters_of(1) is two.coinbase.counters


def test_each_socket_is_asked_for_what_its_own_venue_wants():
    two = Two()
    binance = two.binance.on_open(T0)
    coinbase = two.coinbase.on_open(T0)
    assert [type(each) for each in binance] == [FetchHttp]
    assert {type(each) for each in coinbase} == {SendText}


def test_what_time_makes_one_venue_ask_for_does_not_go_to_the_other():
    two = Two()
    two.go_live()
    two.coinbase.receive(wire.l2(1, "update", [("bid", "99.001", "1")], "BTC-USD"), T0)
    later = T0 + 20 * S
    assert [each for each in two.binance.on_time(later) if isinstance(each, SendText)] == []
    assert [each for each in two.coinbase.on_time(later) if isinstance(each, SendText)] != []


def test_outage_of_one_venue_does_not_touch_the_books_of_the_other():
    two = Two()
    two.go_live()
    two.coinbase.on_close("lost", T0 + 1)
    assert two.states() == [FeedState.LIVE, FeedState.CONNECTING]
    assert two.engine.desks[0].feed.book.best_bid == (9_000, 100_000)
    two.binance.receive(wire.depth(102, 102, bids=[["91.00", "1.0"]]), T0 + 2)
    assert two.engine.desks[0].feed.book.best_bid == (9_100, 100_000)
    two.coinbase.on_open(T0 + 3)
    two.coinbase.receive(wire.l2(0, "snapshot", BOOK, "BTC-USD"), T0 + 3)
    assert two.states() == [FeedState.LIVE, FeedState.LIVE]


def test_handover_of_one_venue_leaves_the_other_alone():
    two = Two()
    two.go_live()
    held = two.engine.desks[1].feed
    handover = Handover(Renewal(0, wire.coinbase))
    handover.heir.receive(wire.l2(0, "snapshot", [("bid", "99.50", "1"), *BOOK[1:]], "BTC-USD"), T0)
    two.coinbase.install(handover, T0 + S)
    assert two.states() == [FeedState.LIVE, FeedState.LIVE]
    assert two.engine.desks[1].feed is held
    assert held.book.best_bid == (9_950, 10**8)
    assert int(two.tape.rows[-1]["instrument"]) == 1
    two.coinbase.receive(wire.l2(1, "update", [("bid", "99.60", "1")], "BTC-USD"), T0 + S)
    assert held.book.best_bid == (9_960, 10**8)
    assert two.session.inner is two.joined


def test_name_that_two_venues_have_is_refused_in_one_line():
    again = CoinbaseProtocol([instrument("coinbase-exchange", "BTC-USD")], Settings())
    with pytest.raises(UserError, match="BTC-USD is a name at coinbase and at coinbase-exchange"):
        Joined([wire.coinbase(), again])


@pytest.mark.slow
async def test_one_venue_is_cut_and_renewed_while_the_other_goes_on(monkeypatch):
    monkeypatch.setattr("core.feeds.handover.FRESH_WITHIN_NS", 100 * NS_PER_MS)
    levels = [("bid", "99.00", "1"), ("offer", "100.01", "1")]
    script = [wire.l2(0, "snapshot", levels, "BTC-USD")]
    async with StubVenue([[]]) as first, StubVenue([script], after_messages=3) as second:
        market = Market(first, [0])
        first.answers = market.answer
        settings = wire.settings(
            coinbase_stream=second.socket_address, backoff_first_ms=10, backoff_max_ms=100
        )
        coinbase = CoinbaseProtocol([instrument("coinbase", "BTC-USD")], settings)
        two = Two(binance_at(first), coinbase)
        links = [FeedLink(), FeedLink()]
        renewal = Renewal(
            100 * NS_PER_MS, lambda: binance_at(first), two.binance, settle_ns=50 * NS_PER_MS
        )
        stop = asyncio.Event()
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            for part, link in zip(two.joined.parts, links, strict=True):
                group.create_task(
                    run_feed(
                        part, lambda events, _: events.clear(), SystemClock(), settings,
                        generator=np.random.default_rng(7), stop=stop, link=link,
                        renewal=renewal if part is two.binance else None,
                    )
                )  # fmt: skip

            async def steps_until(holds) -> None:
                while not holds():
                    await market.step()
                    # The other tasks get their turns, a frame at least for each one sent.
                    for _ in range(4):
                        await asyncio.sleep(0)

            def are_live() -> bool:
                return two.states() == [FeedState.LIVE, FeedState.LIVE]

            await steps_until(are_live)
            second.cut()
            await steps_until(lambda: links[0].handovers > 0 and links[1].connects == 2)
            await steps_until(are_live)
            stop.set()
    changes = [each for each in two.sink.events if type(each[1]).__name__ == "FeedChanged"]
    of_binance = [each.state for _, each, _ in changes if each.instrument == "BTCUSDT"]
    of_coinbase = [each.state for _, each, _ in changes if each.instrument == "BTC-USD"]
    assert of_binance == [FeedState.BUFFERING, FeedState.LIVE]
    assert of_coinbase.count(FeedState.LIVE) == 2
    assert {each.cause_code for _, each, _ in changes} == {
        FeedCause.OPENED, FeedCause.SNAPSHOT, FeedCause.CLOSED
    }  # fmt: skip
    assert FeedState.CONNECTING in of_coinbase
    assert links[0].handovers >= 1
    assert (links[0].connects - links[0].handovers, links[1].connects) == (1, 2)
