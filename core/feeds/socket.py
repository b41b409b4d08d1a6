"""Keeps a venue connected: one connection after the other, or one that takes over from another.

It decides nothing about markets: what to subscribe, fetch or give up is the protocol's. The
waits are here, all bounded: attempts back off with a ceiling and jitter, and a connection that
will be cut is replaced before it is (``core.feeds.handover``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np

from core.clock import NS_PER_MS, NS_PER_S, Clock
from core.config import Settings
from core.errors import Failed
from core.feeds.dial import dial
from core.feeds.handover import REPLACED, Handover, Renewal
from core.feeds.held import FrameRecorder
from core.feeds.http import Fetcher
from core.feeds.line import Deliver, End, Line, Outlet
from core.feeds.link import FeedLink
from core.feeds.protocol import FeedProtocol, split
from core.model.market import FeedOutput, MarketEvent

TIME_STEP_S = 0.05
"""How often the protocol hears of time; coarser than any frame, finer than any timer of ours."""
_WARM_NS = 60 * NS_PER_S
"""Longest a second connection warms up, and the wait before the next one is tried."""


async def run_feed(
    protocol: FeedProtocol,
    deliver: Deliver,
    clock: Clock,
    settings: Settings,
    *,
    generator: np.random.Generator,
    stop: asyncio.Event,
    recorder: FrameRecorder | None = None,
    endpoint: str | None = None,
    link: FeedLink | None = None,
    renewal: Renewal | None = None,
    fill: Callable[[str], str] = str,
) -> None:
    """Keep a venue's protocol connected until ``stop`` is set.

    Args:
        protocol: Owns the books; called from this task only.
        deliver: Takes the market events of one call and their receive time in ns, at once.
        clock: Receive times.
        settings: Back-off, from ``[feed]``.
        generator: Jitter of the back-off.
        stop: Ends the run; the last state of the protocol is left as it is.
        recorder: Takes raw frames before the protocol sees them.
        endpoint: Socket address instead of the protocol's own.
        link: Filled with counts.
        renewal: How the connection is replaced before it is cut; None: it is not.
        fill: Puts the keys in the place of their names in what is sent.

    Errors: ``Failed`` when trying again cannot help (refused by the venue, bad certificate);
    whatever ``deliver`` raises.
    """
    outlet = Outlet(protocol, deliver, recorder)
    url = endpoint or protocol.url()
    feed = _Feed(url, outlet, clock, settings, generator, stop, link or FeedLink(), renewal, fill)
    try:
        await feed.run()
    except BaseExceptionGroup as group_error:
        # One cause is told as itself: callers catch Failed, not a group that holds it.
        cause: BaseException = group_error
        while isinstance(cause, BaseExceptionGroup) and len(cause.exceptions) == 1:
            cause = cause.exceptions[0]
        if cause is group_error:
            raise
        raise cause from group_error


class _Feed:
    """The run of one protocol over any number of connections."""

    def __init__(
        self,
        url: str,
        outlet: Outlet,
        clock: Clock,
        settings: Settings,
        generator: np.random.Generator,
        stop: asyncio.Event,
        link: FeedLink,
        renewal: Renewal | None,
        fill: Callable[[str], str],
    ) -> None:
        self._url = url
        self._outlet = outlet
        self._clock = clock
        self._settings = settings.feed
        self._generator = generator
        self._stop = stop
        self._link = link
        self._renewal = renewal
        self._fill = fill
        self._fetcher = Fetcher(clock, link, fill)
        self._group = asyncio.TaskGroup()
        self._line: Line | None = None
        """The connection that serves; None between two."""
        self._handover: Handover | None = None
        self._heir_line: Line | None = None
        """The connection that warms up to take over; None nearly always."""
        self._renew_ns = 0
        """When the next connection is opened to take over, unless the age says later."""
        self._renew_why = ""

    async def run(self) -> None:
        async with self._group as group:
            tasks = [group.create_task(self._tell_time()), group.create_task(self._watch())]
            await self._stay_connected()
            for task in tasks:
                task.cancel()

    async def _tell_time(self) -> None:
        while True:
            await asyncio.sleep(TIME_STEP_S)
            now_ns = self._clock.now_ns()
            self._take(self._outlet.protocol.on_time(now_ns), now_ns)
            if self._handover is not None and self._heir_line is not None:
                if self._heir_line.is_open:
                    self._heir_line.take(self._handover.heir.on_time(now_ns), now_ns)
                self._look_at_heir(now_ns)
            else:
                self._renew_if_due(now_ns)

    async def _watch(self) -> None:
        await self._stop.wait()
        for line in (self._line, self._heir_line):
            if line is not None:
                line.finish("stopped")

    def _take(self, outputs: list[FeedOutput], now_ns: int) -> None:
        if self._line is not None:
            self._line.take(outputs, now_ns)
            return
        # Without a connection a request has no meaning: the next ``on_open`` asks anew.
        events, _ = split(outputs)
        if events:
            self._outlet.deliver(events, now_ns)

    # --- one connection after the other

    async def _stay_connected(self) -> None:
        while not self._stop.is_set():
            began_ns = self._clock.now_ns()
            end = await self._serve()
            if self._stop.is_set():
                return
            now_ns = self._clock.now_ns()
            if now_ns - began_ns > self._settings.backoff_max_ms * NS_PER_MS:
                self._link.attempts = 0
            self._link.attempts += 1
            await self._back_off(now_ns, end.not_before_ns)

    async def _serve(self) -> End:
        """Serve from one connection, and from those that take over from it, to their end."""
        self._renew_why, self._renew_ns = "", 0
        line = self._line = self._new_line(self._outlet)
        while True:
            end = await asyncio.shield(line.ended)
            if line is self._line:
                if self._heir_line is None or not self._heir_line.is_open or self._stop.is_set():
                    break
                self._hand_over(end.reason)
            line = self._line
        self._drop_heir()
        self._line = None
        self._link.is_connected = False
        now_ns = self._clock.now_ns()
        if line.opened_ns is not None and self._outlet.recorder is not None:
            self._outlet.recorder.closed(now_ns, end.reason)
        if not self._stop.is_set():
            self._link.last_error = end.reason
            self._take(self._outlet.protocol.on_close(end.reason, now_ns), now_ns)
        # Some venues count a connection until it is closed, and allow one.
        await line.gone()
        return end

    def _new_line(self, outlet: Outlet) -> Line:
        line = Line(outlet, self._clock, self._fetcher, self._fill, self._want_renewal)
        line.task = self._group.create_task(self._dial(line))
        return line

    async def _dial(self, line: Line) -> None:
        try:
            await dial(self._url, line, self._clock, self._opened)
        except Failed as error:
            # By its outlet, for a line that has ended is no more ``self._line``.
            if line.outlet is self._outlet:
                raise
            # It was to take over; the connection that serves is as good as it was.
            line.finish(str(error))

    def _opened(self) -> None:
        self._link.connects += 1
        self._link.is_connected = True
        self._link.next_attempt_ns = None

    async def _back_off(self, now_ns: int, not_before_ns: int) -> None:
        """Wait for the ceiling or less, or until stopped; jitter takes up to half of it off."""
        doubled = self._settings.backoff_first_ms * 2 ** min(self._link.attempts - 1, 20)
        wait_ms = min(doubled, self._settings.backoff_max_ms) * self._generator.uniform(0.5, 1.0)
        due_ns = max(now_ns + int(wait_ms * NS_PER_MS), not_before_ns)
        self._link.next_attempt_ns = due_ns
        try:
            async with asyncio.timeout((due_ns - now_ns) / NS_PER_S):
                await self._stop.wait()
        except TimeoutError:
            self._link.next_attempt_ns = None

    # --- a second connection that takes over

    def _want_renewal(self, reason: str) -> None:
        """The venue wants this connection ended: replace it, at once if it must be without one."""
        if self._renewal is None:
            if self._line is not None:
                self._line.finish(reason)
        elif not self._renew_why:
            self._renew_why = reason

    def _renew_if_due(self, now_ns: int) -> None:
        renewal, line = self._renewal, self._line
        if renewal is None or line is None or not line.is_open or now_ns < self._renew_ns:
            return
        assert line.opened_ns is not None
        self._renew_why = self._renew_why or self._why_old(renewal, now_ns - line.opened_ns)
        if not self._renew_why:
            return
        self._renew_ns = now_ns + _WARM_NS
        handover = self._handover = Handover(renewal)

        def deliver(events: list[MarketEvent], at_ns: int) -> None:
            handover.take(events, at_ns)
            self._look_at_heir(at_ns)

        self._heir_line = self._new_line(Outlet(handover.heir, deliver, handover.records))

    def _why_old(self, renewal: Renewal, age_ns: int) -> str:
        """Return why a connection that serves well is replaced, or nothing."""
        if renewal.after_ns is not None and age_ns >= renewal.after_ns:
            return "it has reached its age"
        recorder = self._outlet.recorder
        if recorder is not None and recorder.wants_connection:
            return "its capture is nearly full"
        return ""

    def _look_at_heir(self, now_ns: int) -> None:
        """Change over when it costs nothing; give the attempt up when it takes too long."""
        handover, line = self._handover, self._heir_line
        if handover is None or line is None:
            return
        if line.ended.done() or handover.trouble() or now_ns > self._renew_ns:
            self._link.handovers_failed += 1
            self._drop_heir()
        elif line.is_open and handover.is_ready(self._serving(), now_ns):
            self._hand_over(self._renew_why)

    def _serving(self) -> FeedProtocol:
        """Return the protocol behind the face, or the protocol itself where nobody wears it."""
        face = None if self._renewal is None else self._renewal.face
        return self._outlet.protocol if face is None else face.inner

    def _hand_over(self, reason: str) -> None:
        """Let the second connection serve and end the first, between two frames."""
        handover, line, old = self._handover, self._heir_line, self._line
        assert handover is not None
        assert line is not None
        assert old is not None
        assert self._renewal is not None
        now_ns = self._clock.now_ns()
        reason = REPLACED + reason
        if self._outlet.recorder is not None:
            self._outlet.recorder.closed(now_ns, reason)
            handover.records.tell(self._outlet.recorder, now_ns)
        if self._renewal.face is None:
            self._outlet.protocol, outputs = handover.replace(self._outlet.protocol, now_ns)
        else:
            outputs = self._renewal.face.install(handover, now_ns)
        self._line, line.outlet = line, self._outlet
        self._handover = self._heir_line = None
        self._renew_why, self._renew_ns = "", 0
        self._link.handovers += 1
        self._link.last_error = reason
        old.finish(reason)
        line.take(outputs, now_ns)

    def _drop_heir(self) -> None:
        if self._heir_line is not None:
            self._heir_line.finish("not needed")
        self._handover = self._heir_line = None
