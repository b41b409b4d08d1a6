"""The HTTP side of the stub venue: what the venue answers, as the faults will have it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from http import HTTPStatus

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from core.clock import NS_PER_S, Clock
from core.stub.link import Way
from core.stub.site import Reply
from core.stub.venue import Answer, VenueModel

LOOK_S = 0.02
"""Time between two looks for an answer that the venue cannot give yet."""
_ANSWER_S = 30
"""Longest wait for one."""


class HttpSide:
    """Answers what comes to the port and is no socket, and refuses sockets where a fault says so.

    Args:
        venue: Who answers.
        clock: Of the waits.
        ways: The faults of the venue as a whole.
        own: Answers what testers ask; None for what is the venue's.
        on_request: Told of every address asked for.
    """

    def __init__(
        self,
        venue: VenueModel,
        clock: Clock,
        ways: Sequence[Way],
        own: Callable[[str], Answer | None],
        on_request: Callable[[str], None] | None,
    ) -> None:
        self.n_refused = 0
        """Connections refused by a fault."""
        self.silent_until_ns = 0
        """The newest 429 asked for silence until then."""
        self._venue = venue
        self._clock = clock
        self._ways = ways
        self._own = own
        self._on_request = on_request

    async def answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer a request; None lets a socket through."""
        if request.headers.get("Upgrade", "").lower() == "websocket":
            status = self._refusal()
            if not status:
                return None
            self.n_refused += 1
            return _response(Answer(status, b"", retry_after_s=1))
        own = self._own(request.path)
        if own is not None:
            return _response(own)
        if self._on_request is not None:
            self._on_request(request.path)
        reply = self._fate()
        await asyncio.sleep(reply.extra_ns / NS_PER_S)
        if reply.failure.startswith("HTTP "):
            status = int(reply.failure.removeprefix("HTTP "))
            self.silent_until_ns = self._clock.now_ns() + reply.silence_ns
            return _response(Answer(status, b"", -(-reply.silence_ns // NS_PER_S)))
        if reply.failure:
            connection.transport.abort()
            return _response(Answer(503, b""))
        return _response(await self._served(request.path, is_old=reply.is_old))

    def _fate(self) -> Reply:
        """Return what the first fault that does anything makes of a reply."""
        for way in self._ways:
            on_reply = way.asked.fault.on_reply
            if way.is_on and on_reply is not None and (reply := on_reply(way)) != Reply():
                return reply
        return Reply()

    def _refusal(self) -> int:
        """Return the status with which a fault refuses a connection, 0 for none."""
        for way in self._ways:
            at_open = way.asked.fault.at_open
            if way.is_on and at_open is not None and (status := at_open(way)):
                return status
        return 0

    async def _served(self, path: str, *, is_old: bool) -> Answer:
        until_ns = self._clock.now_ns() + _ANSWER_S * NS_PER_S
        while self._clock.now_ns() < until_ns:
            answer = self._venue.answer(path, is_old=is_old)
            if answer is not None:
                return answer
            await asyncio.sleep(LOOK_S)
        return Answer(503, b"")


def _response(answer: Answer) -> Response:
    headers = Headers([("Content-Length", str(len(answer.body))), ("Connection", "close")])
    headers["Content-Type"] = "application/json"
    if answer.retry_after_s:
        headers["Retry-After"] = str(answer.retry_after_s)
    return Response(answer.status, HTTPStatus(answer.status).phrase, headers, answer.body)
