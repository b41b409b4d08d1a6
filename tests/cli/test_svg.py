from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.svg import HEIGHT, LEFT, RIGHT, WIDTH, Bar, Series, bar_chart, line_chart, nice_ticks

numbers = st.floats(-1e9, 1e9).map(lambda value: round(value, 6))


@given(numbers, numbers)
def test_the_ticks_cover_the_range_in_few_even_steps(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    ticks = nice_ticks(low, high)
    steps = [later - earlier for earlier, later in itertools.pairwise(ticks)]
    slack = 1e-6 * max(1.0, abs(low), abs(high))
    assert 2 <= len(ticks) <= 14
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack
    assert max(steps) - min(steps) < slack


def test_ticks_are_round() -> None:
    assert nice_ticks(-180, 1) == [-200, -150, -100, -50, 0, 50]
    assert nice_ticks(0, 1) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])


@given(st.lists(st.tuples(st.integers(0, 10**18), numbers), max_size=30))
def test_a_line_chart_is_well_formed_and_stays_inside(points: list[tuple[int, float]]) -> None:
    ordered = sorted((float(x), y) for x, y in points)
    svg = line_chart([Series("a", "own", ordered)], str, "what")
    if len({x for x, _ in ordered}) < 2:
        assert svg == ""
        return
    (path,) = ElementTree.fromstring(svg).findall("path")
    for x, y in re.findall(r"[ML]([\d.-]+) ([\d.-]+)", path.attrib["d"]):
        assert LEFT - 0.01 <= float(x) <= WIDTH - RIGHT + 0.01
        assert 0 <= float(y) <= HEIGHT


def test_an_area_is_closed_at_zero() -> None:
    svg = line_chart([Series("a", "fall", [(0, -1), (1, -2)], is_area=True)], str, "what")
    assert 'Z"' in svg


def test_gains_stand_on_the_zero_line_and_losses_hang_from_it() -> None:
    root = ElementTree.fromstring(bar_chart([Bar(2, "up"), Bar(-1, "down")], "what"))
    up, down = root.findall("rect")
    assert (up.attrib["class"], down.attrib["class"]) == ("gain", "loss")
    bottom = float(up.attrib["y"]) + float(up.attrib["height"])
    assert abs(bottom - float(down.attrib["y"])) < 0.02
    assert abs(float(up.attrib["height"]) / float(down.attrib["height"]) - 2) < 0.01


def test_no_bars_are_no_chart_and_titles_are_escaped() -> None:
    assert bar_chart([], "what") == ""
    root = ElementTree.fromstring(bar_chart([Bar(0, "<script>")], 'a "b"'))
    assert root.attrib["aria-label"] == 'a "b"'
    assert root.findtext("rect/title") == "<script>"
