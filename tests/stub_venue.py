"""A venue on the loopback: one port for socket and HTTP, frames by script, cut on command.

It answers what a test told it to and remembers what it was sent; it never waits by the clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

Script = Sequence[bytes]
Answer = tuple[int, bytes]


class StubVenue:
    """Serves one script of frames a connection, in order; the last script serves the rest too.

    ``scripts[n]`` is sent as soon as connection n is there (``after_message`` delays it until the
    client has sent that many messages). ``answers`` makes the HTTP replies by path and query.
    ``refusals`` are statuses given to the next socket handshakes instead of accepting them.
    """

    def __init__(
        self,
        scripts: Sequence[Script],
        answers: Callable[[str], Answer] | None = None,
        after_messages: int = 0,
        refusals: Sequence[int] = (),
    ) -> None:
        self.scripts = list(scripts)
        self.answers = answers or (lambda _: (404, b""))
        self.after_messages = after_messages
        self.refusals = list(refusals)
        self.sockets: list[ServerConnection] = []
        self.messages: list[list[str]] = []
        """What the client sent, one list a connection."""
        self.requests: list[str] = []
        """Paths and queries asked for over HTTP."""
        self._server: Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._talk, "127.0.0.1", 0, process_request=self._answer, compression=None
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(next(iter(self._server.sockets)).getsockname()[1])

    @property
    def socket_address(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def rest_address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Break the newest connection without a word, as a lost network does."""
        self.sockets[-1].transport.abort()

    async def say(self, frame: bytes) -> None:
        """Send one more frame on the newest connection."""
        await self.sockets[-1].send(frame, text=True)

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            if self.refusals:
                return connection.respond(HTTPStatus(self.refusals.pop(0)), "no")
            return None
        parts = urlsplit(request.path)
        self.requests.append(f"{parts.path}?{parts.query}")
        status, body = self.answers(self.requests[-1])
        headers = Headers(
            [("Content-Length", str(len(body))), ("Connection", "close"), ("Retry-After", "1")]
        )
        return Response(status, HTTPStatus(status).phrase, headers, body)

    async def _talk(self, socket: ServerConnection) -> None:
        script = self.scripts[min(len(self.sockets), len(self.scripts) - 1)]
        messages: list[str] = []
        self.sockets.append(socket)
        self.messages.append(messages)
        try:
            while len(messages) < self.after_messages:
                messages.append(str(await socket.recv()))
            for frame in script:
                await socket.send(frame, text=True)
                # Other tasks of the loop get their turn between two frames.
                await asyncio.sleep(0)
            while True:
                messages.append(str(await socket.recv()))
        except ConnectionClosed:
            return
