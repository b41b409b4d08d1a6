"""One client of the stub venue: its session, the faults on its way, its queue of frames.

Frames leave in order, each no earlier than its faults allow. What exists on a wire alone is done
here: a cut inside a frame, a close code, a socket that is open and says nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from core.clock import NS_PER_S, Clock
from core.stub.faults import Asked
from core.stub.site import Delivery, Site
from core.stub.venue import Sent, Session

MAX_QUEUED = 20_000
"""Frames that wait for a client; one slower than that is closed, as venues do."""
SLOW = (1008, "ErrSlowConsume")
GOING_AWAY = 1001
OnSent = Callable[[Session, Delivery], None]


class Way(Site):
    """The site of one fault on one connection."""

    asked: Asked
    is_on: bool = True
    """Whether the fault acts now."""
    start_ns: int | None = None
    """When it does once what it does once; None: it was done, or is nothing."""


class Link:
    """One connection of one client."""

    def __init__(
        self,
        socket: ServerConnection,
        session: Session,
        ways: Sequence[Way],
        clock: Clock,
        on_sent: OnSent | None = None,
    ) -> None:
        self.socket = socket
        self.session = session
        self.ways = ways
        self.n_sent = 0
        self.opened_ns = clock.now_ns()
        self._clock = clock
        self._on_sent = on_sent
        self._queue: deque[tuple[int, Delivery]] = deque()
        self._due_ns = 0
        self._wake = asyncio.Event()
        self._is_empty = asyncio.Event()
        self._is_empty.set()
        self._is_slow = False
        self._is_finishing = False

    @property
    def n_queued(self) -> int:
        return len(self._queue)

    def put(self, frames: Sequence[Sent]) -> None:
        """Send frames, each as the faults will have it."""
        now_ns = self._clock.now_ns()
        for sent in frames:
            for each in self._damaged(sent, now_ns):
                stalled_ns = max((way.stalled_until_ns for way in self.ways), default=0)
                self._due_ns = max(self._due_ns, stalled_ns, now_ns + each.extra_ns)
                self._queue.append((self._due_ns, each))
        if self._queue:
            self._is_slow = self._is_slow or len(self._queue) > MAX_QUEUED
            self._is_empty.clear()
            self._wake.set()

    def finish(self) -> None:
        """Close the connection once all that is queued has gone out."""
        if not self._is_finishing:
            self._is_finishing = True
            end = Delivery(b"", Sent(b"", "end"), close_code=GOING_AWAY)
            self._queue.append((self._due_ns, end))
            self._wake.set()

    async def drained(self) -> None:
        """Wait until everything has gone out."""
        await self._is_empty.wait()

    async def send(self) -> None:
        """Send what is put until the connection ends."""
        try:
            while True:
                while self._queue:
                    due_ns = self._queue[0][0]
                    now_ns = self._clock.now_ns()
                    if self._is_slow:
                        await self.socket.close(*SLOW)
                        return
                    if due_ns > now_ns:
                        await asyncio.sleep((due_ns - now_ns) / NS_PER_S)
                        continue
                    await self._send(self._queue.popleft()[1], now_ns)
                self._is_empty.set()
                self._wake.clear()
                await self._wake.wait()
        except ConnectionClosed:
            return
        finally:
            self._queue.clear()
            self._is_empty.set()

    def start_faults(self, now_ns: int) -> None:
        """Do what is done once, where it is time."""
        for way in self.ways:
            way.now_ns = now_ns
            if way.start_ns is not None and now_ns >= way.start_ns:
                way.start_ns = None
                if way.asked.fault.at_start is not None:
                    way.asked.fault.at_start(way)
        self._follow_freeze()

    def cut(self) -> None:
        """Break the connection without a word, as a lost network does."""
        self.socket.transport.abort()

    def _follow_freeze(self) -> None:
        # A frozen peer answers no ping either: the library must not see one.
        transport = self.socket.transport
        if transport.is_closing():
            return
        if any(way.is_frozen for way in self.ways):
            transport.pause_reading()
        else:
            transport.resume_reading()

    def _damaged(self, sent: Sent, now_ns: int) -> list[Delivery]:
        deliveries = [Delivery(sent.data, sent)]
        for way in self.ways:
            way.now_ns = now_ns
            deliveries = [made for each in deliveries for made in _through(way, each)]
        return deliveries

    async def _send(self, delivery: Delivery, now_ns: int) -> None:
        for way in self.ways:
            way.now_ns = now_ns
        if any(way.is_frozen for way in self.ways):
            return
        if delivery.cut_at is not None:
            whole = Frame(Opcode.TEXT, delivery.data).serialize(mask=False)
            self.socket.transport.write(whole[: max(1, delivery.cut_at)])
            self.cut()
            return
        if delivery.close_code is not None:
            await self.socket.close(delivery.close_code, "as asked")
            return
        if self._on_sent is not None:
            self._on_sent(self.session, delivery)
        self.n_sent += 1
        await self.socket.send(delivery.data, text=delivery.sent.is_text)


def _through(way: Way, delivery: Delivery) -> list[Delivery]:
    """Return what one fault makes of what the faults before it made."""
    on_frame = way.asked.fault.on_frame
    if on_frame is None or not way.is_on:
        held, way.held = way.held, None
        return [delivery, held] if held else [delivery]
    if delivery.cut_at is not None or delivery.close_code is not None:
        return [delivery]
    sent = delivery.sent
    made = on_frame(way, Sent(delivery.data, sent.kind, sent.index, sent.is_text))
    for each in made:
        each.is_intact = each.is_intact and delivery.is_intact
        each.extra_ns += delivery.extra_ns
    return made
