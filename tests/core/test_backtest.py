"""The collector beside a real engine on a hand-made feed: every number worked out by hand."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from core.attribution import UNKNOWN
from core.backtest import UNFILLED, Collector
from core.backtest_json import encode
from core.backtest_report import (
    Baseline,
    FileReport,
    Head,
    Reason,
    Report,
    Result,
    SignalPnl,
    Terms,
    join,
)
from core.config import Settings
from core.curve import Reach
from core.engine import Engine, EngineSetup
from core.errors import InvariantError
from core.model import event as ev
from core.model.decision import Mode
from core.model.market import FeedState
from core.model.order import ReportKind
from tests.core.test_engine import Bench
from tests.fakes import BTC, START_NS, HandFeed, MemoryLatch, MemorySink

LOTS = 1666
"""1,000 USDT at 60,000.00 in lots of 0.00001 BTC."""
UNIT = BTC.tick_size * BTC.lot_size
HEAD = Head(3, "ab" * 32)
TERMS = Terms("1", "c", "d", "auto", 7, False, "", 5, 0.05, 0.0, 0.0, Decimal(1000), 20, 15)


class Watched(Bench):
    """An engine with a collector, told of everything as in a backtest."""

    def __init__(self, mode: Mode = Mode.AUTO, **strategy: object) -> None:
        super().__init__(mode, **strategy)
        self.collector = Collector(self.engine)
        write = self.sink.append

        def append(event: ev.LedgerEvent, ts_ns: int, cause: int | None = None) -> int:
            seq = write(event, ts_ns, cause)
            self.collector.on_event(event)
            return seq

        self.sink.append = append  # type: ignore[method-assign]
        self.collector.before(self.now_ns)

    def pass_ms(self, milliseconds: int) -> None:
        """Let time pass in quarters of a second, as records would."""
        for _ in range(milliseconds // 250):
            self.collector.before(self.now_ns + 250_000_000)
            super().pass_ms(250)

    def price(self, mid_ticks: int) -> None:
        self.book([(mid_ticks - 1, 90_000)], [(mid_ticks + 1, 90_000)])

    def enter(self, ticks: int = 6_000_001) -> None:
        self.see()
        self.pass_ms(250)
        self.fill_all(ticks)
        self.see(p_up=0.5)

    def close(self, ticks: int) -> None:
        self.engine.close_trade("BTCUSDT", "human:trader", "test")
        self.pass_ms(250)
        self.fill_all(ticks)

    def report(self) -> FileReport:
        return self.collector.report("day.jsonl.gz", "00", HEAD)

    def result(self) -> Result:
        (result,) = self.report().results
        return result


def test_a_round_trip_is_counted_to_the_last_digit() -> None:
    """Buy 1666 lots at 60,000.01, sell at 60,010.00; each leg costs 0.1."""
    bench = Watched()
    bench.enter()
    bench.price(6_001_001)
    bench.pass_ms(2_000)
    bench.close(6_001_000)
    result, report = bench.result(), bench.report()
    gain = (6_001_000 - 6_000_001) * LOTS * UNIT - Decimal("0.2")
    assert result.pnl == result.realized == gain
    assert result.unrealized == 0
    assert result.fees == Decimal("0.2")
    assert result.pnl_before_fees == gain + Decimal("0.2")
    assert result.turnover == (6_000_001 + 6_001_000) * LOTS * UNIT
    assert (result.fills, result.round_trips, result.wins, result.hit_rate) == (2, 1, 0, 0.0)
    (trip,) = report.trips
    assert (trip.side, trip.qty, trip.realized) == ("LONG", LOTS * BTC.lot_size, gain)
    assert trip.decision_id == bench.sink.of(ev.Decided)[0].proposal.decision_id
    assert (report.proposals, report.orders) == (1, 2)
    assert report.no_trade == ""


def test_a_gain_is_a_hit_and_the_time_in_the_market_is_from_fill_to_fill() -> None:
    bench = Watched()
    bench.enter()
    opened_ns = bench.now_ns
    bench.price(6_100_000)
    bench.pass_ms(3_000)
    bench.close(6_100_000)
    held_ns = bench.now_ns - opened_ns
    bench.pass_ms(4_000)
    result = bench.result()
    assert result.wins == 1
    assert result.hit_rate == 1.0
    assert result.in_market_ns == held_ns
    assert result.in_market == pytest.approx(held_ns / result.span_ns, abs=1e-6)
    assert result.exposure_max == 6_100_000 * LOTS * UNIT
    mean = float(result.exposure_max) * held_ns / result.span_ns
    assert float(result.exposure_mean) == pytest.approx(mean, rel=0.2)


def test_a_round_trip_that_realizes_nothing_is_no_hit() -> None:
    bench = Watched()
    bench.see()
    bench.pass_ms(250)
    sent = bench.broker.submitted[-1]
    bench.broker.fill(sent, sent.qty_lots, 6_000_001, bench.now_ns, fee="0")
    bench.take()
    bench.engine.close_trade("BTCUSDT", "human:trader", "test")
    bench.pass_ms(250)
    sent = bench.broker.submitted[-1]
    bench.broker.fill(sent, sent.qty_lots, 6_000_001, bench.now_ns, fee="0")
    bench.take()
    result = bench.result()
    assert (result.realized, result.round_trips, result.wins) == (0, 1, 0)


def test_the_nearest_refused_trade_is_the_one_named() -> None:
    bench = Watched()
    for skill, reason in ((2.0, "no_edge"), (5.0, "no_skill"), (3.0, "no_edge")):
        bench.collector.on_event(
            ev.NotDecided("BTCUSDT", f"{reason}: x", 0.6, 5, edge_bps=skill, cost_bps=20.0)
        )
    bench.pass_ms(250)
    bench.collector.before(bench.now_ns + 10**9)
    assert "nearest: edge 5.00 bps against a cost of 20.00 bps" in bench.report().no_trade


def test_the_skill_of_each_forecast_is_told_and_none_when_unproven() -> None:
    bench = Watched()
    blend = bench.engine.desks[0].blends[1]
    for _ in range(99):
        blend.scorecard.take_move(2.0)
        blend.scorecard.take_label(0.8, 0.5, 1.0)
    assert [(s.horizon_s, s.labels, s.skill) for s in bench.report().skills] == [
        (1, 0, None),
        (5, 99, None),
    ]
    blend.scorecard.take_label(0.8, 0.5, 1.0)
    skill = bench.report().skills[1]
    assert skill.skill == pytest.approx(1 - 0.04 / 0.25)
    assert skill.mean_move_ticks == 2.0
    assert skill.calibration_error == pytest.approx(0.2)


def test_what_is_open_at_the_end_is_marked_at_the_mid_with_its_opening_fee() -> None:
    bench = Watched()
    bench.enter()
    bench.price(6_000_501)
    bench.pass_ms(1_000)
    result = bench.result()
    assert result.realized == 0
    assert result.unrealized == 500 * LOTS * UNIT - Decimal("0.1")
    assert result.pnl == result.unrealized
    assert result.open_positions == {"BTCUSDT": "0.01666"}
    assert (result.round_trips, result.hit_rate) == (0, None)


def test_slippage_is_against_the_mid_of_the_decision_and_worse_is_positive() -> None:
    """Bought 60 ticks above a mid of 6,000,000: 0.1 bps."""
    bench = Watched()
    bench.enter(ticks=6_000_060)
    assert bench.result().slippage_bps == pytest.approx(0.1)
    assert bench.result().slippage == 60 * LOTS * UNIT


def test_a_close_by_command_has_no_decision_and_so_no_slippage() -> None:
    bench = Watched()
    bench.enter(ticks=6_000_060)
    bench.close(5_000_000)
    assert bench.result().slippage == 60 * LOTS * UNIT


def test_the_drawdown_counts_what_was_lost_meanwhile() -> None:
    bench = Watched()
    bench.enter()
    bench.price(5_900_001)
    bench.pass_ms(2_000)
    bench.price(6_000_001)
    bench.pass_ms(2_000)
    lost = 100_000 * LOTS * UNIT + Decimal("0.1")
    assert bench.result().max_drawdown == lost
    assert max(point.drawdown for point in bench.report().curves["USDT"]) == lost


def test_the_realized_is_split_over_the_signals_that_spoke_for_the_entry() -> None:
    """Of the forecast's shares only ``queue imbalance`` leans up: it takes all."""
    bench = Watched()
    bench.enter()
    bench.close(6_000_000)
    result = bench.result()
    assert result.signals == (SignalPnl("queue imbalance", result.realized, 1),)
    assert sum(one.realized for one in result.signals) == result.realized


