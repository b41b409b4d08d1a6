"""Coinbase Advanced Trade: books by snapshot and absolute updates, one sequence a connection.

``sequence_num`` counts every frame of every channel of the connection. A gap says that something
was lost but not what, so it costs all books; a refused message costs only its own. Rules and
their sources: ``docs/venues/coinbase.md``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta, Raw
from typing_extensions import override

from core.config import Settings
from core.errors import ValueRefused
from core.feeds.connection import MALFORMED, SocketOnly
from core.feeds.states import BELIEVED
from core.feeds.symbols import coinbase_label, coinbase_labels
from core.feeds.times import rfc3339_ns
from core.kernels import block as at
from core.kernels import frames
from core.kernels.update import CROSSED
from core.levels import LevelReader
from core.model.instrument import Instrument
from core.model.market import (
    BookMoved,
    FeedCause,
    FeedOutput,
    FeedState,
    SendText,
    TradePrint,
)

_LIVE = FeedState.LIVE
"""Here, because a member of an enum takes 70 ns to look up: 2 % of a frame."""

_PRODUCT = b'"product_id":"'
CHANNELS = ("level2", "market_trades", "heartbeats")
"""One subscribe message each. Heartbeats keep the others open and prove the socket alive."""
_AGGRESSOR = {"BUY": -1, "SELL": 1}
"""By the maker's side, which is what ``side`` of a trade means here."""
_TRADE_ID = re.compile(r"[0-9A-Za-z-]{1,40}", re.ASCII)
_NUMBER_DIGITS = 18
"""Digits of an id that is a number; longer ones are names, as int64 holds no such number."""


class _Frame(msgspec.Struct, gc=False):
    channel: str = ""
    timestamp: str = ""
    sequence_num: Annotated[int, Meta(ge=0, le=2**63 - 2)] | None = None
    events: Raw = Raw(b"[]")
    type: str = ""
    message: str = ""


class _BookEvent(msgspec.Struct, gc=False):
    type: str
    product_id: str
    updates: Raw


class _Trade(msgspec.Struct, gc=False):
    product_id: str
    trade_id: str
    price: Raw
    size: Raw
    side: str
    time: str = ""


class _TradesEvent(msgspec.Struct, gc=False):
    type: str
    trades: Raw


class _Beat(msgspec.Struct, gc=False):
    heartbeat_counter: Annotated[int, Meta(ge=0, le=2**63 - 1)]


_FRAME = msgspec.json.Decoder(_Frame)
_BEATS = msgspec.json.Decoder(list[_Beat], strict=False)
"""Lax: the counter is a number in every recording and text in some of the documentation."""
_BOOK_EVENTS = msgspec.json.Decoder(list[_BookEvent])
_TRADES_EVENTS = msgspec.json.Decoder(list[_TradesEvent])
_TRADES = msgspec.json.Decoder(list[_Trade])


class _BookChange(msgspec.Struct, gc=False):
    """A book event, read and not yet applied; levels int64[n, 3]."""

    index: int
    is_snapshot: bool
    levels: np.ndarray


