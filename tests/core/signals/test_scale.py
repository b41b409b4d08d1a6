"""Tests for core.signals.scale: past data only, bounded, one signal a second."""

from __future__ import annotations

import numpy as np
import pytest

from core.clock import NS_PER_S
from core.signals.scale import HISTORY_S, MIN_HISTORY, SCALE_MIN, RobustScales


def test_the_fixed_scale_holds_until_there_is_a_history() -> None:
    scales = RobustScales((0.5,))
    for second in range(MIN_HISTORY - 1):
        scales.take(second * NS_PER_S, [9.0])
    assert scales.values.tolist() == [0.5]
    scales.take(MIN_HISTORY * NS_PER_S, [9.0])
    assert scales.values.tolist() == [9.0]


def test_the_scale_is_the_eightieth_percentile_of_size() -> None:
    scales = RobustScales((1.0, 1.0))
    rng = np.random.default_rng(1)
    for second in range(HISTORY_S):
        value = float(rng.uniform(-1, 1))
        scales.take(second * NS_PER_S, [value, 10 * value])
    assert scales.values == pytest.approx([0.8, 8.0], rel=0.05)


def test_at_most_one_sample_a_second_is_taken() -> None:
    scales = RobustScales((1.0,))
    for step in range(1_000):
        scales.take(step * NS_PER_S // 100, [5.0])
    assert scales.values.tolist() == [1.0]


def test_what_is_not_present_is_no_sample() -> None:
    scales = RobustScales((0.5, 0.5))
    for second in range(500):
        scales.take(second * NS_PER_S, [None, 2.0])
    assert scales.values.tolist() == [0.5, 2.0]


def test_silence_does_not_blow_a_signal_up() -> None:
    scales = RobustScales((0.5,))
    for second in range(500):
        scales.take(second * NS_PER_S, [0.0])
    assert scales.values.tolist() == [0.5 * SCALE_MIN]


def test_old_samples_leave_the_window() -> None:
    scales = RobustScales((1.0,))
    for second in range(2 * HISTORY_S):
        scales.take(second * NS_PER_S, [100.0 if second < HISTORY_S else 2.0])
    assert scales.values.tolist() == [2.0]
