"""Training: it learns what can be learnt, repeats itself bit for bit, and exports what it is.

These need the extra `agents`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("stable_baselines3")

import torch
from gymnasium import spaces
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.vec_env import VecEnv

from agents import train
from agents.card import PolicyRefused
from agents.env import EPISODES_A_MARKET, MarketVecEnv
from agents.kernels import HIGH, LOW
from agents.markets import Rules
from agents.observe import N_OBSERVATION, POSITION, observe
from agents.policy import FrozenPolicy, Weights, probabilities
from agents.registry import load_model, read_card
from agents.train import TrainSettings
from tests.agents import made

pytestmark = [pytest.mark.agents, pytest.mark.slow]

RULES = Rules(warm_up_s=11)
SMALL = TrainSettings(steps=512, n_markets=8, n_steps=16, batch_size=64, n_epochs=2)


class SignEnv(VecEnv):
    """The trivial environment: be long when the first directional entry is up, else short."""

    def __init__(self, n: int) -> None:
        self._random = np.random.default_rng(0)
        box = spaces.Box(LOW.astype(np.float32), HIGH.astype(np.float32), dtype=np.float32)
        super().__init__(n, box, spaces.Discrete(3))

    def reset(self) -> np.ndarray:
        self.seen = self._random.uniform(-1, 1, (self.num_envs, N_OBSERVATION)).astype(np.float32)
        return self.seen.copy()

    def step_async(self, actions: np.ndarray) -> None:
        self.rewards = (actions - 1.0) * np.sign(self.seen[:, 1])

    def step_wait(self) -> Any:
        rewards = self.rewards.astype(np.float32)
        return self.reset(), rewards, np.zeros(self.num_envs, bool), [{}] * self.num_envs

    def close(self) -> None: ...

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [None] * self.num_envs

    def set_attr(self, *args: Any, **named: Any) -> None: ...

    def env_method(self, *args: Any, **named: Any) -> list[Any]:
        return []

    def env_is_wrapped(self, *args: Any, **named: Any) -> list[bool]:
        return [False] * self.num_envs


def learnt(seed: int) -> tuple[Weights, Any]:
    torch.set_num_threads(1)
    settings = TrainSettings(steps=6_000, n_markets=16, n_steps=32, batch_size=128, n_epochs=6)
    model = train.new_ppo(SignEnv(16), seed, settings)
    model.learn(settings.steps)
    return train.export_weights(model), model


def test_ppo_learns_the_trivial_environment() -> None:
    weights, _ = learnt(seed=1)
    seen = np.random.default_rng(9).uniform(-1, 1, (500, N_OBSERVATION)).astype(np.float32)
    actions = probabilities(weights, seen).argmax(axis=1)
    clear = np.abs(seen[:, 1]) > 0.2
    assert (actions[clear] == np.where(seen[clear, 1] > 0, 2, 0)).mean() > 0.9


def test_exported_probabilities_are_those_of_the_library(tmp_path: Path) -> None:
    weights, model = learnt(seed=2)
    policy = FrozenPolicy(made.card(hidden=train.HIDDEN), weights)
    seen = np.stack([observe(made.features(seed), 0.5) for seed in range(300)])
    with torch.no_grad():
        theirs = model.policy.get_distribution(torch.as_tensor(seen)).distribution.probs.numpy()
    np.testing.assert_allclose(probabilities(weights, seen), theirs, atol=1e-5)
    for seed in range(300):
        view = policy.decide(0, made.features(seed), 0.5)
        np.testing.assert_allclose(view.probabilities, theirs[seed], atol=1e-5)


def test_same_seed_gives_the_same_weights_and_another_does_not() -> None:
    runs = [train.train_seed(seed, SMALL, RULES, lambda _: None) for seed in (3, 3, 4)]
    assert all(np.array_equal(a, b) for a, b in zip(runs[0].arrays, runs[1].arrays, strict=True))
    assert not np.array_equal(runs[0].w1, runs[2].w1)


def test_training_writes_a_whole_card_and_the_loaded_model_acts_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "VALIDATION_SEEDS", range(1_000_000, 1_000_003))
    monkeypatch.setattr(train, "TEST_SEEDS", range(2_000_000, 2_000_003))
    monkeypatch.setattr(train, "find_baselines", lambda _rules, _tell: (made.score("flat"),))
    told: list[str] = []
    card = train.train_model(tmp_path / "small", [5, 6], SMALL, told.append, RULES)
    assert [result.seed for result in card.seeds] == [5, 6]
    assert card.seed == max(card.seeds, key=lambda r: r.validation.pnl_bps_per_hour).seed
    assert card.training["steps"] == 512
    assert card.market["fee_bps"] == 0.1
    assert set(card.versions) >= {"torch", "stable-baselines3", "numpy", "numba", "python"}
    assert "simulated market only" in card.summary
    assert any("seed 6" in line for line in told)
    policy = load_model(tmp_path / "small")
    again = train.train_seed(card.seed, SMALL, RULES, lambda _: None)
    direct = FrozenPolicy(card, again)
    assert policy.decide(0, made.features(), 0.0) == direct.decide(0, made.features(), 0.0)


def test_a_model_made_for_another_observation_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "SCHEMA_HASH", "f" * 64)
    card = train._card("old", made.card().seeds[0], list(made.card().seeds), (), SMALL, RULES)
    train.save_model(tmp_path / "old", card, made.weights(hidden=train.HIDDEN))
    with pytest.raises(PolicyRefused, match="observation schema"):
        read_card(tmp_path / "old")


def test_environment_runs_200_steps_within_its_spaces() -> None:
    env = MarketVecEnv(4, seed=1, rules=RULES, steps=40, risk_aversion=0.05)
    random = np.random.default_rng(0)
    seen = env.reset()
    for _ in range(200):
        assert seen.dtype == np.float32
        assert all(env.observation_space.contains(row) for row in seen)
        seen, rewards, is_over, infos = env.step(random.integers(0, 3, 4))
        assert rewards.dtype == np.float32
        assert np.isfinite(rewards).all()
        assert is_over.shape == (4,)
        assert len(infos) == 4


def test_an_episode_is_truncated_with_its_last_observation() -> None:
    env = MarketVecEnv(3, seed=2, rules=RULES, steps=7)
    assert (env.reset()[:, POSITION] == 0.0).all()
    ends = np.zeros(3, int)
    begun: set[float] = set()
    for _ in range(7 * (EPISODES_A_MARKET + 2)):
        seen, _, is_over, infos = env.step(np.full(3, 2))
        for i in range(3):
            assert ("terminal_observation" in infos[i]) == is_over[i]
            assert infos[i].get("TimeLimit.truncated", False) == is_over[i]
            if is_over[i]:
                ends[i] += 1
                assert infos[i]["terminal_observation"][POSITION] == 1.0
                begun.add(float(seen[i, POSITION]))
                assert seen[i, POSITION] == env.markets.positions[i]
    assert begun == {-1.0, 0.0, 1.0}
    assert (ends >= EPISODES_A_MARKET + 1).all()


def test_reward_is_the_gain_less_the_charge_for_risk() -> None:
    env = MarketVecEnv(8, seed=3, rules=RULES, steps=1000, risk_aversion=0.1)
    env.reset()
    for action, held in ((2, 1.0), (1, 0.0)):
        _, rewards, _, _ = env.step(np.full(8, action))
        risk = 0.05 * held * env.markets.vectors[:, 12] ** 2
        np.testing.assert_allclose(rewards, env.markets.gains - risk, atol=1e-5)


def test_one_market_passes_the_library_checker() -> None:
    """SB3 checks single environments; this gives it one of ours."""
    import gymnasium

    class One(gymnasium.Env[np.ndarray, int]):
        def __init__(self) -> None:
            self.inner = MarketVecEnv(1, seed=4, rules=RULES)
            self.observation_space = self.inner.observation_space
            self.action_space = self.inner.action_space

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            super().reset(seed=seed)
            return self.inner.reset()[0], {}

        def step(self, action: int) -> Any:
            seen, rewards, is_over, infos = self.inner.step(np.array([action]))
            return seen[0], float(rewards[0]), False, bool(is_over[0]), infos[0]

    check_env(One(), skip_render_check=True)
