"""The control socket's server: frames in, one reply a frame out, in the engine's own loop.

Protocols, not streams: a command is handled in the very callback that received it, with no task
in between to wait for, and there is nothing to cancel. Bounds: ``CLIENTS_MAX`` connections (the
one idle longest makes room for a new one, a screen last), ``MAX_MESSAGE`` a frame,
``BACKLOG_MAX`` unread reply bytes and ``DRAIN_S`` seconds with a client that does not read.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
from typing_extensions import override

from core.control import (
    MAX_MESSAGE,
    Ack,
    AnyCommand,
    GetSnapshot,
    Kill,
    KillAll,
    Reply,
    command_decoder,
    frame,
)
from core.errors import UserError
from core.snapshot import ClientsView

CLIENTS_MAX = 16
BACKLOG_MAX = 2 * MAX_MESSAGE
DRAIN_S = 5.0
_HEADER = 4
_PATH_BYTES_MAX = 107
"""``sun_path`` of Linux less its closing zero; unix(7)."""


class ServerCounters(msgspec.Struct):
    """What happened at the socket since the start."""

    commands: int = 0
    bad_frames: int = 0
    slow_clients: int = 0
    displaced_clients: int = 0

    def view(self) -> ClientsView:
        """Return what the picture shows of it."""
        return ClientsView(self.bad_frames, self.slow_clients, self.displaced_clients)


class ControlServer:
    """Serve ``handle`` on a Unix socket; use it as an async context manager.

    ``handle`` is called in the loop and must not block. What it raises is a bug of ours: the
    client is told, and ``watch`` raises it. ``on_screen_lost`` is called when the last
    connection that asked for snapshots as a screen is gone, but not by our own closing.
    """

    def __init__(
        self,
        path: Path,
        handle: Callable[[AnyCommand], Reply],
        on_screen_lost: Callable[[], None] | None = None,
        drain_s: float = DRAIN_S,
    ) -> None:
        self.path = path
        self.counters = ServerCounters()
        self.drain_s = drain_s
        self._handle = handle
        self._on_screen_lost = on_screen_lost
        # In order of last use, the one idle longest first.
        self._clients: dict[_Connection, None] = {}
        self._server: asyncio.Server | None = None
        self._inode = 0
        self._failure: asyncio.Future[None] | None = None
        self._is_closing = False

    @property
    def n_clients(self) -> int:
        return len(self._clients)

    @property
    def n_screens(self) -> int:
        return sum(client.is_screen for client in self._clients)

    async def watch(self) -> None:
        """Wait until ``handle`` raises, and raise that; run it in the engine's task group."""
        assert self._failure is not None, "the server was not started"
        await asyncio.shield(self._failure)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._failure = loop.create_future()
        listener = _listen(self.path)
        self._inode = self.path.stat().st_ino
        try:
            self._server = await loop.create_unix_server(lambda: _Connection(self), sock=listener)
        except BaseException:
            listener.close()
            self._remove_socket()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # No await: a second cancellation cannot leave the file behind.
        self._is_closing = True
        assert self._server is not None
        self._server.close()
        for client in list(self._clients):
            client.close()
        self._remove_socket()
        assert self._failure is not None
        if self._failure.done():
            # Seen here at the latest, or asyncio complains of an exception never retrieved.
            self._failure.exception()

    def carry_out(self, command: AnyCommand) -> Reply:
        """Return what ``handle`` answers to one command; called by connections."""
        self.counters.commands += 1
        try:
            return self._handle(command)
        except Exception as error:  # noqa: BLE001 (adapter border: watch raises it)
            assert self._failure is not None
            if not self._failure.done():
                self._failure.set_exception(error)
            return Ack(ok=False, text=f"the engine failed: {error}")

    def connected(self, client: _Connection) -> None:
        if len(self._clients) >= CLIENTS_MAX:
            idle = next((c for c in self._clients if not c.is_screen), next(iter(self._clients)))
            self.counters.displaced_clients += 1
            idle.close()
        self._clients[client] = None

    def touched(self, client: _Connection) -> None:
        if client in self._clients:
            del self._clients[client]
            self._clients[client] = None

    def disconnected(self, client: _Connection) -> None:
        if self._clients.pop(client, self) is self:
            return
        lost = client.is_screen and not self.n_screens and not self._is_closing
        if lost and self._on_screen_lost is not None:
            self._on_screen_lost()

    def _remove_socket(self) -> None:
        # Only ours: another engine may have bound the name since.
        with contextlib.suppress(FileNotFoundError):
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()


