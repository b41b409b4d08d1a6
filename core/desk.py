"""One instrument's desk: feed, features, signals, forecasts and the agent's view, kept current.

The feed's book keeps itself, its features and its newest row; ``think`` reads them at the
strategy's cadence. Nothing here trades.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from core.blend import Blend
from core.clock import NS_PER_MS
from core.config import Settings
from core.features import Features
from core.feeds.protocol import InstrumentFeed
from core.model.decision import AgentView, Forecast
from core.model.market import FeedState
from core.offset import ClockOffset
from core.ports import Policy
from core.signals.board import SIGNAL_NAMES, SignalBoard

HORIZONS_S = (1, 5)
ENTROPY_KEPT = 300


class Desk:
    """What is known and believed of one instrument."""

    def __init__(
        self, index: int, feed: InstrumentFeed, settings: Settings, policy: Policy | None
    ) -> None:
        self.index = index
        self.feed = feed
        feed.book.place = index
        self.instrument = feed.instrument
        self.clock = ClockOffset(settings.risk)
        self.board = SignalBoard()
        self.blends = tuple(Blend(settings.blend, h, len(SIGNAL_NAMES)) for h in HORIZONS_S)
        self.forecasts: tuple[Forecast, ...] = ()
        self.agent: AgentView | None = None
        self.entropy_history: deque[float] = deque(maxlen=ENTROPY_KEPT)
        self._policy = policy
        self._agent_cadence_ns = settings.agent.cadence_ms * NS_PER_MS
        self._agent_due_ns = 0
        self._horizon_s = settings.strategy.horizon_s

    @property
    def features(self) -> Features:
        """What the feed's book makes of itself and of the trades."""
        return self.feed.book.features

    @property
    def row(self) -> np.ndarray:
        """The newest MarketState row, MARKET_STATE[()], rewritten on every message."""
        return self.feed.book.row

    @property
    def is_live(self) -> bool:
        """True if the book may be believed and priced from."""
        if self.feed.state is not FeedState.LIVE:
            return False
        bid, _, ask, *_ = self.feed.book.touch()
        return 0 < bid < ask

    @property
    def forecast(self) -> Forecast | None:
        """The forecast at the strategy's horizon, or None before the first."""
        for forecast in self.forecasts:
            if forecast.horizon_s == self._horizon_s:
                return forecast
        return None

    def on_doubt(self) -> None:
        """The feed left ``live``: what was learnt stays, what was pending is dropped."""
        self.board.reset()
        self.agent = None
        self.forecasts = ()
        for blend in self.blends:
            blend.reset_pending()

    def think(self, now_ns: int, position_fraction: float) -> None:
        """Read the features and renew signals, agent view and forecasts, as of ``now_ns``."""
        if not self.is_live:
            return
        vector = self.features.read(now_ns)
        if not self.features.is_ready:
            return
        if self._policy is not None and now_ns >= self._agent_due_ns:
            self._agent_due_ns = now_ns + self._agent_cadence_ns
            self.agent = self._policy.decide(self.index, vector, position_fraction)
            self.entropy_history.append(self.agent.entropy)
        mid = self.features.mid_ticks
        x = self.board.read(now_ns, vector, mid, self.agent)
        for blend in self.blends:
            blend.sample(now_ns, x, mid)
        values = [0.0 if value is None else value for _, value in self.board.display()]
        self.forecasts = tuple(blend.forecast(x, values) for blend in self.blends)

    @property
    def bucket(self) -> str | None:
        """Volatility bucket: calm, normal, lively, wild; None until there is a history."""
        return self.board.volatility_bucket
