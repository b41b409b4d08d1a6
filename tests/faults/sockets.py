"""Plays a venue and a fault over real sockets of the loopback, in virtual time.

``core.feeds.socket.run_feed`` on one side, ``core.stub.server`` on the other, and the judge of the
trials without sockets between them. Only time is not real (``tests.faults.virtual``).
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, cast

from core.clock import NS_PER_S
from core.config import FeedSettings, Settings
from core.errors import Failed
from core.feeds.protocol import FeedProtocol
from core.feeds.registry import protocol_for
from core.feeds.socket import run_feed
from core.model.market import FeedOutput, MarketEvent, SendText
from core.stub.faults import Asked, Fault, generator_for
from core.stub.server import StubServer, Window
from core.stub.site import Delivery
from core.stub.venue import Session
from tests.core.feeds.wire import T0
from tests.faults.judge import Judge, Outcome
from tests.faults.told import tell, tell_answer
from tests.faults.venues import SNAPSHOT_LEVELS, venue_for
from tests.faults.virtual import VirtualClock, VirtualLoop, run_virtual

_LOOK_S = 0.1
LIMIT_S = 200.0
"""Virtual seconds after which a run is given up; the judge gives up long before."""


class Watched:
    """A protocol that tells a judge of everything that goes in and comes out."""

    def __init__(self, inner: FeedProtocol, run: SocketRun) -> None:
        self.inner = inner
        self._run = run

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def on_open(self, now_ns: int) -> list[FeedOutput]:
        self._run.opened()
        return self._saw(self.inner.on_open(now_ns))

    def receive(self, data: bytes, recv_ns: int) -> list[FeedOutput]:
        self._run.received(data)
        return self._saw(self.inner.receive(data, recv_ns))

    def on_http(self, url: str, body: bytes, recv_ns: int) -> list[FeedOutput]:
        self._run.answered(body)
        return self._saw(self.inner.on_http(url, body, recv_ns))

    def on_http_failed(self, url: str, reason: str, now_ns: int) -> list[FeedOutput]:
        return self._saw(self.inner.on_http_failed(url, reason, now_ns))

    def on_close(self, reason: str, now_ns: int) -> list[FeedOutput]:
        outputs = self._saw(self.inner.on_close(reason, now_ns))
        self._run.judge.closed()
        return outputs

    def on_time(self, now_ns: int) -> list[FeedOutput]:
        return self._saw(self.inner.on_time(now_ns))

    def _saw(self, outputs: list[FeedOutput]) -> list[FeedOutput]:
        for each in outputs:
            if isinstance(each, SendText):
                self._run.judge.asked("text")
        self._run.judge.took(outputs)
        return outputs


class SocketRun:
    """One run; ``refresh_after_s`` is the setting, with which a run of seconds renews nothing."""

    def __init__(self, venue: str, fault: Fault, seed: int, *, refresh_after_s: int = 900) -> None:
        self.generator = generator_for(venue, fault.name, seed)
        self.venue = venue_for(venue, self.generator, T0)
        self.outcome = Outcome(venue, fault.name, seed)
        self._fault = fault
        self._seed = seed
        self._refresh_after_s = refresh_after_s
        self._on_wire: deque[Delivery] = deque()
        """Frames sent on the newest connection that were not received yet."""
        self._session: Session | None = None

    def play(self) -> Outcome:
        return run_virtual(self._play())

    async def _play(self) -> Outcome:
        clock = VirtualClock(T0, cast("VirtualLoop", asyncio.get_running_loop()))
        server = StubServer(
            self.venue, clock, faults=[Asked(self._fault)], seed=self._seed, window=Window(0, 0),
            on_sent=self._sent, on_request=self._requested,
        )  # fmt: skip
        self._server, self._clock = server, clock
        async with server:
            settings = _settings(server.address, self._refresh_after_s)
            instruments = [each.instrument for each in self.venue.books]
            inner = protocol_for(self.venue.venue, instruments, settings)
            self.judge = Judge(inner, self.venue, server, self._fault, self.outcome, clock.now_ns)
            server.window = Window(self.judge.begin_ns, self.judge.end_ns)
            stop = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                feed = group.create_task(self._feed(inner, clock, settings, stop))
                await self._watch(clock, server)
                stop.set()
                await feed
        return self.judge.end()

    async def _feed(
        self, inner: FeedProtocol, clock: VirtualClock, settings: Settings, stop: asyncio.Event
    ) -> None:
        watched = cast("FeedProtocol", Watched(inner, self))
        try:
            await run_feed(
                watched, _delivered, clock, settings, generator=self.generator, stop=stop
            )
        except Failed as error:
            self.judge.find("given up", str(error))

    async def _watch(self, clock: VirtualClock, server: StubServer) -> None:
        """Look at the books once a second until all is well again, or was found wrong."""
        has_begun = False
        looks = 0
        while clock.now_ns() < T0 + LIMIT_S * NS_PER_S:
            await asyncio.sleep(_LOOK_S)
            looks += 1
            if not has_begun and clock.now_ns() >= self.judge.begin_ns:
                has_begun = True
                self.judge.begin()
            if looks % 10 == 0:
                self.judge.judge(range(len(self.venue.books)))
            self.outcome.steps += 1
            if self.judge.is_over():
                break
        else:
            self.judge.find("not over", f"after {LIMIT_S:.0f} s")
        # Nothing more happens at the venue; what is on its way arrives.
        server.is_still = True
        await asyncio.sleep(1)

    # --- what goes over the wire

    def _sent(self, session: Session, delivery: Delivery) -> None:
        if session is not self._session:
            self._session = session
            self._on_wire.clear()
        self._on_wire.append(delivery)

    def _requested(self, path: str) -> None:
        self.judge.asked(path)
        silent_ns = self._server.silent_until_ns - self._clock.now_ns()
        if silent_ns > 0:
            self.judge.find("impatient", f"{path} {silent_ns / NS_PER_S:.1f} s too early")

    def opened(self) -> None:
        self.judge.asked("connection")
        self.judge.told[:] = [None] * len(self.judge.told)
        self.judge.session = self.venue.sessions[-1]
        if self._session is not self.judge.session:
            self._session = self.judge.session
            self._on_wire.clear()

    def received(self, data: bytes) -> None:
        delivery = self._on_wire.popleft()
        if delivery.data != data:
            self.judge.find("wire", f"{data[:60]!r} arrived, not {delivery.data[:60]!r}")
        elif not self.venue.proves_loss:
            tell(self.judge.told, self.venue, delivery, self.judge.also)

    def answered(self, body: bytes) -> None:
        if not self.venue.proves_loss:
            tell_answer(self.judge.also, self.venue, body)


def _settings(address: str, refresh_after_s: int) -> Settings:
    rest = address.replace("ws://", "http://")
    feed = FeedSettings(
        snapshot_levels=SNAPSHOT_LEVELS, refresh_after_s=refresh_after_s,
        binance_stream=address, binance_rest=rest, coinbase_stream=address,
        coinbase_exchange_stream=address, coinbase_exchange_rest=rest,
        alpaca_stream=address, alpaca_rest=rest, alpaca_account_rest=rest,
    )  # fmt: skip
    return Settings(feed=feed)


def _delivered(events: list[MarketEvent], recv_ns: int) -> None:
    """The judge has seen them already."""
