"""A venue in plain Python: its true books, its connections, its answers over HTTP.

No socket and no clock: ``core.stub.server`` and the trials bring both. A venue is never damaged
here (faults lie between it and its client, ``core.stub.faults``) except where the venue itself
misbehaves, which it is told to do.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from core.clock import iso_ns
from core.stub.flow import Flow, Step
from core.stub.truth import ASK, BID, Change, Sides, TrueBook

CONTROL, BOOK, SNAPSHOT, OTHER = "control", "book", "snapshot", "other"
MAX_PENDING = 200_000
"""Changes kept for a session that does not want them told; then it is too slow for its venue."""


class Sent(msgspec.Struct):
    """One frame on its way."""

    data: bytes
    kind: str
    index: int = -1
    """Instrument, -1 for a frame of the connection."""
    is_text: bool = True
    """Whether it is a text frame of the socket; msgpack goes as binary."""


class Answer(msgspec.Struct):
    """A reply over HTTP."""

    status: int
    body: bytes
    retry_after_s: int = 0


class Request(msgspec.Struct, frozen=True):
    """How a client opened its connection."""

    path: str = "/"
    """Path and query."""
    key: str = ""
    """``APCA-API-KEY-ID`` where the client sent one."""
    wants_msgpack: bool = False


def dumps(value: Any) -> bytes:
    """Return compact JSON; the standard library's, for the client under test has another."""
    return json.dumps(value, separators=(",", ":")).encode()


class Session:
    """One connection: what it subscribed, its numbering, what it was not told yet."""

    def __init__(self, venue: VenueModel, request: Request) -> None:
        self.venue = venue
        self.request = request
        self.books = venue.books
        self.names = venue.names
        self.opened_ns = venue.now_ns
        self.connection = venue.n_connections
        self.is_over = False
        """There is nothing more to tell, as at the end of a recording."""
        self.is_waiting = False
        """Nothing is told until the client has asked for something."""
        self.steps = [Step([], []) for _ in self.books]
        """What happened to each instrument since it was last told."""

    def greeting(self) -> list[Sent]:
        """Return what the venue says before it is asked anything."""
        return []

    def asked(self, data: bytes) -> list[Sent]:
        """Take a message of the client. Errors: ``ValueError`` for what is no JSON."""
        raise NotImplementedError

    def flush(self) -> list[Sent]:
        """Return what there is to tell."""
        raise NotImplementedError

    def beat(self) -> list[Sent]:
        """Return what comes once a second whatever happens."""
        return []

    def overdue(self) -> str:
        """Return why the venue closes this connection, empty if it does not."""
        return ""

    @property
    def is_subscribed(self) -> bool:
        """True once the client has asked for anything."""
        return True

    def wants_frame(self, kind: str, index: int) -> bool:  # noqa: ARG002 (role)
        """Return whether a recorded frame of a kind and an instrument is subscribed."""
        return True

    def number_of(self, index: int) -> int:  # noqa: ARG002 (role)
        """Return the connection's number of the next frame, which tells of an instrument."""
        return 0

    def version_at(self, number: int, index: int) -> int | None:  # noqa: ARG002 (role)
        """Return the version of a book as of the connection's own sequence number."""
        return None

    def hear(self, index: int, step: Step) -> None:
        """Take what happened to an instrument."""
        mine = self.steps[index]
        mine.changes += step.changes
        mine.trades += step.trades
        if len(mine.changes) > MAX_PENDING:
            self.steps[index] = Step([], [])

    def take(self, index: int) -> Step:
        """Return and forget what happened to an instrument since it was last told."""
        step, self.steps[index] = self.steps[index], Step([], [])
        return step

    def touch(self, index: int) -> tuple[tuple[str, str], tuple[str, str]]:
        """Return the best bid and ask as (price, quantity) text, ("0", "0") for none."""
        book = self.books[index]
        return _level(book, BID), _level(book, ASK)

    def iso(self) -> str:
        """Return the venue's time as RFC 3339 text."""
        return iso_ns(self.venue.now_ns + self.venue.offset_ns)


class VenueModel:
    """What all venues share: books, sessions, time."""

    venue = ""
    proves_loss = True
    """Whether ids on the wire let a reader see that a book frame is missing."""
    flush_ms = 100

    def __init__(self, flows: Sequence[Flow], generator: np.random.Generator, now_ns: int) -> None:
        self.flows = list(flows)
        self.books: list[TrueBook] = [each.book for each in flows]
        self.names = tuple(each.instrument.name for each in self.books)
        self.generator = generator
        self.now_ns = now_ns
        self.offset_ns = 0
        """Venue clock less ours."""
        self.sessions: list[Session] = []
        self.n_connections = 0
        self.is_over = False
        """The venue has nothing more to tell, as at the end of a recording."""

    # --- what happens

    def advance(self, now_ns: int) -> None:
        """Let time pass until ``now_ns``."""
        self.now_ns = now_ns
        for index, flow in enumerate(self.flows):
            self.happened(index, flow.advance(now_ns))

    def happened(self, index: int, step: Step) -> None:
        """Tell every connection of something."""
        for session in self.sessions:
            session.hear(index, step)

    def changed(self, index: int, changes: list[Change]) -> None:
        """Tell every connection of changes made to a book from outside."""
        self.happened(index, Step(changes, []))

    def connect(self, now_ns: int, request: Request | None = None) -> Session:
        """Take a new connection."""
        self.now_ns = now_ns
        self.n_connections += 1
        session = self.session(request or Request())
        self.sessions.append(session)
        return session

    def session(self, request: Request) -> Session:
        """Return a fresh session."""
        raise NotImplementedError

    def disconnect(self, session: Session) -> None:
        """A connection is gone."""
        if session in self.sessions:
            self.sessions.remove(session)

    def answer(self, path: str, *, is_old: bool = False) -> Answer | None:
        """Answer a GET of path and query; None: not yet, ask again a little later.

        ``is_old`` asks for the body served before, where the venue has one.
        """
        raise NotImplementedError

    # --- what is true

    def truth(self, index: int, version: int) -> Sides | None:
        """Return a book as of a version; None where it never was or is not kept."""
        return self.books[index].truth(version)

    def index_of(self, name: str) -> int | None:
        """Return the instrument of a name, None for a stranger."""
        return self.names.index(name) if name in self.names else None


def _level(book: TrueBook, side: int) -> tuple[str, str]:
    if not book.sides[side]:
        return "0", "0"
    ticks = book.best(side)
    return book.price_text(ticks), book.qty_text(book.sides[side][ticks])
