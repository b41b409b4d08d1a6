"""A venue made of a recording: every client gets the recorded frames from the beginning.

Handshake, subscriptions and numbering are the venue's own session's, over a private book that is
kept by a plain reading of what was sent, so that what a client asks for beside the recording (a
snapshot after a gap) is true as well. A recorded Binance snapshot is served as soon as the
recording reaches it.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
from typing_extensions import override

from core.clock import NS_PER_MS
from core.feeds.capture import CaptureReader, Record
from core.feeds.symbols import coinbase_labels
from core.stub.flow import Step
from core.stub.reading import Told, changes_of, read_books, read_depth
from core.stub.registry import KEPT_VERSIONS, MODELS
from core.stub.truth import TrueBook
from core.stub.venue import BOOK, OTHER, SNAPSHOT, Answer, Request, Sent, Session, VenueModel

MAX_WAITS = 500
"""Steps that a recording waits for its snapshots to be asked for: five seconds."""
MAX_EARLY = 4096
"""Changes kept that came before their book's first snapshot."""
FRAMES_A_STEP = 500
"""Frames sent in one step at full speed."""
_SUBSCRIBING_NS = 200 * NS_PER_MS
"""How long the subscriptions of a client are waited for, from its first one on."""
_HANDSHAKE = re.compile(rb'"(?:T|type|channel)": ?"(?:success|subscriptions?)"')
_SEQUENCE = re.compile(rb'"sequence_num": ?\d+')
_STREAM = re.compile(rb'"stream": ?"([^"]+)"')
_CHANNEL = re.compile(rb'"channel": ?"(\w+)"')
_TYPE = re.compile(rb'"type": ?"(\w+)"')
_PRODUCT = re.compile(rb'"product_id": ?"([^"]+)"')
_TRADE = re.compile(rb'"trade_id": ?(\d+)')
_BEATS = frozenset({"binance", "coinbase-exchange"})
"""Venues whose heartbeats are the stub's own: their clients may want some that nobody recorded."""


class _Still:
    """The flow of a book that only the recording moves."""

    def __init__(self, book: TrueBook) -> None:
        self.book = book

    def advance(self, now_ns: int) -> Step:  # noqa: ARG002 (role)
        return Step()


