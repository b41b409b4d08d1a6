from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tui.present.bars import bar_left, bar_right, curve, gauge, merge, signed_bar, sparkline
from tui.present.line import Panel, Span, compose_panel, cut, line_text, line_width, spread_out


@given(st.lists(st.text(max_size=12), max_size=6), st.integers(0, 50))
def test_a_cut_line_is_exactly_as_wide_as_asked(texts: list[str], width: int) -> None:
    assert line_width(cut([Span(text) for text in texts], width)) == width


@given(st.text(max_size=40), st.integers(1, 40), st.integers(1, 8))
def test_a_panel_is_exactly_its_size(text: str, width: int, height: int) -> None:
    panel = Panel(text, ((Span(text), Span(text, "up")),) * 3, text, "")
    lines = compose_panel(panel, width, height, focused=True)
    assert len(lines) == height
    assert {line_width(line) for line in lines} == {width}


def test_doubt_turns_every_span_grey_and_stands_in_the_title() -> None:
    panel = Panel("X", ((Span("1", "up"), Span("█", "up_bar")),), "40 levels", "STALE 7.2 s")
    title, body = compose_panel(panel, 30, 2, focused=False)
    assert "STALE 7.2 s" in line_text(title)
    assert "40 levels" not in line_text(title)
    assert {span.role for span in body if span.text.strip()} == {"stale", "faint"}


def test_the_right_end_survives_a_long_left_end() -> None:
    line = spread_out((Span("x" * 40),), (Span("12 ms"),), 20)
    assert line_text(line) == "x" * 14 + "…12 ms"


def test_focus_is_marked_without_colour() -> None:
    lines = compose_panel(Panel("P", ()), 10, 1, focused=True)
    assert line_text(lines[0]).startswith("▸ P")


def test_bars_grow_from_their_own_side() -> None:
    assert bar_right(0.5, 4) == "██  "
    assert bar_right(0.3, 4) == "█▎  "
    assert bar_left(0.5, 4) == "  ██"
    assert bar_left(0.375, 4) == "  ▐█"
    assert bar_left(0.01, 4) == "   ▕"
    assert bar_right(7.0, 3) == "███"
    assert bar_right(-1.0, 3) == "   "


def test_signed_bar_leans_to_its_side() -> None:
    assert line_text(signed_bar(0.5, 4)) == "    │██  "
    assert line_text(signed_bar(-0.5, 4)) == "  ██│    "
    assert line_text(signed_bar(0.0, 4)) == "    │    "


def test_gauge_fills_from_one_half_and_marks_the_base_rate() -> None:
    text = line_text(gauge(0.6, 0.45, 21, 0.4, 0.6))
    assert text == "─────╎────┃██████████"
    assert line_text(gauge(0.4, 0.55, 21, 0.4, 0.6)) == "██████████┃────╎─────"


def test_gauge_keeps_its_width_out_of_range() -> None:
    assert len(line_text(gauge(1.0, 0.0, 15, 0.4, 0.6))) == 15


def test_sparkline_shows_the_newest_and_pads_the_past() -> None:
    assert sparkline((0.0, 0.5, 1.0), 5, 0.0, 1.0) == "  ▁▅█"
    assert sparkline((0.0, 0.5, 1.0), 2, 0.0, 1.0) == "▅█"


def test_curve_puts_the_lowest_at_the_bottom_and_colours_by_sign() -> None:
    lines = curve((-1.0, 0.0, 1.0), 4, 2)
    assert [line_text(line) for line in lines] == ["  ▁█", " ▁██"]
    roles = {span.role for line in lines for span in line if span.text.strip()}
    assert {"up", "down"} <= roles
    assert all(line_width(line) == 4 for line in lines)
    assert curve((), 4, 2) == []


def test_merge_joins_neighbours_of_one_role() -> None:
    assert merge([Span("a"), Span("b"), Span("c", "up")]) == (Span("ab"), Span("c", "up"))
