"""Gives the records of a capture to a protocol or a session, as the socket did."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from core.config import Settings
from core.feeds.capture import CaptureMeta, Record
from core.feeds.handover import REPLACED, Face, Handover, Renewal
from core.feeds.protocol import FeedProtocol, split
from core.feeds.registry import protocol_for
from core.model.market import FeedOutput


class Played(FeedProtocol, Face, Protocol):
    """A face that takes frames and can change the protocol behind it: a session."""


def give(protocol: FeedProtocol, record: Record) -> list[FeedOutput]:
    """Hand one record to the protocol and return what comes out; what we sent is skipped."""
    match record.kind:
        case "recv":
            return protocol.receive(record.text.encode(), record.ns)
        case "http":
            return protocol.on_http(record.url, record.text.encode(), record.ns)
        case "open":
            return protocol.on_open(record.ns)
        case "close":
            return protocol.on_close(record.why, record.ns)
        case _:
            return []


class Player:
    """Gives a capture to a session, and hands over where the run did.

    At a handover the capture tells the whole story of the connection that took over, as of that
    instant (``core.feeds.held``). It goes to a protocol of its own, which then takes over: books,
    features and trades are what they were in the run. Call ``finish`` after the last record.
    """

    def __init__(self, session: Played, meta: CaptureMeta, settings: Settings) -> None:
        self._session = session
        self._meta = meta
        self._settings = settings
        self._handover: Handover | None = None
        self._handover_ns = 0

    def give(self, record: Record) -> None:
        """Take the next record."""
        if record.kind == "recv" and self._handover is None:
            # Nearly all of them: a replay gives a hundred thousand a second.
            self._session.receive(record.text.encode(), record.ns)
            return
        if self._handover is not None and record.ns > self._handover_ns:
            self.finish()
        if self._handover is not None:
            events, _ = split(give(self._handover.heir, record))
            self._handover.take(events, record.ns)
        elif record.kind == "close" and record.why.startswith(REPLACED):
            self._handover = Handover(Renewal(None, self._fresh))
            self._handover_ns = record.ns
        else:
            give(self._session, record)

    def finish(self) -> None:
        """Let the protocol of a handover take over, if the capture ends with one."""
        handover, self._handover = self._handover, None
        if handover is not None:
            self._session.install(handover, self._handover_ns)

    def _fresh(self) -> FeedProtocol:
        return protocol_for(self._meta.venue, list(self._meta.instruments), self._settings)


def without_last_close(records: Iterable[Record]) -> Iterator[Record]:
    """Yield the records, but no close that nothing follows.

    A recording ends because the recorder was stopped, not because the market went away: at the
    end of the file the state is what it was at the last frame.
    """
    held: Record | None = None
    for record in records:
        if held is not None:
            yield held
        held = record if record.kind == "close" else None
        if held is None:
            yield record
