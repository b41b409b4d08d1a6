"""The engine's side of the watchdog: beat, start it, notice when it is gone, obey the kill file.

A watchdog that ends is started again, ``STARTS_MAX`` times; then, or while none has said a word,
the run is unguarded, which is shown and, with ``[watchdog] required``, refuses new risk.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

from core.clock import NS_PER_MS, NS_PER_S
from core.config import WatchdogSettings
from core.errors import UserError
from core.latch import KillLatch
from core.watchdog.beat import BeatFile, EngineBeat, Phase
from core.watchdog.handle import start_ticks

BEAT_NS = 100 * NS_PER_MS
STARTS_MAX = 4
"""Of the watchdog in one run, the first one included."""
SILENT_NS = 2 * NS_PER_S
"""A watchdog that says nothing for so long is gone, or held up as badly as we were."""
END_S = 1.0


def watchdog_words(state_dir: Path, settings: WatchdogSettings) -> list[str]:
    """Return the command line of a watchdog."""
    words = [
        sys.executable, "-m", "core.watchdog", "--state", str(state_dir),
        "--stall-ms", str(settings.stall_ms), "--answer-ms", str(settings.answer_ms),
        "--signal-ms", str(settings.signal_ms), "--end-after-s", str(settings.end_after_s),
    ]  # fmt: skip
    return [*words, "--halt-when-gone"] if settings.when_engine_dies == "halt" else words


class Guard:
    """See the module docstring. Times are CLOCK_MONOTONIC: they decide nothing of a trade."""

    def __init__(self, state_dir: Path, settings: WatchdogSettings) -> None:
        """Make the heartbeat file. Errors: ``UserError`` when it cannot be written."""
        self.settings = settings
        self.phase = Phase.STARTING
        self.is_closed = False
        self._state_dir = state_dir
        self._latch = KillLatch(state_dir)
        self._starts = 0
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._beat_ns = 0
        self._started_ns = 0
        try:
            self._ticks = start_ticks(os.getpid())
        except OSError:
            self._ticks = 0  # no /proc: no watchdog can hold on to us either
        try:
            self._beats = BeatFile.create(state_dir)
        except OSError as error:
            raise UserError(
                f"{state_dir}: no heartbeat can be written ({error.strerror})"
            ) from error

    def start(self) -> None:
        """Say the first word and start the watchdog, where one is wanted."""
        self.turn(time.monotonic_ns(), is_closed=self.is_closed, is_trading=False)
        if self.settings.enabled:
            self._start_watchdog()

    def turn(self, now_ns: int, *, is_closed: bool, is_trading: bool) -> bool:
        """The loop turns: beat, when it is time or there is news; return whether it did."""
        has_begun = is_trading and self.phase is Phase.STARTING
        if has_begun:
            self.phase = Phase.TRADING
        if now_ns - self._beat_ns < BEAT_NS and is_closed == self.is_closed and not has_begun:
            return False
        self._beat_ns = now_ns
        self.is_closed = is_closed
        self._say()
        return True

    def tell_closed(self) -> None:
        """Say that the gate is closed, without a beat: the loop may be blocked."""
        self.is_closed = True
        self._say()

    def is_latched(self) -> bool:
        """Return whether somebody wrote the kill file."""
        return self._latch.is_set()

    @property
    def is_awaited(self) -> bool:
        """True while the first watchdog of the run may still be on its way to its first word."""
        is_new = time.monotonic_ns() - self._started_ns < SILENT_NS
        is_there = self._watchdog is not None and self._watchdog.poll() is None
        return is_there and is_new and self._starts == 1

    def trouble(self) -> str:
        """Return why nobody guards the run; empty while a watchdog does. Starts it again."""
        with contextlib.suppress(OSError):
            beat = self._beats.watchdog()
            # One started by hand counts as well as ours.
            if beat is not None and time.monotonic_ns() - beat.beat_ns < SILENT_NS:
                return ""
        return f"no watchdog: {self._why_none()}"

    def _why_none(self) -> str:
        if not self.settings.enabled:
            return "[watchdog] enabled is false"
        if self._watchdog is not None and self._watchdog.poll() is None:
            is_new = time.monotonic_ns() - self._started_ns < SILENT_NS
            return "no word from it yet" if is_new else "it does not answer"
        if self._starts < STARTS_MAX:
            self._start_watchdog()
            return "it has ended and is started again"
        return f"it has ended {self._starts} times; `tapewright watchdog` starts one"

    def end(self, *, in_order: bool) -> None:
        """The engine trades no more; the watchdog leaves when the process does."""
        self.phase = Phase.ENDING if in_order else Phase.FAILED
        self._say()

    def close(self) -> None:
        """Let the watchdog go, with the last of the run written."""
        if self._watchdog is not None and self.phase is Phase.ENDING:
            self._watchdog.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._watchdog.wait(END_S)
        self._beats.close()

    def _say(self) -> None:
        beat = EngineBeat(os.getpid(), self._ticks, self.phase, self._beat_ns, self.is_closed)
        # A heartbeat that cannot be written is silence, and the watchdog acts on that.
        with contextlib.suppress(OSError):
            self._beats.write_engine(beat)

    def _start_watchdog(self) -> None:
        self._starts += 1
        self._started_ns = time.monotonic_ns()
        try:
            self._watchdog = subprocess.Popen(  # noqa: S603 (our own program, no shell)
                watchdog_words(self._state_dir, self.settings),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                # Its own session: what ends the engine's terminal does not end its guard.
                start_new_session=True,
            )
        except OSError:
            self._watchdog = None
