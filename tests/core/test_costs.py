"""The costs of our orders: what is journalled when, and what bad ones in a row do."""

from __future__ import annotations

import pytest

from core.clock import NS_PER_S
from core.config import SlippageSettings
from core.costs import MARKOUT_HORIZONS_S, WAITING_MAX
from core.model import event as ev
from core.model.decision import Verdict
from core.model.market import FeedState
from core.model.order import Order, ReportKind, Side
from core.picture import RunFacts, build
from tests.core.gate_cases import order
from tests.core.test_engine import ASKS, BIDS, Bench
from tests.fakes import START_NS

NAME = "BTCUSDT"
ASK = 6_000_001
BAD = ASK + 1_800  # 3 bps beyond what was expected


def sent(bench: Bench, lots: int = 1_000, **changes: object) -> Order:
    """Send one order, unlike the one before, through the gate to the broker."""
    bench.pass_ms(1_000)
    bench.engine.execution.send(order(qty_lots=lots, **changes), "d1", None)
    bench.take()
    return bench.broker.submitted[-1]


def filled(bench: Bench, ticks: int = ASK, lots: int = 1_000) -> Order:
    """Buy at a price and sell at another that is as far from what was expected."""
    bought = sent(bench, lots)
    bench.broker.fill(bought, lots, ticks, bench.now_ns)
    bench.take()
    return bought


def closed(bench: Bench, ticks: int = 5_999_999, lots: int = 1_000) -> Order:
    left = sent(bench, lots, side=Side.SELL, limit_ticks=5_999_999, reduces=True)
    bench.broker.fill(left, lots, ticks, bench.now_ns)
    bench.take()
    return left


def measured(bench: Bench) -> list[ev.SlippageMeasured]:
    return bench.sink.of(ev.SlippageMeasured)


def test_what_an_order_finds_is_durable_with_its_intent() -> None:
    bench = Bench()
    sent(bench)
    (intent,) = bench.sink.of(ev.OrderIntended)
    assert intent.arrival is not None
    assert intent.arrival.mid2_ticks == 12_000_000
    assert intent.arrival.depth_lots == 90_000
    assert intent.arrival.expected_bps == pytest.approx(10_000 / 6_000_000)


def test_an_order_is_measured_when_it_has_ended_all_fills_counted() -> None:
    bench = Bench()
    bought = sent(bench)
    bench.broker.fill(bought, 600, ASK, bench.now_ns)
    bench.take()
    assert measured(bench) == []
    bench.broker.fill(bought, 300, ASK + 600, bench.now_ns + 1)
    bench.broker.report(bought, ReportKind.EXPIRED, bench.now_ns + 2)
    bench.take()
    (told,) = measured(bench)
    assert (told.client_order_id, told.filled_lots) == (bought.client_order_id, 900)
    assert told.arrival_mid == "60000"
    # 600 lots at 1 tick and 300 at 601 ticks from the mid: 201 ticks of 6,000,000 on average.
    assert told.realized_bps == pytest.approx(201 / 600)
    assert told.cost == "0.01809"  # 0.009 BTC times 2.01 USDT
    assert (told.currency, told.is_bad, told.bad_in_a_row) == ("USDT", False, 0)


def test_an_order_without_a_fill_cost_nothing_and_is_not_measured() -> None:
    bench = Bench()
    bought = sent(bench)
    bench.broker.report(bought, ReportKind.EXPIRED, bench.now_ns)
    bench.take()
    assert measured(bench) == []


def test_a_fill_after_the_end_is_measured_again_with_all_the_others() -> None:
    bench = Bench()
    bought = sent(bench)
    bench.broker.fill(bought, 400, ASK, bench.now_ns)
    bench.broker.report(bought, ReportKind.CANCELED, bench.now_ns)
    bench.broker.fill(bought, 600, ASK, bench.now_ns + 1)
    bench.take()
    assert [each.filled_lots for each in measured(bench)] == [400, 1_000]


