"""Tests for core.signals.microprice against chains whose answer is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from core.clock import NS_PER_MS, NS_PER_S
from core.signals.microprice import MIN_MOVES, REFIT_S, Microprice, spread_edges

STEP_NS = 250 * NS_PER_MS


def two_sided_chain(
    rng: np.random.Generator, n: int, flip: float, move: float
) -> list[tuple[float, float]]:
    """Return (imbalance, mid) of a book that leans one way, then flips or moves its mid.

    A step flips the lean with probability ``flip``; it moves the mid one tick with the lean
    with probability ``move`` and then draws a fresh lean.
    """
    lean, mid, path = 1, 1000.0, []
    for chance, fresh in zip(rng.random(n), rng.choice([-1, 1], n), strict=True):
        path.append((0.9 * lean, mid))
        if chance < flip:
            lean = -lean
        elif chance < flip + move:
            mid += lean
            lean = int(fresh)
    return path


def feed(microprice: Microprice, path: list[tuple[float, float]], spread_ticks: float = 1.0) -> int:
    now_ns = NS_PER_S
    for imbalance, mid in path:
        microprice.observe(now_ns, imbalance, spread_ticks, mid)
        now_ns += STEP_NS
    return now_ns


@pytest.mark.slow
@pytest.mark.parametrize(("flip", "move"), [(0.05, 0.10), (0.30, 0.05)])
def test_adjustment_is_that_of_the_chain_worked_by_hand(flip: float, move: float) -> None:
    # g = move + flip * (-g) + (1 - flip - move) * g, and after a move the lean is even
    expected = move / (move + 2.0 * flip)
    microprice = Microprice()
    feed(microprice, two_sided_chain(np.random.default_rng(3), 20_000, flip, move))
    offset = microprice.offset_ticks(0.9, 1.0)
    assert offset == pytest.approx(expected, rel=0.1)
    assert microprice.offset_ticks(-0.9, 1.0) == -offset
    assert microprice.offset_ticks(0.0, 1.0) == 0.0


@pytest.mark.slow
def test_adjustment_is_the_expected_mid_far_ahead() -> None:
    """A book that drifts between ten leans and moves its mid with them, fresh after a move."""
    levels = np.linspace(-0.9, 0.9, 10)
    moves = 0.15 * np.abs(levels)
    drift = np.zeros((10, 10))
    for k in range(10):
        drift[k, max(0, k - 1)] += 0.5
        drift[k, min(9, k + 1)] += 0.5
    onward = moves[:, None] * np.full((10, 10), 0.1) + (1.0 - moves)[:, None] * drift
    truth, step = np.zeros(10), moves * np.sign(levels)
    for _ in range(3_000):  # the mid expected after 3000 steps, step by step
        truth += step
        step = onward @ step

    rng = np.random.default_rng(9)
    path, place, mid = [], 5, 1000.0
    for chance, fresh in zip(rng.random(40_000), rng.integers(0, 10, 40_000), strict=True):
        path.append((float(levels[place]), mid))
        if chance < moves[place]:
            mid += np.sign(levels[place])
            place = int(fresh)
        else:
            place = min(9, max(0, place + (1 if fresh % 2 else -1)))
    microprice = Microprice()
    feed(microprice, path)
    seen = [microprice.offset_ticks(float(level), 1.0) for level in levels]
    assert truth[9] > 0.7
    np.testing.assert_allclose(seen, truth, atol=0.08)


def test_solution_is_the_sum_of_stoikovs_series() -> None:
    rng = np.random.default_rng(4)
    microprice = Microprice()
    path = two_sided_chain(rng, 2_000, 0.1, 0.3)
    feed(microprice, path)
    offset = microprice.offset_ticks(0.9, 1.0)

    # Q, T and R K of the same symmetrised transitions, over the two states that occur
    quiet, moved, gain, n = np.zeros((2, 2)), np.zeros((2, 2)), np.zeros(2), np.zeros(2)
    for (i0, m0), (i1, m1) in itertools.pairwise(path):
        for sign in (1, -1):
            start, end = int(sign * i0 < 0), int(sign * i1 < 0)
            n[start] += 1
            (quiet if m0 == m1 else moved)[start, end] += 1
            gain[start] += sign * (m1 - m0)
    away = np.linalg.inv(np.eye(2) - quiet / n[:, None])
    first, jump = away @ (gain / n), away @ (moved / n[:, None])
    series = sum(np.linalg.matrix_power(jump, k) @ first for k in range(7))
    # pseudo-counts, the first minute (spreads only) and ageing leave a small difference
    assert offset == pytest.approx(series[0], rel=0.1)


def test_there_is_no_microprice_before_enough_transitions() -> None:
    quiet = Microprice()
    feed(quiet, [(0.9, 1000.0)] * 2_000)
    assert quiet.offset_ticks(0.9, 1.0) is None
    short = Microprice()
    feed(short, two_sided_chain(np.random.default_rng(1), MIN_MOVES, 0.1, 0.9))
    assert short.offset_ticks(0.9, 1.0) is None


def test_no_transition_is_counted_across_doubt_or_silence() -> None:
    path = two_sided_chain(np.random.default_rng(1), 1_000, 0.1, 0.5)
    microprice = Microprice()
    now_ns = feed(microprice, path)
    before = microprice._n_moves
    microprice.observe(now_ns + 10 * NS_PER_S, 0.9, 1.0, 5_000.0)
    assert microprice._n_moves == before
    microprice.reset_chain()
    microprice.observe(now_ns + 10 * NS_PER_S + STEP_NS, 0.9, 1.0, 9_000.0)
    assert microprice._n_moves == before
    microprice.observe(now_ns + 10 * NS_PER_S + 2 * STEP_NS, 0.9, 1.0, 9_001.0)
    assert microprice._n_moves == before + 1


def test_one_jump_does_not_own_a_state() -> None:
    path = two_sided_chain(np.random.default_rng(2), 4_000, 0.1, 0.1)
    jumped = [(i, m + (1e6 if k > 3_000 else 0.0)) for k, (i, m) in enumerate(path)]
    offsets = []
    for each in (path, jumped):
        microprice = Microprice()
        feed(microprice, each)
        offsets.append(microprice.offset_ticks(0.9, 1.0))
    assert offsets[1] < 100 * offsets[0]


def test_spread_buckets_follow_the_market() -> None:
    assert spread_edges([]) == (1.5, 2.5, 3.5)
    assert spread_edges([1.0] * 95 + [50.0] * 5) == (1.5, 2.5, 3.5)
    assert spread_edges([float(k) for k in range(10, 50)]) == (20.0, 30.0, 40.0)


def test_the_fit_comes_on_schedule_and_not_in_between() -> None:
    microprice = Microprice()
    path = two_sided_chain(np.random.default_rng(1), int(2 * REFIT_S * 4) + 40, 0.1, 0.8)
    feed(microprice, path[: int(2 * REFIT_S * 4)])
    assert microprice.offset_ticks(0.9, 1.0) is None
    feed(microprice, path)
    assert microprice.offset_ticks(0.9, 1.0) is not None
