"""One instrument's desk: feed, features, signals, forecasts and the agent's view, kept current.

Market events come in one by one; ``think`` runs at the strategy's cadence. Nothing here trades.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from core.blend import Blend
from core.clock import NS_PER_MS, NS_PER_S
from core.config import Settings
from core.features import Features
from core.feeds.protocol import InstrumentFeed
from core.market_row import fill_row
from core.model.decision import AgentView, Forecast
from core.model.market import MARKET_STATE, BookMoved, FeedState, TradePrint
from core.ports import Policy
from core.signals.board import SIGNAL_NAMES, SignalBoard
from core.snapshot import Bar

HORIZONS_S = (1, 5)
BARS_KEPT = 600
ENTROPY_KEPT = 300


class Desk:
    """What is known and believed of one instrument."""

    def __init__(
        self, index: int, feed: InstrumentFeed, settings: Settings, policy: Policy | None
    ) -> None:
        self.index = index
        self.feed = feed
        self.instrument = feed.instrument
        self.features = Features()
        self.board = SignalBoard()
        self.blends = tuple(Blend(settings.blend, h, len(SIGNAL_NAMES)) for h in HORIZONS_S)
        self.forecasts: tuple[Forecast, ...] = ()
        self.agent: AgentView | None = None
        self.entropy_history: deque[float] = deque(maxlen=ENTROPY_KEPT)
        self.bars: deque[Bar] = deque(maxlen=BARS_KEPT)
        self.row = np.zeros((), MARKET_STATE)
        """The newest MarketState row, rewritten on every message."""
        self._policy = policy
        self._agent_cadence_ns = settings.agent.cadence_ms * NS_PER_MS
        self._agent_due_ns = 0
        self._horizon_s = settings.strategy.horizon_s

    @property
    def is_live(self) -> bool:
        """True if the book may be believed and priced from."""
        book = self.feed.book
        return (
            self.feed.state is FeedState.LIVE
            and book.best_bid is not None
            and book.best_ask is not None
            and not book.is_crossed
        )

    @property
    def forecast(self) -> Forecast | None:
        """The forecast at the strategy's horizon, or None before the first."""
        for forecast in self.forecasts:
            if forecast.horizon_s == self._horizon_s:
                return forecast
        return None

    def on_book(self, event: BookMoved) -> None:
        if self.is_live:
            bid, bid_lots, ask, ask_lots, depth_bid, depth_ask = self.feed.book.touch()
            self.features.on_book(
                event.ts_recv_ns, (bid, bid_lots), (ask, ask_lots), (depth_bid, depth_ask)
            )
            self._bar(event.ts_recv_ns, 0.0)
        fill_row(
            self.row, self.index, self.feed, self.features, event.ts_event_ns, event.ts_recv_ns
        )

    def on_trade(self, event: TradePrint) -> None:
        self.features.on_trade(event.ts_recv_ns, event.price_ticks, event.qty_lots, event.aggressor)
        if self.bars:
            self._bar(event.ts_recv_ns, float(self.instrument.qty(event.qty_lots)))

    def on_doubt(self) -> None:
        """The feed left ``live``: what was learnt stays, what was pending is dropped."""
        self.features.reset()
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

    def _bar(self, now_ns: int, volume: float) -> None:
        price = self.features.mid_ticks * float(self.instrument.tick_size)
        end_s = now_ns // NS_PER_S + 1
        if self.bars and self.bars[-1].end_s == end_s:
            last = self.bars[-1]
            self.bars[-1] = Bar(
                end_s, last.open, max(last.high, price), min(last.low, price), price,
                last.volume + volume,
            )  # fmt: skip
        else:
            self.bars.append(Bar(end_s, price, price, price, price, volume))
