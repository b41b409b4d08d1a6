"""Train PPO on the simulated market: several seeds, chosen on validation, reported on test.

The only module, with ``agents.env``, that imports torch. One thread: with small networks a second
one only waits. Progress goes to the caller line by line.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from typing_extensions import override

from agents.card import FORMAT, ModelCard, Network, Score, SeedResult, check_id
from agents.env import EPISODE_STEPS, MarketVecEnv
from agents.evaluate import Agent, evaluate
from agents.kernels import HIGH, LOW
from agents.markets import Rules, market_digest
from agents.observe import (
    ACTION_NAMES,
    EXPOSURE,
    N_OBSERVATION,
    OBSERVATION_NAMES,
    POSITION,
    SCHEMA_HASH,
)
from agents.policy import Weights
from agents.registry import save_model
from agents.search import find_baselines
from agents.seeds import TEST_SEEDS, VALIDATION_SEEDS

HIDDEN = 64
STAY_SHARE = 0.9
STAY_UPDATES = 300
STAY_BATCH = 512


class TrainSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one training; the same for every seed."""

    steps: int = 300_000
    """Decisions a seed, over all markets."""
    n_markets: int = 128
    n_steps: int = 64
    batch_size: int = 2_048
    n_epochs: int = 5
    learning_rate: float = 1e-3
    """At the start; falls linearly to a twentieth."""
    gamma: float = 0.98
    gae_lambda: float = 0.95
    entropy_coefficient: float = 0.5
    """High: the view shall lean where acting does not pay, not fall silent."""
    risk_aversion: float = 0.05
    """Without it, holding at random for ever is as good as staying flat."""


class _Progress(BaseCallback):
    """Tell about ten times how far the training is and how much is held."""

    def __init__(self, env: MarketVecEnv, steps: int, tell: Callable[[str], None]):
        super().__init__()
        self._env = env
        self._steps = steps
        self._tell = tell
        self._told = 0

    @override
    def _on_rollout_start(self) -> None:
        tenths = 10 * self.num_timesteps // self._steps
        if tenths > self._told:
            self._told = tenths
            held = np.abs(self._env.markets.positions).mean()
            self._tell(f"  {10 * tenths} %: {held:.2f} caps held on average")

    @override
    def _on_step(self) -> bool:
        return True


def train_seed(
    seed: int, settings: TrainSettings, rules: Rules, tell: Callable[[str], None]
) -> Weights:
    """Train one network and return its weights; the same arguments give the same bits."""
    torch.set_num_threads(1)
    env = MarketVecEnv(settings.n_markets, seed, rules, risk_aversion=settings.risk_aversion)
    model = new_ppo(env, seed, settings)
    start_by_staying(model, seed)
    model.learn(settings.steps, callback=_Progress(env, settings.steps, tell))
    return export_weights(model)


def new_ppo(env: Any, seed: int, settings: TrainSettings) -> PPO:
    """Return an untrained PPO with the network this program can export."""
    rate = settings.learning_rate
    return PPO(
        "MlpPolicy",
        env,
        seed=seed,
        device="cpu",
        n_steps=settings.n_steps,
        batch_size=settings.batch_size,
        n_epochs=settings.n_epochs,
        gamma=settings.gamma,
        gae_lambda=settings.gae_lambda,
        ent_coef=settings.entropy_coefficient,
        learning_rate=lambda left: rate * max(left, 0.05),
        policy_kwargs={"net_arch": [HIDDEN, HIDDEN], "activation_fn": torch.nn.Tanh},
    )


