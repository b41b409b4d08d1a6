"""Seeded faults between venue and protocol: a believed book is the venue's, or is not believed.

What each venue can prove differs. Binance (ids a symbol, tickers beside them), Coinbase Advanced
and the simulated venue (a sequence) prove every lost book frame. Coinbase Exchange and Alpaca
number nothing: a frame lost whole cannot be seen, so their books are held to the frames that
arrived, and a frame that arrived damaged is a loss that was seen.

Long runs: ``python bench/fuzz.py faults``.
"""

from __future__ import annotations

import pytest

from core.feeds.stitch import Chain
from tests.faults.faults import FAULTS
from tests.faults.running import Run
from tests.faults.venue_model import MODELS

SEEDS = 2
CASES = [(venue, name) for venue in MODELS for name, each in FAULTS.items() if venue in each.venues]
HARMLESS = ("none", "duplicate", "delay", "stall", "unknown", "clock_offset")
"""Nothing is lost in these, so a venue that proves its order must not lose its books either."""


@pytest.mark.parametrize(("venue", "name"), CASES)
def test_book_is_never_silently_wrong_and_heals(venue: str, name: str) -> None:
    for seed in range(SEEDS):
        outcome = Run(venue, FAULTS[name], seed).play()
        assert outcome.wrong == [], outcome
        assert outcome.recover_ns is not None


@pytest.mark.parametrize(
    ("venue", "name"),
    [
        (venue, name)
        for venue in ("binance", "coinbase", "sim")
        for name in ("drop", "freeze", "garbage", "off_grid", "book_freezes", "mixed")
        if venue in FAULTS[name].venues
    ],
)
def test_loss_is_noticed_where_the_venue_proves_it(venue: str, name: str) -> None:
    outcome = Run(venue, FAULTS[name], 1).play()
    assert outcome.detect_ns is not None
    assert outcome.outages_ns


@pytest.mark.parametrize("name", HARMLESS)
@pytest.mark.parametrize("venue", ["binance", "coinbase"])
def test_what_loses_nothing_costs_no_book(venue: str, name: str) -> None:
    run = Run(venue, FAULTS[name], 1)
    assert run.play().wrong == []
    assert run.protocol.counters.gaps == 0
    assert run.protocol.counters.resyncs == 0


@pytest.mark.parametrize("venue", ["binance", "coinbase", "coinbase-exchange"])
def test_same_seed_plays_the_same_run(venue: str) -> None:
    first, second = (Run(venue, FAULTS["drop"], 5).play() for _ in range(2))
    assert first == second


def test_lost_frames_of_a_venue_that_numbers_nothing_show_only_as_a_crossed_book() -> None:
    """Not a merit but a fact of these feeds, said here so that nobody believes more."""
    wrong = crossed = 0
    for seed in range(12):
        run = Run("coinbase-exchange", FAULTS["drop"], seed)
        outcome = run.play()
        assert outcome.wrong == []
        assert outcome.detect_ns is None
        feed, market = run.protocol.instruments[0], run.model.markets[0]
        wrong += any(feed.book.levels(side) != market.sides[side] for side in (0, 1))
        crossed += feed.crossed > 0
    assert wrong > 6
    assert 0 < crossed <= wrong


# --- the judge itself: a protocol broken on purpose is caught


def test_the_judge_sees_a_gap_that_is_overlooked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Chain, "has_gap_before", lambda self, event: False)
    assert [each for each in findings("binance", "drop") if each.startswith(("book", "touch"))]


def test_the_judge_sees_a_snapshot_that_does_not_meet_the_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Chain, "meets", lambda self, snapshot: True)
    assert [each for each in findings("binance", "old_snapshot") if each.startswith("book")]


@pytest.mark.parametrize(("venue", "name"), [("coinbase", "drop"), ("coinbase", "reorder")])
def test_the_judge_sees_a_sequence_that_is_not_followed(
    venue: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.feeds.coinbase import CoinbaseProtocol

    def take_any(self: CoinbaseProtocol, outputs: object, number: int, recv_ns: int) -> bool:
        self._sequence = number
        return True

    monkeypatch.setattr(CoinbaseProtocol, "_is_next", take_any)
    assert findings(venue, name)


def test_the_judge_sees_a_book_that_is_only_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Chain, "is_impossible", lambda self, event: False)
    assert [each for each in findings("binance", "ids_go_back") if each.startswith("old")]


def test_the_judge_sees_a_storm_of_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    from core.feeds.binance import BinanceProtocol

    ask = BinanceProtocol._ask_snapshot

    def at_once(self: BinanceProtocol, outputs: list[object], index: int, now_ns: int) -> None:
        self._symbols[index].attempts, self._next_fetch_ns = 0, 0
        ask(self, outputs, index, now_ns)  # type: ignore[arg-type]

    monkeypatch.setattr(BinanceProtocol, "_ask_snapshot", at_once)
    assert [each for each in findings("binance", "failed_http") if each.startswith("storm")]


def findings(venue: str, name: str) -> list[str]:
    return [each for seed in range(8) for each in Run(venue, FAULTS[name], seed).play().wrong]
