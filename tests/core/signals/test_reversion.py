"""Tests for core.signals.reversion: a score where the mid comes back, none where it wanders."""

from __future__ import annotations

import math

import numpy as np
import pytest

from core.clock import NS_PER_S
from core.signals.reversion import MIN_SECONDS, Z_MAX, Reversion


def feed(reversion: Reversion, mids: np.ndarray) -> list[float | None]:
    return [reversion.read((second + 1) * NS_PER_S, float(mid)) for second, mid in enumerate(mids)]


def pulled(rng: np.random.Generator, n: int, keep: float) -> np.ndarray:
    """Return an AR(1) around 1000 ticks."""
    x = np.zeros(n)
    for t in range(1, n):
        x[t] = keep * x[t - 1] + rng.normal()
    return 1000.0 + x


@pytest.mark.slow
def test_about_one_random_walk_in_twenty_looks_as_if_it_came_back() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(300):
        reversion = Reversion()
        score = feed(reversion, 1000.0 + np.cumsum(rng.normal(size=600)))[-1]
        hits += score is not None
    assert 0.02 < hits / 300 < 0.09


@pytest.mark.slow
def test_a_mid_that_comes_back_is_seen() -> None:
    rng = np.random.default_rng(0)
    scores = feed(Reversion(), pulled(rng, 2_000, 0.8))[600:]
    assert np.mean([score is not None for score in scores]) > 0.95


def test_the_score_points_back_to_the_mean() -> None:
    rng = np.random.default_rng(1)
    mids = pulled(rng, 900, 0.7)
    spread = 1.0 / math.sqrt(1.0 - 0.49)
    low, high = Reversion(), Reversion()
    below = feed(low, np.append(mids, 1000.0 - 2 * spread))[-1]
    above = feed(high, np.append(mids, 1000.0 + 2 * spread))[-1]
    assert below == pytest.approx(2.0, abs=0.6)
    assert above == pytest.approx(-2.0, abs=0.6)


def test_there_is_no_score_before_enough_seconds() -> None:
    scores = feed(Reversion(), pulled(np.random.default_rng(1), MIN_SECONDS, 0.2))
    assert all(score is None for score in scores)


def test_a_mid_that_stands_still_has_no_score() -> None:
    assert feed(Reversion(), np.full(600, 1000.0))[-1] is None


def test_a_jump_of_the_mid_is_cut() -> None:
    mids = np.append(pulled(np.random.default_rng(1), 600, 0.5), 5_000.0)
    reversion = Reversion()
    feed(reversion, mids[:-1])
    # within the same second, so that the fit has not seen it
    assert reversion.read(600 * NS_PER_S + 1, 5_000.0) == -Z_MAX


def test_a_silence_forgets_the_past() -> None:
    reversion = Reversion()
    assert feed(reversion, pulled(np.random.default_rng(1), 600, 0.5))[-1] is not None
    assert reversion.read(700 * NS_PER_S, 990.0) is None
    assert reversion.t_statistic == 0.0


def test_the_cadence_of_reading_does_not_change_the_fit() -> None:
    mids = pulled(np.random.default_rng(1), 500, 0.5)
    slow, quick = Reversion(), Reversion()
    feed(slow, mids)
    for second, mid in enumerate(mids):
        for part in range(4):
            quick.read((second + 1) * NS_PER_S + part * NS_PER_S // 4, float(mid) + part * 0.1)
    assert quick.t_statistic == slow.t_statistic
