"""Frames cut out of received bytes, however these arrive, beside what stays the library's."""

from __future__ import annotations

import asyncio
import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidStatus
from websockets.uri import parse_uri

from core.feeds import frames
from core.feeds.frames import FrameConnection, FrameRefused

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
FIN, CONTINUED, TEXT, BINARY, CLOSE, PING, PONG = 0x80, 0, 1, 2, 8, 9, 10


def frame(payload: bytes, head: int = FIN | TEXT) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes([head, size]) + payload
    if size < 2**16:
        return bytes([head, 126]) + size.to_bytes(2, "big") + payload
    return bytes([head, 127]) + size.to_bytes(8, "big") + payload


class Wire(asyncio.Transport):
    """The other end of a connection: keeps what is written, brings what a test says."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_paused = False
        self.is_aborted = False
        self.connection = FrameConnection(
            ClientProtocol(parse_uri("ws://venue/")), ping_interval=None
        )
        self.connection.connection_made(self)

    async def shake_hands(self, behind: bytes = b"", chunk: int = 2**20) -> None:
        """Answer the handshake; ``behind`` comes in the same bytes."""
        request = asyncio.ensure_future(self.connection.handshake())
        await asyncio.sleep(0)
        lines = self.written.split(b"\r\n")
        (key,) = [line[19:] for line in lines if line.startswith(b"Sec-WebSocket-Key: ")]
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        answer = (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        self.written = b""
        self.bring(answer + behind, chunk)
        await request

    def bring(self, data: bytes, chunk: int = 2**20) -> None:
        for at in range(0, len(data), chunk):
            if not self.is_aborted:
                self.connection.data_received(data[at : at + chunk])

    def write(self, data) -> None:
        self.written += data

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def abort(self) -> None:
        if self.is_aborted:
            return
        self.is_aborted = True
        asyncio.get_running_loop().call_soon(self.connection.connection_lost, None)

    def close(self) -> None:
        self.abort()

    def is_closing(self) -> bool:
        return self.is_aborted

    def set_write_buffer_limits(self, high=None, low=None) -> None:
        pass

    def can_write_eof(self) -> bool:
        return False


async def reading(wire: Wire) -> tuple[list[bytes], asyncio.Future[None]]:
    taken: list[bytes] = []
    task = asyncio.ensure_future(wire.connection.read(taken.append))
    await asyncio.sleep(0)
    return taken, task


SIZES = st.sampled_from([0, 1, 125, 126, 127, 300, 65535, 65536, 70000])
MESSAGES = st.lists(
    st.tuples(SIZES, st.integers(1, 4), st.sampled_from([TEXT, BINARY]), st.booleans()), max_size=6
)


@pytest.mark.slow
@given(MESSAGES, st.integers(1, 9000), st.booleans())
def test_messages_come_whole_and_in_order_however_the_bytes_are_cut(messages, chunk, early):
    data, wanted, pings = b"", [], 0
    for number, (size, n_parts, kind, has_ping) in enumerate(messages):
        message = bytes((number + at) % 251 for at in range(size))
        wanted.append(message)
        step = size // n_parts + 1
        parts = [message[at * step : (at + 1) * step] for at in range(n_parts)]
        for at, part in enumerate(parts):
            fin = FIN if at == n_parts - 1 else 0
            data += frame(part, fin | (CONTINUED if at else kind))
            if has_ping:
                pings += 1
                data += frame(b"p", FIN | PING)

    async def run() -> None:
        wire = Wire()
        await wire.shake_hands(data if early else b"", chunk)
        taken, task = await reading(wire)
        if not early:
            wire.bring(data, chunk)
        assert taken == wanted
        assert wire.written.count(bytes([FIN | PONG])) >= pings
        task.cancel()

    asyncio.run(run())


async def test_nothing_is_read_from_the_venue_until_somebody_takes_it():
    wire = Wire()
    await wire.shake_hands(frame(b"one"))
    assert wire.is_paused
    wire.bring(frame(b"two"))
    taken, task = await reading(wire)
    assert (taken, wire.is_paused) == ([b"one", b"two"], False)
    task.cancel()


async def test_ping_is_answered_with_what_it_held():
    wire = Wire()
    await wire.shake_hands()
    _, task = await reading(wire)
    wire.bring(frame(b"beat", FIN | PING))
    head, size, mask, body = wire.written[0], wire.written[1], wire.written[2:6], wire.written[6:]
    assert (head, size) == (FIN | PONG, 0x80 | 4)
    assert bytes(byte ^ mask[at] for at, byte in enumerate(body)) == b"beat"
    task.cancel()


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (bytes([FIN | TEXT, 0x80 | 1]) + b"mask!", "masked"),
        (bytes([FIN | TEXT, 0xFE]) + b"..", "masked"),
        (frame(b"x", FIN | 0x40 | TEXT), "reserved bits"),
        (frame(b"x", FIN | CONTINUED), "kind 0 was out of its place"),
        (frame(b"x", FIN | 3), "kind 3 was out of its place"),
        (frame(b"x", TEXT) + frame(b"y"), "kind 1 was out of its place"),
        (bytes([FIN | TEXT, 127]) + (2**40).to_bytes(8, "big"), "longer than"),
        (frame(b"x" * 600, TEXT) + frame(b"y" * 600, CONTINUED), "longer than"),
    ],
    ids=["masked", "masked-long", "reserved", "no-begin", "unknown", "unended", "giant", "parts"],
)
async def test_what_no_venue_may_send_ends_the_connection_at_once(data, what, monkeypatch):
    monkeypatch.setattr(frames, "MAX_FRAME_BYTES", 1000)
    wire = Wire()
    await wire.shake_hands()
    taken, task = await reading(wire)
    wire.bring(frame(b"good") + data + frame(b"behind"))
    with pytest.raises(FrameRefused, match=what):
        await task
    assert taken == [b"good"]
    assert wire.is_aborted


async def test_error_of_whoever_takes_is_raised_where_read_waits_and_ends_the_taking():
    wire = Wire()
    await wire.shake_hands()
    taken: list[bytes] = []

    def take(message: bytes) -> None:
        taken.append(message)
        raise ArithmeticError("ours")

    task = asyncio.ensure_future(wire.connection.read(take))
    await asyncio.sleep(0)
    wire.bring(frame(b"one") + frame(b"two"))
    with pytest.raises(ArithmeticError, match="ours"):
        await task
    wire.bring(frame(b"three"))
    assert taken == [b"one"]


async def test_venue_that_closes_is_told_by_its_code_after_its_last_message():
    wire = Wire()
    await wire.shake_hands()
    taken, task = await reading(wire)
    close = frame((1000).to_bytes(2, "big") + b"bye", FIN | CLOSE)
    wire.bring(frame(b"last") + close + frame(b"never"), 3)
    wire.abort()
    with pytest.raises(ConnectionClosedOK, match="bye"):
        await task
    assert taken == [b"last"]
    assert wire.written[0] == FIN | CLOSE


async def test_lost_connection_ends_reading_with_what_was_whole():
    wire = Wire()
    await wire.shake_hands()
    taken, task = await reading(wire)
    wire.bring(frame(b"whole") + frame(b"half" * 100)[:-1])
    wire.abort()
    with pytest.raises(ConnectionClosedError):
        await task
    assert taken == [b"whole"]


async def test_close_is_heard_among_messages_that_nobody_takes_any_more():
    wire = Wire()
    await wire.shake_hands()
    taken, task = await reading(wire)
    task.cancel()
    await asyncio.wait([task])
    closing = asyncio.ensure_future(wire.connection.close())
    await asyncio.sleep(0)
    wire.bring(frame(b"late") + frame((1000).to_bytes(2, "big"), FIN | CLOSE) + frame(b"later"))
    wire.abort()
    await closing
    assert (taken, wire.connection.close_code) == ([], 1000)


async def test_refused_handshake_is_the_librarys_with_its_body():
    wire = Wire()
    request = asyncio.ensure_future(wire.connection.handshake())
    await asyncio.sleep(0)
    answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"
    wire.bring(answer, 5)
    wire.connection.eof_received()
    wire.abort()
    with pytest.raises(InvalidStatus) as refused:
        await request
    assert refused.value.response.body == b"no"


async def test_answer_without_an_end_is_given_to_the_library_to_refuse(monkeypatch):
    monkeypatch.setattr(frames, "MAX_HEAD_BYTES", 100)
    wire = Wire()
    request = asyncio.ensure_future(wire.connection.handshake())
    await asyncio.sleep(0)
    wire.bring(b"HTTP/1.1 101 " + b"x" * 300, 10)
    wire.bring(b"y" * 20_000)
    wire.abort()
    with pytest.raises(Exception, match="expected no more than"):
        await request