def late(bench: Bench, of: Order, ticks: int, lots: int = 100) -> None:
    """Fill some lots of an order that has ended."""
    bench.broker.fill(of, lots, ticks, bench.now_ns + 1)
    bench.take()


def test_a_bad_order_that_fills_late_is_one_bad_order_still() -> None:
    bench = Bench()
    bought = sent(bench)
    bench.broker.fill(bought, 400, BAD, bench.now_ns)
    bench.broker.report(bought, ReportKind.CANCELED, bench.now_ns)
    bench.take()
    late(bench, bought, BAD)
    assert [each.bad_in_a_row for each in measured(bench)] == [1, 1]


def test_a_good_order_that_fills_late_ends_no_row_and_one_that_turns_bad_counts() -> None:
    bench = Bench()
    good = sent(bench)
    bench.broker.fill(good, 400, ASK, bench.now_ns)
    bench.broker.report(good, ReportKind.CANCELED, bench.now_ns)
    bench.take()
    filled(bench, BAD, 999)
    late(bench, good, ASK)
    assert [each.bad_in_a_row for each in measured(bench)] == [0, 1, 1]
    late(bench, good, ASK + 60_000, 101)
    assert [each.bad_in_a_row for each in measured(bench)] == [0, 1, 1, 2]


@pytest.mark.parametrize(("extra", "is_bad"), [(1_200, False), (1_201, True)])
def test_an_order_is_bad_just_beyond_the_bps_it_may_miss_what_was_expected(
    extra: int, is_bad: bool
) -> None:
    bench = Bench()
    filled(bench, ASK + extra)  # 1,200 ticks of 6,000,000 are 2 bps
    (told,) = measured(bench)
    assert told.is_bad is is_bad


def test_three_bad_ones_in_a_row_pause_the_instrument_and_the_reason_is_told() -> None:
    bench = Bench()
    for number in range(2):
        filled(bench, BAD, 1_000 + number)
        closed(bench, 5_999_999, 1_000 + number)  # a good one between
    assert [each.bad_in_a_row for each in measured(bench)] == [1, 0, 1, 0]
    filled(bench, BAD)
    closed(bench, 5_999_999 - 1_800)
    assert bench.engine.execution.gate(order()).allowed
    filled(bench, BAD, 900)
    assert [each.bad_in_a_row for each in measured(bench)][-3:] == [1, 2, 3]
    why = "slippage: 3 orders in a row filled more than 2 bps worse than expected"
    verdict = bench.engine.execution.gate(order())
    assert verdict.why == f"pause was {why}, 300 s left, limit none"
    told = [n for n in bench.engine.context.notices if n.severity == "error"]
    assert [n.text for n in told] == [f"{NAME}: no entry for 300 s, {why}"]


def test_a_paused_instrument_says_so_where_a_proposal_would_stand_and_may_still_be_left() -> None:
    bench = Bench()
    for lots in (1_000, 1_001, 1_002):
        filled(bench, BAD, lots)
    bench.pass_ms(10_000)
    closed(bench, 5_999_999, 3_003)
    assert bench.engine.account.position(NAME) == 0
    bench.see()
    bench.pass_ms(6_000)
    assert bench.engine.holds[NAME].text.startswith("pause was slippage: 3 orders in a row")
    assert bench.engine.proposals.pending == {}
    bench.pass_ms(300_000)
    bench.book(BIDS, ASKS)
    bench.see()
    bench.pass_ms(500)
    assert list(bench.engine.proposals.pending) == [NAME]


