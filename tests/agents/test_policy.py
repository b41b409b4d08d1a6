"""The frozen policy: equal to the plain formula, the same each time, and without torch."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from agents.observe import observe
from agents.policy import FrozenPolicy, probabilities
from core.ports import Policy
from tests.agents import made


def plain(weights: made.Weights, observation: np.ndarray) -> np.ndarray:
    """Return the softmax in float64 by numpy alone."""
    x = observation.astype(np.float64)
    x = np.tanh(x @ weights.w1 + weights.b1)
    x = np.tanh(x @ weights.w2 + weights.b2)
    logits = x @ weights.w3 + weights.b3
    chances: np.ndarray = np.exp(logits - logits.max())
    return chances / chances.sum()


def test_view_is_the_softmax_of_the_network() -> None:
    weights = made.weights(3)
    policy: Policy = FrozenPolicy(made.card(), weights)
    for seed in range(50):
        vector = made.features(seed)
        view = policy.decide(0, vector, 0.5)
        expected = plain(weights, observe(vector, 0.5))
        np.testing.assert_allclose(view.probabilities, expected, atol=1e-6)
        entropy = -(expected * np.log(expected)).sum() / np.log(3)
        assert view.entropy == pytest.approx(entropy, abs=1e-6)
        assert sum(view.probabilities) == pytest.approx(1.0, abs=1e-12)
        assert view.agent_id == "made"


def test_the_same_input_gives_the_same_bits_whatever_came_before() -> None:
    policy = FrozenPolicy(made.card(), made.weights(1))
    first = policy.decide(0, made.features(1), 0.0)
    policy.decide(0, made.features(2), 1.0)
    assert policy.decide(0, made.features(1), 0.0) == first
    assert FrozenPolicy(made.card(), made.weights(1)).decide(7, made.features(1), 0.0) == first


def test_position_and_features_both_count() -> None:
    policy = FrozenPolicy(made.card(), made.weights(1))
    here = policy.decide(0, made.features(1), 0.0)
    assert policy.decide(0, made.features(1), 1.0) != here
    assert policy.decide(0, made.features(2), 0.0) != here


def test_many_at_once_equal_one_at_a_time() -> None:
    weights = made.weights(5)
    policy = FrozenPolicy(made.card(), weights)
    seen = np.stack([observe(made.features(seed), 0.0) for seed in range(20)])
    for seed, row in enumerate(probabilities(weights, seen)):
        assert policy.decide(0, made.features(seed), 0.0).probabilities == tuple(row)


def test_huge_logits_saturate_and_do_not_overflow() -> None:
    weights = made.weights(0)
    weights.b3[:] = [3e38, 0, -3e38]
    view = FrozenPolicy(made.card(), weights).decide(0, made.features(), 0.0)
    assert view.probabilities == (1.0, 0.0, 0.0)
    assert view.entropy == 0.0


def test_values_that_are_not_finite_raise_so_that_the_engine_switches_it_off() -> None:
    vector = made.features()
    vector[3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        FrozenPolicy(made.card(), made.weights()).decide(0, vector, 0.0)


@pytest.mark.slow
def test_opening_and_judging_a_policy_loads_no_learning_library() -> None:
    code = (
        "import sys, agents.registry, agents.evaluate, agents.search\n"
        "print([m for m in ('torch', 'stable_baselines3', 'gymnasium') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
