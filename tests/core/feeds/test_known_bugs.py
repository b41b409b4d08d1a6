"""Bugs that cost others their book, 1 to 14, 18 and 19: each by name, on the real code path.

The list is of 21 instructive bugs of public feed and trading programs. Those of trading (15 to 17,
20, 21) are in ``test_known_bugs_of_trading``. Each test fails when its remedy is taken out of the
code: ``bench/remedies.py`` takes out one after the other and shows it.
"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from core.clock import NS_PER_MS, NS_PER_S, SystemClock
from core.config import Settings
from core.control import MAX_MESSAGE, Ack, GetSnapshot
from core.desk import Desk
from core.engine import Engine, EngineSetup
from core.feeds.alpaca import AlpacaProtocol
from core.feeds.binance import BinanceProtocol
from core.feeds.capture import CaptureMeta, read_capture
from core.feeds.handover import Renewal
from core.feeds.protocol import FeedProtocol
from core.feeds.recorder import CaptureWriter
from core.model.decision import Mode
from core.model.market import FeedCause, FeedState, SendText
from core.picture import _known
from core.picture_feed import known_prices
from core.replay import run_replay
from core.server import BACKLOG_MAX
from core.session import Session
from tests.core.feeds.test_alpaca import CONNECTED, said
from tests.core.feeds.test_coinbase_exchange import frame as exchange_frame
from tests.core.feeds.test_coinbase_exchange import live as live_exchange
from tests.core.feeds.test_overlap import Overlap
from tests.core.feeds.test_overlap import protocol_at as binance_of
from tests.core.feeds.test_socket import Asking, Run, asking, coinbase_at, running, when
from tests.core.feeds.wire import (
    MS,
    T0,
    S,
    best,
    binance,
    channel,
    coinbase,
    depth,
    depth_url,
    fetches,
    instrument,
    l2,
    reconnects,
    sent,
    settings,
    snapshot,
    state,
    stream,
    ticker,
)
from tests.core.test_server import BIG, Bed
from tests.fakes import HandBroker, MemoryLatch, MemorySink
from tests.stub_venue import StubVenue

BIDS = [["100.00", "1.00000000"], ["99.99", "2.00000000"]]
ASKS = [["100.01", "1.50000000"], ["100.02", "2.00000000"]]
LEVELS = [("bid", "100.5", "1"), ("offer", "101", "1.5")]


def engine_of(protocol: FeedProtocol) -> Engine:
    return Engine(
        EngineSetup(
            protocol=protocol,
            settings=Settings(),
            mode=Mode.OBSERVE,
            sink=MemorySink(),
            latch=MemoryLatch(),
            run_id="cafe0123" * 4,
            fee_bps=Decimal(10),
        )
    )


def live(*names: str, last_id: int = 100, **feed: object) -> BinanceProtocol:
    protocol = binance(*names, **feed)
    for name in names or ("BTCUSDT",):
        protocol.on_http(depth_url(name), snapshot(last_id, BIDS, ASKS), T0)
    return protocol


@pytest.mark.slow
async def test_bug_01_snapshot_beyond_the_usual_frame_limit_comes_through_the_socket() -> None:
    """Limits of 1 and 4 MiB closed the socket on it, silently, every 90 s.

    https://github.com/ccxt/ccxt/issues/23597, https://github.com/hummingbot/hummingbot/issues/7207
    """
    levels = [("bid", f"{n}.37", "0.12345678") for n in range(1, 24_501)]
    levels += [("offer", f"{n}.38", "0.12345678") for n in range(24_500, 49_000)]
    frame = l2(0, "snapshot", levels, "BTC-USD")
    assert len(frame) > 5_080_000
    async with StubVenue([[frame]]) as venue, running(Run(coinbase_at(), venue)) as run:
        await run.until(lambda: {FeedState.LIVE, FeedState.CONNECTING} & set(run.states()))
        assert run.protocol.instruments[0].book.size() == (24_500, 24_500)
    assert run.link.connects == 1


def test_bug_02_two_subscriptions_of_one_label_are_never_merged() -> None:
    """Updates of USDT-USDC and USDT-USD went into one book.

    https://github.com/ccxt/ccxt/issues/23748
    """
    protocol = coinbase("BTC-USD", "BTC-USDC")
    protocol.receive(l2(0, "snapshot", LEVELS, "BTC-USD"), T0)
    assert [state(protocol, n) for n in (0, 1)] == [FeedState.LIVE, FeedState.BUFFERING]
    aliased = protocol.instruments[1]
    assert aliased.reason == "BTC-USDC arrives labelled BTC-USD: watch one of the two"
    assert aliased.book.size() == (0, 0)
    apart = coinbase("USDT-USDC", "USDT-USD")
    apart.receive(l2(0, "snapshot", LEVELS, "USDT-USDC"), T0)
    other = [("bid", "0.99", "7"), ("offer", "1.01", "7")]
    apart.receive(l2(1, "snapshot", other, "USDT-USD"), T0)
    assert (best(apart, 0), best(apart, 1)) == (("100.5", "101"), ("0.99", "1.01"))


def test_bug_03_book_beyond_the_depth_of_its_snapshot_is_unknown() -> None:
    """Past the 1000 levels of the snapshot the book was wrong and did not say so.

    https://github.com/bmoscon/cryptofeed/issues/604
    """
    bids = [[f"{100 - n / 100:.2f}", "1.0"] for n in range(100)]
    asks = [[f"{100 + (n + 1) / 100:.2f}", "1.0"] for n in range(100)]
    protocol = binance(snapshot_levels=100)
    protocol.on_http(depth_url(), snapshot(100, bids, asks), T0)
    feed = protocol.instruments[0]
    protocol.receive(depth(101, 101, bids=[["50.00", "1.0"]]), T0)
    # The level is held, and not shown as if nothing stood between it and the others.
    assert feed.book.size() == (101, 100)
    lowest, highest = known_prices(Desk(0, feed, Settings(), None))
    assert (lowest, highest) == (9_901, 10_100)
    assert len(_known(feed.book.bids(200), lowest, is_bid=True)) == 100
    # The market walks there: a deeper snapshot is asked for, and one doubt costs the book.
    outputs = protocol.receive(depth(102, 102, bids=[[price, "0.0"] for price, _ in bids]), T0)
    assert len(fetches(outputs)) == 1
    protocol.receive(ticker(102, ["98.00", "4.0"], ["100.01", "1.0"]), T0)
    assert feed.state is FeedState.RESYNCING
    assert feed.cause is FeedCause.LEFT_KNOWN
    assert feed.book.size() == (0, 0)


def test_bug_04_refresh_of_a_live_book_is_stitched_behind_the_stream() -> None:
    """A snapshot swapped in as it came inverted the book and lost updates for minutes.

    https://github.com/bmoscon/cryptofeed/pull/606
    """
    protocol = live()
    protocol.receive(depth(101, 110, bids=[["100.00", "0.0"]], asks=[["100.00", "1.0"]]), T0)
    protocol.on_http(depth_url(), snapshot(105, BIDS, ASKS), T0)
    assert protocol.instruments[0].crossed == 0
    assert best(protocol) == ("99.99", "100")


def test_bug_05_snapshots_that_come_too_old_are_asked_for_later_and_later() -> None:
    """A snapshot older than the first buffered event was fetched again every 4 s without end.

    https://github.com/bitrich-info/xchange-stream/issues/328
    """
    protocol = binance(backoff_first_ms=500, backoff_max_ms=8_000)
    protocol.receive(depth(200, 210), T0)
    now_ns, waits = T0 + 100 * S, []
    for _ in range(7):
        outputs = protocol.on_http(depth_url(), snapshot(100, BIDS, ASKS), now_ns)
        (again,) = fetches(outputs)
        waits.append((again.not_before_ns - now_ns) // MS)
        now_ns = again.not_before_ns
    assert waits == [500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000]
    assert state(protocol) is FeedState.BUFFERING
    assert "older than the stream" in protocol.instruments[0].reason


def test_bug_06_partial_books_are_never_taken_for_changes() -> None:
    """Changes were fed from the partial-depth stream, and the start gave up after some retries.

    https://github.com/nautechsystems/nautilus_trader/issues/4181
    """
    protocol = live()
    partial = {"lastUpdateId": 101, "bids": [["98.00", "1.0"]], "asks": [["99.00", "1.0"]]}
    for name in ("btcusdt@depth20", "btcusdt@depth20@100ms", "btcusdt@depth5"):
        protocol.receive(stream(name, partial), T0)
    assert (state(protocol), best(protocol)) == (FeedState.LIVE, ("100", "100.01"))
    assert (protocol.counters.refused, protocol.counters.ignored) == (0, 3)
    waiting = binance()
    outputs = [waiting.on_http_failed(depth_url(), "HTTP 503", T0 + n * S) for n in range(100)]
    assert all(len(fetches(each)) == 1 for each in outputs)


def test_bug_07_snapshot_slower_than_the_feed_is_met_by_what_was_kept() -> None:
    """Downloads slower than the feed were started over and over until the rate limit was used up.

    https://github.com/danpaquin/coinbasepro-python/issues/365, .../issues/212
    """
    protocol = BinanceProtocol([instrument("binance", "BTCUSDT")], settings())
    asked = fetches(protocol.on_open(T0))
    # The reply takes a minute and a half, in which ten events a second come.
    for n in range(900):
        now_ns = T0 + n * 100 * MS
        asked += fetches(
            protocol.receive(depth(101 + n, 101 + n, bids=[["100.00", "7.0"]]), now_ns)
        )
        asked += fetches(protocol.on_time(now_ns))
    outputs = protocol.on_http(depth_url(), snapshot(110, BIDS, ASKS), T0 + 90 * S)
    assert state(protocol) is FeedState.LIVE
    assert protocol.instruments[0].book.best_bid == (10_000, 700_000)
    assert len(asked + fetches(outputs)) == 1


def test_bug_08_gap_in_one_of_twenty_costs_one_book_and_one_request() -> None:
    """A gap in one product reset all of them.

    https://github.com/bmoscon/cryptofeed/issues/291
    """
    names = [f"A{n}USDT" for n in range(20)]
    protocol = live(*names)
    outputs = protocol.receive(depth(150, 151, name="A7USDT"), T0 + 60 * S)
    assert [n for n in range(20) if state(protocol, n) is not FeedState.LIVE] == [7]
    (asked,) = fetches(outputs)
    assert "symbol=A7USDT" in asked.url


def test_bug_08_requests_of_many_books_are_queued_by_their_weight() -> None:
    """Many books that started at once ran into 429, all of them again and again.

    https://github.com/bmoscon/cryptofeed/issues/293
    """
    listed = [instrument("binance", f"A{n}USDT") for n in range(20)]
    outputs = BinanceProtocol(listed, settings()).on_open(T0)
    # 1000 levels weigh 50 of the 6000 a minute.
    assert [each.not_before_ns for each in fetches(outputs)] == [
        T0 + n * 500 * MS for n in range(20)
    ]


def test_bug_09_orders_and_levels_that_were_never_there_are_no_gap() -> None:
    """``change`` and ``done`` for orders that never opened were taken for gaps.

    https://github.com/bmoscon/cryptofeed/issues/290
    """
    protocol = live_exchange()
    for kind in ("received", "open", "done", "change", "activate"):
        message = exchange_frame(kind, order_id="never-opened", sequence=10**9, price="100")
        assert protocol.receive(message, T0) == []
    protocol.receive(exchange_frame("l2update", changes=[["buy", "42", "0"]]), T0)
    assert (state(protocol), best(protocol)) == (FeedState.LIVE, ("100", "101"))
    assert (protocol.counters.gaps, protocol.counters.refused) == (0, 0)
    assert protocol.counters.ignored == 5


def test_bug_10_each_channel_is_read_by_its_own_rule_of_sequence() -> None:
    """A book was given number 1, and the sequence of a heartbeat read as +1: endless reconnects.

    https://github.com/coinbase/coinbase-pro-trading-toolkit/issues/39,
    https://github.com/bennycode/coinbase-pro-node/issues/227
    """
    exchange = live_exchange()
    for n, sequence in enumerate((5_000, 5_007, 5_007, 9_999)):
        beat = exchange_frame("heartbeat", sequence=sequence, last_trade_id=41)
        exchange.receive(beat, T0 + n * S)
    assert (state(exchange), exchange.counters.gaps) == (FeedState.LIVE, 0)
    # Advanced Trade counts the frames of all channels and products of a connection as one.
    advanced = coinbase("BTC-USD", "ETH-USD")
    beat = [{"current_time": "now", "heartbeat_counter": 7}]
    for frame in (
        l2(0, "snapshot", LEVELS, "BTC-USD"),
        channel(1, "subscriptions", []),
        l2(2, "snapshot", LEVELS, "ETH-USD"),
        channel(3, "heartbeats", beat),
        l2(4, "update", [("bid", "100.6", "1")], "BTC-USD"),
    ):
        assert reconnects(advanced.receive(frame, T0)) == []
    assert (best(advanced), advanced.counters.gaps) == (("100.6", "101"), 0)
    assert reconnects(advanced.receive(l2(6, "update", [], "BTC-USD"), T0)) == [
        "frames 5 to 5 were lost"
    ]


async def test_bug_11_cut_connection_drops_the_book_and_subscribes_anew() -> None:
    """Auto-reconnect came back without subscriptions, or went on in the old book.

    https://github.com/bennycode/coinbase-pro-node/issues/102
    """
    first = [l2(0, "snapshot", [*LEVELS, ("bid", "100.4", "9")], "BTC-USD")]
    second = [l2(0, "update", [("bid", "100.7", "1")], "BTC-USD")]
    second += [l2(1, "snapshot", LEVELS, "BTC-USD")]
    async with (
        StubVenue([first, second], after_messages=3) as venue,
        running(Run(coinbase_at(), venue)) as run,
    ):
        await run.until(lambda: state(run.protocol) is FeedState.LIVE)
        venue.cut()
        await run.until(lambda: len(venue.sockets) == 2 and run.protocol.counters.frames == 3)
        assert state(run.protocol) is FeedState.LIVE
        assert run.protocol.instruments[0].book.size() == (1, 1)
    assert run.states()[:4] == [
        FeedState.BUFFERING, FeedState.LIVE, FeedState.CONNECTING, FeedState.BUFFERING
    ]  # fmt: skip
    subscribed = [[json.loads(text)["channel"] for text in one] for one in venue.messages]
    assert subscribed == [["level2", "market_trades", "heartbeats"]] * 2


def test_bug_11_book_that_stays_crossed_is_doubted_and_then_asked_for_anew() -> None:
    """After long runs books were crossed, and stayed so.

    https://github.com/bennycode/coinbase-pro-node/issues/372
    """
    protocol = coinbase(crossed_after_ms=1_000)
    protocol.receive(l2(0, "snapshot", LEVELS, "BTC-USD"), T0)
    protocol.receive(l2(1, "update", [("bid", "101", "1")], "BTC-USD"), T0)
    feed, seen = protocol.instruments[0], []
    for n, ms in enumerate((1_000, 1_001, 2_000, 2_001)):
        protocol.receive(channel(2 + n, "subscriptions", []), T0 + ms * MS)
        seen.append(feed.state)
    assert seen == [
        FeedState.LIVE, FeedState.SUSPECT, FeedState.SUSPECT, FeedState.RESYNCING
    ]  # fmt: skip
    assert feed.reason == "bid 101 at or above ask 101 for 2.0 s"
    assert feed.transitions[FeedCause.CROSSED] == 2
    verbs = [each["type"] for each in sent(protocol.on_time(T0 + 60 * S))]
    assert verbs == ["unsubscribe", "subscribe"]


async def test_bug_12_screen_that_does_not_read_costs_the_feed_nothing(tmp_path: Path) -> None:
    """A consumer (the screen) that was slow made the queue overflow.

    https://github.com/sammchardy/python-binance/issues/1295, .../issues/1016, .../issues/882
    """
    path = tmp_path / "busy.jsonl.gz"
    protocol = binance()
    one = protocol.instruments[0].instrument
    with CaptureWriter(path, CaptureMeta("binance", (one.name,), (one,))) as writer:
        writer.opened(T0, "wss://venue.example")
        writer.fetched(T0, depth_url(), snapshot(100, BIDS, ASKS))
        for n in range(3_000):
            change = [[f"{90 + n % 900 / 100:.2f}", f"{n % 7}.5"]]
            writer.received(T0 + n * MS, depth(101 + n, 101 + n, bids=change))
    bed = Bed(tmp_path / "control.sock")
    bed.engine.picture = Ack(ok=True, text=BIG)
    unread: list[int] = []
    async with bed.server:
        screen = await bed.client()
        screen.writer.transport.pause_reading()
        screen.send(*[GetSnapshot(is_screen=True)] * 40)

        def look(_: int) -> None:
            unread.extend(c._transport.get_write_buffer_size() for c in bed.server._clients)

        session = Session(engine_of(protocol), HandBroker(), MemorySink())
        await run_replay(session, read_capture(path), SystemClock(), None, look)
        assert bed.server.counters.slow_clients == 1
        assert bed.server.n_clients == 0
    await screen.close()
    assert max(unread, default=0) <= BACKLOG_MAX + MAX_MESSAGE
    assert protocol.counters.frames == 3_000
    assert protocol.counters.gaps == 0
    expected = {9_000 + n % 900: (n % 7) * 100_000 + 50_000 for n in range(3_000)}
    assert protocol.instruments[0].book.levels(0) == expected | {10_000: 100_000, 9_999: 200_000}


@pytest.mark.parametrize(
    ("protocol", "frame"),
    [
        (live, stream("btcusdt@depth", {"e": "somethingNew", "s": "BTCUSDT"})),
        (live, stream("btcusdt@somethingNew", {"e": "somethingNew"})),
        (live_exchange, exchange_frame("something_new", order_type="unheard_of")),
        (live_exchange, exchange_frame("match", trade_id=1, side="both", size="1", price="1")),
    ],
)
def test_bug_13_unknown_values_are_counted_and_cost_no_more_than_themselves(
    protocol, frame
) -> None:
    """An enum value that was not known stopped all parsing.

    https://github.com/nautechsystems/nautilus_trader/issues/1184
    """
    one = protocol()
    known = one.counters.refused + one.counters.ignored
    one.receive(frame, T0)
    assert one.counters.refused + one.counters.ignored == known + 1
    one.receive(b"{}", T0)
    assert one.counters.frames >= 2


async def test_bug_13_full_queue_ends_the_connection_and_never_blocks() -> None:
    """A full queue blocked the event loop.

    https://github.com/nautechsystems/nautilus_trader/issues/1184
    """
    async with StubVenue([[]]) as venue:
        run = Run(asking(*[SendText("{}")] * 300), venue)
        async with running(run):
            await run.until(lambda: FeedState.CONNECTING in run.states())
        assert "more than 256 messages were unsent" in run.link.last_error


class _Answering(Asking):
    """A protocol that answers every frame."""

    def receive(self, data: bytes, recv_ns: int) -> list:
        return [*super().receive(data, recv_ns), *[SendText("{}")] * 3]


async def test_bug_14_close_during_ping_and_answer_ends_in_a_new_connection() -> None:
    """A pong sent after the server had closed raised, and nothing reconnected any more.

    https://github.com/nautechsystems/nautilus_trader/issues/4020
    """
    protocol = _Answering([instrument("coinbase", "BTC-USD", lot="0.00000001")], settings())
    async with StubVenue([[]]) as venue:
        run = Run(protocol, venue)
        async with running(run):
            await when(lambda: bool(venue.messages) and len(venue.messages[0]) == 3)
            # In one piece, so that frame, ping and close are there before anything is answered.
            server = venue.sockets[0]
            server.protocol.send_text(channel(0, "subscriptions", []))
            server.protocol.send_ping(b"still there?")
            server.protocol.send_close(1001, "going away")
            server.transport.write(b"".join(server.protocol.data_to_send()))
            await run.until(lambda: run.link.connects == 2 and len(run.states()) >= 3)
    assert run.states()[:3] == [FeedState.BUFFERING, FeedState.CONNECTING, FeedState.BUFFERING]
    assert "1001" in run.link.last_error


@pytest.mark.slow
async def test_bug_18_cut_at_24_hours_is_met_by_a_second_connection() -> None:
    """Every connection is cut after 24 hours, and the book was gone until the next one.

    https://github.com/freqtrade/freqtrade/issues/11821, https://github.com/decred/dcrdex/pull/2958
    """
    async with StubVenue([[]]) as venue:
        overlap = Overlap(venue, [0])
        run = overlap.run
        run.renewal = Renewal(100 * NS_PER_MS, lambda: binance_of(venue), settle_ns=50 * NS_PER_MS)
        async with running(run):
            await overlap.go_live()
            await overlap.steps_until(lambda: run.link.handovers >= 1)
            await overlap.steps_more()
            assert overlap.book() == overlap.truth()
    assert run.states() == [FeedState.BUFFERING, FeedState.LIVE]


def test_bug_18_stream_that_is_silent_while_the_socket_is_up_is_found() -> None:
    """Streams fell silent one by one while the connection was up.

    https://github.com/freqtrade/freqtrade/issues/10597
    """
    protocol = live("BTCUSDT", "ETHUSDT", stale_after_ms=5_000)
    beat = stream("btcusdt@miniTicker", {"e": "24hrMiniTicker", "s": "BTCUSDT"})
    asked: list[str] = []
    for n in range(1, 8):
        # Its ticker goes on, the depth stream does not; the other symbol is as it should be.
        asked += reconnects(protocol.receive(ticker(100 + n, BIDS[0], ASKS[0]), T0 + n * S))
        asked += reconnects(protocol.receive(depth(100 + n, 100 + n, name="ETHUSDT"), T0 + n * S))
        asked += reconnects(protocol.receive(beat, T0 + n * S))
        if n == 2:
            assert state(protocol, 0) is FeedState.SUSPECT
    assert [state(protocol, n) for n in (0, 1)] == [FeedState.RESYNCING, FeedState.LIVE]
    assert asked == ["no depth event for 6 s though its tickers went on"]


async def test_bug_19_connection_that_still_counts_is_waited_out() -> None:
    """The old session still counted: 406 at every attempt, because there was one every second.

    https://github.com/alpacahq/alpaca-py/issues/248,
    https://github.com/alpacahq/alpaca-trade-api-csharp/issues/297, .../issues/306
    """
    protocol = AlpacaProtocol([instrument("alpaca", "IBM", lot="1")], settings())
    refusal = said(406, "connection limit exceeded")
    async with StubVenue([[CONNECTED, refusal]]) as venue:
        run = Run(protocol, venue)
        async with running(run):
            await run.until(lambda: FeedState.CONNECTING in run.states())
            await when(lambda: run.link.next_attempt_ns is not None)
            wait_ns = (run.link.next_attempt_ns or 0) - SystemClock().now_ns()
            # One owner: the next attempt comes when this connection is closed, never beside it.
            await venue.sockets[0].wait_closed()
            assert len(venue.sockets) == 1
    assert wait_ns > 20 * NS_PER_S
    assert "connection limit exceeded (406)" in run.link.last_error
