"""The states of a feed: one table of (state, cause) to state, applied in one place.

Callers say what happened and the table says what that means, so a protocol cannot invent a
transition. The invariant that holds everywhere: a book in a state that is not ``BELIEVED`` is
empty, so nobody can trade on, or draw, levels that are not believed. ``docs/venues/states.md``
is made from the table by ``core.feeds.pages``.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from types import MappingProxyType

from core.errors import InvariantError
from core.feeds.protocol import InstrumentFeed
from core.model.market import FeedCause as C
from core.model.market import FeedState as S
from core.model.market import FeedStateChanged

BELIEVED = frozenset({S.LIVE, S.SUSPECT, S.STALE})
"""States whose book holds levels. In ``LIVE`` alone may a new order leave."""
WAITING = frozenset({S.BUFFERING, S.RESYNCING})
"""States that end with a snapshot."""

IS_STRICT = False
"""Raise at a cause that does not fit the state, as every test does; else doubt the book."""

_ALL = frozenset(S)
_DARK = _ALL - BELIEVED
_OPEN = _ALL - {S.HALTED}
"""States in which messages of the book count. CONNECTING is one: a capture may lack its opening."""


def _rows() -> dict[tuple[S, C], S]:
    rows: dict[tuple[S, C], S] = {}

    def add(sources: AbstractSet[S], cause: C, target: S | None = None) -> None:
        """Add rows to ``target``, or back to the same state where only the reason is new."""
        for source in S:
            if source in sources:
                rows[source, cause] = target or source

    # the connection
    add(_ALL, C.OPENED, S.BUFFERING)
    add(_ALL, C.CLOSED, S.CONNECTING)
    # the way to a book
    add(_OPEN, C.SNAPSHOT, S.LIVE)
    add(_ALL, C.TAKEN_OVER, S.LIVE)
    add(WAITING, C.RETRIED)
    add({S.BUFFERING}, C.ALIASED)
    add(_DARK, C.VENUE_SAID)
    # loss: proved, so the book goes
    for cause in (C.GAP, C.REFUSED, C.LEFT_KNOWN):
        add(_OPEN, cause, S.RESYNCING)
    # doubt: the first sign keeps the book and trades nothing on it, the second costs it
    for cause in (C.CHECK_FAILED, C.CROSSED, C.TRADES_LOST, C.LAGGED):
        add({S.LIVE, S.STALE}, cause, S.SUSPECT)
        add({S.SUSPECT}, cause, S.RESYNCING)
    # relief from the doubt of the same kind; lost trades are cured by a snapshot alone
    for cause in (C.CHECK_PASSED, C.UNCROSSED, C.CAUGHT_UP):
        add({S.SUSPECT}, cause, S.LIVE)
    # silence
    add({S.LIVE}, C.SILENT, S.STALE)
    add({S.STALE, S.SUSPECT}, C.SILENT, S.RESYNCING)
    add({S.STALE}, C.HEARD, S.LIVE)
    # a halt of the venue outlasts everything but its end and the connection's
    add(_ALL, C.HALTED, S.HALTED)
    add({S.HALTED}, C.RESUMED, S.BUFFERING)
    for cause in (C.SNAPSHOT, C.GAP, C.REFUSED, C.LEFT_KNOWN):
        add({S.HALTED}, cause)
    # our own mistake
    add(_DARK, C.IMPOSSIBLE)
    add(BELIEVED, C.IMPOSSIBLE, S.RESYNCING)
    return rows


TRANSITIONS: Mapping[tuple[S, C], S] = MappingProxyType(_rows())
"""Every change there is: (state, cause) to the state that follows."""


def advance(
    feed: InstrumentFeed, index: int, cause: C, reason: str, now_ns: int
) -> FeedStateChanged | None:
    """Take ``cause`` in: the one place where a feed state changes.

    Returns None where neither state nor reason is new. A cause that the table does not know in
    this state is our bug, not the venue's; stopping a trading engine for it would leave orders
    behind, so the book is doubted instead, counted as ``IMPOSSIBLE`` and shown.

    Errors: ``InvariantError`` for such a cause where ``IS_STRICT``.
    """
    state = TRANSITIONS.get((feed.state, cause))
    if state is None:
        reason = f"{cause} does not follow {feed.state}"
        if IS_STRICT:
            raise InvariantError(f"{feed.instrument.name}: {reason}")
        cause = C.IMPOSSIBLE
        state = TRANSITIONS[feed.state, cause]
    if state not in BELIEVED:
        feed.book.clear()
    if state is not S.LIVE:
        # After a doubt the past is not evidence.
        feed.book.features.reset()
    if (feed.state, feed.reason) == (state, reason):
        return None
    if feed.state is not state:
        feed.since_ns = now_ns
    feed.state, feed.cause, feed.reason = state, cause, reason
    feed.transitions[cause] = feed.transitions.get(cause, 0) + 1
    return FeedStateChanged(index, state, cause, reason, now_ns)