class CapturedSession(Session):
    """One client's way through the recording."""

    def __init__(self, venue: CapturedModel, request: Request) -> None:
        super().__init__(venue, request)
        self._own = venue.fresh()
        self._own.now_ns = venue.now_ns
        self.inner = self._own.connect(venue.now_ns, request)
        self.books = self._own.books
        self.snapshots: dict[str, bytes] = {}
        """Recorded bodies that were reached, until the book moves on from them."""
        self.unasked: set[str] = set()
        """Symbols whose recorded snapshot was reached and not asked for yet."""
        self._early: list[deque[Told]] = [deque(maxlen=MAX_EARLY) for _ in self.books]
        self._n_waits = 0
        self._labels = coinbase_labels(self.names)
        self._speed = venue.speed
        self._records: Iterator[Record] = iter(venue.reader)
        self._next = next(self._records, None)
        self._first_ns = self._next.ns if self._next else 0
        self._subscribed_ns: int | None = None
        self._start_ns: int | None = None

    @override
    def greeting(self) -> list[Sent]:
        return self.inner.greeting()

    @override
    def asked(self, data: bytes) -> list[Sent]:
        self._own.now_ns = self.venue.now_ns
        return self.inner.asked(data)

    @override
    def flush(self) -> list[Sent]:
        now_ns = self._own.now_ns = self.venue.now_ns
        if not self._has_started(now_ns):
            return []
        out: list[Sent] = []
        count = 0
        if self._awaits_snapshots():
            return out
        while self._next is not None and self._is_due(self._next, now_ns, count):
            count += 1
            is_snapshot = self._next.kind == "http"
            out += self._play(self._next)
            self._next = next(self._records, None)
            if is_snapshot and self._awaits_snapshots():
                break
        self.is_over = self._next is None
        return out

    @override
    def beat(self) -> list[Sent]:
        if self.venue.venue not in _BEATS or self._start_ns is None:
            return []
        return self.inner.beat()

    @override
    def overdue(self) -> str:
        return self.inner.overdue()

    @override
    def version_at(self, number: int, index: int) -> int | None:
        return self.inner.version_at(number, index)

    def _has_started(self, now_ns: int) -> bool:
        """Start a little after the first subscription, so that the others are there too."""
        if self._start_ns is not None:
            return True
        if not self.inner.is_subscribed:
            return False
        if self._subscribed_ns is None:
            self._subscribed_ns = now_ns
        if now_ns - self._subscribed_ns < _SUBSCRIBING_NS and self.venue.venue != "binance":
            return False
        self._start_ns = now_ns
        return True

    def _is_due(self, record: Record, now_ns: int, count: int) -> bool:
        if self._speed is None:
            return count < FRAMES_A_STEP
        assert self._start_ns is not None
        return (record.ns - self._first_ns) <= (now_ns - self._start_ns) * self._speed

    def _awaits_snapshots(self) -> bool:
        """At full speed the recording would be over before a recorded snapshot is asked for."""
        self.is_waiting = self._speed is None and bool(self.unasked) and self._n_waits < MAX_WAITS
        self._n_waits += self.is_waiting
        if not self.is_waiting:
            self.unasked.clear()
        return self.is_waiting

    def _play(self, record: Record) -> list[Sent]:
        if record.kind == "http":
            self._take_depth(record)
        if record.kind != "recv" or _HANDSHAKE.search(record.data[:200]):
            return []
        data = record.data
        told = read_books(self.venue.venue, data)
        for each in told:
            self._take(each)
        index = self._labels.get(told[0].name, -1) if told else -1
        if self.venue.venue == "coinbase-exchange":
            self._take_trade(data)
        if not self._wants(data):
            return []
        if self.venue.venue == "coinbase":
            data = self._numbered(data, index)
        kind = OTHER if not told else SNAPSHOT if told[0].is_anew else BOOK
        return [Sent(data, kind, index)]

    def _take(self, told: Told) -> None:
        """Follow one message of a book with the stub's own."""
        index = self._labels.get(told.name)
        if index is None:
            return
        book, now_ns = self.books[index], self.venue.now_ns
        if told.is_anew:
            for side, levels in enumerate(book.sides):
                for ticks in list(levels):
                    book.set(side, ticks, 0, now_ns)
        early = self._early[index]
        if not any(book.sides) and not told.is_anew:
            # A book begins with a snapshot, which may be older than what came before it.
            early.append(told)
            return
        self._apply(index, told)
        while early:
            one = early.popleft()
            if (one.last_id or 0) > book.version:
                self._apply(index, one)

    def _apply(self, index: int, told: Told) -> None:
        book, now_ns = self.books[index], self.venue.now_ns
        for each in changes_of(book.instrument, told.rows):
            book.set(each.side, each.ticks, each.lots, now_ns)
        if told.last_id is not None:
            book.renumber(told.last_id, now_ns)
            self.snapshots.pop(told.name, None)

    def _take_depth(self, record: Record) -> None:
        name = parse_qs(urlsplit(record.url).query).get("symbol", [""])[0]
        try:
            told = read_depth(record.data)
        except (ValueError, KeyError):
            return
        if name not in self.names or any(self.books[self.names.index(name)].sides):
            # A later snapshot would put the book back: it is ahead of it, or the same.
            return
        told.name = name
        self._take(told)
        # Served as it was recorded, until the book moves on.
        self.snapshots[name] = record.data
        self.unasked.add(name)

    def _take_trade(self, data: bytes) -> None:
        found, product = _TRADE.search(data), _PRODUCT.search(data)
        if found and product and b'"match"' in data:
            index = self._labels.get(product[1].decode())
            if index is not None:
                self.books[index].trade_id = int(found[1])

    def _wants(self, data: bytes) -> bool:
        """Return whether the client subscribed what this frame is of."""
        match self.venue.venue:
            case "binance":
                stream = _STREAM.search(data)
                return stream is None or self.inner.wants_frame(stream[1].decode(), -1)
            case "coinbase":
                channel = _CHANNEL.search(data)
                return channel is not None and self._of_product(data, channel[1].decode())
            case "coinbase-exchange":
                kind = _TYPE.search(data)
                return kind is not None and self._of_product(data, kind[1].decode())
            case _:
                return True

    def _of_product(self, data: bytes, kind: str) -> bool:
        product = _PRODUCT.search(data)
        index = self._labels.get(product[1].decode(), -2) if product else -1
        return index != -2 and self.inner.wants_frame(kind, index)

    def _numbered(self, data: bytes, index: int) -> bytes:
        """Put the connection's own number in: frames that are not wanted leave no hole."""
        number = self.inner.number_of(index)
        return _SEQUENCE.sub(b'"sequence_num":%d' % number, data, count=1)


