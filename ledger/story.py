"""The story of a trade, rendered from its events as chapters of plain text.

Every number is one that was written down at the time; only slippage and sums are worked out
here, from those. What the ledger does not hold is called not recorded.
"""

from __future__ import annotations

from decimal import Decimal, localcontext

from core.clock import NS_PER_S
from core.model.decision import LimitCheck, Proposal
from core.model.event import (
    Answered,
    CancelIntended,
    Decided,
    Filled,
    OrderChanged,
    OrderIntended,
    RiskChecked,
)
from core.model.instrument import Instrument, plain
from core.model.order import Side
from ledger.projections import EXACT_DIGITS, mid_text
from ledger.reading import Stored


class Story:
    """Renders related events as numbered chapters."""

    def __init__(
        self,
        events: list[Stored],
        instruments: dict[str, Instrument],
        closed_lots: dict[int, list[str]],
    ) -> None:
        self._events = events
        self._instruments = instruments
        self._closed_lots = closed_lots
        self._proposal: Proposal | None = next(
            (item.event.proposal for item in events if isinstance(item.event, Decided)), None
        )

    def lines(self) -> list[str]:
        out: list[str] = []
        for stored in self._events:
            title, body = self._chapter(stored)
            out.append(f"{title}  [seq {stored.seq}, {stored.envelope.ts}]")
            out += [f"  {line}" for line in body]
        if self._proposal is None:
            out.insert(0, "No proposal was recorded for this: it was ordered by a command.")
        return out + self._sum()

    def _chapter(self, stored: Stored) -> tuple[str, list[str]]:
        match stored.event:
            case Decided() as event:
                return f"Decision {event.proposal.decision_id}", self._seen(event)
            case Answered() as event:
                return "The answer", _answered(event)
            case RiskChecked() as event:
                return "The risk gate", self._risk_checked(event)
            case OrderIntended() as event:
                return "The order", self._order(event)
            case OrderChanged() as event:
                reason = f" ({event.reason})" if event.reason else ""
                return f"Order {event.client_order_id} is {event.status}{reason}", []
            case CancelIntended() as event:
                return f"Cancel asked for by {event.actor}", [event.reason] if event.reason else []
            case Filled() as event:
                lots = self._closed_lots[stored.seq]
                return f"Fill {event.fill.fill_id}", self._filled(event) + lots
            case _:
                return stored.envelope.type, []

    def _seen(self, event: Decided) -> list[str]:
        proposal, forecast = event.proposal, event.proposal.forecast
        instrument = self._instruments[proposal.instrument]
        skill = "not proven yet" if forecast.skill is None else f"{forecast.skill:+.2%}"
        log_odds = forecast.bias_share + sum(share.share for share in forecast.shares)
        lines = [
            f"{instrument.name} on {instrument.venue}: mid "
            f"{mid_text(instrument, proposal.mid2_ticks)} {instrument.quote}, "
            f"mode {event.mode.value}.",
            f"P(up) over {forecast.horizon_s} s was {forecast.p_up:.4f}; the base rate "
            f"{forecast.base_rate:.4f}; rolling skill {skill}, "
            f"{forecast.n_resolved} outcomes so far.",
            f"The mid moved in {forecast.moved_share:.0%} of the samples, by "
            f"{forecast.mean_move_ticks:.2f} ticks on average (ties counted as 0).",
            f"Log-odds of up {log_odds:+.4f}, of which:",
        ]
        width = max((len(share.name) for share in forecast.shares), default=4)
        lines += [
            f"  {share.name:<{width}}  value {share.value:+.3f}  share {share.share:+.4f}"
            for share in forecast.shares
        ]
        lines.append(f"  {'bias':<{width}}  {'':12}  share {forecast.bias_share:+.4f}")
        lines += _agent(proposal)
        lines += [
            f"Proposed: {proposal.action.value}, {proposal.side.value} "
            f"{instrument.qty_text(proposal.qty_lots)} {instrument.base}, no worse than "
            f"{instrument.price_text(proposal.limit_ticks)}.",
            f"Edge {proposal.edge_bps:.3f} bps, cost {proposal.cost_bps:.3f} bps, net "
            f"{proposal.net_edge_bps:+.3f} bps.",
            f"In its words: {proposal.rationale}",
        ]
        if event.alternatives:
            lines.append("Not taken: " + "; ".join(event.alternatives))
        return lines + _checks(proposal.checks)

    def _risk_checked(self, event: RiskChecked) -> list[str]:
        verdict = "Allowed." if event.allowed else f"Denied: {event.code}."
        if self._proposal is not None and event.checks == self._proposal.checks:
            return [f"{verdict} All {len(event.checks)} limits stood as at the decision."]
        return [verdict, *_checks(event.checks)]

    def _order(self, event: OrderIntended) -> list[str]:
        order, instrument = event.order, self._instruments[event.order.instrument]
        kind = "can only reduce the position" if order.reduces else "may add to the position"
        return [
            f"{order.client_order_id}: {order.side.value} {instrument.qty_text(order.qty_lots)} "
            f"{instrument.base} at {instrument.price_text(order.limit_ticks)} or better, "
            f"{order.tif.value}; {kind}.",
            "Written down before it left.",
        ]

    def _filled(self, event: Filled) -> list[str]:
        fill, instrument = event.fill, self._instruments[event.fill.instrument]
        liquidity = "maker" if fill.is_maker else "taker"
        return [
            f"{fill.side.value} {event.quantity} {instrument.base} at {event.price} "
            f"({event.notional} {instrument.quote}), {liquidity}, fee {plain(fill.fee)} "
            f"{fill.fee_currency}.",
            self._slippage(event),
            f"Realized {event.realized_pnl} {instrument.quote}, fees of both legs included; "
            f"position after it {instrument.qty_text(event.position_lots)} {instrument.base}.",
        ]

    def _slippage(self, event: Filled) -> str:
        if self._proposal is None:
            return "Slippage not recorded: no mid at a decision to compare with."
        bps = slippage_bps(event.fill.side, event.fill.price_ticks, self._proposal.mid2_ticks)
        word = "worse" if bps > 0 else "better"
        return f"Slippage against the mid at the decision: {abs(bps):.2f} bps {word}."

    def _sum(self) -> list[str]:
        fills = [item.event for item in self._events if isinstance(item.event, Filled)]
        if len(fills) < 2:
            return [] if fills else ["Nothing was filled."]
        currency = self._instruments[fills[0].fill.instrument].quote
        with localcontext() as context:
            context.prec = EXACT_DIGITS
            quantity = sum((Decimal(fill.quantity) for fill in fills), Decimal(0))
            realized = sum((Decimal(fill.realized_pnl) for fill in fills), Decimal(0))
        return [
            f"In all: {len(fills)} fills, {plain(quantity)} in quantity, "
            f"realized {plain(realized)} {currency}."
        ]