def start_by_staying(model: PPO, seed: int) -> None:
    """Teach an untrained policy to keep its position nine times in ten, whatever else it sees.

    From a policy that acts at random, PPO learns within its first updates that changing position
    costs more than anything it can gain, before it has learnt that flat is a position too; what
    it then holds, it holds for ever.
    """
    random = np.random.default_rng(seed)
    optimizer = torch.optim.Adam(model.policy.parameters(), lr=3e-3)
    for _ in range(STAY_UPDATES):
        seen = random.uniform(LOW, HIGH, (STAY_BATCH, N_OBSERVATION)).astype(np.float32)
        position = random.integers(-1, 2, STAY_BATCH)
        seen[:, POSITION] = position
        seen[:, EXPOSURE] = np.abs(position)
        wanted = np.full((STAY_BATCH, 3), 0.5 * (1.0 - STAY_SHARE), np.float32)
        wanted[np.arange(STAY_BATCH), position + 1] = STAY_SHARE
        logits = model.policy.get_distribution(torch.as_tensor(seen)).distribution.logits
        loss = torch.nn.functional.cross_entropy(logits, torch.as_tensor(wanted))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def export_weights(model: PPO) -> Weights:
    """Return the policy part of an SB3 model as plain arrays; the value part is not needed."""
    state = model.policy.state_dict()
    arrays = {}
    for number, layer in enumerate(
        ("mlp_extractor.policy_net.0", "mlp_extractor.policy_net.2", "action_net"), start=1
    ):
        weight = state[f"{layer}.weight"].detach().cpu().numpy()
        arrays[f"w{number}"] = np.ascontiguousarray(weight.T, np.float32)
        arrays[f"b{number}"] = state[f"{layer}.bias"].detach().cpu().numpy().astype(np.float32)
    return Weights(**arrays)


def train_model(
    folder: Path,
    seeds: list[int],
    settings: TrainSettings,
    tell: Callable[[str], None],
    rules: Rules | None = None,
) -> ModelCard:
    """Train every seed, choose on validation, report on test, write the model into ``folder``.

    The id is the folder's name. Errors: ``PolicyRefused`` for a name that is no id.
    """
    check_id(folder.name)
    rules = rules or Rules()
    results: list[SeedResult] = []
    trained: dict[int, Weights] = {}
    for seed in seeds:
        tell(f"seed {seed}: {settings.steps:,} decisions")
        trained[seed] = train_seed(seed, settings, rules, tell)
        scores = [
            evaluate(Agent(f"seed {seed}", trained[seed]), markets, rules=rules)
            for markets in (VALIDATION_SEEDS, TEST_SEEDS)
        ]
        validation, test = scores
        results.append(SeedResult(seed, validation, test))
        tell(
            f"seed {seed}: {validation.pnl_bps_per_hour:+.2f} bps/h on validation, "
            f"{test.pnl_bps_per_hour:+.2f} on test"
        )
    # Where all stay flat and gain nothing alike, the one whose lean says more is worth more.
    best = max(
        results,
        key=lambda result: (
            result.validation.pnl_bps_per_hour,
            result.validation.lean_correlation or 0.0,
        ),
    )
    tell("baselines")
    baselines = find_baselines(rules, tell)
    card = _card(folder.name, best, results, baselines, settings, rules)
    return save_model(folder, card, trained[best.seed])


def _card(
    agent_id: str,
    best: SeedResult,
    results: list[SeedResult],
    baselines: tuple[Score, ...],
    settings: TrainSettings,
    rules: Rules,
) -> ModelCard:
    return ModelCard(
        format=FORMAT,
        id=agent_id,
        algo="ppo",
        summary=summarise(best.test),
        schema_hash=SCHEMA_HASH,
        observation=OBSERVATION_NAMES,
        actions=ACTION_NAMES,
        network=Network(inputs=N_OBSERVATION, hidden=HIDDEN),
        weights_sha256="",
        seed=best.seed,
        training=msgspec.to_builtins(settings) | {"episode_steps": EPISODE_STEPS},
        market=msgspec.to_builtins(rules) | {"market_sha256": market_digest()},
        seeds=tuple(results),
        baselines=baselines,
        versions={"python": platform.python_version()}
        | {
            name: importlib.metadata.version(name)
            for name in ("numba", "numpy", "safetensors", "stable-baselines3", "torch")
        },
    )


def summarise(test: Score) -> str:
    """Return one honest sentence on what the score says against never trading."""
    if test.pnl_low > 0:
        verdict = "beats staying flat there"
    elif test.pnl_high < 0:
        verdict = "does worse than staying flat there"
    else:
        verdict = "does not beat staying flat there"
    return (
        "Trained on the simulated market only; "
        f"{test.pnl_bps_per_hour:+.2f} bps of the cap an hour "
        f"[{test.pnl_low:+.2f}, {test.pnl_high:+.2f}] on unseen markets after costs: {verdict}."
    )
