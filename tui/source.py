"""Where the screen gets its picture and sends its commands: the engine's Unix socket.

Snapshots travel over one lasting connection. Every command takes its own fresh connection, so
that neither a slow picture nor a slow command can stand before a kill.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Protocol

import msgspec

from core.control import (
    MAX_MESSAGE,
    Ack,
    AnyCommand,
    GetSnapshot,
    Picture,
    Reply,
    frame,
    reply_decoder,
)
from core.errors import TryAgain
from core.snapshot import Snapshot

PULL_TIMEOUT_S = 2.0
SEND_TIMEOUT_S = 5.0
LEAVE_TIMEOUT_S = 0.5


class EngineLost(TryAgain):
    """The engine did not answer; the text says why."""


class SnapshotSource(Protocol):
    """What the screen needs from the engine."""

    async def pull(self) -> Snapshot:
        """Return the newest snapshot. Errors: ``EngineLost``."""

    async def send(self, command: AnyCommand) -> Ack:
        """Send one command and return the answer. Errors: ``EngineLost``."""

    async def close(self) -> None:
        """Let go of the engine."""


class _Connection:
    """One connection: 4-byte big-endian length, then msgpack, one reply a request."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, path: Path) -> _Connection:
        return cls(*await asyncio.open_unix_connection(str(path)))

    async def ask(self, command: AnyCommand) -> Reply:
        self._writer.write(frame(command))
        await self._writer.drain()
        size = int.from_bytes(await self._reader.readexactly(4), "big")
        if size > MAX_MESSAGE:
            raise ConnectionError(f"reply of {size} bytes was over the limit of {MAX_MESSAGE}")
        reply: Reply = reply_decoder.decode(await self._reader.readexactly(size))
        return reply

    def drop(self) -> None:
        self._writer.close()


class SocketSource:
    """The engine behind ``path``; reconnects by itself at the next pull."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pictures: _Connection | None = None
        self._turn = asyncio.Lock()
        """Held by who asks on the lasting connection: leaving may come while a picture is on its
        way."""

    async def pull(self) -> Snapshot:
        """Return the newest snapshot. Errors: ``EngineLost`` with the reason."""
        is_answered = False
        try:
            async with asyncio.timeout(PULL_TIMEOUT_S), self._turn:
                if self._pictures is None:
                    self._pictures = await _Connection.open(self._path)
                reply = await self._pictures.ask(GetSnapshot(is_screen=True))
            is_answered = isinstance(reply, Picture)
        except (OSError, EOFError, msgspec.MsgspecError) as error:
            raise EngineLost(_why(error, self._path)) from error
        finally:
            # A request cut short, even by cancellation, leaves half a reply behind.
            if not is_answered:
                self._drop()
        if not isinstance(reply, Picture):
            raise EngineLost(f"the engine refused a picture: {reply.text}")
        return reply.snapshot

    async def send(self, command: AnyCommand) -> Ack:
        """Send one command over its own connection. Errors: ``EngineLost`` with the reason."""
        connection: _Connection | None = None
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                connection = await _Connection.open(self._path)
                reply = await connection.ask(command)
        except (OSError, EOFError, msgspec.MsgspecError) as error:
            raise EngineLost(_why(error, self._path)) from error
        finally:
            if connection is not None:
                connection.drop()
        return reply if isinstance(reply, Ack) else Ack(ok=True, text="done")

    async def close(self) -> None:
        """Close the lasting connection, telling the engine that this screen leaves in order."""
        with contextlib.suppress(OSError, EOFError, msgspec.MsgspecError):
            async with asyncio.timeout(LEAVE_TIMEOUT_S), self._turn:
                if self._pictures is not None:
                    await self._pictures.ask(GetSnapshot(is_screen=False))
        self._drop()

    def _drop(self) -> None:
        if self._pictures is not None:
            self._pictures.drop()
            self._pictures = None


def _why(error: Exception, path: Path) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, FileNotFoundError):
        return f"no engine runs here ({path.name} is missing)"
    if isinstance(error, ConnectionRefusedError):
        return "the engine is gone (nobody listens on its socket)"
    if isinstance(error, EOFError):
        return "the engine closed the connection"
    if isinstance(error, msgspec.MsgspecError):
        return "the engine speaks another version (reply not understood)"
    return str(error) or type(error).__name__
