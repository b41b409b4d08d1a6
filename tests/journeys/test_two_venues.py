"""One engine on two venues at once, both on the loopback; one is cut while the other goes on."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.core.feeds import wire
from tests.core.feeds.test_registry import BINANCE
from tests.journeys.program import practice, start, tapewright, wait_for
from tests.journeys.test_live import answers, book
from tests.stub_venue import StubVenue

pytestmark = pytest.mark.slow

ASKS = [["60000.01", "2.0"]]


def binance_answers(path: str) -> tuple[int, bytes]:
    if path.startswith("/api/v3/exchangeInfo"):
        return 200, json.dumps(BINANCE).encode()
    return 200, wire.snapshot(100, [["59999.99", "1.0"]], ASKS)


def find(picture, name: str):
    return next(each for each in picture.instruments if each.name == name)


async def test_a_cut_at_one_venue_is_nothing_to_the_other_and_each_is_recorded(
    tmp_path: Path,
) -> None:
    state = tmp_path / "s"
    script = [wire.depth(100, 101, bids=[["60000.00", "2.0"]], asks=ASKS)]
    async with (
        StubVenue([script], binance_answers) as binance,
        StubVenue([[book(61_000)], [book(62_000)]], answers, after_messages=1) as coinbase,
    ):
        process = start(
            "run", "--headless", "--venue", "binance", "--venue", "coinbase",
            "--symbol", "binance:BTCUSDT", "--symbol", "coinbase:BTC-USD", "--state", state,
            "--config", practice(tmp_path), "--endpoint",
            f"binance={binance.socket_address},coinbase={coinbase.socket_address}",
        )  # fmt: skip
        try:
            seen = await asyncio.to_thread(
                wait_for, state, process,
                lambda p: [each.feed.state for each in p.instruments] == ["live", "live"],
            )  # fmt: skip
            assert seen.venue == "binance+coinbase"
            assert find(seen, "BTCUSDT").bids[0].price == "60000"
            assert find(seen, "BTC-USD").bids[0].price == "61000"
            coinbase.cut()
            seen = await asyncio.to_thread(
                wait_for, state, process,
                lambda p: find(p, "BTC-USD").bids and find(p, "BTC-USD").bids[0].price == "62000",
            )  # fmt: skip
            assert find(seen, "BTC-USD").feed.resyncs == 1
            assert find(seen, "BTCUSDT").feed.resyncs == 0
            assert find(seen, "BTCUSDT").feed.state == "live"
            assert len(binance.sockets) == 1
            coinbase.refusals = [503] * 100  # the run is to end while it is away
            coinbase.cut()
            await asyncio.to_thread(
                wait_for, state, process,
                lambda p: find(p, "BTC-USD").feed.state != "live",
            )  # fmt: skip
        finally:
            process.terminate()
            _, narration = await asyncio.to_thread(process.communicate, timeout=30)
    assert process.returncode == 0, narration
    assert sorted(each.name.split("-")[0] for each in (state / "captures").iterdir()) == [
        "binance",
        "coinbase",
    ]
    done = tapewright("ledger", "verify", "--state", state)
    assert done.returncode == 0, done.stderr
    receipt = tmp_path / "receipt.json"
    done = tapewright("ledger", "replay", "last", "--state", state, "--out", receipt)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = json.loads(receipt.read_bytes())["receipt"]["counts"]
    assert counts["events"] == counts["events_equal"] > 5  # the cuts are told by some
    assert counts["points"] == counts["points_equal"] > 0
    capture, *_ = (state / "captures").glob("coinbase-*")
    done = tapewright("ledger", "replay", "last", "--state", state, "--capture", capture)
    assert done.returncode == 1
    assert "no recording of binance is given" in done.stdout
    for capture in (state / "captures").iterdir():
        done = tapewright("replay", capture, "--headless", "--summary", "-", "--state",
                          tmp_path / capture.name[:8], "--config", practice(tmp_path))  # fmt: skip
        assert done.returncode == 0, done.stderr
        (summary,) = json.loads(done.stdout)["instruments"].values()
        assert summary["state"] == "live"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--venue binance --venue coinbase --symbol BTCUSDT", "VENUE:SYMBOL"),
        ("--venue binance --symbol coinbase:BTC-USD", "VENUE:SYMBOL"),
        ("--venue binance --venue binance", "named twice"),
        ("--venue sim --venue binance", "runs alone"),
    ],
)
def test_venues_and_symbols_that_do_not_fit_are_refused_in_one_line(words, said, tmp_path) -> None:
    done = tapewright("run", "--headless", "--state", tmp_path / "s", *words.split())
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
