"""Alpaca: stocks (one quoted level a side, prints) and crypto (books with a reset, prints).

Every frame is an array of mixed messages; each is taken or refused by itself. There is no sequence
anywhere: after each connection a book waits for a quote or a reset, prints that were missed are
asked for by REST, and minute bars and crypto quotes are checks. Rules and sources:
``docs/venues/alpaca.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from msgspec import Raw
from typing_extensions import override

from core.clock import NS_PER_MS
from core.config import Settings
from core.errors import ValueRefused
from core.feeds.alpaca_login import (
    NEEDED,
    WANTED,
    Step,
    auth_message,
    subscribe_message,
    verdict,
)
from core.feeds.alpaca_rest import (
    fetch,
    has_history,
    is_quotes,
    is_trades,
    latest_quotes,
    stream_url,
)
from core.feeds.alpaca_trades import AlpacaTrades
from core.feeds.alpaca_wire import Head, LatestQuotes, Subscriptions, Told, messages_of
from core.feeds.connection import MALFORMED
from core.feeds.times import printable, rfc3339_ns
from core.model.instrument import Instrument
from core.model.market import FeedCause, FeedOutput, GiveUp, Reconnect

FETCHES_MAX = 5
"""Times that a request is made before it is given up until the next connection."""
_NO_RETRY = ("HTTP 400", "HTTP 401", "HTTP 403", "HTTP 404", "HTTP 422")

_HEAD = msgspec.json.Decoder(Head)
_SUBSCRIPTIONS = msgspec.json.Decoder(Subscriptions)
_LATEST = msgspec.json.Decoder(LatestQuotes)

_Taker = Callable[[list[FeedOutput], Told], None]


class AlpacaProtocol(AlpacaTrades):
    """One connection of one stream; see ``core.feeds.protocol.FeedProtocol``."""

    def __init__(self, instruments: Sequence[Instrument], settings: Settings) -> None:
        super().__init__(instruments, settings)
        self._step = Step.CLOSED
        self._failures: dict[str, int] = {}
        """Requests that failed in a row, by kind."""
        self._takers: dict[str, _Taker] = {
            "t": self._take_trade,
            "q": self._take_quote,
            "o": self._take_book,
            "s": self._take_status,
            "l": self._take_bands,
            "c": self._take_correction,
            "x": self._take_cancel,
            "b": self._take_bar,
        }

    # --- the connection

    def url(self) -> str:
        """Return the address of the stream: that of the chosen stock feed, or crypto's."""
        return stream_url(self._feed_settings, is_crypto=self.is_crypto)

    def on_open(self, now_ns: int) -> list[FeedOutput]:
        """Forget the quotes and wait for the greeting, which is what to answer with the keys."""
        self._step = Step.OPENED
        self._note = ""
        self._subscribed_ns = 0
        self._failures.clear()
        self._differs_since_ns.clear()
        self._renewals.restart()
        return self._opened(now_ns, "connected, waiting for the venue's greeting")

    @override
    def on_close(self, reason: str, now_ns: int) -> list[FeedOutput]:
        self._step = Step.CLOSED
        return super().on_close(reason, now_ns)

    def receive(self, data: bytes, recv_ns: int) -> list[FeedOutput]:
        """Take one frame, an array of messages, as JSON or msgpack."""
        outputs: list[FeedOutput] = []
        self.counters.frames += 1
        try:
            messages = messages_of(data)
        except MALFORMED as error:
            self._refuse_all(outputs, str(error), recv_ns)
            return outputs
        for message in messages:
            try:
                head = _HEAD.decode(message)
            except MALFORMED as error:
                self._refuse_all(outputs, str(error), recv_ns)
                continue
            try:
                self._message(outputs, head, message, recv_ns)
            except MALFORMED:
                self.counters.refused += 1
        self._heard(outputs, recv_ns)
        return outputs

    def _message(self, outputs: list[FeedOutput], head: Head, message: Raw, recv_ns: int) -> None:
        take = self._takers.get(head.kind)
        if take is not None:
            index = self._index.get(head.S)
            if index is None:
                raise ValueRefused("the message was of an instrument that is not watched")
            take(outputs, Told(index, message, rfc3339_ns(head.t), recv_ns))
        elif head.kind == "success":
            self._succeeded(outputs, head.msg, recv_ns)
        elif head.kind == "subscription":
            self._subscribed(outputs, message, recv_ns)
        elif head.kind == "error":
            self._failed(outputs, head, recv_ns)
        else:
            self.counters.ignored += 1

    def _refuse_all(self, outputs: list[FeedOutput], reason: str, recv_ns: int) -> None:
        """Count what cannot be read: it may have been a quote of any instrument."""
        self.counters.refused += 1
        for index in self._believed():
            self._refuse_book(outputs, index, reason, recv_ns)

    # --- the handshake

    def _succeeded(self, outputs: list[FeedOutput], message: str, now_ns: int) -> None:
        if message == "connected" and self._step < Step.SUBSCRIBED:
            self._step = Step.AUTHENTICATING
            self._wait_for(outputs, "greeted, the keys are sent", now_ns)
            outputs.append(auth_message())
        elif message == "authenticated" and self._step < Step.SUBSCRIBED:
            self._step = Step.SUBSCRIBING
            self._wait_for(outputs, "the keys were taken, subscribing", now_ns)
            outputs.append(subscribe_message(NEEDED[self.is_crypto], list(self._index)))
        else:
            self.counters.ignored += 1

    def _subscribed(self, outputs: list[FeedOutput], message: Raw, now_ns: int) -> None:
        """Take the list of all that is subscribed; the first one opens the feed."""
        told = _SUBSCRIPTIONS.decode(message)
        is_first = self._step is Step.SUBSCRIBING
        if is_first:
            self._step = Step.SUBSCRIBED
            self._subscribed_ns = now_ns
            waits_for = "a book" if self.is_crypto else "a quote"
            self._wait_for(outputs, f"subscribed, waiting for {waits_for}", now_ns)
        books = (told.orderbooks if self.is_crypto else told.quotes) or []
        missing = [name for name in self._index if name not in books and "*" not in books]
        if self.is_crypto and not is_first:
            # A book that is asked for anew is missing for a moment.
            for name, index in self._index.items():
                self._renewals.listed(index, is_told=name not in missing, now_ns=now_ns)
        elif missing:
            self._venue_said(outputs, f"no subscription to {missing[0]}", now_ns)
        if is_first:
            self._ask_all(outputs)

    def _ask_all(self, outputs: list[FeedOutput]) -> None:
        """Ask for what is only wanted, for the standing quotes and for prints that were missed."""
        names = list(self._index)
        outputs += [subscribe_message((one,), names) for one in WANTED[self.is_crypto]]
        self._ask_quotes(outputs, 0)
        known_ns = [memory.newest_ns for memory in self._memory if memory.newest_ns]
        if known_ns:
            self._ask_missed(outputs, min(known_ns))

    def _wait_for(self, outputs: list[FeedOutput], reason: str, now_ns: int) -> None:
        for index in range(len(self.instruments)):
            self._move(outputs, index, FeedCause.OPENED, reason, now_ns)

    def _failed(self, outputs: list[FeedOutput], head: Head, now_ns: int) -> None:
        """Do what an error of the venue asks for: stop, come back later, or do without."""
        is_subscribed = self._step is Step.SUBSCRIBED
        wish = verdict(head.code, head.msg, is_subscribed=is_subscribed, now_ns=now_ns)
        if wish is None and is_subscribed:
            self.counters.refused += 1
            self._note = f"not on this feed: {printable(head.msg)} ({head.code})"
            return
        self._venue_said(outputs, f"{head.msg} ({head.code})", now_ns)
        if isinstance(wish, GiveUp):
            outputs.append(wish)
        elif isinstance(wish, Reconnect) and not self._asked_to_reconnect:
            self._asked_to_reconnect = True
            outputs.append(wish)

    # --- what REST is asked for

    def _ask_quotes(self, outputs: list[FeedOutput], not_before_ns: int) -> None:
        if not self.is_crypto and has_history(self._feed_settings, is_crypto=False):
            names = list(self._index)
            outputs.append(latest_quotes(self._feed_settings, names, not_before_ns))

    @override
    def _ask_anew(self, outputs: list[FeedOutput], index: int, now_ns: int) -> None:
        """Ask for a book again: the standing quote of a stock, the reset of a crypto book."""
        if self._step is not Step.SUBSCRIBED:
            if self._step is not Step.CLOSED:
                self._ask_reconnect(outputs, "the venue did not finish the login")
        elif self.is_crypto:
            self._send_later(index, self._book_anew(index), now_ns)
        else:
            # One request is for all stocks, so the wait is not one instrument's.
            self._failures["quotes"] = self._failures.get("quotes", 0) + 1
            self._ask_quotes(outputs, now_ns + self._wait_ns(self._failures["quotes"]))

    def on_http(self, url: str, body: bytes, recv_ns: int) -> list[FeedOutput]:
        """Take standing quotes, or a page of prints that were missed."""
        outputs: list[FeedOutput] = []
        if self._is_closed:
            return outputs
        try:
            if is_quotes(url):
                self._take_latest(outputs, _LATEST.decode(body), recv_ns)
            elif is_trades(url):
                self._take_page(outputs, url, body)
                self._failures.pop("trades", None)
            else:
                self.counters.ignored += 1
        except MALFORMED as error:
            self.counters.refused += 1
            outputs += self.on_http_failed(url, str(error), recv_ns)
        return outputs

    def _take_latest(self, outputs: list[FeedOutput], told: LatestQuotes, recv_ns: int) -> None:
        """Take quotes that stand: for books that wait, where no newer one came meanwhile."""
        refused = 0
        for symbol, quote in (told.quotes or {}).items():
            index = self._index.get(symbol)
            event_ns = rfc3339_ns(quote.t)
            if index is None or event_ns < self._quote_ns[index] or index in self._believed():
                continue
            try:
                # Its time is when it was made and says nothing of the way here: 0 in the row.
                self._quote(outputs, index, quote, 0, recv_ns)
                self._quote_ns[index] = event_ns
            except MALFORMED as error:
                refused += 1
                self.counters.refused += 1
                self._refuse_book(outputs, index, str(error), recv_ns)
        if not refused:
            self._failures.pop("quotes", None)

    def on_http_failed(self, url: str, reason: str, now_ns: int) -> list[FeedOutput]:
        """Ask again, each time later; what is refused for good is not asked again."""
        kind = "quotes" if is_quotes(url) else "trades"
        n_failures = self._failures[kind] = self._failures.get(kind, 0) + 1
        is_final = reason.startswith(_NO_RETRY) or n_failures > FETCHES_MAX
        if is_final and kind == "trades":
            self.counters.gaps += 1
        if is_final or self._is_closed:
            return []
        return [fetch(url, now_ns + self._wait_ns(n_failures))]

    def _wait_ns(self, n_failures: int) -> int:
        """Return the wait before a request is made again: doubled each time, up to the ceiling."""
        settings = self._feed_settings
        doubled = settings.backoff_first_ms << min(n_failures, 20)
        return min(doubled, settings.backoff_max_ms) * NS_PER_MS
