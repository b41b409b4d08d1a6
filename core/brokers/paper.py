"""Paper broker: our orders against the book that a live or replayed feed shows.

The book does not know of us, so every rule leans to the careful side: no more than is shown or
traded, nothing twice, behind everybody at our price. ``docs/fills.md`` states the rules.
"""

from __future__ import annotations

from typing_extensions import override

from core.brokers.consumed import Consumed
from core.brokers.delayed import DelayedBroker
from core.brokers.meeting import Ticket
from core.brokers.queue import QueuePlace
from core.config import Settings
from core.feeds.protocol import InstrumentFeed
from core.model.instrument import Instrument
from core.model.market import FeedState, TradePrint
from core.model.order import Order, Side

FIRST_LEVELS = 64
"""Levels looked at for an order before the whole side is."""


class PaperBroker(DelayedBroker):
    """Fills orders from the visible books of ``feeds``; see ``core.ports.Broker``.

    Call ``on_trade`` and ``on_market`` for all that the feed reports, in its order.
    """

    name = "paper"

    def __init__(self, feeds: list[InstrumentFeed], settings: Settings) -> None:
        super().__init__(settings.paper, settings.risk.stock_days)
        self._feeds = feeds
        self._index = {feed.instrument.name: index for index, feed in enumerate(feeds)}
        self._consumed = Consumed()
        self._places: dict[str, QueuePlace] = {}

    @override
    def on_market(self, instrument: int, now_ns: int) -> None:
        feed = self._feeds[instrument]
        self._consumed.look(instrument, feed.book.lots_at)
        if not self._rested or _why_doubted(feed):
            return
        for side in Side:
            for ticket in self._resting(feed.instrument.name, side):
                order = ticket.order
                shown_lots = feed.book.lots_at(_own_side(order), order.limit_ticks)
                self._places[order.client_order_id].on_book(shown_lots, now_ns)
                for _, lots in self._walk(instrument, ticket, None):
                    self._fill(ticket, order.limit_ticks, lots, now_ns, is_maker=True)

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
                place = self._places[ticket.order.client_order_id]
                lots = place.on_trade(left_lots, trade.ts_recv_ns)
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
    def _would_take(self, order: Order) -> bool:
        book = self._feeds[self._index[order.instrument]].book
        best = book.best_ask if order.side is Side.BUY else book.best_bid
        shown = best is not None and _within(order, best[0])
        own = self._resting(order.instrument, order.side.opposite)
        return shown or any(_within(order, other.order.limit_ticks) for other in own)

    @override
    def _why_not_whole(self, ticket: Ticket, own: Ticket | None) -> str:
        index = self._index[ticket.order.instrument]
        lots = sum(lots for _, lots in self._reach(index, ticket, own))
        wanted = ticket.order.qty_lots
        before = "" if own is None else f" before our own order {own.order.client_order_id}"
        if lots == wanted:
            return ""
        reached, whole = (self._shown(ticket.order, each) for each in (lots, wanted))
        return f"{reached} of {whole} was within the limit{before}"

    @override
    def _take(self, ticket: Ticket, own: Ticket | None, now_ns: int) -> list[tuple[int, int]]:
        index = self._index[ticket.order.instrument]
        self._consumed.look(index, self._feeds[index].book.lots_at)
        return self._walk(index, ticket, own)

    @override
    def _rest(self, ticket: Ticket, now_ns: int) -> str:
        order = ticket.order
        if order.client_order_id not in self._places:
            book = self._feeds[self._index[order.instrument]].book
            shown_lots = book.lots_at(_own_side(order), order.limit_ticks)
            self._places[order.client_order_id] = QueuePlace(shown_lots)
        return ""

    @override
    def _unrest(self, ticket: Ticket, now_ns: int) -> None:
        """Nothing to undo: the book never showed it."""

    @override
    def _retire(self, ticket: Ticket, how: str) -> None:
        super()._retire(ticket, how)
        self._places.pop(ticket.order.client_order_id, None)

    def _walk(self, index: int, ticket: Ticket, own: Ticket | None) -> list[tuple[int, int]]:
        """Take what can be reached and remember it; return (ticks, lots) of each level."""
        side = 1 - _own_side(ticket.order)
        found = self._reach(index, ticket, own)
        for ticks, lots in found:
            self._consumed.take(index, (side, ticks), lots)
        return found

    def _reach(self, index: int, ticket: Ticket, own: Ticket | None) -> list[tuple[int, int]]:
        """Return (ticks, lots) that the other side shows within the limit, best price first.

        Up to our own order ``own`` where one is in the way: at its price, those before it.
        """
        side, rest_lots = 1 - _own_side(ticket.order), ticket.rest_lots
        found = []
        for ticks, level_lots in self._levels_within(index, ticket.order):
            shown_lots = level_lots
            if own is not None:
                beyond_ticks = (ticks - own.order.limit_ticks) * ticket.order.side.sign
                if beyond_ticks > 0:
                    break
                if beyond_ticks == 0:
                    shown_lots = self._places[own.order.client_order_id].ahead_lots
            lots = min(rest_lots, self._consumed.left_lots(index, (side, ticks), shown_lots))
            if lots:
                rest_lots -= lots
                found.append((ticks, lots))
            if not rest_lots:
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
