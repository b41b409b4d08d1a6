"""Pace: what is counted, for how long, and that an order is never counted against itself."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from core.clock import NS_PER_MS, NS_PER_S
from core.model.order import Side
from core.pace import MINUTE_NS, Pace
from tests.core.gate_cases import limits, order

LIMITS = limits(repeated_window_s=10.0, duplicate_window_ms=500)
S = NS_PER_S


def sent(pace: Pace, key: str, at_ns: int, **changes: object) -> None:
    pace.note_order(order(client_order_id=key, **changes), at_ns)


def test_an_order_counts_for_its_window_to_the_nanosecond_and_not_against_itself() -> None:
    pace = Pace(LIMITS)
    sent(pace, "a", S)
    assert pace.orders_within(S, 2 * S - 1, "") == 1
    assert pace.orders_within(S, 2 * S, "") == 0
    assert pace.orders_within(MINUTE_NS, S + MINUTE_NS - 1, "") == 1
    assert pace.orders_within(MINUTE_NS, S + MINUTE_NS, "") == 0
    assert pace.orders_within(MINUTE_NS, S, "a") == pace.messages_last_second(S, "a") == 0


def test_a_message_is_an_order_or_a_cancel() -> None:
    pace = Pace(LIMITS)
    sent(pace, "a", S)
    pace.note_cancel(S + 1)
    pace.note_cancel(S + 2)
    assert pace.messages_last_second(S + 3, "") == 3
    assert pace.messages_last_second(S + 3, "a") == 2
    assert pace.messages_last_second(2 * S, "") == 2
    assert pace.orders_within(S, S + 3, "") == 1


def test_the_same_order_is_one_of_the_same_instrument_side_price_and_quantity() -> None:
    pace = Pace(LIMITS)
    sent(pace, "a", S)
    later = S + 100 * NS_PER_MS
    assert pace.same_order_age_ms(order(client_order_id="b"), later) == 100
    assert pace.same_order_age_ms(order(client_order_id="a"), later) is None
    for change in (
        {"instrument": "ETHUSDT"}, {"side": Side.SELL}, {"limit_ticks": 1}, {"qty_lots": 1}
    ):  # fmt: skip
        assert pace.same_order_age_ms(order(client_order_id="b", **change), later) is None
    assert pace.same_order_age_ms(order(client_order_id="b"), S + 500 * NS_PER_MS - 1) is not None
    assert pace.same_order_age_ms(order(client_order_id="b"), S + 500 * NS_PER_MS) is None


def test_fills_repeat_until_one_of_the_other_side_and_parts_of_one_order_count_once() -> None:
    pace = Pace(LIMITS)
    for key in ("a", "a", "b"):
        pace.note_fill(order(client_order_id=key), S)
    assert pace.repeated_fills("BTCUSDT", Side.BUY, S) == 2
    assert pace.repeated_fills("BTCUSDT", Side.SELL, S) == 0
    assert pace.repeated_fills("ETHUSDT", Side.BUY, S) == 0
    pace.note_fill(order(client_order_id="c", side=Side.SELL), S)
    assert pace.repeated_fills("BTCUSDT", Side.BUY, S) == 0
    assert pace.repeated_fills("BTCUSDT", Side.SELL, S) == 1
    assert pace.repeated_fills("BTCUSDT", Side.SELL, 11 * S - 1) == 1
    assert pace.repeated_fills("BTCUSDT", Side.SELL, 11 * S) == 0


@given(
    steps=st.lists(
        st.tuples(
            st.integers(0, 3 * S), st.sampled_from("ocbs"), st.integers(1, 3), st.integers(0, 4)
        ),
        max_size=40,
    )
)
def test_counts_are_those_of_a_list_that_forgets_nothing(steps: list) -> None:
    pace, now_ns = Pace(LIMITS), S
    orders: list[tuple[int, str, int]] = []
    cancels: list[int] = []
    fills: list[tuple[int, str, Side]] = []
    for number, (wait_ns, what, lots, key) in enumerate(steps):
        now_ns += wait_ns
        if what == "o":
            orders.append((now_ns, f"o{number}", lots))
            sent(pace, f"o{number}", now_ns, qty_lots=lots)
        elif what == "c":
            cancels.append(now_ns)
            pace.note_cancel(now_ns)
        else:
            side = Side.BUY if what == "b" else Side.SELL
            fills.append((now_ns, f"{what}{key}", side))
            pace.note_fill(order(client_order_id=f"{what}{key}", side=side), now_ns)
    second = [at for at, *_ in orders if at > now_ns - S]
    assert pace.orders_within(S, now_ns, "") == len(second)
    minute = [at for at, *_ in orders if at > now_ns - MINUTE_NS]
    assert pace.orders_within(MINUTE_NS, now_ns, "") == len(minute)
    messages = len(second) + sum(at > now_ns - S for at in cancels)
    assert pace.messages_last_second(now_ns, "") == messages
    for lots in (1, 2, 3):
        ages = [now_ns - at for at, _, many in orders if many == lots]
        newest = min((age for age in ages if age < 500 * NS_PER_MS), default=None)
        asked = msgspec.structs.replace(order(client_order_id="new"), qty_lots=lots)
        told = pace.same_order_age_ms(asked, now_ns)
        assert told == (None if newest is None else newest / NS_PER_MS)
    for side in Side:
        streak: dict[str, int] = {}
        for at, key, filled in fills:
            if filled is not side:
                streak.clear()
            elif streak.get(key, -MINUTE_NS) <= at - 10 * S:
                streak[key] = at
        young = sum(at > now_ns - 10 * S for at in streak.values())
        assert pace.repeated_fills("BTCUSDT", side, now_ns) == young
