"""``python -m core.watchdog``: watch one engine until it is gone.

Started by the engine; ``tapewright watchdog`` starts one by hand. Ends with 3 when there is
nothing to watch, or another one watches already.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import sys
import time
from pathlib import Path

from core.clock import NS_PER_MS, NS_PER_S, SystemClock
from core.watchdog import acts
from core.watchdog.acts import EmergencyBroker, PaperEmergency, Voice
from core.watchdog.beat import BeatFile, EngineBeat, Phase, WatchdogBeat
from core.watchdog.handle import ProcessHandle
from core.watchdog.watch import POLL_MS, Limits, Watchdog

DONE = 0
TRY_AGAIN = 3
CANCEL_S = 10.0


class RealHands:
    """The watchdog's hands on this machine; see ``core.watchdog.watch.Hands``."""

    def __init__(
        self,
        state_dir: Path,
        beats: BeatFile,
        engine: ProcessHandle,
        broker: EmergencyBroker,
        answer_s: float,
    ) -> None:
        self._state_dir = state_dir
        self._beats = beats
        self._engine = engine
        self._broker = broker
        self._answer_s = answer_s
        self._clock = SystemClock()
        self._voice = Voice(state_dir, self._clock)

    def beat(self) -> EngineBeat | None:
        try:
            return self._beats.engine()
        except OSError:
            return None

    def is_gone(self) -> bool:
        return self._engine.wait(0)

    def is_latched(self) -> bool:
        try:
            (self._state_dir / acts.LATCH_NAME).lstat()
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return True

    def latch(self, why: str) -> str:
        return acts.latch(self._state_dir, why, self._clock.now_ns())

    def ask(self, why: str) -> tuple[bool, str]:
        return acts.ask_to_kill(self._state_dir, why, self._answer_s)

    def send(self, number: signal.Signals) -> bool:
        return self._engine.send(number)

    def cancel_all(self) -> str:
        try:
            return self._broker.cancel_all(CANCEL_S)
        except OSError as error:
            return f"FAILED ({error.strerror or error}): orders may still stand at the venue"

    def say(self, text: str) -> None:
        self._voice.say(text)

    def report(self, text: str) -> None:
        self._voice.report(text)


def watch(state_dir: Path, limits: Limits, answer_s: float) -> int:
    """Watch the engine of ``state_dir`` until it is gone; return the exit code."""
    try:
        beats = BeatFile.open(state_dir)
        engine = beats.engine()
        if engine is None:
            return _refuse(f"the heartbeat in {state_dir} cannot be read")
        handle = ProcessHandle(engine.pid, engine.start_ticks)
    except OSError as error:
        return _refuse(f"no engine to watch in {state_dir} ({error.strerror or error})")
    try:
        # On the file of this run: the watchdog of the run before does not stand in the way.
        fcntl.flock(beats.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return _refuse(f"another watchdog watches the engine of {state_dir} already")
    hands = RealHands(state_dir, beats, handle, PaperEmergency(), answer_s)
    watchdog = Watchdog(hands, limits)
    _obey_signals(watchdog, hands)
    hands.say(f"watchdog pid {os.getpid()} watches engine pid {engine.pid}")
    while watchdog.look(time.monotonic_ns()):
        try:
            beats.write_watchdog(WatchdogBeat(os.getpid(), time.monotonic_ns()))
        except OSError as error:
            hands.say(f"the heartbeat cannot be written ({error.strerror})")
        handle.wait(POLL_MS)
    return DONE


def _obey_signals(watchdog: Watchdog, hands: RealHands) -> None:
    def asked(*_: object) -> None:
        watchdog.is_asked = True

    def leave(*_: object) -> None:
        beat = hands.beat()
        is_over = beat is not None and beat.phase is Phase.ENDING
        hands.say(
            "the engine has ended in order" if is_over else "asked to end: nobody watches now"
        )
        sys.exit(DONE)

    signal.signal(signal.SIGUSR1, asked)
    signal.signal(signal.SIGTERM, leave)
    # A closed terminal or a Ctrl-C meant for another must not take the guard away.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _refuse(why: str) -> int:
    sys.stderr.write(f"tapewright: {why}\n")
    return TRY_AGAIN


def main(words: list[str]) -> int:
    """Read the command line and watch."""
    parser = argparse.ArgumentParser(prog="python -m core.watchdog", description=__doc__)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--stall-ms", type=int, required=True)
    parser.add_argument("--answer-ms", type=int, required=True)
    parser.add_argument("--signal-ms", type=int, required=True)
    parser.add_argument("--end-after-s", type=float, required=True)
    parser.add_argument("--halt-when-gone", action="store_true")
    given = parser.parse_args(words)
    limits = Limits(
        stall_ns=given.stall_ms * NS_PER_MS,
        signal_ns=given.signal_ms * NS_PER_MS,
        end_after_ns=int(given.end_after_s * NS_PER_S),
        halts_when_gone=given.halt_when_gone,
    )
    return watch(given.state, limits, given.answer_ms / 1000)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
