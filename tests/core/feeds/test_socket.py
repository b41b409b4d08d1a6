"""The live socket against a venue on the loopback."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest

from core.clock import NS_PER_S, SystemClock
from core.errors import Failed
from core.feeds.binance import BinanceProtocol
from core.feeds.capture import CaptureMeta, read_capture
from core.feeds.coinbase import CoinbaseProtocol
from core.feeds.handover import Renewal
from core.feeds.link import FeedLink
from core.feeds.recorder import CaptureWriter
from core.feeds.replaying import give, without_last_close
from core.feeds.socket import run_feed
from core.feeds.summary import summary
from core.model.market import (
    BookMoved,
    FeedState,
    FeedStateChanged,
    FetchHttp,
    GiveUp,
    MarketEvent,
    Reconnect,
    SendText,
    TradePrint,
)
from tests.core.feeds.wire import (
    best,
    depth,
    instrument,
    l2,
    market_trades,
    settings,
    snapshot,
    state,
    trade,
)
from tests.stub_venue import StubVenue

TIMEOUT_S = 20.0
ASKS = [["100.01", "1.5"]]


class Run:
    """One ``run_feed`` in a task, with everything it delivered."""

    def __init__(self, protocol, venue, **feed) -> None:
        self.protocol = protocol
        self.events: list[MarketEvent] = []
        self.link = FeedLink()
        self.stop = asyncio.Event()
        self.recorder: CaptureWriter | None = None
        self.renewal: Renewal | None = None
        self.fill: Callable[[str], str] = str
        self.endpoint = venue.socket_address
        self._arrived = asyncio.Event()
        self.settings = settings(backoff_first_ms=10, backoff_max_ms=100, **feed)

    def deliver(self, events: list[MarketEvent], recv_ns: int) -> None:
        assert recv_ns > 0
        self.events += events
        self._arrived.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while not holds():
                self._arrived.clear()
                await self._arrived.wait()

    def states(self) -> list[FeedState]:
        return [each.state for each in self.events if isinstance(each, FeedStateChanged)]

    async def go(self) -> None:
        await run_feed(
            self.protocol,
            self.deliver,
            SystemClock(),
            self.settings,
            generator=np.random.default_rng(7),
            stop=self.stop,
            recorder=self.recorder,
            endpoint=self.endpoint,
            link=self.link,
            renewal=self.renewal,
            fill=self.fill,
        )


@asynccontextmanager
async def running(run: Run) -> AsyncIterator[Run]:
    async with asyncio.TaskGroup() as group:
        group.create_task(run.go())
        yield run
        run.stop.set()


def binance_at(venue: StubVenue) -> BinanceProtocol:
    return BinanceProtocol(
        [instrument("binance", "BTCUSDT")],
        settings(
            binance_rest=venue.rest_address,
            binance_stream=venue.socket_address,
            backoff_first_ms=10,
            backoff_max_ms=100,
        ),
    )


def coinbase_at(**feed) -> CoinbaseProtocol:
    return CoinbaseProtocol([instrument("coinbase", "BTC-USD", lot="0.00000001")], settings(**feed))


@pytest.mark.slow
async def test_binance_reconnects_after_a_cut_with_a_fresh_snapshot_and_is_live_again():
    replies = iter(
        [
            (503, b""),
            (200, snapshot(50, [["90.00", "1.0"]], ASKS)),
            (200, snapshot(100, [["99.00", "1.0"]], ASKS)),
            (200, snapshot(200, [["98.00", "1.0"]], ASKS)),
        ]
    )
    scripts = [
        [depth(100, 101, bids=[["99.50", "2.0"]]), trade(1, "100.01", "0.5", seller_took=False)],
        [depth(195, 205, bids=[["98.50", "2.0"]])],
    ]
    async with (
        StubVenue(scripts, lambda _: next(replies)) as venue,
        running(Run(binance_at(venue), venue)) as run,
    ):
        run.endpoint = None
        await run.until(lambda: state(run.protocol) is FeedState.LIVE)
        assert best(run.protocol) == ("99.5", "100.01")
        venue.cut()
        await run.until(lambda: FeedState.CONNECTING in run.states())
        await run.until(lambda: state(run.protocol) is FeedState.LIVE)
        assert best(run.protocol) == ("98.5", "100.01")
    assert run.link.connects == 2
    assert run.link.fetch_failures == 1
    assert run.protocol.counters.resyncs == 1
    assert all("symbol=BTCUSDT&limit=1000" in each for each in venue.requests)


async def test_sequence_gap_brings_a_new_connection():
    levels = [("bid", "99.00", "1"), ("offer", "100.01", "1")]
    scripts = [
        [l2(0, "snapshot", levels, "BTC-USD"), l2(2, "update", [], "BTC-USD")],
        [l2(0, "snapshot", levels, "BTC-USD")],
    ]
    async with StubVenue(scripts) as venue, running(Run(coinbase_at(), venue)) as run:
        await run.until(lambda: run.states().count(FeedState.LIVE) == 2)
    assert run.protocol.counters.gaps == 1
    assert run.link.last_error == "frames 1 to 1 were lost"


async def test_recording_replays_to_the_summary_of_the_live_run(tmp_path):
    levels = [("bid", "99.00", "1"), ("offer", "100.01", "1.5")]
    rows = [("3", "99.00", "0.5", "BUY"), ("2", "100.01", "0.25", "SELL")]
    script = [l2(0, "snapshot", levels, "BTC-USD"), market_trades(1, "update", rows)]
    protocol = coinbase_at()
    path = tmp_path / "live.jsonl.gz"
    one = protocol.instruments[0].instrument
    meta = CaptureMeta("coinbase", (one.name,), (one,))
    async with StubVenue([script], after_messages=3) as venue:
        run = Run(protocol, venue)
        with CaptureWriter(path, meta) as run.recorder:
            async with running(run):
                await run.until(lambda: protocol.instruments[0].trades == 2)
    reader = read_capture(path)
    again = CoinbaseProtocol(reader.meta.instruments, settings())
    kinds = [record.kind for record in reader]
    assert kinds[0] == "open"
    assert kinds[-1] == "close"
    assert kinds.count("send") == 3
    for record in without_last_close(reader):
        give(again, record)
    assert summary(again) == summary(protocol)
    assert summary(again)["instruments"]["BTC-USD"]["last_trade"] == ["99", "0.5"]


async def test_events_come_in_the_order_of_the_frames():
    levels = [("bid", "99.00", "1"), ("offer", "100.01", "1.5")]
    script = [
        l2(0, "snapshot", levels, "BTC-USD"),
        market_trades(1, "update", [("1", "99.00", "0.5", "BUY")]),
        l2(2, "update", [("bid", "99.00", "0.5")], "BTC-USD"),
    ]
    async with StubVenue([script]) as venue, running(Run(coinbase_at(), venue)) as run:
        await run.until(lambda: len(run.events) == 5)
    kinds = [type(each) for each in run.events]
    assert kinds == [FeedStateChanged, FeedStateChanged, BookMoved, TradePrint, BookMoved]


async def test_venue_that_refuses_the_region_stops_with_a_clear_message():
    async with StubVenue([[]], refusals=[451]) as venue:
        run = Run(coinbase_at(), venue)
        with pytest.raises(Failed, match="HTTP 451; the venue does not serve this region"):
            await run.go()


async def test_overloaded_venue_is_tried_again():
    levels = [("bid", "99.00", "1"), ("offer", "100.01", "1")]
    async with (
        StubVenue([[l2(0, "snapshot", levels, "BTC-USD")]], refusals=[503, 429]) as venue,
        running(Run(coinbase_at(), venue)) as run,
    ):
        await run.until(lambda: state(run.protocol) is FeedState.LIVE)
        assert run.link.attempts == 2
        assert run.link.is_connected


async def test_nobody_listening_shows_in_the_reason_and_stop_ends_the_waiting():
    async with StubVenue([[]]) as venue:
        run = Run(coinbase_at(), venue)
    async with running(run):
        await run.until(lambda: len(run.events) > 0)
        assert "cannot connect" in run.protocol.instruments[0].reason
    assert run.link.connects == 0


async def test_venue_asking_for_silence_delays_the_next_request():
    replies = iter([(429, b""), (200, snapshot(100, [["99.00", "1.0"]], ASKS))])
    async with (
        StubVenue([[]], lambda _: next(replies)) as venue,
        running(Run(binance_at(venue), venue)) as run,
    ):
        await run.until(lambda: "1 s of silence" in run.protocol.instruments[0].reason)
        assert len(venue.requests) == 1


async def test_mistake_of_the_receiver_is_told_as_itself():
    class Broken(Run):
        def deliver(self, events, recv_ns):
            raise ZeroDivisionError

    async with StubVenue([[]]) as venue:
        with pytest.raises(ZeroDivisionError):
            await Broken(coinbase_at(), venue).go()


async def test_cancelled_run_leaves_no_task_and_no_socket(caplog):
    caplog.set_level(logging.ERROR)
    async with StubVenue([[]]) as venue:
        run = Run(coinbase_at(), venue)
        task = asyncio.ensure_future(run.go())
        await run.until(lambda: len(run.events) > 0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(TIMEOUT_S):
            await venue.sockets[0].wait_closed()
    assert not caplog.records


@pytest.mark.slow
async def test_frozen_venue_goes_stale_and_then_gets_a_new_connection():
    levels = [("bid", "99.00", "1"), ("offer", "100.01", "1")]
    script = [l2(0, "snapshot", levels, "BTC-USD")]
    async with (
        StubVenue([script]) as venue,
        running(Run(coinbase_at(stale_after_ms=250), venue)) as run,
    ):
        await run.until(lambda: run.link.connects == 2 and run.states().count("live") == 2)
    assert FeedState.STALE in run.states()


async def test_address_that_is_none_stops_with_a_clear_message():
    async with StubVenue([[]]) as venue:
        run = Run(coinbase_at(), venue)
        run.endpoint = "https://not.a.socket"
        with pytest.raises(Failed, match="was not a socket address"):
            await run.go()


async def test_body_past_its_bound_is_a_failed_request(monkeypatch):
    monkeypatch.setattr("core.feeds.http.MAX_BODY_BYTES", 100)
    async with (
        StubVenue([[]], lambda _: (200, b"x" * 101)) as venue,
        running(Run(binance_at(venue), venue)) as run,
    ):
        await run.until(lambda: "longer than 100 bytes" in run.protocol.instruments[0].reason)
    assert run.link.fetch_failures >= 1


async def test_close_of_the_venue_is_told_with_its_code_and_safe_words():
    async with (
        StubVenue([[]]) as venue,
        running(Run(coinbase_at(), venue)) as run,
    ):
        await run.until(lambda: FeedState.BUFFERING in run.states())
        await venue.sockets[-1].close(1008, "slow \x1b[consumer")
        await run.until(lambda: FeedState.CONNECTING in run.states())
        assert run.link.last_error == "closed with code 1008 slow ?(consumer"


async def when(holds: Callable[[], bool]) -> None:
    """Give the other tasks turns until something holds that nobody delivers."""
    async with asyncio.timeout(TIMEOUT_S):
        while not holds():  # noqa: ASYNC110 (what it waits for has no event)
            await asyncio.sleep(0)


class Asking(CoinbaseProtocol):
    """A protocol that asks for something special when it is opened."""

    wishes: tuple = ()

    def on_open(self, now_ns):
        return [*super().on_open(now_ns), *self.wishes]


def asking(*wishes) -> Asking:
    protocol = Asking([instrument("coinbase", "BTC-USD", lot="0.00000001")], settings())
    protocol.wishes = wishes
    return protocol


async def test_protocol_that_gives_up_stops_the_feed_with_its_words():
    async with StubVenue([[]]) as venue:
        run = Run(asking(GiveUp("alpaca: the key was refused")), venue)
        with pytest.raises(Failed, match="the key was refused"):
            await run.go()
        assert run.link.connects == 1


async def test_reconnect_that_is_to_wait_waits_however_short_the_back_off():
    far_ns = SystemClock().now_ns() + 3_600 * NS_PER_S
    async with StubVenue([[]]) as venue:
        run = Run(asking(Reconnect("too many connections", far_ns)), venue)
        async with running(run):
            await run.until(lambda: FeedState.CONNECTING in run.states())
            await when(lambda: run.link.next_attempt_ns is not None)
            assert run.link.next_attempt_ns == far_ns


async def test_keys_are_put_in_only_on_the_way_out_and_never_recorded(tmp_path):
    path = tmp_path / "keys.jsonl.gz"
    one = instrument("coinbase", "BTC-USD")
    seen = []

    class Venue(StubVenue):
        def _answer(self, connection, request):
            seen.append(request.headers.get("X-Key"))
            return super()._answer(connection, request)

    async with Venue([[]], lambda _: (200, b"{}")) as venue:
        ask = FetchHttp(f"{venue.rest_address}/x", headers=(("X-Key", "<KEY-ID>"),))
        run = Run(asking(SendText("<KEY-ID>"), ask), venue)
        run.fill = lambda text: text.replace("<KEY-ID>", "k3y")
        with CaptureWriter(path, CaptureMeta("coinbase", (one.name,), (one,))) as run.recorder:
            async with running(run):
                await when(lambda: "k3y" in seen and len(venue.messages[0]) == 4)
    assert venue.messages[0][-1] == "k3y"
    told = [record.text for record in read_capture(path)] + [repr(ask)]
    assert any("<KEY-ID>" in each for each in told)
    assert not any("k3y" in each for each in told)


async def test_venue_that_says_how_long_to_wait_is_not_tried_before():
    class Venue(StubVenue):
        def _answer(self, connection, request):
            response = super()._answer(connection, request)
            if response is not None:
                response.headers["Retry-After"] = "3600"
            return response

    async with (
        Venue([[]], refusals=[429]) as venue,
        running(Run(coinbase_at(), venue)) as run,
    ):
        await run.until(lambda: "it asks for 3600 s" in run.protocol.instruments[0].reason)
        await when(lambda: run.link.next_attempt_ns is not None)
        wait_ns = run.link.next_attempt_ns - SystemClock().now_ns()
    assert wait_ns > 3_000 * NS_PER_S
