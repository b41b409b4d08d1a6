"""Many simulated markets played at once: one decision a second each, costs and impact paid.

No learning library here: training wraps it as an environment (``agents.env``), evaluation plays
rules and frozen policies on it. All markets are stepped in one numba call.
"""

from __future__ import annotations

import hashlib

import msgspec
import numpy as np

from agents import kernels
from agents.observe import EXPOSURE, N_OBSERVATION, POSITION
from core.kernels import features as features_kernel
from core.kernels import market as market_kernel
from core.kernels.rng import RNG_SIZE
from core.sim.params import SET_C, MarketParams, pack

NS_PER_S = 1_000_000_000


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What it costs to act, and when one may."""

    cap_lots: int = 1_000
    """Position of one cap."""
    fee_bps: float = 0.1
    """Taker fee; the paper broker's default for the simulated venue."""
    latency_ms: int = 20
    """From decision to the order's arrival; the paper broker's default."""
    cadence_ms: int = 1_000
    limit_away_ticks: int = 10
    """How far past the best price an order may walk."""
    warm_up_s: int = 60
    """Market time before the first decision, so that every feature has its window."""

    def pack(self) -> np.ndarray:
        """Return the kernel's float64[RULES_SIZE]."""
        packed = np.zeros(kernels.RULES_SIZE, np.float64)
        packed[kernels.CAP_LOTS] = self.cap_lots
        packed[kernels.FEE_BPS] = self.fee_bps
        packed[kernels.LATENCY_NS] = self.latency_ms * 1_000_000
        packed[kernels.CADENCE_NS] = self.cadence_ms * 1_000_000
        packed[kernels.LIMIT_AWAY_TICKS] = self.limit_away_ticks
        packed[kernels.WARM_UP_NS] = self.warm_up_s * NS_PER_S
        return packed


START_TICKS = 10_000
"""First price: 100.00 at a tick of 0.01, so that one tick is one bp."""


class Markets:
    """``n`` independent markets with their features and accounts.

    Arrays have one row a market. ``observations`` float32[n, N_OBSERVATION] is what the agent
    sees now; ``vectors`` float64[n, N_FEATURES] what it was made from; ``gains`` float64[n] the
    last step in bps of the cap.
    """

    def __init__(self, n: int, rules: Rules | None = None, params: MarketParams = SET_C) -> None:
        self.n = n
        self.rules = rules or Rules()
        self._rules = self.rules.pack()
        self._params = pack(params)
        self.ints = np.zeros((n, market_kernel.INTS_SIZE), np.int64)
        self.reals = np.zeros((n, market_kernel.REALS_SIZE), np.float64)
        self.rng = np.zeros((n, RNG_SIZE), np.uint64)
        self.queues = np.zeros((n, 2, market_kernel.WINDOW), np.int64)
        self.clock = np.zeros((n, features_kernel.CLOCK_SIZE), np.int64)
        self.values = np.zeros((n, features_kernel.VALUES_SIZE), np.float64)
        self.account = np.zeros((n, kernels.ACCOUNT_SIZE), np.int64)
        self.money = np.zeros((n, kernels.MONEY_SIZE), np.float64)
        self.fills = np.zeros((n, kernels.MAX_FILLS, 2), np.int64)
        self.vectors = np.zeros((n, features_kernel.N_FEATURES), np.float64)
        self.observations = np.zeros((n, N_OBSERVATION), np.float32)
        self.gains = np.zeros(n, np.float64)

    def start(
        self, which: np.ndarray, seeds: np.ndarray, phases_ns: np.ndarray, steps: np.ndarray
    ) -> None:
        """Begin episodes in the markets ``which``, int64[k], from ``seeds``, int64[k].

        phases_ns: offset of the features' whole seconds, [0, 1e9); steps: decisions until the
        episode is cut. A market's course is fixed by its seed and what is traded in it.
        """
        self.account[which, kernels.PHASE_NS] = phases_ns
        self.account[which, kernels.STEPS_MAX] = steps
        kernels.start_all(
            *self._market_arrays(),
            self._rules,
            which,
            seeds,
            START_TICKS,
            self.vectors,
            self.observations,
        )

    def hand_over(self, which: np.ndarray, positions: np.ndarray, steps: int) -> None:
        """Begin the next episode of ``steps`` decisions in markets that go on, for training.

        positions: int64[k] of -1, 0, 1 caps, taken over at the mid without cost.
        """
        lots = positions * self.rules.cap_lots
        self.account[which, kernels.STEPS_MAX] = self.account[which, kernels.STEPS] + steps
        self.account[which, kernels.POSITION_LOTS] = lots
        self.account[which, kernels.CASH] = 0
        self.account[which, kernels.TURNOVER_LOTS] = 0
        mids = self.mids[which]
        self.money[which] = 0.0
        self.money[which, kernels.START_MID] = mids
        self.money[which, kernels.EQUITY] = lots * mids
        self.observations[which, POSITION] = positions
        self.observations[which, EXPOSURE] = np.abs(positions)

    def step(self, actions: np.ndarray) -> None:
        """Play one decision in each market: actions int64[n] of 0 short, 1 flat, 2 long."""
        kernels.step_all(
            *self._market_arrays(),
            self._rules,
            self.fills,
            actions,
            self.vectors,
            self.observations,
            self.gains,
        )

    def _market_arrays(self) -> tuple[np.ndarray, ...]:
        return (
            self.ints, self.reals, self.rng, self.queues, self._params, self.clock, self.values,
            self.account, self.money,
        )  # fmt: skip

    @property
    def positions(self) -> np.ndarray:
        """Return float64[n], positions over the cap."""
        fractions: np.ndarray = self.account[:, kernels.POSITION_LOTS] / self.rules.cap_lots
        return fractions

    @property
    def costs(self) -> np.ndarray:
        """Return float64[n]: fee, half-spread and slippage of the last step, bps of the cap."""
        scale = 1e4 / (self.rules.cap_lots * self.money[:, kernels.START_MID])
        costs: np.ndarray = self.money[:, kernels.STEP_COST] * scale
        return costs

    @property
    def is_over(self) -> np.ndarray:
        """Return bool[n]: the episode has had its decisions."""
        steps: np.ndarray = self.account[:, kernels.STEPS]
        return steps >= self.account[:, kernels.STEPS_MAX]

    @property
    def mids(self) -> np.ndarray:
        """Return float64[n], mids in ticks."""
        best: np.ndarray = self.ints[:, market_kernel.BID] + self.ints[:, market_kernel.ASK]
        return 0.5 * best


def market_digest(params: MarketParams = SET_C) -> str:
    """Return the sha256, in hex, of the parameters and of what they lead to.

    One market is run for a minute and its book hashed, so that a change of the market's code
    changes the digest as a change of a parameter does.
    """
    markets = Markets(1, params=params)
    one = np.zeros(1, np.int64)
    markets.start(one, one, one, one + 1)
    digest = hashlib.sha256(pack(params).tobytes())
    digest.update(markets.ints[0].tobytes() + markets.queues[0].tobytes())
    return digest.hexdigest()
