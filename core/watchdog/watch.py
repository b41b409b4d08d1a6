"""What the watchdog decides: one look at a time, each with the next step if the last one failed.

Watching, then asked or unanswered, signaled, closed, terminated, killed: every stage has a
deadline, and the end of all of them is an engine that cannot send an order. It reads no clock and
does nothing itself; ``core.watchdog.__main__`` gives it time, ``Hands`` do what it says.
"""

from __future__ import annotations

import signal
from enum import StrEnum
from typing import Protocol

import msgspec

from core.clock import NS_PER_MS, NS_PER_S
from core.watchdog.beat import EngineBeat, Phase

POLL_MS = 50
"""Between two looks."""
FILE_GRACE_NS = 500 * NS_PER_MS
"""The engine looks for the latch file itself; this is how long the watchdog leaves it to that."""
STEADY_NS = NS_PER_S
"""After the watchdog was held up itself, an engine has so long to be heard again."""
HELD_UP_NS = 10 * POLL_MS * NS_PER_MS
START_NS = 180 * NS_PER_S
"""Silence of an engine that starts: its kernels may be compiling, and nothing has been traded."""
END_NS = 10 * NS_PER_S
"""An engine that ends in order may take so long: it closes its ledger."""


class Limits(msgspec.Struct, frozen=True):
    """How patient the watchdog is; ``[watchdog]``."""

    stall_ns: int
    """Silence of a trading engine that counts as a blocked loop."""
    signal_ns: int
    """For each of: the gate to close after an answer, after SIGUSR1, and the end after SIGTERM."""
    end_after_ns: int
    """A blocked engine whose gate is closed may come back for so long before it is ended."""
    halts_when_gone: bool
    """Whether an engine that dies is a kill; else its orders are canceled and no more."""


_WATCHED = frozenset({Phase.STARTING, Phase.TRADING})


class Hands(Protocol):
    """What the watchdog does in the world."""

    def beat(self) -> EngineBeat | None:
        """Return what the engine says, None if that cannot be read."""

    def is_gone(self) -> bool: ...

    def is_latched(self) -> bool: ...

    def latch(self, why: str) -> str: ...

    def ask(self, why: str) -> tuple[bool, str]: ...

    def send(self, number: signal.Signals) -> bool: ...

    def cancel_all(self) -> str: ...

    def say(self, text: str) -> None:
        """Tell people."""

    def report(self, text: str) -> None:
        """Tell people, and the ledger by way of the next start."""


class Stage(StrEnum):
    WATCHING = "watching"
    ASKED = "asked"
    UNANSWERED = "unanswered"
    SIGNALED = "signaled"
    CLOSED = "closed"
    TERMINATED = "terminated"
    KILLED = "killed"


