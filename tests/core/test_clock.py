from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import NS_PER_S, ManualClock, SystemClock, earliest, iso_ns


def test_wall_clock_that_steps_back_holds_the_last_value(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([100, 90, 99, 101])
    monkeypatch.setattr(time, "time_ns", lambda: next(readings))
    clock = SystemClock()
    assert [clock.now_ns() for _ in range(4)] == [100, 100, 100, 101]


def test_system_clock_reads_unix_time() -> None:
    before = time.time_ns()
    assert before <= SystemClock().now_ns() <= time.time_ns()


@given(times=st.lists(st.integers(0, 2**62)))
def test_manual_clock_never_goes_back(times: list[int]) -> None:
    clock = ManualClock()
    for place, now_ns in enumerate(times, 1):
        clock.move_to(now_ns)
        assert clock.now_ns() == max(times[:place])


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (1, "1970-01-01T00:00:00.000000001Z"),
        (1_767_268_800 * NS_PER_S + 5, "2026-01-01T12:00:00.000000005Z"),
        (1_709_209_559_999_999_999, "2024-02-29T12:25:59.999999999Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
    ],
)
def test_iso_text_is_utc_with_all_nanoseconds(ns: int, text: str) -> None:
    assert iso_ns(ns) == text


def test_iso_text_does_not_follow_the_local_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    try:
        assert iso_ns(0).startswith("1970-01-01T00:00:00")
    finally:
        monkeypatch.undo()
        time.tzset()


@given(first=st.integers(0, 2**62), second=st.integers(0, 2**62))
def test_iso_texts_sort_as_their_times(first: int, second: int) -> None:
    assert (iso_ns(first) < iso_ns(second)) == (first < second)


def test_earliest_passes_over_what_is_not_due_at_all():
    assert earliest(None, 5, 3, None, 4) == 3
    assert earliest(0, 1) == 0
    assert earliest(None, None) is None
    assert earliest() is None
