"""Made snapshots: what an engine could send, without an engine. Deterministic; no clock."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from core.model.decision import Forecast
from core.model.market import FeedState
from core.snapshot import (
    AgentPane,
    Bar,
    BookLevel,
    ExitsView,
    FeedView,
    FillView,
    HealthView,
    InstrumentView,
    Notice,
    OrderView,
    PnlView,
    PositionView,
    ProposalView,
    RiskView,
    SignalView,
    Snapshot,
)

NOW_NS = 1_790_000_000_000_000_000
NOW_S = NOW_NS // 1_000_000_000


def level(ticks: int, lots: int, *, tick: float = 0.01, own_lots: int = 0) -> BookLevel:
    return BookLevel(
        price=f"{ticks * tick:.2f}", qty=f"{lots / 1000:.3f}", ticks=ticks, lots=lots,
        own_lots=own_lots,
    )  # fmt: skip


def book(
    mid: int, depth: int = 40, step: int = 1, phase: int = 0
) -> tuple[tuple[BookLevel, ...], tuple[BookLevel, ...]]:
    """Return bids and asks, best first, ``step`` ticks apart."""

    def lots(i: int, side: int) -> int:
        return 800 + (i * 977 + side * 331 + phase * 613) % 5200 + 90 * i

    bids = tuple(level(mid - i * step, lots(i, 0), own_lots=500 * (i == 3)) for i in range(depth))
    asks = tuple(level(mid + 1 + i * step, lots(i, 1)) for i in range(depth))
    return bids, asks


def bars(n: int, end: float, phase: int = 0) -> tuple[Bar, ...]:
    """Return ``n`` one-second bars of a wavy path that ends near ``end``."""

    def path(i: float) -> float:
        x = i + phase * 0.1
        return 0.22 * math.sin(x / 17) + 0.08 * math.sin(x / 5) + 0.05 * math.sin(x * 1.7)

    shift = end - path(n)
    out = []
    for i in range(n):
        first, last = path(i) + shift, path(i + 1) + shift
        wick = 0.02 + 0.02 * abs(math.sin(i * 2.3))
        out.append(
            Bar(
                end_s=NOW_S - n + 1 + i + phase // 10,
                open=first, high=max(first, last) + wick, low=min(first, last) - wick, close=last,
                volume=abs(3 * math.sin(i / 9)) + (i * 7 % 5),
            )
        )  # fmt: skip
    return tuple(out)


SHARES = (
    SignalView("queue imbalance", 0.62, 0.114),
    SignalView("depth imbalance", 0.21, 0.021),
    SignalView("order flow 1s", -0.18, -0.031),
    SignalView("order flow 5s", 0.51, 0.026),
    SignalView("trade pressure 1s", -0.05, -0.003),
    SignalView("trade pressure 5s", 0.31, 0.016),
    SignalView("trade pressure 30s", 0.25, -0.010),
    SignalView("microprice", 0.44, 0.102),
    SignalView("return 1s", 0.22, -0.011),
    SignalView("return 5s", -0.10, 0.009),
    SignalView("ema cross", -0.31, 0.035),
    SignalView("breakout", -0.29, -0.0004),
)


def forecast(horizon_s: int = 5, p_up: float = 0.563, **changes: Any) -> Forecast:
    return msgspec.structs.replace(
        Forecast(
            horizon_s=horizon_s, p_up=p_up, base_rate=0.507, skill=0.018, n_resolved=2310,
            moved_share=0.83, mean_move_ticks=2.1, bias_share=0.004, shares=(),
        ),
        **changes,
    )  # fmt: skip


def feed(state: FeedState = FeedState.LIVE, **changes: Any) -> FeedView:
    return msgspec.structs.replace(
        FeedView(
            state=state, reason="", age_ms=12, frames=48_210, gaps=0, resyncs=0, refused=0,
            latency_ms=38.0,
        ),
        **changes,
    )  # fmt: skip


AGENT = AgentPane(
    agent_id="ppo-sim", short=0.121, flat=0.267, long=0.612, entropy=0.82,
    entropy_history=tuple(0.75 + 0.2 * math.sin(i / 6) for i in range(60)),
    note="Trained on 40 h of the simulated market, 5 seeds; beats flat by 0.31 ± 0.12 bps a trade "
    "there. Not proven on a real venue.",
)  # fmt: skip


def instrument(
    name: str = "SIM-USD", mid_ticks: int = 10_012, phase: int = 0, **changes: Any
) -> InstrumentView:
    bids, asks = book(mid_ticks, phase=phase)
    return msgspec.structs.replace(
        InstrumentView(
            name=name, base=name.split("-")[0], quote="USD", tick_size="0.01", feed=feed(),
            bids=bids, asks=asks, last_trade=asks[0].price, last_trade_side=1,
            spread="0.01", mid=mid_ticks * 0.01 + 0.005, volatility_bps=1.84,
            volatility_bucket="normal",
            signals=SHARES, forecasts=(forecast(1, 0.541), forecast(5, 0.563)),
            agent=AGENT, agent_note="", bars=bars(240, mid_ticks * 0.01 + 0.005, phase),
            waiting_for="P(up) 52.1 % is inside the threshold of 5 %",
        ),
        **changes,
    )  # fmt: skip


def proposal(decision_id: str = "d-000042", **changes: Any) -> ProposalView:
    return msgspec.structs.replace(
        ProposalView(
            decision_id=decision_id, instrument="SIM-USD", action="ENTER_LONG", side="BUY",
            qty="9.987", notional="1000.00", limit="100.15", p_up=0.563, horizon_s=5,
            edge_bps=3.14, cost_bps=1.22, drift_ticks=1.5, left_ms=6_200, life_ms=10_000,
            rationale="BUY: P(up) 0.563 at 5 s (skill +1.8 %). For it: queue imbalance +0.62 "
            "(+0.114), microprice +0.44 (+0.102); against it: order flow 1s -0.18 (-0.031). "
            "Volatility normal.",
            shares=SHARES,
            exits=ExitsView("99.85", "100.56", 120.0, -30.0, 40.0),
        ),
        **changes,
    )  # fmt: skip


EXITS = ExitsView(
    stop="99.79", target="100.49", left_s=43.2, stop_bps=-32.9, target_bps=37.0, by_hand=("stop",),
)  # fmt: skip


NEAR_EXITS = ExitsView(
    stop="100.07", target="100.19", left_s=43.2, stop_bps=-5.0, target_bps=7.0, by_hand=("stop",),
)  # fmt: skip
"""Within the ladder and the chart of ``instrument``."""


def position(**changes: Any) -> PositionView:
    return msgspec.structs.replace(
        PositionView(
            instrument="SIM-USD", lots=9987, qty="9.987", average_price="100.08250000",
            mark="100.125", unrealized="0.4244475", realized="1.93", held_s=17, exits=EXITS,
        ),
        **changes,
    )  # fmt: skip


def order(client_order_id: str = "tw-1-7", **changes: Any) -> OrderView:
    return msgspec.structs.replace(
        OrderView(
            client_order_id=client_order_id, instrument="SIM-USD", side="SELL", qty="9.987",
            filled="2", limit="100.20", status="PARTIALLY_FILLED", age_ms=2_340,
        ),
        **changes,
    )  # fmt: skip


def fill(seq: int, side: str = "BUY", **changes: Any) -> FillView:
    minute, second = divmod(seq * 7, 60)
    return msgspec.structs.replace(
        FillView(
            seq=seq, time=f"2026-09-21T14:{minute % 60:02d}:{second:02d}.120000000Z",
            instrument="SIM-USD", side=side, price=f"{100 + (seq % 9) / 100:.2f}", qty="9.987",
            fee="0.010000", realized="0" if side == "BUY" else "0.2996",
            rationale=f"Decision d-{seq:06d}: queue imbalance +0.62 pulled P(up) to 56.3 %, "
            "expected 3.14 bps against 1.22 bps of cost; risk allowed 1 of 5 orders and 1000 "
            "of 5000 USD.",
        ),
        **changes,
    )  # fmt: skip


PNL = PnlView(
    currency="USD", realized="12.48", unrealized="0.4244475", fees="3.12", total="12.9044475",
    exposure="999.92", daily_loss_limit="200",
    curve=tuple(6 * math.sin(i / 40) + i * 0.03 - 2 for i in range(300)), today="-34.50",
)  # fmt: skip

RISK = RiskView(is_halted=False, halt_reason="", halt_since="", blocked="", last_denial="")

HEALTH = HealthView(
    queue_depth=3, queue_bound=1024, decision_us_p50=41.0, decision_us_p99=118.0,
    feed_us_p99=63.0, ledger_seq=10_482, ledger_hash="9f2c41d07ab3", rss_mib=183.4,
)  # fmt: skip

NOTICES = (
    Notice(1, "2026-09-21T14:13:20.000000000Z", "info", "feed live: SIM-USD"),
    Notice(2, "2026-09-21T14:14:02.000000000Z", "info", "order tw-1-7 accepted"),
)


def normal(number: int = 1, phase: int = 0, **changes: Any) -> Snapshot:
    """Return a desk at work: one proposal, a position, an order, fills."""
    return msgspec.structs.replace(
        Snapshot(
            number=number, ts_ns=NOW_NS, made_ns=NOW_NS - 40_000_000,
            started_ns=NOW_NS - 754_000_000_000, account="PAPER", venue="sim", source="sim",
            mode="confirm", run_id="run-1", version="0.1.0",
            instruments=(instrument(phase=phase), instrument("ALT-USD", 5_040, agent=None,
                         agent_note="no model was trained for ALT-USD")),
            proposals=(proposal(),), positions=(position(),), orders=(order(),),
            fills=tuple(fill(20 - i, "BUY" if i % 2 else "SELL") for i in range(14)),
            pnl=PNL, risk=RISK, health=HEALTH, notices=NOTICES,
        ),
        **changes,
    )  # fmt: skip


def empty() -> Snapshot:
    """Return an engine in its first second: it knows nothing and says so."""
    bare = instrument(
        feed=feed(FeedState.CONNECTING, reason="opening the socket", age_ms=None, frames=0,
                  latency_ms=None),
        bids=(), asks=(), last_trade=None, last_trade_side=0, spread=None, mid=None,
        volatility_bps=None, volatility_bucket=None, signals=(), forecasts=(), agent=None,
        agent_note="no trained model for this venue in models/", bars=(),
        waiting_for="feed connecting",
    )  # fmt: skip
    return normal(
        instruments=(bare,), proposals=(), positions=(), orders=(), fills=(), notices=(),
        pnl=PnlView("USD", "0", None, "0", None, None, "200", (), None),
        risk=msgspec.structs.replace(RISK, blocked="SIM-USD: feed connecting (opening the socket)"),
        health=HealthView(0, 1024, None, None, None, 1, "", 96.0),
    )  # fmt: skip


def stale() -> Snapshot:
    """Return an engine whose feed went quiet: numbers are there, none may be believed."""
    quiet = instrument(feed=feed(FeedState.STALE, reason="no frame for 7.2 s", age_ms=7_200, gaps=2,
                                 resyncs=1))  # fmt: skip
    return normal(
        instruments=(quiet,), proposals=(),
        risk=msgspec.structs.replace(RISK, blocked="SIM-USD: feed stale (no frame for 7.2 s)"),
    )  # fmt: skip


def halted() -> Snapshot:
    """Return an engine after the kill: flat, halted, loud."""
    return normal(
        proposals=(), positions=(), orders=(),
        instruments=(instrument(waiting_for="trading is halted"),),
        risk=RiskView(
            is_halted=True, halt_reason="F12 by human:trader",
            halt_since="2026-09-21T14:13:17.000000000Z", blocked="halted",
            last_denial="tw-1-9 denied: halted",
        ),
    )  # fmt: skip


def near_exits() -> Snapshot:
    """Return a position whose exits lie within the ladder and the chart."""
    return normal(positions=(position(exits=NEAR_EXITS),))


def no_skill() -> Snapshot:
    """Return forecasts that are not proven, and one that is proven worthless."""
    views = (forecast(1, 0.541, skill=None, n_resolved=43), forecast(5, 0.563, skill=-0.004))
    return normal(instruments=(instrument(forecasts=views),))


def no_agent() -> Snapshot:
    return normal(
        instruments=(instrument(agent=None, agent_note="model refused: other observation space"),)
    )
