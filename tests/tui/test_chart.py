from __future__ import annotations

from core.snapshot import Bar
from tests.tui import snapshots as made
from tui.present.chart import Axis, group, next_axis, present_chart, step_of
from tui.present.line import compose_panel, line_text
from tui.present.scene import Scene


def flat(end_s: int, price: float, volume: float = 1.0) -> Bar:
    return Bar(end_s, price, price, price, price, volume)


def draw(bars: tuple[Bar, ...], width: int = 60, height: int = 14) -> list[str]:
    view = made.instrument(bars=bars)
    scene = Scene(snapshot=made.normal(instruments=(view,)), now_ns=made.NOW_NS)
    panel, _ = present_chart(scene, Axis(), width, height)
    return [line_text(x) for x in compose_panel(panel, width, height, focused=False)]


def test_no_bars_says_waiting() -> None:
    assert "waiting for data" in draw(())[2]


def test_the_last_price_has_its_tag_with_direction() -> None:
    bars = (Bar(1, 100.0, 100.1, 99.9, 100.0, 1), Bar(2, 100.0, 100.3, 100.0, 100.255, 1))
    assert any("┤▲100.255" in line for line in draw(bars))
    bars = (bars[0], Bar(2, 100.0, 100.0, 99.7, 99.75, 1))
    assert any("┤▼99.750" in line for line in draw(bars))


def test_a_rising_bar_fills_its_body_and_draws_its_wick() -> None:
    bars = (Bar(1, 100.0, 100.0, 100.0, 100.0, 0), Bar(2, 100.0, 104.0, 99.0, 103.0, 0))
    column = "".join(line[49] for line in draw(bars)[1:-1])
    assert "█" in column
    assert column.strip()[0] in "╷│"


def test_the_axis_holds_still_inside_and_moves_when_a_price_leaves() -> None:
    view = made.instrument()
    first = next_axis(Axis(), view, (flat(1, 100.0), flat(2, 101.0)))
    assert next_axis(first, view, (flat(1, 100.0), flat(2, 101.05))) == first
    moved = next_axis(first, view, (flat(1, 100.0), flat(2, 102.0)))
    assert moved.high > 102.0


def test_the_axis_closes_in_when_little_of_it_is_used() -> None:
    view = made.instrument()
    wide = Axis(view.name, 90.0, 110.0)
    closer = next_axis(wide, view, (flat(1, 100.0), flat(2, 101.0)))
    assert closer.high - closer.low < 2.0


def test_the_axis_of_a_still_price_is_a_few_ticks_and_stays() -> None:
    view = made.instrument()
    axis = next_axis(Axis(), view, (flat(1, 100.0),))
    assert 0.05 < axis.high - axis.low < 0.2
    assert next_axis(axis, view, (flat(2, 100.01),)) == axis


def test_another_instrument_gets_its_own_axis() -> None:
    view = made.instrument("ALT-USD")
    assert next_axis(Axis("SIM-USD", 90.0, 110.0), view, (flat(1, 100.0),)).instrument == "ALT-USD"


def test_columns_join_seconds_until_two_minutes_are_on_show() -> None:
    assert step_of(240, 130) == 1
    assert step_of(240, 73) == 2
    assert step_of(240, 33) == 5
    assert step_of(20, 33) == 1


def test_joined_bars_keep_extremes_and_sum_volume() -> None:
    bars = (
        Bar(9, 1.0, 2.0, 0.5, 1.5, 1.0),
        Bar(10, 1.5, 3.0, 1.0, 2.0, 2.0),
        Bar(11, 2.0, 2.5, 0.1, 0.2, 4.0),
    )
    assert list(group(bars, 5)) == [
        Bar(10, 1.0, 3.0, 0.5, 2.0, 3.0),
        Bar(15, 2.0, 2.5, 0.1, 0.2, 4.0),
    ]


def test_times_stand_under_their_bars_in_utc() -> None:
    bars = tuple(flat(made.NOW_S // 60 * 60 - 20 + i, 100.0) for i in range(40))
    last = draw(bars)[-1]
    assert "╵14:13:00" in last
    assert "UTC" in last


def test_a_price_at_the_edge_of_the_axis_stays_on_the_plot() -> None:
    view = made.instrument(bars=(flat(1, 100.0), flat(2, 101.0)))
    scene = Scene(snapshot=made.normal(instruments=(view,)), now_ns=made.NOW_NS)
    for height in (3, 4, 9, 30):
        panel, axis = present_chart(scene, Axis(), 40, height)
        again, same = present_chart(scene, axis, 40, height)
        assert axis == same
        assert again == panel
