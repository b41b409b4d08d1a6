"""Whole frames to be damaged, and the true book after each: of a recording, else of a model.

Books are kept small on purpose: a snapshot frame of 5 MB read again at every start was where the
time of a hunt went, and it holds no kind of message that a small one does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from heapq import nlargest, nsmallest
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np

from core.config import Settings
from core.feeds.capture import CaptureReader
from core.feeds.protocol import FeedProtocol
from core.feeds.registry import protocol_for
from core.model.instrument import Instrument
from core.model.market import FeedOutput, SendText
from core.stub.venue import Request, Sent, Session
from tests.core.feeds.wire import MS, T0
from tests.faults.plain import Given, Row, Told, number_of, pack, read, snapshot
from tests.faults.venues import venue_for

CAPTURES = Path(__file__).resolve().parents[2] / ".." / "shared" / "captures"
_FILES = {
    "binance": "binance_btcusdt_2024-08-08.jsonl.gz",
    "coinbase": "coinbase_2026-08-09_first600.jsonl.gz",
    "coinbase-exchange": "coinbase-exchange_2021-04-17.jsonl.gz",
    "alpaca": "alpaca_ibm_2013-10-07.jsonl.gz",
}
_MAX_FRAMES = 3_000
_LEVELS = 20
"""Levels a side in snapshots: more is more time and nothing else."""
_LARGE_BYTES = 50_000
PACKED = "-msgpack"


class Frame(msgspec.Struct):
    """One whole frame and what the plain reading finds in it, by instrument."""

    data: bytes
    told: dict[int, Told]
    number: int | None


class Material(msgspec.Struct):
    """One venue's whole frames in order, with the books before the first of them."""

    venue: str
    instruments: list[Instrument]
    frames: list[Frame]
    openings: list[tuple[int, Told]] = []
    """Snapshots that came by other ways than a frame, and the number they are true after."""
    is_packed: bool = False
    """Frames are msgpack."""


class Truth:
    """The books a venue would hold after each frame; moved along with the frames."""

    def __init__(self, given: Material) -> None:
        self._given = given
        self._sides: list[tuple[dict[int, int], dict[int, int]]] = []
        self._numbers: list[int] = []
        self._served: list[Given | None] = []
        """The newest snapshot of each instrument, until its book moves."""
        self.restart()

    def restart(self) -> None:
        self._sides = [({}, {}) for _ in self._given.instruments]
        self._numbers = [0] * len(self._sides)
        self._served = [None] * len(self._sides)
        for index, (number, told) in enumerate(self._given.openings):
            self._take(index, told)
            self._numbers[index] = number

    def follow(self, frame: Frame) -> None:
        for index, told in frame.told.items():
            self._take(index, told)
            if frame.number is not None:
                self._numbers[index] = frame.number

    def snapshot(self, index: int) -> Given | None:
        """Return what the venue would serve now for one instrument."""
        if self._served[index] is not None:
            return self._served[index]
        bids, asks = self._sides[index]
        near = nlargest(_LEVELS, bids), nsmallest(_LEVELS, asks)
        levels = [(0, t, bids[t]) for t in near[0]] + [(1, t, asks[t]) for t in near[1]]
        one = self._given.instruments[index]
        made = snapshot(self._given.venue, one, levels, self._numbers[index])
        if made is not None and self._given.is_packed:
            made.data = pack(made.data)
        self._served[index] = made
        return made

    def _take(self, index: int, told: Told) -> None:
        rows, is_fresh = told
        sides = self._sides[index]
        self._served[index] = None
        if is_fresh:
            sides[0].clear()
            sides[1].clear()
        for side, ticks, lots in rows:
            if lots:
                sides[side][ticks] = lots
            else:
                sides[side].pop(ticks, None)


def material(name: str, seed: int, captures: Path = CAPTURES) -> Material:
    """Return the frames of a trial: of a recording for even seeds where there is one, else a model.

    ``name`` is one of ``tests.faults.venues.VENUES``, with ``PACKED`` behind it for msgpack.
    """
    venue, is_packed = name.removesuffix(PACKED), name.endswith(PACKED)
    path = captures / _FILES.get(venue, "none")
    given = _recorded(venue, path) if path.exists() and seed % 2 == 0 else modelled(venue, seed)
    if not is_packed:
        return given
    frames = [Frame(pack(each.data), each.told, each.number) for each in given.frames]
    return Material(given.venue, given.instruments, frames, given.openings, is_packed=True)


@cache
def _recorded(venue: str, path: Path) -> Material:
    reader = CaptureReader(path)
    instruments = list(reader.meta.instruments)
    data = []
    openings: list[tuple[int, Told]] = []
    for record in islice(reader, _MAX_FRAMES):
        if record.kind == "recv":
            data.append(record.data)
        elif record.kind == "http" and not openings:
            body = msgspec.json.decode(record.data)
            event = {"s": instruments[0].name, "U": 0, "b": body["bids"], "a": body["asks"]}
            told = read(venue, instruments[0], msgspec.json.encode(event))
            assert told is not None
            openings = [(body["lastUpdateId"], _near(told))]
    return Material(venue, instruments, list(_frames(venue, instruments, data)), openings)


def modelled(name: str, seed: int) -> Material:
    """Return the frames that a model sends in ten calm seconds."""
    model = venue_for(name, np.random.default_rng(seed), T0)
    venue = model.venue
    instruments = [each.instrument for each in model.books]
    protocol = protocol_for(venue, instruments, Settings())
    session = model.connect(T0, Request(protocol.url().partition("//")[2].partition("/")[2]))
    sent: list[Sent] = []
    _talk(session, protocol, session.greeting(), protocol.on_open(T0), sent)
    openings: list[tuple[int, Told]] = []
    if venue == "binance":
        for book in model.books:
            rows = [(side, t, q) for side in (0, 1) for t, q in book.sides[side].items()]
            openings.append((book.version, (rows, True)))
    for step in range(1, 10_000 // model.flush_ms):
        model.advance(T0 + step * model.flush_ms * MS)
        sent += session.flush()
        sent += session.beat() if step % 20 == 0 else []
    data = [each.data for each in sent]
    return Material(venue, instruments, list(_frames(venue, instruments, data)), openings)


def _talk(
    session: Session,
    protocol: FeedProtocol,
    frames: list[Sent],
    outputs: list[FeedOutput],
    sent: list[Sent],
) -> None:
    """Let the two shake hands until neither has anything more to say."""
    while frames or outputs:
        sent += frames
        for frame in frames:
            outputs = outputs + protocol.receive(frame.data, T0)
        frames = [
            each
            for output in outputs
            if isinstance(output, SendText)
            for each in session.asked(output.text.encode())
        ]
        outputs = []


def _frames(venue: str, instruments: list[Instrument], data: list[bytes]) -> Iterator[Frame]:
    for each in data:
        told = {i: one for i, who in enumerate(instruments) if (one := read(venue, who, each))}
        small = each
        if len(each) > _LARGE_BYTES and told:
            # Told again with the levels near the best only.
            ((index, whole),) = told.items()
            told = {index: _near(whole)}
            made = snapshot(venue, instruments[index], told[index][0], 0)
            assert made is not None
            small = made.data
        yield Frame(small, told, number_of(venue, each))


def _near(told: Told) -> Told:
    """Return a snapshot with the best levels of each side."""
    rows, is_fresh = told
    bids = sorted((row for row in rows if row[0] == 0), reverse=True)[:_LEVELS]
    asks: list[Row] = sorted(row for row in rows if row[0] == 1)[:_LEVELS]
    return [*bids, *asks], is_fresh
