"""The one file that opens a network socket: frames to the protocol, its wishes to the network.

It decides nothing: what to subscribe, fetch or give up is the protocol's. Here are the waits, all
bounded: connection attempts and requests back off with a ceiling and jitter, frames have a size.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine

import httpx
import msgspec
import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI, WebSocketException

from core.clock import NS_PER_MS, NS_PER_S, Clock
from core.config import Settings
from core.errors import Failed
from core.feeds.products import is_loopback
from core.feeds.protocol import FeedProtocol
from core.feeds.recorder import CaptureWriter
from core.feeds.times import printable
from core.model.market import FeedOutput, FetchHttp, MarketEvent, Reconnect, SendText

MAX_FRAME_BYTES = 32 * 1024 * 1024
"""The largest frame seen is a 5.1 MB Coinbase snapshot; common limits of 1 and 4 MiB close the
connection silently on it and reconnect for ever (ccxt issue 23597)."""
MAX_BODY_BYTES = 32 * 1024 * 1024
MAX_UNSENT = 256
TIME_STEP_S = 0.05
"""How often the protocol hears of time; coarser than any frame, finer than any timer of ours."""
_OPEN_S, _CLOSE_S, _PING_S, _HTTP_S = 10.0, 2.0, 10.0, 10.0
_FATAL_STATUS = frozenset({400, 401, 403, 404, 410, 451})
_SLOW_DOWN = frozenset({418, 429})

Deliver = Callable[[list[MarketEvent], int], None]


class FeedLink(msgspec.Struct):
    """What the socket counts, for screen and metrics; ``run_feed`` alone writes it."""

    is_connected: bool = False
    connects: int = 0
    """Connections made."""
    attempts: int = 0
    """Attempts in a row that failed or did not last."""
    next_attempt_ns: int | None = None
    """When the next attempt is made; None while connected."""
    last_error: str = ""
    fetches: int = 0
    fetch_failures: int = 0


async def run_feed(
    protocol: FeedProtocol,
    deliver: Deliver,
    clock: Clock,
    settings: Settings,
    *,
    generator: np.random.Generator,
    stop: asyncio.Event,
    recorder: CaptureWriter | None = None,
    endpoint: str | None = None,
    link: FeedLink | None = None,
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

    Errors: ``Failed`` when trying again cannot help (refused by the venue, bad certificate);
    whatever ``deliver`` raises.
    """
    feed = _Feed(protocol, deliver, clock, settings, generator, stop, recorder, link or FeedLink())
    try:
        async with asyncio.TaskGroup() as group:
            timer = group.create_task(feed.tell_time())
            await feed.stay_connected(endpoint or protocol.url())
            timer.cancel()
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
        protocol: FeedProtocol,
        deliver: Deliver,
        clock: Clock,
        settings: Settings,
        generator: np.random.Generator,
        stop: asyncio.Event,
        recorder: CaptureWriter | None,
        link: FeedLink,
    ) -> None:
        self.protocol = protocol
        self.clock = clock
        self.recorder = recorder
        self.link = link
        self.stop = stop
        self.fetch_not_before_ns = 0
        """The venue asked for silence on its HTTP side until then."""
        self._deliver = deliver
        self._settings = settings.feed
        self._generator = generator
        self._connection: _Connection | None = None

    async def tell_time(self) -> None:
        while True:
            await asyncio.sleep(TIME_STEP_S)
            now_ns = self.clock.now_ns()
            self.take(self.protocol.on_time(now_ns), now_ns)

    def take(self, outputs: list[FeedOutput], now_ns: int) -> None:
        """Deliver the events, then hand the requests to the connection there is."""
        events: list[MarketEvent] = []
        requests: list[SendText | FetchHttp | Reconnect] = []
        for output in outputs:
            if isinstance(output, SendText | FetchHttp | Reconnect):
                requests.append(output)
            else:
                events.append(output)
        if events:
            self._deliver(events, now_ns)
        # Without a connection a request has no meaning: the next ``on_open`` asks anew.
        if self._connection is not None:
            for request in requests:
                self._connection.ask(request)

    async def stay_connected(self, url: str) -> None:
        while not self.stop.is_set():
            began_ns = self.clock.now_ns()
            reason = await self._connect_once(url)
            self.link.is_connected = False
            if self.stop.is_set():
                return
            now_ns = self.clock.now_ns()
            self.link.last_error = reason
            self.take(self.protocol.on_close(reason, now_ns), now_ns)
            if now_ns - began_ns > self._settings.backoff_max_ms * NS_PER_MS:
                self.link.attempts = 0
            self.link.attempts += 1
            await self._back_off(now_ns)

    async def _back_off(self, now_ns: int) -> None:
        """Wait for the ceiling or less, or until stopped; jitter takes up to half of it off."""
        doubled = self._settings.backoff_first_ms * 2 ** min(self.link.attempts - 1, 20)
        wait_ms = min(doubled, self._settings.backoff_max_ms) * self._generator.uniform(0.5, 1.0)
        self.link.next_attempt_ns = now_ns + int(wait_ms * NS_PER_MS)
        try:
            async with asyncio.timeout(wait_ms / 1000):
                await self.stop.wait()
        except TimeoutError:
            self.link.next_attempt_ns = None

    async def _connect_once(self, url: str) -> str:
        """Run one connection to its end and return why it ended. Errors: ``Failed``."""
        opened = False
        try:
            async with connect(
                url,
                max_size=MAX_FRAME_BYTES,
                compression=None,
                open_timeout=_OPEN_S,
                close_timeout=_CLOSE_S,
                ping_interval=_PING_S,
                ping_timeout=_PING_S,
                proxy=None if is_loopback(url) else True,
            ) as socket:
                opened = True
                return await self._use(socket, url)
        except InvalidURI as error:
            raise Failed(f"{printable(url)}: was not a socket address") from error
        except InvalidStatus as error:
            return _judge_status(url, error.response.status_code)
        except ssl.SSLCertVerificationError as error:
            raise Failed(
                f"{printable(url)}: certificate refused ({error.verify_message})"
            ) from error
        except (OSError, TimeoutError, WebSocketException) as error:
            verb = "connection lost" if opened else "cannot connect"
            return f"{verb} ({printable(str(error)) or type(error).__name__})"

    async def _use(self, socket: ClientConnection, url: str) -> str:
        async with (
            httpx.AsyncClient(timeout=_HTTP_S, trust_env=not is_loopback(url)) as client,
            asyncio.TaskGroup() as group,
        ):
            connection = _Connection(self, socket, client, group)
            connection.start()
            self._connection = connection
            self.link.is_connected = True
            self.link.connects += 1
            self.link.next_attempt_ns = None
            now_ns = self.clock.now_ns()
            if self.recorder is not None:
                self.recorder.opened(now_ns, url)
            try:
                self.take(self.protocol.on_open(now_ns), now_ns)
                reason = await connection.ended()
            finally:
                self._connection = None
                connection.cancel()
        if self.recorder is not None:
            self.recorder.closed(self.clock.now_ns(), reason)
        return reason


