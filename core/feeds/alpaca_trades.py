"""Alpaca's tape: prints with conditions, corrections and cancels, and what bars say was missed.

A print counts volume; it moves the last price where its conditions say so and its price is on the
tick grid (mid-point prints at half a cent are not). One that is told twice is counted once.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec
from msgspec import Raw

from core.clock import NS_PER_S
from core.config import Settings
from core.errors import OffLotQuantity, OffTickPrice, ValueRefused
from core.feeds.alpaca_books import AlpacaBooks
from core.feeds.alpaca_conditions import counts_volume, makes_last
from core.feeds.alpaca_prints import Counted, PrintMemory
from core.feeds.alpaca_rest import has_history, missed_trades, next_page
from core.feeds.alpaca_wire import (
    BarMessage,
    Cancel,
    Correction,
    Told,
    Trade,
    TradesPage,
    number,
    pair_text,
)
from core.feeds.times import rfc3339_ns
from core.levels import BID
from core.model.instrument import STEPS_MAX, Instrument
from core.model.market import FeedOutput, TradePrint

MINUTE_NS = 60 * NS_PER_S
PAGES_MAX = 5
"""Pages asked for to fill one hole: 50,000 prints; what is beyond is a gap that stays."""
_AGGRESSOR = {"B": 1, "S": -1}
"""By the taker's side, which crypto prints have; stock prints have none."""

_TRADE = msgspec.json.Decoder(Trade)
_CORRECTION = msgspec.json.Decoder(Correction)
_CANCEL = msgspec.json.Decoder(Cancel)
_BAR = msgspec.json.Decoder(BarMessage)
_PAGE = msgspec.json.Decoder(TradesPage)


