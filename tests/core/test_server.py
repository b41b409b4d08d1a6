from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.control import (
    MAX_MESSAGE,
    Ack,
    AnyCommand,
    GetSnapshot,
    KillAll,
    Picture,
    Reply,
    Stop,
    frame,
    reply_decoder,
)
from core.errors import InvariantError, UserError
from core.server import BACKLOG_MAX, CLIENTS_MAX, ControlServer, _Connection
from tests.core.sample import SNAPSHOT

WAIT_S = 10.0
"""A bound for what must happen; nothing waits it out unless the test fails."""
BIG = "x" * (MAX_MESSAGE // 2)


class Engine:
    """Answers every command with its name and remembers the order."""

    def __init__(self) -> None:
        self.seen: list[AnyCommand] = []
        self.killed = asyncio.Event()
        self.screen_lost = asyncio.Event()
        self.n_lost = 0
        self.picture: Reply = Picture(snapshot=SNAPSHOT)

    def handle(self, command: AnyCommand) -> Reply:
        self.seen.append(command)
        if isinstance(command, GetSnapshot):
            return self.picture
        if isinstance(command, KillAll):
            self.killed.set()
        return Ack(ok=True, text=type(command).__name__)

    def on_screen_lost(self) -> None:
        self.n_lost += 1
        self.screen_lost.set()


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, *commands: AnyCommand) -> None:
        self.writer.write(b"".join(map(frame, commands)))

    async def receive(self) -> Reply:
        size = int.from_bytes(await self.reader.readexactly(4), "big")
        reply: Reply = reply_decoder.decode(await self.reader.readexactly(size))
        return reply

    async def ask(self, command: AnyCommand) -> Reply:
        self.send(command)
        return await asyncio.wait_for(self.receive(), WAIT_S)

    async def is_closed(self) -> bool:
        """Read to the end; a reset is an end too."""
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(self.reader.read(), WAIT_S)
        return self.reader.at_eof() or self.reader.exception() is not None

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


