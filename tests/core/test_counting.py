"""A fill whose lots cannot be counted: it is in the ledger, the position is right, all halts."""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.account import NOT_COUNTED, Account
from core.lots import FifoBook
from core.metrics import Metrics
from core.model import event as ev
from core.model.decision import Mode, Verdict
from core.model.exits import ExitKind
from core.model.order import Fill, ReportKind, Side
from tests.core.test_attached import EXITS, MID, NAME, Watched
from tests.core.test_lots import fill
from tests.fakes import HandFeed
from tests.properties.stage import Stage

WHY = "counting lots failed: ArithmeticError: a lot without a price"


def broken_half_way(self: FifoBook, *given: Any, **named: Any) -> list[Any]:
    """Stand in for ``FifoBook.apply``: change half of the book, then raise."""
    self.open_lots.clear()
    self.position_lots += 7
    raise ArithmeticError("a lot without a price")


@pytest.fixture
def breaks(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what makes every counting fail from its call on."""
    return lambda: monkeypatch.setattr(FifoBook, "apply", broken_half_way)


def notices(bench: Watched) -> str:
    return " | ".join(notice.text for notice in bench.engine.context.notices)


def approve(bench: Watched) -> None:
    """Let one entry leave, to be filled by the test; then the strategy wants nothing more."""
    bench.engine.proposals.answer(bench.propose(), Verdict.APPROVED, "human:trader")
    bench.take()
    bench.hold_still()


def without_flatten(bench: Watched) -> Watched:
    bench.engine.kills._flattens = False
    return bench


# --- the account ----------------------------------------------------------------------------------


def test_the_position_moves_though_the_book_breaks_half_way(breaks: Any) -> None:
    account = Account(HandFeed().instruments, [fill(1, Side.BUY, 100, 5_000)])
    breaks()
    assert account.take(fill(2, Side.BUY, 20, 5_000)).is_nan()
    assert account.counting.failure == WHY
    assert account.position(NAME) == 120
    account.take(fill(3, Side.SELL, 150, 5_000))
    assert account.position(NAME) == -30
    assert account.books[NAME].open_lots == deque()


def test_a_history_that_cannot_be_counted_leaves_the_position_that_its_fills_make(
    breaks: Any,
) -> None:
    breaks()
    fills = [fill(1, Side.BUY, 100, 5_000), fill(2, Side.SELL, 30, 5_000)]
    account = Account(HandFeed().instruments, fills)
    assert account.position(NAME) == 70


def test_coins_that_paid_a_fee_have_left_the_position_too(breaks: Any) -> None:
    account = Account(HandFeed().instruments)
    paid = msgspec.structs.replace(
        fill(1, Side.BUY, 100, 5_000, "0.000025"), fee_currency="BTC", fee_from=NAME
    )
    breaks()
    account.take(paid)
    assert account.books[NAME].held == Fraction(975, 10)
    assert account.position(NAME) == 97


@given(
    st.lists(st.tuples(st.sampled_from(Side), st.integers(1, 300)), min_size=1, max_size=12),
    st.integers(0, 11),
)
def test_wherever_counting_breaks_the_position_is_the_sum_of_the_fills(
    trades: list[tuple[Side, int]], at: int
) -> None:
    account = Account(HandFeed().instruments)
    for number, (side, lots) in enumerate(trades):
        if number == at:
            account.apply = lambda _: broken_half_way(account.books[NAME])  # type: ignore
        told = account.take(fill(number + 1, side, lots, 5_000))
        assert told.is_nan() == (number >= at)
        assert account.position(NAME) == sum(s.sign * n for s, n in trades[: number + 1])


# --- the engine -----------------------------------------------------------------------------------


def test_a_fill_that_cannot_be_counted_halts_is_evidence_and_the_position_is_closed(
    breaks: Any,
) -> None:
    bench = Watched()
    approve(bench)
    breaks()
    bench.fill_all()
    engine, lots = bench.engine, bench.broker.submitted[0].qty_lots
    assert engine.context.halted == WHY
    assert bench.latch.reason == f"{WHY} by system"
    (written,) = bench.sink.of(ev.Filled)
    assert (written.realized_pnl, written.position_lots) == (str(NOT_COUNTED), lots)
    assert [event.reason for event in bench.sink.of(ev.KillTripped)] == [WHY]
    assert "is in the position, its profit is not known" in notices(bench)
    bench.pass_ms(500)
    exit_order = bench.broker.submitted[-1]
    assert (exit_order.side, exit_order.qty_lots, exit_order.reduces) == (Side.SELL, lots, True)
    bench.fill_all(ticks=5_999_999)
    bench.pass_ms(500)
    assert engine.account.position(NAME) == 0
    assert not engine.execution.closing
    assert not engine.exits.held
    with pytest.raises(ValueError, match="counting lots failed"):
        engine.rearm("human:trader", "checked")


def test_entries_at_work_are_canceled_and_what_fills_of_them_late_is_closed(breaks: Any) -> None:
    bench = Watched(max_entries=3, cooldown_s=0)
    approve(bench)
    sent = bench.broker.submitted[0]
    breaks()
    bench.broker.fill(sent, 100, 6_000_001, bench.now_ns)
    bench.take()
    assert bench.broker.canceled == [sent.client_order_id]
    bench.broker.fill(sent, 50, 6_000_001, bench.now_ns + 1)
    bench.take()
    assert bench.engine.account.position(NAME) == 150
    bench.broker.report(sent, ReportKind.CANCELED, bench.now_ns + 2)
    bench.take()
    bench.pass_ms(500)
    assert bench.broker.submitted[-1].qty_lots == 150
    assert bench.broker.submitted[-1].reduces


def test_exits_that_stood_stay_and_act_where_a_kill_does_not_close(breaks: Any) -> None:
    bench = without_flatten(Watched(max_entries=3, cooldown_s=0))
    bench.open_position()
    bench.hold_still()
    bench.pass_ms(1_000)
    stop = bench.engine.exits.held[NAME].exits.stop_ticks
    approve(bench)
    breaks()
    bench.fill_all()
    lots = sum(order.qty_lots for order in bench.broker.submitted)
    held = bench.engine.exits.held[NAME]
    assert (held.exits.stop_ticks, held.lots) == (stop, lots)
    bench.pass_ms(1_000)
    assert bench.engine.account.position(NAME) == lots
    bench.mid(int(MID * (1 - 2 * EXITS.stop_bps / 10_000)))
    assert bench.broker.submitted[-1].qty_lots == lots
    assert bench.sink.of(ev.ExitTriggered)[0].kind is ExitKind.STOP


def test_a_first_entry_that_cannot_be_counted_says_that_it_has_no_exit(breaks: Any) -> None:
    bench = without_flatten(Watched())
    approve(bench)
    breaks()
    bench.fill_all()
    assert f"{NAME}: no exit is attached: {WHY}" in notices(bench)
    bench.engine.close_trade(NAME, "human:trader", "by hand")
    bench.pass_ms(500)
    assert bench.broker.submitted[-1].reduces


def test_a_ledger_that_breaks_with_the_counting_leaves_the_position_right_and_halts(
    breaks: Any,
) -> None:
    bench = Watched()
    approve(bench)
    breaks()
    bench.sink.is_broken = True
    sent = bench.broker.submitted[0]
    bench.broker.fill(sent, 100, 6_000_001, bench.now_ns)
    bench.take()
    engine = bench.engine
    assert engine.context.halted
    assert engine.context.ledger_failure == "disk is full"
    assert engine.account.position(NAME) == 100
    assert engine.context.unwritten > 0
    assert bench.sink.of(ev.Filled) == []
    bench.pass_ms(500)
    assert set(bench.broker.canceled) == {sent.client_order_id}
    assert len(bench.broker.submitted) == 1


def test_a_start_on_a_history_that_cannot_be_counted_halts_and_closes(breaks: Any) -> None:
    first = Watched()
    first.open_position()
    fills = tuple(event.fill for event in first.sink.of(ev.Filled))
    breaks()
    bench = Watched(fills=fills)
    bench.mid(MID)
    assert bench.engine.account.position(NAME) == first.position > 0
    bench.pass_ms(250)
    assert bench.engine.context.halted == WHY
    assert f"{NAME}: no exit is attached" in notices(bench)
    bench.pass_ms(500)
    assert bench.broker.submitted[-1].qty_lots == first.position


def test_the_screen_shows_the_lots_and_no_invented_profit(breaks: Any) -> None:
    stage = Stage()
    stage.start(Mode.AUTO)
    breaks()
    name = stage.engine.desks[0].instrument.name
    lost = Fill("x-1", "x", name, Side.BUY, MID, 500, Decimal(1), "USDT", False, stage.now_ns)
    stage.engine.execution.book(lost, "", "", None)
    stage.pass_ms(250)
    picture = stage.commands.snapshot()
    (held,) = picture.positions
    assert (held.lots, held.realized, held.average_price) == (500, "NaN", "NaN")
    assert (picture.pnl.realized, picture.fills[0].realized) == ("NaN", "NaN")
    assert picture.risk.is_halted
    Metrics().update(picture, {})
    stage.end()
