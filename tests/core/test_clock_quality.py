"""What the kernel says of the clock, and when it is worth an event."""

from __future__ import annotations

import pytest

from core.clock import NS_PER_S
from core.clock_quality import ClockWatch, Quality, quality_of, read_quality

GOOD = quality_of(0, 0x2001, 1_500, 800, 120)
S = NS_PER_S


@pytest.mark.parametrize(
    ("state", "status", "maxerror", "tier"),
    [
        (0, 0x2001, 1_000, "green"),
        (0, 0x2001, 1_001, "amber"),
        (0, 0x2001, 50_001, "red"),
        (5, 0x2001, 100, "red"),
        (0, 0x0040, 100, "red"),
    ],
)
def test_the_tier_follows_the_bound_and_the_sync_state(
    state: int, status: int, maxerror: int, tier: str
) -> None:
    assert quality_of(state, status, 0, maxerror, 0).tier == tier


def test_the_offset_is_in_the_unit_that_the_status_says() -> None:
    assert GOOD.offset_ns == 1_500
    assert quality_of(0, 0, 1_500, 0, 0).offset_ns == 1_500_000


def test_what_cannot_be_read_is_unknown_and_never_green() -> None:
    read = ClockWatch(lambda: Quality("unknown: adjtimex: Operation not permitted")).look(S)
    assert read is not None
    assert (read.tier, read.is_synchronized, read.max_error_us) == ("unknown", None, None)
    assert "not permitted" in read.source


def test_this_machine_answers_or_says_why_not() -> None:
    quality = read_quality()
    if quality.source == "adjtimex":
        assert quality.is_synchronized is not None
        assert quality.status is not None
        assert quality.tier in {"green", "amber", "red"}
    else:
        assert quality.source.startswith("unknown: ")


class Bench:
    def __init__(self) -> None:
        self.quality, self.difference_ns, self.looks = GOOD, 10 * S, 0
        self.watch = ClockWatch(self._read, lambda: self.difference_ns)

    def _read(self) -> Quality:
        self.looks += 1
        return self.quality


def test_a_reading_is_told_at_start_and_hourly_and_not_between() -> None:
    bench = Bench()
    told = [at for at in range(0, 7_300, 5) if bench.watch.look((1_000 + at) * S) is not None]
    assert told == [0, 3_600, 7_200]
    assert bench.looks == 730


def test_a_lost_synchronization_is_told_at_the_next_look() -> None:
    bench = Bench()
    assert bench.watch.look(1_000 * S) is not None
    bench.quality = quality_of(5, 0x0040, 0, 16_000_000, 16_000_000)
    assert bench.watch.look(1_009 * S) is None
    read = bench.watch.look(1_010 * S)
    assert read is not None
    assert (read.tier, read.is_synchronized) == ("red", False)


def test_a_clock_that_was_set_is_told_with_the_step() -> None:
    bench = Bench()
    bench.watch.look(1_000 * S)
    bench.difference_ns += 40_000_000
    assert bench.watch.look(1_010 * S) is None
    bench.difference_ns -= 60_000_000
    read = bench.watch.look(1_020 * S)
    assert read is not None
    assert read.step_ns == -60_000_000
