"""Every capture there is replays to what a naive reading of it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config import Settings
from core.feeds.capture import read_capture
from core.feeds.registry import protocol_for
from core.feeds.replaying import give, without_last_close
from core.feeds.summary import summary
from core.model.market import FeedState
from tests.core.feeds.wire import T0, binance, depth, depth_url, instrument, settings, snapshot
from tests.oracle import naive_summary

CAPTURES = Path(__file__).resolve().parents[3] / ".." / "shared" / "captures"
FILES = sorted(CAPTURES.glob("*.jsonl.gz"))


def replayed(path):
    reader = read_capture(path)
    protocol = protocol_for(reader.meta.venue, reader.meta.instruments, Settings())
    for record in without_last_close(reader):
        give(protocol, record)
    assert not reader.was_cut
    return protocol


@pytest.mark.captures
@pytest.mark.slow
@pytest.mark.parametrize("path", FILES or [None], ids=lambda path: path.name if path else "none")
def test_capture_replays_to_the_naive_reading(path):
    if path is None:
        pytest.skip(f"no captures in {CAPTURES}")
    protocol = replayed(path)
    assert summary(protocol) == naive_summary(path)
    assert all(feed.state is FeedState.LIVE for feed in protocol.instruments)


@pytest.mark.captures
@pytest.mark.slow
def test_book_agrees_with_every_ticker_of_the_same_update_id():
    path = CAPTURES / "binance_btcusdt_2024-08-08.jsonl.gz"
    if not path.exists():
        pytest.skip(f"no capture at {path}")
    counters = replayed(path).counters
    assert (counters.checks, counters.checks_failed) == (1_072, 0)


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (FeedState.CONNECTING, "resyncing"),
        (FeedState.BUFFERING, "resyncing"),
        (FeedState.RESYNCING, "resyncing"),
        (FeedState.LIVE, "live"),
        (FeedState.SUSPECT, "stale"),
        (FeedState.STALE, "stale"),
        (FeedState.HALTED, "halted"),
    ],
)
def test_every_state_has_a_word_of_the_contract(state, word):
    protocol = binance()
    protocol.instruments[0].state = state
    assert summary(protocol)["instruments"]["BTCUSDT"]["state"] == word


def test_summary_before_any_frame_invents_nothing():
    protocol = protocol_for("binance", [instrument("binance", "BTCUSDT")], settings())
    assert summary(protocol) == {
        "venue": "binance",
        "frames": 0,
        "refused": 0,
        "gaps": 0,
        "resyncs": 0,
        "instruments": {
            "BTCUSDT": {
                "state": "resyncing",
                "bids": [],
                "asks": [],
                "trades": 0,
                "buy_volume": "0",
                "sell_volume": "0",
                "unknown_volume": "0",
                "last_trade": None,
                "crossed": 0,
            }
        },
    }


def test_levels_are_the_ten_best_as_plain_text_best_first():
    protocol = binance()
    bids = [[f"{90 + n}.50", "1.50000000"] for n in range(12)]
    protocol.on_http(depth_url(), snapshot(1, bids, [["200.00", "2.00000000"]]), T0)
    protocol.receive(depth(2, 2), T0)
    read = summary(protocol)["instruments"]["BTCUSDT"]
    assert len(read["bids"]) == 10
    assert read["bids"][0] == ["101.5", "1.5"]
    assert read["asks"] == [["200", "2"]]
