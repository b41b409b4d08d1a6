"""Paper broker: our orders against the book that a live or replayed feed shows.

The book does not know of us, so every rule leans to the careful side: no more than is shown or
traded, nothing twice, behind everybody at our price. ``docs/fills.md`` states the rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import msgspec
from typing_extensions import override

from core.brokers.delayed import DelayedBroker, Ticket
from core.config import Settings
from core.feeds.protocol import InstrumentFeed
from core.model.instrument import Instrument
from core.model.market import FeedState, TradePrint
from core.model.order import Order, Side

FIRST_LEVELS = 64
"""Levels looked at for an order before the whole side is."""
_LevelKey = tuple[int, int, int]
"""Instrument index, book side (0 bid, 1 ask), ticks."""


class _Taken(msgspec.Struct):
    """What we took of a level that still shows the same lots."""

    shown_lots: int
    taken_lots: int


class _Place(msgspec.Struct):
    """Where a resting order of ours stands in the queue at its price."""

    ahead_lots: int
    seen_gone_lots: int = 0
    """Lots ahead that the book showed to be gone; a trade told later may be the same lots."""


class PaperBroker(DelayedBroker):
    """Fills orders from the visible books of ``feeds``; see ``core.ports.Broker``.

    Call ``on_trade`` and ``on_market`` for all that the feed reports, in its order.
    """

    name = "paper"

    def __init__(
        self,
        feeds: list[InstrumentFeed],
        settings: Settings,
        fee_bps: Decimal,
        fees_by_venue: Mapping[str, Decimal] | None = None,
    ) -> None:
        super().__init__(settings.paper.latency_ms, fee_bps, fees_by_venue)
        self._feeds = feeds
        self._index = {feed.instrument.name: index for index, feed in enumerate(feeds)}
        self._taken: dict[_LevelKey, _Taken] = {}
        self._places: dict[str, _Place] = {}

    @override
    def on_market(self, instrument: int, now_ns: int) -> None:
        feed = self._feeds[instrument]
        self._forget_changed(instrument)
        if not self._rested or _why_doubted(feed):
            return
        for side in Side:
            for ticket in self._resting(feed.instrument.name, side):
                self._move_up(feed, ticket)
                for _, lots in self._walk(instrument, ticket):
                    self._fill(ticket, ticket.order.limit_ticks, lots, now_ns, is_maker=True)

    @override
    def on_trade(self, trade: TradePrint) -> None:
        feed = self._feeds[trade.instrument]
        # A print that does not make the last price happened at another time or at no one price.
        if not self._rested or feed.state is not FeedState.LIVE or not trade.makes_last:
            return
        for side in Side:
            if trade.aggressor != side.sign:
                self._trade_against(side, feed.instrument.name, trade)

    def _trade_against(self, side: Side, name: str, trade: TradePrint) -> None:
        """Give our resting orders of ``side`` what this trade would have given them."""
        left_lots = trade.qty_lots
        for ticket in self._resting(name, side):
            beyond_ticks = (ticket.order.limit_ticks - trade.price_ticks) * side.sign
            lots = 0
            if beyond_ticks > 0:
                lots = left_lots
            elif beyond_ticks == 0 and trade.aggressor:
                lots = _queue_moves(self._places[ticket.order.client_order_id], left_lots)
            lots = min(lots, ticket.rest_lots)
            if lots:
                left_lots -= lots
                limit_ticks = ticket.order.limit_ticks
                self._fill(ticket, limit_ticks, lots, trade.ts_recv_ns, is_maker=True)

    @override
    def _find_instrument(self, name: str) -> Instrument | None:
        index = self._index.get(name)
        return None if index is None else self._feeds[index].instrument

    @override
    def _why_closed(self, order: Order) -> str:
        return _why_doubted(self._feeds[self._index[order.instrument]])

    @override
    def _take(self, ticket: Ticket, now_ns: int) -> list[tuple[int, int]]:
        index = self._index[ticket.order.instrument]
        self._forget_changed(index)
        return self._walk(index, ticket)

    @override
    def _rest(self, ticket: Ticket, now_ns: int) -> str:
        order = ticket.order
        book = self._feeds[self._index[order.instrument]].book
        ahead_lots = book.lots_at(_own_side(order), order.limit_ticks)
        self._places[order.client_order_id] = _Place(ahead_lots)
        return ""

    @override
    def _unrest(self, ticket: Ticket, now_ns: int) -> None:
        """Nothing to undo: the book never showed it."""

    @override
    def _retire(self, ticket: Ticket, how: str) -> None:
        super()._retire(ticket, how)
        self._places.pop(ticket.order.client_order_id, None)

    def _walk(self, index: int, ticket: Ticket) -> list[tuple[int, int]]:
        """Take what is shown on the other side within the limit; return (ticks, lots) of each."""
        order = ticket.order
        found = []
        rest_lots = ticket.rest_lots
        for ticks, shown_lots in self._levels_within(index, order):
            taken = self._taken.setdefault(
                (index, 1 - _own_side(order), ticks), _Taken(shown_lots, 0)
            )
            lots = min(rest_lots, taken.shown_lots - taken.taken_lots)
            if lots > 0:
                taken.taken_lots += lots
                rest_lots -= lots
                found.append((ticks, lots))
            if rest_lots == 0:
                break
        return found

    def _levels_within(self, index: int, order: Order) -> list[list[int]]:
        book = self._feeds[index].book
        read = book.asks if order.side is Side.BUY else book.bids
        rows = read(FIRST_LEVELS)
        if len(rows) == FIRST_LEVELS and _within(order, int(rows[-1][0])):
            rows = read(max(book.size()))
        levels: list[list[int]] = rows.tolist()
        return [level for level in levels if _within(order, level[0])]

    def _forget_changed(self, index: int) -> None:
        """A level that shows other lots than when we took from it is a new level."""
        book = self._feeds[index].book
        changed = [
            key
            for key, taken in self._taken.items()
            if key[0] == index and book.lots_at(key[1], key[2]) != taken.shown_lots
        ]
        for key in changed:
            del self._taken[key]

    def _move_up(self, feed: InstrumentFeed, ticket: Ticket) -> None:
        """No more can stand before us than the level shows."""
        order = ticket.order
        place = self._places[order.client_order_id]
        shown_lots = feed.book.lots_at(_own_side(order), order.limit_ticks)
        if shown_lots < place.ahead_lots:
            place.seen_gone_lots += place.ahead_lots - shown_lots
            place.ahead_lots = shown_lots


def _why_doubted(feed: InstrumentFeed) -> str:
    if feed.state is not FeedState.LIVE:
        return f"the book was {feed.state.value}"
    if feed.book.best_bid is None or feed.book.best_ask is None:
        return "the book was one-sided or empty"
    if feed.book.is_crossed:
        return "the book was crossed"
    return ""


def _own_side(order: Order) -> int:
    return 0 if order.side is Side.BUY else 1


def _within(order: Order, ticks: int) -> bool:
    return (order.limit_ticks - ticks) * order.side.sign >= 0


def _queue_moves(place: _Place, lots: int) -> int:
    """Let a trade at our price eat the queue before us; return the lots that reach us."""
    told = min(place.seen_gone_lots, lots)
    place.seen_gone_lots -= told
    lots -= told
    eaten = min(place.ahead_lots, lots)
    place.ahead_lots -= eaten
    return lots - eaten
