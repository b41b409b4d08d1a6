"""What we believe beside what the broker says: agree and trade, differ and wait for the trader."""

from __future__ import annotations

import msgspec
import pytest

from core.clock import ManualClock
from core.commands import Commands
from core.control import Ack, Compare, ResolveDifference
from core.model import event as ev
from core.model.decision import Mode, Verdict
from core.model.difference import Difference, DifferenceKind, Remedy
from core.model.order import (
    BrokerOrder,
    Fill,
    Order,
    OrderStatus,
    ReportKind,
    Side,
    TimeInForce,
)
from core.reconcile import LeftOrder, Reconciler, hear
from tests.core.test_engine import ASKS, BIDS, Bench
from tests.properties.stage import FACTS

BTCUSDT = "BTCUSDT"


class Desk(Bench):
    """The bench of the engine with its reconciler and commands at hand."""

    def __init__(self, mode: Mode = Mode.CONFIRM) -> None:
        super().__init__(mode)
        self.commands = Commands(
            self.session, FACTS, ManualClock(self.now_ns), lambda: (0, ""), lambda reason: None
        )

    @property
    def reconciler(self) -> Reconciler:
        return self.session.reconciler

    @property
    def kinds(self) -> list[DifferenceKind]:
        return [each.kind for each in self.engine.context.differences]

    def begin(self, left: list[LeftOrder], past: list[Fill]) -> tuple[Difference, ...]:
        """Start as a run does: ask the broker, take what it tells, compare."""
        past_status = self.engine.execution.past_status
        told = hear(self.broker, left, past, past_status, self.now_ns)
        return self.reconciler.start(left, told)

    def resolve(self, key: str, remedy: Remedy, reason: str = "looked at it") -> str:
        return self.reconciler.resolve(key, remedy, "human:trader", reason)

    def approve(self) -> None:
        self.engine.proposals.answer(self.propose(), Verdict.APPROVED, "human:trader")
        self.take()


def their_order(key: str = "web-1", lots: int = 70) -> Order:
    return Order(key, "", BTCUSDT, Side.BUY, lots, 6_000_000, TimeInForce.GTC,
                 reduces=False, decided_ns=1)  # fmt: skip


def left_order(bench: Desk, fills: list[Fill] | None = None) -> LeftOrder:
    order = their_order("0123456789abcdef-o4")
    bench.engine.execution.past_status = lambda key: (
        OrderStatus.INITIALIZED if key == order.client_order_id else None
    )
    return LeftOrder(order, 1, fills or [])


# --- looking ------------------------------------------------------------------------------------


def test_two_that_agree_trade_and_nothing_is_written_of_an_empty_start() -> None:
    bench = Desk()
    assert bench.begin([], []) == ()
    assert bench.sink.of(ev.Reconciled) == []
    bench.approve()
    assert len(bench.broker.submitted) == 1


def test_a_position_that_differs_stops_new_risk_and_says_why() -> None:
    bench = Desk()
    bench.broker.held[BTCUSDT] = 7
    bench.begin([], [])
    assert bench.kinds == [DifferenceKind.POSITION]
    assert "we say 0, the broker says 0.00007" in bench.engine.context.differences[0].text
    bench.see()
    bench.pass_ms(250)
    assert not bench.engine.proposals.pending
    assert bench.engine.holds[BTCUSDT].code == "broker_agrees"
    assert "0.00007" in bench.commands.snapshot().risk.blocked
    assert len(bench.sink.of(ev.Reconciled)) == 1


def test_an_entry_approved_before_the_difference_stays_in() -> None:
    bench = Desk()
    key = bench.propose()
    bench.broker.held[BTCUSDT] = 7
    bench.reconciler.compare()
    bench.engine.proposals.answer(key, Verdict.APPROVED, "human:trader")
    bench.take()
    assert bench.broker.submitted == []
    assert "broker_agrees" in bench.engine.execution.last_denial


