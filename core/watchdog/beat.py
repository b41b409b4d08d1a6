"""The heartbeat: one small file in which engine and watchdog tell each other that they live.

Two halves of 64 bytes, each with one writer, written by ``pwrite`` into blocks that exist already:
a full disk does not stop a heart. Times are CLOCK_MONOTONIC, which all processes share and which
stands still while the machine sleeps. A run makes a new file, so that the watchdog of the run
before cannot speak into it.
"""

from __future__ import annotations

import os
import struct
from enum import IntEnum
from pathlib import Path

import msgspec

BEAT_NAME = "heartbeat"
_MAGIC = b"twbeat/1"
_ENGINE = struct.Struct("<8s7q")
_WATCHDOG = struct.Struct("<8s4q")
_HALF = 64
_TRIES = 3


class Phase(IntEnum):
    """How far an engine is, as far as a watchdog cares."""

    STARTING = 0
    """Nothing was traded yet; kernels may be compiling, so only a long silence means something."""
    TRADING = 1
    ENDING = 2
    """Stopped in order: no order leaves any more."""
    FAILED = 3
    """Something broke: no order leaves any more, and its end was not in order."""


class EngineBeat(msgspec.Struct, frozen=True):
    """What the engine says of itself."""

    pid: int
    start_ticks: int
    """When the process began, in clock ticks since boot; with the pid it names one process."""
    phase: Phase
    beat_ns: int
    is_closed: bool
    """The gate is closed for everything."""


class WatchdogBeat(msgspec.Struct, frozen=True):
    """What the watchdog says of itself."""

    pid: int
    beat_ns: int


class BeatFile:
    """An open heartbeat file, for either side."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._count = 0

    @classmethod
    def create(cls, state_dir: Path) -> BeatFile:
        """Make a new file in place of an old one. Errors: ``OSError``."""
        path = state_dir / BEAT_NAME
        path.unlink(missing_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(fd, 0, 2 * _HALF)
            os.pwrite(fd, bytes(2 * _HALF), 0)
        except OSError:
            os.close(fd)
            raise
        return cls(fd)

    @classmethod
    def open(cls, state_dir: Path) -> BeatFile:
        """Open the file of the newest engine. Errors: ``OSError`` when there is none."""
        return cls(os.open(state_dir / BEAT_NAME, os.O_RDWR))

    def close(self) -> None:
        """Let go of the file."""
        os.close(self.fd)

    def write_engine(self, beat: EngineBeat) -> None:
        """Say how the engine is. Errors: ``OSError``."""
        self._count += 1
        fields = (beat.pid, beat.start_ticks, beat.phase, beat.beat_ns, beat.is_closed)
        os.pwrite(self.fd, _ENGINE.pack(_MAGIC, self._count, *fields, self._count), 0)

    def write_watchdog(self, beat: WatchdogBeat) -> None:
        """Say that the watchdog lives. Errors: ``OSError``."""
        self._count += 1
        row = _WATCHDOG.pack(_MAGIC, self._count, beat.pid, beat.beat_ns, self._count)
        os.pwrite(self.fd, row, _HALF)

    def engine(self) -> EngineBeat | None:
        """Return what the engine says; None if nothing that can be read. Errors: ``OSError``."""
        fields = self._read(_ENGINE, 0)
        if fields is None:
            return None
        pid, start_ticks, phase, beat_ns, is_closed = fields
        if phase not in set(Phase):
            return None
        return EngineBeat(pid, start_ticks, Phase(phase), beat_ns, bool(is_closed))

    def watchdog(self) -> WatchdogBeat | None:
        """Return what the watchdog says; None before its first word. Errors: ``OSError``."""
        fields = self._read(_WATCHDOG, _HALF)
        return None if fields is None else WatchdogBeat(*fields)

    def _read(self, row: struct.Struct, place: int) -> tuple[int, ...] | None:
        """Return the fields between the two counts, which differ while a half is written."""
        for _ in range(_TRIES):
            data = os.pread(self.fd, row.size, place)
            if len(data) < row.size:
                return None
            magic, first, *fields, last = row.unpack(data)
            if magic == _MAGIC and first == last:
                return tuple(fields)
        return None
