"""Coinbase Exchange: snapshot, ``l2update`` and ``match``; no sequence on the book.

Loss of a book message cannot be proved on this feed. A book is believed from its snapshot on until
a message is refused, its product falls silent, or a cross-check (``core.feeds.crosscheck``) speaks
against it. Rules and sources: ``docs/venues/coinbase-exchange.md``.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from typing_extensions import override

from core.clock import NS_PER_S
from core.config import Settings
from core.errors import ValueRefused
from core.feeds import coinbase_exchange_wire as wire
from core.feeds.connection import MALFORMED, SocketOnly
from core.feeds.crosscheck import BookLag, TickerCheck, TradeIds
from core.feeds.states import BELIEVED
from core.feeds.times import rfc3339_ns
from core.levels import LevelReader
from core.model.instrument import Instrument
from core.model.market import FeedCause, FeedOutput, FeedState, SendText, TradePrint

CHANNELS = ("level2_batch", "matches", "ticker", "heartbeat")
"""The ones that need no key: the book, its trades, and two to check both against."""
_BOOK_CHANNELS = CHANNELS[:1]
_AGGRESSOR = {"buy": -1, "sell": 1}
"""By the maker's side, which is what ``side`` of a match means here."""
_LOST_BY_CHANNEL = frozenset({FeedCause.SILENT, FeedCause.TRADES_LOST, FeedCause.LAGGED})
"""Doubts about a subscription and not only about the book in it."""


_FAILED_CHECKS = 2
"""Comparisons in a row: a best price that came and went within one flush fails one (1 of 62 in a
recording flushed by us every 50 ms, none of 97 as it was recorded)."""


class _Checks:
    """The cross-checks of one product on one connection."""

    def __init__(self) -> None:
        self.ids = TradeIds()
        self.ticker = TickerCheck()
        self.lag = BookLag()
        self.ticker_id: int | None = None
        """Trade of the newest ticker; the first one tells of a time before it was subscribed."""
        self.n_failed = 0
        """Comparisons that failed since the last one that did not."""


