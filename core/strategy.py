"""The strategy: one look at one instrument gives an idea or the reason for none. Pure.

It enters when P(up) is far enough from one half, proven enough and worth its costs; it leaves
when the probability turns or the time is up. It never flips a position in one order.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec
import numpy as np

from core.config import StrategySettings
from core.model.decision import Action, AgentView, Forecast
from core.model.instrument import Instrument
from core.model.order import Side
from core.slippage import depth_lots, entry_limit


class Sight(msgspec.Struct, frozen=True):
    """What the strategy sees of one instrument at one instant."""

    instrument: Instrument
    bids: np.ndarray
    """int64[k, 2] of ticks, lots, best first; both sides non-empty and not crossed."""
    asks: np.ndarray
    forecast: Forecast
    agent: AgentView | None
    volatility_bucket: str | None
    position_lots: int
    held_ns: int
    fee_bps: float
    """Taker fee of the venue."""
    size_share: float = 1.0
    """Share of ``order_notional`` that the volatility throttle leaves to an entry."""
    entries: int = 1
    """Of the position, while there is one."""
    may_add: bool = True
    """Neither a pause nor a doubt stands against one more."""

    @property
    def mid2_ticks(self) -> int:
        return int(self.bids[0, 0] + self.asks[0, 0])


class Idea(msgspec.Struct, frozen=True):
    """A trade worth proposing."""

    action: Action
    side: Side
    qty_lots: int
    limit_ticks: int
    edge_bps: float
    cost_bps: float
    rationale: str


class Hold(msgspec.Struct, frozen=True):
    """No trade, and why."""

    code: str
    text: str
    is_wanted: bool = False
    """The signal asked for a trade and a rule said no."""
    edge_bps: float = 0.0
    cost_bps: float = 0.0


def consider(sight: Sight, settings: StrategySettings) -> Idea | Hold:
    """Return the idea for this instant, or why there is none."""
    if not sight.position_lots:
        return _consider_entry(sight, settings)
    seen = _consider_exit(sight, settings)
    if isinstance(seen, Idea) or not sight.may_add or sight.entries >= settings.max_entries:
        return seen
    return _consider_adding(sight, settings) or seen


def _consider_adding(sight: Sight, settings: StrategySettings) -> Idea | None:
    """Return an entry on the side of the position, judged like the first one; None for none."""
    idea = _consider_entry(sight, settings)
    if isinstance(idea, Hold) or idea.side.sign * sight.position_lots < 0:
        return None
    words = f"Adds to the position, entry {sight.entries + 1} of at most {settings.max_entries}."
    return msgspec.structs.replace(idea, rationale=f"{words} {idea.rationale}")


def _consider_exit(sight: Sight, settings: StrategySettings) -> Idea | Hold:
    sign = 1 if sight.position_lots > 0 else -1
    lean = sign * (sight.forecast.p_up - 0.5)
    held_s = sight.held_ns / 1e9
    if held_s >= settings.hold_s:
        why = f"held {held_s:.0f} s of at most {settings.hold_s:g} s"
    elif lean <= -settings.threshold:
        why = f"P(up) turned to {sight.forecast.p_up:.3f} against the position"
    else:
        left = settings.hold_s - held_s
        return Hold("holding", f"holding: P(up) {sight.forecast.p_up:.3f}, {left:.0f} s left")
    side = Side.SELL if sign > 0 else Side.BUY
    lots = abs(sight.position_lots)
    cost = weigh_exit(sight)[1]
    return Idea(
        Action.EXIT, side, lots, limit_for(sight.bids, sight.asks, side, settings.slippage_bps),
        0.0, cost, f"Exit: {why}.",
    )  # fmt: skip


def _consider_entry(sight: Sight, settings: StrategySettings) -> Idea | Hold:
    forecast = sight.forecast
    lean = forecast.p_up - 0.5
    if abs(lean) < settings.threshold:
        return Hold(
            "no_signal",
            f"P(up) {forecast.p_up:.3f} at {forecast.horizon_s} s is within "
            f"{settings.threshold:g} of one half",
        )
    side = Side.BUY if lean > 0 else Side.SELL
    lots = entry_lots(sight, settings)
    if lots <= 0:
        throttled = "" if sight.size_share == 1 else f" times {sight.size_share:g} while wild"
        why = f"order_notional{throttled} is less than one lot"
        return Hold("too_small", why, is_wanted=True)
    limit = entry_limit(sight.bids, sight.asks, side, settings.slippage_bps)
    if limit is None:
        why = (
            f"half the spread is {_spread_bps(sight) / 2:.2f} bps, beyond the "
            f"{settings.slippage_bps:g} bps an entry may pay"
        )
        return Hold("too_wide", why, is_wanted=True)
    lots = min(lots, depth_lots(sight.asks if side is Side.BUY else sight.bids, side, limit))
    edge, cost = weigh_entry(sight, side, lots)
    blocked = _blocked(forecast, settings, edge, cost)
    if blocked is not None:
        return blocked
    action = Action.ENTER_LONG if side is Side.BUY else Action.ENTER_SHORT
    return Idea(action, side, lots, limit, edge, cost, _rationale(sight, side, edge, cost))


def _blocked(
    forecast: Forecast, settings: StrategySettings, edge: float, cost: float
) -> Hold | None:
    if forecast.skill is None:
        if settings.min_skill > -1:
            text = f"probability unproven: {forecast.n_resolved} outcomes so far"
            return Hold("unproven", text, True, edge, cost)
    elif forecast.skill < settings.min_skill:
        text = f"skill {forecast.skill:+.1%} is below {settings.min_skill:+.1%}"
        return Hold("no_skill", text, True, edge, cost)
    if edge - cost < settings.min_edge_bps:
        text = (
            f"edge {edge:.2f} bps does not pay its cost {cost:.2f} bps "
            f"(asked for {settings.min_edge_bps:+g} net)"
        )
        return Hold("no_edge", text, True, edge, cost)
    return None


def weigh_entry(sight: Sight, side: Side, lots: int) -> tuple[float, float]:
    """Return expected edge and cost in and out, in bps, of entering ``lots`` on one side."""
    lean = side.sign * (sight.forecast.p_up - 0.5)
    edge = 2 * lean * _to_bps(sight, sight.forecast.mean_move_ticks)
    cost = 2 * sight.fee_bps + _spread_bps(sight) + 2 * _walk_bps(sight, side, lots)
    return edge, cost


def weigh_exit(sight: Sight) -> tuple[float, float]:
    """Return what leaving the position saves by the forecast, and what it costs, in bps."""
    side = Side.SELL if sight.position_lots > 0 else Side.BUY
    lean = side.sign * (sight.forecast.p_up - 0.5)
    edge = 2 * lean * _to_bps(sight, sight.forecast.mean_move_ticks)
    walk = _walk_bps(sight, side, abs(sight.position_lots))
    return edge, sight.fee_bps + _spread_bps(sight) / 2 + walk


def entry_lots(sight: Sight, settings: StrategySettings) -> int:
    """Return the lots that ``order_notional`` buys at the mid, throttled by the volatility."""
    price = sight.instrument.price(sight.mid2_ticks) / 2
    notional = settings.order_notional * Decimal(str(sight.size_share))
    return int(notional / (price * sight.instrument.lot_size))


def limit_for(bids: np.ndarray, asks: np.ndarray, side: Side, slippage_bps: float) -> int:
    """Return the worst acceptable price in ticks: the other side's best plus the slippage cap."""
    if side is Side.BUY:
        best = int(asks[0, 0])
        return best + int(best * slippage_bps / 10_000)
    best = int(bids[0, 0])
    return max(1, best - int(best * slippage_bps / 10_000))


