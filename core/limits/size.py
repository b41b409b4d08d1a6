"""Controls of size: one order, the position it may make, everything held together."""

from __future__ import annotations

from decimal import Decimal

from core.config import RiskSettings
from core.limits.view import UNKNOWN, Case, Control
from core.model.instrument import plain
from core.model.order import Side

WILD = "wild"
"""The volatility bucket that throttles; see ``core.signals.volatility``."""
Found = tuple[str, str, bool]


def size_share(bucket: str | None, limits: RiskSettings) -> float:
    """Return the share of its size that an entry may have in a volatility bucket."""
    return limits.wild_size_share if bucket == WILD else 1.0


def _order_lots(case: Case) -> Found:
    return str(case.order.qty_lots), "above 0", case.order.qty_lots > 0


def _price(case: Case) -> int:
    """Return the dearest price in ticks at which the order can be valued: it is never cheaper."""
    return max(case.order.limit_ticks, case.view.bid_ticks or 0, case.view.ask_ticks or 0)


def _notional(case: Case) -> Decimal:
    return case.view.instrument.notional(_price(case), case.order.qty_lots)


def _worst_value(case: Case) -> Decimal:
    """Return the value of the position once all open orders on this side have filled."""
    lots = _working_lots(case) + case.order.qty_lots
    worst_lots = abs(case.view.position_lots + case.order.side.sign * lots)
    return case.view.instrument.notional(_price(case), worst_lots)


def _working_lots(case: Case) -> int:
    is_buy = case.order.side is Side.BUY
    return case.view.working_buy_lots if is_buy else case.view.working_sell_lots


def _max_order_qty(case: Case) -> Found:
    qty = case.view.instrument.qty(case.order.qty_lots)
    return plain(qty), plain(case.limits.max_order_qty), qty <= case.limits.max_order_qty


def _min_notional(case: Case) -> Found:
    notional, floor = _notional(case), case.view.instrument.min_notional
    return plain(notional), plain(floor), notional >= floor


def _max_order_notional(case: Case) -> Found:
    notional, most = _notional(case), case.limits.max_order_notional
    return plain(notional), plain(most), notional <= most


def _volatility_notional(case: Case) -> Found:
    bucket, notional = case.view.volatility_bucket or "not known yet", _notional(case)
    value = f"{plain(notional)} in {bucket}"
    if bucket != WILD:
        return value, "no throttle", True
    most = case.limits.max_order_notional * Decimal(str(case.limits.wild_size_share))
    return value, plain(most), notional <= most


def _max_position(case: Case) -> Found:
    value, most = _worst_value(case), case.limits.max_position_notional
    return plain(value), plain(most), value <= most


def _max_gross_exposure(case: Case) -> Found:
    most = case.limits.max_gross_exposure
    if case.view.other_exposure is None:
        return UNKNOWN, plain(most), False
    value = case.view.other_exposure + _worst_value(case)
    return plain(value), plain(most), value <= most


def _reduces_only(case: Case) -> Found:
    order, view = case.order, case.view
    room = -order.side.sign * view.position_lots - _working_lots(case)
    return str(order.qty_lots), f"at most {max(room, 0)}", 0 < order.qty_lots <= room


SIZE = (
    Control("order_lots", "the quantity is not above zero", _order_lots),
    Control("min_notional", "the value is below the least the venue takes", _min_notional),
    Control("max_order_qty", "the quantity is above the limit, whatever the price says it is worth",
            _max_order_qty),
    Control("max_order_notional", "the value is above the limit", _max_order_notional),
    Control("volatility_notional", "the market is in its `wild` volatility bucket and the value "
            "is above the share of the limit allowed there", _volatility_notional),
    Control("max_position_notional", "position and open orders would be worth more than the limit",
            _max_position),
    Control("max_gross_exposure", "all positions and open orders in the quote currency would be "
            "worth more than the limit, long and short added up; or one has no mark",
            _max_gross_exposure),
)  # fmt: skip
EXIT = (
    Control("reduces_only", "the quantity is above what is left of the position", _reduces_only,
            of_entries=False, of_exits=True),
)  # fmt: skip
