"""What the stub venue tells testers: its own book, to hold a client's against, and its state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from core.stub.link import Link, Way
from core.stub.truth import ASK, BID
from core.stub.venue import Answer, Session, VenueModel, dumps


def book_answer(venue: VenueModel, sessions: Sequence[Session], path: str) -> Answer:
    """Tell a book, the newest or as of an id of the venue or of a connection's sequence.

    ``sessions`` are the connections, oldest first; where none is named it is the newest one's,
    which matters for a recording alone.
    """
    query = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}
    index = venue.index_of(query.get("symbol", venue.names[0]))
    number = query.get("connection")
    known = [each for each in sessions if number in {None, str(each.connection)}]
    if index is None or (number is not None and not known):
        return Answer(404, dumps({"error": "no such symbol, or no such connection"}))
    session = known[-1] if known else None
    book = session.books[index] if session else venue.books[index]
    version: int | None = book.version
    try:
        if "id" in query:
            version = int(query["id"])
        elif "sequence_num" in query and session:
            version = session.version_at(int(query["sequence_num"]), index)
    except ValueError:
        return Answer(400, dumps({"error": "id and sequence_num are numbers"}))
    sides = None if version is None else book.truth(version)
    if sides is None:
        return Answer(404, dumps({"error": "no book of that id is kept"}))
    rows = [book.rows(side, sides=sides) for side in (BID, ASK)]
    told = {"venue": venue.venue, "symbol": venue.names[index], "id": version}
    return Answer(200, dumps({**told, "bids": rows[BID], "asks": rows[ASK]}))


def state_answer(
    venue: VenueModel, links: Sequence[Link], ways: Sequence[Way], n_refused: int
) -> Answer:
    """Tell who is connected, what was sent, and how often each fault acted."""
    connections: list[dict[str, Any]] = [
        {
            "connection": link.session.connection,
            "path": link.session.request.path,
            "sent": link.n_sent,
            "queued": link.n_queued,
            "faults": {way.asked.fault.name: way.n_acts for way in link.ways},
        }
        for link in links
    ]
    body = {
        "venue": venue.venue,
        "symbols": venue.names,
        "connections": connections,
        "connected": venue.n_connections,
        "refused": n_refused,
        "venue_faults": {way.asked.fault.name: way.n_acts for way in ways},
    }
    return Answer(200, dumps(body))
