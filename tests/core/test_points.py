"""Decision points: every look is noted, whether it led to a trade or not."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import Any

import msgspec

from core.clock import NS_PER_S
from core.model import event as ev
from core.model.decision import Mode
from core.model.market import FeedState
from core.model.point import DecisionPoint
from core.points import AGE_NS, POINTS_MAX
from tests.core.test_engine import Bench

PRACTICE = {"min_edge_bps": -1000.0, "min_skill": -1.0, "threshold": 0.02}
CADENCE_MS = 250


def bench(mode: Mode = Mode.AUTO, **strategy: Any) -> Bench:
    made = Bench(mode, **{**PRACTICE, **strategy})
    made.engine._records_points = True
    return made


def lines(of: Bench) -> list[DecisionPoint]:
    of.engine.points.flush()
    data = b"".join(of.sink.kept)
    return [msgspec.json.decode(line, type=DecisionPoint) for line in data.splitlines()]


def test_a_look_without_a_signal_is_noted_with_what_it_chose_from() -> None:
    held = bench()
    held.see(p_up=0.505, mean_move_ticks=200.0)
    held.pass_ms(CADENCE_MS)
    (point,) = lines(held)
    assert (point.outcome, point.decision_id) == ("no_signal", "")
    assert "0.505" in point.text
    assert [each.action for each in point.alternatives] == ["HOLD", "BUY", "SELL"]
    hold, buy, sell = point.alternatives
    assert (hold.edge_bps, hold.cost_bps) == (0.0, 0.0)
    assert buy.edge_bps > 0 > sell.edge_bps
    assert buy.edge_bps == -sell.edge_bps
    assert buy.cost_bps > 20  # two fees of 10 bps at least
    assert point.market.bid_ticks == 5_999_999
    assert point.checks
    assert all(check.passed for check in point.checks)


def test_a_look_that_led_to_a_proposal_names_it() -> None:
    held = bench()
    held.see(p_up=0.6, mean_move_ticks=200.0)
    held.pass_ms(CADENCE_MS)
    (decided,) = held.sink.of(ev.Decided)
    (point,) = lines(held)
    assert point.outcome == "proposed"
    assert point.decision_id == decided.proposal.decision_id
    buy = point.alternatives[1]
    assert (buy.edge_bps, buy.cost_bps) == (
        decided.proposal.edge_bps, decided.proposal.cost_bps,
    )  # fmt: skip
    assert point.forecasts[0].p_up == 0.6


def test_a_look_that_a_limit_stopped_says_which_one() -> None:
    held = bench(order_notional=Decimal(2500))
    held.see(p_up=0.6, mean_move_ticks=200.0)
    held.pass_ms(CADENCE_MS)
    (point,) = lines(held)
    failed = {check.control for check in point.checks if not check.passed}
    assert "max_order_notional" in failed
    assert point.outcome != "proposed"


def test_a_look_at_a_book_that_cannot_be_believed_is_noted_without_numbers() -> None:
    held = bench()
    held.take(held.feed.set_state(held.now_ns, FeedState.STALE, "silent"))
    held.pass_ms(CADENCE_MS)
    (point,) = lines(held)
    assert point.outcome == "feed"
    assert (point.features, point.alternatives, point.checks) == ((), (), ())


def test_nothing_is_decided_in_observe_mode_nor_in_a_past() -> None:
    held = bench(Mode.OBSERVE)
    held.pass_ms(4 * CADENCE_MS)
    assert lines(held) == []
    held = bench()
    held.engine.context.hold_back = "living through the market's past"
    held.pass_ms(4 * CADENCE_MS)
    assert lines(held) == []


def test_points_go_out_in_files_that_events_name_one_after_the_other() -> None:
    held = bench(cadence_ms=100)
    for _ in range(10 * 60 * 3):
        held.pass_ms(100)
        held.book([(5_999_999, 90_000)], [(6_000_001, 90_000)])
    held.engine.points.flush()
    written = held.sink.of(ev.DecisionsTaken)
    assert [event.count for event in written[:-1]] == [POINTS_MAX] * (len(written) - 1)
    assert [event.first for event in written] == list(
        range(1, held.engine.points.count, POINTS_MAX)
    )
    assert [event.digest for event in written] == [
        hashlib.sha256(data).hexdigest() for data in held.sink.kept
    ]
    assert sum(event.count for event in written) == held.engine.points.count
    assert [point.n for point in lines(held)] == list(range(1, held.engine.points.count + 1))


def test_few_points_do_not_wait_for_long() -> None:
    held = bench(cadence_ms=10_000)
    while not held.sink.of(ev.DecisionsTaken):
        held.pass_ms(10_000)
    (event,) = held.sink.of(ev.DecisionsTaken)
    assert event.last_ns - event.first_ns == AGE_NS == 60 * NS_PER_S


def test_points_that_the_disk_has_no_room_for_are_named_at_once_and_the_trader_is_told() -> None:
    held = bench()
    held.pass_ms(CADENCE_MS)
    held.sink.no_room = "disk: 7 MiB free, 256 are left to the events"
    held.engine.points.flush()
    named, gone = (event for _, event, _ in held.sink.events[-2:])
    assert isinstance(named, ev.DecisionsTaken)
    assert gone == ev.FilesRemoved(
        "payload", (named.digest,), named.size_bytes, 0, held.sink.no_room
    )
    assert held.sink.kept == []
    assert f"{named.count} decision points are not kept" in held.engine.context.notices[-1].text
    assert not held.engine.context.halted


def test_a_broken_ledger_halts_and_does_not_stop_the_engine() -> None:
    held = bench()
    held.pass_ms(CADENCE_MS)
    held.sink.is_broken = True
    held.engine.points.flush()
    assert held.engine.context.ledger_failure
    assert held.engine.context.halted


def test_a_position_that_may_grow_is_weighed_against_growing() -> None:
    for entries, actions in ((1, ["HOLD", "SELL"]), (2, ["HOLD", "SELL", "BUY"])):
        held = bench(max_entries=entries)
        held.see(p_up=0.6, mean_move_ticks=200.0)
        held.pass_ms(CADENCE_MS)
        held.fill_all()
        held.pass_ms(5_000)
        point = next(each for each in lines(held) if each.position_lots and each.alternatives)
        assert [each.action for each in point.alternatives] == actions
        assert point.checks