def _to_bps(sight: Sight, ticks: float) -> float:
    return ticks * 20_000 / sight.mid2_ticks


def _spread_bps(sight: Sight) -> float:
    return _to_bps(sight, float(sight.asks[0, 0] - sight.bids[0, 0]))


def _walk_bps(sight: Sight, side: Side, lots: int) -> float:
    """Return how far the mean visible price for ``lots`` lies beyond the best, in bps."""
    levels = sight.asks if side is Side.BUY else sight.bids
    left, paid = lots, 0
    for ticks, shown in levels:
        take = min(left, int(shown))
        paid += take * abs(int(ticks) - int(levels[0, 0]))
        left -= take
        if not left:
            break
    if left:  # beyond what was looked at: as bad as the last level seen
        paid += left * abs(int(levels[-1, 0]) - int(levels[0, 0]))
    return _to_bps(sight, paid / lots)


def _rationale(sight: Sight, side: Side, edge: float, cost: float) -> str:
    forecast = sight.forecast
    toward = 1 if side is Side.BUY else -1
    reasons = [(s.share, f"{s.name} {s.value:+.2f} ({s.share:+.3f})") for s in forecast.shares]
    base = f"base rate {forecast.base_rate:.3f} ({forecast.bias_share:+.3f})"
    reasons.append((forecast.bias_share, base))
    reasons.sort(key=lambda reason: -toward * reason[0])
    top = ", ".join(text for share, text in reasons[:3] if toward * share > 0)
    skill = "unproven" if forecast.skill is None else f"skill {forecast.skill:+.1%}"
    words = [
        f"{side.value}: P(up) {forecast.p_up:.3f} at {forecast.horizon_s} s ({skill}).",
        f"For it: {top}.",
        f"Edge {edge:.2f} bps, cost in and out {cost:.2f} bps.",
    ]
    if edge < cost:
        words.append("Practice: the edge does not pay its cost.")
    if sight.agent is not None:
        short, flat, long = sight.agent.probabilities
        words.append(
            f"Agent: short {short:.0%}, flat {flat:.0%}, long {long:.0%}, "
            f"entropy {sight.agent.entropy:.2f}."
        )
    if sight.volatility_bucket is not None:
        words.append(f"Volatility {sight.volatility_bucket}.")
    return " ".join(words)
