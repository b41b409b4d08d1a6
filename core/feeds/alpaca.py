"""Alpaca stocks: best bid and offer (one level a side) and trades; no depth, no sequence.

Every frame is an array of mixed messages; each message is taken or refused by itself, because a
quote replaces the one before and a trade stands alone. A refused quote leaves no book until the
next one. Prices are JSON numbers and are read from their text, never through a binary float. Rules
and sources: ``docs/venues/alpaca.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta, Raw

from core.config import Settings
from core.errors import UserError, ValueRefused
from core.feeds.connection import BELIEVED, MALFORMED, SocketOnly
from core.feeds.times import rfc3339_ns
from core.levels import ASK, BID
from core.model.instrument import Instrument
from core.model.market import FeedOutput, FeedState, TradePrint

_MAX_EXPONENT = 18
_QUIETLY = frozenset({"success", "subscription"})


class _Kind(msgspec.Struct, gc=False):
    kind: str = msgspec.field(name="T")
    S: str = ""
    t: str = ""
    code: int = 0
    msg: str = ""


class _Trade(msgspec.Struct, gc=False):
    p: Decimal
    s: Decimal
    i: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0


class _Quote(msgspec.Struct, gc=False):
    bp: Decimal
    bs: Decimal
    ap: Decimal
    ask_size: Decimal = msgspec.field(name="as")


_FRAME = msgspec.json.Decoder(list[Raw])
_KIND = msgspec.json.Decoder(_Kind)
_TRADE = msgspec.json.Decoder(_Trade)
_QUOTE = msgspec.json.Decoder(_Quote)


class AlpacaProtocol(SocketOnly):
    """Reads Alpaca's stock stream; replay only so far, see ``url``."""

    venue = "alpaca"

    def __init__(self, instruments: Sequence[Instrument], settings: Settings) -> None:
        super().__init__(instruments, settings)
        self._quotes: list[tuple[int, int]] = [(0, 0)] * len(instruments)
        """Ticks of the bid and ask in the book, 0 for none."""

    def url(self) -> str:
        """Refuse: the live stream needs a key and this program does not log in yet.

        Errors: ``UserError``.
        """
        raise UserError("venue alpaca: live data needs a key and is not built yet; replay works")

    def on_open(self, now_ns: int) -> list[FeedOutput]:
        """Forget the quotes."""
        return self._opened(now_ns, "connected, waiting for the first quote")

    def receive(self, data: bytes, recv_ns: int) -> list[FeedOutput]:
        """Take one frame, an array of messages."""
        outputs: list[FeedOutput] = []
        self.counters.frames += 1
        try:
            messages = _FRAME.decode(data)
        except MALFORMED as error:
            self._refuse_all(outputs, str(error), recv_ns)
            return outputs
        for message in messages:
            try:
                head = _KIND.decode(message)
            except MALFORMED as error:
                self._refuse_all(outputs, str(error), recv_ns)
                continue
            try:
                self._message(outputs, head, message, recv_ns)
            except MALFORMED:
                self.counters.refused += 1
        self._heard(outputs, recv_ns)
        return outputs

    def _refuse_all(self, outputs: list[FeedOutput], reason: str, recv_ns: int) -> None:
        """Count what cannot be read: it may have been a quote of any instrument."""
        self.counters.refused += 1
        for index in self._believed():
            self._refuse_book(outputs, index, reason, recv_ns)

    def _message(self, outputs: list[FeedOutput], head: _Kind, message: Raw, recv_ns: int) -> None:
        if head.kind in {"t", "q"}:
            index = self._index.get(head.S)
            if index is None:
                raise ValueRefused("the message was of an instrument that is not watched")
            event_ns = rfc3339_ns(head.t)
            if head.kind == "t":
                self._trade(outputs, index, message, event_ns, recv_ns)
            else:
                try:
                    self._quote(outputs, index, message, event_ns, recv_ns)
                except MALFORMED as error:
                    # The quote before it is no longer the market's; the next one is.
                    self.counters.refused += 1
                    self._refuse_book(outputs, index, str(error), recv_ns)
        elif head.kind == "error":
            self._venue_said(outputs, f"{head.msg} ({head.code})", recv_ns)
        elif head.kind not in _QUIETLY:
            self.counters.ignored += 1

    def _trade(
        self, outputs: list[FeedOutput], index: int, message: Raw, event_ns: int, recv_ns: int
    ) -> None:
        trade = _TRADE.decode(message)
        _, ticks, lots = self._row(index, BID, trade.p, trade.s)
        if lots == 0:
            raise ValueRefused("trade quantity was 0, allowed is above zero")
        # The feed does not say who took; a guess from the quote would be ours, not the venue's.
        self._traded(outputs, TradePrint(index, ticks, lots, 0, str(trade.i), event_ns, recv_ns))

    def _quote(
        self, outputs: list[FeedOutput], index: int, message: Raw, event_ns: int, recv_ns: int
    ) -> None:
        """Replace both bests; price 0 says that there is none on that side."""
        quote = _QUOTE.decode(message)
        sides = ((BID, quote.bp, quote.bs), (ASK, quote.ap, quote.ask_size))
        fresh = [self._row(index, *side) for side in sides if not side[1].is_zero()]
        was = self._quotes[index] if self.instruments[index].state in BELIEVED else (0, 0)
        gone = [(side, ticks, 0) for side, ticks in zip((BID, ASK), was, strict=True) if ticks]
        rows = np.array([*gone, *fresh], np.int64).reshape(-1, 3)
        self.instruments[index].book.apply(rows)
        ticks_now = {side: ticks for side, ticks, lots in fresh if lots}
        self._quotes[index] = (ticks_now.get(BID, 0), ticks_now.get(ASK, 0))
        self._move(outputs, index, FeedState.LIVE, "", recv_ns)
        self._book_moved(outputs, index, event_ns, recv_ns)

    def _row(self, index: int, side: int, price: Decimal, qty: Decimal) -> tuple[int, int, int]:
        # Plain text goes through the level kernel, which is five times as fast as Decimal here.
        text = f'[["{_text(price)}","{_text(qty)}"]]'.encode()
        row = self._prints[index].read_pairs(text, side)[0]
        return side, int(row[1]), int(row[2])


def _text(value: Decimal) -> str:
    """Return plain text of a JSON number. Errors: ``ValueRefused`` beyond 18 places."""
    if not value.is_finite() or (value and abs(value.adjusted()) > _MAX_EXPONENT):
        raise ValueRefused("number was beyond 18 places")
    return format(value, "f")
