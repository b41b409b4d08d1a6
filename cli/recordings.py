"""Opens what a run records of the market: one tape, and the capture of each venue."""

from __future__ import annotations

from pathlib import Path

from core.clock import iso_ns
from core.config import Settings
from core.feeds.capture import CaptureMeta
from core.feeds.recorder import CaptureWriter
from core.model.instrument import Instrument
from core.recordings import Recordings
from core.state import StateDir
from core.tape.writer import TapeWriter


def make_recordings(
    settings: Settings, state: StateDir, instruments: list[Instrument], now_ns: int
) -> Recordings:
    """Open tape and capture of this run; no capture where recording is off.

    Errors: ``TapeError`` or ``CaptureError`` where one cannot be made.
    """
    venues = list(dict.fromkeys(each.venue for each in instruments))
    tape = TapeWriter(state.tapes, instruments, run_id=f"{'+'.join(venues)}-{_stamp(now_ns)}")
    captures: dict[str, CaptureWriter] = {}
    paths: list[Path] = []
    if settings.feed.record:
        for venue in venues:
            of_venue = tuple(each for each in instruments if each.venue == venue)
            captures[venue] = _make_capture(settings, state, of_venue, now_ns, paths)
    return Recordings(state, settings.storage, tape, captures, paths)


def _make_capture(
    settings: Settings, state: StateDir, instruments: tuple[Instrument, ...], now_ns: int,
    made: list[Path],
) -> CaptureWriter:  # fmt: skip
    """Open the capture of one venue (it tells of one connection); its files go to ``made``."""
    venue = instruments[0].venue
    names = tuple(each.name for each in instruments)

    def path(ns: int) -> Path:
        made.append(state.captures / f"{venue}-{_stamp(ns)}.jsonl.gz")
        return made[-1]

    return CaptureWriter(
        path(now_ns),
        CaptureMeta(venue, names, instruments),
        settings.feed.record_max_mib * 1024 * 1024,
        path,
    )


def _stamp(now_ns: int) -> str:
    return iso_ns(now_ns)[:23].replace(":", "").replace(".", "-")
