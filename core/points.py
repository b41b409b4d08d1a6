"""Decision points: every look for a trade goes to the ledger, also those that led to nothing.

The points wait here as lines of JSON; every ``POINTS_MAX`` of them, or after ``AGE_NS``, they go
to the ledger as one payload file and the DECISIONS event that names it. In observe mode nothing
is decided and nothing is written.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import msgspec

from core.clock import NS_PER_S
from core.config import StrategySettings
from core.context import RunContext
from core.desk import Desk
from core.execution import Execution
from core.kernels.features import FEATURE_NAMES
from core.model import event as ev
from core.model.decision import Forecast, LimitCheck, Mode
from core.model.order import Side
from core.model.point import FORMAT, Alternative, DecisionPoint, ForecastSeen, MarketSeen
from core.signals.board import SIGNAL_NAMES
from core.slippage import entry_limit
from core.strategy import Hold, Sight, entry_lots, limit_for, weigh_entry, weigh_exit

POINTS_MAX = 256
AGE_NS = 60 * NS_PER_S
"""A killed process loses the points of this long at most, and none that led to a proposal."""
_encode = msgspec.json.Encoder().encode


class Weighed(NamedTuple):
    """What a look could choose from, and what the limits said of the best of it."""

    choices: tuple[Alternative, ...]
    checks: tuple[LimitCheck, ...]


class DecisionPoints:
    """The decision points of one run; see the module docstring."""

    def __init__(
        self, context: RunContext, execution: Execution, settings: StrategySettings
    ) -> None:
        self.count = 0
        """Points of this run so far."""
        self._context, self._execution, self._settings = context, execution, settings
        self._lines: list[bytes] = []
        self._first_ns = self._last_ns = 0
        self._proposed = 0
        self._agent = ""

    def is_due(self, mode: Mode) -> bool:
        """Tell whether a look now is a decision: not in observe mode, not while held back."""
        return mode is not Mode.OBSERVE and not self._context.hold_back

    def weigh(self, sight: Sight) -> Weighed:
        """Return what the rule chooses from and what the limits say, before anything is done."""
        choices = alternatives(sight, self._settings)
        return Weighed(choices, self._checks(sight, choices))

    def take(self, desk: Desk, mode: Mode, weighed: Weighed | None, hold: Hold | None) -> None:
        """Note one look at one instrument.

        ``weighed`` is None where the rule was not asked; ``hold`` says why there is no proposal,
        None where there is one.
        """
        self.count += 1
        now_ns = self._context.stamp_ns
        self._first_ns = self._first_ns if self._lines else now_ns
        self._last_ns = now_ns
        self._proposed += hold is None
        agent = desk.agent
        if agent is not None:
            self._agent = agent.agent_id
        is_read = desk.is_live and desk.features.is_ready
        point = DecisionPoint(
            n=self.count,
            ts_ns=str(now_ns),
            instrument=desk.instrument.name,
            mode=mode,
            market=_market(desk),
            features=tuple(desk.features.vector.tolist()) if is_read else (),
            signals=_signals(desk.forecasts),
            forecasts=tuple(map(_forecast, desk.forecasts)),
            agent=() if agent is None else (*agent.probabilities, agent.entropy),
            position_lots=self._execution.account.position(desk.instrument.name),
            alternatives=weighed.choices if weighed else (),
            checks=weighed.checks if weighed else (),
            outcome="proposed" if hold is None else hold.code,
            text="" if hold is None else hold.text,
            decision_id=self._context.newest_ids["d"] if hold is None else "",
        )
        self._lines.append(_encode(point))
        if len(self._lines) >= POINTS_MAX or now_ns - self._first_ns >= AGE_NS:
            self.flush()

    def flush(self) -> None:
        """Write what waits. A broken ledger loses it, and has halted the run."""
        if not self._lines:
            return
        data = b"\n".join(self._lines) + b"\n"
        count, proposed = len(self._lines), self._proposed
        self._lines, self._proposed = [], 0
        no_room = self._context.keep(data)
        digest = hashlib.sha256(data).hexdigest()
        self._context.journal(
            ev.DecisionsTaken(
                format=FORMAT,
                first=self.count - count + 1,
                count=count,
                proposed=proposed,
                first_ns=self._first_ns,
                last_ns=self._last_ns,
                features=FEATURE_NAMES,
                signals=SIGNAL_NAMES,
                agent=self._agent,
                digest=digest,
                size_bytes=len(data),
            )
        )
        if no_room:  # said at once, so that the ledger tells it from a file that somebody took
            self._context.journal(ev.FilesRemoved("payload", (digest,), len(data), 0, no_room))
            self._context.notify("error", f"{count} decision points are not kept: {no_room}")

    def _checks(self, sight: Sight, choices: tuple[Alternative, ...]) -> tuple[LimitCheck, ...]:
        """Return what the limits say of the best alternative, as things stand now."""
        best = max(choices[1:], key=lambda each: each.edge_bps - each.cost_bps)
        side = Side(best.action)
        reduces = side.sign * sight.position_lots < 0
        cap_bps = self._settings.slippage_bps
        limit = None if reduces else entry_limit(sight.bids, sight.asks, side, cap_bps)
        if limit is None:  # an exit, or an entry too dear to be one: as near as it can trade
            limit = limit_for(sight.bids, sight.asks, side, cap_bps)
        order = self._execution.order(
            sight.instrument.name, side, best.lots, limit, reduces=reduces
        )
        return self._execution.gate(order).checks


def alternatives(sight: Sight, settings: StrategySettings) -> tuple[Alternative, ...]:
    """Return what the rule chooses from, with edge and cost: holding first, then the trades."""
    if sight.position_lots:
        edge, cost = weigh_exit(sight)
        side = Side.SELL if sight.position_lots > 0 else Side.BUY
        lots = abs(sight.position_lots)
        choices = (
            Alternative("HOLD", sight.position_lots, -edge, 0.0),
            Alternative(side.value, lots, edge, cost),
        )
        if sight.entries >= settings.max_entries:
            return choices
        more, other = entry_lots(sight, settings), side.opposite
        return (*choices, Alternative(other.value, more, *weigh_entry(sight, other, more or 1)))
    lots = entry_lots(sight, settings)
    trades = [Alternative(side.value, lots, *weigh_entry(sight, side, lots or 1)) for side in Side]
    return (Alternative("HOLD", 0, 0.0, 0.0), *trades)


def _market(desk: Desk) -> MarketSeen:
    row = desk.row
    return MarketSeen(
        event_ns=str(row["ts_event_ns"]),
        recv_ns=str(row["ts_recv_ns"]),
        bid_ticks=int(row["bid_ticks"]),
        bid_lots=int(row["bid_lots"]),
        ask_ticks=int(row["ask_ticks"]),
        ask_lots=int(row["ask_lots"]),
        flags=int(row["flags"]),
    )


def _signals(forecasts: tuple[Forecast, ...]) -> tuple[float, ...]:
    return tuple(share.value for share in forecasts[0].shares) if forecasts else ()


def _forecast(forecast: Forecast) -> ForecastSeen:
    return ForecastSeen(
        horizon_s=forecast.horizon_s,
        p_up=forecast.p_up,
        base_rate=forecast.base_rate,
        skill=forecast.skill,
        n_resolved=forecast.n_resolved,
        moved_share=forecast.moved_share,
        mean_move_ticks=forecast.mean_move_ticks,
        bias_share=forecast.bias_share,
        shares=tuple(share.share for share in forecast.shares),
    )
