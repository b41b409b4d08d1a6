"""Attached exits in an engine: made by fills, acting by themselves, told when they cannot."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from core.config import ExitSettings, Settings, StrategySettings
from core.engine import Engine, EngineSetup
from core.held import from_history
from core.model import event as ev
from core.model.decision import Mode, Verdict
from core.model.difference import DifferenceKind
from core.model.exits import ExitKind, Exits
from core.model.market import FeedState
from core.model.order import Fill, ReportKind, Side
from core.session import Session
from tests.core.test_engine import Bench
from tests.fakes import BTC, START_NS, HandBroker, HandFeed, MemoryLatch, MemorySink

MS = 1_000_000
NAME = "BTCUSDT"
EXITS = ExitSettings(stop_bps=20, take_profit_bps=30, time_stop_s=60)
STOP, TARGET = 5_988_001, 6_018_002  # of an entry at 6,000,001 ticks
MID = 6_000_000


class Watched(Bench):
    """A bench whose strategy only does what the test asks for, with attached exits."""

    def __init__(
        self,
        mode: Mode = Mode.CONFIRM,
        exits: ExitSettings = EXITS,
        fills: tuple[Fill, ...] = (),
        past: dict[str, ev.ExitsSet] | None = None,
        start_ns: int = START_NS,
        **strategy: Any,
    ) -> None:
        self.feed = HandFeed()
        self.sink, self.latch, self.broker = MemorySink(), MemoryLatch(), HandBroker()
        self.settings = Settings(strategy=StrategySettings(hold_s=3_600, **strategy), exits=exits)
        self.engine = Engine(
            EngineSetup(
                protocol=self.feed,
                settings=self.settings,
                mode=mode,
                sink=self.sink,
                latch=self.latch,
                run_id="cafe0123" * 4,
                fee_bps=Decimal(10),
                fills=fills,
                exits=past or {},
            )
        )
        self.engine.desks[0].think = lambda *_: None  # type: ignore[method-assign]
        self.session = Session(self.engine, self.broker, self.sink)
        self.now_ns = start_ns
        self.take(self.feed.set_state(self.now_ns, FeedState.LIVE))
        self.mid(MID)

    def mid(self, ticks: int) -> None:
        """Move the market: a tick on each side of ``ticks``."""
        self.book([(ticks - 1, 90_000)], [(ticks + 1, 90_000)])

    @property
    def exits(self) -> Exits:
        return self.engine.exits.held[NAME].exits

    @property
    def position(self) -> int:
        return self.engine.account.position(NAME)

    def told(self) -> list[str]:
        return [notice.text for notice in self.engine.context.notices]

    def hold_still(self) -> None:
        """Let the strategy want nothing any more."""
        self.see(p_up=0.5)

    def in_position(self) -> Watched:
        self.open_position()
        self.hold_still()
        return self


def test_the_fill_of_the_entry_makes_the_exits_and_the_ledger_has_them() -> None:
    bench = Watched().in_position()
    assert bench.exits == Exits(1, STOP, TARGET, START_NS + 250 * MS + 60_000 * MS)
    (told,) = bench.sink.of(ev.ExitsSet)
    assert (told.stop, told.target, told.entry_price) == ("59880.01", "60180.02", "60000.01")
    assert (told.position_lots, told.why) == (1666, "entry filled")
    (cause,) = [cause for _, event, cause in bench.sink.events if event is told]
    assert isinstance(bench.sink.events[cause - 1][1], ev.Filled)


def test_the_stop_is_touched_and_one_order_of_the_whole_size_leaves_at_once() -> None:
    bench = Watched().in_position()
    bench.mid(STOP - 49)
    (_, sent) = bench.broker.submitted
    assert (sent.side, sent.qty_lots, sent.reduces) == (Side.SELL, 1666, True)
    assert sent.limit_ticks == STOP - 50 - int((STOP - 50) * 12.5 / 10_000)
    (fired,) = bench.sink.of(ev.ExitTriggered)
    assert fired.rationale == "stop at 59880.01 touched by bid 59879.51"
    # EXITS led to it, and it to the order: the ledger can be walked back.
    (at,) = [i for i, (_, event, _) in enumerate(bench.sink.events, 1) if event is fired]
    assert isinstance(bench.sink.events[bench.sink.events[at - 1][2] - 1][1], ev.ExitsSet)
    assert bench.sink.events[at][2] == at
    assert isinstance(bench.sink.events[at][1], ev.RiskChecked)
    bench.fill_all(STOP - 50)
    assert bench.position == 0
    assert NAME not in bench.engine.exits.held
    filled = bench.sink.of(ev.Filled)[-1]
    assert filled.rationale == ("Closed by algo:exits: stop at 59880.01 touched by bid 59879.51.")
    bench.pass_ms(5_000)
    assert len(bench.broker.submitted) == 2


def test_the_target_closes_and_a_price_short_of_it_does_not() -> None:
    bench = Watched().in_position()
    bench.mid(TARGET)  # the bid is a tick short
    assert len(bench.broker.submitted) == 1
    bench.mid(TARGET + 1)
    assert bench.sink.of(ev.ExitTriggered)[0].kind is ExitKind.TARGET


def test_time_closes_without_any_message_of_the_market() -> None:
    bench = Watched().in_position()
    bench.pass_ms(59_500)
    assert len(bench.broker.submitted) == 1
    bench.pass_ms(500)
    assert len(bench.broker.submitted) == 2
    assert bench.sink.of(ev.ExitTriggered)[0].kind is ExitKind.TIME


@pytest.mark.parametrize("mode", Mode)
def test_an_exit_asks_nobody_in_any_mode(mode: Mode) -> None:
    bench = Watched().in_position()
    bench.engine.set_mode(mode, "human:trader")
    bench.mid(STOP - 1_000)
    assert len(bench.broker.submitted) == 2
    assert not bench.engine.proposals.pending


def test_a_halt_stops_no_exit() -> None:
    bench = Watched().in_position()
    bench.engine.context.halted = "F12"
    bench.mid(STOP - 1_000)
    assert len(bench.broker.submitted) == 2


def test_a_short_position_is_bought_back_at_its_stop() -> None:
    bench = Watched()
    bench.engine.proposals.answer(bench.propose(p_up=0.38), Verdict.APPROVED, "human:trader")
    bench.take()
    bench.fill_all(5_999_999)
    bench.hold_still()
    assert bench.exits.sign == -1
    bench.mid(6_012_000)
    sent = bench.broker.submitted[-1]
    assert (sent.side, sent.qty_lots) == (Side.BUY, bench.broker.submitted[0].qty_lots)


def test_exits_grow_with_a_partial_fill_and_close_what_is_there() -> None:
    bench = Watched()
    bench.engine.proposals.answer(bench.propose(), Verdict.APPROVED, "human:trader")
    bench.take()
    entry = bench.broker.submitted[0]
    bench.broker.fill(entry, 600, 6_000_001, bench.now_ns)
    bench.take()
    bench.hold_still()
    bench.mid(STOP - 1)
    # The entry still works: it is canceled first, and what fills meanwhile is closed too.
    assert bench.broker.canceled == [entry.client_order_id]
    assert len(bench.broker.submitted) == 1
    bench.broker.fill(entry, 66, 6_000_001, bench.now_ns + 1)
    bench.broker.report(entry, ReportKind.CANCELED, bench.now_ns + 2)
    bench.take()
    bench.pass_ms(250)
    assert bench.broker.submitted[-1].qty_lots == 666
    assert [event.position_lots for event in bench.sink.of(ev.ExitsSet)] == [600, 666]


def test_a_close_by_hand_and_a_stop_are_one_order() -> None:
    bench = Watched().in_position()
    bench.engine.close_trade(NAME, "human:trader", "closed by hand")
    bench.mid(STOP - 1)
    bench.pass_ms(250)
    assert len(bench.broker.submitted) == 2
    bench.mid(STOP - 500)
    bench.pass_ms(250)
    assert len(bench.broker.submitted) == 2
    assert bench.sink.of(ev.ExitTriggered) == []


def test_a_waiting_proposal_to_exit_is_withdrawn_by_the_stop() -> None:
    bench = Watched().in_position()
    bench.propose(p_up=0.3)
    bench.mid(STOP - 1)
    assert not bench.engine.proposals.pending
    assert bench.sink.of(ev.Answered)[-1].verdict is Verdict.WITHDRAWN
    assert len(bench.broker.submitted) == 2


def test_on_a_book_that_cannot_be_believed_nothing_acts_and_that_is_told() -> None:
    bench = Watched().in_position()
    bench.take(bench.feed.set_state(bench.now_ns, FeedState.STALE, "no frame for 7 s"))
    bench.mid(STOP - 1_000)
    bench.pass_ms(60_000)
    assert len(bench.broker.submitted) == 1
    (blind,) = bench.sink.of(ev.ExitsBlind)
    assert (blind.is_blind, blind.reason) == (True, "feed stale: no frame for 7 s")
    assert f"{NAME}: its exits cannot act: feed stale: no frame for 7 s" in bench.told()
    bench.take(bench.feed.set_state(bench.now_ns, FeedState.LIVE))
    bench.mid(STOP - 1_000)
    assert len(bench.broker.submitted) == 2
    bench.pass_ms(250)
    assert [event.is_blind for event in bench.sink.of(ev.ExitsBlind)] == [True, False]


def test_a_crossed_book_moves_no_exit_and_a_moment_of_it_no_alarm() -> None:
    bench = Watched().in_position()
    bench.book([(STOP - 100, 10)], [(STOP - 200, 10)])
    bench.pass_ms(250)
    assert len(bench.broker.submitted) == 1
    bench.mid(MID)
    bench.pass_ms(5_000)
    assert bench.sink.of(ev.ExitsBlind) == []


def test_a_position_the_broker_does_not_have_is_not_sold() -> None:
    bench = Watched().in_position()
    bench.broker.held[NAME] = 0
    bench.engine.execution.must_compare = True
    bench.pass_ms(250)
    assert bench.engine.context.differences[0].kind is DifferenceKind.POSITION
    bench.mid(STOP - 1_000)
    bench.pass_ms(2_000)
    assert len(bench.broker.submitted) == 1
    assert bench.sink.of(ev.ExitsBlind)[0].reason == "the broker says another position"


def test_without_a_ledger_no_exit_acts_and_the_trader_is_told() -> None:
    bench = Watched().in_position()
    bench.sink.is_broken = True
    bench.engine.context.lose_ledger("disk is full")
    bench.mid(STOP - 1_000)
    bench.pass_ms(2_000)
    assert len(bench.broker.submitted) == 1
    assert f"{NAME}: its exits cannot act: no ledger, no order" in bench.told()


def test_an_exit_that_finds_no_fill_is_sent_again_and_the_trader_is_told() -> None:
    bench = Watched().in_position()
    bench.mid(STOP - 1)
    for _ in range(24):
        bench.broker.report(bench.broker.submitted[-1], ReportKind.EXPIRED, bench.now_ns, "no bid")
        bench.take()
        bench.pass_ms(250)
    assert len(bench.broker.submitted) > 15
    assert any(f"{NAME}: still open 5 s after its exit was due" in text for text in bench.told())
    assert len(bench.sink.of(ev.ExitTriggered)) == 1


def test_a_stop_that_is_off_is_told_once() -> None:
    bench = Watched(exits=ExitSettings(stop_bps=0, take_profit_bps=0, time_stop_s=0)).in_position()
    assert bench.exits.is_empty
    assert sum("no exit is attached" in text for text in bench.told()) == 1
    assert bench.sink.of(ev.ExitsSet)[0].stop is None


# --- adding to a position -------------------------------------------------------------------------


def added(bench: Watched, ticks: int) -> None:
    bench.pass_ms(5_000)
    bench.mid(ticks)
    bench.engine.proposals.answer(bench.propose(), Verdict.APPROVED, "human:trader")
    bench.take()
    bench.fill_all(ticks + 1)
    bench.hold_still()


def test_with_one_entry_allowed_nothing_is_added() -> None:
    bench = Watched().in_position()
    bench.pass_ms(5_000)
    bench.see()
    bench.pass_ms(250)
    assert not bench.engine.proposals.pending
    assert bench.engine.holds[NAME].code == "holding"


def test_an_entry_that_is_added_moves_the_exits_with_the_mean_price() -> None:
    bench = Watched(max_entries=2).in_position()
    due_ns = bench.exits.due_ns
    added(bench, 6_010_000)
    lots = bench.position
    assert lots > 3_000
    mean = (1666 * 6_000_001 + (lots - 1666) * 6_010_001) / lots
    assert bench.exits.stop_ticks == pytest.approx(mean * 0.998, abs=1)
    assert bench.exits.due_ns == due_ns
    assert bench.sink.of(ev.Decided)[-1].proposal.rationale.startswith(
        "Adds to the position, entry 2 of at most 2. BUY"
    )
    bench.pass_ms(5_000)
    bench.see()
    bench.pass_ms(250)
    assert not bench.engine.proposals.pending  # two of two


def test_nothing_is_added_in_the_pause_after_an_entry() -> None:
    bench = Watched(max_entries=3).in_position()
    bench.see()
    bench.pass_ms(1_000)
    assert not bench.engine.proposals.pending


def test_an_added_entry_stops_at_the_position_limit() -> None:
    bench = Watched(max_entries=9, order_notional=Decimal(1900)).in_position()
    for _ in range(1):
        added(bench, MID)
    bench.pass_ms(5_000)
    bench.see()
    bench.pass_ms(250)
    assert not bench.engine.proposals.pending
    assert bench.engine.holds[NAME].code == "max_position_notional"


def test_a_position_made_smaller_keeps_its_levels_and_closes_the_rest() -> None:
    bench = Watched().in_position()
    bench.engine.positions.reduce(NAME, "human:trader", 1666)
    bench.take()
    bench.fill_all(5_999_999)
    assert bench.position == 833
    assert (bench.exits.stop_ticks, bench.exits.target_ticks) == (STOP, TARGET)
    bench.mid(STOP - 1)
    assert bench.broker.submitted[-1].qty_lots == 833


# --- the trader's word ----------------------------------------------------------------------------


def test_the_trader_moves_the_stop_and_it_acts_where_it_was_put() -> None:
    bench = Watched().in_position()
    told = bench.engine.exits.set_by_hand(NAME, ExitKind.STOP, "59990", "human:trader")
    assert told == f"{NAME}: stop 59990, target 60180.02, time 60 s left"
    assert bench.sink.of(ev.ExitsSet)[-1].actor == "human:trader"
    bench.mid(5_999_000)
    assert bench.broker.submitted[-1].reduces


@pytest.mark.parametrize(
    ("kind", "value", "why"),
    [
        (ExitKind.STOP, "60000", "stop at 60000 touched by bid 59999.99 already"),
        (ExitKind.TARGET, "59000", "target at 59000 touched by bid 59999.99 already"),
        (ExitKind.STOP, "1.001", "off the 0.01 tick"),
    ],
)
def test_what_would_act_at_once_is_refused(kind: ExitKind, value: str, why: str) -> None:
    bench = Watched().in_position()
    with pytest.raises(ValueError, match=why):
        bench.engine.exits.set_by_hand(NAME, kind, value, "human:trader")
    assert bench.exits.by_hand == ()


def test_there_is_nothing_to_set_without_a_position_or_while_it_is_closed() -> None:
    bench = Watched()
    with pytest.raises(ValueError, match="no position"):
        bench.engine.exits.set_by_hand(NAME, ExitKind.STOP, "off", "human:trader")
    bench.in_position()
    bench.engine.close_trade(NAME, "human:trader", "x")
    with pytest.raises(ValueError, match="being closed"):
        bench.engine.exits.set_by_hand(NAME, ExitKind.STOP, "off", "human:trader")


# --- restart --------------------------------------------------------------------------------------


def again(bench: Watched, **settings: Any) -> Watched:
    """Start another engine on what the ledger of ``bench`` holds."""
    fills = tuple(event.fill for event in bench.sink.of(ev.Filled))
    past = {event.instrument: event for event in bench.sink.of(ev.ExitsSet)}
    return Watched(fills=fills, past=past, start_ns=bench.now_ns, **settings)


def test_a_restart_makes_the_same_exits_and_says_so() -> None:
    bench = again(before := Watched().in_position())
    bench.pass_ms(250)
    assert bench.exits == before.exits
    (told,) = bench.sink.of(ev.ExitsSet)
    assert told.why == "restored at start from the ledger's fills and [exits]"


def test_a_restart_keeps_what_the_trader_had_set_and_follows_the_settings_else() -> None:
    before = Watched().in_position()
    before.engine.exits.set_by_hand(NAME, ExitKind.STOP, "59990", "human:trader")
    wider = ExitSettings(stop_bps=50, take_profit_bps=100, time_stop_s=0)
    bench = again(before, exits=wider)
    bench.pass_ms(250)
    assert bench.exits == Exits(1, 5_999_000, 6_060_002, None, (ExitKind.STOP,))
    assert bench.sink.of(ev.ExitsSet)[0].why.endswith("; set by hand before: stop")


def test_a_stop_passed_while_no_engine_ran_acts_on_the_first_book_that_is_believed() -> None:
    before = Watched().in_position()
    before.mid(STOP - 2_000)
    fills = tuple(event.fill for event in before.sink.of(ev.Filled))[:1]
    bench = Watched(fills=fills)
    bench.mid(STOP - 2_000)
    assert len(bench.broker.submitted) == 1
    assert bench.broker.submitted[0].qty_lots == 1666


def test_a_past_that_is_lived_through_triggers_nothing() -> None:
    before = Watched().in_position()
    bench = again(before)
    bench.engine.context.hold_back = "living through the market's past"
    bench.mid(STOP - 2_000)
    bench.pass_ms(1_000)
    assert bench.broker.submitted == []
    assert bench.sink.of(ev.ExitsBlind) == []


def test_a_position_opened_in_what_is_now_the_future_has_its_whole_time() -> None:
    before = Watched().in_position()
    fill = before.sink.of(ev.Filled)[0].fill
    later = msgspec.structs.replace(fill, ts_ns=fill.ts_ns + 3_600_000 * MS)
    bench = Watched(fills=(later,))
    bench.pass_ms(250)
    assert bench.exits.due_ns == bench.now_ns + 60_000 * MS


def test_a_level_off_the_grid_the_venue_has_now_falls_back_to_the_settings() -> None:
    before = Watched().in_position()
    before.engine.exits.set_by_hand(NAME, ExitKind.STOP, "59990", "human:trader")
    past = before.sink.of(ev.ExitsSet)[-1]
    fills = tuple(event.fill for event in before.sink.of(ev.Filled))
    broken = msgspec.structs.replace(past, stop="59990.005")
    bench = Watched(fills=fills, past={NAME: broken})
    assert bench.exits.stop_ticks == STOP
    assert any("exits set by hand are forgotten" in text for text in bench.told())


def test_fills_before_the_position_was_last_flat_count_for_nothing() -> None:
    def fill(n: int, side: Side, lots: int, ticks: int) -> Fill:
        return Fill(f"f{n}", f"o{n}", NAME, side, ticks, lots, Decimal(0), "USDT", False, n)

    past = (
        fill(1, Side.BUY, 5, 100_000), fill(2, Side.SELL, 5, 110_000),
        fill(3, Side.SELL, 4, 200_000), fill(4, Side.BUY, 1, 150_000),
    )  # fmt: skip
    held = from_history(BTC, past, EXITS)
    assert held is not None
    assert (held.exits.sign, held.lots, held.entries) == (-1, -3, ("o3",))
    assert held.exits.stop_ticks == 200_400
    assert from_history(BTC, past[:2], EXITS) is None


def test_a_fill_from_outside_that_turns_the_position_over_makes_new_exits() -> None:
    bench = Watched().in_position()
    bench.engine.exits.set_by_hand(NAME, ExitKind.STOP, "59990", "human:trader")
    outside = Fill("x1", "x", NAME, Side.SELL, 6_000_000, 2_666, Decimal(0), "USDT", False,
                   bench.now_ns)  # fmt: skip
    bench.engine.execution.book(outside, "", "adopted", None)
    assert bench.position == -1_000
    assert bench.exits == Exits(-1, 6_012_000, 5_982_000, bench.now_ns + 60_000 * MS)
