"""The part of the picture that shows feeds: states, counts, sockets, tape and capture."""

from __future__ import annotations

from collections import deque

from core.clock import NS_PER_MS, NS_PER_S
from core.desk import Desk
from core.feeds.continuity import unseen_s
from core.feeds.joined import Joined
from core.feeds.link import FeedLink
from core.feeds.protocol import FeedCounters
from core.kernels import block as at
from core.model.instrument import Instrument
from core.session import Session
from core.snapshot import ConnectionView, FeedView, RecordingView

RATE_S = 5
"""Seconds over which frames a second are counted."""


class FrameRate:
    """Frames a second, from looks at a counter."""

    def __init__(self) -> None:
        self._looks: deque[tuple[int, int]] = deque()

    def look(self, now_ns: int, frames: int) -> float | None:
        """Take the count as of ``now_ns``; return the rate over about ``RATE_S``, None at first."""
        while len(self._looks) > 1 and now_ns - self._looks[1][0] >= RATE_S * NS_PER_S:
            self._looks.popleft()
        if not self._looks or now_ns - self._looks[-1][0] >= NS_PER_S // 4:
            self._looks.append((now_ns, frames))
        first_ns, first = self._looks[0]
        return (frames - first) * NS_PER_S / (now_ns - first_ns) if now_ns > first_ns else None


def known_prices(desk: Desk) -> tuple[int | None, int | None]:
    """Return the lowest bid and highest ask between which every level is known, in ticks.

    None for a side known to its end. A venue whose snapshot is cut (Binance) tells nothing of
    levels beyond it but those that change: what a book holds there is not the whole depth.
    """
    bid, ask = int(desk.feed.book.block[at.KNOWN_BID]), int(desk.feed.book.block[at.KNOWN_ASK])
    return bid if bid > 0 else None, ask if 0 < ask < at.NEVER_ABOVE else None


def feed_view(session: Session, desk: Desk) -> FeedView:
    """Return one instrument's feed with the counts of its venue."""
    feed, counters = desk.feed, session.counters_of(desk.index)
    now_ns = session.engine.context.now_ns
    age_ms = latency_ms = None
    if feed.last_recv_ns:
        age_ms = max(0, now_ns - feed.last_recv_ns) // NS_PER_MS
        if feed.last_event_ns:
            latency_ms = (feed.last_recv_ns - feed.last_event_ns) / NS_PER_MS
    bid, ask = known_prices(desk)
    return FeedView(
        state=feed.state,
        reason=feed.reason,
        age_ms=age_ms,
        frames=counters.frames,
        gaps=counters.gaps,
        resyncs=counters.resyncs,
        refused=counters.refused,
        latency_ms=latency_ms,
        since_ms=max(0, now_ns - feed.since_ns) // NS_PER_MS if feed.since_ns else None,
        causes={cause.value: count for cause, count in feed.transitions.items()},
        crossed=feed.crossed,
        trades=feed.trades,
        bids_known_to=_price(desk.instrument, bid),
        asks_known_to=_price(desk.instrument, ask),
        floored=feed.book.floored,
        unseen_s=unseen_s(feed.instrument, session.engine.settings.feed),
    )


def _price(instrument: Instrument, ticks: int | None) -> str | None:
    return None if ticks is None else instrument.price_text(ticks)


def connection_views(session: Session) -> tuple[ConnectionView, ...]:
    """Return each venue's connection."""
    parts = session.inner.parts if isinstance(session.inner, Joined) else [session.inner]
    now_ns = session.engine.context.now_ns
    return tuple(
        _connection(part.venue, part.counters, session.links.get(part.venue), now_ns)
        for part in parts
    )


def _connection(
    venue: str, counters: FeedCounters, link: FeedLink | None, now_ns: int
) -> ConnectionView:
    next_ns = None if link is None else link.next_attempt_ns
    socket = FeedLink() if link is None else link
    return ConnectionView(
        venue=venue,
        frames=counters.frames,
        refused=counters.refused,
        ignored=counters.ignored,
        gaps=counters.gaps,
        resyncs=counters.resyncs,
        checks=counters.checks,
        checks_failed=counters.checks_failed,
        trades_lost=counters.trades_lost,
        heartbeats_lost=counters.heartbeats_lost,
        has_socket=link is not None,
        is_connected=socket.is_connected,
        connects=socket.connects,
        attempts=socket.attempts,
        next_attempt_ms=None if next_ns is None else max(0, next_ns - now_ns) // NS_PER_MS,
        last_error=socket.last_error,
        fetches=socket.fetches,
        fetch_failures=socket.fetch_failures,
        handovers=socket.handovers,
        handovers_failed=socket.handovers_failed,
    )


def recording_view(session: Session) -> RecordingView | None:
    """Return what is kept of this run beside its ledger; None in a replay."""
    kept = session.recordings
    if kept is None:
        return None
    tape, captures = kept.tape.counters, list(kept.captures.values())
    return RecordingView(
        tape_rows=tape.rows,
        tape_rows_lost=tape.rows_lost,
        tape_bytes=tape.bytes_on_disk,
        tapes_bytes=kept.tapes_bytes,
        tapes_bound=kept.tapes_bound,
        is_recording=bool(captures) and not any(each.stopped for each in captures),
        records=sum(each.written for each in captures),
        records_dropped=sum(each.dropped for each in captures),
        captures_bytes=kept.captures_bytes,
        captures_bound=kept.captures_bound,
        files_removed=kept.files_removed,
        trouble=kept.trouble(),
    )
