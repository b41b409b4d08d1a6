"""The simulated markets as a Stable-Baselines3 environment, natively vectorised.

Observation float32[N_OBSERVATION], actions 0 short cap, 1 flat, 2 long cap, reward the step's
gain in bps of the cap less a charge for risk. An episode ends by truncation, never by
termination: the market goes on, only our look at it stops.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from agents.kernels import HIGH, LOW, PHASE_NS
from agents.markets import NS_PER_S, Markets, Rules
from agents.seeds import TRAINING_SEEDS_FROM
from core.kernels.features import FEATURE_NAMES

EPISODE_STEPS = 60
"""Short, so that the policy learns from every position and not only from those it likes."""
EPISODES_A_MARKET = 20
"""Starting a market costs as much as a hundred decisions; short episodes share one."""
START_POSITIONS = np.array([-1, 0, 0, 1], np.int64)
"""Drawn from for each episode in a market that goes on."""
_VOLATILITY = FEATURE_NAMES.index("volatility_bps")


class MarketVecEnv(VecEnv):
    """``n`` markets, one decision a second each; a finished one starts afresh by itself.

    ``seed`` draws the market seeds from TRAINING_SEEDS_FROM upwards, so none is ever one of
    validation or test.
    """

    def __init__(
        self,
        n: int,
        seed: int,
        rules: Rules | None = None,
        steps: int = EPISODE_STEPS,
        risk_aversion: float = 0.0,
    ) -> None:
        self.markets = Markets(n, rules)
        self.steps = steps
        self._episodes_left = np.zeros(n, np.int64)
        self.risk_aversion = risk_aversion
        """Half of it, per bps squared of one-second risk held, comes off the reward."""
        self._random = np.random.default_rng(seed)
        self._actions = np.zeros(n, np.int64)
        box = spaces.Box(LOW.astype(np.float32), HIGH.astype(np.float32), dtype=np.float32)
        super().__init__(n, box, spaces.Discrete(3))

    def reset(self) -> np.ndarray:
        """Start every market; first episodes are of mixed length so that ends do not coincide."""
        which = np.arange(self.num_envs, dtype=np.int64)
        lengths = self._random.integers(1, self.steps + 1, which.size)
        self._start(which, np.asarray(lengths, np.int64))
        self._episodes_left[:] = self._random.integers(0, EPISODES_A_MARKET, self.num_envs)
        return self.markets.observations.copy()

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = np.asarray(actions, np.int64).reshape(self.num_envs)

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Play the actions; return observations, rewards in bps of the cap, ends, infos."""
        markets = self.markets
        markets.step(self._actions)
        risk = markets.vectors[:, _VOLATILITY] * markets.positions
        rewards = markets.gains - 0.5 * self.risk_aversion * risk * risk
        is_over = markets.is_over.copy()
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        which = np.flatnonzero(is_over)
        if which.size:
            for i in which:
                infos[i] = {
                    "terminal_observation": markets.observations[i].copy(),
                    "TimeLimit.truncated": True,
                }
            self._begin_next(which)
        return markets.observations.copy(), rewards.astype(np.float32), is_over, infos

    def _begin_next(self, which: np.ndarray) -> None:
        spent = self._episodes_left[which] == 0
        afresh, onward = which[spent], which[~spent]
        if afresh.size:
            self._start(afresh, np.full(afresh.size, self.steps, np.int64))
            self._episodes_left[afresh] = EPISODES_A_MARKET - 1
        positions = self._random.choice(START_POSITIONS, onward.size)
        self.markets.hand_over(onward, positions, self.steps)
        self._episodes_left[onward] -= 1

    def _start(self, which: np.ndarray, lengths: np.ndarray) -> None:
        seeds = self._random.integers(TRAINING_SEEDS_FROM, 2**40, which.size)
        phases_ns = self._random.integers(0, NS_PER_S, which.size)
        self.markets.start(which, seeds, phases_ns, lengths)

    @property
    def phases_ns(self) -> np.ndarray:
        """Return int64[n]: what each market's features clock is ahead of market time."""
        phases: np.ndarray = self.markets.account[:, PHASE_NS]
        return phases

    def close(self) -> None:
        """Nothing is held open."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self, attr_name, None)] * len(self._chosen(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refuse: the markets are one thing and have no attributes of their own."""
        raise NotImplementedError(f"{attr_name} of one market cannot be set")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **named: Any) -> Any:
        """Refuse, as ``set_attr`` does."""
        raise NotImplementedError(f"{method_name} of one market cannot be called")

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:  # noqa: ARG002 (SB3's port)
        return [False] * len(self._chosen(indices))

    def _chosen(self, indices: Any) -> Sequence[int]:
        return list(self._get_indices(indices))
