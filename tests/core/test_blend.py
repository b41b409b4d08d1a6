"""Tests for core.blend and its kernels: no look-ahead, calibrated, shares that add up."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.blend import BASE_PRIOR, LATE_NS, Blend
from core.clock import NS_PER_MS, NS_PER_S
from core.config import BlendSettings
from core.errors import InvariantError
from core.kernels import blend as kernel
from core.kernels.features import N_FEATURES
from core.signals.board import N_SIGNALS, SignalBoard

START_MID = 10_000.0


def make(n_signals: int, horizon_s: int = 1, **keys: object) -> Blend:
    names = tuple(f"signal {i}" for i in range(n_signals))
    return Blend(BlendSettings(**keys), horizon_s, n_signals, names)  # type: ignore[arg-type]


def normal(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    return np.clip(rng.normal(size=(n, d)), -3.0, 3.0)


def walk(blend: Blend, x: np.ndarray, moves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sample once a second; the mid makes ``moves[t]`` in the second after sample t.

    Returns the published p and base rate at each sample.
    """
    p = np.zeros(len(x))
    base = np.zeros(len(x))
    mid = START_MID
    for t in range(len(x)):
        now_ns = (t + 1) * NS_PER_S
        blend.sample(now_ns, x[t], mid)
        forecast = blend.forecast(x[t])
        p[t], base[t] = forecast.p_up, forecast.base_rate
        mid += moves[t]
    return p, base


def skill_of(p: np.ndarray, base: np.ndarray, up: np.ndarray) -> float:
    return float(1.0 - ((p - up) ** 2).sum() / ((base - up) ** 2).sum())


# --- the acceptance tests: it finds what is there, nothing where nothing is, and sees no future


@pytest.mark.slow
def test_labels_drawn_from_a_logistic_model_are_forecast_nearly_as_well_as_by_the_truth() -> None:
    rng = np.random.default_rng(11)
    n, d = 20_000, 13
    x = normal(rng, n, d)
    beta = rng.normal(size=d) * 0.11
    truth = 1.0 / (1.0 + np.exp(-x @ beta))
    up = (rng.random(n) < truth).astype(float)
    blend = make(d, prior_variance=0.02)
    p, base = walk(blend, x, 2.0 * up - 1.0)

    oracle = skill_of(truth, base, up)
    assert oracle > 0.03
    assert skill_of(p, base, up) > 0.9 * oracle
    bins = np.array_split(np.argsort(p), 10)
    reliability = math.sqrt(np.mean([(p[b].mean() - truth[b].mean()) ** 2 for b in bins]))
    assert reliability < 0.01
    deviations = 1.0 / np.sqrt(np.diag(blend._precision))[:-1]
    assert np.mean(np.abs(blend._weights[:-1] - beta) < 2.0 * deviations) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("prior_variance", [0.005, 0.02])
def test_noise_earns_and_costs_less_than_one_percent(prior_variance: float) -> None:
    skills = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        x = normal(rng, 2_000, 13)
        up = (rng.random(2_000) < 0.5).astype(float)
        blend = make(13, prior_variance=prior_variance)
        p, base = walk(blend, x, 2.0 * up - 1.0)
        skills.append(skill_of(p, base, up))
    assert abs(float(np.mean(skills))) < 0.01
    assert min(skills) > -0.02


def test_the_last_move_says_nothing_about_the_next_one_of_a_random_walk() -> None:
    # a label that began before its sample would turn this signal into an oracle
    rng = np.random.default_rng(5)
    moves = rng.choice([-1.0, 1.0], size=2_000)
    x = np.concatenate([[0.0], moves[:-1]])[:, None]
    blend = make(1, skill_window=5_000)
    walk(blend, x, moves)
    skill = blend.forecast(x[-1]).skill
    assert skill is not None
    assert abs(skill) < 0.01


@pytest.mark.parametrize("horizon_s", [1, 5])
def test_a_signal_that_knows_the_move_is_believed(horizon_s: int) -> None:
    rng = np.random.default_rng(5)
    moves = rng.choice([-1.0, 1.0], size=2_000 + horizon_s)
    ahead = np.array([moves[t : t + horizon_s].sum() for t in range(2_000)])
    blend = make(1, horizon_s, prior_variance=1.0)
    walk(blend, np.sign(ahead)[:, None], moves[:2_000])
    assert blend.forecast(np.array([1.0])).p_up > 0.9
    assert blend.forecast(np.array([-1.0])).p_up < 0.1
    assert blend.model_weight > 0.9


