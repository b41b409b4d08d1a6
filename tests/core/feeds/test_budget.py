"""Requests of a symbol stay under a ceiling, and far enough from those of the others."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from core.feeds.budget import Budget, Spacing
from tests.core.feeds.wire import MS, T0, S, binance, depth, depth_url, fetches, snapshot

WAITS = st.lists(st.tuples(st.integers(0, 3 * S), st.integers(0, 12 * S)), max_size=60)
ROWS = ([["100.00", "1.0"]], [["101.00", "1.0"]])


@given(WAITS, st.integers(1, 8))
def test_no_window_holds_more_requests_than_the_ceiling(waits, count):
    budget, made_ns, now_ns = Budget(count, 10 * S), [], 0
    for wants_in_ns, takes_ns in waits:
        made_ns.append(max(now_ns + wants_in_ns, budget.free_ns))
        now_ns = made_ns[-1] + takes_ns
        budget.spend(now_ns)
    assert all(b - a >= 10 * S for a, b in zip(made_ns, made_ns[count:], strict=False))


def test_request_that_fits_waits_for_nothing():
    budget = Budget(2, 10 * S)
    for now_ns in (0, 3 * S):
        assert budget.free_ns == 0
        budget.spend(now_ns)
    assert budget.free_ns == 10 * S
    budget.spend(10 * S)
    assert budget.free_ns == 13 * S


@given(st.lists(st.tuples(st.integers(0, S), st.integers(0, 20 * S)), max_size=30))
def test_times_taken_are_all_a_gap_apart_and_none_is_early(wanted):
    spacing, taken, now_ns = Spacing(S), [], 0
    for passed_ns, wait_ns in wanted:
        now_ns += passed_ns
        taken.append(spacing.take(now_ns + wait_ns, now_ns))
        assert taken[-1] >= now_ns + wait_ns
    taken.sort()
    assert all(b - a >= S for a, b in pairwise(taken))


def test_one_that_waits_for_later_keeps_nobody_else_waiting():
    spacing = Spacing(S)
    assert spacing.take(30 * S, 0) == 30 * S
    assert spacing.take(0, 0) == 0
    assert spacing.take(0, 0) == S
    spacing.give_back(0)
    assert spacing.take(0, 0) == S


def test_symbol_in_back_off_does_not_hold_up_the_snapshot_of_another():
    protocol = binance("BTCUSDT", "ETHUSDT", backoff_max_ms=60_000)
    protocol.on_http(depth_url("ETHUSDT"), snapshot(100, *ROWS), T0)
    now_ns = T0
    for _ in range(6):
        outputs = protocol.on_http_failed(depth_url(), "HTTP 503", now_ns)
        (asked,) = fetches(outputs)
        now_ns = asked.not_before_ns
    protocol.on_http_failed(depth_url(), "HTTP 503", now_ns)
    # The next one of BTCUSDT is 32 s away; a gap of ETHUSDT is healed after its own half second.
    (asked,) = fetches(protocol.receive(depth(150, 151, name="ETHUSDT"), now_ns))
    assert asked.not_before_ns == now_ns + 500 * MS


def test_connections_that_keep_breaking_do_not_ask_past_the_ceiling():
    # Found by mixed 1009: each connection began the back-off anew, nine snapshots in ten seconds.
    protocol = binance()
    asked_ns = [T0]
    for n in range(1, 30):
        now_ns = max(T0 + n * 700 * MS, asked_ns[-1])
        protocol.on_close("connection lost", now_ns)
        (asked,) = fetches(protocol.on_open(now_ns))
        asked_ns.append(asked.not_before_ns)
    assert all(b - a >= 10 * S for a, b in zip(asked_ns, asked_ns[8:], strict=False))
    assert asked_ns[7] == T0 + 7 * 700 * MS


def test_request_that_was_never_made_is_not_counted():
    protocol = binance()
    for n in range(20):
        # Behind the first one the next is planned half a second later: each time the connection
        # breaks before that.
        protocol.on_close("connection lost", T0 + n * MS)
        (asked,) = fetches(protocol.on_open(T0 + n * MS))
        assert asked.not_before_ns == T0 + 500 * MS
