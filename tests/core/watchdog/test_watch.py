"""The watchdog's decisions, look by look, on hands that only remember."""

from __future__ import annotations

import signal

import msgspec
import pytest

from core.clock import NS_PER_MS, NS_PER_S
from core.watchdog.beat import EngineBeat, Phase
from core.watchdog.watch import POLL_MS, Limits, Stage, Watchdog

LIMITS = Limits(
    stall_ns=2 * NS_PER_S,
    signal_ns=500 * NS_PER_MS,
    end_after_ns=10 * NS_PER_S,
    halts_when_gone=False,
)
START_NS = 1_000 * NS_PER_S


class FakeHands:
    """An engine that does what the test says, and the memory of all that was done to it."""

    def __init__(self) -> None:
        self.now = EngineBeat(7, 1, Phase.TRADING, START_NS, is_closed=False)
        self.is_readable = True
        self.has_ended = False
        self.has_latch = False
        self.answers = True
        self.asked: list[str] = []
        self.signals: list[signal.Signals] = []
        self.obeys: set[signal.Signals] = {signal.SIGUSR1, signal.SIGTERM, signal.SIGKILL}
        self.canceled = 0
        self.said: list[str] = []
        self.reported: list[str] = []

    def beat(self) -> EngineBeat | None:
        return self.now if self.is_readable else None

    def is_gone(self) -> bool:
        return self.has_ended

    def is_latched(self) -> bool:
        return self.has_latch

    def latch(self, why: str) -> str:
        self.has_latch = True
        return f"latched: {why}"

    def ask(self, why: str) -> tuple[bool, str]:
        self.asked.append(why)
        if self.answers:
            self.now = msgspec.structs.replace(self.now, is_closed=True)
        return self.answers, "KILLED" if self.answers else "no answer"

    def send(self, number: signal.Signals) -> bool:
        self.signals.append(number)
        if number in self.obeys:
            if number is signal.SIGUSR1:
                self.now = msgspec.structs.replace(self.now, is_closed=True)
            else:
                self.has_ended = True
        return True

    def cancel_all(self) -> str:
        self.canceled += 1
        return "done"

    def say(self, text: str) -> None:
        self.said.append(text)

    def report(self, text: str) -> None:
        self.said.append(text)
        self.reported.append(text)