def test_buy_and_hold_buys_one_order_at_the_first_ask_with_the_same_fee() -> None:
    bench = Watched(Mode.OBSERVE)
    bench.pass_ms(2_000)
    bench.price(6_600_000)
    bench.pass_ms(2_000)
    hold = bench.result().buy_and_hold
    assert hold.turnover == 6_000_001 * LOTS * UNIT
    assert hold.fees == (hold.turnover / 1000).quantize(Decimal("1e-8"))  # 10 bps
    assert hold.pnl == (6_600_000 - 6_000_001) * LOTS * UNIT - hold.fees
    assert bench.result().flat == Baseline()


def test_buy_and_hold_waits_for_a_book_that_may_be_believed() -> None:
    bench = Watched(Mode.OBSERVE)
    bench.take(bench.feed.set_state(bench.now_ns, FeedState.RESYNCING))
    bench.pass_ms(2_000)
    assert bench.result().buy_and_hold == Baseline()


def test_no_trade_is_told_with_its_reasons_in_seconds_and_refusals() -> None:
    bench = Watched()
    bench.see(skill=-0.5)
    bench.pass_ms(10_000)
    report = bench.report()
    (reason,) = report.reasons
    assert reason.code == "no_skill"
    assert 8 <= reason.seconds <= 11
    assert reason.refused == 1
    assert "skill" in reason.example
    assert "no trade: no_skill 100%" in report.no_trade
    assert "wanted and refused: no_skill 1x" in report.no_trade
    assert "nearest: edge" in report.no_trade


