from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from core.control import (
    MAX_MESSAGE,
    Ack,
    AnyCommand,
    GetSnapshot,
    KillAll,
    Picture,
    Reply,
    command_decoder,
    frame,
)
from tests.tui import snapshots as made
from tui.source import EngineLost, SocketSource

Answer = Callable[[AnyCommand], Awaitable[Reply | bytes]]


class Engine:
    """A loopback engine: notes commands, one list a connection, and answers as told."""

    def __init__(self, answer: Answer) -> None:
        self.connections: list[list[AnyCommand]] = []
        self._answer = answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        commands: list[AnyCommand] = []
        self.connections.append(commands)
        try:
            while True:
                size = int.from_bytes(await reader.readexactly(4), "big")
                command = command_decoder.decode(await reader.readexactly(size))
                commands.append(command)
                reply = await self._answer(command)
                writer.write(reply if isinstance(reply, bytes) else frame(reply))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def running(path: Path, answer: Answer) -> AsyncIterator[Engine]:
    engine = Engine(answer)
    server = await asyncio.start_unix_server(engine.serve, path=str(path))
    try:
        yield engine
    finally:
        server.close()
        await server.wait_closed()


async def polite(command: AnyCommand) -> Reply:
    if isinstance(command, GetSnapshot):
        return Picture(made.normal())
    return Ack(ok=True, text=f"did {type(command).__name__}")


async def test_pull_marks_the_screen_and_close_says_that_it_leaves_in_order(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    async with running(path, polite) as engine:
        source = SocketSource(path)
        assert await source.pull() == made.normal()
        await source.pull()
        await source.close()
    looks = [GetSnapshot(is_screen=True)] * 2
    assert engine.connections == [[*looks, GetSnapshot(is_screen=False)]]


async def test_commands_do_not_wait_behind_a_slow_picture(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    never = asyncio.Event()

    async def slow(command: AnyCommand) -> Reply:
        if isinstance(command, GetSnapshot):
            await never.wait()
        return Ack(ok=True, text="halted")

    async with running(path, slow) as engine:
        source = SocketSource(path)
        picture = asyncio.ensure_future(source.pull())
        await asyncio.sleep(0)
        ack = await source.send(KillAll())
        assert ack == Ack(ok=True, text="halted")
        assert not picture.done()
        never.set()
        with pytest.raises(EngineLost, match="refused a picture"):
            await picture
    assert [KillAll()] in engine.connections


async def test_no_engine_is_a_reason_and_not_a_crash(tmp_path: Path) -> None:
    source = SocketSource(tmp_path / "control.sock")
    with pytest.raises(EngineLost, match="no engine runs here"):
        await source.pull()
    with pytest.raises(EngineLost, match="no engine runs here"):
        await source.send(KillAll())


async def test_the_source_reconnects_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    source = SocketSource(path)
    hang_up = True

    async def answer(command: AnyCommand) -> Reply:
        if hang_up:
            raise ConnectionError
        return await polite(command)

    async with running(path, answer):
        with pytest.raises(EngineLost, match="closed the connection"):
            await source.pull()
        hang_up = False
        assert (await source.pull()).run_id == "run-1"
        await source.close()


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (b"\x00\x00\x00\x02\xff\xff", "another version"),
        ((MAX_MESSAGE + 1).to_bytes(4, "big"), "over the limit"),
    ],
)
async def test_a_reply_that_makes_no_sense_is_refused(
    tmp_path: Path, reply: bytes, why: str
) -> None:
    path = tmp_path / "control.sock"

    async def answer(command: AnyCommand) -> bytes:
        return reply

    async with running(path, answer):
        source = SocketSource(path)
        with pytest.raises(EngineLost, match=why):
            await source.pull()
        await source.close()


async def test_a_pull_that_was_canceled_leaves_no_half_reply_behind(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    reached, go = asyncio.Event(), asyncio.Event()

    async def answer(command: AnyCommand) -> Reply:
        reached.set()
        await go.wait()
        return await polite(command)

    async with running(path, answer) as engine:
        source = SocketSource(path)
        pull = asyncio.ensure_future(source.pull())
        await reached.wait()
        pull.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pull
        go.set()
        assert (await source.pull()).run_id == "run-1"
        await source.close()
    assert len(engine.connections) == 2


async def test_leaving_while_a_picture_is_on_its_way_waits_for_it(tmp_path: Path) -> None:
    asked, goes_on = asyncio.Event(), asyncio.Event()

    async def slow(_: AnyCommand) -> Reply:
        asked.set()
        await goes_on.wait()
        return Picture(made.normal())

    path = tmp_path / "control.sock"
    async with running(path, slow) as engine:
        source = SocketSource(path)
        async with asyncio.TaskGroup() as group:
            pull = group.create_task(source.pull())
            await asked.wait()
            group.create_task(source.close())
            await asyncio.sleep(0)
            goes_on.set()
        assert pull.result() == made.normal()
        told = [command for command in engine.connections[0] if isinstance(command, GetSnapshot)]
    assert [command.is_screen for command in told] == [True, False]
