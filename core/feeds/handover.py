"""A second protocol warms up on a second connection until it can take over from the first.

Some venues cut every connection after a known time, or announce that they will; some number no
book message, so that their books need to be made anew; and a capture that is full needs a
connection to begin the next one with. Waiting for the cut costs the books; so a successor is
opened before it, and the engine changes from one live book to another in one step.
``docs/decisions/0006-handover-between-connections.md`` says how.
Sans I/O: ``core.feeds.socket`` brings frames and time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from core.clock import NS_PER_S
from core.config import Settings
from core.feeds.connection import VenueConnection
from core.feeds.held import HeldRecords
from core.feeds.protocol import FeedProtocol
from core.model.market import FeedOutput, FeedState, MarketEvent, TradePrint

ONE_CONNECTION = frozenset({"alpaca"})
"""Venues that allow an account one connection: nothing can warm up beside it."""

REPLACED = "replaced by a new connection: "
"""How the reason begins for which a connection was ended that another one took over from. A capture
keeps it, and a replay hands over where it stands."""

PRINTS_MAX = 200_000
"""Trades kept while warming up: the busiest minute seen had 8,400."""
FRESH_WITHIN_NS = 2 * NS_PER_S
"""How long a moment is looked for at which no new book is behind the old one."""


class Replacer(Protocol):
    """Knows what comes in the place of a protocol."""

    def replace(self, inner: FeedProtocol, now_ns: int) -> tuple[FeedProtocol, list[FeedOutput]]:
        """Return what goes on in the place of ``inner``, and what changes thereby."""


class Face(Protocol):
    """Wears the face of a protocol and can change the protocol behind it."""

    inner: FeedProtocol

    def install(self, handover: Replacer, now_ns: int) -> list[FeedOutput]:
        """Go on with another protocol behind the same face; return what it asks for."""


class Renewal(msgspec.Struct, frozen=True):
    """When a connection is replaced while it still delivers, and by what."""

    after_ns: int | None
    """Age of the connection at which its successor is opened; None: at no age."""
    fresh: Callable[[], FeedProtocol]
    """Makes a protocol of the same venue and instruments."""
    face: Face | None = None
    """Who wears the protocol; None: nobody, and the protocol itself is changed."""
    settle_ns: int = NS_PER_S
    """How long all new books are live before they take over."""


def renewal_for(
    venue: str, settings: Settings, fresh: Callable[[], FeedProtocol], face: Face | None = None
) -> Renewal | None:
    """Return how connections to ``venue`` are renewed, or None where they cannot be.

    Binance cuts them at a known age (docs/venues/binance.md). Coinbase Exchange numbers no book
    message: a book there can be wrong unseen, and a fresh one bounds for how long.
    """
    if venue in ONE_CONNECTION:
        return None
    ages_s = {
        "binance": settings.feed.renew_after_s,
        "coinbase-exchange": settings.feed.refresh_after_s,
    }
    age_s = ages_s.get(venue)
    return Renewal(None if age_s is None else age_s * NS_PER_S, fresh, face)


class Handover:
    """The warming protocol, what it saw, and whether it may take over yet."""

    def __init__(self, renewal: Renewal) -> None:
        self.heir = renewal.fresh()
        self.records = HeldRecords()
        self.prints: list[TradePrint] = []
        """Trades seen while warming up, oldest first; the old connection prints most of them."""
        self._settle_ns = renewal.settle_ns
        self._first_ids: dict[int, int] = {}
        self._live_since_ns: int | None = None

    def take(self, events: list[MarketEvent], now_ns: int) -> None:  # noqa: ARG002 (role)
        """Keep the trades; whoever trades on the books does not know this connection yet."""
        for event in events:
            if isinstance(event, TradePrint) and len(self.prints) <= PRINTS_MAX:
                self.prints.append(event)
                if event.instrument not in self._first_ids and event.trade_id.isdigit():
                    self._first_ids[event.instrument] = int(event.trade_id)

    def trouble(self) -> str:
        """Return why this one will never be able to take over, or nothing."""
        if self.records.is_full:
            return "its frames outgrew what is kept of them"
        return "its trades outgrew what is kept of them" if len(self.prints) > PRINTS_MAX else ""

    def replace(self, inner: FeedProtocol, now_ns: int) -> tuple[FeedProtocol, list[FeedOutput]]:
        """Let the heir go on in the place of ``inner``; return it and what changes thereby."""
        assert isinstance(self.heir, VenueConnection)
        assert isinstance(inner, VenueConnection)
        return self.heir, self.heir.take_over(inner, self.prints, now_ns)

    def is_ready(self, old: FeedProtocol, now_ns: int) -> bool:
        """Return whether taking over now would cost nothing.

        Every book that is live is live here too, and has been for a while; the trades of both
        connections overlap, so that none falls between them; and no book would go back in time,
        unless that cannot be had soon.
        """
        pairs = list(zip(old.instruments, self.heir.instruments, strict=True))
        is_no_loss = all(
            new.state is FeedState.LIVE or each.state is not FeedState.LIVE for each, new in pairs
        )
        if not is_no_loss or all(new.state is not FeedState.LIVE for _, new in pairs):
            self._live_since_ns = None
            return False
        if self._live_since_ns is None:
            self._live_since_ns = now_ns
        settled_ns = now_ns - self._live_since_ns - self._settle_ns
        if settled_ns < 0 or not self._trades_meet(old):
            return False
        is_fresh = all(new.last_event_ns >= each.last_event_ns for each, new in pairs)
        return is_fresh or settled_ns > FRESH_WITHIN_NS

    def _trades_meet(self, old: FeedProtocol) -> bool:
        """Return whether the old connection has printed up to where the new one began."""
        assert isinstance(old, VenueConnection)
        return all(
            old.newest_trade_id(index) >= first - 1 for index, first in self._first_ids.items()
        )