class Watchdog:
    """See the module docstring."""

    def __init__(self, hands: Hands, limits: Limits) -> None:
        self.stage = Stage.WATCHING
        self.is_asked = False
        """A trader asks for a kill, by a signal to the watchdog."""
        self._hands = hands
        self._limits = limits
        self._beat: EngineBeat | None = None
        """The last one that could be read."""
        self._looked_ns: int | None = None
        self._steady_ns = 0
        self._latched_ns: int | None = None
        self._acted_ns = 0
        self._due_ns = 0

    def look(self, now_ns: int) -> bool:
        """Look once and do what is due; return whether there is still something to watch."""
        if self._looked_ns is None or now_ns - self._looked_ns > HELD_UP_NS:
            self._steady_ns = now_ns
        self._looked_ns = now_ns
        self._beat = self._hands.beat() or self._beat
        if self._hands.is_gone():
            self._take_leave()
            return False
        if self.stage is Stage.WATCHING:
            why = self._why(now_ns)
            if why:
                self._act(why, now_ns)
        else:
            self._go_on(now_ns)
        return True

    # --- triggers -------------------------------------------------------------------------------

    def _why(self, now_ns: int) -> str:
        """Return why the engine must be stopped now, or nothing."""
        if self.is_asked:
            self.is_asked = False
            return "signal SIGUSR1 to the watchdog"
        beat = self._beat
        if beat is None or beat.phase not in _WATCHED:
            return ""
        if beat.is_closed or not self._hands.is_latched():
            self._latched_ns = None
        elif self._latched_ns is None:
            self._latched_ns = now_ns
        elif now_ns - self._latched_ns >= FILE_GRACE_NS:
            return "the file KILL is there and the engine's gate is open"
        silent_ns = now_ns - max(beat.beat_ns, self._acted_ns)
        is_steady = now_ns - self._steady_ns >= STEADY_NS
        is_starting = beat.phase is Phase.STARTING
        if is_steady and silent_ns > (START_NS if is_starting else self._limits.stall_ns):
            return f"the engine's loop has not turned for {silent_ns / NS_PER_S:.1f} s"
        return ""

    def _act(self, why: str, now_ns: int) -> None:
        self._latched_ns = None
        self._acted_ns = now_ns
        self._hands.report(f"triggered: {why}")
        self._hands.report(self._hands.latch(f"watchdog: {why}"))
        if self._beat is None or self._beat.phase not in _WATCHED:
            self._hands.report("the engine does not trade any more: the latch is enough")
            return
        is_done, words = self._hands.ask(f"watchdog: {why}")
        self._hands.report(f"asked the engine to kill: {words}")
        # Asking took time of its own: without an answer the next look signals, with its own time.
        self.stage = Stage.ASKED if is_done else Stage.UNANSWERED
        self._due_ns = now_ns + self._limits.signal_ns

    # --- stages ---------------------------------------------------------------------------------

    def _signal(self, now_ns: int) -> None:
        self._hands.send(signal.SIGUSR1)
        self._hands.report("sent SIGUSR1, which closes the gate even while the loop is blocked")
        self.stage = Stage.SIGNALED
        self._due_ns = now_ns + self._limits.signal_ns

    def _go_on(self, now_ns: int) -> None:
        """Take the next step, where the last one worked or its time is over."""
        beat, is_over = self._beat, now_ns >= self._due_ns
        is_closed = beat is not None and beat.is_closed
        match self.stage:
            case Stage.ASKED if is_closed:
                self._rest("the gate is closed, the engine goes on halted")
            case Stage.ASKED if is_over:
                self._signal(now_ns)
            case Stage.UNANSWERED:
                self._signal(now_ns)
            case Stage.SIGNALED if is_closed:
                self._hands.report("the gate is closed; waiting for the loop to come back")
                self.stage = Stage.CLOSED
                self._due_ns = now_ns + self._limits.end_after_ns
            case Stage.CLOSED if beat is not None and beat.beat_ns > self._acted_ns:
                self._rest("the loop is back, the engine goes on halted")
            case Stage.SIGNALED | Stage.CLOSED if is_over:
                self._hands.send(signal.SIGTERM)
                self._hands.report("sent SIGTERM")
                self.stage = Stage.TERMINATED
                self._due_ns = now_ns + self._limits.signal_ns
            case Stage.TERMINATED if is_over and not self._ends(now_ns):
                self._hands.send(signal.SIGKILL)
                self._hands.report("sent SIGKILL")
                self.stage = Stage.KILLED
                self._due_ns = now_ns + END_NS
            case Stage.KILLED if is_over:
                self._hands.report(
                    "the engine is STILL there after SIGKILL: it hangs in the system"
                )
                self._due_ns = now_ns + END_NS

    def _ends(self, now_ns: int) -> bool:
        """Return whether the engine is ending in order and may take its time."""
        is_ending = self._beat is not None and self._beat.phase is not Phase.TRADING
        return is_ending and now_ns < self._due_ns + END_NS

    def _rest(self, text: str) -> None:
        self._hands.report(text)
        self.stage = Stage.WATCHING

    def _take_leave(self) -> None:
        """The engine is gone: say so, and cancel what it may have left at a venue."""
        phase = self._beat.phase if self._beat is not None else None
        if self.stage is Stage.WATCHING and phase is Phase.ENDING:
            self._hands.say("the engine has ended in order")
            return
        if self.stage is not Stage.WATCHING:
            self._hands.report("the engine is gone: it cannot trade")
        else:
            how = "failed" if phase is Phase.FAILED else "killed, crashed or out of memory"
            self._hands.report(f"the engine is gone ({how})")
            if self._limits.halts_when_gone:
                self._hands.report(self._hands.latch("watchdog: the engine died"))
        self._hands.report(f"cancel all: {self._hands.cancel_all()}")
