"""The scorecard of a forecast: skill against the base rate, moves, calibration.

Only predictions made before their outcome come in here; nothing here predicts.
Source: Brier skill score after Murphy 1973; Wilson score interval 1927.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

N_BINS = 10
_WILSON_Z = 1.96


class CalibrationBin(msgspec.Struct, frozen=True):
    """One bin of the reliability diagram: a tenth of the predictions, by rank."""

    mean_p: float
    frequency: float
    """Share of ups among them."""
    low: float
    """95 % Wilson interval of the frequency."""
    high: float
    n: int


class Calibration(msgspec.Struct, frozen=True):
    """How the published probabilities compare with what happened, over the window."""

    bins: tuple[CalibrationBin, ...]
    n: int
    expected_error: float
    """Expected calibration error: mean of |mean_p - frequency|, weighted by bin."""
    error_floor: float
    """What a perfectly calibrated forecast would still show with so few labels."""
    brier: float
    log_loss: float
    """Nats a label."""
    log_loss_base: float
    """The same for the base rate."""


class Scorecard:
    """Rolling record of the last ``window`` labels; bounded memory, O(1) a label."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._p = np.zeros(window, np.float64)
        self._base = np.zeros(window, np.float64)
        self._up = np.zeros(window, np.float64)
        self._brier = self._brier_base = 0.0
        self.n_labels = 0
        """Resolved samples in which the mid moved."""
        self.n_samples = 0
        """Resolved samples, ties included."""
        self.moved_share = 0.0
        """Running mean over the samples, exponential beyond ``window`` of them."""
        self.mean_move_ticks = 0.0
        """The same for |move|, ties included."""

    def take_move(self, move_ticks: float) -> None:
        """Take the mid move of a resolved sample, 0 for a tie."""
        self.n_samples += 1
        weight = 1.0 / min(self.n_samples, self._window)
        self.moved_share += weight * ((move_ticks != 0.0) - self.moved_share)
        self.mean_move_ticks += weight * (abs(move_ticks) - self.mean_move_ticks)

    def take_label(self, p: float, base: float, up: float) -> None:
        """Take a prediction, the base rate of that moment, and the outcome (1.0 or 0.0)."""
        place = self.n_labels % self._window
        if self.n_labels >= self._window:
            old = self._up[place]
            self._brier -= float((self._p[place] - old) ** 2)
            self._brier_base -= float((self._base[place] - old) ** 2)
        self._p[place], self._base[place], self._up[place] = p, base, up
        self._brier += (p - up) ** 2
        self._brier_base += (base - up) ** 2
        self.n_labels += 1

    def skill(self) -> float:
        """Return 1 - Brier / Brier of the base rate over the window; 0 before any label."""
        return 1.0 - self._brier / self._brier_base if self._brier_base > 0.0 else 0.0

    def losses(self) -> tuple[np.ndarray, np.ndarray]:
        """Return Brier losses of the forecast and the base rate, float64[n <= window], by age."""
        held = min(self.n_labels, self._window)
        order = (np.arange(held) + self.n_labels - held) % self._window
        up = self._up[order]
        return (self._p[order] - up) ** 2, (self._base[order] - up) ** 2

    def calibration(self) -> Calibration:
        """Return reliability and log-losses over the window. Needs at least ``N_BINS`` labels."""
        held = min(self.n_labels, self._window)
        p, base, up = self._p[:held], self._base[:held], self._up[:held]
        order = np.argsort(p, kind="stable")
        bins = tuple(_bin(p[part], up[part]) for part in np.array_split(order, N_BINS))
        rate = float(up.mean())
        return Calibration(
            bins=bins,
            n=held,
            expected_error=sum(b.n * abs(b.mean_p - b.frequency) for b in bins) / held,
            error_floor=0.8 * math.sqrt(rate * (1.0 - rate) * N_BINS / held),
            brier=float(np.mean((p - up) ** 2)),
            log_loss=_log_loss(p, up),
            log_loss_base=_log_loss(base, up),
        )


def _bin(p: np.ndarray, up: np.ndarray) -> CalibrationBin:
    n = len(p)
    frequency = float(up.mean())
    z2 = _WILSON_Z**2 / n
    middle = (frequency + z2 / 2.0) / (1.0 + z2)
    reach = math.sqrt(frequency * (1.0 - frequency) * z2 + z2 * z2 / 4.0) / (1.0 + z2)
    return CalibrationBin(float(p.mean()), frequency, middle - reach, middle + reach, n)


def _log_loss(p: np.ndarray, up: np.ndarray) -> float:
    return float(-np.mean(np.log(np.where(up > 0.5, p, 1.0 - p))))
