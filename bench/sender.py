"""A loopback venue in a process of its own that sends a capture's messages as hard as asked.

    python bench/sender.py CAPTURE --count 200000 [--rate 0] [--depth-only] [--symbols A,B,...]

Speaks Binance: product list, snapshot and one combined stream on one port of 127.0.0.1. The first
line on stdout is the port; after the last message one JSON object with the times of the first and
the last ``send`` on the machine's monotonic clock. With ``--rate`` each message leaves at its own
time and, with ``--stamp``, carries it: its times are then the moment of sending, in us.

It is plain sockets and no server library: it must be quicker than what it measures.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self
from urllib.parse import parse_qs, urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.rounds import Rounds

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_BLOCK = 1 << 20
_SETTLE_S = 1.0
"""Between the last snapshot that was fetched and the first message: the client takes them in."""
_TIME = re.compile(rb'"([ET])":\d{13}')
_PING, _PONG, _CLOSE, _TEXT = 9, 10, 8, 1


def encode(payload: bytes, opcode: int = _TEXT) -> bytes:
    """Return a server's frame, which has no mask."""
    first, size = bytes([0x80 | opcode]), len(payload)
    if size < 126:
        return first + bytes([size]) + payload
    if size < 1 << 16:
        return first + b"\x7e" + size.to_bytes(2, "big") + payload
    return first + b"\x7f" + size.to_bytes(8, "big") + payload


class Venue:
    """Answers requests in threads; the stream goes to the first socket and then the venue ends."""

    def __init__(self, rounds: Rounds, count: int, rate: float, *, stamp: bool) -> None:
        self._rounds = rounds
        self._count = count
        self._rate = rate
        self._stamp = stamp
        self._fetched = threading.Event()
        self._waiting = set(rounds.symbols)
        self._blocks = [] if rate else list(self._encoded())
        self.done = threading.Event()
        self.times: dict[str, int] = {}

    def _encoded(self) -> Iterator[bytes]:
        block = bytearray()
        for frame in self._rounds.frames(self._count):
            block += encode(frame)
            if len(block) >= _BLOCK:
                yield bytes(block)
                block.clear()
        yield bytes(block)

    def answer(self, connection: socket.socket) -> None:
        """Serve one connection to its end."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection:
            reader = connection.makefile("rb")
            path = reader.readline().split()[1].decode()
            headers = {}
            while (line := reader.readline().strip()) != b"":
                name, _, value = line.partition(b":")
                headers[name.lower()] = value.strip()
            if b"sec-websocket-key" in headers:
                self._shake_hands(connection, headers[b"sec-websocket-key"])
                lock = threading.Lock()
                threading.Thread(target=_keep_alive, args=(connection, reader, lock)).start()
                self._stream(connection, lock)
            else:
                connection.sendall(self._reply(path))

    def _reply(self, path: str) -> bytes:
        parts = urlsplit(path)
        symbol = parse_qs(parts.query).get("symbol", [""])[0]
        if parts.path.endswith("/exchangeInfo"):
            body = self._rounds.product(symbol)
        elif parts.path.endswith("/depth"):
            body = self._rounds.snapshot()
            self._waiting.discard(symbol)
            if not self._waiting:
                self._fetched.set()
        else:
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        return head.encode() + body

    def _shake_hands(self, connection: socket.socket, key: bytes) -> None:
        accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )

    def _stream(self, connection: socket.socket, lock: threading.Lock) -> None:
        self._fetched.wait()
        time.sleep(_SETTLE_S)
        self.times["first_ns"] = time.perf_counter_ns()
        try:
            if self._rate:
                self._send_paced(connection, lock)
            for block in self._blocks:
                with lock:
                    connection.sendall(block)
        except OSError as error:
            print(f"the client went away: {error}", file=sys.stderr)
        self.times["last_ns"] = time.perf_counter_ns()
        self.done.set()

    def _send_paced(self, connection: socket.socket, lock: threading.Lock) -> None:
        step_ns = 1_000_000_000 / self._rate
        start_ns = time.perf_counter_ns()
        for number, frame in enumerate(self._rounds.frames(self._count)):
            due_ns = start_ns + int(number * step_ns)
            while (left_ns := due_ns - time.perf_counter_ns()) > 0:
                time.sleep(left_ns / 1e9)
            sent = frame
            if self._stamp:
                sent = _TIME.sub(rb'"\1":%d' % (time.time_ns() // 1000), frame)
            with lock:
                connection.sendall(encode(sent))


def _keep_alive(connection: socket.socket, reader: IO[bytes], lock: threading.Lock) -> None:
    """Answer pings until the client closes."""
    try:
        while len(head := reader.read(2)) == 2:
            opcode, size = head[0] & 15, head[1] & 127
            if size == 126:
                size = int.from_bytes(reader.read(2), "big")
            mask, payload = reader.read(4), reader.read(size)
            plain = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
            if opcode in {_PING, _CLOSE}:
                with lock:
                    connection.sendall(encode(plain, _PONG if opcode == _PING else _CLOSE))
            if opcode == _CLOSE:
                return
    except OSError:
        return


class SenderProcess:
    """The sender as a child process, for the benchmarks."""

    def __init__(
        self,
        capture: Path,
        count: int,
        *,
        rate: float = 0,
        depth_only: bool = False,
        symbols: Sequence[str] = (),
        stamp: bool = False,
        length: int = 0,
    ) -> None:
        self._words = [str(capture), "--count", str(count), "--rate", str(rate)]
        self._words += ["--depth-only"] * depth_only + ["--stamp"] * stamp
        self._words += ["--length", str(length)] * bool(length)
        self._words += ["--symbols", ",".join(symbols)] * bool(symbols)
        self._process: subprocess.Popen[str]
        self.port = 0

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, __file__, *self._words], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait()

    @property
    def socket_address(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def rest_address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def times(self) -> dict[str, int]:
        """Wait for the last message and return when the first and the last were sent."""
        assert self._process.stdout is not None
        found: dict[str, int] = json.loads(self._process.stdout.readline())
        return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("capture", type=Path)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--rate", type=float, default=0, help="messages a second; 0: no limit")
    parser.add_argument("--depth-only", action="store_true")
    parser.add_argument("--symbols", default="", help="other names for the capture's symbol")
    parser.add_argument("--stamp", action="store_true", help="its times are the time of sending")
    parser.add_argument("--length", type=int, default=10_000_000, help="messages of a round")
    options = parser.parse_args()
    symbols = [name for name in options.symbols.split(",") if name]
    rounds = Rounds(options.capture, symbols, depth_only=options.depth_only, length=options.length)
    venue = Venue(rounds, options.count, options.rate, stamp=options.stamp)
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        threading.Thread(target=_accept, args=(server, venue), daemon=True).start()
        venue.done.wait()
        print(json.dumps(venue.times), flush=True)
        # The client closes; whoever started this ends it.
        threading.Event().wait()
    return 0


def _accept(server: socket.socket, venue: Venue) -> None:
    while True:
        connection: Any = server.accept()[0]
        threading.Thread(target=venue.answer, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
