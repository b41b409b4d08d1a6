"""Plays a venue, a fault and a protocol on a virtual clock, without sockets.

Stands where ``core.feeds.socket`` stands: connects, backs off, sends, fetches, tells the time.
``tests.faults.judge`` judges every step; ``tests.faults.sockets`` plays the same over sockets.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from urllib.parse import urlsplit

from core.clock import NS_PER_MS, NS_PER_S
from core.config import FeedSettings, Settings
from core.feeds.dial import MAX_FRAME_BYTES
from core.feeds.protocol import FeedProtocol
from core.feeds.registry import protocol_for
from core.model.market import FeedOutput, FetchHttp, GiveUp, Reconnect, Renew, SendText
from core.stub.faults import Fault, generator_for
from core.stub.site import Delivery, Reply, Site
from core.stub.venue import Request, Sent, Session
from tests.core.feeds.wire import T0
from tests.faults.judge import Judge, Outcome
from tests.faults.told import tell, tell_answer
from tests.faults.venues import SNAPSHOT_LEVELS, venue_for

_STEP_NS = 100 * NS_PER_MS
_PING_NS = 20 * NS_PER_S
"""A ping every ten seconds, and ten to answer it."""
_LATENCY_NS = 20 * NS_PER_MS


class Run:
    """One run."""

    def __init__(self, venue: str, fault: Fault, seed: int) -> None:
        self.generator = generator_for(venue, fault.name, seed)
        self.venue = venue_for(venue, self.generator, T0)
        self.site = Site(self.venue, self.generator)
        self.now_ns = T0
        self._fault = fault
        settings = Settings(feed=FeedSettings(snapshot_levels=SNAPSHOT_LEVELS))
        instruments = [each.instrument for each in self.venue.books]
        self.protocol: FeedProtocol = protocol_for(self.venue.venue, instruments, settings)
        self.outcome = Outcome(venue, fault.name, seed)
        self.judge = Judge(
            self.protocol, self.venue, self.site, fault, self.outcome, lambda: self.now_ns
        )
        self._settings = settings.feed
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._n_queued = 0
        self._connection = 0
        self._session: Session | None = None
        self._up_since_ns = 0
        self._attempts = 0
        self._arrived_ns = 0
        self._fetching: set[str] = set()
        self._silence_ns = 0
        self._is_settling = False
        self._frozen_since_ns = 0

    @property
    def is_faulty(self) -> bool:
        return self.judge.begin_ns <= self.now_ns < self.judge.end_ns

    def play(self) -> Outcome:
        self._at(T0, self._connect)
        self._at(T0 + _STEP_NS, self._tell_time)
        self._at(T0 + self.venue.flush_ms * NS_PER_MS, self._flush)
        self._at(T0 + NS_PER_S, self._beat)
        self._at(self.judge.begin_ns, self._begin)
        self._at(self.judge.end_ns, self._end)
        while self._queue:
            self.now_ns, _, act = heapq.heappop(self._queue)
            self.site.now_ns = self.now_ns
            act()
            self.outcome.steps += 1
            if self.judge.is_over():
                self._settle()
                break
        return self.judge.end()

    def _settle(self) -> None:
        """Let what is on its way arrive while nothing more happens at the venue."""
        self._is_settling = True
        until_ns = self.now_ns + NS_PER_S
        while self._queue and self._queue[0][0] <= until_ns:
            self.now_ns, _, act = heapq.heappop(self._queue)
            act()

    def _at(self, ns: int, act: Callable[[], None]) -> None:
        self._n_queued += 1
        heapq.heappush(self._queue, (ns, self._n_queued, act))

    def _begin(self) -> None:
        self.judge.begin()
        if self._fault.at_start is not None:
            self._fault.at_start(self.site)
        if self._fault.cuts:
            for _ in range(1 + self.site.below(3)):
                self._at(self.now_ns + self.site.below(self._fault.window_ns), self._cut)

    def _end(self) -> None:
        if self._fault.at_end is not None:
            self._fault.at_end(self.site)

    def _cut(self) -> None:
        if self._session is not None:
            self.site.harm()
            self._close("cut")

    def _flush(self) -> None:
        if self.is_faulty and self._fault.at_step is not None:
            self._fault.at_step(self.site)
        if not self._is_settling:
            self.venue.advance(self.now_ns)
        if self._session is not None:
            self._send(self._session.flush())
        self._at(self.now_ns + self.venue.flush_ms * NS_PER_MS, self._flush)

    def _beat(self) -> None:
        self.venue.now_ns = self.now_ns
        if self._session is not None:
            self._send(self._session.beat())
        self._at(self.now_ns + NS_PER_S, self._beat)

    def _tell_time(self) -> None:
        if self._session is not None and self.site.is_frozen:
            # A frozen peer answers no ping, which the socket's own keepalive notices.
            self._frozen_since_ns = self._frozen_since_ns or self.now_ns
            if self.now_ns - self._frozen_since_ns > _PING_NS:
                self._close("keepalive ping timeout")
        self._take(self.protocol.on_time(self.now_ns))
        if (self.now_ns - T0) % NS_PER_S == 0:
            self.judge.judge(range(len(self.venue.books)))
        self._at(self.now_ns + _STEP_NS, self._tell_time)

    # --- frames

    def _send(self, frames: list[Sent]) -> None:
        """Put frames on the wire of the connection there is."""
        if self._session is None or self.site.is_frozen:
            return
        for sent in frames:
            for each in self._damaged(sent):
                latest = max(self.site.stalled_until_ns, self.now_ns + _LATENCY_NS + each.extra_ns)
                self._arrived_ns = max(self._arrived_ns, latest)
                self._at(self._arrived_ns, self._arrival(each, self._connection))

    def _damaged(self, sent: Sent) -> list[Delivery]:
        if self.is_faulty and self._fault.on_frame is not None:
            return self._fault.on_frame(self.site, sent)
        held, self.site.held = self.site.held, None
        return [Delivery(sent.data, sent)] + ([held] if held else [])

    def _arrival(self, delivery: Delivery, connection: int) -> Callable[[], None]:
        def arrive() -> None:
            if connection != self._connection or self._session is None:
                return
            if delivery.cut_at is not None:
                self._close("connection lost")
            elif delivery.close_code is not None:
                self._close(f"closed with code {delivery.close_code}")
            elif len(delivery.data) > MAX_FRAME_BYTES:
                self._close("closed with code 1009")
            else:
                if not self.venue.proves_loss:
                    tell(self.judge.told, self.venue, delivery, self.judge.also)
                self._take(self.protocol.receive(delivery.data, self.now_ns))

        return arrive

    # --- what the protocol wants

    def _take(self, outputs: list[FeedOutput]) -> None:
        for each in outputs:
            match each:
                case SendText():
                    if self._session is not None:
                        self.judge.asked("text")
                        self._send_later(each.text)
                case FetchHttp():
                    if self._session is not None and each.url not in self._fetching:
                        self._fetching.add(each.url)
                        start_ns = max(each.not_before_ns, self._silence_ns, self.now_ns)
                        self._at(start_ns, self._fetch(each.url, self._connection))
                case Reconnect() | Renew():
                    if self._session is not None:
                        not_before_ns = getattr(each, "not_before_ns", 0)
                        self._close(each.reason, not_before_ns)
                case GiveUp():
                    self.judge.find("given up", each.reason)
                case _:
                    pass
        self.judge.took(outputs)

    def _send_later(self, text: str) -> None:
        connection = self._connection

        def arrive() -> None:
            if connection == self._connection and self._session is not None:
                self.venue.now_ns = self.now_ns
                self._send(self._session.asked(text.encode()))

        self._at(self.now_ns + _LATENCY_NS, arrive)

    def _fetch(self, url: str, connection: int) -> Callable[[], None]:
        def start() -> None:
            if connection != self._connection or self._session is None:
                return
            if self.now_ns < self._silence_ns:
                self._at(self._silence_ns, self._fetch(url, connection))
                return
            self.judge.asked(url)
            on_reply = self._fault.on_reply
            reply = on_reply(self.site) if on_reply is not None and self.is_faulty else Reply()
            self._silence_ns = max(self._silence_ns, self.now_ns + reply.silence_ns)
            failure, body = reply.failure, b""
            if not failure:
                answer = self.venue.answer(_path(url), is_old=reply.is_old)
                assert answer is not None
                failure = "" if answer.status == 200 else f"HTTP {answer.status}"
                body = answer.body
            self._at(self.now_ns + 3 * _LATENCY_NS + reply.extra_ns, lambda: finish(failure, body))

        def finish(failure: str, body: bytes) -> None:
            if connection != self._connection or self._session is None:
                return
            self._fetching.discard(url)
            if failure:
                self._take(self.protocol.on_http_failed(url, failure, self.now_ns))
            else:
                if not self.venue.proves_loss:
                    tell_answer(self.judge.also, self.venue, body)
                self._take(self.protocol.on_http(url, body, self.now_ns))

        return start

    def _connect(self) -> None:
        self.judge.asked("connection")
        self._connection += 1
        self._up_since_ns, self._arrived_ns = self.now_ns, 0
        self.site.reconnected()
        self._frozen_since_ns = 0
        self._fetching.clear()
        self.judge.told[:] = [None] * len(self.judge.told)
        at_open = self._fault.at_open
        if self.is_faulty and at_open is not None and at_open(self.site):
            self._close("refused")
            return
        self._session = self.venue.connect(self.now_ns, Request(_path(self.protocol.url())))
        self.judge.session = self._session
        self._take(self.protocol.on_open(self.now_ns))
        self._send(self._session.greeting())

    def _close(self, reason: str, not_before_ns: int = 0) -> None:
        if self._session is not None:
            self.venue.disconnect(self._session)
        self._session = None
        self.site.held = None
        if self.now_ns - self._up_since_ns > self._settings.backoff_max_ms * NS_PER_MS:
            self._attempts = 0
        self._attempts += 1
        doubled = self._settings.backoff_first_ms * 2 ** (self._attempts - 1)
        wait_ms = min(doubled, self._settings.backoff_max_ms) * self.generator.uniform(0.5, 1.0)
        self._take(self.protocol.on_close(reason, self.now_ns))
        self.judge.closed()
        self._at(max(not_before_ns, self.now_ns + int(wait_ms * NS_PER_MS)), self._connect)


def _path(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path
