"""Tests for core.signals.board and the families it reads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.clock import NS_PER_S
from core.kernels.features import FEATURE_NAMES, N_FEATURES
from core.model.decision import AgentView
from core.signals.board import CLIP, N_SIGNALS, SIGNAL_NAMES, START_SCALES, SignalBoard
from core.signals.pressure import pressure
from core.signals.trend import trend

UNSIGNED = ("spread_ticks", "volatility_bps", "spread_bps")


def vector(**features: float) -> np.ndarray:
    out = np.zeros(N_FEATURES)
    out[FEATURE_NAMES.index("spread_ticks")] = 1.0
    for name, value in features.items():
        out[FEATURE_NAMES.index(name)] = value
    return out


def place(name: str) -> int:
    return SIGNAL_NAMES.index(name)


def view(short: float, flat: float, long: float, entropy: float) -> AgentView:
    return AgentView("agent", (short, flat, long), entropy)


def test_families_read_the_features_they_are_named_after() -> None:
    features = [float(k) for k in range(N_FEATURES)]
    by_name = dict(zip(FEATURE_NAMES, features, strict=True))
    assert pressure(features) == (
        by_name["imbalance_l1"],
        by_name["imbalance_l10"],
        by_name["order_flow_1s"],
        by_name["order_flow_5s"],
        by_name["pressure_1s"],
        by_name["pressure_5s"],
        by_name["pressure_30s"],
    )
    assert trend(features) == (
        by_name["return_1s"],
        by_name["return_5s"],
        by_name["ema_cross"],
        by_name["breakout"],
    )


def test_names_are_unique_and_each_has_a_scale() -> None:
    assert len(set(SIGNAL_NAMES)) == N_SIGNALS == len(START_SCALES)


def test_first_values_are_over_the_fixed_scales_and_cut() -> None:
    board = SignalBoard()
    x = board.read(NS_PER_S, vector(imbalance_l1=0.35, return_1s=-50.0), 100.0, None)
    assert x[place("queue imbalance")] == 0.35 / START_SCALES[place("queue imbalance")]
    assert x[place("return 1s")] == -CLIP


def test_a_missing_agent_is_zero_and_shown_as_not_present() -> None:
    board = SignalBoard()
    x = board.read(NS_PER_S, vector(), 100.0, None)
    assert x[place("agent lean")] == x[place("agent conviction")] == 0.0
    shown = dict(board.display())
    assert shown["agent lean"] is None
    assert shown["microprice"] is None
    assert shown["queue imbalance"] == 0.0


def test_an_undecided_agent_counts_less() -> None:
    board = SignalBoard()
    board.read(NS_PER_S, vector(), 100.0, view(0.1, 0.2, 0.7, entropy=0.75))
    shown = dict(board.display())
    assert shown["agent lean"] == pytest.approx(0.6)
    assert shown["agent conviction"] == pytest.approx(0.15)


@pytest.mark.slow
@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_a_market_turned_upside_down_turns_every_signal(seed: int) -> None:
    rng = np.random.default_rng(seed)
    board, mirror = SignalBoard(), SignalBoard()
    flip = np.array([1.0 if name in UNSIGNED else -1.0 for name in FEATURE_NAMES])
    mid = 0.0
    for t in range(150):
        now_ns = (t + 1) * NS_PER_S
        features = rng.normal(size=N_FEATURES)
        features[0] = abs(features[0]) + 1.0
        mid += float(rng.integers(-2, 3))
        agent = view(*rng.dirichlet(np.ones(3)).tolist(), entropy=float(rng.random()))
        short, flat, long = agent.probabilities
        x = board.read(now_ns, features, 500.0 + mid, agent)
        y = mirror.read(
            now_ns, features * flip, 500.0 - mid, view(long, flat, short, agent.entropy)
        )
        np.testing.assert_allclose(x, -y, rtol=1e-9, atol=1e-9)


@given(st.floats(-1e6, 1e6), st.floats(1.0, 1e4))
def test_signals_and_their_display_stay_in_range(value: float, spread_ticks: float) -> None:
    board = SignalBoard()
    features = np.full(N_FEATURES, value)
    features[0] = spread_ticks
    x = board.read(NS_PER_S, features, 1e6, view(0.0, 0.0, 1.0, 0.0))
    assert np.all(np.abs(x) <= CLIP)
    assert all(shown is None or -1.0 <= shown <= 1.0 for _, shown in board.display())


def test_scales_follow_the_market_from_earlier_reads_only() -> None:
    board = SignalBoard()
    rng = np.random.default_rng(1)
    for t in range(300):
        before = board._scales.values[place("return 1s")]
        value = float(rng.normal()) * 0.5
        x = board.read((t + 1) * NS_PER_S, vector(return_1s=value), 100.0, None)
        assert x[place("return 1s")] == np.clip(value / before, -CLIP, CLIP)
    # 80 % of normal values are below 1.28 standard deviations
    assert before == pytest.approx(1.28 * 0.5, rel=0.15)


def test_doubt_forgets_the_present_values_and_keeps_the_scales() -> None:
    board = SignalBoard()
    for t in range(300):
        board.read((t + 1) * NS_PER_S, vector(return_1s=4.0), 100.0 + t % 3, None)
    before = board.read(301 * NS_PER_S, vector(return_1s=4.0), 100.0, None).copy()
    board.reset()
    assert all(shown is None for _, shown in board.display())
    after = board.read(400 * NS_PER_S, vector(return_1s=4.0), 100.0, None)
    assert after[place("return 1s")] == before[place("return 1s")]


def test_the_board_knows_the_volatility_bucket() -> None:
    board = SignalBoard()
    for t in range(400):
        board.read((t + 1) * NS_PER_S, vector(volatility_bps=1.0 + t % 10), 100.0, None)
    assert board.volatility_bucket in {"calm", "normal", "lively", "wild"}
