"""Gives the records of a capture to a protocol, as the socket would have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from core.feeds.capture import Record
from core.feeds.protocol import FeedProtocol
from core.model.market import FeedOutput


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
