"""The cut at 24 hours by overlap: two connections at once to a venue on the loopback."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import deque
from dataclasses import dataclass, field
from typing import cast

import pytest

from core.clock import NS_PER_MS
from core.config import Settings
from core.feeds.binance import BinanceProtocol
from core.feeds.capture import CaptureMeta, Record, read_capture
from core.feeds.handover import REPLACED, Handover, Renewal
from core.feeds.protocol import FeedProtocol, split
from core.feeds.recorder import CaptureWriter
from core.feeds.registry import protocol_for
from core.feeds.replaying import Played, Player, give, without_last_close
from core.kernels import block as at
from core.model.market import FeedOutput, FeedState, TradePrint
from tests.core.feeds import wire
from tests.core.feeds.test_socket import Run, running
from tests.core.feeds.wire import T0, S, best, instrument, settings, state, stream
from tests.stub_venue import StubVenue

pytestmark = pytest.mark.slow

FIRST_MS = 1_700_000_000_000


def is_trade(event: object) -> bool:
    return isinstance(event, TradePrint)


@dataclass
class Market:
    """A venue that tells every connection the same, each as late as it is told to.

    Step ``n`` is depth event ``n`` and trade ``n``; a snapshot holds all steps so far.
    """

    venue: StubVenue
    lags: list[int]
    """Frames that connection ``k`` is behind; the last one holds for the rest."""
    steps: int = 0
    unsent: list[deque[bytes]] = field(default_factory=list)
    levels: dict[str, str] = field(default_factory=dict)

    async def step(self) -> None:
        self.steps += 1
        n = self.steps
        price = f"{90 + n % 9}.00"
        self.levels[price] = f"{n % 50 + 1}.0"
        at = {"s": "BTCUSDT", "E": FIRST_MS + n}
        book = {"e": "depthUpdate", **at, "U": n, "u": n, "b": [[price, self.levels[price]]]}
        deal = {"e": "trade", **at, "t": n, "p": "99.00", "q": "0.5", "m": n % 2 == 0, "T": at["E"]}
        frames = [
            stream("btcusdt@depth@100ms", {**book, "a": [["101.00", "1.0"]]}),
            stream("btcusdt@trade", deal),
        ]
        for number, socket in enumerate(list(self.venue.sockets)):
            if number == len(self.unsent):
                self.unsent.append(deque())
            self.unsent[number].extend(frames)
            lag = self.lags[min(number, len(self.lags) - 1)]
            while len(self.unsent[number]) > lag and socket.state.name == "OPEN":
                await socket.send(self.unsent[number].popleft(), text=True)

    def answer(self, _: str) -> tuple[int, bytes]:
        bids = [[price, qty] for price, qty in self.levels.items()]
        body = {"lastUpdateId": self.steps, "bids": bids, "asks": [["101.00", "1.0"]]}
        return 200, json.dumps(body).encode()


def protocol_at(venue: StubVenue) -> BinanceProtocol:
    at = {"binance_rest": venue.rest_address, "binance_stream": venue.socket_address}
    return BinanceProtocol(
        [instrument("binance", "BTCUSDT")], settings(**at, backoff_first_ms=10, backoff_max_ms=100)
    )


class Overlap:
    """A run on such a market whose connection is renewed at a tenth of a second."""

    def __init__(self, venue: StubVenue, lags: list[int], *, after_ms: int = 100) -> None:
        self.market = Market(venue, lags)
        venue.answers = self.market.answer
        self.run = Run(protocol_at(venue), venue)
        self.run.renewal = Renewal(
            after_ms * NS_PER_MS, lambda: protocol_at(venue), settle_ns=50 * NS_PER_MS
        )
        self.run.endpoint = None

    async def steps_until(self, holds) -> None:
        """Let the market go on, a step whenever the run has heard of the last but few."""
        async with asyncio.timeout(20):
            while not holds():
                await self.market.step()
                await self.run.until(lambda: self.newest_id() >= self.market.steps - 8)

    async def steps_more(self) -> None:
        """Let the market go on for a little, and the run hear of all of it."""
        end = self.market.steps + 20
        await self.steps_until(lambda: self.market.steps > end)
        self.market.lags = [0]
        await self.market.step()
        await self.run.until(lambda: self.newest_id() == self.market.steps)

    async def steps_unheard_until(self, holds) -> None:
        """Let the market go on while the run may have no book."""
        async with asyncio.timeout(20):
            while not holds():
                await self.market.step()
                await asyncio.sleep(0)

    async def go_live(self) -> None:
        await self.run.until(lambda: FeedState.BUFFERING in self.run.states())
        await self.steps_unheard_until(lambda: state(self.run.protocol) is FeedState.LIVE)

    def newest_id(self) -> int:
        return next((int(x.trade_id) for x in reversed(self.run.events) if is_trade(x)), 0)

    def trade_ids(self) -> list[int]:
        return [int(each.trade_id) for each in self.run.events if is_trade(each)]

    def book(self) -> dict[str, str]:
        feed = self.run.protocol.instruments[0]
        levels = feed.book.levels(0).items()
        return {feed.instrument.price_text(t): feed.instrument.qty_text(n) for t, n in levels}

    def truth(self) -> dict[str, str]:
        return {price[:-3]: qty[:-2] for price, qty in self.market.levels.items()}


LAGS = [[0], [6, 0], [0, 6]]


@pytest.mark.parametrize("lags", LAGS, ids=["level", "old-behind", "new-behind"])
async def test_nobody_sees_a_book_that_is_not_live_and_every_trade_comes_once(lags, monkeypatch):
    # Where the new connection is behind for good, waiting for it to catch up is in vain.
    monkeypatch.setattr("core.feeds.handover.FRESH_WITHIN_NS", 100 * NS_PER_MS)
    async with StubVenue([[]]) as venue:
        overlap = Overlap(venue, lags)
        run = overlap.run
        async with running(run):
            await overlap.go_live()
            await overlap.steps_until(lambda: run.link.handovers == 2)
            await venue.sockets[1].wait_closed()
            await overlap.steps_more()
            assert overlap.book() == overlap.truth()
    assert run.states() == [FeedState.BUFFERING, FeedState.LIVE]
    assert overlap.trade_ids() == list(range(1, overlap.market.steps + 1))
    # On a slow machine the next one may have been opened already.
    assert run.link.connects >= 3
    counters = run.protocol.counters
    assert (counters.gaps, counters.resyncs, counters.refused) == (0, 0, 0)


async def test_announced_shutdown_is_answered_by_an_overlap():
    async with StubVenue([[]]) as venue:
        overlap = Overlap(venue, [0], after_ms=3_600_000)
        run = overlap.run
        async with running(run):
            await overlap.go_live()
            await venue.say(b'{"e":"serverShutdown","E":1}')
            await overlap.steps_until(lambda: run.link.handovers == 1)
    assert run.states() == [FeedState.BUFFERING, FeedState.LIVE]
    assert "announced a shutdown" in run.link.last_error


async def test_announced_shutdown_where_no_second_connection_is_made_reconnects():
    async with StubVenue([[]]) as venue:
        overlap = Overlap(venue, [0])
        run = overlap.run
        run.renewal = None
        async with running(run):
            await overlap.go_live()
            await venue.say(b'{"e":"serverShutdown","E":1}')
            await run.until(lambda: FeedState.CONNECTING in run.states())
    assert run.link.last_error == "the venue announced a shutdown"


async def test_new_connection_that_is_refused_leaves_the_old_one_as_it_was():
    async with StubVenue([[]]) as venue:
        overlap = Overlap(venue, [0])
        run = overlap.run
        async with running(run):
            await overlap.go_live()
            venue.refusals = [403]
            await overlap.steps_until(lambda: run.link.handovers_failed == 1)
            await overlap.steps_more()
            assert overlap.book() == overlap.truth()
    assert run.states() == [FeedState.BUFFERING, FeedState.LIVE]
    assert (run.link.handovers, run.link.connects) == (0, 1)


async def test_cut_before_the_new_connection_is_live_goes_on_from_the_new_one():
    async with StubVenue([[]]) as venue:
        overlap = Overlap(venue, [0])
        run = overlap.run
        async with running(run):
            await overlap.go_live()
            venue.answers = lambda _: (503, b"")
            await overlap.steps_unheard_until(lambda: run.link.connects == 2)
            overlap.market.venue.sockets[0].transport.abort()
            await run.until(lambda: run.link.handovers == 1)
            assert FeedState.LIVE is not state(run.protocol)
            venue.answers = overlap.market.answer
            await overlap.steps_unheard_until(lambda: state(run.protocol) is FeedState.LIVE)
            await overlap.steps_more()
            assert overlap.book() == overlap.truth()
    assert FeedState.CONNECTING not in run.states()
    assert run.link.connects == 2


async def test_recording_of_an_overlap_replays_to_the_same_books_and_trades(tmp_path, monkeypatch):
    monkeypatch.setattr("core.feeds.handover.FRESH_WITHIN_NS", 100 * NS_PER_MS)
    async with StubVenue([[]]) as venue:
        overlap = Overlap(venue, [0, 6])
        run, path = overlap.run, tmp_path / "overlap.jsonl.gz"
        one = instrument("binance", "BTCUSDT")
        with CaptureWriter(path, CaptureMeta("binance", (one.name,), (one,))) as run.recorder:
            async with running(run):
                await overlap.go_live()
                await overlap.steps_until(lambda: run.link.handovers == 1)
                await overlap.steps_more()
    reader = read_capture(path)
    kinds = [record.kind for record in reader if record.kind in {"open", "close"}]
    assert kinds == ["open", "close", "open", "close"]
    times = [record.ns for record in reader]
    assert times == sorted(times)
    again = Worn(BinanceProtocol(list(reader.meta.instruments), Settings()))
    player = Player(cast("Played", again), reader.meta, Settings())
    for record in without_last_close(reader):
        player.give(record)
    player.finish()
    assert [each for each in again.seen if not is_request(each)] == run.events
    assert again.inner.counters == run.protocol.counters
    (there,), (here,) = run.protocol.instruments, again.inner.instruments
    for side in (0, 1):
        assert here.book.levels(side) == there.book.levels(side)
    kept = slice(at.CLOCK, at.TICKERS)
    assert here.book.block[kept].tolist() == there.book.block[kept].tolist()
    assert (here.trades, here.state) == (there.trades, FeedState.LIVE)


def test_recording_that_ends_with_a_handover_takes_over_at_its_end():
    one = instrument("coinbase", "BTC-USD")
    meta = CaptureMeta("coinbase", ("BTC-USD",), (one,))
    again = Worn(protocol_for("coinbase", [one], Settings()))
    player = Player(cast("Played", again), meta, Settings())
    first = again.inner
    for kind, text in (
        ("open", ""), ("recv", snapshot(5, "99.00")), ("close", f"{REPLACED}its age"),
        ("open", ""), ("recv", snapshot(0, "98.00")),
    ):  # fmt: skip
        is_last = kind == "close"
        player.give(Record(kind, T0 + S, text="" if is_last else text, why=text if is_last else ""))
    assert again.inner is first
    assert best(first) == ("99", "100")
    player.finish()
    assert again.inner is not first
    assert best(again.inner) == ("98", "100")
    assert again.inner.instruments[0] is first.instruments[0]


def snapshot(number: int, bid: str) -> str:
    return wire.l2(
        number, "snapshot", [("bid", bid, "1"), ("offer", "100", "1")], "BTC-USD"
    ).decode()


class Worn:
    """A face over a protocol, as a session is."""

    def __init__(self, inner: FeedProtocol) -> None:
        self.inner = inner
        self.seen: list[FeedOutput] = []

    def on_open(self, now_ns: int) -> list[FeedOutput]:
        return self._saw(self.inner.on_open(now_ns))

    def on_close(self, reason: str, now_ns: int) -> list[FeedOutput]:
        return self._saw(self.inner.on_close(reason, now_ns))

    def receive(self, data: bytes, recv_ns: int) -> list[FeedOutput]:
        return self._saw(self.inner.receive(data, recv_ns))

    def on_http(self, url: str, body: bytes, recv_ns: int) -> list[FeedOutput]:
        return self._saw(self.inner.on_http(url, body, recv_ns))

    def install(self, handover: Handover, now_ns: int) -> list[FeedOutput]:
        self.inner, outputs = handover.replace(self.inner, now_ns)
        return self._saw(outputs)

    def _saw(self, outputs: list[FeedOutput]) -> list[FeedOutput]:
        self.seen += outputs
        return outputs


def is_request(output: FeedOutput) -> bool:
    return not split([output])[0]


async def test_capture_that_is_nearly_full_goes_on_in_the_next_file_with_a_new_connection(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("core.feeds.recorder.FULL_SHARE", 0.01)
    monkeypatch.setattr("core.feeds.recorder.ROLL_SHARE", 200)
    async with StubVenue([[]]) as venue:
        overlap = Overlap(venue, [0], after_ms=3_600_000)
        run, one = overlap.run, instrument("binance", "BTCUSDT")
        names = (tmp_path / f"{number}.jsonl.gz" for number in itertools.count())
        run.recorder = CaptureWriter(
            next(names), CaptureMeta("binance", (one.name,), (one,)), 400_000, lambda _: next(names)
        )
        with run.recorder:
            async with running(run):
                await overlap.go_live()
                await overlap.steps_until(lambda: run.link.handovers == 1)
                await overlap.steps_more()
    assert "nearly full" in run.link.last_error
    assert (run.recorder.files, run.recorder.dropped) == (2, 0)
    second = read_capture(tmp_path / "1.jsonl.gz")
    again = BinanceProtocol(list(second.meta.instruments), Settings())
    for record in without_last_close(second):
        give(again, record)
    assert again.instruments[0].book.levels(0) == run.protocol.instruments[0].book.levels(0)


async def test_stop_during_an_overlap_closes_both_connections():
    async with StubVenue([[]]) as venue:
        overlap = Overlap(venue, [0])
        run = overlap.run
        async with running(run):
            await overlap.go_live()
            venue.answers = lambda _: (503, b"")
            await overlap.steps_unheard_until(lambda: run.link.connects == 2)
        async with asyncio.timeout(20):
            for socket in venue.sockets:
                await socket.wait_closed()
    assert len(venue.sockets) == 2
