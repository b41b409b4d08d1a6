"""Alpaca and Coinbase Exchange from the command line: live, cut, refused, and no key on disk."""

from __future__ import annotations

import asyncio
import json
import zlib
from pathlib import Path

import pytest

from core.feeds.capture import read_capture
from tests.journeys.program import practice, start, tapewright, wait_for
from tests.stub_venue import StubVenue

pytestmark = pytest.mark.slow

GREETING = [{"T": "success", "msg": "connected"}]
LOGGED_IN = [{"T": "success", "msg": "authenticated"}]
SUBSCRIBED = [{"T": "subscription", "trades": ["SPY"], "quotes": ["SPY"]}]


def frames(*messages: list[dict]) -> list[bytes]:
    return [json.dumps(each).encode() for each in messages]


def quote(bid: float) -> list[dict]:
    row = {"T": "q", "S": "SPY", "bp": bid, "bs": 300, "ap": bid + 0.25, "as": 200, "z": "B"}
    return [row | {"t": "2026-11-23T15:00:00.000000001Z"}]


def alpaca(path: str) -> tuple[int, bytes]:
    if path.startswith("/v2/assets/SPY"):
        asset = {"symbol": "SPY", "class": "us_equity", "status": "active", "tradable": True}
        return 200, json.dumps(asset).encode()
    if path.startswith("/v2/stocks/trades/latest"):
        return 200, b'{"trades":{"SPY":{"p":600.5}}}'
    return 404, b"{}"


def exchange(path: str) -> tuple[int, bytes]:
    if path.startswith("/products/BTC-USD"):
        product = {
            "id": "BTC-USD", "base_currency": "BTC", "quote_currency": "USD",
            "quote_increment": "0.01", "base_increment": "0.00000001", "status": "online",
        }  # fmt: skip
        return 200, json.dumps(product).encode()
    return 404, b"{}"


def exchange_book(price: int) -> bytes:
    book = {"bids": [[f"{price}.00", "1.5"]], "asks": [[f"{price}.01", "2"]]}
    head = {"type": "snapshot", "product_id": "BTC-USD", "time": "2026-11-23T15:00:00.000001Z"}
    return json.dumps(head | book).encode()


async def live_cut_and_live_again(
    venue: StubVenue, name: str, symbol: str, prices: tuple[str, str], tmp_path: Path
) -> Path:
    """Run the engine to a live book, cut the socket, see it live again; return its capture."""
    state = tmp_path / "s"
    process = start(
        "run", "--headless", "--venue", name, "--symbol", symbol, "--state", state,
        "--config", practice(tmp_path), "--endpoint", venue.socket_address,
    )  # fmt: skip
    try:
        seen = await asyncio.to_thread(
            wait_for, state, process, lambda p: p.instruments[0].feed.state == "live"
        )
        assert (seen.account, seen.venue) == ("PAPER", name)
        assert seen.instruments[0].bids[0].price == prices[0]
        venue.cut()
        seen = await asyncio.to_thread(
            wait_for, state, process,
            lambda p: p.instruments[0].bids and p.instruments[0].bids[0].price == prices[1],
        )  # fmt: skip
        assert seen.instruments[0].feed.resyncs == 1
    finally:
        process.terminate()
        _, narration = await asyncio.to_thread(process.communicate, timeout=30)
    assert process.returncode == 0, narration
    (capture,) = (state / "captures").iterdir()
    return capture


async def test_alpaca_runs_to_a_live_book_recovers_and_keeps_no_key(tmp_path: Path) -> None:
    scripts = [frames(GREETING, LOGGED_IN, SUBSCRIBED, quote(bid)) for bid in (600.5, 601.5)]
    async with StubVenue(scripts, alpaca) as venue:
        capture = await live_cut_and_live_again(
            venue, "alpaca", "SPY", ("600.5", "601.5"), tmp_path
        )
    auth = {"action": "auth", "key": "loopback-key", "secret": "loopback-secret"}
    assert json.loads(venue.messages[0][0]) == auth
    assert json.loads(venue.messages[1][0]) == auth
    # Nothing the run wrote has what the venue was sent.
    for path in (tmp_path / "s").rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            text = zlib.decompressobj(31).decompress(data) if path.suffix == ".gz" else data
            assert b"loopback-" not in text, path
    sent = [record.text for record in read_capture(capture) if record.kind == "send"]
    assert json.loads(sent[0]) == {"action": "auth", "key": "<SECRET>", "secret": "<SECRET>"}
    done = tapewright("replay", capture, "--headless", "--summary", "-", "--state", tmp_path / "r")
    assert json.loads(done.stdout)["instruments"]["SPY"]["bids"] == [["601.5", "300"]]


async def test_coinbase_exchange_runs_to_a_live_book_and_recovers(tmp_path: Path) -> None:
    scripts = [[exchange_book(60_000)], [exchange_book(61_000)]]
    async with StubVenue(scripts, exchange, after_messages=1) as venue:
        await live_cut_and_live_again(
            venue, "coinbase-exchange", "BTC-USD", ("60000", "61000"), tmp_path
        )
    first = json.loads(venue.messages[0][0])
    assert (first["type"], first["product_ids"]) == ("subscribe", ["BTC-USD"])
    assert {"level2_batch", "matches", "heartbeat"} <= set(first["channels"])


@pytest.mark.parametrize("words", [("run", "--headless"), ("record",)])
async def test_keys_that_the_venue_refuses_end_the_command_in_one_line(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    script = frames(GREETING, [{"T": "error", "code": 402, "msg": "auth failed"}])
    where = ("--out", tmp_path / "c.gz") if words == ("record",) else ("--state", tmp_path / "s")
    async with StubVenue([script], alpaca) as venue:
        done = await asyncio.to_thread(
            tapewright, *words, "--venue", "alpaca", "--symbol", "SPY", *where,
            "--endpoint", venue.socket_address,
        )  # fmt: skip
    assert done.returncode == 1
    (line,) = [each for each in done.stderr.splitlines() if "402" in each]
    assert line == (
        "tapewright: alpaca refused the keys: auth failed (402); store the right ones with "
        "`tapewright secrets set alpaca`"
    )
    assert len(venue.sockets) == 1


def test_alpaca_without_keys_says_how_to_give_some(tmp_path: Path) -> None:
    done = tapewright("run", "--headless", "--venue", "alpaca", "--state", tmp_path / "s")
    assert done.returncode == 2
    assert "`tapewright secrets set alpaca`" in done.stderr
    assert done.stderr.count("\n") == 1


def test_keys_do_not_go_to_an_endpoint_in_the_clear(tmp_path: Path) -> None:
    done = tapewright("record", "--venue", "alpaca", "--symbol", "SPY", "--out", tmp_path / "c.gz",
                      "--endpoint", "ws://venue.example")  # fmt: skip
    assert done.returncode == 2
    assert "keys are sent to wss://HOST alone" in done.stderr


async def test_alpaca_symbol_that_is_not_listed_is_refused_in_one_line(tmp_path: Path) -> None:
    async with StubVenue([[]], alpaca) as venue:
        done = await asyncio.to_thread(
            tapewright, "run", "--headless", "--venue", "alpaca", "--symbol", "NOPE",
            "--state", tmp_path / "s", "--endpoint", venue.socket_address,
        )  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "alpaca: it lists no symbol 'NOPE'" in done.stderr