class CapturedModel(VenueModel):
    """The venue of a recording.

    Args:
        path: A ``capture/1`` file of a venue with a socket.
        now_ns: Now.
        speed: Multiple of the recorded pace; None: as fast as the client takes it.
        loops: Each connection is closed at the end, and the next one begins anew; else the venue
            is over once the recording has been told to every client there is.

    Errors: ``CaptureError``, ``UnknownVenue``; ``KeyError`` for a venue without a socket.
    """

    flush_ms = 10

    def __init__(self, path: Path, now_ns: int, *, speed: float | None, loops: bool) -> None:
        self.path = path
        self.meta = CaptureReader(path).meta
        self.venue = self.meta.venue
        self.speed = speed
        self.loops = loops
        template = self.fresh()
        super().__init__(template.flows, np.random.default_rng(0), now_ns)
        self.proves_loss = template.proves_loss
        self._template = template
        self._newest: CapturedSession | None = None
        """Whose snapshots are served: a request does not say which connection it belongs to."""
        self._has_finished = False
        """A client has been told everything."""

    @property
    def reader(self) -> CaptureReader:
        """The file, from its beginning."""
        return CaptureReader(self.path)

    def fresh(self) -> VenueModel:
        """Return the venue's own model with empty books."""
        decimals = 8 if self.venue == "binance" else None
        books = [TrueBook(one, 1, KEPT_VERSIONS, decimals) for one in self.meta.instruments]
        model = MODELS[self.venue]
        return model([_Still(each) for each in books], np.random.default_rng(0), 0)

    @override
    def advance(self, now_ns: int) -> None:
        self.now_ns = now_ns
        self._has_finished = self._has_finished or any(each.is_over for each in self.sessions)
        is_all = self._has_finished and all(each.is_over for each in self.sessions)
        self.is_over = is_all and not self.loops

    @override
    def disconnect(self, session: Session) -> None:
        self._has_finished = self._has_finished or session.is_over
        super().disconnect(session)

    @override
    def session(self, request: Request) -> Session:
        self._newest = CapturedSession(self, request)
        return self._newest

    @override
    def answer(self, path: str, *, is_old: bool = False) -> Answer | None:
        parts = urlsplit(path)
        if parts.path != "/api/v3/depth":
            return self._template.answer(path, is_old=is_old)
        name = parse_qs(parts.query).get("symbol", [""])[0]
        index = self.index_of(name)
        newest = self._newest
        if index is None or newest is None:
            return self._template.answer(path, is_old=is_old) if index is None else None
        newest.unasked.discard(name)
        if name in newest.snapshots:
            return Answer(200, newest.snapshots[name])
        if not any(newest.books[index].sides):
            return None
        newest.inner.venue.now_ns = self.now_ns
        return newest.inner.venue.answer(path, is_old=is_old)
