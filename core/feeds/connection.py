"""What every venue's connection shares: its silence, its trade prints, and its end.

Whether its books are believed is ``core.feeds.belief``'s.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from core.clock import NS_PER_MS, NS_PER_S
from core.config import Settings
from core.errors import ValueRefused
from core.feeds.belief import VenueBooks
from core.feeds.protocol import InstrumentFeed
from core.feeds.states import BELIEVED, WAITING
from core.levels import LevelReader
from core.model.instrument import Instrument
from core.model.market import (
    FeedCause,
    FeedOutput,
    FeedState,
    TradePrint,
)

MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueRefused)
"""What reading a message of the world can raise; anything else is a bug of ours."""

MAX_ANEW = 3
"""Books subscribed anew at once, by two messages each; a new connection needs fewer than more
would, and Coinbase takes 8 messages a second from an address."""
_REPEAT_NS = NS_PER_S
"""How much later a repeated trade may be stamped: not at all, but for venues' slips."""

SILENCES_TO_RECONNECT = 3
"""Stale times without a frame after which the connection is taken for dead (half-open TCP)."""


class VenueConnection(VenueBooks):
    """One venue, one connection; each venue's protocol adds its messages and continuity rule."""

    venue = ""
    silence_is_loss = True
    """A venue that has heartbeats, or never rests, and says nothing has lost the connection."""

    def __init__(self, instruments: Sequence[Instrument], settings: Settings) -> None:
        super().__init__(instruments, settings)
        self._index = {one.name: index for index, one in enumerate(instruments)}
        self._prints = [LevelReader(one, capacity=8) for one in instruments]
        self._stale_after_ns = settings.feed.stale_after_ms * NS_PER_MS
        self._last_frame_ns: int | None = None
        self._has_stale = False
        self._heard_ns = [0] * len(instruments)
        """When each instrument's newest message came, of whatever kind; see ``_heard_of``."""
        self._has_beat = [False] * len(instruments)
        """Whether an instrument has a heartbeat of its own, so that its silence says something."""
        self._last_beat = -1
        """Number of the connection's newest heartbeat, where they are numbered."""
        self._is_closed = False
        """A connection has ended and no other one is open: replies on their way mean nothing."""

    # --- the connection

    def on_close(self, reason: str, now_ns: int) -> list[FeedOutput]:
        """The connection is gone: empty every book and say why."""
        outputs: list[FeedOutput] = []
        self._later.clear()
        for index in range(len(self.instruments)):
            self._move(outputs, index, FeedCause.CLOSED, f"disconnected: {reason}", now_ns)
        self._last_frame_ns = None
        self._is_closed = True
        return outputs

    def on_time(self, now_ns: int) -> list[FeedOutput]:
        """Mark books stale when nothing came for the stale time; send what was put off until now.

        Liveness is the connection's: a quiet instrument on a talking connection is not stale,
        unless it has a heartbeat of its own.
        """
        outputs: list[FeedOutput] = []
        due = [index for index, (due_ns, _) in self._later.items() if due_ns <= now_ns]
        messages = [each for index in due for each in self._later.pop(index)[1]]
        if len(due) > MAX_ANEW:
            self._ask_reconnect(outputs, f"{len(due)} books must be subscribed anew")
        else:
            outputs += messages
        if self._last_frame_ns is None:
            return outputs
        silent_ns = now_ns - self._last_frame_ns
        if silent_ns > self._stale_after_ns:
            for index, feed in enumerate(self.instruments):
                if feed.state is FeedState.LIVE:
                    reason = f"no frame for {self._stale_after_ns / NS_PER_S:g} s"
                    self._move(outputs, index, FeedCause.SILENT, reason, now_ns)
                    self._has_stale = True
        else:
            self._find_silent(outputs, now_ns)
        if self.silence_is_loss and silent_ns > SILENCES_TO_RECONNECT * self._stale_after_ns:
            self._ask_reconnect(outputs, f"no frame for {silent_ns // NS_PER_S} s")
        for index in range(len(self.instruments)):
            self._await_snapshot(outputs, index, now_ns)
        return outputs

    def _opened(self, now_ns: int, reason: str) -> list[FeedOutput]:
        outputs: list[FeedOutput] = []
        for index in range(len(self.instruments)):
            self._move(outputs, index, FeedCause.OPENED, reason, now_ns)
        self._last_frame_ns = now_ns
        self._has_beat = [False] * len(self.instruments)
        self._last_beat = -1
        self._is_closed = False
        self._asked_to_reconnect = False
        self._waits_since_ns = [now_ns] * len(self.instruments)
        return outputs

    def _heard(self, outputs: list[FeedOutput], now_ns: int) -> None:
        """A frame was read: what is still STALE kept its continuity and is LIVE again.

        A frame that could not be read is no sign of life: a venue that sends only such is silent.
        """
        self._last_frame_ns = now_ns
        if self._has_stale:
            self._has_stale = False
            for index, feed in enumerate(self.instruments):
                if feed.state is FeedState.STALE:
                    if self._silence_ns(index, now_ns) > self._stale_after_ns:
                        self._has_stale = True
                    else:
                        self._move(outputs, index, FeedCause.HEARD, "frames came again", now_ns)
        if self._crossed_since_ns:
            self._watch_crossed(outputs, now_ns)

    def _heard_of(self, index: int, now_ns: int, *, is_beat: bool = False) -> None:
        """A message of the instrument came; a heartbeat of its own promises the next one."""
        self._heard_ns[index] = now_ns
        if is_beat:
            self._has_beat[index] = True

    def _count_beat(self, number: int) -> None:
        """Follow the numbers of the connection's heartbeats; a jump is that many seconds lost."""
        if 0 <= self._last_beat < number - 1:
            self.counters.heartbeats_lost += number - self._last_beat - 1
        self._last_beat = number

    def _silence_ns(self, index: int, now_ns: int) -> int:
        """Return for how long an instrument that has heartbeats said nothing, 0 without them."""
        return now_ns - self._heard_ns[index] if self._has_beat[index] else 0

    def _find_silent(self, outputs: list[FeedOutput], now_ns: int) -> None:
        """Mark instruments that fell silent while the connection talks; then ask for them anew."""
        for index, feed in enumerate(self.instruments):
            silent_ns = self._silence_ns(index, now_ns)
            if feed.state in BELIEVED and silent_ns > self._stale_after_ns:
                reason = f"nothing of it for {silent_ns / NS_PER_S:.1f} s, heartbeats neither"
                if feed.state is FeedState.LIVE:
                    self._move(outputs, index, FeedCause.SILENT, reason, now_ns)
                    self._has_stale = True
                elif silent_ns > SILENCES_TO_RECONNECT * self._stale_after_ns:
                    self._has_beat[index] = False
                    self._lose(outputs, index, FeedCause.SILENT, reason, now_ns)

    def _await_snapshot(self, outputs: list[FeedOutput], index: int, now_ns: int) -> None:
        """Ask again for a snapshot that did not come; loss at the start shows in nothing else.

        A doubt that nothing settles for as long is settled by a snapshot too.
        """
        feed = self.instruments[index]
        is_doubtful = feed.state is FeedState.SUSPECT and index not in self._crossed_whole
        is_waiting = feed.state in WAITING or is_doubtful
        if not is_waiting or index in self._later or self._asked_to_reconnect:
            return
        since_ns = feed.since_ns if is_doubtful else self._waits_since_ns[index]
        if now_ns - since_ns > SILENCES_TO_RECONNECT * self._stale_after_ns:
            self._waits_since_ns[index] = now_ns
            if is_doubtful and feed.cause is not None:
                self._lose(outputs, index, feed.cause, f"{feed.reason}, for too long", now_ns)
            else:
                self._ask_anew(outputs, index, now_ns)

    # --- trades

    def _traded(self, outputs: list[FeedOutput], trade: TradePrint) -> None:
        feed = self.instruments[trade.instrument]
        feed.note_trade(trade)
        outputs.append(trade)

    def _is_repeat(self, index: int, first: int, event_ns: int) -> bool:
        """Return whether a trade, or an aggregate from id ``first`` on, was printed before.

        Ids rise. One that does not, with a time well after the newest trade's, is no repeat: the
        venue numbers anew (or the newest id was damaged), and no later trade would print else.
        """
        newest, newest_ns = self.instruments[index].book.newest_trade
        is_anew = newest_ns > 0 and event_ns > newest_ns + _REPEAT_NS
        return first <= newest and not is_anew

    def _print(self, index: int, price: bytes, qty: bytes) -> tuple[int, int]:
        """Return (ticks, lots) of a trade from the JSON strings of price and quantity.

        Errors: ``ValueRefused`` off the grid, at price zero, or at quantity zero.
        """
        # One reader for all prices: a trade is read by the same rules as a level.
        rows = self._prints[index].read_pairs(b"".join((b"[[", price, b",", qty, b"]]")), 0)
        ticks, lots = int(rows[0, 1]), int(rows[0, 2])
        if lots == 0:
            raise ValueRefused("trade quantity was 0, allowed is above zero")
        return ticks, lots

    # --- handover to a second connection (core.feeds.handover)

    def newest_trade_id(self, index: int) -> int:
        """Return the id of an instrument's newest trade, -1 before the first."""
        return self.instruments[index].book.newest_trade[0]

    def take_over(
        self, old: VenueConnection, prints: Sequence[TradePrint], now_ns: int
    ) -> list[FeedOutput]:
        """Go on in the place of ``old``, which is given up; return what changes thereby.

        Its feeds and counters, which desks and brokers hold, become ours, with our books in
        them. Of ``prints``, trades that came here while both were open, those come out that
        ``old`` had not printed.
        """
        outputs: list[FeedOutput] = []
        warmed, self.instruments = self.instruments, old.instruments
        warmed_counters, self.counters = self.counters, old.counters
        for name in self.counters.__struct_fields__:
            total = getattr(self.counters, name) + getattr(warmed_counters, name)
            setattr(self.counters, name, total)
        for one in prints:
            number = int(one.trade_id) if one.trade_id.isdigit() else -1
            if number < 0 or not self._is_repeat(one.instrument, number, one.ts_event_ns):
                self._traded(outputs, msgspec.structs.replace(one, ts_recv_ns=now_ns))
        for index, (kept, warm) in enumerate(zip(self.instruments, warmed, strict=True)):
            newest = max(kept.book.newest_trade, warm.book.newest_trade)
            warm.book.go_on_from(kept.book)
            warm.book.newest_trade = newest
            self._was_live[index] |= old._was_live[index]
            kept.book, kept.last_recv_ns = warm.book, now_ns
            kept.crossed += warm.crossed
            self._enter_as(outputs, index, warm, now_ns)
            if kept.state in BELIEVED:
                self._book_moved(outputs, index, warm.last_event_ns, now_ns)
        return outputs

    def _enter_as(
        self, outputs: list[FeedOutput], index: int, warm: InstrumentFeed, now_ns: int
    ) -> None:
        """Bring an instrument to where a connection that takes over has it."""
        kept = self.instruments[index]
        if warm.state in BELIEVED:
            self._move(outputs, index, FeedCause.TAKEN_OVER, "", now_ns)
        elif kept.state is not warm.state:
            self._move(outputs, index, FeedCause.OPENED, warm.reason, now_ns)
        if kept.state is not warm.state and warm.cause is not None:
            self._move(outputs, index, warm.cause, warm.reason, now_ns)


class SocketOnly(VenueConnection):
    """A venue whose snapshots come over the socket: it asks for no HTTP."""

    def on_http(self, url: str, body: bytes, recv_ns: int) -> list[FeedOutput]:  # noqa: ARG002 (role)
        """Take a reply that nobody asked for."""
        self.counters.ignored += 1
        return []

    def on_http_failed(self, url: str, reason: str, now_ns: int) -> list[FeedOutput]:  # noqa: ARG002 (role)
        """Take a failure of what nobody asked for."""
        return []
