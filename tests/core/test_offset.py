"""The offset between our clock and the venue's: robust, quick to show, allowed below zero."""

from __future__ import annotations

from core.clock import NS_PER_MS, NS_PER_S
from core.config import RiskSettings
from core.offset import ClockOffset

T0 = 1_700_000_000 * NS_PER_S


class Looks:
    """A clock offset that is given one message a minute, each with its own offset."""

    def __init__(self, **limits: int) -> None:
        self.clock = ClockOffset(RiskSettings(**limits))
        self._event_ns = T0

    def see(self, *offsets_ms: int) -> list[str]:
        """Return what was told, silences left out."""
        told = []
        for offset_ms in offsets_ms:
            self._event_ns += 60 * NS_PER_S
            told.append(self.clock.look(self._event_ns, self._event_ns + offset_ms * NS_PER_MS))
        return [text for text in told if text]


def test_nothing_is_known_before_a_message_carried_a_time() -> None:
    clock = ClockOffset(RiskSettings())
    assert clock.offset_ms is None
    assert "no message" in clock.doubt
    assert clock.look(0, T0) == ""
    assert clock.offset_ms is None
    assert clock.doubt


def test_same_message_seen_twice_counts_once() -> None:
    looks = Looks()
    looks.see(10)
    event_ns = T0 + 60 * NS_PER_S
    assert looks.clock.look(event_ns - NS_PER_S, event_ns + 10 * NS_PER_MS) == ""
    assert looks.clock.offset_ms == 10


def test_clock_behind_the_venues_is_normal_within_its_limit() -> None:
    looks = Looks()
    assert looks.see(-1_272, -1_276, -1_269) == []
    assert looks.clock.offset_ms == -1_272
    assert looks.clock.doubt == ""


def test_two_late_messages_move_nothing_and_the_third_shows() -> None:
    looks = Looks()
    assert looks.see(20, 20, 20, 3_000, 3_000) == []
    assert looks.clock.doubt == ""
    assert looks.see(3_000) == [f"no new risk: {looks.clock.doubt}"]
    assert looks.clock.doubt.startswith("messages came 3000 ms after their time")
    assert looks.see(3_000, 3_000) == []
    assert looks.see(20, 20, 20) == ["the clock is within its limits"]


def test_clock_far_behind_is_told_at_the_first_look() -> None:
    looks = Looks(max_clock_behind_ms=1_000)
    (told,) = looks.see(-1_272)
    assert told == "no new risk: our clock is 1272 ms behind the venue's (limit 1000 ms)"
    assert looks.see(-1_272) == []
