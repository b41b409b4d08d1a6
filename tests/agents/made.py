"""Made-up networks and cards for the tests of the agents."""

from __future__ import annotations

import numpy as np

from agents.card import FORMAT, ModelCard, Network, Score, SeedResult
from agents.observe import ACTION_NAMES, N_OBSERVATION, OBSERVATION_NAMES, SCHEMA_HASH
from agents.policy import Weights, shapes_of
from core.kernels.features import N_FEATURES

HIDDEN = 8


def weights(seed: int = 0, hidden: int = HIDDEN) -> Weights:
    rng = np.random.default_rng(seed)
    return Weights(
        **{
            name: rng.normal(0, 0.5, shape).astype(np.float32)
            for name, shape in shapes_of(hidden).items()
        }
    )


def score(name: str = "seed 1") -> Score:
    return Score(
        name=name,
        n_markets=2,
        hours=1.0,
        pnl_bps_per_hour=0.0,
        pnl_low=-1.0,
        pnl_high=1.0,
        reward_per_step=0.0,
        turnover_per_hour=0.0,
        flat_share=1.0,
    )


def card(agent_id: str = "made", hidden: int = HIDDEN) -> ModelCard:
    return ModelCard(
        format=FORMAT,
        id=agent_id,
        algo="ppo",
        summary="Made up for a test.",
        schema_hash=SCHEMA_HASH,
        observation=OBSERVATION_NAMES,
        actions=ACTION_NAMES,
        network=Network(inputs=N_OBSERVATION, hidden=hidden),
        weights_sha256="",
        seed=1,
        training={},
        market={},
        seeds=(SeedResult(1, score(), score()),),
        baselines=(score("flat"),),
        versions={},
    )


def features(seed: int = 0) -> np.ndarray:
    """Return a plausible feature vector, float64[N_FEATURES]."""
    rng = np.random.default_rng(seed)
    vector = rng.uniform(-1, 1, N_FEATURES)
    vector[0] = rng.integers(1, 5)
    vector[12] = rng.uniform(0.1, 3)
    vector[13] = rng.uniform(0.002, 5)
    return vector
