"""Trend: does the last move go on.

Returns over 1 and 5 seconds, the crossing of a fast and a slow average (5 s, 30 s), and the
place in the range of the last minute (Donchian). All are in standard deviations or bounded, so
one scale fits quiet and lively markets. There is no evidence that they lead at seconds; the
blend decides what they are worth.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.kernels.features import FEATURE_NAMES

NAMES = ("return 1s", "return 5s", "ema cross", "breakout")
START_SCALES = (1.0, 1.0, 0.5, 0.8)
"""Scale of each before there is a history."""

_PLACES = tuple(
    FEATURE_NAMES.index(name) for name in ("return_1s", "return_5s", "ema_cross", "breakout")
)


def trend(features: Sequence[float]) -> tuple[float, ...]:
    """Return the four trends in the order of ``NAMES``; plus is rising.

    ``features`` are in the order of ``FEATURE_NAMES``. Units: standard deviations, standard
    deviations, [-1, 1], [-2, 2].
    """
    return tuple(features[place] for place in _PLACES)
