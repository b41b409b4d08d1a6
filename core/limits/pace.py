"""Controls of pace: how many orders, how fast, and whether the same thing happens again."""

from __future__ import annotations

from core.config import RiskSettings
from core.limits.view import Case, Control

Found = tuple[str, str, bool]


def entry_messages_max(limits: RiskSettings) -> int:
    """Return the messages a second that entries may use up: a fifth is for exits and cancels."""
    return limits.max_messages_per_second * 4 // 5


def _max_open_orders(case: Case) -> Found:
    most = case.limits.max_open_orders
    return str(case.view.open_orders), str(most), case.view.open_orders < most


def _max_orders_per_second(case: Case) -> Found:
    most = case.limits.max_orders_per_second
    return str(case.view.orders_last_second), str(most), case.view.orders_last_second < most


def _max_orders_per_minute(case: Case) -> Found:
    most = case.limits.max_orders_per_minute
    return str(case.view.orders_last_minute), str(most), case.view.orders_last_minute < most


def _max_messages_per_second(case: Case) -> Found:
    limits, sent = case.limits, case.view.messages_last_second
    most = limits.max_messages_per_second if case.order.reduces else entry_messages_max(limits)
    return str(sent), str(most), sent < most


def _max_repeated_fills(case: Case) -> Found:
    most = case.limits.max_repeated_fills
    return str(case.view.repeated_fills), str(most), case.view.repeated_fills < most


def _duplicate_window(case: Case) -> Found:
    age, window = case.view.same_order_age_ms, case.limits.duplicate_window_ms
    if age is None:
        return "no such order", f"{window} ms", True
    return f"{age:g} ms ago", f"{window} ms", age >= window


PACE = (
    Control("max_open_orders", "too many orders are open", _max_open_orders),
    Control("max_orders_per_second", "too many orders in one second", _max_orders_per_second),
    Control("max_orders_per_minute", "too many orders in 60 seconds", _max_orders_per_minute),
    Control("max_messages_per_second", "too many orders and cancels in one second; an entry must "
            "leave the last fifth to exits and cancels", _max_messages_per_second, of_exits=True),
    Control("max_repeated_fills", "too many orders on this side filled within the window, without "
            "one on the other side between", _max_repeated_fills),
    Control("duplicate_window_ms", "the same instrument, side, price and quantity was ordered "
            "within the window", _duplicate_window),
)  # fmt: skip