class _Connection:
    """One socket with its tasks: read, send, fetch, watch for the stop."""

    def __init__(
        self,
        feed: _Feed,
        socket: ClientConnection,
        client: httpx.AsyncClient,
        group: asyncio.TaskGroup,
    ) -> None:
        self._feed = feed
        self._socket = socket
        self._client = client
        self._group = group
        self._tasks: set[asyncio.Task[None]] = set()
        self._unsent: asyncio.Queue[str] = asyncio.Queue(MAX_UNSENT)
        self._fetching: set[str] = set()
        self._end: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def start(self) -> None:
        for work in (self._read(), self._send(), self._watch()):
            self._run(work)

    def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def ended(self) -> str:
        """Wait for the end and return why."""
        return await self._end

    def ask(self, request: SendText | FetchHttp | Reconnect) -> None:
        """Do what the protocol wants."""
        match request:
            case SendText():
                if self._unsent.full():
                    self._finish(f"more than {MAX_UNSENT} messages were unsent")
                else:
                    self._unsent.put_nowait(request.text)
            case FetchHttp():
                # One request an address at a time: whoever asks twice gets one answer.
                if request.url not in self._fetching:
                    self._fetching.add(request.url)
                    self._run(self._fetch(request))
            case Reconnect():
                self._finish(request.reason)

    def _run(self, work: Coroutine[None, None, None]) -> None:
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _finish(self, reason: str) -> None:
        if not self._end.done():
            self._end.set_result(reason)

    async def _watch(self) -> None:
        await self._feed.stop.wait()
        self._finish("stopped")

    async def _read(self) -> None:
        feed = self._feed
        try:
            while not self._end.done():
                data = await self._socket.recv(decode=False)
                now_ns = feed.clock.now_ns()
                if feed.recorder is not None:
                    feed.recorder.received(now_ns, data)
                feed.take(feed.protocol.receive(data, now_ns), now_ns)
        except ConnectionClosed as closed:
            self._finish(_why(closed))

    async def _send(self) -> None:
        feed = self._feed
        try:
            while True:
                text = await self._unsent.get()
                if feed.recorder is not None:
                    feed.recorder.sent(feed.clock.now_ns(), text)
                await self._socket.send(text)
        except ConnectionClosed as closed:
            self._finish(_why(closed))

    async def _fetch(self, request: FetchHttp) -> None:
        feed = self._feed
        not_before_ns = max(request.not_before_ns, feed.fetch_not_before_ns)
        await asyncio.sleep(max(0, not_before_ns - feed.clock.now_ns()) / NS_PER_S)
        feed.link.fetches += 1
        try:
            async with asyncio.timeout(_HTTP_S):
                body, reason = await self._get(request.url)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError) as error:
            body, reason = b"", type(error).__name__
        now_ns = feed.clock.now_ns()
        self._fetching.discard(request.url)
        if reason:
            feed.link.fetch_failures += 1
            feed.take(feed.protocol.on_http_failed(request.url, reason, now_ns), now_ns)
            return
        if feed.recorder is not None:
            feed.recorder.fetched(now_ns, request.url, body)
        feed.take(feed.protocol.on_http(request.url, body, now_ns), now_ns)

    async def _get(self, url: str) -> tuple[bytes, str]:
        """Return body and, where it cannot be used, why not."""
        async with self._client.stream("GET", url) as reply:
            if reply.status_code in _SLOW_DOWN:
                wait_s = reply.headers.get("retry-after", "")
                seconds = int(wait_s) if wait_s.isascii() and wait_s.isdigit() else 60
                feed = self._feed
                feed.fetch_not_before_ns = feed.clock.now_ns() + min(seconds, 86_400) * NS_PER_S
                return b"", f"HTTP {reply.status_code}, the venue asks for {seconds} s of silence"
            if reply.status_code != httpx.codes.OK:
                return b"", f"HTTP {reply.status_code}"
            body = bytearray()
            async for chunk in reply.aiter_bytes():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    return b"", f"the body was longer than {MAX_BODY_BYTES} bytes"
        return bytes(body), ""


def _judge_status(url: str, status: int) -> str:
    """Return why the handshake failed. Errors: ``Failed`` where trying again cannot help."""
    if status in _FATAL_STATUS:
        hint = "; the venue does not serve this region" if status == 451 else ""
        raise Failed(f"{printable(url)}: the venue refused the connection (HTTP {status}{hint})")
    return f"the venue refused the connection (HTTP {status})"


def _why(closed: ConnectionClosed) -> str:
    frame = closed.rcvd or closed.sent
    if frame is None:
        return "connection lost"
    return f"closed with code {frame.code} {printable(frame.reason)}".rstrip()
