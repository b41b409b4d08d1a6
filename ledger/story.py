"""The story of a trade, rendered from its events as chapters of plain text.

Every number is one that was written down at the time; only slippage and sums are worked out
here, from those. What the ledger does not hold is called not recorded. ``ledger.outcome`` has
how it turned out.
"""

from __future__ import annotations

from decimal import Decimal, localcontext

from core.model.decision import Proposal
from core.model.event import (
    Answered,
    CancelIntended,
    Decided,
    Filled,
    MarkedOut,
    OrderChanged,
    OrderIntended,
    RiskChecked,
    SlippageMeasured,
)
from core.model.instrument import Instrument, plain
from ledger.outcome import Outcome
from ledger.projections import EXACT_DIGITS, mid_text
from ledger.reading import Stored
from ledger.story_words import agent, answered, checks, fees, measured, slippage_bps


class Story:
    """Renders related events as numbered chapters."""

    def __init__(
        self,
        events: list[Stored],
        instruments: dict[str, Instrument],
        outcomes: dict[int, Outcome],
        seen: list[str],
    ) -> None:
        """Take the related events in order; ``outcomes`` is of each fill, by its seq.

        ``seen`` is what the decision point held, in words.
        """
        self._events = events
        self._instruments = instruments
        self._outcomes = outcomes
        self._seen_words = seen
        self._proposal: Proposal | None = next(
            (item.event.proposal for item in events if isinstance(item.event, Decided)), None
        )

    def lines(self) -> list[str]:
        """Return the story: in short, chapter by chapter, and how it turned out."""
        out: list[str] = self._short()
        for stored in self._events:
            title, body = self._chapter(stored)
            out.append(f"{title}  [seq {stored.seq}, {stored.envelope.ts}]")
            out += [f"  {line}" for line in body]
        if self._proposal is None:
            told = (item.event for item in self._events)
            why = next((each.rationale for each in told if isinstance(each, Filled)), "")
            why = why or "it was ordered by a command."
            out.insert(0, f"No proposal was recorded for this: {why}")
        return out + self._turned_out() + self._sum()

    def _short(self) -> list[str]:
        """Return the whole in a sentence or two."""
        proposal = self._proposal
        fills = [item.event for item in self._events if isinstance(item.event, Filled)]
        parts = []
        if proposal is not None:
            instrument = self._instruments[proposal.instrument]
            parts.append(
                f"proposed was {proposal.side.value} {instrument.qty_text(proposal.qty_lots)} "
                f"{instrument.base} on {instrument.venue} ({proposal.action.value})"
            )
        parts += [
            f"{item.event.verdict.value} by {item.event.actor}"
            for item in self._events
            if isinstance(item.event, Answered)
        ]
        denied = next(
            (item.event for item in self._events
             if isinstance(item.event, RiskChecked) and not item.event.allowed), None,
        )  # fmt: skip
        if denied is not None:
            parts.append(f"denied by the gate ({denied.code})")
        if fills:
            quote = self._instruments[fills[0].fill.instrument].quote
            with localcontext() as context:
                context.prec = EXACT_DIGITS
                quantity = sum((Decimal(fill.quantity) for fill in fills), Decimal(0))
                notional = sum((Decimal(fill.notional) for fill in fills), Decimal(0))
                price = plain(round(notional / quantity, 8))
            paid = fees(fills)
            parts.append(
                f"filled {plain(quantity)} at {price} {quote}, for a fee of {paid}"
                + self._gain_words(quote)
            )
        return [f"In short: {'; '.join(parts)}."] if parts else []

    def _gain_words(self, quote: str) -> str:
        gains = [gain for each in self._outcomes.values() for gain in each.gains]
        if not gains:
            return ""
        with localcontext() as context:
            context.prec = EXACT_DIGITS
            total = plain(sum(gains, Decimal(0)))
        return f"; the lots that it opened or closed realized {total} {quote}, fees included"

    def _turned_out(self) -> list[str]:
        lines = [line for seq in sorted(self._outcomes) for line in self._outcomes[seq].later]
        return ["How it turned out", *(f"  {line}" for line in lines)] if lines else []

    def _chapter(self, stored: Stored) -> tuple[str, list[str]]:
        match stored.event:
            case Decided() as event:
                return f"Decision {event.proposal.decision_id}", self._seen(event)
            case Answered() as event:
                return "The answer", answered(event)
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
                lots = self._outcomes[stored.seq].at_once
                return f"Fill {event.fill.fill_id}", self._filled(event) + lots
            case SlippageMeasured() | MarkedOut() as event:
                return measured(event)
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
        lines += agent(proposal)
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
        lines += self._seen_words
        return lines + checks(proposal.checks)

    def _risk_checked(self, event: RiskChecked) -> list[str]:
        lines = ["Allowed." if event.allowed else f"Denied: {event.code}."]
        if self._proposal is not None and event.checks == self._proposal.checks:
            lines[0] += f" All {len(event.checks)} limits stood as at the decision."
        else:
            lines += checks(event.checks)
        return lines

    def _order(self, event: OrderIntended) -> list[str]:
        order, instrument = event.order, self._instruments[event.order.instrument]
        kind = "can only reduce the position" if order.reduces else "may add to the position"
        lines = [
            f"{order.client_order_id}: {order.side.value} {instrument.qty_text(order.qty_lots)} "
            f"{instrument.base} at {instrument.price_text(order.limit_ticks)} or better, "
            f"{order.tif.value}; {kind}.",
            "Written down before it left.",
        ]
        if event.arrival is not None:
            arrival = event.arrival
            lines.append(
                f"As it left: mid {mid_text(instrument, arrival.mid2_ticks)}, "
                f"{instrument.qty_text(arrival.depth_lots)} {instrument.base} shown within the "
                f"limit, expected slippage {arrival.expected_bps:.2f} bps."
            )
        return lines

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
