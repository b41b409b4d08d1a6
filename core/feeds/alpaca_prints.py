"""The stock prints that were counted, so that one can be taken back, corrected or known again.

The venue has no sequence: a print is known by (venue of the print, id, time). The newest ``KEPT``
of an instrument are remembered; a correction of an older one, or of one from before the
connection, changes nothing, because it was not counted or can no longer be told.
"""

from __future__ import annotations

from itertools import islice

import msgspec

from core.feeds.protocol import InstrumentFeed

KEPT = 8192
"""Prints an instrument; about 1 MB."""


class Counted(msgspec.Struct, frozen=True, gc=False):
    """One print as it went into the counters."""

    ts_event_ns: int
    qty_lots: int
    """Lots that were added to the volume; 0 where the print repeats volume."""
    aggressor: int
    price_ticks: int | None
    """None where the print does not make the last price."""
    last_lots: int
    """Size shown with the last price."""


_Key = tuple[str, int]


class PrintMemory:
    """The counted prints of one instrument; changes its feed's counters and last price."""

    def __init__(self, feed: InstrumentFeed) -> None:
        self._feed = feed
        self._prints: dict[_Key, Counted] = {}
        self.newest_ns = 0
        """Venue time of the newest print, 0 before the first."""
        self.forgotten_ns = 0
        """Up to this venue time a print may have been counted and is not remembered."""

    def __len__(self) -> int:
        return len(self._prints)

    def is_repeat(self, key: _Key, ts_event_ns: int) -> bool:
        """Return whether this print was counted: the same id at the same time."""
        known = self._prints.get(key)
        return known is not None and known.ts_event_ns == ts_event_ns

    def count(self, key: _Key | None, one: Counted) -> None:
        """Count a print that is not a repeat; without a key it can never be taken back."""
        self._add(one, 1)
        # A print that comes late by REST does not displace the newer one that came before it.
        if one.price_ticks is not None and one.ts_event_ns >= self.newest_ns:
            self._show(one)
        self._remember(key, one)

    def remember(self, key: _Key | None, one: Counted) -> None:
        """Remember a print that the feed has counted itself."""
        self._remember(key, one)

    def take_back(self, key: _Key) -> bool:
        """Uncount a canceled print; False where it is not known."""
        one = self._prints.pop(key, None)
        if one is None:
            return False
        self._add(one, -1)
        if one.price_ticks is not None:
            self._show_newest()
        return True

    def correct(self, key: _Key, new_key: _Key, new: Counted) -> bool:
        """Put ``new`` in the place of a print, at the time of that print; False if not known."""
        old = self._prints.pop(key, None)
        if old is None:
            return False
        self._add(old, -1)
        new = msgspec.structs.replace(new, ts_event_ns=old.ts_event_ns)
        self._add(new, 1)
        self._prints[new_key] = new
        if old.price_ticks is not None or new.price_ticks is not None:
            self._show_newest()
        return True

    def _remember(self, key: _Key | None, one: Counted) -> None:
        self.newest_ns = max(self.newest_ns, one.ts_event_ns)
        if key is None:
            return
        self._prints.pop(key, None)
        self._prints[key] = one
        if len(self._prints) > KEPT:
            for oldest in list(islice(self._prints, KEPT // 8)):
                gone = self._prints.pop(oldest)
                self.forgotten_ns = max(self.forgotten_ns, gone.ts_event_ns)

    def _add(self, one: Counted, sign: int) -> None:
        feed = self._feed
        feed.trades += sign
        if one.aggressor > 0:
            feed.buy_lots += sign * one.qty_lots
        elif one.aggressor < 0:
            feed.sell_lots += sign * one.qty_lots
        else:
            feed.unknown_lots += sign * one.qty_lots

    def _show(self, one: Counted) -> None:
        feed = self._feed
        feed.last_trade_ticks, feed.last_trade_lots = one.price_ticks, one.last_lots
        feed.last_trade_aggressor = one.aggressor

    def _show_newest(self) -> None:
        """Make the newest print that can be the last price the last price; none is None."""
        newest: Counted | None = None
        for one in self._prints.values():
            is_newer = newest is None or one.ts_event_ns >= newest.ts_event_ns
            if one.price_ticks is not None and is_newer:
                newest = one
        if newest is not None:
            self._show(newest)
        else:
            self._feed.last_trade_ticks, self._feed.last_trade_lots = None, 0
            self._feed.last_trade_aggressor = 0