class CoinbaseExchangeProtocol(SocketOnly):
    """One connection; see ``core.feeds.protocol.FeedProtocol``."""

    venue = "coinbase-exchange"

    def __init__(self, instruments: Sequence[Instrument], settings: Settings) -> None:
        super().__init__(instruments, settings)
        self._readers = [LevelReader(one) for one in instruments]
        self._checks = [_Checks() for _ in instruments]

    def url(self) -> str:
        """Return the address of the public feed."""
        return self._feed_settings.coinbase_exchange_stream

    def on_open(self, now_ns: int) -> list[FeedOutput]:
        """Forget the books and subscribe."""
        outputs = self._opened(now_ns, "connected, waiting for a snapshot")
        self._checks = [_Checks() for _ in self.instruments]
        outputs.append(self._request("subscribe", list(CHANNELS), list(self._index)))
        return outputs

    def receive(self, data: bytes, recv_ns: int) -> list[FeedOutput]:
        """Take one frame."""
        outputs: list[FeedOutput] = []
        self.counters.frames += 1
        try:
            frame = wire.FRAME.decode(data)
        except MALFORMED as error:
            # It may have been of any book, and no number will show that it is missing.
            self._refuse_all(outputs, str(error), recv_ns)
            return outputs
        try:
            if frame.type in {"snapshot", "l2update"}:
                self._book(outputs, frame, data, recv_ns)
            elif frame.type == "match":
                self._match(outputs, frame, data, recv_ns)
            elif frame.type in {"ticker", "heartbeat", "last_match"}:
                self._check(outputs, frame, data, recv_ns)
            elif frame.type == "error":
                self._venue_said(outputs, f"{frame.message} {frame.reason}".strip(), recv_ns)
            elif frame.type != "subscriptions":
                self.counters.ignored += 1
        except MALFORMED:
            self.counters.refused += 1
        else:
            self._heard(outputs, recv_ns)
        return outputs

    @override
    def on_time(self, now_ns: int) -> list[FeedOutput]:
        """Judge what has settled, then as every venue does."""
        outputs: list[FeedOutput] = []
        for index in self._believed():
            self._judge(outputs, index, now_ns)
        return outputs + super().on_time(now_ns)

    def _request(self, verb: str, channels: list[str], names: list[str]) -> SendText:
        message = {"type": verb, "product_ids": names, "channels": channels}
        return SendText(msgspec.json.encode(message).decode())

    def _of(self, frame: wire.Frame) -> int:
        index = self._index.get(frame.product_id)
        if index is None:
            raise ValueRefused("the frame was of an instrument that is not watched")
        return index

    # --- the book

    def _book(
        self, outputs: list[FeedOutput], frame: wire.Frame, data: bytes, recv_ns: int
    ) -> None:
        if not frame.product_id:
            self._refuse_all(outputs, "it named no product", recv_ns)
            return
        index = self._of(frame)
        feed = self.instruments[index]
        is_snapshot = frame.type == "snapshot"
        feed.last_recv_ns = recv_ns
        self._heard_of(index, recv_ns)
        try:
            levels = self._levels(index, data, is_snapshot=is_snapshot)
            if not is_snapshot and feed.state not in BELIEVED:
                self.counters.ignored += 1
                return
            if is_snapshot:
                feed.book.clear()
            feed.book.apply(levels)
        except MALFORMED as error:
            self._refuse(outputs, index, str(error), recv_ns)
            return
        checks = self._checks[index]
        if is_snapshot:
            self._later.pop(index, None)
            checks.ticker.forget()
            checks.n_failed = 0
            self._move(outputs, index, FeedCause.SNAPSHOT, "", recv_ns)
        self._book_moved(outputs, index, rfc3339_ns(frame.time) if frame.time else 0, recv_ns)
        checks.lag.moved()
        self._relieve(outputs, index, FeedCause.LAGGED, FeedCause.CAUGHT_UP, recv_ns)
        checks.ticker.moved(feed.book.touch(), recv_ns)
        self._judge(outputs, index, recv_ns)

    def _levels(self, index: int, data: bytes, *, is_snapshot: bool) -> np.ndarray:
        if is_snapshot:
            snapshot = wire.SNAPSHOT.decode(data)
            return self._readers[index].read_depth(snapshot.bids, snapshot.asks)
        return self._readers[index].read_changes(wire.UPDATE.decode(data).changes)

    def _refuse(self, outputs: list[FeedOutput], index: int, reason: str, recv_ns: int) -> None:
        """Empty the book and subscribe it anew, which brings a snapshot."""
        self.counters.refused += 1
        self._refuse_book(outputs, index, reason, recv_ns)

    def _refuse_all(self, outputs: list[FeedOutput], reason: str, recv_ns: int) -> None:
        self.counters.refused += 1
        for index in self._believed():
            self._refuse_book(outputs, index, reason, recv_ns)

    @override
    def _ask_anew(self, outputs: list[FeedOutput], index: int, now_ns: int) -> None:
        feed = self.instruments[index]
        channels = CHANNELS if feed.cause in _LOST_BY_CHANNEL else _BOOK_CHANNELS
        name = [feed.instrument.name]
        verbs = ("unsubscribe", "subscribe")
        anew = [self._request(verb, list(channels), name) for verb in verbs]
        self._send_later(index, [*anew], now_ns)

    # --- trades and checks

    def _match(
        self, outputs: list[FeedOutput], frame: wire.Frame, data: bytes, recv_ns: int
    ) -> None:
        index = self._of(frame)
        self._heard_of(index, recv_ns)
        match = wire.MATCH.decode(data)
        aggressor = _AGGRESSOR.get(match.side)
        if aggressor is None:
            raise ValueRefused(f"side of a match was {match.side[:20]!r}")
        ticks, lots = self._print(index, match.price, match.size)
        trade_id, event_ns = str(match.trade_id), rfc3339_ns(frame.time)
        if self._is_repeat(index, match.trade_id, event_ns):
            self.counters.ignored += 1
            return
        self.instruments[index].book.newest_trade = (match.trade_id, event_ns)
        self._traded(
            outputs, TradePrint(index, ticks, lots, aggressor, trade_id, event_ns, recv_ns)
        )
        checks = self._checks[index]
        checks.lag.traded(recv_ns)
        self._lost_trades(outputs, index, checks.ids.follow(match.trade_id), recv_ns)

    def _check(
        self, outputs: list[FeedOutput], frame: wire.Frame, data: bytes, recv_ns: int
    ) -> None:
        """Take what only checks others; it is of no use to whoever trades."""
        index = self._index.get(frame.product_id)
        if index is None:
            self.counters.ignored += 1
            return
        checks = self._checks[index]
        self._heard_of(index, recv_ns, is_beat=frame.type == "heartbeat")
        if frame.type == "last_match":
            # History, sent once with the subscription: it may repeat a trade and is no print.
            checks.ids.begin_at(wire.LAST_MATCH.decode(data).trade_id)
        elif frame.type == "heartbeat":
            lost = checks.ids.compare(wire.BEAT.decode(data).last_trade_id)
            self._lost_trades(outputs, index, lost, recv_ns)
        else:
            self._ticker(index, wire.TICKER.decode(data), recv_ns)
        self._judge(outputs, index, recv_ns)

    def _ticker(self, index: int, ticker: wire.Ticker, recv_ns: int) -> None:
        """Keep a ticker for the comparison; one that tells of an old trade has old prices."""
        checks, feed = self._checks[index], self.instruments[index]
        before, checks.ticker_id = checks.ticker_id, ticker.trade_id
        if before is None or before == ticker.trade_id or feed.state not in BELIEVED:
            return
        try:
            bid, ask = (feed.instrument.ticks(each) for each in (ticker.best_bid, ticker.best_ask))
        except ValueRefused:
            # An old recording without best prices, or a side that is empty: nothing to compare.
            self.counters.ignored += 1
            return
        if bid > 0 and ask > 0:
            checks.ticker.told(bid, ask, recv_ns)

    def _lost_trades(self, outputs: list[FeedOutput], index: int, lost: int, now_ns: int) -> None:
        """Trades that never came: the connection loses messages, perhaps of the book too."""
        if not lost:
            return
        self.counters.gaps += 1
        self.counters.trades_lost += lost
        reason = f"trades that never came: {lost}"
        self._doubt(outputs, index, FeedCause.TRADES_LOST, reason, now_ns)
        if self.instruments[index].state is FeedState.SUSPECT:
            self._ask_anew(outputs, index, now_ns)

    def _judge(self, outputs: list[FeedOutput], index: int, now_ns: int) -> None:
        """Judge the ticker that has settled, and a book that stands still while trades go on."""
        checks, feed = self._checks[index], self.instruments[index]
        if feed.state not in BELIEVED:
            return
        agreed = checks.ticker.verdict(now_ns)
        if agreed is not None:
            self.counters.checks += 1
            self.counters.checks_failed += not agreed
            checks.n_failed = 0 if agreed else checks.n_failed + 1
            if agreed:
                doubt, relief = FeedCause.CHECK_FAILED, FeedCause.CHECK_PASSED
                self._relieve(outputs, index, doubt, relief, now_ns)
            elif checks.n_failed >= _FAILED_CHECKS:
                reason = "its best prices were not those of the ticker"
                self._doubt(outputs, index, FeedCause.CHECK_FAILED, reason, now_ns)
        lag_ns = checks.lag.lasted_ns(now_ns)
        is_lagging = feed.state is FeedState.SUSPECT and feed.cause is FeedCause.LAGGED
        if lag_ns > (self._stale_after_ns if is_lagging else 0):
            reason = f"no book message for {lag_ns / NS_PER_S:.1f} s though it traded"
            self._doubt(outputs, index, FeedCause.LAGGED, reason, now_ns)
