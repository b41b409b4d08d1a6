"""Panels by value: what each says in words for what the engine knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from core.model.market import FeedState
from core.snapshot import ExitsView, PnlView, Snapshot
from tests.tui import snapshots as made
from tui.present.agent import present_agent
from tui.present.blotter import (
    close_words,
    present_fills,
    present_orders,
    trade_instrument,
)
from tui.present.essentials import present_essentials, present_notices
from tui.present.line import Panel, compose_panel, line_text
from tui.present.pnl import loss_share, present_pnl
from tui.present.positions import exits_line, present_positions, reverse_lines
from tui.present.proposal import present_proposal
from tui.present.scene import Said, Scene
from tui.present.signals import present_signals
from tui.present.status import banner_line, header_line, instruments_line, status_line

Present = Callable[[Scene, int, int], Panel]


def scene(snapshot: Snapshot | None, **changes: Any) -> Scene:
    first = Scene(
        snapshot=snapshot, now_ns=made.NOW_NS, decision_id="d-000042", is_armed=True, min_labels=100
    )
    return msgspec.structs.replace(first, **changes)


def text(present: Present, shown: Scene, width: int = 60, height: int = 20) -> str:
    lines = compose_panel(present(shown, width, height), width, height, focused=False)
    return "\n".join(line_text(line) for line in lines)


ALL = (
    present_signals, present_agent, present_pnl, present_positions, present_orders, present_fills,
    present_proposal, present_essentials, present_notices,
)  # fmt: skip


@pytest.mark.parametrize("present", ALL)
def test_without_an_engine_every_panel_says_so(present: Present) -> None:
    assert "NO ENGINE" in text(present, scene(None))


@pytest.mark.parametrize("present", ALL[:-1])  # notices are history: they do not age
def test_a_lost_engine_is_in_every_title(present: Present) -> None:
    title = text(present, scene(made.normal(), lost_ms=3_200)).splitlines()[0]
    assert "ENGINE LOST 3.2 s" in title


def test_an_old_picture_is_doubted_without_any_error() -> None:
    shown = scene(made.normal(), now_ns=made.NOW_NS + 5_000_000_000)
    assert shown.doubt() == "OLD 5.0 s"


def test_a_paused_picture_is_marked_in_every_pane() -> None:
    assert scene(made.normal(), paused=True).market_doubt() == "PAUSED"


def test_a_finished_feed_is_doubted() -> None:
    assert scene(made.normal(finished="end of capture")).doubt() == "FINISHED"


# --- signals -------------------------------------------------------------------------------------


def test_a_proven_forecast_shows_skill_count_and_base_rate() -> None:
    shown = text(present_signals, scene(made.normal()), 44, 12)
    assert "P(up) 5 s ▲56.3 %" in shown
    assert "skill +1.8 % · n 2310" in shown
    assert "base 50.7 %" in shown


def test_an_unproven_forecast_says_how_many_labels_are_missing_and_is_grey() -> None:
    panel = present_signals(scene(made.no_skill()), 50, 14)
    words = "\n".join(line_text(line) for line in panel.lines)
    assert "unproven: 43 of 100 labels" in words
    roles = {span.role for line in panel.lines[:2] for span in line}
    assert not roles & {"up", "down", "up_strong", "down_strong", "ok"}


def test_a_narrow_pane_shortens_the_badge_and_never_the_probability() -> None:
    shown = text(present_signals, scene(made.no_skill()), 41, 17).splitlines()
    assert shown[1].split() == ["P(up)", "1", "s", "▲54.1", "%", "unproven", "43/100"]
    assert shown[3].split() == ["P(up)", "5", "s", "▲56.3", "%", "no", "edge", "-0.4", "%"]


def test_a_worthless_forecast_is_called_no_edge() -> None:
    assert "no edge: skill -0.4 %" in text(present_signals, scene(made.no_skill()), 60, 14)


def test_without_the_needed_count_no_number_is_invented() -> None:
    shown = text(present_signals, scene(made.no_skill(), min_labels=None), 60, 14)
    assert "unproven: 43 labels" in shown


def test_an_extreme_probability_gets_the_whole_scale() -> None:
    view = made.instrument(forecasts=(made.forecast(1, 0.93),))
    shown = text(present_signals, scene(made.normal(instruments=(view,))), 50, 14)
    assert " 0 " in shown
    assert "100" in shown


def test_each_signal_shows_its_share_with_sign_and_glyph() -> None:
    shown = text(present_signals, scene(made.normal()), 60, 20)
    assert "▲ +0.114" in shown
    assert "▼ -0.031" in shown


def test_a_share_that_rounds_to_nothing_points_nowhere() -> None:
    shown = text(present_signals, scene(made.normal()), 60, 20)
    row = next(line for line in shown.splitlines() if "breakout" in line)
    assert "▲" not in row
    assert "▼" not in row


def test_signals_that_do_not_fit_are_counted() -> None:
    assert "and 4 more signals" in text(present_signals, scene(made.normal()), 41, 14)


def test_no_signal_and_no_forecast_are_said() -> None:
    shown = text(present_signals, scene(made.empty()))
    assert "no forecast yet" in shown
    assert "no signals yet" in shown
    assert "volatility not known yet" in text(
        present_signals, scene(made.normal(instruments=(made.instrument(volatility_bps=None),)))
    )


# --- agent ---------------------------------------------------------------------------------------


def test_the_agent_shows_three_actions_entropy_id_and_note() -> None:
    shown = text(present_agent, scene(made.normal()), 60, 9)
    assert "▼ short" in shown
    assert "61.2 %" in shown
    assert "entropy" in shown
    assert "0.82" in shown
    assert "ppo-sim" in shown
    assert "Not proven on" in shown


def test_no_agent_gives_its_reason() -> None:
    shown = text(present_agent, scene(made.no_agent()))
    assert "no agent: model refused: other observation space" in shown


# --- P&L -----------------------------------------------------------------------------------------


def test_unknown_marks_are_a_dash_and_not_zero() -> None:
    shown = text(present_pnl, scene(made.empty()))
    assert "unrealized" in shown
    assert "—" in shown
    assert "not known: a mark is missing" in shown


@pytest.mark.parametrize(
    ("today", "limit", "share"),
    [("-34.50", "200", 0.1725), ("12", "200", 0.0), (None, "200", None), ("-500", "200", 2.5)],
)
def test_use_of_the_daily_loss_limit(today: str | None, limit: str, share: float | None) -> None:
    pnl = PnlView("USD", "0", "0", "0", "0", "0", limit, (), today)
    assert loss_share(pnl) == (None if share is None else pytest.approx(share))


def test_the_curve_is_labelled_with_its_own_range() -> None:
    shown = text(present_pnl, scene(made.normal()), 60, 12)
    assert "+12.54" in shown


# --- positions, orders, fills --------------------------------------------------------------------


def test_a_position_has_its_side_in_a_word_and_k_says_what_it_does() -> None:
    shown = text(present_positions, scene(made.normal()), 70, 8)
    assert "▲ LONG" in shown
    assert "cancel 1 order, sell 9.987 to flat" in shown
    short = made.position(lots=-5, qty="-0.005")
    assert "▼ SHORT" in text(present_positions, scene(made.normal(positions=(short,))), 70, 8)
    assert "buy 0.005 to flat" in close_words(made.normal(positions=(short,), orders=()), "SIM-USD")


def test_a_closed_position_shows_what_it_realized() -> None:
    shown = text(present_positions, scene(made.normal(positions=(made.position(lots=0),))), 60, 8)
    assert "FLAT" in shown
    assert "realized +1.93" in shown
    assert "0 open" in shown


def test_nothing_open_is_said() -> None:
    assert "k: nothing open in SIM-USD" in text(present_positions, scene(made.empty()))


def test_a_position_shows_entry_mark_age_and_its_exits_with_their_distances() -> None:
    shown = [
        line.rstrip() for line in text(present_positions, scene(made.normal()), 38, 8).splitlines()
    ]
    assert shown[1].startswith(" SIM-USD  ▲ LONG  9.987")
    assert shown[2:6] == [
        " entry  100.08  mark 100.12",
        " stop   99.79 -32.9 bps by hand",
        " target 100.49 +37.0 bps",
        " time   43.2 s left  17.0 s old",
    ]
    assert "cancel 1 order, sell" in shown[6]


def test_exits_that_are_off_or_cannot_be_measured_say_so() -> None:
    exits = ExitsView(stop=None, target="100.49", left_s=None, stop_bps=None, target_bps=None)
    shown = text(
        present_positions, scene(made.normal(positions=(made.position(exits=exits),))), 44, 8
    )
    assert " stop   off" in shown
    assert " target 100.49 —" in shown
    assert " time   off  17.0 s old" in shown


def test_an_older_engine_without_exits_shows_a_dash() -> None:
    shown = text(
        present_positions, scene(made.normal(positions=(made.position(exits=None),))), 44, 8
    )
    assert " exits  —" in shown


def test_exits_that_cannot_act_are_the_first_thing_said_of_a_position() -> None:
    exits = msgspec.structs.replace(made.EXITS, blind="feed stale: no frame for 7.2 s")
    held = made.position(exits=exits)
    shown = text(present_positions, scene(made.normal(positions=(held,))), 60, 8)
    assert "exits cannot act: feed stale: no frame for 7.2 s" in shown
    assert "exits cannot act" in line_text(exits_line(held))
    assert "exits cannot act" in text(
        present_essentials, scene(made.normal(positions=(held,))), 43, 8
    )


def test_a_position_being_closed_says_so_in_its_row() -> None:
    held = made.position(doing="reversing")
    assert "9.987 reversing" in text(
        present_positions, scene(made.normal(positions=(held,))), 60, 8
    )


def test_the_exits_of_the_chosen_row_are_shown() -> None:
    other = made.position(
        instrument="ALT-USD", lots=-5, qty="-5",
        exits=ExitsView("50.60", "50.10", 12.0, 40.0, -59.0),
    )  # fmt: skip
    shown = scene(
        made.normal(positions=(made.position(), other)), focus="positions", position_row=1
    )
    words = text(present_positions, shown, 60, 10)
    assert "50.60 +40.0 bps" in words
    assert "99.79" not in words
    by_key = scene(made.normal(positions=(made.position(), other)), instrument=1)
    assert "50.60" in text(present_positions, by_key, 60, 10)


def test_a_small_terminal_has_the_exits_in_one_line_and_loses_no_other() -> None:
    shown = text(present_essentials, scene(made.normal()), 43, 8)
    assert " stop 99.79 -33 tgt 100.49 +37 43.2 s" in shown
    assert "P(up) 1 s" in shown
    assert "P(up) 5 s" in shown
    assert "cancel 1 order, sell 9.987 to flat" in shown


@pytest.mark.parametrize(
    ("height", "words"),
    [
        (15, (" stop   99.85 -30.0 bps", " target 100.56 +40.0 bps", "after 120 s")),
        (11, (" stop -30 target +40 bps after 120 s",)),
    ],
)
def test_a_proposal_shows_the_exits_its_entry_will_carry(
    height: int, words: tuple[str, ...]
) -> None:
    shown = text(present_proposal, scene(made.normal()), 43, height)
    for each in words:
        assert each in shown
    assert "BUY: P(up) 0.563" in shown
    assert " y " in shown


def test_a_proposal_to_add_or_to_leave_promises_no_exits_of_its_own() -> None:
    adding = made.proposal(exits=None, exits_note="move with the mean price; time stays")
    shown = text(present_proposal, scene(made.normal(proposals=(adding,))), 60, 15)
    assert "exits move with the mean price; time stays" in shown
    leaving = made.proposal(exits=None, action="EXIT", side="SELL")
    assert "stop" not in text(present_proposal, scene(made.normal(proposals=(leaving,))), 60, 15)


def test_reversing_says_both_orders_before_it_is_agreed_to() -> None:
    lines = reverse_lines(made.position(lots=-9987, qty="-9.987"))
    assert lines[0] == "SIM-USD is SHORT 9.987 @ 100.08."
    assert lines[2] == "1. BUY 9.987: the position is closed, its orders are canceled."
    assert "BUY up to 9.987 more, through the gate: LONG" in lines[3]
    assert "no working order" in text(present_orders, scene(made.empty()))
    assert "no fill yet" in text(present_fills, scene(made.empty()))


def test_an_unknown_order_stands_out() -> None:
    panel = present_orders(scene(made.normal(orders=(made.order(status="UNKNOWN"),))), 50, 5)
    assert any(span == ("UNKNOWN", "warn") for span in panel.lines[0])


def test_k_follows_the_focused_row_else_the_selected_instrument() -> None:
    other = made.position(instrument="ALT-USD")
    snapshot = made.normal(positions=(made.position(), other))
    assert trade_instrument(scene(snapshot)) == "SIM-USD"
    assert trade_instrument(scene(snapshot, focus="positions", position_row=1)) == "ALT-USD"
    assert trade_instrument(scene(snapshot, focus="positions", position_row=9)) == "ALT-USD"
    orders = (made.order(instrument="ALT-USD"),)
    assert trade_instrument(scene(made.normal(orders=orders), focus="orders")) == "ALT-USD"


def test_the_chosen_fill_shows_its_rationale() -> None:
    shown = text(present_fills, scene(made.normal(), focus="fills", fill_row=2), 60, 12)
    assert "▸14:02:06" in shown
    assert "why: Decision d-000018" in shown


def test_a_long_list_scrolls_to_the_cursor() -> None:
    shown = text(present_fills, scene(made.normal(), focus="fills", fill_row=13), 60, 10)
    assert "▸14:00:49" in shown


# --- proposal ------------------------------------------------------------------------------------


def test_the_proposal_shows_all_that_is_needed_to_judge_it() -> None:
    shown = text(present_proposal, scene(made.normal()), 60, 14)
    for words in (
        "▲ ENTER LONG", "BUY 9.987 SIM-USD", "limit ≤ 100.15", "notional 1000.00",
        "P(up) 5 s ▲ 56.3 %", "edge 3.14 − cost 1.22 = +1.92 bps",
        "drift +1.5 ticks against us", "6.2 s of 10.0 s", "BUY: P(up)", "queue imbalance +0.11",
        " y  confirm", " n  reject", "or it lapses", "1 of 1 · 000042",
    ):  # fmt: skip
        assert words in shown, words


def test_a_sell_points_down_and_its_limit_is_a_floor() -> None:
    sell = made.proposal(action="ENTER_SHORT", side="SELL", p_up=0.41)
    shown = text(present_proposal, scene(made.normal(proposals=(sell,))), 60, 14)
    assert "▼ ENTER SHORT" in shown
    assert "limit ≥" in shown
    assert "▼ 41.0 %" in shown


def test_an_edge_below_its_cost_is_called_a_loss() -> None:
    dear = made.proposal(cost_bps=9.0)
    shown = text(present_proposal, scene(made.normal(proposals=(dear,))), 60, 14)
    assert "= -5.86 bps loss" in shown


def test_a_proposal_that_just_appeared_hides_its_keys() -> None:
    shown = text(present_proposal, scene(made.normal(), is_armed=False), 60, 14)
    assert "new: keys wake in a moment" in shown
    assert " y  confirm" not in shown


def test_no_proposal_gives_the_engine_s_reason() -> None:
    shown = text(present_proposal, scene(made.normal(proposals=())), 60, 10)
    assert "P(up) 52.1 % is inside the threshold of 5 %" in shown


# --- chrome --------------------------------------------------------------------------------------


@pytest.mark.parametrize("account", ["SIM", "PAPER", "LIVE"])
def test_the_account_is_a_word_and_a_style_of_its_own(account: str) -> None:
    line = header_line(scene(made.normal(account=account)), 100)
    assert line[0].text == f" {account} "
    assert line[0].role == account.lower()


def test_the_header_names_venue_mode_feed_and_engine_age() -> None:
    words = line_text(header_line(scene(made.normal(source="replay a.jsonl.gz")), 120))
    for part in ("sim", "replay a.jsonl.gz", "CONFIRM", "● live 12 ms", "engine 40 ms"):
        assert part in words
    assert "PAUSED" in line_text(header_line(scene(made.normal(), paused=True), 120))
    lost = line_text(header_line(scene(made.normal(), lost_ms=3_200), 120))
    assert "ENGINE LOST 3.2 s" in lost
    assert "○ was live" in lost
    assert "●" not in lost


def test_a_long_source_gives_way_to_mode_and_profit() -> None:
    long = made.normal(source=f"replay {'x' * 300}.jsonl.gz")
    words = line_text(header_line(scene(long), 80))
    assert len(words) == 80
    for part in ("PAPER", "replay xx", "…", "CONFIRM", "P&L", "● live"):
        assert part in words


def test_up_time_is_the_process_s_and_not_the_tape_s() -> None:
    """The tape's clock of a replay lies in the past, the simulated one may run ahead."""
    tape = made.normal(ts_ns=1, made_ns=made.NOW_NS, started_ns=made.NOW_NS - 90_000_000_000)
    assert "up 90.0 s" in line_text(status_line(scene(tape), 200))


