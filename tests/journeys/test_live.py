"""The engine on a venue that lives on the loopback: its book, a cut, its recording."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.core.feeds import wire
from tests.journeys.program import practice, start, tapewright, wait_for
from tests.stub_venue import StubVenue

pytestmark = pytest.mark.slow

PRODUCT = {
    "product_id": "BTC-USD",
    "base_currency_id": "BTC",
    "quote_currency_id": "USD",
    "price_increment": "0.01",
    "quote_increment": "0.01",
    "base_increment": "0.00000001",
    "quote_min_size": "1",
    "status": "online",
}


def answers(path: str) -> tuple[int, bytes]:
    if path.startswith("/api/v3/brokerage/market/products/BTC-USD"):
        return 200, json.dumps(PRODUCT).encode()
    return 404, b"{}"


def book(price: int) -> bytes:
    levels = [("bid", f"{price}.00", "1.5"), ("offer", f"{price}.01", "2")]
    return wire.l2(0, "snapshot", levels, "BTC-USD")


async def test_a_live_run_shows_the_book_recovers_from_a_cut_and_records_what_it_saw(
    tmp_path: Path,
) -> None:
    state = tmp_path / "s"
    async with StubVenue([[book(60_000)], [book(61_000)]], answers, after_messages=1) as venue:
        process = start(
            "run", "--headless", "--venue", "coinbase", "--symbol", "BTC-USD", "--state", state,
            "--config", practice(tmp_path), "--endpoint", venue.socket_address,
        )  # fmt: skip
        try:
            seen = await asyncio.to_thread(
                wait_for, state, process, lambda p: p.instruments[0].feed.state == "live"
            )
            assert (seen.account, seen.venue) == ("PAPER", "coinbase")
            assert seen.instruments[0].bids[0].price == "60000"
            venue.cut()
            seen = await asyncio.to_thread(
                wait_for, state, process,
                lambda p: p.instruments[0].bids and p.instruments[0].bids[0].price == "61000",
            )  # fmt: skip
            assert seen.instruments[0].feed.resyncs == 1
        finally:
            process.terminate()
            _, narration = await asyncio.to_thread(process.communicate, timeout=30)
    assert process.returncode == 0, narration
    (capture,) = (state / "captures").iterdir()
    done = tapewright("replay", capture, "--headless", "--summary", "-", "--state", tmp_path / "r",
                      "--config", practice(tmp_path))  # fmt: skip
    summary = json.loads(done.stdout)
    assert summary["instruments"]["BTC-USD"]["bids"] == [["61000", "1.5"]]
    assert (summary["frames"], summary["resyncs"]) == (2, 1)


async def test_a_symbol_the_venue_does_not_know_is_refused_in_one_line(tmp_path: Path) -> None:
    async with StubVenue([[]], answers) as venue:
        done = await asyncio.to_thread(
            tapewright, "run", "--headless", "--venue", "coinbase", "--symbol", "NO-PE",
            "--state", tmp_path / "s", "--endpoint", venue.socket_address,
        )  # fmt: skip
    assert done.returncode == 2
    assert "NO-PE" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_venue_that_is_not_there_asks_to_try_again(tmp_path: Path) -> None:
    done = tapewright("run", "--headless", "--venue", "binance", "--state", tmp_path / "s",
                      "--endpoint", "ws://127.0.0.1:9")  # fmt: skip
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1


async def test_recording_without_an_engine_writes_a_capture_that_replays(tmp_path: Path) -> None:
    out = tmp_path / "day.jsonl.gz"
    async with StubVenue([[book(60_000)]], answers, after_messages=1) as venue:
        done = await asyncio.to_thread(
            tapewright, "record", "--venue", "coinbase", "--symbol", "BTC-USD", "--out", out,
            "--duration", "2", "--endpoint", venue.socket_address,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        again = await asyncio.to_thread(
            tapewright, "record", "--venue", "coinbase", "--symbol", "BTC-USD", "--out", out,
            "--duration", "2", "--endpoint", venue.socket_address,
        )  # fmt: skip
    assert again.returncode == 2
    assert "exists" in again.stderr
    replayed = tapewright("replay", out, "--headless", "--summary", "-", "--state", tmp_path / "r")
    assert json.loads(replayed.stdout)["instruments"]["BTC-USD"]["state"] == "live"
