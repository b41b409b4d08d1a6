"""Stitching of a Binance snapshot into the stream of depth events of one symbol.

The chain keeps the newest events, applied or not, so that the same rule serves the start, the
recovery from a gap and the refresh of a live book: snapshot, then every event after its id.
Source: Binance "How to manage a local order book correctly" as corrected by ten recordings,
nine of which have U == lastUpdateId + 1 (``docs/venues/binance.md``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import msgspec
import numpy as np

from core.book import Book
from core.clock import NS_PER_S
from core.kernels import block as at
from core.kernels import frames
from core.levels import ASK, BID

MAX_EVENTS = 2048
"""Events kept a symbol: over three minutes at ten a second. Past it the oldest is dropped, and a
snapshot older than what is left does not meet the stream any more, so it is asked for again."""

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
    """The unbroken run of events of one symbol, and where its book stands in it.

    The ids live in the book's block, where the frame kernel follows them too. Events are kept as
    the text they came as: they are read again only where a snapshot is stitched in.
    """

    def __init__(self, book: Book, read: Callable[[bytes], DepthEvent]) -> None:
        self.book = book
        self.pending: DepthSnapshot | None = None
        """A refresh that the stream has not reached yet."""
        self._read = read
        self._kept: deque[bytes] = deque(maxlen=MAX_EVENTS)
        self.keep = self._kept.append
        """Keep the text of an event that the frame kernel has taken."""
        self.restart()
        self._know(at.NEVER_BELOW, at.NEVER_ABOVE, at.NEVER_BELOW, at.NEVER_ABOVE)

    @property
    def last_id(self) -> int:
        """Last id of the newest event, or of a snapshot that is newer; -1 before either."""
        return int(self.book.block[at.LAST_ID])

    @property
    def _newest_ns(self) -> int:
        """Venue time past which no event can be at or before ``last_id``; 0 for not known."""
        return int(self.book.block[at.NEWEST_NS])

    def _set_newest(self, last_id: int, newest_ns: int) -> None:
        self.book.block[at.LAST_ID] = last_id
        self.book.block[at.NEWEST_NS] = newest_ns

    def _know(self, known_bid: int, known_ask: int, far_bid: int, far_ask: int) -> None:
        self.book.block[at.KNOWN_BID : at.FAR_ASK + 1] = (known_bid, known_ask, far_bid, far_ask)

    def restart(self) -> None:
        """Forget everything: the next event begins a new chain."""
        self._kept.clear()
        self._set_newest(-1, 0)
        self.pending = None

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
            self._set_newest(self.last_id, event.event_ns + _SNAPSHOT_AHEAD_NS)
        return event.event_ns > self._newest_ns

    def has_gap_before(self, event: DepthEvent) -> bool:
        """Return whether ids are missing between the chain and this event."""
        return self.last_id >= 0 and event.first > self.last_id + 1

    def add(self, event: DepthEvent, text: bytes) -> None:
        """Append an event, read from ``text``."""
        self._kept.append(text)
        self._set_newest(event.last, event.event_ns)

    def meets(self, snapshot: DepthSnapshot) -> bool:
        """Return whether no id is missing between the snapshot and the events kept."""
        if not self._kept:
            return snapshot.last_id >= self.last_id
        return self._read(self._kept[0]).first <= snapshot.last_id + 1

    def build(self, snapshot: DepthSnapshot) -> None:
        """Make the book of the snapshot and every kept event after it; they must meet."""
        self.book.clear()
        self.book.apply(snapshot.levels)
        for text in self._kept:
            event = self._read(text)
            if event.last > snapshot.last_id:
                self.book.apply(event.levels)
        if snapshot.last_id > self.last_id:
            # Between the events kept and the next one there may be ids the snapshot covers.
            self._kept.clear()
            self._set_newest(snapshot.last_id, 0)
        far_bid = _far_price(snapshot, BID, at.NEVER_BELOW)
        far_ask = _far_price(snapshot, ASK, at.NEVER_ABOVE)
        self._know(*_edges(snapshot), far_bid, far_ask)

    def refresh(self) -> bool:
        """Stitch the pending snapshot in once the stream has reached it; return whether it was.

        A snapshot that is older than every event kept is dropped: the live book stays.
        """
        snapshot = self.pending
        if snapshot is None or self.last_id < snapshot.last_id:
            return False
        self.pending = None
        if not self.meets(snapshot):
            return False
        self.build(snapshot)
        return True

    @property
    def known(self) -> tuple[int, int]:
        """Lowest bid and highest ask down and up to which every level is known."""
        bid, ask = self.book.block[at.KNOWN_BID : at.KNOWN_ASK + 1].tolist()
        return bid, ask

    def has_left_known(self) -> bool:
        """Return whether a best price is one that the snapshot did not reach: perhaps no best."""
        return bool(frames.reach(self.book.block) & frames.LEFT_KNOWN)


def _edges(snapshot: DepthSnapshot) -> tuple[int, int]:
    """Return the lowest bid and the highest ask down and up to which every level is known."""
    bids, asks = (snapshot.levels[snapshot.levels[:, 0] == side, 1] for side in (BID, ASK))
    return (
        int(bids.min()) if len(bids) >= snapshot.limit else at.NEVER_BELOW,
        int(asks.max()) if len(asks) >= snapshot.limit else at.NEVER_ABOVE,
    )


def _far_price(snapshot: DepthSnapshot, side: int, never: int) -> int:
    """Return the price past which little of the snapshot's depth is left on that side."""
    ticks = snapshot.levels[snapshot.levels[:, 0] == side, 1]
    if len(ticks) < snapshot.limit:
        return never
    low, high = int(ticks.min()), int(ticks.max())
    left = (high - low) // _FAR_SHARE
    return low + left if side == BID else high - left
