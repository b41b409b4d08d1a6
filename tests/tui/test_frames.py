from __future__ import annotations

from tui.frames import MAX_DIVISOR, FramePacer, next_divisor


def test_a_dear_frame_halves_the_rate_and_a_cheap_one_restores_it() -> None:
    assert next_divisor(1, 51.0, 100.0) == 2
    assert next_divisor(2, 101.0, 100.0) == 4
    assert next_divisor(2, 20.0, 100.0) == 1
    assert next_divisor(MAX_DIVISOR, 5_000.0, 100.0) == MAX_DIVISOR


def test_between_the_limits_the_rate_holds() -> None:
    assert next_divisor(2, 60.0, 100.0) == 2
    assert next_divisor(2, 26.0, 100.0) == 2
    assert next_divisor(1, 49.0, 100.0) == 1


def test_the_pacer_skips_ticks_while_frames_are_dear_and_says_its_rate() -> None:
    spent_ns = 0

    def stopwatch() -> int:
        return spent_ns

    pacer = FramePacer(10, stopwatch)
    drawn = 0
    for _ in range(40):
        spent_ns += 90_000_000
        drawn += pacer.tick()
    assert drawn < 40
    assert pacer.hz < 10
    for _ in range(200):
        spent_ns += 1_000_000
        pacer.tick()
    assert pacer.hz == 10
    assert pacer.cost_ms < 2