def test_the_banner_shows_what_matters_most() -> None:
    def banner(shown: Scene) -> str:
        return line_text(banner_line(shown, 140)).strip()

    halted = made.halted()
    stuck = Said("error", "KILL ALL: NOT DONE: no answer in time", sticks=True)
    assert banner(scene(halted, said=stuck, lost_ms=10)).startswith("KILL ALL: NOT DONE")
    assert banner(scene(halted, lost_ms=3_200, lost_reason="gone")).startswith(
        "ENGINE LOST 3.2 s: gone"
    )
    waiting = scene(None, lost_ms=900, lost_reason="no engine runs here")
    assert banner(waiting) == "no engine answers yet: no engine runs here"
    assert banner(scene(halted)) == "■ HALTED since 14:13:17: F12 by human:trader · r re-arms"
    assert "done" in banner(scene(halted, said=Said("info", "done")))
    assert banner(scene(made.stale(), said=Said("info", "confirm: sent"))) == "confirm: sent"
    assert banner(scene(made.normal(finished="end of capture"))) == "FINISHED: end of capture"
    assert banner(scene(made.stale())).startswith("no new orders: SIM-USD: feed stale")
    assert banner(scene(made.normal())) == "14:14:02 order tw-1-7 accepted"


def test_the_halt_fills_the_whole_banner_with_the_alarm_style() -> None:
    line = banner_line(scene(made.halted()), 120)
    assert {span.role for span in line} == {"alarm"}