class Rig:
    def __init__(self, limits: Limits = LIMITS) -> None:
        self.hands = FakeHands()
        self.watchdog = Watchdog(self.hands, limits)
        self.now_ns = START_NS
        self.is_watching = True

    def pass_ms(self, milliseconds: int, *, beats: bool = True) -> None:
        """Look every ``POLL_MS``; with ``beats`` the engine's loop turns."""
        for _ in range(milliseconds // POLL_MS):
            self.now_ns += POLL_MS * NS_PER_MS
            if beats:
                self.hands.now = msgspec.structs.replace(self.hands.now, beat_ns=self.now_ns)
            self.is_watching = self.watchdog.look(self.now_ns)
            if not self.is_watching:
                return

    def set(self, **fields: object) -> None:
        self.hands.now = msgspec.structs.replace(self.hands.now, **fields)


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.pass_ms(2_000)
    return rig


def test_an_engine_that_beats_is_left_alone(rig: Rig) -> None:
    rig.pass_ms(60_000)
    assert rig.hands.said == []
    assert rig.is_watching


def test_a_silent_loop_is_latched_asked_and_rests_when_it_answers(rig: Rig) -> None:
    rig.pass_ms(2_100, beats=False)
    assert rig.hands.has_latch
    (why,) = rig.hands.asked
    assert "has not turned for 2.0 s" in why
    rig.pass_ms(200)
    assert rig.hands.signals == []
    assert rig.watchdog.stage is Stage.WATCHING
    assert rig.hands.reported[-1] == "the gate is closed, the engine goes on halted"


def test_silence_below_the_limit_does_nothing(rig: Rig) -> None:
    rig.pass_ms(1_950, beats=False)
    rig.pass_ms(1_000)
    assert rig.hands.said == []


def test_a_blocked_loop_is_signaled_and_may_come_back_halted(rig: Rig) -> None:
    rig.hands.answers = False
    rig.pass_ms(2_200, beats=False)
    assert rig.hands.signals == [signal.SIGUSR1]
    assert rig.watchdog.stage is Stage.CLOSED
    rig.pass_ms(5_000, beats=False)
    rig.pass_ms(100)
    assert rig.hands.signals == [signal.SIGUSR1]
    assert rig.hands.reported[-1] == "the loop is back, the engine goes on halted"
    rig.pass_ms(10_000)
    assert rig.watchdog.stage is Stage.WATCHING


def test_a_blocked_loop_that_does_not_come_back_is_ended_after_its_time(rig: Rig) -> None:
    rig.hands.answers = False
    rig.hands.obeys.discard(signal.SIGTERM)
    rig.pass_ms(14_000, beats=False)
    assert rig.hands.signals == [signal.SIGUSR1, signal.SIGTERM, signal.SIGKILL]
    assert not rig.is_watching
    assert rig.hands.canceled == 1
    assert "the engine is gone: it cannot trade" in rig.hands.reported


def test_a_stopped_engine_gets_every_signal_and_cannot_trade_four_seconds_after(rig: Rig) -> None:
    rig.hands.answers = False
    rig.hands.obeys = {signal.SIGKILL}
    since_ns = rig.now_ns
    rig.pass_ms(10_000, beats=False)
    assert rig.hands.signals == [signal.SIGUSR1, signal.SIGTERM, signal.SIGKILL]
    assert not rig.is_watching
    assert rig.now_ns - since_ns <= LIMITS.stall_ns + 2 * LIMITS.signal_ns + 5 * POLL_MS * NS_PER_MS


def test_an_engine_that_says_yes_and_leaves_its_gate_open_is_signaled(rig: Rig) -> None:
    rig.watchdog.is_asked = True
    rig.pass_ms(50)
    assert rig.watchdog.stage is Stage.ASKED
    rig.set(is_closed=False)
    rig.pass_ms(600)
    assert rig.hands.signals == [signal.SIGUSR1]


def test_an_engine_that_ends_in_order_after_sigterm_may_take_its_time(rig: Rig) -> None:
    rig.hands.answers = False
    rig.hands.obeys = set()
    rig.pass_ms(2_700, beats=False)
    assert rig.hands.signals[-1] is signal.SIGTERM
    rig.set(phase=Phase.ENDING)
    rig.pass_ms(5_000, beats=False)
    assert rig.hands.signals[-1] is signal.SIGTERM
    rig.pass_ms(6_000, beats=False)
    assert rig.hands.signals[-1] is signal.SIGKILL


def test_an_engine_that_survives_sigkill_is_told_again_and_again(rig: Rig) -> None:
    rig.hands.answers = False
    rig.hands.obeys = set()
    rig.pass_ms(30_000, beats=False)
    assert sum("STILL there" in line for line in rig.hands.reported) == 2


def test_the_kill_file_is_left_to_the_engine_for_a_moment(rig: Rig) -> None:
    rig.hands.has_latch = True
    rig.pass_ms(400)
    rig.set(is_closed=True)
    rig.pass_ms(5_000)
    assert rig.hands.said == []


def test_a_kill_file_that_the_engine_ignores_is_obeyed_for_it(rig: Rig) -> None:
    rig.hands.has_latch = True
    rig.pass_ms(700)
    (why,) = rig.hands.asked
    assert "KILL is there and the engine's gate is open" in why


def test_a_kill_file_taken_away_in_time_is_none(rig: Rig) -> None:
    rig.hands.has_latch = True
    rig.pass_ms(400)
    rig.hands.has_latch = False
    rig.pass_ms(200)
    rig.hands.has_latch = True
    rig.pass_ms(400)
    assert rig.hands.asked == []


def test_sigusr1_to_the_watchdog_kills_at_the_next_look(rig: Rig) -> None:
    rig.watchdog.is_asked = True
    rig.pass_ms(50)
    assert rig.hands.asked == ["watchdog: signal SIGUSR1 to the watchdog"]
    rig.pass_ms(5_000)
    assert len(rig.hands.asked) == 1


def test_before_it_trades_an_engine_may_compile_for_three_minutes_and_no_longer() -> None:
    rig = Rig()
    rig.set(phase=Phase.STARTING)
    rig.pass_ms(170_000, beats=False)
    assert rig.hands.said == []
    rig.pass_ms(11_000, beats=False)
    assert rig.hands.asked


def test_a_kill_of_an_engine_that_starts_is_a_kill() -> None:
    rig = Rig()
    rig.set(phase=Phase.STARTING)
    rig.watchdog.is_asked = True
    rig.pass_ms(50)
    assert rig.hands.has_latch
    assert len(rig.hands.asked) == 1


def test_a_kill_of_an_engine_that_ends_is_a_latch_alone(rig: Rig) -> None:
    rig.set(phase=Phase.ENDING)
    rig.watchdog.is_asked = True
    rig.pass_ms(5_000)
    assert rig.hands.has_latch
    assert rig.hands.asked == []
    assert rig.hands.signals == []


def test_a_watchdog_that_was_held_up_itself_gives_the_engine_a_second(rig: Rig) -> None:
    rig.now_ns += 30 * NS_PER_S  # both slept
    rig.pass_ms(900, beats=False)
    assert rig.hands.said == []
    rig.pass_ms(1_000)
    assert rig.hands.said == []
    rig.now_ns += 30 * NS_PER_S
    rig.pass_ms(1_100, beats=False)
    assert rig.hands.asked


def test_a_heartbeat_that_cannot_be_read_is_silence(rig: Rig) -> None:
    rig.hands.is_readable = False
    rig.pass_ms(2_200)
    assert rig.hands.asked


def test_an_engine_that_ended_in_order_is_not_worth_a_report(rig: Rig) -> None:
    rig.set(phase=Phase.ENDING)
    rig.pass_ms(5_000, beats=False)
    rig.hands.has_ended = True
    rig.pass_ms(50)
    assert rig.hands.reported == []
    assert rig.hands.canceled == 0
    assert not rig.is_watching


@pytest.mark.parametrize(
    ("phase", "how"), [(Phase.TRADING, "killed, crashed"), (Phase.FAILED, "failed")]
)
def test_an_engine_that_dies_has_its_orders_canceled_and_no_latch(phase: Phase, how: str) -> None:
    rig = Rig()
    rig.set(phase=phase)
    rig.pass_ms(100)
    rig.hands.has_ended = True
    rig.pass_ms(50)
    assert how in rig.hands.reported[0]
    assert rig.hands.canceled == 1
    assert not rig.hands.has_latch


def test_where_a_death_is_a_kill_it_is_latched() -> None:
    rig = Rig(msgspec.structs.replace(LIMITS, halts_when_gone=True))
    rig.pass_ms(100)
    rig.hands.has_ended = True
    rig.pass_ms(50)
    assert rig.hands.has_latch
    assert rig.hands.canceled == 1


def test_a_halted_engine_that_blocks_is_given_its_time_and_then_ended(rig: Rig) -> None:
    rig.set(is_closed=True)
    rig.hands.answers = False
    rig.pass_ms(2_200, beats=False)
    assert rig.watchdog.stage is Stage.CLOSED
    rig.pass_ms(11_000, beats=False)
    assert rig.hands.signals[1:] == [signal.SIGTERM]
