"""Venue times to nanoseconds; venue text to safe text."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.feeds.times import epoch_ns, printable, rfc3339_ns

HEAD = "2026-08-09T21:05:48"
HEAD_NS = 1_786_309_548 * 10**9


@pytest.mark.parametrize(
    ("fraction", "nanos"),
    [
        ("", 0),
        (".5", 500_000_000),
        (".505350477", 505_350_477),
        (".000000001", 1),
        (".48", 480_000_000),
    ],
)
def test_zero_to_nine_fraction_digits_are_exact(fraction, nanos):
    assert rfc3339_ns(f"{HEAD}{fraction}Z") == HEAD_NS + nanos


def test_offsets_are_subtracted():
    assert rfc3339_ns("2026-08-09T23:05:48.5+02:00") == HEAD_NS + 500_000_000


@pytest.mark.parametrize(
    "text",
    ["", "Z", "now", f"{HEAD}.Z", f"{HEAD}.1234567890Z", "2026-13-09T21:05:48Z", HEAD + ".5x"],
)
def test_what_is_no_time_is_zero_for_not_given(text):
    assert rfc3339_ns(text) == 0


@given(st.integers(0, 4 * 10**18), st.integers(0, 9))
def test_every_time_comes_back(ns, digits):
    ns -= ns % 10 ** (9 - digits)
    seconds, nanos = divmod(ns, 10**9)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{nanos:09d}"[: digits + 1] if digits else ""
    assert rfc3339_ns(f"{text}{fraction}Z") == ns


def test_milliseconds_and_microseconds_are_told_apart_by_size():
    assert epoch_ns(1_723_161_255_208) == 1_723_161_255_208_000_000
    assert epoch_ns(1_723_161_255_208_123) == 1_723_161_255_208_123_000
    assert epoch_ns(-1) == 0
    assert epoch_ns(10**30) == 0


@given(st.text())
def test_printable_text_has_no_control_character_and_no_markup(text):
    shown = printable(text)
    assert shown.isascii()
    assert shown.isprintable() or shown == ""
    assert "[" not in shown
    assert len(shown) <= 120