def test_instruments_show_their_key_price_and_state() -> None:
    quiet = made.instrument("ALT-USD", feed=made.feed(FeedState.STALE))
    snapshot = made.normal(instruments=(made.instrument(), quiet))
    words = line_text(instruments_line(scene(snapshot), 140))
    assert "1  SIM-USD 100.125" in words
    round_price = made.normal(instruments=(made.instrument(last_trade="100"),))
    assert "last ▲100.00 " in line_text(instruments_line(scene(round_price), 140))
    assert "2  ALT-USD" in words
    assert "stale" in words
    bare = line_text(instruments_line(scene(made.empty()), 100))
    assert "no mid" in bare


def test_the_status_line_drops_whole_groups_and_keeps_the_cost() -> None:
    full = line_text(status_line(scene(made.normal(), cost_ms=6.4), 160))
    for part in ("queue 3/1024", "ledger #10482 9f2c41d0", "decide p99 118 µs", "UI 10 Hz · 6 ms"):
        assert part in full
    short = line_text(status_line(scene(made.normal(), cost_ms=6.4), 50))
    assert "UI 10 Hz · 6 ms" in short
    assert "…" not in short


def test_gaps_and_refused_messages_are_counted_on_the_status_line() -> None:
    view = made.instrument(feed=made.feed(gaps=2, refused=1))
    words = line_text(status_line(scene(made.normal(instruments=(view,))), 160))
    assert "gaps 2" in words
    assert "refused 1" in words
    assert "resyncs" not in words


def test_a_dear_frame_is_a_warning() -> None:
    line = status_line(scene(made.normal(), cost_ms=80.0), 100)
    assert any(span.role == "warn" and "80 ms" in span.text for span in line)


def test_the_essentials_hold_forecast_agent_pnl_and_exit() -> None:
    shown = text(present_essentials, scene(made.normal()), 44, 9)
    for words in ("P(up) 1 s", "P(up) 5 s", "▲ long 61 %", "+12.90 USD", "cancel 1 order"):
        assert words in shown
