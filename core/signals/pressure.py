"""Pressure: who is leaning on the book, from its queues and from the trades.

Queue imbalance after Gould and Bonart 2015 (arXiv:1512.03492), order-flow imbalance after Cont,
Kukanov and Stoikov 2014 (arXiv:1011.6402); the features kernel computes both. They lead by
seconds, not minutes.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.kernels.features import FEATURE_NAMES

NAMES = (
    "queue imbalance",
    "depth imbalance",
    "order flow 1s",
    "order flow 5s",
    "trade pressure 1s",
    "trade pressure 5s",
    "trade pressure 30s",
)
START_SCALES = (0.7, 0.4, 0.5, 0.5, 0.8, 0.7, 0.5)
"""Scale of each before there is a history: about the 80th percentile of |x| on a live book."""

_PLACES = tuple(
    FEATURE_NAMES.index(name)
    for name in (
        "imbalance_l1",
        "imbalance_l10",
        "order_flow_1s",
        "order_flow_5s",
        "pressure_1s",
        "pressure_5s",
        "pressure_30s",
    )
)


def pressure(features: Sequence[float]) -> tuple[float, ...]:
    """Return the seven pressures in the order of ``NAMES``, each in [-1, 1], plus is buying.

    ``features`` are in the order of ``FEATURE_NAMES``.
    """
    return tuple(features[place] for place in _PLACES)