class CoinbaseProtocol(SocketOnly):
    """One connection with all channels; see ``core.feeds.protocol.FeedProtocol``."""

    venue = "coinbase"
    uses_kernel = True
    """False takes every frame the typed way: the reference that tests and fuzzers compare with."""

    def __init__(self, instruments: Sequence[Instrument], settings: Settings) -> None:
        super().__init__(instruments, settings)
        self._names = [one.name for one in instruments]
        self._labels = coinbase_labels(self._names)
        self._readers = [
            LevelReader(feed.instrument, grid=feed.book.block[at.GRID : at.CLOCK])
            for feed in self.instruments
        ]
        self._label_room = max(map(len, self._labels), default=0) + 1
        self._quick_labels = {
            (label.encode() + frames.UPDATES_OF)[: self._label_room]: (index, len(label))
            for label, index in self._labels.items()
        }
        self._label_at = 0
        """Where the newest update named its product: it moves with the digits of a number."""
        self._sequence = -1
        """Number of the newest frame of this connection; -1 before the first."""

    def url(self) -> str:
        """Return the address of the market data socket."""
        return self._feed_settings.coinbase_stream

    def on_open(self, now_ns: int) -> list[FeedOutput]:
        """Forget the books and subscribe, within the venue's five seconds."""
        outputs = self._opened(now_ns, "connected, waiting for a snapshot")
        self._sequence = -1
        for index, name in enumerate(self._names):
            label = coinbase_label(name)
            if self._labels[label] != index:
                reason = f"{name} arrives labelled {label}: watch one of the two"
                self._move(outputs, index, FeedCause.ALIASED, reason, now_ns)
        outputs += [self._request("subscribe", channel, self._names) for channel in CHANNELS]
        return outputs

    def receive(self, data: bytes, recv_ns: int) -> list[FeedOutput]:
        """Take one frame: the usual update by kernel, anything else the typed way."""
        self.counters.frames += 1
        if self.uses_kernel and not self._has_stale and not self._crossed_since_ns:
            taken = self._quick_update(data, recv_ns)
            if taken is not None:
                self._last_frame_ns = recv_ns
                return taken
        return self._read(data, recv_ns)

    def _quick_update(self, data: bytes, recv_ns: int) -> list[FeedOutput] | None:
        """Take one update of one live book in one kernel call; None: not taken, nothing changed."""
        at = self._label_at
        found = self._quick_labels.get(data[at : at + self._label_room])
        if found is None:
            at = self._label_at = data.find(_PRODUCT) + len(_PRODUCT)
            found = self._quick_labels.get(data[at : at + self._label_room])
        if found is None or self._sequence < 0:
            return None
        index, size = found
        feed = self.instruments[index]
        if feed.state is not _LIVE:
            return None
        book = feed.book
        flags, event_ns = frames.take_update(
            data, book.block, book.far, at, at + size, self._sequence + 1, recv_ns
        )
        if flags < 0:
            return None
        self._sequence += 1
        book.known_touch = None
        feed.last_event_ns = event_ns
        feed.last_recv_ns = recv_ns
        outputs: list[FeedOutput] = [BookMoved(index, event_ns, recv_ns)]
        if flags & CROSSED:
            self._find_crossed(outputs, index, recv_ns)
        return outputs

    def _read(self, data: bytes, recv_ns: int) -> list[FeedOutput]:
        outputs: list[FeedOutput] = []
        try:
            frame = _FRAME.decode(data)
            if frame.sequence_num is None or self._is_next(outputs, frame.sequence_num, recv_ns):
                self._channel(outputs, frame, recv_ns)
        except MALFORMED:
            self.counters.refused += 1
        else:
            self._heard(outputs, recv_ns)
        return outputs

    # --- the connection

    def _request(self, verb: str, channel: str, names: list[str]) -> SendText:
        message = {"type": verb, "product_ids": names, "channel": channel}
        return SendText(msgspec.json.encode(message).decode())

    def _is_next(self, outputs: list[FeedOutput], number: int, recv_ns: int) -> bool:
        """Follow the sequence; return False for a frame that is old or repeated."""
        if self._sequence >= 0 and number <= self._sequence:
            self.counters.ignored += 1
            return False
        if self._sequence >= 0 and number > self._sequence + 1:
            self.counters.gaps += 1
            lost = f"frames {self._sequence + 1} to {number - 1} were lost"
            for index, feed in enumerate(self.instruments):
                if feed.state is not FeedState.CONNECTING:
                    self._move(outputs, index, FeedCause.GAP, lost, recv_ns)
            self._ask_reconnect(outputs, lost)
        self._sequence = number
        return True

    def _channel(self, outputs: list[FeedOutput], frame: _Frame, recv_ns: int) -> None:
        if frame.channel == "l2_data":
            self._books(outputs, frame, recv_ns)
        elif frame.channel == "market_trades":
            self._trades(outputs, frame.events, recv_ns)
        elif frame.type == "error":
            self._venue_said(outputs, frame.message, recv_ns)
        elif frame.channel == "heartbeats":
            for beat in _BEATS.decode(frame.events):
                self._count_beat(beat.heartbeat_counter)
        elif frame.channel != "subscriptions":
            self.counters.ignored += 1

    # --- books

    def _books(self, outputs: list[FeedOutput], frame: _Frame, recv_ns: int) -> None:
        """Read every event of the frame, then apply: never half a message."""
        try:
            events = _BOOK_EVENTS.decode(frame.events)
        except MALFORMED as error:
            # Which product it was of is not known, and the sequence will show no gap.
            self._refuse_books(outputs, self._believed(), str(error), recv_ns)
            return
        changes: list[_BookChange] = []
        refused: dict[int, str] = {}
        for event in events:
            index = self._labels.get(event.product_id)
            if index is None:
                self.counters.refused += 1
            elif event.type not in {"snapshot", "update"}:
                self.counters.ignored += 1
            else:
                try:
                    levels = self._readers[index].read_updates(event.updates).copy()
                except MALFORMED as error:
                    refused[index] = str(error)
                else:
                    changes.append(_BookChange(index, event.type == "snapshot", levels))
        event_ns = rfc3339_ns(frame.timestamp)
        for change in changes:
            if change.index not in refused:
                self._apply(outputs, change, event_ns, recv_ns)
        for index, reason in refused.items():
            self._refuse_books(outputs, [index], reason, recv_ns)

    def _apply(
        self, outputs: list[FeedOutput], change: _BookChange, event_ns: int, recv_ns: int
    ) -> None:
        feed = self.instruments[change.index]
        if not change.is_snapshot and feed.state not in BELIEVED:
            # An update of a book that waits for its snapshot.
            self.counters.ignored += 1
            feed.last_recv_ns = recv_ns
            return
        try:
            if change.is_snapshot:
                feed.book.clear()
            feed.book.apply(change.levels)
        except ValueRefused as error:
            self._refuse_books(outputs, [change.index], str(error), recv_ns)
            return
        if change.is_snapshot:
            self._later.pop(change.index, None)
            self._move(outputs, change.index, FeedCause.SNAPSHOT, "", recv_ns)
        self._book_moved(outputs, change.index, event_ns, recv_ns)

    def _refuse_books(
        self, outputs: list[FeedOutput], indices: list[int], reason: str, recv_ns: int
    ) -> None:
        """Empty the books and subscribe each anew for a snapshot, later each time."""
        self.counters.refused += 1
        for index in indices:
            self._refuse_book(outputs, index, reason, recv_ns)

    @override
    def _ask_anew(self, outputs: list[FeedOutput], index: int, now_ns: int) -> None:
        name = self._names[index]
        if self._labels[coinbase_label(name)] == index:
            verbs = ("unsubscribe", "subscribe")
            anew = [self._request(verb, "level2", [name]) for verb in verbs]
            self._send_later(index, [*anew], now_ns)

    # --- trades

    def _trades(self, outputs: list[FeedOutput], events: Raw, recv_ns: int) -> None:
        """Print the trades of updates, oldest first; a snapshot holds history, not live prints."""
        prints: list[TradePrint] = []
        for event in _TRADES_EVENTS.decode(events):
            if event.type == "update":
                for trade in reversed(_TRADES.decode(event.trades)):
                    self._read_trade(prints, trade, recv_ns)
            elif event.type != "snapshot":
                self.counters.ignored += 1
        for one in prints:
            self._traded(outputs, one)

    def _read_trade(self, prints: list[TradePrint], trade: _Trade, recv_ns: int) -> None:
        index = self._labels.get(trade.product_id)
        aggressor = _AGGRESSOR.get(trade.side)
        try:
            if index is None or aggressor is None or not _TRADE_ID.fullmatch(trade.trade_id):
                raise ValueRefused("product, side or id of the trade was not known")
            ticks, lots = self._print(index, trade.price, trade.size)
        except ValueRefused:
            self.counters.refused += 1
            return
        event_ns = rfc3339_ns(trade.time)
        if trade.trade_id.isdigit() and len(trade.trade_id) <= _NUMBER_DIGITS:
            number = int(trade.trade_id)
            if self._is_repeat(index, number, event_ns):
                self.counters.ignored += 1
                return
            self.instruments[index].book.newest_trade = (number, event_ns)
        prints.append(TradePrint(index, ticks, lots, aggressor, trade.trade_id, event_ns, recv_ns))