@pytest.mark.slow
@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 79))
def test_another_future_leaves_every_past_forecast_as_it_was(seed: int, cut: int) -> None:
    """Board and blend over two worlds that are one until ``cut``."""

    def run(future_seed: int) -> list[tuple[float, ...]]:
        past, future = np.random.default_rng(seed), np.random.default_rng(future_seed)
        board, seen = SignalBoard(), []
        blends = [Blend(BlendSettings(min_labels=10), h, N_SIGNALS) for h in (1, 5)]
        mid = START_MID
        for t in range(80):
            rng = past if t < cut else future
            now_ns = (t + 1) * NS_PER_S
            vector = rng.uniform(-1.0, 1.0, N_FEATURES)
            vector[0] = 1.0
            mid += rng.integers(-2, 3)
            x = board.read(now_ns, vector, mid, None)
            for blend in blends:
                blend.sample(now_ns, x, mid)
                forecast = blend.forecast(x)
                shares = (share.share for share in forecast.shares)
                seen.append((forecast.p_up, forecast.skill or 0.0, *shares))
        return seen

    one, other = run(seed + 1), run(seed + 2)
    assert one[: 2 * cut] == other[: 2 * cut]
    assert one != other


@pytest.mark.parametrize("horizon_s", [1, 5])
def test_the_score_counts_predictions_as_they_were_made(horizon_s: int) -> None:
    rng = np.random.default_rng(3)
    x = normal(rng, 400, 3)
    # odd steps: over an odd horizon there are no ties
    moves = np.where(rng.random(400) < 1.0 / (1.0 + np.exp(-x[:, 0])), 1.0, -1.0)
    blend = make(3, horizon_s, skill_window=250, prior_variance=0.5)
    p, base = walk(blend, x, moves)
    forecast = blend.forecast(x[0])
    n = 400 - horizon_s  # the last samples have no label yet
    up = np.array([moves[t : t + horizon_s].sum() > 0 for t in range(n)]).astype(float)
    assert forecast.n_resolved == n
    expected = skill_of(p[n - 250 : n], base[n - 250 : n], up[n - 250 :])
    assert forecast.skill == pytest.approx(expected, abs=1e-12)


# --- the published forecast


def test_without_labels_the_forecast_is_even_and_claims_no_skill() -> None:
    forecast = make(2).forecast(np.array([3.0, -3.0]))
    assert forecast.p_up == 0.5
    assert forecast.skill is None
    assert forecast.n_resolved == 0
    assert forecast.bias_share == 0.0
    assert [share.share for share in forecast.shares] == [0.0, 0.0]


def test_skill_is_none_until_enough_labels_are_resolved() -> None:
    blend = make(1, min_labels=20)
    x = np.ones((22, 1))
    skills = []
    for t in range(22):
        blend.sample((t + 1) * NS_PER_S, x[t], START_MID + t % 2)
        skills.append(blend.forecast(x[t]).skill)
    assert all(skill is None for skill in skills[:20])
    assert skills[20] is not None
    assert blend.calibration() is not None


@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.floats(-3, 3), min_size=4, max_size=4),
    st.sampled_from([1, 5]),
)
def test_shares_and_bias_add_up_to_the_published_log_odds(
    seed: int, values: list[float], horizon_s: int
) -> None:
    rng = np.random.default_rng(seed)
    blend = make(4, horizon_s, prior_variance=1.0)
    x = normal(rng, 40, 4)
    walk(blend, x, np.where(rng.random(40) < 0.3 + 0.4 * (x[:, 0] > 0), 1.0, -1.0))
    now = np.array(values)
    forecast = blend.forecast(now)
    log_odds = math.log(forecast.p_up / (1.0 - forecast.p_up))
    total = forecast.bias_share + sum(share.share for share in forecast.shares)
    assert total == pytest.approx(log_odds, abs=1e-9)
    for share, weight, value in zip(forecast.shares, blend._weights, values, strict=False):
        assert share.share * weight * value >= 0.0
        assert abs(share.share) <= abs(weight * value) + 1e-9


def test_shares_stay_finite_where_the_signals_cancel() -> None:
    rng = np.random.default_rng(8)
    blend = make(2, prior_variance=1.0)
    x = normal(rng, 300, 2)
    walk(blend, x, np.where(rng.random(300) < 1.0 / (1.0 + np.exp(-2 * x[:, 0])), 1.0, -1.0))
    weights = blend._weights
    near, at = (
        blend.forecast(np.array([1.0, -(weights[0] + distance) / weights[1]]) * 0.05)
        for distance in (1e-4, 0.0)
    )
    assert at.shares[0].share == pytest.approx(-at.shares[1].share, rel=1e-6)
    assert at.shares[0].share == pytest.approx(near.shares[0].share, rel=1e-3)


def test_a_silent_signal_has_no_share() -> None:
    rng = np.random.default_rng(2)
    blend = make(2)
    walk(blend, normal(rng, 50, 2), rng.choice([-1.0, 1.0], 50))
    forecast = blend.forecast(np.array([0.0, 1.0]))
    assert forecast.shares[0].share == 0.0
    assert forecast.shares[1].share != 0.0


