"""The venue's own filters: which orders it refuses before any book is looked at. Pure.

Prices and quantities are whole ticks and lots, so one off the grid cannot get this far:
``Instrument.ticks`` and ``Instrument.lots`` refuse its text.
"""

from __future__ import annotations

from core.model.instrument import Instrument, plain
from core.model.order import Order


def why_refused(order: Order, instrument: Instrument) -> str:
    """Return why the venue refuses this order; empty if it does not."""
    if order.qty_lots <= 0:
        return f"quantity was {order.qty_lots} lots, allowed is above zero"
    if order.limit_ticks <= 0:
        return f"limit was {order.limit_ticks} ticks, allowed is above zero"
    if order.post_only and not order.tif.may_rest:
        return f"post-only was {order.tif.value}: an order that may not rest cannot be a maker"
    return _why_size(order, instrument)


def _why_size(order: Order, instrument: Instrument) -> str:
    qty = instrument.qty(order.qty_lots)
    notional = instrument.notional(order.limit_ticks, order.qty_lots)
    bounds = (
        ("quantity", qty, instrument.min_qty, instrument.max_qty),
        ("notional", notional, instrument.min_notional, instrument.max_notional),
    )
    for what, value, least, most in bounds:
        if value < least:
            return f"{what} was {plain(value)}, the least is {plain(least)}"
        if most is not None and value > most:
            return f"{what} was {plain(value)}, the most is {plain(most)}"
    return ""
