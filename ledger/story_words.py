"""Words of single events in the story of a trade (``ledger.story``)."""

from __future__ import annotations

from decimal import Decimal, localcontext

from core.clock import NS_PER_S
from core.model.decision import LimitCheck, Proposal
from core.model.event import Answered, Filled, MarkedOut, SlippageMeasured
from core.model.instrument import plain
from core.model.order import Side
from ledger.projections import EXACT_DIGITS


def slippage_bps(side: Side, price_ticks: int, mid2_ticks: int) -> float:
    """Return fill price against a mid given in half ticks, in bps; positive is worse for us."""
    return side.sign * (2 * price_ticks - mid2_ticks) * 10_000 / mid2_ticks


def agent(proposal: Proposal) -> list[str]:
    """Return what the agent thought, and how sure it was."""
    if proposal.agent is None:
        return ["No agent had a view."]
    short, flat, long = proposal.agent.probabilities
    return [
        f"Agent {proposal.agent.agent_id}: short {short:.1%}, flat {flat:.1%}, long {long:.1%}; "
        f"entropy {proposal.agent.entropy:.2f} of 1, where 1 is no opinion."
    ]


def fees(fills: list[Filled]) -> str:
    """Return the fees by currency; a rebate is negative."""
    sums: dict[str, Decimal] = {}
    with localcontext() as context:
        context.prec = EXACT_DIGITS
        for fill in fills:
            currency = fill.fill.fee_currency
            sums[currency] = sums.get(currency, Decimal(0)) + fill.fill.fee
        return ", ".join(f"{plain(fee)} {currency}" for currency, fee in sorted(sums.items()))


def measured(event: SlippageMeasured | MarkedOut) -> tuple[str, list[str]]:
    """Return title and words of what was measured after a fill."""
    if isinstance(event, SlippageMeasured):
        bad = f" Bad, {event.bad_in_a_row} in a row." if event.is_bad else ""
        return "Slippage measured", [
            f"Against the mid as it left, {event.arrival_mid}: expected "
            f"{event.expected_bps:+.2f} bps, realized {event.realized_bps:+.2f} bps "
            f"({event.cost} {event.currency}; above 0 is worse).{bad}"
        ]
    title = f"Markout of {event.fill_id} after {event.horizon_s} s"
    if event.markout_bps is None:
        return title, ["Not known: there was no book to believe at that moment."]
    return title, [
        f"The mid was {event.mid}: {event.markout_bps:+.2f} bps for us "
        f"({event.gain} {event.currency}, fees left out)."
    ]


def answered(event: Answered) -> list[str]:
    """Return who answered, after how long and at what drift."""
    against = "against us" if event.drift_ticks > 0 else "for us" if event.drift_ticks else "at all"
    moved = f"had moved {abs(event.drift_ticks):g} ticks" if event.drift_ticks else "had not moved"
    lines = [
        f"{event.verdict.value} by {event.actor} after {event.waited_ns / NS_PER_S:.3f} s; "
        f"meanwhile the mid {moved} {against}."
    ]
    return [*lines, f"Note: {event.note}"] if event.note else lines


def checks(checks: tuple[LimitCheck, ...]) -> list[str]:
    """Return one line a control; all of them, the passed ones too."""
    return [
        f"Limit {check.control}: {check.value} of {check.limit}, "
        f"{'passed' if check.passed else 'FAILED'}"
        for check in checks
    ]