def test_an_exit_is_kept_in_where_the_position_itself_is_in_doubt() -> None:
    bench = Desk()
    bench.approve()
    bench.fill_all()
    bench.broker.held[BTCUSDT] = 1
    bench.reconciler.compare()
    bench.engine.close_trade(BTCUSDT, "human:trader", "by hand")
    bench.pass_ms(1_000)
    assert len(bench.broker.submitted) == 1
    bench.broker.held[BTCUSDT] = 1666
    bench.pass_ms(2_000)
    assert bench.broker.submitted[-1].reduces


def test_a_difference_that_is_over_is_seen_within_a_second() -> None:
    bench = Desk()
    bench.broker.held[BTCUSDT] = 7
    bench.reconciler.compare()
    bench.broker.held.clear()
    bench.pass_ms(1_250)
    assert bench.engine.context.differences == ()
    assert bench.sink.of(ev.Reconciled)[-1].differences == ()


def test_a_broker_in_trouble_stops_new_risk() -> None:
    bench = Desk()
    bench.broker.failure = "paper.account: no space left"
    bench.reconciler.compare()
    assert bench.kinds == [DifferenceKind.BROKER]
    with pytest.raises(ValueError, match="a restart alone"):
        bench.resolve("broker", Remedy.ADOPT)


# --- a start ------------------------------------------------------------------------------------


def test_an_order_left_open_is_unknown_asked_about_and_holds_new_risk_back() -> None:
    bench = Desk()
    left = left_order(bench)
    bench.begin([left], [])
    key = left.order.client_order_id
    state = bench.engine.execution.orders.states[key]
    assert state.status is OrderStatus.UNKNOWN
    assert bench.broker.asked == [key]
    assert bench.kinds == [DifferenceKind.MISSING_ORDER]
    assert bench.engine.execution.orders.working_lots(BTCUSDT, Side.BUY) == 70
    bench.broker.report(left.order, ReportKind.CANCELED, bench.now_ns)
    bench.take()
    bench.pass_ms(1_250)
    assert bench.engine.context.differences == ()


def test_a_fill_made_while_we_were_away_is_taken_once() -> None:
    bench = Desk()
    left = left_order(bench)
    bench.broker.fill(left.order, 70, 6_000_001, bench.now_ns)
    bench.begin([left], [])
    assert bench.engine.account.position(BTCUSDT) == 70
    assert bench.engine.context.differences == ()
    bench.begin([], bench.broker.filled)
    assert len(bench.sink.of(ev.Filled)) == 1
    (first, _) = bench.sink.of(ev.Reconciled)
    assert first.told == 1


def test_a_fill_of_an_order_the_ledger_never_intended_is_the_traders_to_adopt() -> None:
    bench = Desk()
    bench.broker.fill(their_order(), 70, 6_000_001, bench.now_ns)
    bench.broker.reports.clear()
    bench.begin([], [])
    assert bench.engine.account.position(BTCUSDT) == 0
    assert bench.kinds == [DifferenceKind.POSITION]
    bench.book(BIDS, ASKS)
    bench.resolve(BTCUSDT, Remedy.ADOPT)
    (filled,) = bench.sink.of(ev.Filled)
    assert (filled.fill.price_ticks, filled.fill.qty_lots) == (6_000_001, 70)
    assert bench.engine.context.differences == ()


# --- the trader's word --------------------------------------------------------------------------


def test_what_no_fill_tells_is_adopted_at_the_mark_and_said_to_be() -> None:
    bench = Desk()
    bench.broker.held[BTCUSDT] = -7
    bench.reconciler.compare()
    bench.book([(6_000_000, 10)], [(6_000_002, 10)])
    assert bench.resolve(BTCUSDT, Remedy.ADOPT).endswith("all agree")
    (filled,) = bench.sink.of(ev.Filled)
    fill = filled.fill
    assert (fill.side, fill.qty_lots, fill.price_ticks) == (Side.SELL, 7, 6_000_001)
    assert "the price is the mark" in filled.rationale
    (resolved,) = bench.sink.of(ev.DifferenceResolved)
    assert (resolved.remedy, resolved.actor) == (Remedy.ADOPT, "human:trader")