def test_share_values_are_those_shown_or_the_scaled_ones_over_their_clip() -> None:
    blend = make(2)
    x = np.array([1.5, -3.0])
    assert [share.value for share in blend.forecast(x).shares] == [0.5, -1.0]
    assert [share.value for share in blend.forecast(x, [0.1, -0.2]).shares] == [0.1, -0.2]


def test_useless_signals_lose_their_weight_to_the_base_rate() -> None:
    rng = np.random.default_rng(4)
    n = 1_500
    blend = make(8, prior_variance=1.0)
    # what was learned is turned around every 100 s, so the regression is always wrong
    x = normal(rng, n, 8)
    turn = np.where(np.arange(n) // 100 % 2 == 0, 1.0, -1.0)
    p_up = 1.0 / (1.0 + np.exp(-turn * x[:, 0]))
    walk(blend, x, np.where(rng.random(n) < p_up, 1.0, -1.0))
    assert blend.model_weight < 0.2


def test_base_rate_follows_the_labels() -> None:
    blend = make(1, memory_s=864_000)
    walk(blend, np.zeros((101, 1)), np.ones(101))
    expected = (100 + BASE_PRIOR) / (100 + 2 * BASE_PRIOR)
    assert blend.base_rate == pytest.approx(expected, rel=1e-3)


# --- labels: when they come and when they must not


def test_ties_teach_nothing_but_count_in_the_moved_share() -> None:
    blend = make(1)
    moves = np.array([1.0, 0.0, 0.0, -3.0] * 25 + [0.0])
    walk(blend, np.ones((101, 1)), moves)
    forecast = blend.forecast(np.ones(1))
    assert forecast.n_resolved == 50
    assert forecast.moved_share == pytest.approx(0.5)
    assert forecast.mean_move_ticks == pytest.approx(1.0)


def test_one_sample_a_second_whatever_the_cadence() -> None:
    blend = make(1)
    for step in range(100):
        blend.sample(NS_PER_S + step * 100 * NS_PER_MS, np.ones(1), START_MID + step)
    assert blend.forecast(np.ones(1)).n_resolved == 9


def test_a_label_compares_with_the_mid_a_horizon_later() -> None:
    blend = make(1, horizon_s=5)
    mids = [100.0, 200.0, 50.0, 60.0, 70.0, 101.0]
    for t, mid in enumerate(mids[:-1]):
        blend.sample((t + 1) * NS_PER_S, np.ones(1), mid)
    assert blend.forecast(np.ones(1)).n_resolved == 0
    blend.sample(6 * NS_PER_S - 1, np.ones(1), 400.0)
    assert blend.forecast(np.ones(1)).n_resolved == 0
    blend.sample(6 * NS_PER_S, np.ones(1), mids[-1])
    forecast = blend.forecast(np.ones(1))
    assert (forecast.n_resolved, forecast.mean_move_ticks) == (1, 1.0)


def test_no_label_reaches_across_doubt() -> None:
    blend = make(1, horizon_s=5)
    for t in range(4):
        blend.sample((t + 1) * NS_PER_S, np.ones(1), START_MID)
    blend.reset_pending()
    for t in range(4, 8):
        blend.sample((t + 1) * NS_PER_S, np.ones(1), 2 * START_MID)
    assert blend.n_dropped == 4
    assert blend.forecast(np.ones(1)).n_resolved == 0


def test_no_label_reaches_across_a_silence() -> None:
    blend = make(1, horizon_s=5)
    blend.sample(1 * NS_PER_S, np.ones(1), START_MID)
    blend.sample(2 * NS_PER_S, np.ones(1), START_MID)
    blend.sample(6 * NS_PER_S, np.ones(1), 2 * START_MID)
    assert blend.n_dropped == 2
    assert blend.forecast(np.ones(1)).n_resolved == 0


def test_time_that_steps_back_drops_what_was_pending() -> None:
    blend = make(1)
    blend.sample(10 * NS_PER_S, np.ones(1), START_MID)
    blend.sample(9 * NS_PER_S, np.ones(1), START_MID + 1)
    assert blend.n_dropped == 1


def test_a_label_that_comes_too_late_is_dropped() -> None:
    blend = make(1, horizon_s=1)
    blend.sample(NS_PER_S, np.ones(1), START_MID)
    blend.sample(2 * NS_PER_S + LATE_NS + 1, np.ones(1), START_MID + 1)
    assert blend.n_dropped == 1
    assert blend.forecast(np.ones(1)).n_resolved == 0


def test_a_signal_that_is_no_number_stops_us() -> None:
    blend = make(2)
    with pytest.raises(InvariantError, match="finite"):
        blend.sample(NS_PER_S, np.array([0.0, math.nan]), START_MID)


def test_names_must_match_the_signals() -> None:
    with pytest.raises(InvariantError, match="names"):
        Blend(BlendSettings(), 1, 2, ("one",))


def test_the_sample_keeps_its_own_copy_of_the_signals() -> None:
    one, other = make(1), make(1)
    x = np.ones(1)
    one.sample(NS_PER_S, x, START_MID)
    other.sample(NS_PER_S, np.ones(1), START_MID)
    x[0] = -3.0
    for blend in (one, other):
        blend.sample(2 * NS_PER_S, np.ones(1), START_MID + 1)
    assert one.forecast(np.ones(1)) == other.forecast(np.ones(1))


# --- the kernels


def test_overlapping_labels_count_one_over_the_horizon() -> None:
    quick, slow = make(1, 1), make(1, 5)
    walk(quick, np.ones((2, 1)), np.ones(2))
    walk(slow, np.ones((6, 1)), np.ones(6))
    grown = [
        np.trace(blend._precision) - 2.0 / BlendSettings().prior_variance for blend in (quick, slow)
    ]
    assert grown[1] == pytest.approx(grown[0] / 5, rel=1e-2)


def test_forgetting_never_leaves_more_doubt_than_the_prior() -> None:
    prior_variance = 0.02
    blend = make(3, prior_variance=prior_variance, memory_s=60)
    rng = np.random.default_rng(1)
    x = normal(rng, 400, 3)
    walk(blend, x, np.where(x[:, 0] > 0, 1.0, -1.0))
    variances = np.linalg.eigvalsh(np.linalg.inv(blend._precision))
    assert variances.max() <= prior_variance * (1 + 1e-12)
    assert variances.min() < 0.9 * prior_variance
    learned = abs(blend._weights[0])
    for t in range(400, 1_400):  # a market that stands still teaches nothing
        blend.sample((t + 1) * NS_PER_S, x[0], START_MID)
    variances = np.linalg.eigvalsh(np.linalg.inv(blend._precision))
    assert variances.max() <= prior_variance * (1 + 1e-12)
    assert variances.min() == pytest.approx(prior_variance, rel=1e-3)
    assert abs(blend._weights[0]) < 0.01 * learned


def test_factor_and_predict_agree_with_dense_algebra() -> None:
    rng = np.random.default_rng(6)
    root = rng.normal(size=(5, 5))
    precision = root @ root.T + np.eye(5)
    eta, lower, weights = rng.normal(size=5), np.zeros((5, 5)), np.zeros(5)
    kernel.factor(precision, eta, lower, weights)
    np.testing.assert_allclose(weights, np.linalg.solve(precision, eta), rtol=1e-10)
    x = rng.normal(size=4)
    z = np.append(x, 1.0)
    log_odds, variance = kernel.predict(lower, weights, x, np.zeros(5))
    assert log_odds == pytest.approx(z @ weights, rel=1e-10)
    assert variance == pytest.approx(z @ np.linalg.inv(precision) @ z, rel=1e-10)


def test_learning_takes_the_step_of_the_covariance_form() -> None:
    rng = np.random.default_rng(6)
    root = rng.normal(size=(4, 4))
    covariance, mean, x = root @ root.T + np.eye(4), rng.normal(size=4), rng.normal(size=3)
    precision = np.linalg.inv(covariance)
    eta, weights, lower = precision @ mean, mean.copy(), np.zeros((4, 4))
    kernel.learn(precision, eta, weights, x, 1.0, 0.5)
    kernel.factor(precision, eta, lower, weights)

    z = np.append(x, 1.0)
    p = 1.0 / (1.0 + math.exp(-z @ mean))
    h = 0.5 * p * (1.0 - p)
    sz = covariance @ z
    expected = covariance - np.outer(sz, sz) * h / (1.0 + h * (z @ sz))
    np.testing.assert_allclose(np.linalg.inv(precision), expected, rtol=1e-8)
    np.testing.assert_allclose(weights, mean + expected @ z * 0.5 * (1.0 - p), rtol=1e-8)


@given(st.integers(0, 2**32 - 1))
def test_dominant_systems_are_solved(seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.uniform(-1, 1, (6, 6))
    np.fill_diagonal(matrix, np.abs(matrix).sum(axis=1) + 0.1)
    right = rng.normal(size=6)
    solution = right.copy()
    kernel.solve_dominant(matrix.copy(), solution)
    np.testing.assert_allclose(matrix @ solution, right, atol=1e-10)


@given(st.floats(-800, 800))
def test_sigmoid_never_overflows(x: float) -> None:
    assert 0.0 <= kernel.sigmoid(x) <= 1.0
    assert kernel.sigmoid(x) + kernel.sigmoid(-x) == pytest.approx(1.0)
