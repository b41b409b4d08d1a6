"""Plays a venue model, a fault and a protocol on a virtual clock and judges every step.

Stands where ``core.feeds.socket`` stands: connects, backs off, sends, fetches, tells the time.
The judgement: a book that is believed equals the venue's true book as of the version the protocol
says it has, a book that is not believed is empty, and no live book is old.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from operator import eq

import msgspec
import numpy as np

from core.clock import NS_PER_MS, NS_PER_S
from core.config import FeedSettings, Settings
from core.feeds.connection import BELIEVED
from core.feeds.protocol import FeedProtocol
from core.feeds.registry import protocol_for
from core.model.market import (
    FeedOutput,
    FeedState,
    FeedStateChanged,
    FetchHttp,
    Reconnect,
    SendText,
)
from tests.core.feeds.wire import T0
from tests.faults.faults import Delivery, Fault, Reply, generator_for
from tests.faults.market import ASK, BID, Sides
from tests.faults.told import tell
from tests.faults.venue_base import Sent
from tests.faults.venue_model import MODELS, BinanceModel

WARM_NS = 2 * NS_PER_S
RECOVERY_NS = 75 * NS_PER_S
"""Longest time to be live again: half-open silence (15 s), a retry put off to the ceiling (30 s),
a time-out (10 s), and the way there."""
CALM_NS = 2 * NS_PER_S
"""How long everything must stay live at the end."""
OLD_NS = 9 * NS_PER_S
"""Age at which a live book is wrong by being old: stale time 5 s, longest delay 3 s, latency."""
REQUESTS_IN_10_S = 8
"""Five of a back-off from 0.5 s (0, 0.5, 1.5, 3.5, 7.5 s) and what new connections add."""
_STEP_NS = 100 * NS_PER_MS
_LATENCY_NS = 20 * NS_PER_MS


class Outcome(msgspec.Struct):
    """What came of one run; times in virtual ns."""

    venue: str
    fault: str
    seed: int
    wrong: list[str] = []
    """Findings of the judgement, the first of each kind; empty is a pass."""
    steps: int = 0
    harmed_ns: int | None = None
    detect_ns: int | None = None
    """From the first harm to the first book that was not live."""
    outages_ns: list[int] = []
    """From not live to live again, each instrument each time."""
    recover_ns: int | None = None
    """From the end of the fault window until all books were live for good."""


class Run:
    """One run; faults read and set its public fields."""

    def __init__(self, venue: str, fault: Fault, seed: int) -> None:
        self.generator = generator_for(venue, fault.name, seed)
        self.model = MODELS[venue](self.generator, T0)
        self.now_ns = T0
        self.connection = 0
        self.held: Delivery | None = None
        self.mode = self.below(4)
        """One flavour of the fault for the whole run, where it has some."""
        self.frozen_connection = -1
        self.stalled_until_ns = 0
        self.told: list[Sides | None] = [None] * len(self.model.markets)
        self._fault = fault
        self._begin_ns, self._end_ns = T0 + WARM_NS, T0 + WARM_NS + fault.window_ns
        settings = Settings(feed=FeedSettings(snapshot_levels=100))
        instruments = [each.instrument for each in self.model.markets]
        self.protocol: FeedProtocol = protocol_for(venue, instruments, settings)
        if isinstance(self.model, BinanceModel):
            self.model.watch(self.protocol)
        self.outcome = Outcome(venue, fault.name, seed)
        self._settings = settings.feed
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._n_queued = 0
        self._is_up = False
        self._up_since_ns = 0
        self._attempts = 0
        self._arrived_ns = 0
        self._fetching: set[str] = set()
        self._silence_ns = 0
        self._asked_ns: dict[str, list[int]] = {}
        self._down_ns: dict[int, int] = {}
        self._was_up = False
        self._live_since_ns: int | None = None
        self._odd_since_ns: dict[tuple[str, int], int] = {}

    # --- what faults use

    @property
    def is_faulty(self) -> bool:
        return self._begin_ns <= self.now_ns < self._end_ns

    def chance(self, share: float) -> bool:
        return self.generator.random() < share

    def below(self, count: int) -> int:
        return int(self.generator.integers(0, count)) if count else 0

    def bytes(self, count: int) -> bytes:
        return self.generator.bytes(count)

    def harm(self) -> None:
        if self.outcome.harmed_ns is None:
            self.outcome.harmed_ns = self.now_ns

    # --- the run

    def play(self) -> Outcome:
        self._at(T0, self._connect)
        self._at(T0 + _STEP_NS, self._tell_time)
        self._at(T0 + self.model.flush_ms * NS_PER_MS, self._flush)
        self._at(T0 + NS_PER_S, self._beat)
        self._at(self._begin_ns, self._begin)
        limit_ns = self._end_ns + RECOVERY_NS
        while self._queue and not self.outcome.wrong:
            self.now_ns, _, act = heapq.heappop(self._queue)
            if self.now_ns > limit_ns:
                shown = [(each.state.value, each.reason) for each in self.protocol.instruments]
                self._find("not live again", f"after {RECOVERY_NS // NS_PER_S} s: {shown}")
                break
            act()
            self.outcome.steps += 1
            if self._is_calm():
                break
        self._find_storms()
        return self.outcome

    def _is_calm(self) -> bool:
        """Follow since when all is live; return whether the run may end."""
        for each in self.protocol.instruments:
            if each.state is not FeedState.LIVE:
                self._live_since_ns = None
                return False
        if self._live_since_ns is None:
            self._live_since_ns = self.now_ns
        if self.now_ns < max(self._end_ns, self._live_since_ns) + CALM_NS:
            return False
        self.outcome.recover_ns = max(0, self._live_since_ns - self._end_ns)
        return True

    def _at(self, ns: int, act: Callable[[], None]) -> None:
        self._n_queued += 1
        heapq.heappush(self._queue, (ns, self._n_queued, act))

    def _begin(self) -> None:
        if any(each.state is not FeedState.LIVE for each in self.protocol.instruments):
            self._find("not live before the fault", self.protocol.instruments[0].reason)
        if self._fault.at_start is not None:
            self._fault.at_start(self)
        if self._fault.cuts:
            for _ in range(1 + self.below(3)):
                self._at(self.now_ns + self.below(self._fault.window_ns), self._cut)

    def _cut(self) -> None:
        if self._is_up:
            self.harm()
            self._close("cut")

    def _flush(self) -> None:
        if self.is_faulty and self._fault.at_step is not None:
            self._fault.at_step(self)
        self._send(self.model.run(self.now_ns))
        self._at(self.now_ns + self.model.flush_ms * NS_PER_MS, self._flush)

    def _beat(self) -> None:
        self.model.now_ns = self.now_ns
        if self._is_up:
            self._send(self.model.heartbeat())
        self._at(self.now_ns + NS_PER_S, self._beat)

    def _tell_time(self) -> None:
        self._take(self.protocol.on_time(self.now_ns))
        if (self.now_ns - T0) % NS_PER_S == 0:
            self._judge(range(len(self.model.markets)))
        self._at(self.now_ns + _STEP_NS, self._tell_time)

    # --- frames

    def _send(self, frames: list[Sent]) -> None:
        """Put frames on the wire of the connection there is."""
        if not self._is_up or self.connection == self.frozen_connection:
            return
        for sent in frames:
            for each in self._damaged(sent):
                latest = max(self.stalled_until_ns, self.now_ns + _LATENCY_NS + each.extra_ns)
                self._arrived_ns = max(self._arrived_ns, latest)
                self._at(self._arrived_ns, self._arrival(each, self.connection))

    def _damaged(self, sent: Sent) -> list[Delivery]:
        if self.is_faulty and self._fault.on_frame is not None:
            return self._fault.on_frame(self, sent)
        held, self.held = self.held, None
        return [Delivery(sent.data, sent)] + ([held] if held else [])

    def _arrival(self, delivery: Delivery, connection: int) -> Callable[[], None]:
        def arrive() -> None:
            if connection != self.connection or not self._is_up:
                return
            if not self.model.proves_loss:
                tell(self.told, self.model, delivery)
            self._take(self.protocol.receive(delivery.data, self.now_ns))

        return arrive

    # --- what the protocol wants

    def _take(self, outputs: list[FeedOutput]) -> None:
        moved = set()
        for each in outputs:
            match each:
                case SendText():
                    if self._is_up:
                        self._count("text")
                        self._send_later(each.text)
                case FetchHttp():
                    if self._is_up and each.url not in self._fetching:
                        self._fetching.add(each.url)
                        start_ns = max(each.not_before_ns, self._silence_ns, self.now_ns)
                        self._at(start_ns, self._fetch(each.url, self.connection))
                case Reconnect():
                    if self._is_up:
                        self._close(each.reason)
                case FeedStateChanged():
                    self._changed(each)
                    moved.add(each.instrument)
                case _:
                    moved.add(each.instrument)
        self._judge(moved)

    def _send_later(self, text: str) -> None:
        connection = self.connection

        def arrive() -> None:
            if connection == self.connection and self._is_up:
                self._send(self.model.asked(text, self.now_ns))

        self._at(self.now_ns + _LATENCY_NS, arrive)

    def _fetch(self, url: str, connection: int) -> Callable[[], None]:
        def start() -> None:
            if connection != self.connection or not self._is_up:
                return
            if self.now_ns < self._silence_ns:
                self._at(self._silence_ns, self._fetch(url, connection))
                return
            self._count(url)
            on_reply = self._fault.on_reply
            reply = on_reply(self) if on_reply is not None and self.is_faulty else Reply()
            self._silence_ns = max(self._silence_ns, self.now_ns + reply.silence_ns)
            if reply.failure:
                self.harm()
            body = b"" if reply.failure else self.model.fetch(url, reply.is_old)
            arrives_ns = self.now_ns + 3 * _LATENCY_NS + reply.extra_ns
            self._at(arrives_ns, lambda: finish(reply.failure, body))

        def finish(failure: str, body: bytes) -> None:
            if connection != self.connection or not self._is_up:
                return
            self._fetching.discard(url)
            if failure:
                self._take(self.protocol.on_http_failed(url, failure, self.now_ns))
            else:
                self._take(self.protocol.on_http(url, body, self.now_ns))

        return start

    def _connect(self) -> None:
        self._is_up, self._up_since_ns, self._arrived_ns = True, self.now_ns, 0
        self.connection += 1
        self._fetching.clear()
        self._count("connection")
        self.told = [None] * len(self.told)
        frames = self.model.connected(self.now_ns)
        self._take(self.protocol.on_open(self.now_ns))
        self._send(frames)

    def _close(self, reason: str) -> None:
        self._is_up = False
        self.held = None
        if self.now_ns - self._up_since_ns > self._settings.backoff_max_ms * NS_PER_MS:
            self._attempts = 0
        self._attempts += 1
        doubled = self._settings.backoff_first_ms * 2 ** (self._attempts - 1)
        wait_ms = min(doubled, self._settings.backoff_max_ms) * self.generator.uniform(0.5, 1.0)
        self._take(self.protocol.on_close(reason, self.now_ns))
        self._at(self.now_ns + int(wait_ms * NS_PER_MS), self._connect)

    # --- the judgement

    def _changed(self, change: FeedStateChanged) -> None:
        index = change.instrument
        if change.state is FeedState.LIVE:
            self._was_up = True
            if index in self._down_ns:
                self.outcome.outages_ns.append(self.now_ns - self._down_ns.pop(index))
        elif self._was_up and self.now_ns >= self._begin_ns:
            self._down_ns.setdefault(index, self.now_ns)
            harmed_ns = self.outcome.harmed_ns
            if harmed_ns is not None and self.outcome.detect_ns is None:
                self.outcome.detect_ns = self.now_ns - harmed_ns

    def _judge(self, indices: Iterable[int]) -> None:
        for index in indices:
            feed = self.protocol.instruments[index]
            if feed.state not in BELIEVED:
                if feed.book.size() != (0, 0):
                    self._find("levels nobody believes", feed.state.value)
                self._lasts("touch", index, False, 0)
            elif self._fault.judges_touch_only:
                self._judge_touch(index)
            elif self.model.proves_loss:
                self._judge_proved(index)
            else:
                self._judge_told(index)

    def _judge_proved(self, index: int) -> None:
        feed, market = self.protocol.instruments[index], self.model.markets[index]
        version = self.model.claim(self.protocol, index)
        truth = self.model.truth(index, version)
        self._lasts("strange id", index, truth is None, self._fault.strange_id_ns)
        if truth is None:
            return
        low, high = self.model.known(index)
        for side in (BID, ASK):
            held, true = feed.book.levels(side), truth[side]
            if held == true:
                continue
            missing = [t for t in true.keys() - held.keys() if low <= t <= high]
            if missing or not all(map(eq, map(true.get, held), held.values())):
                want = {t: q for t, q in true.items() if t in held or t in missing}
                self._find("book", f"{feed.state} side {side} at {version}: {_diff(held, want)}")
        if feed.state is FeedState.LIVE:
            self._judge_touch(index)
            ceased_ns = market.until_ns.get(version, self.now_ns)
            if self.now_ns - ceased_ns > OLD_NS:
                self._find("old", f"live book is {(self.now_ns - ceased_ns) / NS_PER_S:.1f} s old")

    def _judge_touch(self, index: int) -> None:
        feed = self.protocol.instruments[index]
        truth = self.model.truth(index, self.model.claim(self.protocol, index))
        if truth is None or feed.state is not FeedState.LIVE:
            return
        bid, ask = max(truth[BID]), min(truth[ASK])
        right = feed.book.touch()[:4] == (bid, truth[BID][bid], ask, truth[ASK][ask])
        self._lasts("touch", index, not right, self._fault.touch_wrong_ns)

    def _judge_told(self, index: int) -> None:
        """Compare with what was told: that nothing of it is missing nobody can see."""
        feed, told = self.protocol.instruments[index], self.told[index]
        if told is None:
            self._find("book", f"{feed.state} though what was told is known to be incomplete")
            return
        for side in (BID, ASK):
            held = feed.book.levels(side)
            if held != told[side]:
                self._find("book", f"{feed.state} side {side}: {_diff(held, told[side])}")

    def _lasts(self, what: str, index: int, is_odd: bool, allowed_ns: int) -> None:
        if not is_odd:
            self._odd_since_ns.pop((what, index), None)
            return
        since_ns = self._odd_since_ns.setdefault((what, index), self.now_ns)
        if self.now_ns - since_ns >= allowed_ns:
            lasted = (self.now_ns - since_ns) / NS_PER_S
            self._find(what, f"wrong for {lasted:.1f} s while live")

    def _find(self, kind: str, text: str) -> None:
        at = (self.now_ns - T0) / NS_PER_S
        self.outcome.wrong.append(f"{kind}: at {at:.2f} s {text}")

    # --- storms

    def _count(self, what: str) -> None:
        self._asked_ns.setdefault(what, []).append(self.now_ns)

    def _find_storms(self) -> None:
        for what, times in self._asked_ns.items():
            # A connection brings up to three subscriptions, a repair of two books four messages.
            allowed = REQUESTS_IN_10_S * (5 if what == "text" else 1)
            asked = np.array(times)
            most = int(
                (np.searchsorted(asked, asked + 10 * NS_PER_S) - np.arange(len(asked))).max()
            )
            if most > allowed:
                self._find("storm", f"{most} times {what} in 10 s")


def _diff(held: dict[int, int], want: dict[int, int]) -> str:
    wrong = sorted(t for t in held.keys() | want.keys() if held.get(t) != want.get(t))
    shown = ", ".join(f"{t}: {held.get(t)} not {want.get(t)}" for t in wrong[:3])
    return f"{len(wrong)} levels, {shown}"
