"""The requests a feed makes beside its socket: bounded in time and size, silent when told to be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx

from core.clock import NS_PER_S, Clock
from core.feeds.link import FeedLink
from core.model.market import FetchHttp

HTTP_S = 10.0
"""Longest a request takes, whole."""
MAX_BODY_BYTES = 32 * 1024 * 1024
SLOW_DOWN = frozenset({418, 429})
_SILENCE_S, _SILENCE_S_MAX = 60, 86_400
"""Silence where the venue does not say how long, and the longest believed."""


class Fetcher:
    """GETs of one venue; what the venue asks of one request holds for all of them.

    ``fill`` puts the keys where a header names them: they are seen by nobody but the venue.
    """

    def __init__(self, clock: Clock, link: FeedLink, fill: Callable[[str], str]) -> None:
        self.not_before_ns = 0
        """The venue asked for silence until then."""
        self._clock = clock
        self._link = link
        self._fill = fill

    async def fetch(self, client: httpx.AsyncClient, request: FetchHttp) -> tuple[bytes, str]:
        """Wait for the request's time, then return the body and, where there is none, why."""
        # The venue may ask for silence while this one waits: looked at again after each wait.
        while (  # noqa: ASYNC110 (it waits for a time, which may move)
            due_ns := max(request.not_before_ns, self.not_before_ns)
        ) > (now_ns := self._clock.now_ns()):
            await asyncio.sleep((due_ns - now_ns) / NS_PER_S)
        self._link.fetches += 1
        try:
            async with asyncio.timeout(HTTP_S):
                body, reason = await self._get(client, request)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError) as error:
            body, reason = b"", type(error).__name__
        self._link.fetch_failures += bool(reason)
        return body, reason

    async def _get(self, client: httpx.AsyncClient, request: FetchHttp) -> tuple[bytes, str]:
        headers = {name: self._fill(value) for name, value in request.headers}
        async with client.stream("GET", request.url, headers=headers) as reply:
            if reply.status_code in SLOW_DOWN:
                wait_s = silence_s(reply.headers.get("retry-after", ""))
                self.not_before_ns = self._clock.now_ns() + wait_s * NS_PER_S
                return b"", f"HTTP {reply.status_code}, the venue asks for {wait_s} s of silence"
            if reply.status_code != httpx.codes.OK:
                return b"", f"HTTP {reply.status_code}"
            body = bytearray()
            async for chunk in reply.aiter_bytes():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    return b"", f"the body was longer than {MAX_BODY_BYTES} bytes"
        return bytes(body), ""


def silence_s(header: str) -> int:
    """Return the seconds of a ``Retry-After`` header; a minute where it does not say."""
    if header.isascii() and header.isdigit():
        return min(int(header[:9]), _SILENCE_S_MAX)
    return _SILENCE_S
