"""The watch on losses: realized at once, marks debounced, each currency by itself."""

from __future__ import annotations

from decimal import Decimal

import pytest

from core.account import Account
from core.clock import NS_PER_S
from core.config import RiskSettings
from core.losses import LOOKS, LossWatch
from core.model.order import Fill, Side
from tests.core.gate_cases import limits
from tests.fakes import BTC, START_NS, HandFeed

MID = 6_000_000
LOTS = 100_000  # 1 BTC: 100 ticks are 1 USDT
LIMITS = limits(max_daily_loss=Decimal(100), max_session_loss=Decimal(80),
                max_drawdown=Decimal(60))  # fmt: skip


class Bench:
    """An account whose book and fills a test sets, and the watch on it."""

    def __init__(
        self,
        under: RiskSettings = LIMITS,
        history: tuple[Fill, ...] = (),
        *,
        is_marked: bool = True,
    ) -> None:
        self.feed = HandFeed()
        self.now_ns = START_NS
        self.fills = 0
        self.account = Account(self.feed.instruments, history)
        self.money = self.account.main
        self.under = under
        self.watch = LossWatch(self.account, under)
        if is_marked:
            self.mark(MID)

    def mark(self, mid: int) -> None:
        self.feed.set_book(self.now_ns, [(mid - 1, 9)], [(mid + 1, 9)])

    def trade(self, side: Side, ticks: int, lots: int = LOTS) -> str:
        """Fill, and return what the watch tells of it."""
        self.fills += 1
        fill = made(side, ticks, lots, self.now_ns, str(self.fills))
        realized, _ = self.account.apply(fill)
        return self.watch.note_fill(fill, realized, self.now_ns)

    def trip(self, gain: int) -> str:
        """Make a round trip that earns ``gain`` USDT."""
        self.trade(Side.BUY, MID)
        return self.trade(Side.SELL, MID + 100 * gain)

    def look(self, seconds: int = 1) -> str:
        self.now_ns += seconds * NS_PER_S
        return self.watch.look(self.money, self.now_ns)

    @property
    def realized(self) -> str:
        return self.watch.realized_reached(self.money, self.now_ns)

    def facts(self) -> tuple[object, ...]:
        facts = self.watch.facts(self.money, self.now_ns)
        return facts.today, facts.session, facts.drawdown, facts.in_a_row


def made(side: Side, ticks: int, lots: int, ts_ns: int, key: str) -> Fill:
    return Fill(f"f{key}", f"o{key}", BTC.name, side, ticks, lots, Decimal(0), "USDT",
                is_maker=False, ts_ns=ts_ns)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "gain", "told"),
    [
        ({"max_session_loss": Decimal(500), "max_drawdown": Decimal(500)}, -99, ""),
        ({"max_session_loss": Decimal(500), "max_drawdown": Decimal(500)}, -100,
         "daily loss -100 USDT reached its limit -100"),
        ({"max_daily_loss": Decimal(500), "max_drawdown": Decimal(500)}, -79, ""),
        ({"max_daily_loss": Decimal(500), "max_drawdown": Decimal(500)}, -80,
         "session loss -80 USDT reached its limit -80"),
        ({}, -59, ""),
        ({}, -60, "drawdown 60 USDT reached its limit 60"),
    ],
)  # fmt: skip
def test_a_realized_loss_acts_at_once_and_exactly_at_its_limit(
    changes: dict, gain: int, told: str
) -> None:
    under = limits(**{"max_daily_loss": Decimal(100), "max_session_loss": Decimal(80),
                      "max_drawdown": Decimal(60)} | changes)  # fmt: skip
    bench = Bench(under)
    bench.trip(gain)
    assert bench.realized == told


def test_a_realized_fall_from_a_peak_counts_though_the_run_is_in_gain() -> None:
    bench = Bench()
    bench.trip(200)
    assert bench.realized == ""
    bench.trip(-59)
    assert bench.realized == ""
    bench.trip(-1)
    assert bench.realized == "drawdown 60 USDT reached its limit 60"


def test_a_loss_at_the_marks_must_stand_for_three_looks() -> None:
    bench = Bench()
    bench.trade(Side.BUY, MID)
    bench.mark(MID - 6_000)
    assert [bench.look() for _ in range(LOOKS - 1)] == ["", ""]
    bench.mark(MID)
    assert bench.look() == ""
    bench.mark(MID - 6_000)
    assert [bench.look() for _ in range(LOOKS)] == ["", "", "drawdown 60 USDT reached its limit 60"]
    assert bench.look() == "drawdown 60 USDT reached its limit 60"