def test_an_order_of_somebody_else_counts_and_is_canceled_on_the_traders_word() -> None:
    bench = Desk()
    theirs = their_order()
    bench.broker.working = [BrokerOrder(theirs, 0)]
    bench.reconciler.compare()
    assert bench.kinds == [DifferenceKind.EXTERNAL_ORDER]
    assert bench.engine.execution.orders.working_lots(BTCUSDT, Side.BUY) == 70
    bench.resolve("web-1", Remedy.CANCEL)
    bench.session.send_cancels()
    assert bench.broker.canceled == ["web-1"]
    bench.broker.working = []
    bench.broker.report(theirs, ReportKind.CANCELED, bench.now_ns)
    bench.take()
    bench.pass_ms(1_250)
    assert bench.engine.context.differences == ()


def test_an_order_of_somebody_else_that_is_kept_counts_and_is_not_canceled_with_ours() -> None:
    bench = Desk()
    bench.broker.working = [BrokerOrder(their_order(), 20)]
    bench.reconciler.compare()
    bench.resolve("web-1", Remedy.KEEP)
    assert bench.engine.context.differences == ()
    assert bench.engine.execution.orders.working_lots(BTCUSDT, Side.BUY) == 70
    assert bench.engine.execution.cancel_orders("system", "the engine stops") == 0
    bench.engine.kill_all("human:trader", "F12")
    bench.session.send_cancels()
    assert bench.broker.canceled == ["web-1"]


def test_a_missing_order_is_marked_as_ended_on_the_traders_word() -> None:
    bench = Desk()
    left = left_order(bench)
    bench.begin([left], [])
    key = left.order.client_order_id
    bench.resolve(key, Remedy.MARK)
    state = bench.engine.execution.orders.states[key]
    assert state.status is OrderStatus.CANCELED
    assert "marked as ended by human:trader: looked at it" in state.reason
    assert bench.engine.context.differences == ()


@pytest.mark.parametrize(
    ("key", "remedy", "reason", "why"),
    [
        ("nothing", Remedy.ADOPT, "so", "no difference nothing"),
        (BTCUSDT, Remedy.CANCEL, "so", "adopt does"),
        (BTCUSDT, Remedy.ADOPT, "  ", "needs a reason"),
        (BTCUSDT, Remedy.ADOPT, "so", "no price yet"),
    ],
)
def test_what_stands_against_a_remedy_is_said(
    key: str, remedy: Remedy, reason: str, why: str
) -> None:
    bench = Desk()
    bench.broker.held[BTCUSDT] = 7
    bench.book([], [])
    bench.engine.account._marks2.clear()
    bench.reconciler.compare()
    with pytest.raises(ValueError, match=why):
        bench.resolve(key, remedy, reason)


def test_the_commands_compare_and_resolve_and_a_refusal_is_journalled() -> None:
    bench = Desk()
    bench.book(BIDS, ASKS)
    agrees = bench.commands.carry_out(Compare())
    assert agrees == Ack(ok=True, text="the broker agrees with us")
    bench.broker.held[BTCUSDT] = 7
    refused = bench.commands.carry_out(ResolveDifference(BTCUSDT, Remedy.KEEP, "so"))
    assert not getattr(refused, "ok", True)
    assert len(bench.sink.of(ev.CommandRefused)) == 1
    done = bench.commands.carry_out(ResolveDifference(BTCUSDT, Remedy.ADOPT, "so"))
    assert done == Ack(ok=True, text=f"{BTCUSDT}: adopt; all agree")


def test_fills_that_an_earlier_run_booked_are_not_booked_again_with_the_new_ones() -> None:
    bench = Desk()
    theirs = their_order()
    for ts_ns in (1, 2, 3):
        bench.broker.fill(theirs, 20, 6_000_001, bench.now_ns + ts_ns)
    bench.broker.reports.clear()
    old = bench.broker.filled[2]
    bench.engine.execution.knows_fill = lambda fill: fill == old
    bench.begin([], [])
    bench.resolve(BTCUSDT, Remedy.ADOPT)
    booked = [event.fill.fill_id for event in bench.sink.of(ev.Filled)]
    assert booked[:2] == [fill.fill_id for fill in bench.broker.filled[:2]]
    assert old.fill_id not in booked


# --- while it runs ------------------------------------------------------------------------------


