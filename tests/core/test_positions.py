"""The trader's commands on positions: halve, reverse, flatten all, move an exit."""

from __future__ import annotations

from concurrent.futures import Future
from decimal import Decimal

import msgspec
import pytest

from core.control import CloseTrade, FlattenAll, ReducePosition, ReversePosition, SetExit
from core.errors import InvariantError
from core.model import event as ev
from core.model.decision import Mode
from core.model.exits import ExitKind
from core.model.market import FeedState
from core.model.order import ReportKind, Side
from core.positions import REVERSAL_NS
from tests.core.test_attached import MID, NAME, STOP, Watched
from tests.core.test_commands import Desk

MS = 1_000_000


class Trader(Desk):
    """A trader at a desk with a position of 1,666 lots."""

    def __init__(self, mode: Mode = Mode.CONFIRM) -> None:
        super().__init__()
        self.bench: Watched = Watched(mode=Mode.CONFIRM).in_position()
        self.bench.engine.mode = mode
        self.commands.session = self.bench.session
        self.commands.engine = self.bench.engine

    def expire(self) -> None:
        sent = self.bench.broker.submitted[-1]
        self.bench.broker.report(sent, ReportKind.EXPIRED, self.bench.now_ns, "no bid")
        self.bench.take()


def test_half_of_a_position_is_sold_with_one_order_of_the_smaller_half() -> None:
    trader = Trader()
    reply = trader.say(ReducePosition(NAME, seen_lots=1666))
    assert reply.text == "BTCUSDT: SELL 0.00833 BTCUSDT limit 59925 on its way"
    trader.bench.fill_all(5_999_999)
    assert trader.bench.position == 833
    assert trader.bench.sink.of(ev.Filled)[-1].rationale == "Half closed by human:trader."
    trader.say(ReducePosition(NAME))
    assert trader.bench.broker.submitted[-1].qty_lots == 416


@pytest.mark.parametrize("command", [ReducePosition, ReversePosition])
def test_a_command_on_another_position_than_the_trader_saw_is_refused(command: type) -> None:
    trader = Trader()
    reply = trader.say(command(NAME, seen_lots=-1666))
    assert not reply.ok
    assert reply.text == "BTCUSDT: the position is 0.01666 by now; look, then say it again"
    assert len(trader.bench.broker.submitted) == 1


@pytest.mark.parametrize("command", [ReducePosition, ReversePosition])
def test_what_cannot_be_traded_is_refused_in_words(command: type) -> None:
    trader = Trader()
    assert trader.say(command("DOGE")).text == "DOGE is not traded in this run"
    trader.bench.take(trader.bench.feed.set_state(trader.bench.now_ns, FeedState.STALE, "quiet"))
    assert "the book cannot be believed (feed stale: quiet)" in trader.say(command(NAME)).text
    trader.bench.take(trader.bench.feed.set_state(trader.bench.now_ns, FeedState.LIVE))
    trader.say(CloseTrade(NAME))
    assert "being closed" in trader.say(command(NAME)).text
    trader.bench.pass_ms(250)
    trader.bench.fill_all(5_999_999)
    trader.bench.pass_ms(250)
    assert trader.say(command(NAME)).text == "BTCUSDT: no position"


def test_half_waits_for_no_other_order() -> None:
    trader = Trader()
    trader.say(ReducePosition(NAME))
    assert "an order is working" in trader.say(ReducePosition(NAME)).text
    assert len(trader.bench.broker.submitted) == 2


def test_reversing_closes_first_and_enters_the_opposite_when_flat() -> None:
    trader = Trader()
    reply = trader.say(ReversePosition(NAME, seen_lots=1666))
    assert reply.text == "BTCUSDT: closing, then SELL 0.01666 through the gate"
    bench = trader.bench
    assert [(o.side, o.reduces) for o in bench.broker.submitted[1:]] == [(Side.SELL, True)]
    bench.pass_ms(1_000)
    assert len(bench.broker.submitted) == 2
    bench.fill_all(5_999_999)
    assert bench.position == 0
    bench.pass_ms(500)
    entry = bench.broker.submitted[-1]
    assert (entry.side, entry.qty_lots, entry.reduces) == (Side.SELL, 1666, False)
    checked = bench.sink.of(ev.RiskChecked)[-1]
    assert (checked.client_order_id, checked.allowed) == (entry.client_order_id, True)
    bench.fill_all(5_999_999)
    assert bench.position == -1666
    assert bench.exits.sign == -1
    assert bench.sink.of(ev.Filled)[-1].rationale == "Reversed by human:trader."


def test_the_entry_of_a_reversal_is_cut_to_the_depth_within_the_cap() -> None:
    trader = Trader()
    bench = trader.bench
    trader.say(ReversePosition(NAME))
    bench.fill_all(5_999_999)
    bench.book([(MID - 1, 700), (MID - 40_000, 90_000)], [(MID + 1, 90_000)])
    bench.pass_ms(500)
    assert bench.broker.submitted[-1].qty_lots == 700