def slippage_bps(side: Side, price_ticks: int, mid2_ticks: int) -> float:
    """Return fill price against a mid given in half ticks, in bps; positive is worse for us."""
    return side.sign * (2 * price_ticks - mid2_ticks) * 10_000 / mid2_ticks


def _agent(proposal: Proposal) -> list[str]:
    if proposal.agent is None:
        return ["No agent had a view."]
    short, flat, long = proposal.agent.probabilities
    return [
        f"Agent {proposal.agent.agent_id}: short {short:.1%}, flat {flat:.1%}, long {long:.1%}; "
        f"entropy {proposal.agent.entropy:.2f} of 1."
    ]


def _answered(event: Answered) -> list[str]:
    against = "against us" if event.drift_ticks > 0 else "for us" if event.drift_ticks else "at all"
    moved = f"had moved {abs(event.drift_ticks):g} ticks" if event.drift_ticks else "had not moved"
    lines = [
        f"{event.verdict.value} by {event.actor} after {event.waited_ns / NS_PER_S:.3f} s; "
        f"meanwhile the mid {moved} {against}."
    ]
    return [*lines, f"Note: {event.note}"] if event.note else lines


def _checks(checks: tuple[LimitCheck, ...]) -> list[str]:
    """Return one line a control; all of them, the passed ones too."""
    return [
        f"Limit {check.control}: {check.value} of {check.limit}, "
        f"{'passed' if check.passed else 'FAILED'}"
        for check in checks
    ]
