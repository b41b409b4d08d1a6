"""What the kernel says of the system clock: synchronized or not, and how wrong it may be.

``adjtimex`` asks and changes nothing; it costs about 1 us and needs no rights, no net and no
library. It cannot prove UTC: it repeats what the time daemon told the kernel. Read outside the
engine's decisions and journaled in live runs alone, so that replays stay equal.
Source: adjtimex(2) and include/uapi/linux/timex.h.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable

import msgspec

from core.clock import NS_PER_MS, NS_PER_S
from core.model.event import ClockRead

LOOK_NS = 10 * NS_PER_S
TELL_NS = 3_600 * NS_PER_S
"""A reading is journaled this often even if nothing changed."""
STEP_NS = 50 * NS_PER_MS
"""A jump of wall time against the monotonic clock that is journaled."""
GREEN_US, AMBER_US = 1_000, 50_000
"""Bounds of the tiers: RTS 25 asks 1 ms of algorithmic trading, CAT 50 ms of automated orders."""
_TIME_ERROR = 5
_STA_UNSYNC, _STA_NANO = 0x0040, 0x2000


class _Timex(ctypes.Structure):
    # The stub says Sequence and gives the list a narrower type.
    _fields_ = [  # type: ignore[mutable-override]
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time", ctypes.c_long * 2),
        ("tick", ctypes.c_long),
        ("ppsfreq", ctypes.c_long),
        ("jitter", ctypes.c_long),
        ("shift", ctypes.c_int),
        ("stabil", ctypes.c_long),
        ("counts", ctypes.c_long * 4),
        ("tai", ctypes.c_int),
        ("reserved", ctypes.c_int * 11),
    ]


class Quality(msgspec.Struct, frozen=True):
    """One reading; the fields are those of ``ClockRead``."""

    source: str
    is_synchronized: bool | None = None
    max_error_us: int | None = None
    estimated_error_us: int | None = None
    offset_ns: int | None = None
    status: int | None = None

    @property
    def tier(self) -> str:
        """``green``, ``amber``, ``red``, or ``unknown`` where nothing could be read."""
        if self.is_synchronized is None or self.max_error_us is None:
            return "unknown"
        if not self.is_synchronized or self.max_error_us > AMBER_US:
            return "red"
        return "green" if self.max_error_us <= GREEN_US else "amber"


def read_quality() -> Quality:
    """Ask the kernel; what cannot be asked is not known, with the reason as the source."""
    if not sys.platform.startswith("linux"):
        return Quality(f"unknown: no adjtimex on {sys.platform}")
    try:
        adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError) as error:
        return Quality(f"unknown: {error}")
    timex = _Timex()  # modes 0: read only
    state = adjtimex(ctypes.byref(timex))
    if state < 0:
        return Quality(f"unknown: adjtimex: {os.strerror(ctypes.get_errno())}")
    return quality_of(state, timex.status, timex.offset, timex.maxerror, timex.esterror)


def quality_of(state: int, status: int, offset: int, maxerror: int, esterror: int) -> Quality:
    """Return what the answer of ``adjtimex`` means; the errors come in microseconds."""
    return Quality(
        source="adjtimex",
        is_synchronized=state != _TIME_ERROR and not status & _STA_UNSYNC,
        max_error_us=maxerror,
        estimated_error_us=esterror,
        offset_ns=offset if status & _STA_NANO else offset * 1000,
        status=status,
    )


def _wall_minus_monotonic_ns() -> int:
    return time.time_ns() - time.monotonic_ns()


class ClockWatch:
    """Says when a reading is worth an event: at start, hourly, on a change, after a step."""

    def __init__(
        self,
        read: Callable[[], Quality] = read_quality,
        difference_ns: Callable[[], int] = _wall_minus_monotonic_ns,
    ) -> None:
        self._read, self._difference_ns = read, difference_ns
        self._next_look_ns = self._next_tell_ns = 0
        self._last: Quality | None = None
        self._last_difference_ns = 0

    def look(self, now_ns: int) -> ClockRead | None:
        """Return an event for the ledger, or None while nothing is due."""
        if now_ns < self._next_look_ns:
            return None
        self._next_look_ns = now_ns + LOOK_NS
        quality, difference_ns = self._read(), self._difference_ns()
        step_ns = difference_ns - self._last_difference_ns if self._last is not None else 0
        is_same = self._last is not None and (
            quality.tier == self._last.tier
            and quality.is_synchronized == self._last.is_synchronized
            and abs(step_ns) <= STEP_NS
        )
        self._last, self._last_difference_ns = quality, difference_ns
        if is_same and now_ns < self._next_tell_ns:
            return None
        self._next_tell_ns = now_ns + TELL_NS
        return ClockRead(
            source=quality.source,
            is_synchronized=quality.is_synchronized,
            tier=quality.tier,
            max_error_us=quality.max_error_us,
            estimated_error_us=quality.estimated_error_us,
            offset_ns=quality.offset_ns,
            status=quality.status,
            step_ns=step_ns,
        )