def test_an_observer_says_that_it_only_observed() -> None:
    bench = Watched(Mode.OBSERVE)
    bench.see()
    bench.pass_ms(3_000)
    assert bench.report().no_trade.startswith("no trade: observe 100%")


def test_an_order_that_found_nothing_is_a_reason() -> None:
    bench = Watched()
    bench.see()
    bench.pass_ms(250)
    bench.broker.report(bench.broker.submitted[0], ReportKind.EXPIRED, bench.now_ns, "nothing")
    bench.take()
    report = bench.report()
    assert Reason(UNFILLED, 0, 1, "nothing") in report.reasons
    assert report.no_trade


def test_looking_changes_nothing_the_engine_writes() -> None:
    """The same story with and without a collector leaves the same events."""

    def story(bench: Bench) -> list[tuple[int, ev.LedgerEvent, int | None]]:
        bench.open_position() if bench.engine.mode is Mode.CONFIRM else None
        for step in range(40):
            bench.book([(6_000_000 + step, 9)], [(6_000_003 + step, 9)])
            bench.pass_ms(1_000)
        return bench.sink.events

    assert story(Watched(Mode.CONFIRM)) == story(Bench(Mode.CONFIRM))


def test_a_ledger_that_tells_another_realized_than_the_lots_is_a_bug() -> None:
    bench = Watched()
    bench.enter()
    (filled,) = bench.sink.of(ev.Filled)
    fill = msgspec.structs.replace(filled.fill, fill_id="x")
    lie = msgspec.structs.replace(filled, fill=fill, realized_pnl="1")
    with pytest.raises(InvariantError, match="realized was 1"):
        bench.collector.on_event(lie)