def test_a_fill_of_an_order_of_somebody_else_counts_at_once_and_is_told() -> None:
    bench = Desk(Mode.AUTO)
    bench.broker.fill(their_order(), 70, 6_000_001, bench.now_ns)
    bench.take()
    assert bench.engine.account.position(BTCUSDT) == 70
    texts = [notice.text for notice in bench.engine.context.notices]
    assert "a fill of order web-1, EXTERNAL: not sent by us, counts" in texts
    bench.pass_ms(250)
    assert bench.engine.context.differences == ()


def test_a_fill_told_again_of_an_order_long_forgotten_is_looked_up_in_the_ledger() -> None:
    bench = Desk()
    bench.broker.fill(their_order("cafe0123cafe0123-o9"), 70, 6_000_001, bench.now_ns)
    bench.engine.execution.knows_fill = lambda fill: True
    bench.take()
    assert bench.engine.account.position(BTCUSDT) == 0
    assert bench.engine.execution.orders.queue.late_reports == 1


def test_a_late_fill_of_an_order_of_ours_that_closed_before_counts_and_keeps_its_status() -> None:
    bench = Desk()
    bench.engine.execution.past_status = lambda key: OrderStatus.CANCELED
    bench.broker.fill(their_order("0123456789abcdef-o4"), 70, 6_000_001, bench.now_ns)
    bench.begin([], [])
    assert bench.engine.account.position(BTCUSDT) == 70
    assert bench.sink.of(ev.OrderChanged) == []
    texts = " ".join(notice.text for notice in bench.engine.context.notices)
    assert "CANCELED before, counts" in texts


# --- now and then -------------------------------------------------------------------------------

EVERY_MS = 10_000
AGAIN_MS = 5_000
"""``[risk] compare_every_s`` and the second look."""


def begun(mode: Mode = Mode.CONFIRM) -> Desk:
    """Return a bench that started with nothing anywhere."""
    bench = Desk(mode)
    bench.begin([], [])
    return bench


def told(bench: Desk) -> str:
    return " | ".join(notice.text for notice in bench.engine.context.notices)


def test_a_strangers_fill_whose_report_was_lost_is_told_after_two_looks() -> None:
    bench = begun()
    bench.broker.fill(their_order(), 70, 6_000_001, bench.now_ns)
    bench.broker.reports.clear()
    bench.pass_ms(EVERY_MS + AGAIN_MS - 250)
    assert bench.kinds == []
    bench.pass_ms(500)
    assert bench.kinds == [DifferenceKind.POSITION]
    assert "we say 0, the broker says 0.0007" in told(bench)
    assert bench.sink.of(ev.Reconciled)[-1].differences == bench.engine.context.differences
    bench.see()
    bench.pass_ms(250)
    assert bench.engine.holds[BTCUSDT].code == "broker_agrees"
    bench.resolve(BTCUSDT, Remedy.ADOPT)
    assert bench.engine.account.position(BTCUSDT) == 70
    assert bench.engine.context.differences == ()


def test_a_report_on_its_way_raises_no_alarm() -> None:
    bench = begun()
    bench.pass_ms(EVERY_MS - 500)
    bench.broker.fill(their_order(), 70, 6_000_001, bench.now_ns)
    late, bench.broker.reports = bench.broker.reports, []
    bench.pass_ms(AGAIN_MS)
    bench.broker.reports = late
    bench.take()
    bench.pass_ms(2 * EVERY_MS)
    assert "DIFFERENCE" not in told(bench)
    assert all(not each.differences for each in bench.sink.of(ev.Reconciled))


def test_a_stream_of_fills_each_told_late_raises_no_alarm() -> None:
    """At every look another fill is on its way: the position differs each time, by as much."""
    bench = begun()
    bench.approve()
    sent = bench.broker.submitted[0]
    bench.broker.working = [BrokerOrder(sent, 0)]
    bench.broker.report(sent, ReportKind.ACCEPTED, bench.now_ns)
    bench.take()
    late = []
    looks = 0
    for _ in range(60):
        bench.broker.fill(sent, 7, 6_000_001, bench.now_ns)
        bench.broker.reports, late = late, bench.broker.reports
        looks += bench.broker.held[BTCUSDT] != bench.engine.account.position(BTCUSDT)
        bench.take()
        bench.pass_ms(1_000)
    assert looks == 60
    assert bench.engine.account.position(BTCUSDT) == 59 * 7
    assert "DIFFERENCE" not in told(bench)


