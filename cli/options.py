"""What the long-running commands were asked to do: one Struct a command, ``None`` = not given.

The words allowed are enumerations here because the command line shows them in its help; a test
holds them equal to the settings.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import msgspec

from core.model.decision import Mode


class Venue(StrEnum):
    SIM = "sim"
    COINBASE = "coinbase"
    COINBASE_EXCHANGE = "coinbase-exchange"
    BINANCE = "binance"
    ALPACA = "alpaca"


class Speed(StrEnum):
    """How fast a replay runs, as a multiple of real time."""

    REAL = "1"
    TENFOLD = "10"
    MAX = "max"


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    venues: tuple[Venue, ...] | None = None
    symbols: tuple[str, ...] | None = None
    """The venue's own spelling, as typed; of several venues with the venue before a colon."""
    mode: Mode | None = None
    headless: bool = False
    duration_s: float | None = None
    seed: int | None = None
    record: bool | None = None
    state: Path | None = None
    config: Path | None = None
    endpoint: str | None = None
    """WebSocket URL in place of the venue's own, for a test bed."""


class ReplayOptions(msgspec.Struct, frozen=True, kw_only=True):
    capture: Path
    speed: Speed | None = None
    """None: real time with a screen, as fast as it goes without."""
    headless: bool = False
    mode: Mode | None = None
    summary: str | None = None
    """File name, or ``-`` for standard output."""
    seed: int | None = None
    state: Path | None = None
    config: Path | None = None


class BacktestOptions(msgspec.Struct, frozen=True, kw_only=True):
    captures: tuple[Path, ...]
    json: str | None = None
    """File name, or ``-`` for standard output."""
    html: str | None = None
    mode: Mode | None = None
    seed: int | None = None
    jobs: int | None = None
    """Files at a time; None: one a core."""
    state: Path | None = None
    """Folder that keeps one state directory a capture; None keeps nothing."""
    config: Path | None = None


class RecordOptions(msgspec.Struct, frozen=True, kw_only=True):
    venue: Venue
    symbols: tuple[str, ...]
    out: Path
    duration_s: float | None = None
    config: Path | None = None
    endpoint: str | None = None


class StubOptions(msgspec.Struct, frozen=True, kw_only=True):
    venue: Venue | None = None
    """None: the capture's."""
    symbols: tuple[str, ...] = ()
    capture: Path | None = None
    speed: str = "1"
    """A multiple of real time, or ``max``."""
    loop: bool = False
    faults: tuple[str, ...] = ()
    seed: int = 0
    port: int = 0
    duration_s: float | None = None


class AttachOptions(msgspec.Struct, frozen=True, kw_only=True):
    state: Path | None = None
    config: Path | None = None
