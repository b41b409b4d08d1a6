"""Coinbase Exchange: snapshot, ``l2update`` and ``match``; no sequence on the book.

Loss cannot be proved on this feed, so a book is believed from its snapshot on until a message is
refused or the connection falls silent. Rules and sources: ``docs/venues/coinbase-exchange.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta, Raw
from typing_extensions import override

from core.config import Settings
from core.errors import ValueRefused
from core.feeds.connection import BELIEVED, MALFORMED, SocketOnly
from core.feeds.times import rfc3339_ns
from core.levels import LevelReader
from core.model.instrument import Instrument
from core.model.market import FeedOutput, FeedState, SendText, TradePrint

URL = "wss://ws-feed.exchange.coinbase.com"
CHANNELS = ("level2_batch", "matches", "heartbeat")
"""The ones that need no key."""
_AGGRESSOR = {"buy": -1, "sell": 1}
"""By the maker's side, which is what ``side`` of a match means here."""
_UNUSED_QUIETLY = frozenset({"heartbeat", "subscriptions", "last_match"})
"""Used for liveness only; ``last_match`` is history that a reconnect repeats."""


class _Frame(msgspec.Struct, gc=False):
    type: str = ""
    product_id: str = ""
    time: str = ""
    message: str = ""
    reason: str = ""


class _Snapshot(msgspec.Struct, gc=False):
    bids: Raw
    asks: Raw


class _Update(msgspec.Struct, gc=False):
    changes: Raw


class _Match(msgspec.Struct, gc=False):
    trade_id: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    side: str
    size: Raw
    price: Raw


_FRAME = msgspec.json.Decoder(_Frame)
_SNAPSHOT = msgspec.json.Decoder(_Snapshot)
_UPDATE = msgspec.json.Decoder(_Update)
_MATCH = msgspec.json.Decoder(_Match)


class CoinbaseExchangeProtocol(SocketOnly):
    """One connection; see ``core.feeds.protocol.FeedProtocol``."""

    venue = "coinbase-exchange"

    def __init__(self, instruments: Sequence[Instrument], settings: Settings) -> None:
        super().__init__(instruments, settings)
        self._readers = [LevelReader(one) for one in instruments]

    def url(self) -> str:
        """Return the address of the public feed."""
        return URL

    def on_open(self, now_ns: int) -> list[FeedOutput]:
        """Forget the books and subscribe."""
        outputs = self._opened(now_ns, "connected, waiting for a snapshot")
        outputs.append(self._request("subscribe", list(CHANNELS), list(self._index)))
        return outputs

    def receive(self, data: bytes, recv_ns: int) -> list[FeedOutput]:
        """Take one frame."""
        outputs: list[FeedOutput] = []
        self.counters.frames += 1
        try:
            frame = _FRAME.decode(data)
        except MALFORMED as error:
            # It may have been of any book, and no number will show that it is missing.
            self._refuse_all(outputs, str(error), recv_ns)
            return outputs
        try:
            if frame.type in {"snapshot", "l2update"}:
                self._book(outputs, frame, data, recv_ns)
            elif frame.type == "match":
                self._match(outputs, frame, data, recv_ns)
            elif frame.type == "error":
                self._venue_said(outputs, f"{frame.message} {frame.reason}".strip(), recv_ns)
            elif frame.type not in _UNUSED_QUIETLY:
                self.counters.ignored += 1
        except MALFORMED:
            self.counters.refused += 1
        else:
            self._heard(outputs, recv_ns)
        return outputs

    def _request(self, verb: str, channels: list[str], names: list[str]) -> SendText:
        message = {"type": verb, "product_ids": names, "channels": channels}
        return SendText(msgspec.json.encode(message).decode())

    def _of(self, frame: _Frame) -> int:
        index = self._index.get(frame.product_id)
        if index is None:
            raise ValueRefused("the frame was of an instrument that is not watched")
        return index

    def _book(self, outputs: list[FeedOutput], frame: _Frame, data: bytes, recv_ns: int) -> None:
        if not frame.product_id:
            self._refuse_all(outputs, "it named no product", recv_ns)
            return
        index = self._of(frame)
        feed = self.instruments[index]
        is_snapshot = frame.type == "snapshot"
        feed.last_recv_ns = recv_ns
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
        if is_snapshot:
            self._later.pop(index, None)
            self._move(outputs, index, FeedState.LIVE, "", recv_ns)
        self._book_moved(outputs, index, rfc3339_ns(frame.time) if frame.time else 0, recv_ns)

    def _levels(self, index: int, data: bytes, *, is_snapshot: bool) -> np.ndarray:
        if is_snapshot:
            snapshot = _SNAPSHOT.decode(data)
            return self._readers[index].read_depth(snapshot.bids, snapshot.asks)
        return self._readers[index].read_changes(_UPDATE.decode(data).changes)

    def _refuse(self, outputs: list[FeedOutput], index: int, reason: str, recv_ns: int) -> None:
        """Empty the book and subscribe it anew, which brings a snapshot."""
        self.counters.refused += 1
        self._refuse_book(outputs, index, reason, recv_ns)
        self._ask_anew(outputs, index, recv_ns)

    def _refuse_all(self, outputs: list[FeedOutput], reason: str, recv_ns: int) -> None:
        self.counters.refused += 1
        for index in self._believed():
            self._refuse_book(outputs, index, reason, recv_ns)
            self._ask_anew(outputs, index, recv_ns)

    @override
    def _ask_anew(self, outputs: list[FeedOutput], index: int, now_ns: int) -> None:
        name = [self.instruments[index].instrument.name]
        verbs = ("unsubscribe", "subscribe")
        anew = [self._request(verb, ["level2_batch"], name) for verb in verbs]
        self._send_later(index, [*anew], now_ns)

    def _match(self, outputs: list[FeedOutput], frame: _Frame, data: bytes, recv_ns: int) -> None:
        index = self._of(frame)
        match = _MATCH.decode(data)
        aggressor = _AGGRESSOR.get(match.side)
        if aggressor is None:
            raise ValueRefused(f"side of a match was {match.side[:20]!r}")
        ticks, lots = self._print(index, match.price, match.size)
        trade_id, event_ns = str(match.trade_id), rfc3339_ns(frame.time)
        if self._is_repeat(index, match.trade_id, event_ns):
            self.counters.ignored += 1
            return
        self._newest_trades[index] = (match.trade_id, event_ns)
        self._traded(
            outputs, TradePrint(index, ticks, lots, aggressor, trade_id, event_ns, recv_ns)
        )