def test_the_mid_is_read_one_and_ten_seconds_after_each_fill_to_the_nanosecond() -> None:
    bench = Bench()
    filled(bench)
    filled_ns = bench.now_ns
    bench.pass_ms(999)
    assert bench.sink.of(ev.MarkedOut) == []
    bench.book([(6_000_599, 1)], [(6_000_601, 1)])
    bench.pass_ms(1)
    bench.book([(1, 1)], [(3, 1)])
    bench.pass_ms(8_999)
    bench.book([(5_999_399, 1)], [(5_999_401, 1)])
    bench.pass_ms(1)
    first, second = bench.sink.of(ev.MarkedOut)
    assert (first.horizon_s, second.horizon_s) == MARKOUT_HORIZONS_S
    assert (first.mid, second.mid) == ("60006", "59994")
    assert first.markout_bps == pytest.approx(599 / 600.0001, rel=1e-6)
    assert (first.gain, second.gain) == ("0.0599", "-0.0601")
    stamped = [ts for ts, event, _ in bench.sink.events if isinstance(event, ev.MarkedOut)]
    assert stamped == [filled_ns + NS_PER_S, filled_ns + 10 * NS_PER_S]
    causes = {cause for _, event, cause in bench.sink.events if isinstance(event, ev.MarkedOut)}
    fills = [n for n, (_, event, _) in enumerate(bench.sink.events, 1)
             if isinstance(event, ev.Filled)]  # fmt: skip
    assert causes == set(fills)


def test_a_markout_without_a_book_to_believe_is_not_known() -> None:
    bench = Bench()
    filled(bench)
    bench.take(bench.feed.set_state(bench.now_ns, FeedState.STALE))
    bench.pass_ms(1_000)
    (told,) = bench.sink.of(ev.MarkedOut)
    assert (told.mid, told.markout_bps, told.gain) == (None, None, None)


def test_a_markout_that_passed_in_a_long_silence_is_not_known() -> None:
    bench = Bench()
    filled(bench)
    bench.pass_ms(200_000)
    assert [each.mid for each in bench.sink.of(ev.MarkedOut)] == [None, None]


def test_more_fills_than_may_wait_tell_the_oldest_as_not_known() -> None:
    bench = Bench()
    bought = filled(bench)
    costs = bench.engine.execution.costs
    (fill,) = costs.orders[bought.client_order_id].fills
    for _ in range(WAITING_MAX):
        costs.take_fill(fill, 1)
    told = bench.sink.of(ev.MarkedOut)
    assert [each.horizon_s for each in told] == list(MARKOUT_HORIZONS_S)
    assert [each.mid for each in told] == [None, None]


def test_the_next_timer_is_known_before_it_is_due() -> None:
    bench = Bench()
    costs = bench.engine.execution.costs
    assert costs.next_due_ns() is None
    filled(bench)
    assert costs.next_due_ns() == bench.now_ns + NS_PER_S
    assert bench.engine.next_due_ns() == START_NS + NS_PER_S + NS_PER_S // 4
    assert SlippageSettings().bad_count == 3


def test_the_settings_say_how_many_bad_ones_and_for_how_long() -> None:
    bench = Bench()
    bench.engine.execution.costs._settings = SlippageSettings(bad_bps=2.9, bad_count=1, pause_s=5.0)
    filled(bench, BAD)
    assert "5 s left" in bench.engine.execution.gate(order()).why
    bench.pass_ms(5_000)
    assert bench.engine.execution.gate(order(qty_lots=7)).allowed


def test_an_approved_proposal_is_measured_from_its_sending_not_from_its_decision() -> None:
    bench = Bench()
    decision = bench.propose()
    bench.book([(6_000_099, 90_000)], [(6_000_101, 90_000)])
    bench.engine.proposals.answer(decision, Verdict.APPROVED, "human:trader")
    (intent,) = bench.sink.of(ev.OrderIntended)
    assert intent.arrival is not None
    assert intent.arrival.mid2_ticks == 12_000_200


def test_a_pause_stands_in_the_status_line_of_the_screen() -> None:
    bench = Bench()
    facts = RunFacts(account="SIM", source="test", version="0", started_ns=START_NS, agent_note="")

    def blocked() -> str:
        return build(bench.session, facts, 1, bench.now_ns, (0, "")).risk.blocked

    assert blocked() == ""
    bench.engine.execution.guard.stops.stop(NAME, bench.now_ns + 5 * NS_PER_S, "slippage")
    assert blocked() == "BTCUSDT: slippage, 5 s left"
    bench.pass_ms(5_000)
    assert blocked() == ""
