"""The long stream that the benchmarks make of a capture ends where its end can be seen."""

from __future__ import annotations

import json

from bench.rounds import Rounds
from core.feeds.capture import CaptureMeta
from core.feeds.recorder import CaptureWriter
from tests.core.feeds.wire import MS, T0, binance, depth, depth_url, instrument, snapshot, ticker

BID, ASK = ["100.00", "1.0"], ["101.00", "1.0"]


def rounds(tmp_path) -> Rounds:
    """Return rounds of a depth event, three tickers, and the event that goes back."""
    one = instrument("binance", "BTCUSDT")
    path = tmp_path / "c.jsonl.gz"
    writer = CaptureWriter(path, CaptureMeta("binance", (one.name,), (one,)))
    writer.fetched(T0, depth_url(), snapshot(100, [BID], [ASK]))
    event = json.loads(depth(101, 101, [["100.00", "2.0"]]))
    event["data"]["E"] = T0 // MS
    told = json.loads(ticker(101, ["100.00", "2.0"], ASK))
    for each in (event, told, told, told):
        # Without spaces, as the venue sends it.
        writer.received(T0, json.dumps(each, separators=(",", ":")).encode())
    writer.finish()
    return Rounds(path)


def test_count_is_rounded_up_to_a_message_that_brings_an_event(tmp_path):
    # Found by --count 150000: the last message was a ticker, and the run waited for its event.
    made = rounds(tmp_path)
    assert [made.ending_in_event(count) for count in range(1, 8)] == [1, 5, 5, 5, 5, 6, 10]
    for count in (1, 5, 6, 10):
        protocol = binance()
        protocol.on_http(depth_url(), made.snapshot(), T0)
        outputs = [protocol.receive(frame, T0) for frame in made.frames(count)]
        assert outputs[-1]
        assert not any(outputs[1:4])
