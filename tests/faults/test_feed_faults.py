"""Seeded faults between venue and protocol: a believed book is the venue's, or is not believed.

What each venue can prove differs. Binance (ids a symbol, tickers beside them), Coinbase Advanced
and the simulated venue (a sequence) prove every lost book frame. Coinbase Exchange and Alpaca
number nothing: a frame lost whole cannot be seen, so their books are held to the frames that
arrived, and a frame that arrived damaged is a loss that was seen.

Long runs: ``python bench/fuzz.py faults`` and ``python bench/fuzz.py sockets``.
"""

from __future__ import annotations

from typing import Any

import pytest

from core.feeds.stitch import Chain
from core.stub.faults import FAULTS
from tests.faults.running import Run
from tests.faults.sockets import SocketRun
from tests.faults.venues import cases

SEEDS = 2
SOCKET_SAMPLE = (
    *(("binance", name) for name in ("drop", "freeze", "cut_mid_frame", "oversized", "429")),
    *(("coinbase", name) for name in ("reorder", "close", "giant", "lost_snapshot")),
    *(("coinbase-exchange", name) for name in ("garbage", "stall")),
    *(("alpaca", name) for name in ("freeze", "truncated")),
    ("alpaca-crypto", "mixed"),
)
HARMLESS = ("none", "duplicate", "delay", "stall", "unknown", "clock_offset")
"""Nothing is lost in these, so a venue that proves its order must not lose its books either."""


@pytest.mark.parametrize(("venue", "name"), cases())
def test_book_is_never_silently_wrong_and_heals(venue: str, name: str) -> None:
    for seed in range(SEEDS):
        outcome = Run(venue, FAULTS[name], seed).play()
        assert outcome.wrong == [], outcome
        assert outcome.recover_ns is not None


@pytest.mark.slow
@pytest.mark.parametrize(("venue", "name"), SOCKET_SAMPLE)
def test_over_real_sockets_a_book_is_never_silently_wrong_and_heals(venue: str, name: str) -> None:
    for seed in range(SEEDS):
        outcome = SocketRun(venue, FAULTS[name], seed).play()
        assert outcome.wrong == [], outcome
        assert outcome.recover_ns is not None


@pytest.mark.parametrize(
    ("venue", "name"),
    [
        (venue, name)
        for venue, name in cases()
        if venue in {"binance", "coinbase", "sim"}
        and name in {"drop", "freeze", "garbage", "off_grid", "book_freezes", "mixed"}
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


@pytest.mark.parametrize("venue", ["binance", "coinbase"])
def test_same_seed_plays_the_same_run_over_sockets(venue: str) -> None:
    first, second = (SocketRun(venue, FAULTS["drop"], 5).play() for _ in range(2))
    assert first == second


@pytest.mark.slow
def test_crypto_books_that_lost_frames_unseen_are_right_again_after_their_age() -> None:
    """The same seeds, with books asked for anew every second and all but never."""
    often, never = (
        [
            SocketRun("alpaca-crypto", FAULTS["drop"], seed, refresh_after_s=age_s).play()
            for seed in range(6)
        ]
        for age_s in (1, 900)
    )
    assert [each.wrong for each in often] == [[]] * 6
    assert sum(each.n_unseen for each in often) == 0
    assert sum(each.n_unseen for each in never) > 0


@pytest.mark.slow
def test_asking_for_crypto_books_anew_costs_no_time_in_which_they_are_not_live() -> None:
    outcome = SocketRun("alpaca-crypto", FAULTS["none"], 1, refresh_after_s=1).play()
    assert (outcome.wrong, outcome.outages_ns) == ([], [])


@pytest.mark.parametrize("venue", ["coinbase-exchange", "alpaca-crypto"])
def test_frames_that_a_venue_does_not_number_can_be_lost_unseen(venue: str) -> None:
    """Not a merit but a fact of these feeds, said here so that nobody believes more."""
    outcomes = [Run(venue, FAULTS["drop"], seed).play() for seed in range(12)]
    assert all(each.wrong == [] for each in outcomes)
    assert sum(each.n_unseen > 0 for each in outcomes) > 2
    # Trades are numbered, and best prices are told elsewhere too: some losses do show.
    assert sum(each.detect_ns is not None for each in outcomes) > 2


# --- the judge itself: a protocol broken on purpose is caught


def test_the_judge_sees_a_gap_that_is_overlooked(monkeypatch: pytest.MonkeyPatch) -> None:
    break_kernel(monkeypatch)
    monkeypatch.setattr(Chain, "has_gap_before", lambda self, event: False)
    assert [each for each in findings("binance", "drop") if each.startswith(("book", "touch"))]


def test_the_judge_sees_a_snapshot_that_does_not_meet_the_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Chain, "meets", lambda self, snapshot: True)
    assert [each for each in findings("binance", "old_snapshot") if each.startswith("book")]


@pytest.mark.parametrize(("venue", "name"), [("coinbase", "drop"), ("coinbase", "reorder")])
@pytest.mark.parametrize("run", [Run, SocketRun])
def test_the_judge_sees_a_sequence_that_is_not_followed(
    venue: str, name: str, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.feeds.coinbase import CoinbaseProtocol

    break_kernel(monkeypatch)

    def take_any(self: Any, outputs: object, number: int, recv_ns: int) -> bool:
        self._sequence = number
        return True

    monkeypatch.setattr(CoinbaseProtocol, "_is_next", take_any)
    assert [each for seed in range(6) for each in run(venue, FAULTS[name], seed).play().wrong]


def test_the_judge_sees_a_book_that_is_only_old(monkeypatch: pytest.MonkeyPatch) -> None:
    break_kernel(monkeypatch)
    monkeypatch.setattr(Chain, "is_impossible", lambda self, event: False)
    assert [each for each in findings("binance", "ids_go_back") if each.startswith("old")]


def test_the_judge_sees_a_storm_of_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    from core.feeds.binance import BinanceProtocol
    from core.feeds.budget import Budget, Spacing

    ask = BinanceProtocol._ask_snapshot

    def at_once(self: Any, outputs: list[object], index: int, now_ns: int) -> None:
        symbol = self._symbols[index]
        symbol.attempts, symbol.budget, self._spacing = 0, Budget(1_000, 1), Spacing(1)
        ask(self, outputs, index, now_ns)  # type: ignore[arg-type]

    monkeypatch.setattr(BinanceProtocol, "_ask_snapshot", at_once)
    assert [each for each in findings("binance", "failed_http") if each.startswith("storm")]


def break_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the plain path read everything: what is broken below is broken there."""
    for venue in ("binance", "coinbase"):
        name = {"binance": "BinanceProtocol", "coinbase": "CoinbaseProtocol"}[venue]
        where = f"core.feeds.{venue}.{name}.uses_kernel"
        monkeypatch.setattr(where, False, raising=False)


def findings(venue: str, name: str) -> list[str]:
    return [each for seed in range(8) for each in Run(venue, FAULTS[name], seed).play().wrong]
