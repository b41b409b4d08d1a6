"""The control that keeps us from trading with ourselves."""

from __future__ import annotations

from core.limits.view import Case, Control
from core.model.order import Side


def _own_orders(case: Case) -> tuple[str, str, bool]:
    """Venues refuse an order that meets our own on the other side, as a wash trade.

    Exits too: one that met our own order would close nothing. A close cancels our orders first.
    Source: Alpaca-API issue 82, alpaca-java issue 145.
    """
    instrument, own, limit = case.view.instrument, case.view.own_ticks, case.order.limit_ticks
    price = instrument.price_text(limit)
    if own is None:
        return price, "none on the other side", True
    is_buy = case.order.side is Side.BUY
    meets = f"{'below our sell' if is_buy else 'above our buy'} at {instrument.price_text(own)}"
    return price, meets, limit < own if is_buy else limit > own


OWN = (
    Control("own_orders", "the order would meet an open order of our own on the other side of the "
            "instrument", _own_orders, of_exits=True),
)  # fmt: skip