class AlpacaTrades(AlpacaBooks):
    """Prints of one connection, and of the times between two."""

    def __init__(self, instruments: Sequence[Instrument], settings: Settings) -> None:
        super().__init__(instruments, settings)
        self._memory = [PrintMemory(feed) for feed in self.instruments]
        self._minutes: list[tuple[int, int, int]] = [(0, 0, 0)] * len(instruments)
        """Start of the newest minute, its lots, and the lots of the minute before."""
        self._subscribed_ns = 0
        self._pages = 0
        """Pages asked for since the last hole began to be filled."""

    # --- the stream

    def _take_trade(self, outputs: list[FeedOutput], told: Told) -> None:
        trade = _TRADE.decode(told.raw)
        index, event_ns, recv_ns = told.index, told.ts_event_ns, told.ts_recv_ns
        one, ticks, lots = self._read(index, trade, event_ns)
        key, memory = _key(trade), self._memory[index]
        if lots == 0 or (key is not None and memory.is_repeat(key, event_ns)):
            self.counters.ignored += 1
            return
        is_last = one.price_ticks is not None
        self._add_to_minute(index, one)
        if ticks is not None and one.qty_lots:
            name = "" if trade.i is None else str(trade.i)
            taker = one.aggressor
            made = TradePrint(
                index, ticks, lots, taker, name, event_ns, recv_ns, makes_last=is_last
            )
            self._traded(outputs, made)
            memory.remember(key, one)
        else:
            # No event: it has no price in ticks, or its volume was printed before.
            memory.count(key, one)
        if is_last:
            self._printed(outputs, index, event_ns, recv_ns)

    def _read(self, index: int, trade: Trade, event_ns: int) -> tuple[Counted, int | None, int]:
        """Return how a print counts, its ticks (None between ticks) and its whole lots."""
        ticks, lots = self._ticks_and_lots(index, trade.p, trade.s)
        conditions = trade.c or ()
        is_last = ticks is not None and (self.is_crypto or makes_last(trade.z, conditions))
        volume_lots = lots if self.is_crypto or counts_volume(conditions) else 0
        aggressor = _AGGRESSOR.get(trade.tks, 0)
        last_ticks = ticks if is_last else None
        return Counted(event_ns, volume_lots, aggressor, last_ticks, lots), ticks, lots

    def _ticks_and_lots(self, index: int, price: Raw, qty: Raw) -> tuple[int | None, int]:
        """Return (ticks, lots); None between ticks, whole lots of a quantity between lots.

        Errors: ``ValueRefused`` for what is no price or no quantity above zero.
        """
        try:
            row = self._prints[index].read_pairs(pair_text(price, qty), BID)[0]
        except (OffTickPrice, OffLotQuantity):
            return self._between(index, number(price), number(qty))
        if row[2] == 0:
            raise ValueRefused("trade quantity was 0, allowed is above zero")
        return int(row[1]), int(row[2])

    def _between(self, index: int, price: Decimal, qty: Decimal) -> tuple[int | None, int]:
        if price <= 0 or qty <= 0:
            raise ValueRefused("price and quantity of a trade are above zero")
        one = self.instruments[index].instrument
        try:
            ticks = one.ticks(price)
        except OffTickPrice:
            ticks = None
        lots = int(qty // one.lot_size)
        if lots > STEPS_MAX:
            raise ValueRefused(f"quantity of a trade was {qty}, allowed are {STEPS_MAX} lots")
        return ticks, lots

    def _take_correction(self, outputs: list[FeedOutput], told: Told) -> None:  # noqa: ARG002 (role)
        """Put the corrected print in the place of the first one, in volume and last price."""
        said = _CORRECTION.decode(told.raw)
        trade = Trade(p=said.cp, s=said.cs, i=said.ci, x=said.x, c=said.cc, z=said.z)
        new, _, _ = self._read(told.index, trade, told.ts_event_ns)
        memory = self._memory[told.index]
        if not memory.correct((said.x, said.oi), (said.x, said.ci), new):
            self.counters.ignored += 1

    def _take_cancel(self, outputs: list[FeedOutput], told: Told) -> None:  # noqa: ARG002 (role)
        """Take a print that does not stand out of volume and last price."""
        said = _CANCEL.decode(told.raw)
        if not self._memory[told.index].take_back((said.x, said.i)):
            self.counters.ignored += 1

    # --- loss: the venue numbers nothing, but its minute bars say what it sent

    def _add_to_minute(self, index: int, one: Counted) -> None:
        start_ns, lots, before_lots = self._minutes[index]
        minute_ns = one.ts_event_ns - one.ts_event_ns % MINUTE_NS
        if minute_ns == start_ns:
            self._minutes[index] = (start_ns, lots + one.qty_lots, before_lots)
        elif minute_ns > start_ns:
            kept_lots = lots if minute_ns == start_ns + MINUTE_NS else 0
            self._minutes[index] = (minute_ns, one.qty_lots, kept_lots)
        elif minute_ns == start_ns - MINUTE_NS:
            self._minutes[index] = (start_ns, lots, before_lots + one.qty_lots)

    def _take_bar(self, outputs: list[FeedOutput], told: Told) -> None:
        """Compare a minute's volume with what was printed; ask for the prints if some are missing.

        Only a bar of more than we counted says something: it leaves out prints that we count.
        """
        bar, minute_ns = _BAR.decode(told.raw), told.ts_event_ns
        told_lots = int(number(bar.v) // self.instruments[told.index].instrument.lot_size)
        start_ns, lots, before_lots = self._minutes[told.index]
        counted_lots = {start_ns: lots, start_ns - MINUTE_NS: before_lots}.get(minute_ns, 0)
        if minute_ns % MINUTE_NS or not 0 < self._subscribed_ns <= minute_ns:
            return
        self.counters.checks += 1
        if told_lots > counted_lots:
            self.counters.checks_failed += 1
            self._ask_missed(outputs, minute_ns)

    def _ask_missed(self, outputs: list[FeedOutput], start_ns: int) -> None:
        if has_history(self._feed_settings, is_crypto=self.is_crypto):
            self._pages = 1
            names = list(self._index)
            settings = self._feed_settings
            outputs.append(missed_trades(settings, names, start_ns, is_crypto=self.is_crypto))

    def _take_page(self, outputs: list[FeedOutput], url: str, body: bytes) -> None:
        """Count the prints of a page that were not counted yet; ask for the next one."""
        page = _PAGE.decode(body)
        for symbol, trades in (page.trades or {}).items():
            index = self._index.get(symbol)
            if index is not None:
                for trade in trades or ():
                    self._fill_in(index, trade)
        if page.next_page_token and self._pages < PAGES_MAX:
            self._pages += 1
            outputs.append(next_page(url, page.next_page_token))
        elif page.next_page_token:
            self.counters.gaps += 1

    def _fill_in(self, index: int, trade: Trade) -> None:
        """Count one print of the past; no event, for nobody could have acted on it."""
        event_ns, key = rfc3339_ns(trade.t), _key(trade)
        try:
            one, _, lots = self._read(index, trade, event_ns)
        except ValueRefused:
            self.counters.refused += 1
            return
        memory = self._memory[index]
        is_new = key is not None and not memory.is_repeat(key, event_ns)
        if lots and is_new and event_ns > memory.forgotten_ns:
            memory.count(key, one)


def _key(trade: Trade) -> tuple[str, int] | None:
    return None if trade.i is None else (trade.x, trade.i)
