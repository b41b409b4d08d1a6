"""The stub venue on the loopback: sockets and HTTP on one port, at the pace it is given.

It serves one ``VenueModel`` to any number of clients. ``GET /stub/book`` tells the venue's own
book, so that a tester can check a client's; ``GET /stub/state`` what was sent and which faults
acted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import msgspec
import numpy as np
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request as HttpRequest

from core.clock import NS_PER_MS, NS_PER_S, Clock
from core.stub.faults import Asked
from core.stub.http import HttpSide
from core.stub.link import Link, OnSent, Way
from core.stub.testers import book_answer, state_answer
from core.stub.venue import Answer, Request, Session, VenueModel

HOST = "127.0.0.1"
KEPT_SESSIONS = 8
"""Ended connections whose book can still be asked for."""
MAX_WAYS = 1000
_OPEN_S = 60.0
_YOUNG_NS = 500 * NS_PER_MS
"""How long a fresh connection has for its subscriptions before time runs away from it."""
_MEAN_CUT_NS = 2_500 * NS_PER_MS
"""Mean time between two cuts of a connection."""
_FIRST_NS, _SPREAD_MS = 3 * NS_PER_S, 7_000
"""When a connection is old enough for a fault that happens once, and how much later it may be."""


class Window(msgspec.Struct, frozen=True):
    """When faults act; without one they always do."""

    begin_ns: int
    end_ns: int


class StubServer:
    """Serves a venue from ``__aenter__`` to ``__aexit__``.

    Args:
        venue: What is served.
        clock: Paces it and stamps its messages.
        port: 0 for any.
        faults: What goes wrong.
        seed: Of the faults.
        window: When they act.
        is_paced: False: as quick as the slowest client takes it; messages then carry the venue's
            time, which runs ahead of the clock.
        on_sent: Told of every frame that goes out, for a judge.
        on_request: Told of every address asked for over HTTP.
    """

    def __init__(
        self,
        venue: VenueModel,
        clock: Clock,
        *,
        port: int = 0,
        faults: Sequence[Asked] = (),
        seed: int = 0,
        window: Window | None = None,
        is_paced: bool = True,
        on_sent: OnSent | None = None,
        on_request: Callable[[str], None] | None = None,
    ) -> None:
        self.venue = venue
        self.links: list[Link] = []
        self.window = window
        self.is_still = False
        """Nothing happens at the venue any more; what happened is still told."""
        self._clock = clock
        self._port = port
        self._generator = np.random.default_rng([seed, 7])
        self._is_paced = is_paced
        self._was_in_window = False
        self._on_sent = on_sent
        self._faults = faults
        self._ended: deque[Session] = deque(maxlen=KEPT_SESSIONS)
        self._ways: deque[Way] = deque(maxlen=MAX_WAYS)
        """Of all connections, the ended ones too."""
        self._venue_ways = [self._way(each) for each in faults]
        """One a fault, for what happens to the venue as a whole."""

        self._http = HttpSide(venue, clock, self._venue_ways, self._own, on_request)
        self._server: Server | None = None
        self._group = asyncio.TaskGroup()
        self._pulse_task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take the port; ``__aenter__`` does it where it was not done. Errors: ``OSError``."""
        self._server = await serve(
            self._talk,
            HOST,
            self._port,
            process_request=self._http.answer,
            compression=None,
            open_timeout=_OPEN_S,
            ping_interval=20,
            max_size=1024 * 1024,
            close_timeout=1,
        )

    async def __aenter__(self) -> Self:
        if self._server is None:
            await self.start()
        await self._group.__aenter__()
        self._pulse_task = self._group.create_task(self._pulse())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        assert self._server is not None
        assert self._pulse_task is not None
        self._pulse_task.cancel()
        self._server.close()
        for link in list(self.links):
            link.cut()
        await self._server.wait_closed()
        await self._group.__aexit__(kind, error, at)

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(next(iter(self._server.sockets)).getsockname()[1])

    @property
    def address(self) -> str:
        return f"ws://{HOST}:{self.port}"

    @property
    def harmed_ns(self) -> int | None:
        """When a fault first did what a client ought to notice."""
        return min((way.harmed_ns for way in self._ways if way.harmed_ns is not None), default=None)

    async def ended(self) -> None:
        """Wait for the end of the venue itself. Errors: what went wrong in it."""
        assert self._pulse_task is not None
        await self._pulse_task

    # --- the venue's life

    async def _pulse(self) -> None:
        flush_ns = self.venue.flush_ms * NS_PER_MS
        due_ns = now_ns = self._clock.now_ns()
        beat_ns = now_ns + NS_PER_S
        while not self.venue.is_over:
            due_ns += flush_ns
            if self._is_paced:
                await asyncio.sleep(max(0, due_ns - self._clock.now_ns()) / NS_PER_S)
                now_ns = self._clock.now_ns()
                # A process that was paused goes on from now, not with all that it missed.
                due_ns = max(due_ns, now_ns - NS_PER_S)
            else:
                await self._all_drained()
                now_ns += flush_ns if self.links else 0
                due_ns = now_ns
            self._step(now_ns, is_beat=now_ns >= beat_ns)
            if now_ns >= beat_ns:
                beat_ns = now_ns + NS_PER_S
        await self._all_drained()

    async def _all_drained(self) -> None:
        for link in list(self.links):
            await link.drained()
        now_ns = self._clock.now_ns()
        is_held = any(
            link.session.is_waiting or now_ns - link.opened_ns < _YOUNG_NS for link in self.links
        )
        # Other tasks get their turn; with nobody to tell anything this is no busy loop.
        await asyncio.sleep(self.venue.flush_ms / 1000 if is_held or not self.links else 0)

    def _step(self, now_ns: int, *, is_beat: bool) -> None:
        self._follow_window(now_ns)
        for way in self._venue_ways:
            way.now_ns = now_ns
            if way.is_on and way.asked.fault.at_step is not None:
                way.asked.fault.at_step(way)
        if not self.is_still:
            self.venue.advance(now_ns)
        for link in list(self.links):
            link.start_faults(now_ns)
            if any(self._cuts(way) for way in link.ways):
                link.cut()
                continue
            link.put(link.session.flush())
            if link.session.is_over:
                link.finish()
            if is_beat:
                link.put(link.session.beat())
                if self._is_paced and link.session.overdue():
                    link.cut()

    def _cuts(self, way: Way) -> bool:
        if not (way.asked.fault.cuts and way.is_on):
            return False
        if not way.happens(self.venue.flush_ms * NS_PER_MS / way.lasts(_MEAN_CUT_NS)):
            return False
        way.harm()
        return True

    def _follow_window(self, now_ns: int) -> None:
        """Switch the faults on and off."""
        window = self.window
        if window is None:
            return
        is_in = window.begin_ns <= now_ns < window.end_ns
        for way in self._ways:
            way.now_ns = now_ns
            way.is_on = is_in
        if is_in and not self._was_in_window:
            for link in self.links:
                for way in link.ways:
                    way.start_ns = now_ns
        if self._was_in_window and not is_in:
            for way in self._venue_ways:
                if way.asked.fault.at_end is not None:
                    way.asked.fault.at_end(way)
        self._was_in_window = is_in

    def _way(self, asked: Asked) -> Way:
        way = Way(self.venue, self._generator, asked.share, asked.lasts_ns)
        way.asked = asked
        way.is_on = self.window is None or self._was_in_window
        self._ways.append(way)
        return way

    # --- sockets

    async def _talk(self, socket: ServerConnection) -> None:
        request = socket.request
        assert request is not None
        session = self.venue.connect(self._now_ns(), _request(request))
        ways = [self._way(each) for each in self._faults]
        if self.window is None:
            for way in ways:
                way.start_ns = self._now_ns() + _FIRST_NS + way.below(_SPREAD_MS) * NS_PER_MS
        link = Link(socket, session, ways, self._clock, self._on_sent)
        self.links.append(link)
        try:
            async with asyncio.TaskGroup() as group:
                sender = group.create_task(link.send())
                link.put(session.greeting())
                await self._listen(socket, link)
                sender.cancel()
        finally:
            self.links.remove(link)
            self._ended.append(session)
            self.venue.disconnect(session)

    async def _listen(self, socket: ServerConnection, link: Link) -> None:
        try:
            while True:
                data = await socket.recv(decode=False)
                try:
                    link.put(link.session.asked(data))
                except (ValueError, AttributeError, TypeError):
                    # What is no message of the venue's protocol ends the connection, as there.
                    await socket.close(1003, "the message could not be read")
                    return
        except ConnectionClosed:
            return

    def _own(self, path: str) -> Answer | None:
        """Answer for testers, where that is asked."""
        match path.partition("?")[0]:
            case "/stub/book":
                sessions = [*self._ended, *(link.session for link in self.links)]
                return book_answer(self.venue, sessions, path)
            case "/stub/state":
                return state_answer(self.venue, self.links, self._venue_ways, self.n_refused)
            case _:
                return None

    @property
    def n_refused(self) -> int:
        """Connections refused by a fault."""
        return self._http.n_refused

    @property
    def silent_until_ns(self) -> int:
        """A 429 asked for silence on the HTTP side until then."""
        return self._http.silent_until_ns

    def _now_ns(self) -> int:
        return self._clock.now_ns() if self._is_paced else self.venue.now_ns


def _request(request: HttpRequest) -> Request:
    return Request(
        request.path,
        request.headers.get("APCA-API-KEY-ID", ""),
        "msgpack" in request.headers.get("Content-Type", ""),
    )
