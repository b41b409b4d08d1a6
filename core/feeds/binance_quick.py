"""Binance's usual frames, from bytes to book, features and row in one kernel call.

For each instrument and kind of frame there is one function that takes such frames, with all that it
needs at hand: a lookup costs as much here as reading two levels. It answers None for a frame that
it does not take, with nothing changed; the typed way of ``core.feeds.binance`` then judges it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from core.feeds.binance_symbol import SymbolBook
from core.feeds.protocol import InstrumentFeed
from core.kernels import frames
from core.kernels.update import CROSSED
from core.model.market import BookMoved, FeedOutput, FeedState, TradePrint

Take = Callable[[bytes, int], list[FeedOutput] | None]
"""Takes a frame that came at a time in ns; None: not taken."""

DEPTH = frozenset({"depth", "depth@100ms", "depth@1000ms"})
"""Diff streams. ``depth20`` and its like are partial books of another shape and never mixed in."""

_LIVE = FeedState.LIVE
"""Here, because a member of an enum takes 70 ns to look up: 2 % of a frame."""

_REST = {
    "depth": '","data":{"e":"depthUpdate","E":',
    "trade": '","data":{"e":"trade","E":',
    "bookTicker": '","data":{"u":',
}
"""What follows the name of a stream in each of its frames."""


class Judge(NamedTuple):
    """Whom to tell what a frame brought to light: index, flags of ``core.kernels``, time in ns."""

    crossed: Callable[[list[FeedOutput], int, int], None]
    depth: Callable[[list[FeedOutput], int, int, int], None]
    ticker: Callable[[list[FeedOutput], int, int, int], None]


class Quick:
    """Finds who takes a frame by its first ``size`` bytes.

    So many that they hold every watched symbol and the first letter of what the stream is of; the
    kernels compare the whole name. A frame that begins otherwise is nobody's.
    """

    def __init__(
        self, feeds: list[InstrumentFeed], symbols: list[SymbolBook], judge: Judge
    ) -> None:
        names = [feed.instrument.name.lower() for feed in feeds]
        self.size = frames.STREAM_AT + max(map(len, names), default=0) + len("@d")
        self.takes: dict[bytes, Take] = {}
        for index, (name, feed, symbol) in enumerate(zip(names, feeds, symbols, strict=True)):
            takes = {
                "depth": _depth(index, feed, symbol, judge),
                "trade": _trade(index, feed, symbol),
                "bookTicker": _ticker(index, feed, judge),
            }
            for kind in (*DEPTH, "trade", "bookTicker"):
                first = kind.partition("@")[0]
                head = f'{{"stream":"{name}@{kind}{_REST[first]}'.encode()
                self.takes[head[: self.size]] = takes[first]


def _depth(index: int, feed: InstrumentFeed, symbol: SymbolBook, judge: Judge) -> Take:
    book, chain, keep = feed.book, symbol.chain, symbol.chain.keep
    block, kernel = book.block, frames.take_depth

    def take(data: bytes, recv_ns: int) -> list[FeedOutput] | None:
        if feed.state is not _LIVE or chain.pending or symbol.beats_behind:
            return None
        flags, event_ns = kernel(data, block, book.far, recv_ns)
        if flags < 0:
            return None
        book.known_touch = None
        keep(data)
        feed.last_event_ns = event_ns
        feed.last_recv_ns = recv_ns
        outputs: list[FeedOutput] = [BookMoved(index, event_ns, recv_ns)]
        if flags:
            if flags & CROSSED:
                judge.crossed(outputs, index, recv_ns)
            judge.depth(outputs, index, flags, recv_ns)
        return outputs

    return take


def _ticker(index: int, feed: InstrumentFeed, judge: Judge) -> Take:
    block, kernel = feed.book.block, frames.take_ticker

    def take(data: bytes, recv_ns: int) -> list[FeedOutput] | None:
        if feed.state is not _LIVE:
            return None
        flags = kernel(data, block)
        if flags < 0:
            return None
        outputs: list[FeedOutput] = []
        if flags:
            judge.ticker(outputs, index, flags, recv_ns)
        return outputs

    return take


def _trade(index: int, feed: InstrumentFeed, symbol: SymbolBook) -> Take:
    block, kernel = feed.book.block, frames.take_trade

    def take(data: bytes, recv_ns: int) -> list[FeedOutput] | None:
        number, ticks, lots, aggressor, event_ns = kernel(data, block, recv_ns)
        if number < 0:
            return None
        symbol.has_trade_stream = True
        trade = TradePrint(index, ticks, lots, aggressor, str(number), event_ns, recv_ns)
        feed.count_trade(trade)
        return [trade]

    return take
