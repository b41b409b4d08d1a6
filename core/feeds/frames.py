"""A websocket whose messages are taken as their bytes arrive, without a queue between.

``websockets`` shakes hands, answers pings and closes; data frames it would parse, wrap, queue and
hand to a waiting task one by one, 5 us a message. Here they are cut out of the received bytes
before it sees them, 0.5 us (``bench/bench_socket.py``). Control frames stay the library's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from typing_extensions import override
from websockets.asyncio.client import ClientConnection
from websockets.protocol import OPEN

MAX_FRAME_BYTES = 32 * 1024 * 1024
"""The largest message seen is a 5.1 MB Coinbase snapshot; common limits of 1 and 4 MiB close the
connection silently on it and reconnect for ever (ccxt issue 23597)."""
MAX_HEAD_BYTES = 64 * 1024
"""Longest answer to the handshake that is looked through; the library refuses longer ones."""

_FIN, _RESERVED, _MASKED, _CONTROL = 0x80, 0x70, 0x80, 0x08
_CONTINUED, _TEXT, _BINARY = 0x0, 0x1, 0x2
_WHOLE = frozenset({_FIN | _TEXT, _FIN | _BINARY})
_END_OF_HEAD = b"\r\n\r\n"

Take = Callable[[bytes], None]


class FrameRefused(ConnectionError):
    """The venue sent what no server may send, or more than is taken."""


class FrameConnection(ClientConnection):
    """Give it to ``connect(create_connection=...)`` and read it with ``read`` alone."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._take: Take | None = None
        self._rest = bytearray()
        """Bytes that make no whole frame yet, or came before anybody read."""
        self._wanted = 0
        """How many bytes the rest must have before it is worth a look."""
        self._begun: bytearray | None = None
        """What has come of a message in several frames; None outside one."""
        self._cuts = False
        """Frames are cut out here: from the end of the handshake to the venue's close."""
        self._is_over = False
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def read(self, take: Take) -> None:
        """Give the bytes of each message to ``take`` as they arrive, until the connection ends.

        Errors: ``ConnectionClosed`` at its end; ``FrameRefused``; whatever ``take`` raises.
        """
        self._take = take
        try:
            self._cut(b"")
            self.transport.resume_reading()
            await self._done
        finally:
            # Messages on their way are dropped, but the venue's close among them is heard.
            self._take = _drop
        # The library saw no message: it can only say how the connection was closed.
        await self.recv()

    def drop(self) -> None:
        """Where nobody came to read: drop what comes, or the venue's close would not be heard."""
        if self._take is None:
            self._take = _drop
            self._cut(b"")
            self.transport.resume_reading()

    @override
    def data_received(self, data: bytes) -> None:
        if self._cuts:
            self._cut(data)
        elif self._is_over:
            super().data_received(data)
        else:
            self._shake_hands(data)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if not self._done.done():
            self._done.set_result(None)

    def _shake_hands(self, data: bytes) -> None:
        """Give the library the head of the answer; frames may follow in the same bytes."""
        self._rest += data
        end = self._rest.find(_END_OF_HEAD) + len(_END_OF_HEAD)
        if end < len(_END_OF_HEAD):
            if len(self._rest) <= MAX_HEAD_BYTES:
                return
            end = len(self._rest)
        head, rest = bytes(self._rest[:end]), bytes(self._rest[end:])
        self._rest.clear()
        super().data_received(head)
        self._look_at_state()
        if rest:
            self.data_received(rest)

    def _look_at_state(self) -> None:
        """After the handshake and each control frame: is there anything to cut any more?"""
        self._cuts = self.protocol.state is OPEN
        self._is_over = not self._cuts

    def _cut(self, data: bytes) -> None:
        """Take the whole frames out of what has come; keep what is left."""
        if self._take is None:
            self._rest += data
            self.transport.pause_reading()
            return
        if self._rest:
            if len(self._rest) + len(data) < self._wanted:
                self._rest += data
                return
            data = bytes(self._rest) + data
            self._rest.clear()
        self._wanted = 0
        try:
            at = self._cut_frames(data, self._take)
        except FrameRefused as error:
            # Where the next frame begins is not known any more.
            self._fail(error)
            self._cuts, self._is_over = False, True
            self.transport.abort()
            return
        if not self._is_over:  # behind a close nothing counts
            self._rest += data[at:]

    def _cut_frames(self, data: bytes, take: Take) -> int:
        """Give away the messages; return where the first frame begins that is not whole."""
        at, end = 0, len(data)
        while end - at >= 2 and not self._is_over:
            head, size = data[at], data[at + 1]
            body = at + 2
            if size & _MASKED:
                raise FrameRefused("a frame of the venue was masked")
            if size > 125:
                body += 2 if size == 126 else 8
                if body > end:
                    break
                size = int.from_bytes(data[at + 2 : body], "big")
            if size > MAX_FRAME_BYTES:
                raise FrameRefused(f"a message was longer than {MAX_FRAME_BYTES} bytes")
            after = body + size
            if after > end:
                self._wanted = after - at
                break
            message: bytes | None = data[body:after]
            if head not in _WHOLE or self._begun is not None:
                message = self._other(head, data[at:after], data[body:after])
            at = after
            if message is not None:
                try:
                    take(message)
                except Exception as error:  # noqa: BLE001 (raised again, where ``read`` waits)
                    self._fail(error)
                    take = self._take = _drop
        return at

    def _other(self, head: int, frame: bytes, body: bytes) -> bytes | None:
        """Take a frame that is no whole message; return the message that it ends, if it does."""
        kind = head & ~_FIN
        if kind & _RESERVED:
            raise FrameRefused("a frame of the venue had reserved bits set")
        if kind & _CONTROL:
            super().data_received(frame)
            self._look_at_state()
            return None
        if (self._begun is None) is (kind == _CONTINUED) or kind > _BINARY:
            raise FrameRefused(f"a frame of kind {kind} was out of its place")
        self._begun = self._begun or bytearray()
        self._begun += body
        if len(self._begun) > MAX_FRAME_BYTES:
            raise FrameRefused(f"a message was longer than {MAX_FRAME_BYTES} bytes")
        if not head & _FIN:
            return None
        message, self._begun = bytes(self._begun), None
        return message

    def _fail(self, error: Exception) -> None:
        if not self._done.done():
            self._done.set_exception(error)


def _drop(message: bytes) -> None:
    """Take a message that nobody waits for any more."""
