"""hftbacktest's market depth (Rust), as its backtest moves it. Not a like-for-like row.

It is a simulator: it reads no venue's frames in Python, but numpy events made beforehand, so the
whole decoding is missing here; on the other hand its driver keeps two depths, the venue's and the
trader's. What is timed is the way from one message's events to the best prices.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import orjson
from hftbacktest import BacktestAsset, HashMapMarketDepthBacktest
from hftbacktest.types import (
    BUY_EVENT,
    DEPTH_EVENT,
    EXCH_EVENT,
    LOCAL_EVENT,
    SELL_EVENT,
    event_dtype,
)
from numba import njit

from bench.peers.face import Contender, Sides
from bench.peers.scenario import Frame, Scenario

STEP_NS = 1_000_000
"""Between two messages on the simulator's clock; all opening messages come at the first step."""
_BID = DEPTH_EVENT | EXCH_EVENT | LOCAL_EVENT | BUY_EVENT
_ASK = DEPTH_EVENT | EXCH_EVENT | LOCAL_EVENT | SELL_EVENT

Rows = list[tuple[int, int, int, float, float, int, int, float]]


@njit
def _step(backtest: Any, asset: int) -> tuple[float, float, float, float]:
    backtest.elapse(STEP_NS)
    depth = backtest.depth(asset)
    return depth.best_bid, depth.best_bid_qty, depth.best_ask, depth.best_ask_qty


@njit
def _quantities(backtest: Any, asset: int, ticks: np.ndarray) -> np.ndarray:
    """Return float64[2, n]: what lies at each tick, bids and asks."""
    depth = backtest.depth(asset)
    found = np.empty((2, len(ticks)))
    for at, tick in enumerate(ticks):
        found[0, at] = depth.bid_qty_at_tick(tick)
        found[1, at] = depth.ask_qty_at_tick(tick)
    return found


class HftBacktest:
    """One asset an instrument on one clock that steps once a message."""

    name = "hftbacktest (no decode)"
    does = "events ready as numpy rows: simulator's step, Rust depth, touch read; reads no frame"

    def __init__(self, scenario: Scenario) -> None:
        self._venue = scenario.venue
        self._instruments = scenario.instruments
        self._asset = {one.name: at for at, one in enumerate(scenario.instruments)}
        self._backtest: Any = None
        self._events: list[np.ndarray] = self._make_events(scenario)

    def inputs(self, frames: Sequence[Frame]) -> list[int]:
        """Return the asset to read after each message; its events are in the simulator."""
        return [self._asset[self._changes(frame.data)[-1][0]] for frame in frames]

    def start(self, scenario: Scenario) -> None:
        del scenario
        if self._backtest is not None:
            self._backtest.close()
        assets = [
            BacktestAsset()
            .data([events])
            .linear_asset(1.0)
            .constant_order_latency(0, 0)
            .risk_adverse_queue_model()
            .no_partial_fill_exchange()
            .trading_value_fee_model(0.0, 0.0)
            .tick_size(float(one.tick_size))
            .lot_size(1e-8)
            .last_trades_capacity(0)
            for one, events in zip(self._instruments, self._events, strict=True)
        ]
        self._backtest = HashMapMarketDepthBacktest(assets)
        self.receive(0)

    def receive(self, one: int) -> object:
        return _step(self._backtest, one)

    def books(self) -> dict[str, Sides]:
        found = {}
        for one, events in zip(self._instruments, self._events, strict=True):
            ticks = np.unique(np.rint(events["px"] / float(one.tick_size)).astype(np.int64))
            asset = self._asset[one.name]
            sides = [
                {
                    one.price(int(tick)): Decimal(repr(round(float(qty), 8)))
                    for tick, qty in zip(ticks, quantities, strict=True)
                    if qty > 0
                }
                for quantities in _quantities(self._backtest, asset, ticks)
            ]
            found[one.name] = Sides(*sides)
        return found

    def _make_events(self, scenario: Scenario) -> list[np.ndarray]:
        rows: list[Rows] = [[] for _ in scenario.instruments]
        for name, body in scenario.snapshots.items():
            reply = orjson.loads(body)
            for kind, side in ((_BID, "bids"), (_ASK, "asks")):
                for price, qty in reply[side]:
                    self._add(rows, name, (kind, price, qty), 1)
        for frame in scenario.stitched():
            for name, *change in self._changes(frame.data):
                self._add(rows, name, change, 1)
        step = 1
        for step, frame in enumerate(scenario.messages, 1):
            for name, *change in self._changes(frame.data):
                self._add(rows, name, change, step * STEP_NS + 1)
        for one in rows:
            # The simulator ends with its data: one event past the last message keeps it going.
            one.append((_BID, *[(step + 9) * STEP_NS] * 2, 1e-2, 0.0, 0, 0, 0.0))
        return [np.array(one, event_dtype) for one in rows]

    def _add(self, rows: list[Rows], name: str, change: Sequence[Any], at_ns: int) -> None:
        kind, price, qty = change
        rows[self._asset[name]].append((kind, at_ns, at_ns, float(price), float(qty), 0, 0, 0.0))

    def _changes(self, data: bytes) -> list[tuple[str, int, str, str]]:
        """Return (instrument, event flags, price, quantity) of every level of a frame."""
        message = orjson.loads(data)
        if self._venue == "binance":
            event = message["data"]
            return [
                (event["s"], kind, price, qty)
                for kind, side in ((_BID, "b"), (_ASK, "a"))
                for price, qty in event[side]
            ]
        return [
            (
                event["product_id"],
                _BID if update["side"] == "bid" else _ASK,
                update["price_level"],
                update["new_quantity"],
            )
            for event in message["events"]
            for update in event["updates"]
        ]


def contenders(scenario: Scenario) -> list[Contender]:
    return [HftBacktest(scenario)]
