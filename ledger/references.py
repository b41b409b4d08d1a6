"""What an event speaks of: the ids in it, and the instruments that a run declares."""

from __future__ import annotations

from decimal import Decimal

from core.errors import InvariantError, ValueRefused
from core.model.event import (
    Anchored,
    AnchorFailed,
    Answered,
    CancelIntended,
    Decided,
    DifferenceResolved,
    Filled,
    LedgerEvent,
    MarkedOut,
    OrderChanged,
    OrderIntended,
    Reconciled,
    Recovered,
    RiskChecked,
    RunEnded,
    RunStarted,
    SlippageMeasured,
    Transferred,
)
from core.model.instrument import Instrument

ANCHORS = "anchors"
"""What finds everything about anchors: ``tapewright ledger show anchors``."""
BOUNDS = ("min_notional", "min_qty", "max_qty", "max_notional")
"""Bounds of an order that a manifest tells where the venue has them."""


def instruments_of(event: RunStarted) -> dict[str, Instrument]:
    """Return the run's instruments by name.

    Errors: ``InvariantError`` unless each says name, base, quote, tick_size and lot_size.
    """
    try:
        return {
            fields["name"]: Instrument(
                venue=fields.get("venue", event.venue),
                name=fields["name"],
                base=fields["base"],
                quote=fields["quote"],
                tick_size=Decimal(fields["tick_size"]),
                lot_size=Decimal(fields["lot_size"]),
                min_notional=Decimal(fields.get("min_notional", "0")),
                min_qty=Decimal(fields.get("min_qty", "0")),
                max_qty=_bound(fields, "max_qty"),
                max_notional=_bound(fields, "max_notional"),
            )
            for fields in event.instruments
        }
    except (KeyError, ArithmeticError, ValueRefused) as error:
        raise InvariantError(f"RUN_STARTED described an instrument badly: {error!r}") from error


def _bound(fields: dict[str, str], name: str) -> Decimal | None:
    return Decimal(fields[name]) if name in fields else None


def refs_of(  # noqa: C901, PLR0912 - one case an event type
    event: LedgerEvent,
) -> set[str]:
    """Return the ids an event speaks of; ``show`` and ``explain`` find it by them."""
    match event:
        case RunStarted() | RunEnded():
            refs = {event.run_id}
        case Recovered():
            refs = set(event.orders_closed)
        case Reconciled():
            refs = {each.key for each in event.differences}
        case DifferenceResolved():
            refs = {event.difference.key}
        case Decided():
            refs = {event.proposal.decision_id}
        case Answered():
            refs = {event.decision_id}
        case RiskChecked():
            refs = {event.client_order_id, event.decision_id}
        case OrderIntended():
            refs = {event.order.client_order_id, event.order.decision_id}
        case OrderChanged() | CancelIntended():
            refs = {event.client_order_id}
        case SlippageMeasured():
            refs = {event.client_order_id, event.decision_id}
        case MarkedOut():
            refs = {event.fill_id, event.client_order_id}
        case Anchored() | AnchorFailed():
            refs = {ANCHORS}
        case Filled():
            refs = {event.fill.fill_id, event.fill.client_order_id, event.decision_id}
        case Transferred():
            refs = {event.transfer.transfer_id}
        case _:
            refs = set()
    return refs - {""}
