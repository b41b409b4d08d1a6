"""The session drives one engine: it brings frames, time, durability and the broker together.

It wears the face of a feed protocol, so that a socket, a capture or the simulated market can all
feed it: before anything is taken at a time, everything that was due before that time has run.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Iterable

import numpy as np

from core.clock import NS_PER_S, Clock, earliest
from core.engine import Engine
from core.errors import InvariantError
from core.feeds.handover import Replacer
from core.feeds.joined import Joined
from core.feeds.link import FeedLink
from core.feeds.protocol import FeedCounters, FeedProtocol
from core.model.event import InputTaken
from core.model.market import (
    BookMoved,
    FeedOutput,
    FeedStateChanged,
    TradePrint,
)
from core.orders import Submit
from core.ports import Broker, EventSink, RowSink
from core.reconcile import Reconciler
from core.recordings import Recordings

SILENCE_NS = 120 * NS_PER_S
"""A longer silence is not lived through timer by timer."""
TIMINGS_KEPT = 2048


class Timings:
    """The last few durations in nanoseconds, for percentiles on the screen."""

    def __init__(self) -> None:
        self._kept: deque[int] = deque(maxlen=TIMINGS_KEPT)
        self.add = self._kept.append
        """Keep a duration in nanoseconds."""

    def percentile_us(self, percent: float) -> float | None:
        """Return a percentile in microseconds, or None before the first."""
        if not self._kept:
            return None
        kept = np.fromiter(self._kept, np.int64, len(self._kept))
        return float(np.percentile(kept, percent)) / 1000


class Session:
    """One engine with its feed, broker, ledger and tape."""

    def __init__(
        self, engine: Engine, broker: Broker, sink: EventSink, tape: RowSink | None = None
    ) -> None:
        self.engine = engine
        self.broker = broker
        self.sink = sink
        self.tape = tape
        self.inner: FeedProtocol = engine.protocol
        self.venue = self.inner.venue
        self.instruments = self.inner.instruments
        self.feed_timings = Timings()
        self.decision_timings = Timings()
        self.wake: asyncio.Event | None = None
        """Set to hand new orders to ``settle_forever``; None settles at once (replay)."""
        self.late_requests: list[FeedOutput] = []
        """What the feed asked for while time passed; handed out with the next answer."""
        self.clock: Clock | None = None
        """The wall clock of a live venue; None where the tape or the simulated market is it."""
        self.finished = ""
        """Why no more market data will come; empty while it may."""
        self.recordings: Recordings | None = None
        """Tape and capture with their bounds; None in a replay. Read by the picture."""
        self._due_ns = 0
        """Nothing is due before; 0 when something happened since that was found out."""
        self._brought_ns = 0
        """How far time was brought to the engine."""
        self.reconciler = Reconciler(engine.context, engine.execution, engine.account, broker)
        engine.reconciler = self.reconciler
        self.links: dict[str, FeedLink] = {}
        """What the sockets count, by venue; empty where there are none."""

    @property
    def counters(self) -> FeedCounters:
        """The feed's counts; of several venues their sums."""
        return self.inner.counters

    def counters_of(self, instrument: int) -> FeedCounters:
        """Return the counts of the venue of an instrument."""
        inner = self.inner
        return inner.part_of(instrument).counters if isinstance(inner, Joined) else inner.counters

    # --- the face of a feed protocol --------------------------------------------------------------

    def url(self) -> str:
        return self.inner.url()

    def on_open(self, now_ns: int) -> list[FeedOutput]:
        self.run_timers(now_ns)
        return self._take(self.inner.on_open(now_ns))

    def receive(self, data: bytes, recv_ns: int) -> list[FeedOutput]:
        """Take one frame at ``recv_ns``; return what the feed asks for."""
        if recv_ns >= self._due_ns:
            self.run_timers(recv_ns)
        start = time.perf_counter_ns()
        outputs = self.inner.receive(data, recv_ns)
        requests = self._take(outputs) if outputs or self.late_requests else []
        self.feed_timings.add(time.perf_counter_ns() - start)
        return requests

    def on_http(self, url: str, body: bytes, recv_ns: int) -> list[FeedOutput]:
        self.run_timers(recv_ns)
        return self._take(self.inner.on_http(url, body, recv_ns))

    def on_http_failed(self, url: str, reason: str, now_ns: int) -> list[FeedOutput]:
        self.run_timers(now_ns)
        self.note_input("http_failed", json.dumps([url, reason]))
        return self._take(self.inner.on_http_failed(url, reason, now_ns))

    def on_close(self, reason: str, now_ns: int) -> list[FeedOutput]:
        self.run_timers(now_ns)
        return self._take(self.inner.on_close(reason, now_ns))

    def on_time(self, now_ns: int) -> list[FeedOutput]:
        self.run_timers(now_ns)
        outputs = self.inner.on_time(now_ns)
        if any(isinstance(output, FeedStateChanged) for output in outputs):
            self.note_input("time")
        return self._take(outputs)

    def install(self, handover: Replacer, now_ns: int) -> list[FeedOutput]:
        """Go on with the protocol of a second connection; see ``core.feeds.handover``."""
        self.run_timers(now_ns)
        self.note_input("handover")
        self.inner, outputs = handover.replace(self.inner, now_ns)
        # What the old connection was to be asked for is not the new one's business.
        self.late_requests.clear()
        return self._take(outputs)

    def _take(self, outputs: Iterable[FeedOutput]) -> list[FeedOutput]:
        """Give market events to engine, broker and tape; return the requests."""
        requests, self.late_requests = self.late_requests, []
        for output in outputs:
            match output:
                case BookMoved():
                    self.engine.on_market(output)
                    if self.tape is not None:
                        self.tape.append(self.engine.desks[output.instrument].row)
                    self.broker.on_market(output.instrument, output.ts_recv_ns)
                case TradePrint():
                    self.engine.on_market(output)
                    self.broker.on_trade(output)
                case FeedStateChanged():
                    self.engine.on_market(output)
                case _:
                    requests.append(output)
        # Market data alone brings nothing forward but what the broker answers to it.
        broker_due_ns = self.broker.next_due_ns()
        if broker_due_ns is not None:
            self._due_ns = min(self._due_ns, broker_due_ns)
        self._take_reports()
        self._send()
        return requests

    # --- time -------------------------------------------------------------------------------------

    def next_due_ns(self) -> int | None:
        """Return when ``run_timers`` has something to do next."""
        return earliest(self.engine.next_due_ns(), self.broker.next_due_ns())

    def run_timers(self, now_ns: int) -> None:
        """Run everything that was due up to ``now_ns``, each at its own time."""
        self._brought_ns = max(self._brought_ns, now_ns)
        while (due_ns := self.next_due_ns()) is not None and due_ns <= now_ns:
            if now_ns - due_ns > SILENCE_NS:
                due_ns = now_ns
                self.engine.start_clock(now_ns)
            broker_due = self.broker.next_due_ns()
            if broker_due is not None and broker_due <= due_ns:
                self.broker.advance(due_ns)
                self._take_reports()
            else:
                self._take_outputs_of_time(due_ns)
                start = time.perf_counter_ns()
                self.engine.advance(due_ns)
                self.decision_timings.add(time.perf_counter_ns() - start)
            self.hand_over()
        self._due_ns = due_ns or 0

    def pass_time(self) -> None:
        """Run what is due by the wall clock, where there is one."""
        if self.clock is not None:
            self.run_timers(self.clock.now_ns())

    def catch_up(self) -> None:
        """Bring engine time itself to the wall clock, where there is one; before a command acts."""
        if self.clock is not None:
            now_ns = self.clock.now_ns()
            self.run_timers(now_ns)
            self.engine.context.move_to(now_ns)

    def note_input(self, kind: str, text: str = "", actor: str = "system") -> None:
        """Journal what enters beside the market data, and where: a replay gives it again there."""
        self.engine.context.journal(
            InputTaken(
                kind=kind,
                actor=actor,
                frames=self.counters.frames,
                brought_ns=self._brought_ns,
                text=text,
            )
        )

    def set_unguarded(self, why: str) -> None:
        """Take that no watchdog guards the run, so nothing new may be opened; empty: one does."""
        self.engine.context.unguarded = why
        self.note_input("watchdog", why)

    def _take_outputs_of_time(self, now_ns: int) -> None:
        for output in self.inner.on_time(now_ns):
            if isinstance(output, FeedStateChanged):
                self.engine.on_market(output)
            else:
                self.late_requests.append(output)

    # --- the broker -------------------------------------------------------------------------------

    def _take_reports(self) -> None:
        for report in self.broker.take_reports():
            self._due_ns = 0
            self.engine.on_report(report)

    def send_cancels(self) -> None:
        """Send every queued cancel now; cancels wait for nothing."""
        self._due_ns = 0
        self._send_cancels()

    def _send_cancels(self) -> None:
        while (cancel := self.engine.execution.orders.pop_cancel()) is not None:
            self._due_ns = 0
            self.broker.cancel(cancel.client_order_id, self.engine.context.now_ns)
        while (asked := self.engine.execution.orders.pop_ask()) is not None:
            self._due_ns = 0
            self.broker.ask(asked, self.engine.context.now_ns)
        self._take_reports()

    def hand_over(self) -> None:
        """Send cancels, then orders: at once in replay, through ``settle_forever`` when live."""
        self._due_ns = 0
        self._send()

    def _send(self) -> None:
        self._send_cancels()
        if self.wake is not None:
            if self.engine.execution.orders.queue_depth:
                self.wake.set()
            return
        while (submit := self.engine.execution.orders.pop_submit()) is not None:
            try:
                self.sink.flush().result()
            except (InvariantError, OSError) as error:
                self._keep_in(submit, error)
                continue
            self._submit(submit)

    def _keep_in(self, submit: Submit, error: Exception) -> None:
        """The intent of an order could not be made durable: it does not leave."""
        self.engine.context.lose_ledger(str(error))
        self.engine.execution.refuse(submit.order, f"no ledger, no order: {error}")

    def _submit(self, submit: Submit) -> None:
        if self.engine.execution.leave(submit.order):
            self._due_ns = 0
            self.broker.submit(submit.order, self.engine.context.now_ns)
            self._take_reports()

    def send_next(self) -> None:
        """Send the next order of the queue, whose intent is durable."""
        submit = self.engine.execution.orders.pop_submit()
        if submit is not None:
            self._submit(submit)

    async def settle_forever(self) -> None:
        """Send queued orders one after the other, each after its intent is durable."""
        assert self.wake is not None
        while True:
            await self.wake.wait()
            self.wake.clear()
            orders = self.engine.execution.orders
            # It stays in the queue until it leaves: when it leaves is noted, for the replay.
            while (submit := orders.next_submit()) is not None:
                try:
                    await asyncio.wrap_future(self.sink.flush())
                except (InvariantError, OSError) as error:
                    self._keep_in(submit, error)
                    continue
                if orders.next_submit() is submit:
                    self.note_input("sent", submit.order.client_order_id)
                    self.send_next()
