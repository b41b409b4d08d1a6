"""The venue's own book of one instrument: the source of truth that a client is compared with.

Plain dictionaries of ticks to lots and no code of the client's books. Every level change is a
version; a journal of what each change undid gives the book as of any version still kept.
"""

from __future__ import annotations

from collections import deque

import msgspec

from core.model.instrument import Instrument

BID, ASK = 0, 1
MAX_TRADES = 1000
"""Trades kept for those who ask what they missed."""
Sides = tuple[dict[int, int], dict[int, int]]
"""Bids and asks, ticks to lots."""


class Change(msgspec.Struct, frozen=True, gc=False):
    """The lots now at a price; 0 says the level is gone."""

    side: int
    """0 bid, 1 ask."""
    ticks: int
    lots: int


class Trade(msgspec.Struct, frozen=True, gc=False):
    """One public print."""

    ticks: int
    lots: int
    aggressor: int
    """1 the buyer took, -1 the seller."""
    trade_id: int
    """Counts by instrument, without holes."""
    ts_ns: int


class _Undo(msgspec.Struct, gc=False):
    """What one version replaced; ``lots`` None where only the number changed."""

    version: int
    """The version before."""
    until_ns: int
    """When that version ceased to be the newest."""
    side: int = 0
    ticks: int = 0
    lots: int | None = None


class TrueBook:
    """One instrument at the venue.

    Args:
        instrument: Its tick and lot size.
        version: Number of the empty book.
        keep: Versions that can be asked for; None keeps all, which only a short run can afford.
        decimals: Least digits after the point in texts, as a venue pads them; None: as few as
            the increments have.
    """

    def __init__(
        self,
        instrument: Instrument,
        version: int = 1,
        keep: int | None = None,
        decimals: int | None = None,
    ) -> None:
        self.instrument = instrument
        self.sides: Sides = ({}, {})
        self.version = version
        self.trade_id = 0
        """Id of the newest trade."""
        self.trades: deque[Trade] = deque(maxlen=MAX_TRADES)
        self._undos: deque[_Undo] = deque(maxlen=keep)
        self._n_undos = 0
        self._place_of: dict[int, int] = {version: 0}
        """How many changes had been made at each version."""
        self._price = _Texts(instrument.price_decimals, instrument.tick_units, decimals)
        self._qty = _Texts(instrument.qty_decimals, instrument.lot_units, decimals)

    def best(self, side: int) -> int:
        """Return the best price of a side in ticks. Errors: ``ValueError`` for an empty side."""
        return max(self.sides[BID]) if side == BID else min(self.sides[ASK])

    def set(self, side: int, ticks: int, lots: int, now_ns: int) -> Change:
        """Put ``lots`` at a price, 0 to remove it; return the change as it is told."""
        levels = self.sides[side]
        self._add(_Undo(self.version, now_ns, side, ticks, levels.get(ticks, 0)), self.version + 1)
        if lots:
            levels[ticks] = lots
        else:
            levels.pop(ticks, None)
        return Change(side, ticks, lots)

    def renumber(self, version: int, now_ns: int) -> None:
        """Number on from another place, as a matching engine does that was started anew."""
        self._add(_Undo(self.version, now_ns), version)

    def traded(self, ticks: int, lots: int, aggressor: int, now_ns: int) -> Trade:
        """Print a trade."""
        self.trade_id += 1
        self.trades.append(Trade(ticks, lots, aggressor, self.trade_id, now_ns))
        return self.trades[-1]

    @property
    def newest_trade(self) -> Trade | None:
        return self.trades[-1] if self.trades else None

    def truth(self, version: int) -> Sides | None:
        """Return the book as of a version; None where it never was, or is not kept any more.

        The newest version is the book itself: look at it before the next change.
        """
        place = self._place_of.get(version)
        if place is None or self._n_undos - place > len(self._undos):
            return None
        if place == self._n_undos:
            return self.sides
        sides = (self.sides[BID].copy(), self.sides[ASK].copy())
        for back in range(1, self._n_undos - place + 1):
            undo = self._undos[-back]
            if undo.lots:
                sides[undo.side][undo.ticks] = undo.lots
            elif undo.lots is not None:
                sides[undo.side].pop(undo.ticks, None)
        return sides

    def ceased_ns(self, version: int) -> int | None:
        """Return when a version ceased to be the newest; None if it is, or is not kept."""
        place = self._place_of.get(version)
        behind = 0 if place is None else self._n_undos - place
        return self._undos[-behind].until_ns if 0 < behind <= len(self._undos) else None

    def rows(
        self, side: int, count: int | None = None, sides: Sides | None = None
    ) -> list[tuple[str, str]]:
        """Return levels as (price, quantity) text, best first; of ``sides`` where given."""
        levels = (sides or self.sides)[side]
        ticks = sorted(levels, reverse=side == BID)[:count]
        return [(self._price.of(each), self._qty.of(levels[each])) for each in ticks]

    def price_text(self, ticks: int) -> str:
        return self._price.of(ticks)

    def qty_text(self, lots: int) -> str:
        return self._qty.of(lots)

    def _add(self, undo: _Undo, version: int) -> None:
        if len(self._undos) == self._undos.maxlen:
            self._place_of.pop(self._undos[0].version, None)
        self._undos.append(undo)
        self._n_undos += 1
        self.version = version
        self._place_of[version] = self._n_undos


class _Texts:
    """Integers of a grid as decimal text of a fixed number of digits."""

    def __init__(self, decimals: int, units: int, padded: int | None) -> None:
        self._units = units
        self._scale = 10**decimals
        self._decimals = decimals
        self._tail = ""
        if padded is not None and padded > decimals:
            self._tail = ("" if decimals else ".") + "0" * (padded - decimals)

    def of(self, count: int) -> str:
        whole, rest = divmod(count * self._units, self._scale)
        if not self._decimals:
            return f"{whole}{self._tail}"
        return f"{whole}.{rest:0{self._decimals}d}{self._tail}"
