"""The picture of an engine in every awkward state: it is always made, and never invents."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from core.clock import NS_PER_S
from core.control import Picture, reply_decoder
from core.model.decision import Mode, Verdict
from core.model.exits import ExitKind
from core.model.market import FeedState
from core.model.order import ReportKind
from core.picture import RunFacts, build
from core.snapshot import Snapshot
from tests.core.test_attached import NAME, Watched
from tests.core.test_engine import ASKS, BIDS, Bench
from tests.core.test_strategy import FORECAST
from tests.fakes import BTC, START_NS
from tests.properties.stage import Stage

FACTS = RunFacts(account="SIM", source="test", version="1", started_ns=START_NS, agent_note="none")


def picture(bench: Bench) -> Snapshot:
    made = build(bench.session, FACTS, 1, bench.now_ns, (3, "ff" * 32))
    sent = msgspec.msgpack.encode(Picture(made))
    reply = reply_decoder.decode(sent)
    assert reply == Picture(made), "the picture did not survive the wire"
    return made


@pytest.mark.parametrize(
    ("bids", "asks", "has_mid"),
    [([], [], False), (BIDS, [], False), ([], ASKS, False), (BIDS, ASKS, True)],
)
def test_a_mid_and_a_spread_need_two_sides(
    bids: list[tuple[int, int]], asks: list[tuple[int, int]], has_mid: bool
) -> None:
    bench = Bench()
    bench.book(bids, asks)
    (view,) = picture(bench).instruments
    assert (view.mid is not None, view.spread is not None) == (has_mid, has_mid)
    assert (len(view.bids), len(view.asks)) == (len(bids), len(asks))


def test_a_crossed_book_is_shown_as_it_is_and_blocks() -> None:
    bench = Bench()
    bench.book([(6_000_003, 1)], [(6_000_001, 1)])
    made = picture(bench)
    assert made.instruments[0].spread == "-0.02"
    assert made.risk.blocked.startswith("BTCUSDT: feed live")


def test_a_position_that_never_saw_a_mark_has_no_value_but_is_shown() -> None:
    bench = Bench()
    bench.open_position()
    bench.engine.account._marks2.clear()
    bench.book([], [])
    made = picture(bench)
    (position,) = made.positions
    assert (position.mark, position.unrealized) == (None, None)
    assert (made.pnl.unrealized, made.pnl.total, made.pnl.exposure, made.pnl.today) == (None,) * 4
    assert made.pnl.realized == "0"


def test_a_position_keeps_its_last_mark_when_the_book_is_gone() -> None:
    bench = Bench()
    bench.open_position()
    before = picture(bench)
    bench.take(bench.feed.set_state(bench.now_ns, FeedState.RESYNCING, "gap"))
    bench.book([], [])
    after = picture(bench)
    assert after.positions[0].mark == before.positions[0].mark == "60000"
    assert after.pnl.total == before.pnl.total
    assert "resyncing" in after.risk.blocked


def test_a_position_from_a_faster_clock_is_not_held_for_less_than_nothing() -> None:
    bench = Bench()
    bench.open_position()
    bench.engine.account.books["BTCUSDT"].opened_ns = bench.now_ns + 90 * NS_PER_S
    assert picture(bench).positions[0].held_s == 0


def test_orders_fills_and_own_lots_in_the_book_are_text() -> None:
    bench = Bench()
    bench.engine.proposals.answer(bench.propose(), Verdict.APPROVED, "human:trader")
    bench.take()
    sent = bench.broker.submitted[0]
    bench.broker.fill(sent, 666, 6_000_001, bench.now_ns)
    bench.take()
    bench.book([(sent.limit_ticks, 5), *BIDS], [(sent.limit_ticks + 1, 5)])
    made = picture(bench)
    (order,), (fill,) = made.orders, made.fills
    assert (order.qty, order.filled, order.status) == ("0.01666", "0.00666", "PARTIALLY_FILLED")
    assert (fill.price, fill.qty, fill.fee) == ("60000.01", "0.00666", "0.1")
    assert made.instruments[0].bids[0].own_lots == 1_000


def test_a_closed_order_is_shown_no_more_and_an_unknown_one_is() -> None:
    bench = Bench()
    bench.engine.proposals.answer(bench.propose(), Verdict.APPROVED, "human:trader")
    bench.take()
    bench.pass_ms(5_000)
    assert [order.status for order in picture(bench).orders] == ["UNKNOWN"]
    bench.broker.report(bench.broker.submitted[0], ReportKind.EXPIRED, bench.now_ns)
    bench.take()
    assert picture(bench).orders == ()


def test_what_waits_counts_down_and_says_its_drift() -> None:
    bench = Bench()
    bench.propose()
    bench.pass_ms(4_000)
    bench.book([(6_000_009, 10)], [(6_000_011, 10)])
    (view,) = picture(bench).proposals
    assert (view.left_ms, view.life_ms, view.drift_ticks) == (6_000, 10_000, 10.0)


def test_halted_says_since_when_and_rearmed_says_nothing() -> None:
    bench = Bench()
    bench.engine.kill_all("human:trader", "F12")
    risk = picture(bench).risk
    assert (risk.is_halted, risk.halt_reason) == (True, "F12")
    assert risk.halt_since.startswith("2023-11-14T22:13:20")
    bench.engine.rearm("human:trader", "checked")
    risk = picture(bench).risk
    assert (risk.is_halted, risk.halt_reason, risk.halt_since) == (False, "", "")


def two(quote: str) -> Stage:
    """Return a stage whose second instrument is quoted in ``quote``."""
    return Stage(second=msgspec.structs.replace(BTC, name="ETHX", base="ETH", quote=quote))


def trade_both(stage: Stage) -> Snapshot:
    stage.start(Mode.AUTO)
    for desk in stage.engine.desks:
        desk.forecasts = (FORECAST,)
    stage.pass_ms(250)
    stage.settle_venue()
    made = stage.commands.snapshot()
    stage.end()
    return made


def test_two_instruments_share_one_daily_loss_and_one_total() -> None:
    made = trade_both(two("USDT"))
    assert [view.name for view in made.instruments] == ["BTCUSDT", "ETHX"]
    assert len(made.positions) == 2
    assert made.pnl.currency == "USDT"
    unrealized = sum(Decimal(view.unrealized or "nan") for view in made.positions)
    assert Decimal(made.pnl.today or "nan") == unrealized == Decimal("-1.0")


def test_two_quote_currencies_are_not_added_up() -> None:
    made = trade_both(two("BTC"))
    assert made.pnl.currency == "USDT, without BTC"
    btc_usdt, other = made.positions
    assert (made.pnl.today, made.pnl.total) == (btc_usdt.unrealized, btc_usdt.unrealized)
    assert other.unrealized not in {None, "0"}


def test_a_position_shows_its_exits_and_how_far_they_are_from_what_would_touch_them() -> None:
    bench = Watched().in_position()
    bench.mid(6_003_000)
    (held,) = picture(bench).positions
    assert held.exits is not None
    assert (held.exits.stop, held.exits.target, held.exits.left_s) == ("59880.01", "60180.02", 60.0)
    assert held.exits.stop_bps == pytest.approx((5_988_001 - 6_002_999) / 6_002_999 * 10_000)
    assert (held.exits.blind, held.exits.by_hand, held.doing) == ("", (), "")
    bench.engine.exits.set_by_hand(NAME, ExitKind.TARGET, "off", "human:trader")
    bench.engine.close_trade(NAME, "human:trader", "x")
    (held,) = picture(bench).positions
    assert held.exits is not None
    assert (held.exits.target, held.exits.target_bps) == (None, None)
    assert (held.exits.by_hand, held.doing) == (("target",), "closing")


def test_exits_without_a_book_have_levels_and_no_distance() -> None:
    bench = Watched().in_position()
    bench.take(bench.feed.set_state(bench.now_ns, FeedState.STALE, "quiet"))
    (held,) = picture(bench).positions
    assert held.exits is not None
    assert (held.exits.stop, held.exits.stop_bps) == ("59880.01", None)
    assert held.exits.blind == "feed stale: quiet"


def test_a_proposal_shows_the_exits_that_a_fill_at_its_limit_would_have() -> None:
    bench = Watched(max_entries=2)
    bench.propose(p_up=0.38)
    (proposal,) = picture(bench).proposals
    assert proposal.exits is not None
    limit = 5_998_200
    assert proposal.limit == "59982.00"
    assert proposal.exits.stop == f"{limit * 1.002 / 100:.2f}"
    assert (proposal.exits.stop_bps, proposal.exits.target_bps) == (20.0, -30.0)
    assert proposal.exits.left_s == 60.0
    bench.engine.proposals.answer(proposal.decision_id, Verdict.APPROVED, "human:trader")
    bench.take()
    bench.fill_all(5_999_999)
    bench.pass_ms(5_000)
    bench.propose(p_up=0.38)
    (adding,) = picture(bench).proposals
    assert (adding.exits, adding.exits_note) == (None, "move with the mean price; time stays")
    bench.engine.proposals.withdraw(NAME, "test")
    bench.hold_still()
    bench.pass_ms(5_000)
    bench.propose(p_up=0.7)
    (leaving,) = picture(bench).proposals
    assert (leaving.action, leaving.exits, leaving.exits_note) == ("EXIT", None, "")