class Bed:
    """A server, its engine, and clients that are closed at the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.engine = Engine()
        self.server = ControlServer(path, self.engine.handle, self.engine.on_screen_lost)
        self.clients: list[Client] = []

    async def client(self) -> Client:
        client = Client(*await asyncio.open_unix_connection(self.path))
        self.clients.append(client)
        return client


@pytest.fixture
async def bed(tmp_path: Path) -> AsyncIterator[Bed]:
    bed = Bed(tmp_path / "control.sock")
    async with bed.server:
        yield bed
    for client in bed.clients:
        await client.close()


async def test_each_command_has_one_reply_in_order(bed: Bed) -> None:
    client = await bed.client()
    client.send(Stop(), GetSnapshot(), Stop())
    replies = [await client.receive() for _ in range(3)]
    assert replies == [
        Ack(ok=True, text="Stop"),
        Picture(snapshot=SNAPSHOT),
        Ack(ok=True, text="Stop"),
    ]
    assert bed.server.counters.commands == 3


async def test_socket_is_private_and_gone_at_the_end(tmp_path: Path) -> None:
    bed = Bed(tmp_path / "control.sock")
    async with bed.server:
        assert bed.path.stat().st_mode & 0o777 == 0o600
        assert (await (await bed.client()).ask(Stop())) == Ack(ok=True, text="Stop")
    assert not bed.path.exists()
    assert await bed.clients[0].is_closed()
    await bed.clients[0].close()


async def test_dead_engines_socket_is_replaced(tmp_path: Path) -> None:
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / "control.sock"))
    dead.close()
    bed = Bed(tmp_path / "control.sock")
    async with bed.server:
        assert (await (await bed.client()).ask(Stop())) == Ack(ok=True, text="Stop")
        await bed.clients[0].close()


async def test_file_in_the_way_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    path.write_text("precious")
    with pytest.raises(UserError, match="in the way"):
        await ControlServer(path, Engine().handle).__aenter__()
    assert path.read_text() == "precious"


async def test_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="shorter --state"):
        await ControlServer(tmp_path / ("x" * 107), Engine().handle).__aenter__()


async def test_folder_that_is_not_there_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be made"):
        await ControlServer(tmp_path / "no" / "control.sock", Engine().handle).__aenter__()


@pytest.mark.parametrize(
    "body",
    [
        (MAX_MESSAGE + 1).to_bytes(4, "big"),
        b"\xff\xff\xff\xff",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00\x00\x00\x00",
        b"\x00\x00\x00\x04\xc1\xc1\xc1\xc1",
        b"\x00\x00\x00\x02\x81\xa1",
        len(msgspec.msgpack.encode({"c": "sudo"})).to_bytes(4, "big")
        + msgspec.msgpack.encode({"c": "sudo"}),
        b"\x00\x00\x08\x00" + b"\x91" * 2048,
    ],
)
async def test_bad_frame_closes_only_its_own_connection(bed: Bed, body: bytes) -> None:
    good, bad = await bed.client(), await bed.client()
    bad.writer.write(body)
    assert await bad.is_closed()
    assert bed.server.counters.bad_frames == 1
    assert (await good.ask(Stop())) == Ack(ok=True, text="Stop")


async def test_kill_overtakes_what_was_sent_before_it(bed: Bed) -> None:
    client = await bed.client()
    client.send(GetSnapshot(), Stop(), KillAll())
    replies = [await client.receive() for _ in range(3)]
    assert isinstance(bed.engine.seen[0], KillAll)
    assert isinstance(replies[0], Picture)
    assert replies[1:] == [Ack(ok=True, text="Stop"), Ack(ok=True, text="KillAll")]


async def test_client_that_does_not_read_can_still_kill(bed: Bed) -> None:
    bed.engine.picture = Ack(ok=True, text=BIG)
    client = await bed.client()
    client.send(GetSnapshot())
    client.send(KillAll())
    await asyncio.wait_for(bed.engine.killed.wait(), WAIT_S)
    assert bed.server.n_clients == 1


async def test_client_that_does_not_read_in_time_is_dropped(tmp_path: Path) -> None:
    bed = Bed(tmp_path / "control.sock")
    bed.server = ControlServer(bed.path, bed.engine.handle, bed.engine.on_screen_lost, drain_s=0.0)
    bed.engine.picture = Ack(ok=True, text=BIG)
    async with bed.server:
        client = await bed.client()
        client.send(GetSnapshot(is_screen=True))
        client.writer.transport.pause_reading()
        await asyncio.wait_for(bed.engine.screen_lost.wait(), WAIT_S)
        assert bed.server.counters.slow_clients == 1
        assert bed.server.n_clients == 0
    await client.close()


async def test_backlog_of_unread_replies_is_bounded(bed: Bed) -> None:
    bed.engine.picture = Ack(ok=True, text=BIG)
    client = await bed.client()
    client.writer.transport.pause_reading()
    client.send(*[GetSnapshot(is_screen=True)] * (2 + BACKLOG_MAX // len(BIG)))
    await asyncio.wait_for(bed.engine.screen_lost.wait(), WAIT_S)
    assert bed.server.counters.slow_clients == 1


async def test_reply_over_the_bound_is_an_answer_that_says_so(bed: Bed) -> None:
    bed.engine.picture = Ack(ok=True, text=BIG * 2)
    reply = await (await bed.client()).ask(GetSnapshot())
    assert isinstance(reply, Ack)
    assert not reply.ok
    assert str(MAX_MESSAGE) in reply.text


async def test_one_client_too_many_displaces_the_one_idle_longest(bed: Bed) -> None:
    clients = [await bed.client() for _ in range(CLIENTS_MAX)]
    screen, idle = clients[3], clients[5]
    await screen.ask(GetSnapshot(is_screen=True))
    for client in (idle, *(c for c in clients if c not in (screen, idle))):
        await client.ask(Stop())
    newest = await bed.client()
    assert (await newest.ask(KillAll())) == Ack(ok=True, text="KillAll")
    assert await idle.is_closed()
    assert (await screen.ask(Stop())) == Ack(ok=True, text="Stop")
    assert bed.server.counters.displaced_clients == 1
    assert bed.server.n_clients == CLIENTS_MAX


async def test_screens_too_many_displace_a_screen_but_another_is_still_there(bed: Bed) -> None:
    for _ in range(CLIENTS_MAX + 1):
        await (await bed.client()).ask(GetSnapshot(is_screen=True))
    assert await bed.clients[0].is_closed()
    assert bed.engine.n_lost == 0


async def test_a_screen_that_leaves_in_order_is_not_lost(bed: Bed) -> None:
    screen, other = await bed.client(), await bed.client()
    await screen.ask(GetSnapshot(is_screen=True))
    await screen.ask(GetSnapshot(is_screen=False))
    assert bed.server.n_screens == 0
    await screen.close()
    await other.ask(GetSnapshot())
    assert bed.engine.n_lost == 0


async def test_only_the_last_screen_to_go_counts_as_lost(bed: Bed) -> None:
    first, second, plain = [await bed.client() for _ in range(3)]
    await first.ask(GetSnapshot(is_screen=True))
    await second.ask(GetSnapshot(is_screen=True))
    await plain.ask(GetSnapshot())
    assert bed.server.n_screens == 2
    await first.close()
    await plain.close()
    # Answered after both closings: the loop has seen them by then.
    assert isinstance(await second.ask(GetSnapshot(is_screen=True)), Picture)
    assert bed.engine.n_lost == 0
    await second.close()
    await asyncio.wait_for(bed.engine.screen_lost.wait(), WAIT_S)
    assert bed.engine.n_lost == 1


async def test_our_own_closing_is_no_lost_screen(tmp_path: Path) -> None:
    bed = Bed(tmp_path / "control.sock")
    async with bed.server:
        await (await bed.client()).ask(GetSnapshot(is_screen=True))
    assert await bed.clients[0].is_closed()
    assert bed.engine.n_lost == 0
    await bed.clients[0].close()


async def test_what_handle_raises_is_told_and_ends_the_watch(tmp_path: Path) -> None:
    def broken(command: AnyCommand) -> Reply:
        raise InvariantError("filled more than ordered")

    async with ControlServer(tmp_path / "control.sock", broken) as server:
        client = Client(*await asyncio.open_unix_connection(server.path))
        assert await client.ask(Stop()) == Ack(
            ok=False, text="the engine failed: filled more than ordered"
        )
        with pytest.raises(InvariantError, match="filled more"):
            await asyncio.wait_for(server.watch(), WAIT_S)
        await client.close()


async def test_failure_that_nobody_watches_is_no_noise(tmp_path: Path) -> None:
    def broken(command: AnyCommand) -> Reply:
        raise InvariantError("x")

    async with ControlServer(tmp_path / "control.sock", broken) as server:
        client = Client(*await asyncio.open_unix_connection(server.path))
        await client.ask(Stop())
        await client.close()


async def test_cancellation_leaves_no_socket_and_no_task(tmp_path: Path) -> None:
    bed = Bed(tmp_path / "control.sock")
    serving = asyncio.Event()

    async def serve() -> None:
        async with bed.server:
            serving.set()
            await bed.server.watch()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(serve())
        await serving.wait()
        client = await bed.client()
        await client.ask(Stop())
        task.cancel()
    assert task.cancelled()
    assert not bed.path.exists()
    assert await client.is_closed()
    await client.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_cancellation_while_starting_leaves_no_socket(tmp_path: Path) -> None:
    server = ControlServer(tmp_path / "control.sock", Engine().handle)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(server.__aenter__())
        # One turn of the loop: bound, and waiting for asyncio's own first turn.
        group.create_task(_cancel(task))
    assert not server.path.exists()


async def _cancel(task: asyncio.Task[ControlServer]) -> None:
    task.cancel()


async def test_socket_of_another_engine_under_our_name_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    other = socket.socket(socket.AF_UNIX)
    async with ControlServer(path, Engine().handle):
        path.rename(tmp_path / "ours")
        other.bind(str(path))
    assert path.is_socket()
    other.close()


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.is_aborted = False

    def write(self, data: bytes | bytearray | memoryview[bytes]) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.is_aborted

    def abort(self) -> None:
        self.is_aborted = True


def connection() -> tuple[_Connection, Wire, list[AnyCommand]]:
    seen: list[AnyCommand] = []

    def remember(command: AnyCommand) -> Reply:
        seen.append(command)
        return Ack(ok=True, text="")

    made, wire = _Connection(ControlServer(Path("unused"), remember)), Wire()
    made.connection_made(wire)
    return made, wire, seen


@given(
    commands=st.lists(st.sampled_from([GetSnapshot(), Stop(reason="r")]), max_size=6),
    cuts=st.lists(st.integers(0, 200)),
)
def test_frames_arrive_whole_however_they_are_cut(
    commands: list[AnyCommand], cuts: list[int]
) -> None:
    stream = b"".join(map(frame, commands))
    client, wire, seen = connection()
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    for start, end in itertools.pairwise(edges):
        client.data_received(stream[start:end])
    assert seen == commands
    assert bytes(wire.written) == frame(Ack(ok=True, text="")) * len(commands)


@given(stream=st.binary(max_size=64), tail=st.binary(max_size=64))
def test_no_bytes_break_the_server(stream: bytes, tail: bytes) -> None:
    for start in (b"", b"\x00\x00\x00\x10", frame(Stop())[:-1]):
        client, wire, seen = connection()
        client.data_received(start + stream)
        if not wire.is_aborted:
            client.data_received(tail)
        assert len(wire.written) == len(seen) * len(frame(Ack(ok=True, text="")))
