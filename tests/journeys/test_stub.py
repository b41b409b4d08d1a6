"""The stub venue as a user starts it, and the program against it."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest

from tests.journeys.program import practice, start, tapewright, wait_for

pytestmark = pytest.mark.slow


@contextmanager
def stub(*words: str | Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Start a stub venue and give its address; it must end cleanly when asked to."""
    process = start("stub", *words)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip(), process
    finally:
        process.send_signal(signal.SIGINT)
        _, narration = process.communicate(timeout=30)
    assert process.returncode == 0, narration


def get(address: str, path: str) -> dict[str, object]:
    opener = build_opener(ProxyHandler({}))
    with opener.open(address.replace("ws://", "http://") + path, timeout=10) as reply:
        body: dict[str, object] = json.loads(reply.read())
    return body


@pytest.mark.parametrize(
    ("venue", "symbol"),
    [("binance", "BTCUSDT"), ("coinbase", "BTC-USD"), ("coinbase-exchange", "ETH-USD"),
     ("alpaca", "SPY"), ("alpaca", "BTC/USD")],
)  # fmt: skip
def test_the_program_runs_on_a_stub_of_every_venue(tmp_path: Path, venue: str, symbol: str) -> None:
    state = tmp_path / "s"
    with stub("--venue", venue, "--symbol", symbol, "--speed", "20", "--seed", "7") as (where, _):
        process = start(
            "run", "--headless", "--venue", venue, "--symbol", symbol, "--state", state,
            "--config", practice(tmp_path), "--endpoint", where, "--mode", "observe",
        )  # fmt: skip
        try:
            seen = wait_for(
                state, process,
                lambda p: p.instruments[0].feed.state == "live" and p.instruments[0].bids,
            )  # fmt: skip
            assert seen.instruments[0].bids[0].price
            own = get(where, "/stub/state")
            assert own["venue"] == venue
        finally:
            process.terminate()
            _, narration = process.communicate(timeout=30)
    assert process.returncode == 0, narration


def test_a_capture_of_a_stub_with_faults_replays(tmp_path: Path) -> None:
    out = tmp_path / "day.jsonl.gz"
    faults = ("--fault", "drop:0.05", "--fault", "cut:2s", "--seed", "7")
    with stub("--venue", "coinbase", "--speed", "20", *faults) as (where, _):
        done = tapewright(
            "record", "--venue", "coinbase", "--symbol", "BTC-USD", "--out", out,
            "--duration", "6", "--endpoint", where,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    replayed = tapewright("replay", out, "--headless", "--summary", "-", "--state", tmp_path / "r")
    summary = json.loads(replayed.stdout)
    assert summary["frames"] > 50
    # Whether it was lost or cut, the book came back.
    assert summary["resyncs"] > 0


def test_a_stub_ends_after_its_duration() -> None:
    done = tapewright("stub", "--venue", "binance", "--duration", "1", timeout_s=30)
    assert done.returncode == 0
    assert done.stdout.startswith("ws://127.0.0.1:")
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [("stub",), ("stub", "--venue", "sim"), ("stub", "--venue", "binance", "--fault", "nope"),
     ("stub", "--venue", "binance", "--loop"), ("stub", "--venue", "binance", "--speed", "0"),
     ("stub", "--venue", "coinbase", "--symbol", "BTC-USD", "--symbol", "BTC-USD"),
     ("stub", "--capture", "nothing.jsonl.gz"), ("stub", "--venue", "binance", "--symbol", "X")],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_one_line(words: tuple[str, ...]) -> None:
    done = tapewright(*words, timeout_s=30)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
