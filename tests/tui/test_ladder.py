from __future__ import annotations

import msgspec

from core.model.market import FeedState
from core.snapshot import InstrumentView
from tests.tui import snapshots as made
from tui.present.ladder import LadderView, present_ladder
from tui.present.line import Panel, compose_panel, line_text
from tui.present.scene import Scene


def scene(view: InstrumentView) -> Scene:
    return Scene(snapshot=made.normal(instruments=(view,)), now_ns=made.NOW_NS)


def draw(
    view: InstrumentView, height: int = 14, last: LadderView | None = None
) -> tuple[list[str], LadderView, Panel]:
    panel, seen = present_ladder(scene(view), last or LadderView(), 44, height)
    lines = compose_panel(panel, 44, height, focused=False)
    return [line_text(line) for line in lines], seen, panel


def row_of(lines: list[str], text: str) -> int:
    return next(y for y, line in enumerate(lines) if text in line)


def test_asks_stand_above_the_spread_row_and_bids_below() -> None:
    lines, _, _ = draw(made.instrument(mid_ticks=10_012))
    split = row_of(lines, "mid 100.125")
    assert row_of(lines, "100.13") == split - 1
    assert row_of(lines, "100.12 ") == split + 1
    assert "spread 0.01 · 1 tick" in lines[split]


def test_ladder_holds_still_for_a_small_move_and_recentres_after_a_large_one() -> None:
    lines, seen, _ = draw(made.instrument(mid_ticks=10_012))
    before = row_of(lines, "100.10 ")
    moved, held, _ = draw(made.instrument(mid_ticks=10_013), last=seen)
    assert row_of(moved, "100.10 ") == before
    assert held.centre_ticks == seen.centre_ticks
    _, jumped, _ = draw(made.instrument(mid_ticks=10_030), last=held)
    assert jumped.centre_ticks == 10_030


def test_another_instrument_gets_its_own_centre() -> None:
    _, seen, _ = draw(made.instrument(mid_ticks=10_012))
    _, other, _ = draw(made.instrument("ALT-USD", mid_ticks=10_014), last=seen)
    assert other.centre_ticks == 10_014


def test_own_orders_and_the_last_trade_are_marked() -> None:
    lines, _, _ = draw(made.instrument(mid_ticks=10_012))
    own = lines[row_of(lines, "100.09")]
    assert "▶" in own
    assert "▲100.13" in lines[row_of(lines, "100.13")]


def test_a_seller_s_trade_points_down_and_an_unknown_side_points_nowhere() -> None:
    view = made.instrument(last_trade="100.12", last_trade_side=-1)
    assert any("▼100.12" in line for line in draw(view)[0])
    view = made.instrument(last_trade="100.12", last_trade_side=0)
    assert any("◆100.12" in line for line in draw(view)[0])


def test_a_trade_price_without_trailing_zeros_finds_its_row() -> None:
    view = made.instrument(mid_ticks=10_010, last_trade="100.1", last_trade_side=1)
    assert any("▲100.10" in line for line in draw(view)[0])


def test_a_price_beyond_the_known_depth_is_unknown_and_not_empty() -> None:
    bids, asks = made.book(10_012, depth=3)
    lines, _, _ = draw(made.instrument(bids=bids, asks=asks), height=16)
    assert "·" in lines[row_of(lines, "100.16")]
    assert "·" in lines[row_of(lines, "100.08")]
    gap = tuple(level for level in bids if level.ticks != 10_011)
    lines, _, _ = draw(made.instrument(bids=gap, asks=asks), height=16)
    assert "·" not in lines[row_of(lines, "100.11")]


def test_a_sparse_book_gets_one_row_a_level() -> None:
    bids, asks = made.book(10_012, depth=12, step=37)
    lines, seen, _ = draw(made.instrument(bids=bids, asks=asks))
    assert not seen.is_static
    split = row_of(lines, "mid ")
    assert bids[0].price in lines[split + 1]
    assert bids[1].price in lines[split + 2]
    assert asks[0].price in lines[split - 1]


def test_a_short_sparse_book_shows_where_knowledge_ends() -> None:
    bids, asks = made.book(10_012, depth=2, step=90)
    lines, seen, _ = draw(made.instrument(bids=bids, asks=asks))
    assert not seen.is_static
    assert lines[-1].strip().startswith("·")


def test_an_empty_book_says_why() -> None:
    view = made.empty().instruments[0]
    lines, _, _ = draw(view)
    assert "no book: opening the socket" in lines[2]
    one_sided = made.instrument(asks=())
    assert "no book: no asks" in draw(one_sided)[0][2]


def test_a_crossed_book_is_called_crossed() -> None:
    bids, _ = made.book(10_020, depth=5)
    _, asks = made.book(10_012, depth=5)
    lines, _, _ = draw(made.instrument(bids=bids, asks=asks))
    assert any("crossed book: bid 100.20 ask 100.13" in line for line in lines)


def test_a_quiet_feed_makes_the_ladder_doubtful() -> None:
    view = made.instrument(feed=made.feed(FeedState.STALE, age_ms=7_200))
    assert draw(view)[2].doubt == "STALE 7.2 s"


def test_untrusted_quantities_do_not_break_the_row() -> None:
    bids, asks = made.book(10_012, depth=5)
    evil = msgspec.structs.replace(bids[0], qty="\x1b[2J宽字宽字宽字")
    lines, _, _ = draw(made.instrument(bids=(evil, *bids[1:]), asks=asks))
    assert "\x1b" not in "".join(lines)


def test_the_title_says_when_the_book_stops_knowing_within_reach() -> None:
    view = made.instrument(mid_ticks=10_012)
    cut = msgspec.structs.replace(
        view, bids=view.bids[:3], feed=made.feed(bids_known_to=view.bids[2].price)
    )
    lines, _, _ = draw(cut)
    assert "unknown beyond" in lines[0]
    assert "·" in lines[-1]
    whole, _, _ = draw(msgspec.structs.replace(view, bids=view.bids[:3]))
    assert "unknown" not in whole[0]


def test_the_title_says_that_a_book_is_unproven() -> None:
    view = made.instrument(mid_ticks=10_012, feed=made.feed(unseen_s=900))
    lines, _, _ = draw(view)
    assert "unproven" in lines[0]
    proven, _, _ = draw(made.instrument(mid_ticks=10_012))
    assert "unproven" not in proven[0]