@pytest.mark.parametrize("mode", [Mode.CONFIRM, Mode.AUTO])
def test_a_reversal_that_the_gate_denies_ends_flat_and_is_told(mode: Mode) -> None:
    trader = Trader(mode)
    bench = trader.bench
    trader.say(ReversePosition(NAME))
    bench.fill_all(5_999_999)
    bench.engine.execution.guard.stops.stop(NAME, bench.now_ns + 10**12, "slippage: three bad ones")
    bench.pass_ms(500)
    assert len(bench.broker.submitted) == 2
    assert any("reversing:" in text and "denied" in text for text in bench.told())
    assert bench.engine.positions.reversing == {}


def test_a_reversal_is_refused_where_no_entry_may_leave() -> None:
    trader = Trader(Mode.OBSERVE)
    assert "observe mode" in trader.say(ReversePosition(NAME)).text
    trader.bench.engine.mode = Mode.CONFIRM
    trader.bench.engine.context.halted = "F12"
    assert trader.say(ReversePosition(NAME)).text.endswith("no entry may leave: F12")
    assert len(trader.bench.broker.submitted) == 1


def test_a_halt_a_close_and_time_end_a_reversal_without_an_entry() -> None:
    for end in ("halt", "close", "time"):
        trader = Trader()
        bench = trader.bench
        trader.say(ReversePosition(NAME))
        if end == "halt":
            bench.engine.context.halted = "F12"
        elif end == "close":
            trader.say(CloseTrade(NAME))
        else:
            bench.take(bench.feed.set_state(bench.now_ns, FeedState.STALE, "quiet"))
        bench.fill_all(5_999_999)
        bench.pass_ms(REVERSAL_NS // MS + 500)
        assert len(bench.broker.submitted) == 2, end
        assert bench.engine.positions.reversing == {}, end


def test_a_stop_touched_while_reversing_sends_no_second_order() -> None:
    trader = Trader()
    trader.say(ReversePosition(NAME))
    trader.bench.mid(STOP - 1_000)
    trader.bench.pass_ms(250)
    assert len(trader.bench.broker.submitted) == 2


def test_flattening_all_closes_what_is_open_and_says_that_trading_goes_on() -> None:
    trader = Trader()
    reply = trader.say(FlattenAll())
    assert reply.text == ("BTCUSDT: 0 orders canceled, closing the position; confirm mode goes on")
    assert trader.bench.engine.context.halted == ""
    trader.bench.pass_ms(250)
    trader.bench.fill_all(5_999_999)
    trader.bench.pass_ms(250)
    assert trader.say(FlattenAll()).text == "nothing is open; confirm mode goes on"


def test_moving_an_exit_is_acknowledged_and_a_bad_price_is_refused_and_journalled() -> None:
    trader = Trader()
    reply = trader.say(SetExit(NAME, ExitKind.STOP, "even"))
    assert not reply.ok  # the mean lies above the bid: it would act at once
    trader.bench.mid(MID + 5_000)
    assert trader.say(SetExit(NAME, ExitKind.STOP, "even")).text.startswith(
        "BTCUSDT: stop 60000.01"
    )
    assert trader.say(SetExit(NAME, ExitKind.TARGET, "off")).ok
    assert trader.bench.exits.target_ticks is None
    assert [refusal.command for refusal in trader.refused()] == ["SetExit"]


def test_a_moved_exit_is_on_disk_before_the_trader_is_told_or_the_telling_says_it_is_not() -> None:
    trader = Trader()
    before = trader.bench.sink.flushes
    assert "disk" not in trader.say(SetExit(NAME, ExitKind.STOP, "59000")).text
    assert trader.bench.sink.flushes == before + 1
    never: Future[None] = Future()
    never.set_exception(TimeoutError())
    trader.bench.sink.flush = lambda: never  # type: ignore[method-assign]
    assert "NOT on disk yet" in trader.say(SetExit(NAME, ExitKind.STOP, "59100")).text
    broken: Future[None] = Future()
    broken.set_exception(InvariantError("disk is full"))
    trader.bench.sink.flush = lambda: broken  # type: ignore[method-assign]
    assert "NO LEDGER" in trader.say(SetExit(NAME, ExitKind.STOP, "59200")).text
    assert trader.bench.engine.context.ledger_failure == "disk is full"


@pytest.mark.parametrize(
    "bound", [{"min_qty": Decimal("0.009")}, {"min_notional": Decimal(600)}], ids=str
)
def test_half_that_the_venue_would_not_take_is_refused(bound: dict[str, Decimal]) -> None:
    trader = Trader()
    desk = trader.bench.engine.desks[0]
    desk.instrument = msgspec.structs.replace(desk.instrument, **bound)
    reply = trader.say(ReducePosition(NAME))
    assert reply.text == "BTCUSDT: half of it is less than the venue takes; close it"
    assert len(trader.bench.broker.submitted) == 1
