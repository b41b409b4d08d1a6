"""The blend: signals in, a probability of up that has to earn its place.

One ``Blend`` per instrument and horizon. It predicts, waits until the horizon has passed, learns
from what happened, and keeps score of the predictions as they were made. Call ``sample`` at any
cadence (it takes at most one sample a whole second), then ``forecast``.

Two experts are mixed: an online Bayesian logistic regression (full covariance, narrow prior) and
the running base rate. The mixing weight follows their likelihood with fixed share (Herbster and
Warmuth 1998), so a useless regression fades and the damage is bounded.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import msgspec
import numpy as np

from core.clock import NS_PER_S
from core.config import BlendSettings
from core.errors import InvariantError
from core.kernels import blend as kernel
from core.model.decision import Forecast, SignalShare
from core.signals.board import CLIP, SIGNAL_NAMES
from core.signals.scorecard import Calibration, Scorecard

GAP_NS = 3 * NS_PER_S
"""A longer silence between calls drops the pending samples."""
LATE_NS = NS_PER_S
"""A sample resolved later than this after its horizon is dropped: it would label another one."""
FIXED_SHARE = 0.0001
"""Weight that returns to the start weights with each label."""
START_WEIGHT = 0.5
"""Weight of the regression before any label."""
BASE_PRIOR = 10.0
"""The base rate starts from this many ups and as many downs."""
P_MIN = 0.001
"""Probabilities are kept this far from 0 and 1."""


class _Prediction(msgspec.Struct, frozen=True, gc=False):
    """Probabilities of up: the regression's, the base rate, their mixture (the published one)."""

    p_model: float
    p_base: float
    p_up: float
    moderation: float
    """What the uncertainty of the weights leaves of the log-odds, in (0, 1]."""


class _Pending(msgspec.Struct, frozen=True, gc=False):
    """A prediction that waits for its label."""

    due_ns: int
    mid_ticks: float
    x: np.ndarray
    prediction: _Prediction


