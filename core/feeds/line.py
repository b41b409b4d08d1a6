"""One open connection to a venue: it reads, sends and fetches until it ends, and says why.

It decides nothing. Where its frames go is its ``Outlet``, which can change while it is open: a
connection that warms up feeds nobody yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import httpx
import msgspec
from websockets.exceptions import ConnectionClosed

from core.clock import Clock
from core.errors import Failed
from core.feeds.frames import FrameConnection, FrameRefused
from core.feeds.held import FrameRecorder
from core.feeds.http import Fetcher
from core.feeds.protocol import FeedProtocol, split
from core.feeds.times import printable
from core.model.market import (
    FeedOutput,
    FeedRequest,
    FetchHttp,
    GiveUp,
    MarketEvent,
    Reconnect,
    Renew,
    SendText,
)

MAX_UNSENT = 256

Deliver = Callable[[list[MarketEvent], int], None]


class Outlet(msgspec.Struct):
    """Where the frames of a connection go, and what comes of them."""

    protocol: FeedProtocol
    deliver: Deliver
    recorder: FrameRecorder | None = None


class End(msgspec.Struct, frozen=True):
    """Why a connection ended, and how soon another may be tried."""

    reason: str
    not_before_ns: int = 0


class Line:
    """One connection, from the attempt on; ``ended`` is done when it is of no use any more.

    Args:
        outlet: Where its frames go.
        clock: Receive times.
        fetcher: Makes the requests beside the socket.
        fill: Puts the keys in the place of their names in what is sent.
        renew: Hears that the venue wants another connection.
    """

    def __init__(
        self,
        outlet: Outlet,
        clock: Clock,
        fetcher: Fetcher,
        fill: Callable[[str], str],
        renew: Callable[[str], None],
    ) -> None:
        self.outlet = outlet
        self.opened_ns: int | None = None
        """When the socket was open; None before."""
        self.ended: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self.task: asyncio.Task[None] | None = None
        """Runs the connection; set by the owner."""
        self._clock = clock
        self._fetcher = fetcher
        self._fill = fill
        self._renew = renew
        self._unsent: asyncio.Queue[str] = asyncio.Queue(MAX_UNSENT)
        self._fetching: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._socket: FrameConnection | None = None
        self._client: httpx.AsyncClient | None = None
        self._group: asyncio.TaskGroup | None = None
        self._fatal = ""

    @property
    def is_open(self) -> bool:
        return self.opened_ns is not None and not self.ended.done()

    def finish(self, reason: str, not_before_ns: int = 0) -> None:
        """End the connection; the first reason stays."""
        if not self.ended.done():
            self.ended.set_result(End(reason, not_before_ns))

    async def gone(self) -> None:
        """Wait until an ended connection is closed; one that is not open yet is given up."""
        if self.task is not None:
            if self.opened_ns is None:
                self.task.cancel()
            await asyncio.wait([self.task])

    async def use(self, socket: FrameConnection, client: httpx.AsyncClient, url: str) -> None:
        """Read and write until the end. Errors: ``Failed`` where the protocol gave up."""
        if self.ended.done():
            return
        async with asyncio.TaskGroup() as group:
            self._socket, self._client, self._group = socket, client, group
            self.opened_ns = now_ns = self._clock.now_ns()
            if self.outlet.recorder is not None:
                self.outlet.recorder.opened(now_ns, url)
            try:
                self.take(self.outlet.protocol.on_open(now_ns), now_ns)
                for work in (self._read(), self._send()):
                    self._run(work)
                await asyncio.shield(self.ended)
            finally:
                for task in self._tasks:
                    task.cancel()
                socket.drop()
        if self._fatal:
            raise Failed(self._fatal)

    def take(self, outputs: list[FeedOutput], now_ns: int) -> None:
        """Deliver the events, then do what is asked for."""
        events, requests = split(outputs)
        if events:
            self.outlet.deliver(events, now_ns)
        for request in requests:
            self._ask(request)

    def _ask(self, request: FeedRequest) -> None:
        match request:
            case SendText():
                if self._unsent.full():
                    self.finish(f"more than {MAX_UNSENT} messages were unsent")
                else:
                    self._unsent.put_nowait(request.text)
            case FetchHttp():
                # One request an address at a time: whoever asks twice gets one answer.
                if request.url not in self._fetching:
                    self._fetching.add(request.url)
                    self._run(self._fetch(request))
            case Reconnect():
                self.finish(request.reason, request.not_before_ns)
            case Renew():
                self._renew(request.reason)
            case GiveUp():
                self._fatal = request.reason
                self.finish(request.reason)

    def _run(self, work: Coroutine[None, None, None]) -> None:
        if self._group is None or self.ended.done():
            work.close()
            return
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self) -> None:
        assert self._socket is not None
        try:
            await self._socket.read(self._frame)
        except ConnectionClosed as closed:
            self.finish(_why(closed))
        except FrameRefused as error:
            self.finish(str(error))

    def _frame(self, data: bytes) -> None:
        # A frame that was on its way when another connection took over is that one's too.
        if self.ended.done():
            return
        now_ns = self._clock.now_ns()
        outlet = self.outlet
        if outlet.recorder is not None:
            outlet.recorder.received(now_ns, data)
        outputs = outlet.protocol.receive(data, now_ns)
        if outputs:
            self.take(outputs, now_ns)

    async def _send(self) -> None:
        assert self._socket is not None
        try:
            while True:
                text = await self._unsent.get()
                if self.outlet.recorder is not None:
                    self.outlet.recorder.sent(self._clock.now_ns(), text)
                await self._socket.send(self._fill(text))
        except ConnectionClosed as closed:
            self.finish(_why(closed))

    async def _fetch(self, request: FetchHttp) -> None:
        assert self._client is not None
        body, reason = await self._fetcher.fetch(self._client, request)
        self._fetching.discard(request.url)
        if self.ended.done():
            return
        now_ns = self._clock.now_ns()
        outlet = self.outlet
        if reason:
            self.take(outlet.protocol.on_http_failed(request.url, reason, now_ns), now_ns)
            return
        if outlet.recorder is not None:
            outlet.recorder.fetched(now_ns, request.url, body)
        self.take(outlet.protocol.on_http(request.url, body, now_ns), now_ns)


def _why(closed: ConnectionClosed) -> str:
    frame = closed.rcvd or closed.sent
    if frame is None:
        return "connection lost"
    return f"closed with code {frame.code} {printable(frame.reason)}".rstrip()
