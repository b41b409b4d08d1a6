"""Stop and target of the position on the ladder and in the chart."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from core.snapshot import BookLevel, InstrumentView
from tests.tui import snapshots as made
from tui.present.chart import Axis, present_chart
from tui.present.exit_marks import exit_marks
from tui.present.ladder import LadderView, present_ladder
from tui.present.line import Line, compose_panel, line_text
from tui.present.scene import Scene


def scene(stop: str | None, target: str | None, **view: Any) -> Scene:
    exits = msgspec.structs.replace(made.EXITS, stop=stop, target=target)
    held = made.position(exits=exits)
    shown = (made.instrument(**view),)
    return Scene(
        snapshot=made.normal(instruments=shown, positions=(held,)), now_ns=made.NOW_NS
    )  # fmt: skip


def ladder(of: Scene, height: int = 16) -> list[str]:
    panel, _ = present_ladder(of, LadderView(), 44, height)
    return [line_text(line) for line in compose_panel(panel, 44, height, focused=False)]


def chart(of: Scene, height: int = 20) -> list[Line]:
    panel, _ = present_chart(of, Axis(), 70, height)
    return list(compose_panel(panel, 70, height, focused=False))


def row_with(lines: list[str], text: str) -> str:
    return next(line for line in lines if text in line)


def test_stop_and_target_stand_behind_their_prices_on_the_ladder() -> None:
    lines = ladder(scene("100.08", "100.16"))
    assert "100.08S" in row_with(lines, "100.08")
    assert "100.16T" in row_with(lines, "100.16")
    assert sum("S" in line or "T" in line for line in lines[2:]) == 2
    assert "↓" not in lines[0]


def test_exits_beyond_the_ladder_are_told_with_their_direction() -> None:
    assert "S↓ T↑" in ladder(scene("99.79", "100.49"))[0]
    short = ladder(scene("100.49", "99.79"))
    assert "S↑ T↓" in short[0]


def test_a_price_without_trailing_zeros_finds_its_row() -> None:
    assert "100.10S" in row_with(ladder(scene("100.1", None)), "100.10")


@pytest.mark.parametrize(
    ("stop", "row"), [("100.02", "100.02S"), ("100.01", "99.97S"), ("99.97", "99.97S")]
)
def test_a_book_with_gaps_marks_the_level_that_would_pass_the_exit(stop: str, row: str) -> None:
    bids, asks = made.book(10_012, step=5)
    lines = ladder(scene(stop, None, bids=bids, asks=asks))
    assert row in row_with(lines, row[:-1])
    assert sum("S" in line for line in lines[2:]) == 1


def test_flat_or_another_instrument_marks_nothing() -> None:
    flat = made.normal(positions=())
    assert exit_marks(Scene(snapshot=flat, now_ns=made.NOW_NS)) == ()
    other = made.normal(positions=(made.position(instrument="ALT-USD"),))
    assert exit_marks(Scene(snapshot=other, now_ns=made.NOW_NS)) == ()
    assert exit_marks(scene(None, None)) == ()


def test_an_older_engine_without_exits_marks_nothing() -> None:
    held = made.normal(positions=(made.position(exits=None),))
    assert exit_marks(Scene(snapshot=held, now_ns=made.NOW_NS)) == ()


def test_a_price_that_is_none_marks_nothing_and_breaks_nothing() -> None:
    view: InstrumentView = made.instrument()
    assert view.tick_size
    lines = ladder(scene("100.085", "100.16"))
    assert "100.16T" in row_with(lines, "100.16")
    assert not any("S" in line for line in lines[2:])


def test_exits_are_dashed_lines_behind_the_bars_with_a_tag_on_the_axis() -> None:
    lines = chart(scene("99.80", "100.30"))
    texts = [line_text(line) for line in lines]
    assert "┄┄" in row_with(texts, "S 99.80")
    assert "┄┄" in row_with(texts, "T 100.30")
    assert any("█" in text for text in texts if "┄" in text)
    assert sum("┄" in text for text in texts) == 2
    assert {len(text) for text in texts} == {70}


def test_exits_off_the_axis_are_tags_at_its_ends_and_do_not_move_it() -> None:
    near = [line_text(line) for line in chart(scene(None, None))]
    texts = [line_text(line) for line in chart(scene("90.00", "110.00"))]
    assert texts[1].rstrip().endswith("T↑110.00")
    assert any(text.rstrip().endswith("S↓90.00") for text in texts)
    assert not any("┄" in text for text in texts)
    assert [text[:55] for text in texts] == [text[:55] for text in near]


def test_the_tag_of_the_last_price_goes_before_that_of_an_exit() -> None:
    texts = [line_text(line) for line in chart(scene("100.12", None))]
    assert any("▲100.125" in text and "┄" in text for text in texts)
    assert not any("S 100.12" in text for text in texts)


def test_marks_have_roles_of_their_own_beside_their_letters() -> None:
    marks = exit_marks(scene("99.80", "100.30"))
    assert [(mark.letter, mark.role) for mark in marks] == [("S", "warn"), ("T", "accent")]


def test_a_ladder_of_one_level_a_side_takes_marks_too() -> None:
    bid, ask = made.level(10_012, 5), made.level(10_013, 5)
    one: tuple[BookLevel, ...] = (bid,)
    lines = ladder(scene("100.12", "100.13", bids=one, asks=(ask,)))
    assert "100.12S" in row_with(lines, "100.12S")
    assert "100.13T" in row_with(lines, "100.13T")
