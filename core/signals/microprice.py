"""Microprice: the limit of expected future mids, given queue imbalance and spread.

States are 5 sizes of imbalance on either side (10 buckets) times 4 buckets of spread. Counting a
transition together with its mirror image makes the adjustment antisymmetric, G(-I) = -G(I), so
only the buying side is kept and every arrival carries a sign.

Stoikov sums G* = sum_k B^k G1 with G1 = (1-Q)^-1 R K and B = (1-Q)^-1 T. Summed to the end that
is the solution of (1 - Q - T) G* = R K: the expected next move plus the adjustment in the state
that follows. This system is solved here, once a minute.

Source: Stoikov, "The micro-price", Quantitative Finance 18(12), 2018, section 3.
"""

from __future__ import annotations

import math
from bisect import bisect_right

import numpy as np

from core.clock import NS_PER_S
from core.kernels.blend import solve_dominant

NAMES = ("microprice",)
START_SCALES = (0.5,)

N_IMBALANCE = 5
"""Buckets of |imbalance|; with the sign that makes 10."""
N_SPREAD = 4
REFIT_S = 60.0
"""Observed seconds between fits."""
MEMORY_S = 3600.0
"""Age in observed seconds at which a transition counts 1/e."""
MIN_MOVES = 200
"""Transitions with a mid move needed before there is a microprice."""
PRIOR_COUNT = 4.0
"""Made-up transitions a state, without a move, to nowhere: they pull rare states to 0."""
MOVE_CAP = 5.0
"""A move counts at most this many mean moves, so that one jump does not own a state."""
_SPREADS_KEPT = 1024
_GAP_NS = 2 * NS_PER_S


class Microprice:
    """Running transition counts of one instrument and the adjustment fitted to them."""

    def __init__(self) -> None:
        n = N_IMBALANCE * N_SPREAD
        self._arrivals = np.zeros((n, n), np.float64)
        """Signed: + arrived on the same side, - on the other."""
        self._departures = np.zeros(n, np.float64)
        self._moves = np.zeros(n, np.float64)
        """Sum of mid moves out of each state, in ticks, towards its side."""
        self._adjustment: list[float] | None = None
        self._edges: tuple[float, ...] | None = None
        self._spreads: list[float] = []
        self._observed_ns = 0
        self._refit_at_ns = int(REFIT_S * NS_PER_S)
        self._n_moves = 0.0
        self._move_ticks = 0.0
        self.reset_chain()

    def reset_chain(self) -> None:
        """Do not count a transition from the last state; call it when the feed was in doubt."""
        self._last_ns = 0
        self._last_mid_ticks = 0.0
        self._last_state: tuple[int, int] | None = None

    def observe(self, now_ns: int, imbalance: float, spread_ticks: float, mid_ticks: float) -> None:
        """Take the best prices in force at ``now_ns``: imbalance in [-1, 1], spread, mid."""
        if self._last_ns and not 0 <= now_ns - self._last_ns <= _GAP_NS:
            self.reset_chain()
        if self._last_ns:
            self._observed_ns += now_ns - self._last_ns
        if self._edges is None and len(self._spreads) < _SPREADS_KEPT:
            self._spreads.append(spread_ticks)
        state = None if self._edges is None else self._state(imbalance, spread_ticks)
        if state is not None and self._last_state is not None:
            self._count(self._last_state, state, mid_ticks - self._last_mid_ticks)
        self._last_ns, self._last_state, self._last_mid_ticks = now_ns, state, mid_ticks
        if self._observed_ns >= self._refit_at_ns:
            self._refit()

    def offset_ticks(self, imbalance: float, spread_ticks: float) -> float | None:
        """Return microprice minus mid in ticks, or None until enough transitions were seen."""
        if self._adjustment is None or self._edges is None:
            return None
        place, sign = self._state(imbalance, spread_ticks)
        return sign * self._adjustment[place]

    def _state(self, imbalance: float, spread_ticks: float) -> tuple[int, int]:
        """Return (place in the tables, side): side 1 buying, -1 selling, 0 even."""
        assert self._edges is not None
        size = min(int(abs(imbalance) * N_IMBALANCE), N_IMBALANCE - 1)
        side = (imbalance > 0.0) - (imbalance < 0.0)
        return size * N_SPREAD + bisect_right(self._edges, spread_ticks), side

    def _count(self, start: tuple[int, int], end: tuple[int, int], move_ticks: float) -> None:
        place, side = start
        if move_ticks != 0.0:
            self._n_moves += 1.0
            self._move_ticks += abs(move_ticks)
            cap = MOVE_CAP * self._move_ticks / self._n_moves
            move_ticks = max(-cap, min(cap, move_ticks))
        if side == 0:
            return  # an even book and its mirror image cancel
        self._departures[place] += 1.0
        self._moves[place] += side * move_ticks
        self._arrivals[place, end[0]] += side * end[1]

    def _refit(self) -> None:
        """Fit the adjustment, then let the counts age by one interval."""
        self._refit_at_ns += int(REFIT_S * NS_PER_S)
        if self._edges is None:
            self._edges = spread_edges(self._spreads)
            self._spreads.clear()
            return
        if self._n_moves >= MIN_MOVES:
            matrix = np.diag(self._departures + PRIOR_COUNT) - self._arrivals
            right = self._moves.copy()
            solve_dominant(matrix, right)
            self._adjustment = right.tolist()
        keep = math.exp(-REFIT_S / MEMORY_S)
        self._arrivals *= keep
        self._departures *= keep
        self._moves *= keep
        self._n_moves *= keep
        self._move_ticks *= keep


def spread_edges(spreads_ticks: list[float]) -> tuple[float, ...]:
    """Return the three edges of the spread buckets for the spreads of the first minute.

    1, 2, 3 and more ticks where nine in ten spreads are at most four ticks, else quartiles.
    """
    spreads = sorted(spreads_ticks)
    if not spreads or spreads[int(0.9 * (len(spreads) - 1))] <= N_SPREAD:
        return (1.5, 2.5, 3.5)
    return tuple(spreads[len(spreads) * k // N_SPREAD] for k in range(1, N_SPREAD))
