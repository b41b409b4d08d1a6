"""Stitching of a Binance snapshot into the stream of depth events of one symbol.

The chain keeps the newest events, applied or not, so that the same rule serves the start, the
recovery from a gap and the refresh of a live book: snapshot, then every event after its id.
Source: Binance "How to manage a local order book correctly" as corrected by ten recordings,
nine of which have U == lastUpdateId + 1 (``docs/venues/binance.md``).
"""

from __future__ import annotations

from collections import deque

import msgspec
import numpy as np

from core.book import Book
from core.clock import NS_PER_S
from core.levels import ASK, BID

MAX_EVENTS = 2048
"""Events kept a symbol: over three minutes at ten a second. Past it the oldest is dropped, and a
snapshot older than what is left does not meet the stream any more, so it is asked for again."""

_NEVER_BELOW, _NEVER_ABOVE = -1, 2**63
_SNAPSHOT_AHEAD_NS = 60 * NS_PER_S
_FAR_SHARE = 4
"""A snapshot is far when less than one part in this of its depth is left on a side."""


class DepthEvent(msgspec.Struct, frozen=True, gc=False):
    """One ``depthUpdate``: ids first to last, levels int64[n, 3] of side, ticks, lots."""

    first: int
    last: int
    levels: np.ndarray
    event_ns: int


class DepthSnapshot(msgspec.Struct, frozen=True, gc=False):
    """A REST depth reply, true as of ``last_id``; levels as in ``DepthEvent``."""

    last_id: int
    levels: np.ndarray
    limit: int
    """Levels a side that were asked for; a side that has fewer is known to its end."""


class Chain:
    """The unbroken run of events of one symbol, and where its book stands in it."""

    def __init__(self) -> None:
        self.events: deque[DepthEvent] = deque(maxlen=MAX_EVENTS)
        self.last_id = -1
        """Last id of the newest event, or of a snapshot that is newer; -1 before either."""
        self.pending: DepthSnapshot | None = None
        """A refresh that the stream has not reached yet."""
        self.n_added = 0
        self._newest_ns = 0
        """Venue time past which no event can be at or before ``last_id``; 0 for not known."""
        self._far_bid = self._known_bid = _NEVER_BELOW
        self._far_ask = self._known_ask = _NEVER_ABOVE

    def restart(self) -> None:
        """Forget everything: the next event begins a new chain."""
        self.events.clear()
        self.last_id = -1
        self.pending = None
        self._newest_ns = 0

    def is_old(self, event: DepthEvent) -> bool:
        """Return whether all of it is already known."""
        return event.last <= self.last_id

    def is_impossible(self, event: DepthEvent) -> bool:
        """Return whether an old id comes with a new time: then ids are not what we took them for.

        Without this a venue that numbers anew, or one damaged id, leaves a live book that takes
        every later event for old.
        """
        if not self.is_old(event) or not event.event_ns:
            return False
        if not self._newest_ns:
            # Ids are a snapshot's, which has no time; the stream is at most this far behind it.
            self._newest_ns = event.event_ns + _SNAPSHOT_AHEAD_NS
        return event.event_ns > self._newest_ns

    def has_gap_before(self, event: DepthEvent) -> bool:
        """Return whether ids are missing between the chain and this event."""
        return self.last_id >= 0 and event.first > self.last_id + 1

    def add(self, event: DepthEvent) -> None:
        self.events.append(event)
        self.last_id = event.last
        self._newest_ns = event.event_ns
        self.n_added += 1

    def meets(self, snapshot: DepthSnapshot) -> bool:
        """Return whether no id is missing between the snapshot and the events kept."""
        if not self.events:
            return snapshot.last_id >= self.last_id
        return self.events[0].first <= snapshot.last_id + 1

    def build(self, book: Book, snapshot: DepthSnapshot) -> None:
        """Make the book of the snapshot and every kept event after it; they must meet."""
        book.clear()
        book.apply(snapshot.levels)
        for event in self.events:
            if event.last > snapshot.last_id:
                book.apply(event.levels)
        if snapshot.last_id > self.last_id:
            # Between the events kept and the next one there may be ids the snapshot covers.
            self.events.clear()
            self.last_id = snapshot.last_id
            self._newest_ns = 0
        self._known_bid, self._known_ask = _edges(snapshot)
        self._far_bid = _far_price(snapshot, BID, _NEVER_BELOW)
        self._far_ask = _far_price(snapshot, ASK, _NEVER_ABOVE)

    def refresh(self, book: Book) -> bool:
        """Stitch the pending snapshot in once the stream has reached it; return whether it was.

        A snapshot that is older than every event kept is dropped: the live book stays.
        """
        snapshot = self.pending
        if snapshot is None or self.last_id < snapshot.last_id:
            return False
        self.pending = None
        if not self.meets(snapshot):
            return False
        self.build(book, snapshot)
        return True

    def has_left_known(self, book: Book) -> bool:
        """Return whether a best price is one that the snapshot did not reach: perhaps no best."""
        bid, _, ask, *_ = book.touch()
        return bid < self._known_bid or (ask or _NEVER_ABOVE) > self._known_ask

    def has_walked_far(self, book: Book) -> bool:
        """Return whether the market nears a price past which the snapshot knew nothing."""
        touch = book.touch()
        return touch[0] < self._far_bid or touch[2] > self._far_ask


def _edges(snapshot: DepthSnapshot) -> tuple[int, int]:
    """Return the lowest bid and the highest ask down and up to which every level is known."""
    bids, asks = (snapshot.levels[snapshot.levels[:, 0] == side, 1] for side in (BID, ASK))
    return (
        int(bids.min()) if len(bids) >= snapshot.limit else _NEVER_BELOW,
        int(asks.max()) if len(asks) >= snapshot.limit else _NEVER_ABOVE,
    )


def _far_price(snapshot: DepthSnapshot, side: int, never: int) -> int:
    """Return the price past which little of the snapshot's depth is left on that side."""
    ticks = snapshot.levels[snapshot.levels[:, 0] == side, 1]
    if len(ticks) < snapshot.limit:
        return never
    low, high = int(ticks.min()), int(ticks.max())
    left = (high - low) // _FAR_SHARE
    return low + left if side == BID else high - left