class _Connection(asyncio.Protocol):
    def __init__(self, server: ControlServer) -> None:
        self.is_screen = False
        self._server = server
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._drain_timer: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.connected(self)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_drain_timer()
        self._server.disconnected(self)

    @override
    def data_received(self, data: bytes) -> None:
        self._server.touched(self)
        self._buffer += data
        try:
            commands = self._take_commands()
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError):
            self._server.counters.bad_frames += 1
            self.close()
            return
        replies: dict[int, Reply] = {}
        # A kill overtakes whatever was sent before it; replies keep the order of the requests.
        by_urgency = sorted(
            enumerate(commands), key=lambda item: not isinstance(item[1], KillAll | Kill)
        )
        for place, command in by_urgency:
            if isinstance(command, GetSnapshot):
                # A screen that leaves in order says so with its last question.
                self.is_screen = command.is_screen
            replies[place] = self._server.carry_out(command)
        for place in range(len(commands)):
            self._send(replies[place])

    @override
    def pause_writing(self) -> None:
        # Reading goes on: a client too slow for pictures may still send a kill.
        loop = asyncio.get_running_loop()
        self._drain_timer = loop.call_later(self._server.drain_s, self._drop_slow)

    @override
    def resume_writing(self) -> None:
        self._stop_drain_timer()

    def close(self) -> None:
        """Cut the connection now, unsent replies included."""
        if self._transport is not None:
            self._transport.abort()
        self._server.disconnected(self)

    def _take_commands(self) -> list[AnyCommand]:
        """Return the whole frames received; what is left is the start of the next."""
        commands: list[AnyCommand] = []
        start = 0
        while len(self._buffer) - start >= _HEADER:
            size = int.from_bytes(self._buffer[start : start + _HEADER], "big")
            if size > MAX_MESSAGE:
                raise ValueError(f"a frame of {size} bytes was over {MAX_MESSAGE}")
            end = start + _HEADER + size
            if len(self._buffer) < end:
                break
            commands.append(command_decoder.decode(self._buffer[start + _HEADER : end]))
            start = end
        del self._buffer[:start]
        return commands

    def _send(self, reply: Reply) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        body = frame(reply)
        if len(body) - _HEADER > MAX_MESSAGE:
            body = frame(Ack(ok=False, text=f"the reply was over {MAX_MESSAGE} bytes"))
        self._transport.write(body)
        if self._transport.get_write_buffer_size() > BACKLOG_MAX:
            self._drop_slow()

    def _drop_slow(self) -> None:
        self._server.counters.slow_clients += 1
        self.close()

    def _stop_drain_timer(self) -> None:
        if self._drain_timer is not None:
            self._drain_timer.cancel()
            self._drain_timer = None


def _listen(path: Path) -> socket.socket:
    """Return a socket listening on ``path``, private from its first instant.

    A dead engine's socket file is removed: whoever calls this holds the engine lock.
    Errors: ``UserError`` when the name is too long or taken by something that is no socket.
    """
    if len(os.fsencode(path)) > _PATH_BYTES_MAX:
        raise UserError(
            f"{path} was longer than {_PATH_BYTES_MAX} bytes, too long for a socket; "
            "choose a shorter --state DIR"
        )
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise UserError(f"{path} is in the way and is no socket; remove it")
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The mask belongs to the whole process, so nothing may run in between; nothing does.
    mask = os.umask(0o177)
    try:
        listener.bind(os.fspath(path))
    except OSError as error:
        listener.close()
        raise UserError(f"{path} cannot be made ({error.strerror})") from error
    finally:
        os.umask(mask)
    listener.setblocking(False)
    return listener
