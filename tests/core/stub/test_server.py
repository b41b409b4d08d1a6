"""The stub venue's server on the loopback: clients, faults on the wire, recordings."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from core.clock import SystemClock
from core.feeds.capture import CaptureMeta
from core.feeds.recorder import CaptureWriter
from core.stub.captured import CapturedModel
from core.stub.faults import read_fault
from core.stub.registry import sim_venue
from core.stub.server import StubServer
from tests.core.feeds.wire import MS, T0, S, depth, instrument, l2, snapshot, stream, trade

TIMEOUT_S = 20.0
LEVEL2 = '{"type":"subscribe","product_ids":["BTC-USD"],"channel":"level2"}'
STEP_NS = 30 * MS
STREAM = "/stream?streams=btcusdt@depth@100ms"


def server(venue: str, symbol: str, *faults: str, seed: int = 1, **other: Any) -> StubServer:
    clock = SystemClock()
    model = sim_venue(venue, [symbol], seed, clock.now_ns(), speed=100)
    asked = [read_fault(each, venue) for each in faults]
    return StubServer(model, clock, faults=asked, seed=seed, **other)


async def hear(socket: ClientConnection) -> Any:
    async with asyncio.timeout(TIMEOUT_S):
        return json.loads(await socket.recv())


async def until_closed(socket: ClientConnection) -> AsyncIterator[str | bytes]:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                yield await socket.recv()
    except ConnectionClosed:
        return


async def ask(one: StubServer, path: str) -> httpx.Response:
    address = one.address.replace("ws://", "http://")
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(address + path)


@pytest.mark.slow
async def test_clients_have_their_own_numbers_and_the_same_book() -> None:
    async with server("coinbase", "BTC-USD") as one:
        books = []
        for _ in range(3):
            async with connect(one.address, max_size=None) as socket:
                await socket.send(LEVEL2)
                seen = [await hear(socket) for _ in range(5)]
                assert [each["sequence_num"] for each in seen] == [0, 1, 2, 3, 4]
                assert seen[0]["events"][0]["type"] == "snapshot"
                reply = await ask(one, "/stub/book?symbol=BTC-USD&sequence_num=4")
                books.append((plain(seen), reply.json()))
        for held, own in books:
            assert held == [dict(own["bids"]), dict(own["asks"])]
        state = (await ask(one, "/stub/state")).json()
        assert state["connected"] == 3


def plain(frames: list[Any]) -> list[dict[str, str]]:
    """Return the book that Advanced Trade frames make, by price text."""
    sides: dict[str, dict[str, str]] = {"bid": {}, "offer": {}}
    for frame in frames:
        for event in frame["events"]:
            for row in event.get("updates", []):
                sides[row["side"]][row["price_level"]] = row["new_quantity"]
    return [{p: q for p, q in side.items() if float(q)} for side in sides.values()]


@pytest.mark.slow
async def test_the_book_as_of_an_update_id_is_the_one_that_the_stream_makes() -> None:
    async with server("binance", "BTCUSDT") as one, connect(one.address + STREAM) as socket:
        first = (await hear(socket))["data"]
        body = (await ask(one, "/api/v3/depth?symbol=BTCUSDT&limit=5000")).json()
        sides = [dict(body["bids"]), dict(body["asks"])]
        last = first["u"]
        while last <= body["lastUpdateId"]:
            event = (await hear(socket))["data"]
            assert event["U"] == last + 1
            last = event["u"]
            for side, rows in zip(sides, (event["b"], event["a"]), strict=True):
                side |= dict(rows)
        own = (await ask(one, f"/stub/book?symbol=BTCUSDT&id={last}")).json()
        held = [{p: q for p, q in side.items() if float(q)} for side in sides]
        assert [dict(own["bids"]), dict(own["asks"])] == held
        assert (await ask(one, "/stub/book?symbol=BTCUSDT&id=5")).status_code == 404
        assert (await ask(one, "/stub/book?symbol=NOPE")).status_code == 404
        assert (await ask(one, "/stub/book?symbol=BTCUSDT&id=x")).status_code == 400


@pytest.mark.slow
async def test_a_cut_inside_a_frame_is_a_lost_connection_and_no_frame() -> None:
    async with server("coinbase", "BTC-USD", "cut_mid_frame:1") as one:
        async with connect(one.address, max_size=None) as socket:
            await socket.send(LEVEL2)
            with pytest.raises(ConnectionClosed) as closed:
                await hear(socket)
        assert closed.value.rcvd is None


@pytest.mark.slow
async def test_a_close_code_arrives() -> None:
    async with server("coinbase", "BTC-USD", "close:1") as one:
        async with connect(one.address, max_size=None) as socket:
            await socket.send(LEVEL2)
            with pytest.raises(ConnectionClosed) as closed:
                await hear(socket)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code in {1000, 1001, 1008, 1011, 1012, 1013, 4000}


@pytest.mark.slow
async def test_a_429_is_given_to_requests_and_connections_with_a_time_to_wait() -> None:
    async with server("binance", "BTCUSDT", "429:1") as one:
        with pytest.raises(InvalidStatus) as refused:
            async with connect(one.address + STREAM):
                pass
        assert refused.value.response.status_code == 429
        reply = await ask(one, "/api/v3/depth?symbol=BTCUSDT")
        assert (reply.status_code, reply.headers["Retry-After"]) == (429, "5")
        assert one.n_refused == 1


@pytest.mark.slow
async def test_what_is_no_message_ends_the_connection() -> None:
    async with server("coinbase", "BTC-USD") as one, connect(one.address) as socket:
        await socket.send("rubbish")
        with pytest.raises(ConnectionClosed) as closed:
            await hear(socket)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1003


# --- recordings


def recording(path: Path) -> Path:
    """Write a Binance recording whose snapshot is older than the events before it."""
    one = instrument("binance", "BTCUSDT")
    rows = ([["100.00", "1.0"], ["99.00", "1.0"]], [["101.00", "1.0"]])
    with CaptureWriter(path, CaptureMeta("binance", ("BTCUSDT",), (one,))) as writer:
        writer.opened(T0, "wss://there/stream")
        writer.received(T0 + 1 * STEP_NS, depth(100, 101, bids=[["100.00", "0.0"]]))
        writer.received(T0 + 2 * STEP_NS, depth(102, 103, bids=[["99.00", "5.0"]]))
        body = snapshot(101, [["99.00", "1.0"]], rows[1])
        writer.fetched(
            T0 + 3 * STEP_NS, "https://there/api/v3/depth?symbol=BTCUSDT&limit=1000", body
        )
        writer.received(T0 + 4 * STEP_NS, trade(7, "101.00", "0.5", seller_took=False))
        writer.received(T0 + 5 * STEP_NS, depth(104, 105, asks=[["102.00", "2.0"]]))
        writer.received(T0 + 6 * STEP_NS, stream("btcusdt@kline_1m", {"e": "kline"}))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("speed", [1.0, None])
async def test_a_recording_is_told_as_it_was_and_its_snapshot_is_served(
    tmp_path: Path, speed: float | None
) -> None:
    path = recording(tmp_path / "day.jsonl.gz")
    clock = SystemClock()
    model = CapturedModel(path, clock.now_ns(), speed=speed, loops=False)
    async with StubServer(model, clock, is_paced=speed is not None) as one:
        streams = "/stream?streams=btcusdt@depth@100ms/btcusdt@trade"
        async with connect(one.address + streams) as socket:
            asked = asyncio.ensure_future(ask(one, "/api/v3/depth?symbol=BTCUSDT&limit=1000"))
            seen = [await hear(socket) for _ in range(4)]
            reply = (await asked).json()
            own = (await ask(one, "/stub/book?symbol=BTCUSDT")).json()
            with pytest.raises(ConnectionClosed) as closed:
                await hear(socket)
        async with asyncio.timeout(TIMEOUT_S):
            await one.ended()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001
    assert [each["stream"] for each in seen] == [
        "btcusdt@depth@100ms", "btcusdt@depth@100ms", "btcusdt@trade", "btcusdt@depth@100ms",
    ]  # fmt: skip
    # As recorded where it was asked for in time, else the stub's own, which is ahead.
    assert reply["lastUpdateId"] in {101, 103, 105}
    if speed is None:
        assert reply["lastUpdateId"] == 101
    # What came before the snapshot and was newer is in the stub's own book.
    assert own["id"] == 105
    assert own["bids"] == [["99.00000000", "5.00000000"]]
    assert own["asks"] == [["101.00000000", "1.00000000"], ["102.00000000", "2.00000000"]]


@pytest.mark.slow
async def test_a_recording_that_loops_begins_anew_with_every_connection(tmp_path: Path) -> None:
    path = recording(tmp_path / "day.jsonl.gz")
    clock = SystemClock()
    model = CapturedModel(path, clock.now_ns(), speed=1.0, loops=True)
    async with StubServer(model, clock) as one:
        for _ in range(2):
            async with connect(one.address + STREAM) as socket:
                ids = [json.loads(each)["data"]["u"] async for each in until_closed(socket)]
                assert ids == [101, 103, 105]


@pytest.mark.slow
async def test_frames_that_are_not_wanted_leave_no_hole_in_the_numbers(tmp_path: Path) -> None:
    one = instrument("coinbase", "BTC-USD")
    path = tmp_path / "day.jsonl.gz"
    with CaptureWriter(path, CaptureMeta("coinbase", ("BTC-USD",), (one,))) as writer:
        writer.received(T0, l2(0, "snapshot", [("bid", "100.00", "1")], "BTC-USD"))
        for number in range(1, 6):
            kind = "ticker" if number % 2 else "l2_data"
            frame = l2(number, "update", [("bid", "99.00", str(number))], "BTC-USD")
            writer.received(T0 + number * MS, frame.replace(b"l2_data", kind.encode()))
    clock = SystemClock()
    model = CapturedModel(path, clock.now_ns(), speed=1.0, loops=True)
    async with (
        StubServer(model, clock) as venue,
        connect(venue.address, max_size=None) as socket,
    ):
        await socket.send(LEVEL2)
        seen = [await hear(socket) for _ in range(4)]
        own = (await ask(venue, "/stub/book?symbol=BTC-USD&sequence_num=2")).json()
    assert [each["sequence_num"] for each in seen] == [0, 1, 2, 3]
    assert [each["channel"] for each in seen] == ["subscriptions", *["l2_data"] * 3]
    assert own["bids"] == [["100.00", "1.00000"], ["99.00", "2.00000"]]


def test_time_runs_from_its_source(tmp_path: Path) -> None:
    model = CapturedModel(recording(tmp_path / "a.jsonl.gz"), T0 + S, speed=1.0, loops=False)
    assert (model.venue, model.names, model.proves_loss) == ("binance", ("BTCUSDT",), True)
