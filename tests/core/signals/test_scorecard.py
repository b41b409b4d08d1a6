"""Tests for core.signals.scorecard: rolling skill, moves, calibration."""

from __future__ import annotations

import math

import numpy as np
import pytest

from core.signals.scorecard import Scorecard


def filled(window: int, n: int, seed: int = 1) -> tuple[Scorecard, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.1, 0.9, n)
    up = (rng.random(n) < p).astype(float)
    card = Scorecard(window)
    for each, outcome in zip(p, up, strict=True):
        card.take_label(float(each), 0.5, float(outcome))
    return card, p, up


@pytest.mark.parametrize("n", [40, 100, 250])
def test_skill_is_over_the_last_window_of_labels(n: int) -> None:
    card, p, up = filled(100, n)
    p, up = p[-100:], up[-100:]
    expected = 1.0 - ((p - up) ** 2).sum() / ((0.5 - up) ** 2).sum()
    assert card.skill() == pytest.approx(expected, abs=1e-12)
    losses, base_losses = card.losses()
    np.testing.assert_array_equal(losses, (p - up) ** 2)  # oldest first
    np.testing.assert_array_equal(base_losses, (0.5 - up) ** 2)


def test_no_label_is_no_skill() -> None:
    assert Scorecard(10).skill() == 0.0


def test_moves_are_averaged_with_ties() -> None:
    card = Scorecard(10)
    for move in (2.0, 0.0, -4.0, 0.0):
        card.take_move(move)
    assert card.moved_share == pytest.approx(0.5)
    assert card.mean_move_ticks == pytest.approx(1.5)
    assert (card.n_samples, card.n_labels) == (4, 0)


def test_old_moves_fade_beyond_the_window() -> None:
    card = Scorecard(50)
    for move in [10.0] * 50 + [0.0] * 500:
        card.take_move(move)
    assert card.mean_move_ticks < 0.001


def test_bins_hold_equal_numbers_and_cover_the_frequency() -> None:
    card, p, up = filled(2_000, 2_000)
    calibration = card.calibration()
    assert [b.n for b in calibration.bins] == [200] * 10
    order = np.argsort(p)
    assert calibration.bins[0].mean_p == pytest.approx(p[order[:200]].mean())
    assert calibration.bins[9].frequency == pytest.approx(up[order[-200:]].mean())
    assert all(b.low < b.frequency < b.high for b in calibration.bins)
    # 95 % intervals of ten bins of a calibrated forecast: one miss may happen
    assert sum(b.low <= b.mean_p <= b.high for b in calibration.bins) >= 8


def test_a_calibrated_forecast_shows_about_the_floor_of_error() -> None:
    errors = [filled(1_000, 1_000, seed)[0].calibration() for seed in range(10)]
    mean = float(np.mean([each.expected_error for each in errors]))
    assert errors[0].error_floor == pytest.approx(0.8 * math.sqrt(0.25 * 10 / 1_000), rel=0.01)
    assert 0.6 < mean / errors[0].error_floor < 1.4


def test_a_boastful_forecast_shows_far_more_than_the_floor() -> None:
    card = Scorecard(1_000)
    rng = np.random.default_rng(1)
    for outcome in (rng.random(1_000) < 0.5).astype(float):
        card.take_label(float(rng.choice([0.05, 0.95])), 0.5, float(outcome))
    calibration = card.calibration()
    assert calibration.expected_error > 5 * calibration.error_floor
    assert calibration.log_loss > calibration.log_loss_base == pytest.approx(math.log(2.0))
    assert card.skill() < -0.5


def test_wilson_interval_is_the_published_one() -> None:
    # 10 of 20: (0.299, 0.701), the textbook case
    card = Scorecard(200)
    for k in range(200):
        card.take_label(0.1 + 0.004 * k, 0.5, float(k % 2))
    first = card.calibration().bins[0]
    assert (first.frequency, first.n) == (0.5, 20)
    assert (first.low, first.high) == pytest.approx((0.299, 0.701), abs=0.001)