class Blend:
    """Calibrated probability that the mid is higher after ``horizon_s``, given that it moves."""

    def __init__(
        self,
        settings: BlendSettings,
        horizon_s: int,
        n_signals: int,
        names: Sequence[str] = SIGNAL_NAMES,
    ) -> None:
        """Start with no evidence: p is 0.5 whatever the signals say.

        ``names`` label the shares, one a signal.
        """
        if len(names) != n_signals:
            raise InvariantError(f"blend was given {len(names)} names for {n_signals} signals")
        self.horizon_s = horizon_s
        self.names = tuple(names)
        self._horizon_ns = horizon_s * NS_PER_S
        self._keep = math.exp(-1.0 / settings.memory_s)
        self._min_labels = settings.min_labels
        self._prior_precision = 1.0 / settings.prior_variance
        d = n_signals + 1
        self._precision = np.eye(d) * self._prior_precision
        self._eta = np.zeros(d, np.float64)
        self._lower = np.zeros((d, d), np.float64)
        self._weights = np.zeros(d, np.float64)
        self._solved = np.zeros(d, np.float64)
        kernel.factor(self._precision, self._eta, self._lower, self._weights)
        self._model_weight = START_WEIGHT
        self._ups = self._labels = 0.0
        self._pending: deque[_Pending] = deque(maxlen=horizon_s + 4)
        self._last_ns = 0
        self._second = -1
        self.scorecard = Scorecard(settings.skill_window)
        """What became of the published forecasts."""
        self.n_dropped = 0
        """Samples dropped without a label, because of a gap, doubt or lateness."""

    @property
    def model_weight(self) -> float:
        """Weight of the regression in the mixture; the base rate has the rest."""
        return self._model_weight

    @property
    def weights(self) -> np.ndarray:
        """Log-odds of one unit of each signal, the bias last; a copy, float64[n_signals + 1]."""
        return self._weights.copy()

    @property
    def base_rate(self) -> float:
        """Running share of ups among the labels."""
        return (self._ups + BASE_PRIOR) / (self._labels + 2.0 * BASE_PRIOR)

    def reset_pending(self) -> None:
        """The feed was in doubt: no waiting sample may get a label. What was learned stays."""
        self.n_dropped += len(self._pending)
        self._pending.clear()

    def sample(self, now_ns: int, x: np.ndarray, mid_ticks: float) -> None:
        """Resolve what is due with the mid in force now, then sample ``x`` once a second.

        ``x`` is float64[n_signals], scaled, as of ``now_ns``; it is copied. Call only while the
        book may be believed, and ``reset_pending`` when it might not have been in between.
        """
        if not 0 <= now_ns - self._last_ns <= GAP_NS:
            self.reset_pending()
        self._last_ns = now_ns
        while self._pending and self._pending[0].due_ns <= now_ns:
            self._resolve(self._pending.popleft(), now_ns, mid_ticks)
        second = now_ns // NS_PER_S
        if second <= self._second:
            return
        self._second = second
        self._fade()
        due_ns = now_ns + self._horizon_ns
        self._pending.append(_Pending(due_ns, mid_ticks, x.copy(), self._predict(x)))

    def forecast(self, x: np.ndarray, values: Sequence[float] | None = None) -> Forecast:
        """Return the probability of up for ``x``, float64[n_signals], with its reasons.

        ``values`` are what the shares show as each signal's own value; x over its clip where
        not given.

        Shares. The regression gives log-odds a = bias + sum(w_i x_i); moderation (for the
        uncertainty of w) and the mixture with the base rate then bend a into the published
        log-odds L. ``bias_share`` is L0, the published log-odds had all signals been zero at
        the same uncertainty. L - L0 is divided among the signals in proportion to w_i x_i. L
        rises with a, so the common factor (L - L0) / sum(w_i x_i) is a mean slope of L over a,
        in (0, 1]: signs stay, and nothing blows up where signals cancel. ``bias_share`` takes
        the rounding, so that bias and shares add up to L.
        """
        prediction = self._predict(x)
        log_odds = _logit(prediction.p_up)
        parts = (self._weights[:-1] * x).tolist()
        factor = self._share_factor(parts, prediction)
        if values is None:
            values = (x / CLIP).tolist()
        shares = tuple(
            SignalShare(name, value, factor * part)
            for name, value, part in zip(self.names, values, parts, strict=True)
        )
        score = self.scorecard
        return Forecast(
            horizon_s=self.horizon_s,
            p_up=prediction.p_up,
            base_rate=prediction.p_base,
            skill=score.skill() if score.n_labels >= self._min_labels else None,
            n_resolved=score.n_labels,
            moved_share=score.moved_share,
            mean_move_ticks=score.mean_move_ticks,
            bias_share=log_odds - math.fsum(share.share for share in shares),
            shares=shares,
        )

    def calibration(self) -> Calibration | None:
        """Return the reliability of the last ``skill_window`` predictions, None until enough."""
        if self.scorecard.n_labels < self._min_labels:
            return None
        return self.scorecard.calibration()

    def _predict(self, x: np.ndarray) -> _Prediction:
        log_odds, variance = kernel.predict(self._lower, self._weights, x, self._solved)
        if not math.isfinite(log_odds):
            raise InvariantError("a signal was not a finite number")
        moderation = 1.0 / math.sqrt(1.0 + math.pi * variance / 8.0)
        p_model = _probability(log_odds * moderation)
        p_base = self.base_rate
        return _Prediction(p_model, p_base, self._mix(p_model, p_base), moderation)

    def _mix(self, p_model: float, p_base: float) -> float:
        return self._model_weight * p_model + (1.0 - self._model_weight) * p_base

    def _share_factor(self, parts: list[float], prediction: _Prediction) -> float:
        """Return what a unit of w_i x_i adds to the published log-odds; see ``forecast``."""
        p_up, moderation = prediction.p_up, prediction.moderation
        total = math.fsum(parts)
        if abs(total) < 1e-6:
            # the slope itself, where the quotient below would be 0 / 0
            slope = self._model_weight * prediction.p_model * (1.0 - prediction.p_model)
            return moderation * slope / (p_up * (1.0 - p_up))
        silent = self._mix(_probability(moderation * self._weights[-1]), prediction.p_base)
        return (_logit(p_up) - _logit(silent)) / total

    def _fade(self) -> None:
        """Let one observed second pass: old labels count less."""
        kernel.fade(self._precision, self._eta, self._keep, self._prior_precision)
        kernel.factor(self._precision, self._eta, self._lower, self._weights)
        self._ups *= self._keep
        self._labels *= self._keep

    def _resolve(self, sample: _Pending, now_ns: int, mid_ticks: float) -> None:
        if now_ns - sample.due_ns > LATE_NS:
            self.n_dropped += 1
            return
        move_ticks = mid_ticks - sample.mid_ticks
        self.scorecard.take_move(move_ticks)
        if move_ticks == 0.0:
            return
        up = 1.0 if move_ticks > 0.0 else 0.0
        prediction = sample.prediction
        self.scorecard.take_label(prediction.p_up, prediction.p_base, up)
        self._reweigh(prediction, up)
        # labels of neighbouring samples share all but a second of their path
        step = 1.0 / self.horizon_s
        kernel.learn(self._precision, self._eta, self._weights, sample.x, up, step)
        kernel.factor(self._precision, self._eta, self._lower, self._weights)
        self._ups += up
        self._labels += 1.0

    def _reweigh(self, prediction: _Prediction, up: float) -> None:
        """Move the mixing weight to the expert that gave the label more probability."""
        step = 1.0 / self.horizon_s
        model = self._model_weight * _likelihood(prediction.p_model, up) ** step
        base = (1.0 - self._model_weight) * _likelihood(prediction.p_base, up) ** step
        share = FIXED_SHARE * step
        self._model_weight = (1.0 - share) * model / (model + base) + share * START_WEIGHT


def _probability(log_odds: float) -> float:
    return min(1.0 - P_MIN, max(P_MIN, float(kernel.sigmoid(log_odds))))


def _logit(p: float) -> float:
    return math.log(p / (1.0 - p))


def _likelihood(p: float, up: float) -> float:
    return p if up else 1.0 - p