def test_a_fill_that_no_decision_asked_for_is_attributed_to_none() -> None:
    bench = Watched()
    bench.enter()
    (filled,) = bench.sink.of(ev.Filled)
    collector = Collector(bench.engine)
    collector.on_event(msgspec.structs.replace(filled, decision_id="other"))
    bench.close(6_000_001)
    collector.on_event(bench.sink.of(ev.Filled)[1])
    (result,) = collector.report("d", "00", HEAD).results
    assert result.signals == (SignalPnl(UNKNOWN, Decimal("-0.2"), 1),)


def test_each_quote_currency_has_its_own_result() -> None:
    euro = msgspec.structs.replace(BTC, name="BTCEUR", quote="EUR")
    feed = HandFeed(BTC, euro)
    setup = EngineSetup(
        protocol=feed,
        settings=Settings(),
        mode=Mode.OBSERVE,
        sink=MemorySink(),
        latch=MemoryLatch(),
        run_id="cafe0123" * 4,
        fee_bps=Decimal(10),
    )
    engine = Engine(setup)
    collector = Collector(engine)
    for place in (0, 1):
        engine.on_market(feed.set_state(START_NS, FeedState.LIVE, index=place))
        ticks = 6_000_000 * (place + 1)
        engine.on_market(feed.set_book(START_NS, [(ticks - 1, 9)], [(ticks + 1, 9)], index=place))
    collector.before(START_NS)
    usdt, eur = collector.report("d", "00", HEAD).results
    assert [(one.currency, one.instruments) for one in (usdt, eur)] == [
        ("USDT", ("BTCUSDT",)),
        ("EUR", ("BTCEUR",)),
    ]
    assert usdt.buy_and_hold.turnover == 6_000_001 * LOTS * UNIT
    assert eur.buy_and_hold.turnover == 12_000_001 * (LOTS // 2) * UNIT


def test_nothing_at_all_gives_an_empty_report() -> None:
    bench = Watched()
    report = Collector(bench.engine).report("d", "00", HEAD)
    assert (report.begin, report.end) == ("", "")
    assert report.results[0].pnl == 0
    assert "never believable" in report.no_trade


def test_two_files_are_put_end_to_end() -> None:
    a = Result(
        "USDT",
        ("A",),
        pnl=Decimal(3),
        fills=2,
        round_trips=1,
        wins=1,
        reach=Reach(Decimal(3), Decimal(5), Decimal(0), Decimal(2)),
        signals=(SignalPnl("x", Decimal(3), 1),),
        buy_and_hold=Baseline(Decimal(1)),
    )
    b = Result(
        "USDT",
        ("B",),
        pnl=Decimal(-4),
        fills=4,
        round_trips=3,
        reach=Reach(Decimal(-4), Decimal(0), Decimal(-4), Decimal(4)),
        signals=(SignalPnl("x", Decimal(-4), 3),),
        buy_and_hold=Baseline(Decimal(2)),
    )
    both = join(a, b)
    assert (both.pnl, both.fills, both.hit_rate) == (-1, 6, 0.25)
    assert both.instruments == ("A", "B")
    assert both.max_drawdown == 6, "from 5 in the first to 3 - 4 in the second"
    assert both.signals == (SignalPnl("x", Decimal(-1), 4),)
    assert both.buy_and_hold.pnl == 3


def test_the_json_is_stable_and_decimals_are_plain_text() -> None:
    def encoded() -> bytes:
        bench = Watched()
        bench.enter()
        bench.close(6_000_000)
        return encode(Report(TERMS, (bench.report(),)))

    assert encoded() == encoded()
    tree = msgspec.json.decode(encoded())
    assert list(tree) == ["format", "terms", "total", "files", "bad_files"]
    assert tree["format"] == "backtest/1"
    (total,) = tree["total"]
    assert total["pnl"] == "-0.2001666"
    assert total["pnl"] == tree["files"][0]["results"][0]["pnl"]
    assert total["flat"]["pnl"] == "0"
    assert len(tree["files"][0]["curves"]["USDT"][0]) == 5