def test_a_stranger_who_bought_and_sold_again_unseen_is_told_though_positions_agree() -> None:
    bench = begun()
    theirs = their_order()
    back = msgspec.structs.replace(theirs, client_order_id="web-2", side=Side.SELL)
    bench.broker.fill(theirs, 70, 6_000_001, bench.now_ns)
    bench.broker.fill(back, 70, 6_000_003, bench.now_ns + 1)
    bench.broker.reports.clear()
    bench.pass_ms(EVERY_MS + AGAIN_MS + 250)
    assert bench.kinds == [DifferenceKind.FILLS]
    (found,) = bench.engine.context.differences
    assert "BUY 0.0007 at 60000.01" in found.text
    assert "SELL 0.0007 at 60000.03" in found.text
    bench.resolve(BTCUSDT, Remedy.ADOPT)
    assert bench.engine.context.differences == ()
    assert bench.engine.account.position(BTCUSDT) == 0
    assert len(bench.sink.of(ev.Filled)) == 2


def test_about_a_lost_fill_of_an_order_of_ours_the_broker_is_asked_and_tells_it_again() -> None:
    bench = begun()
    bench.approve()
    bench.fill_all()
    sent = bench.broker.submitted[0]
    bench.broker.fill(sent, 3, 6_000_001, bench.now_ns)
    lost = bench.broker.reports.pop()
    bench.pass_ms(EVERY_MS)
    assert bench.broker.asked == [sent.client_order_id]
    assert bench.kinds == []
    bench.broker.reports.append(lost)
    bench.take()
    assert bench.engine.account.position(BTCUSDT) == sent.qty_lots + 3
    assert "filled 3 lots beyond its quantity" in told(bench)


def test_an_order_that_a_stranger_has_at_work_unseen_is_found() -> None:
    bench = begun()
    bench.broker.working = [BrokerOrder(their_order(), 0)]
    bench.pass_ms(EVERY_MS + AGAIN_MS + 250)
    assert bench.kinds == [DifferenceKind.EXTERNAL_ORDER]
    assert bench.engine.execution.orders.working_lots(BTCUSDT, Side.BUY) == 70


def test_a_broker_that_cannot_be_believed_any_more_is_noticed_without_an_order() -> None:
    bench = begun()
    bench.broker.failure = "paper.account: no space left"
    bench.pass_ms(EVERY_MS + AGAIN_MS + 250)
    assert bench.kinds == [DifferenceKind.BROKER]
    bench.broker.failure = ""
    bench.pass_ms(1_250)
    assert bench.kinds == []


def test_fills_of_before_the_start_are_no_news() -> None:
    bench = Desk()
    bench.broker.fill(their_order(), 70, 6_000_001, bench.now_ns - 1)
    back = msgspec.structs.replace(their_order("web-2"), side=Side.SELL)
    bench.broker.fill(back, 70, 6_000_001, bench.now_ns - 1)
    bench.broker.reports.clear()
    bench.begin([], [])
    bench.pass_ms(2 * EVERY_MS)
    assert bench.kinds == []


def test_a_fill_is_looked_for_once_more_a_minute_after_it_was_made_and_no_longer() -> None:
    """A venue may list a fill late; what is compared stays bounded all the same."""
    asked: list[int] = []
    bench = begun()
    since = bench.broker.fills_since

    def counting(ts_ns: int) -> list[Fill]:
        asked.append(ts_ns)
        return since(ts_ns)

    bench.broker.fills_since = counting  # type: ignore[method-assign]
    for _ in range(30):
        bench.pass_ms(EVERY_MS)
    started_ns = asked[0]
    assert asked[1] == started_ns
    assert bench.now_ns - asked[-1] <= 60_000_000_000 + 2 * EVERY_MS * 1_000_000
