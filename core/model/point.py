"""A decision point: one look at one instrument for a trade, taken or not, with all that it saw.

One line of JSON each, in files that DECISIONS events name (``core.model.event``). The lines are
outside the restricted JSON of events: their floats are written exactly, as the shortest decimal
that reads back as the same bits. Larger integers and times are text.
"""

from __future__ import annotations

import msgspec

from core.model.decision import LimitCheck, Mode

FORMAT = "points/1"


class MarketSeen(msgspec.Struct, frozen=True, gc=False):
    """The market row that was looked at; the tape holds it under the same two times."""

    event_ns: str
    """Venue's time of the row; ``0`` where the venue gives none."""
    recv_ns: str
    bid_ticks: int
    bid_lots: int
    ask_ticks: int
    ask_lots: int
    flags: int


class ForecastSeen(msgspec.Struct, frozen=True, gc=False):
    """``core.model.decision.Forecast`` without the names of its signals."""

    horizon_s: int
    p_up: float
    base_rate: float
    skill: float | None
    n_resolved: int
    moved_share: float
    mean_move_ticks: float
    bias_share: float
    shares: tuple[float, ...]
    """Contribution of each signal to the log-odds."""


class Alternative(msgspec.Struct, frozen=True, gc=False):
    """One thing that could be done, with what it promised."""

    action: str
    """HOLD, BUY or SELL."""
    lots: int
    edge_bps: float
    """Expected move in its favour, before costs."""
    cost_bps: float


class DecisionPoint(msgspec.Struct, frozen=True, gc=False):
    """One look for a trade and what came of it."""

    n: int
    """Number in the run, from 1."""
    ts_ns: str
    """Engine time."""
    instrument: str
    mode: Mode
    market: MarketSeen
    features: tuple[float, ...]
    """Empty while the book cannot be believed."""
    signals: tuple[float, ...]
    forecasts: tuple[ForecastSeen, ...]
    agent: tuple[float, ...]
    """Probability of short, flat and long, then the entropy; empty without a view."""
    position_lots: int
    alternatives: tuple[Alternative, ...]
    """What the rule chose from; empty where the rule was not asked."""
    checks: tuple[LimitCheck, ...]
    """What every limit said of the best alternative; empty where the rule was not asked."""
    outcome: str
    """``proposed``, or the code of the reason for none."""
    text: str
    """The reason in words."""
    decision_id: str = ""
    """The proposal that came of it."""