def test_one_look_at_a_mad_gain_is_no_peak() -> None:
    bench = Bench()
    bench.trade(Side.BUY, MID)
    bench.mark(MID + 50_000)
    bench.look()
    bench.look()
    bench.mark(MID)
    assert bench.look() == ""
    assert bench.facts() == (0, 0, 0, 0)
    bench.mark(MID + 5_000)
    for _ in range(LOOKS):
        bench.look()
    bench.mark(MID)
    assert bench.facts() == (0, 0, 50, 0)


def test_the_gate_is_told_the_loss_of_this_moment_without_any_wait() -> None:
    bench = Bench()
    bench.trade(Side.BUY, MID)
    bench.mark(MID - 7_000)
    assert bench.facts() == (-70, -70, 70, 0)


def carried() -> Bench:
    """Return a run that lost 500 before it started, and started with 30 of open loss."""
    bench = Bench(
        limits(max_daily_loss=Decimal(900), max_session_loss=Decimal(20), max_drawdown=Decimal(20)),
        history=(
            made(Side.BUY, MID + 50_000, LOTS, START_NS - 9, "a"),
            made(Side.SELL, MID, LOTS, START_NS - 8, "b"),
            made(Side.BUY, MID + 3_000, LOTS, START_NS - 7, "c"),
        ),
    )
    assert bench.facts()[1] is None  # not before the first look
    assert bench.look() == ""
    return bench


def test_a_session_begins_with_what_was_open_and_forgets_what_was_lost_before() -> None:
    bench = carried()
    assert bench.facts()[1:] == (0, 0, 0)
    bench.mark(MID - 1_000)
    assert bench.facts()[1:] == (-10, 10, 0)
    today, *_ = bench.facts()
    assert today == -540


def test_closing_what_was_carried_loses_only_what_was_lost_since_the_start() -> None:
    bench = carried()
    bench.trade(Side.SELL, MID - 1_999)
    assert bench.realized == ""
    bench = carried()
    bench.trade(Side.SELL, MID - 2_000)
    assert bench.realized == "session loss -20 USDT reached its limit -20"


def test_without_a_mark_nothing_is_known_and_nothing_trips_but_what_is_realized() -> None:
    bench = Bench(history=(made(Side.BUY, MID, LOTS, START_NS - 1, "a"),), is_marked=False)
    assert bench.facts()[:3] == (None, None, None)
    assert [bench.look() for _ in range(5)] == [""] * 5
    bench.trade(Side.SELL, MID - 10_000)
    assert bench.realized == "daily loss -100 USDT reached its limit -100"


def test_losses_in_a_row_stop_entries_for_a_while_and_a_gain_ends_the_row() -> None:
    bench = Bench(limits(max_consecutive_losses=3, loss_pause_s=10.0))
    assert [bench.trip(-1), bench.trip(-1), bench.trip(1)] == ["", "", ""]
    assert bench.facts()[3] == 0
    assert [bench.trip(-1), bench.trip(-1)] == ["", ""]
    assert bench.facts()[3] == 2
    assert bench.trip(-1) == "3 round trips in a row lost: no entry for 10 s"
    bench.now_ns += 10 * NS_PER_S - 1
    assert bench.facts()[3] == 3
    bench.now_ns += 1
    assert bench.facts()[3] == 0
    assert bench.trip(-1) == bench.trip(-1) == ""
    assert bench.trip(-1).startswith("3 round trips")


def test_a_pause_that_is_over_is_over_also_for_the_next_loss() -> None:
    bench = Bench(limits(max_consecutive_losses=2, loss_pause_s=10.0))
    bench.trip(-1)
    bench.trip(-1)
    bench.now_ns += 10 * NS_PER_S
    assert bench.trip(-1) == ""
    assert bench.trip(-1).startswith("2 round trips")


def test_a_gain_ends_the_pause_as_well_as_the_row() -> None:
    bench = Bench(limits(max_consecutive_losses=2, loss_pause_s=10.0))
    bench.trip(-1)
    bench.trip(-1)
    bench.trip(1)
    assert bench.facts()[3] == 0
    bench.trip(-1)
    bench.now_ns += 10 * NS_PER_S
    assert bench.facts()[3] == 1


def test_a_round_trip_ends_flat_whatever_its_parts_were() -> None:
    bench = Bench(limits(max_consecutive_losses=1))
    bench.trade(Side.BUY, MID)
    assert bench.trade(Side.SELL, MID - 500, LOTS // 2) == ""
    assert bench.facts()[3] == 0
    assert bench.trade(Side.SELL, MID + 600, LOTS // 2) == ""
    assert bench.facts()[3] == 0
    assert bench.trip(0) == ""
    assert bench.trip(-1).startswith("1 round trips in a row lost")
