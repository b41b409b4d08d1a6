"""Several venues in one run: one face to the engine, one ``Part`` a venue to the sockets.

Instruments of all venues stand in one list, and what a protocol says of its instrument ``i`` is
said of instrument ``first + i`` of the run. Nothing else is shared: each part keeps its books,
its states and its counts, so the outage of one venue is nothing to the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from core.errors import UserError
from core.feeds.handover import Face, Replacer
from core.feeds.protocol import FeedCounters, FeedProtocol, InstrumentFeed, split
from core.model.market import BookMoved, FeedOutput, FeedRequest, MarketEvent


class Taker(FeedProtocol, Face, Protocol):
    """Who takes what the venues bring: the session."""


class Joined:
    """The protocols of several venues behind one face; see ``core.feeds.protocol.FeedProtocol``.

    Whoever wears this face (the session) is called by a ``Part``, which says first that it is
    the one that speaks; so the calls below are about the part ``speaker``.

    Errors: ``UserError`` for an instrument name that two venues have: positions, orders and
    ledger rows know an instrument by its name.
    """

    def __init__(self, protocols: Sequence[FeedProtocol]) -> None:
        self.venue = "+".join(each.venue for each in protocols)
        self.parts: list[Part] = []
        self.instruments: list[InstrumentFeed] = []
        for protocol in protocols:
            self.parts.append(Part(self, protocol, len(self.instruments)))
            self.instruments += protocol.instruments
        self.speaker = self.parts[0]
        _refuse_same_names(self.instruments)

    @property
    def counters(self) -> FeedCounters:
        """The sums over the venues, as of now; ``Part.counters`` has each venue's own."""
        total = FeedCounters()
        for name in total.__struct_fields__:
            setattr(total, name, sum(getattr(part.counters, name) for part in self.parts))
        return total

    def part_of(self, instrument: int) -> Part:
        """Return the venue of an instrument of the run, by its index."""
        return next(part for part in reversed(self.parts) if part.first <= instrument)

    def url(self) -> str:
        return self.speaker.inner.url()

    def on_open(self, now_ns: int) -> list[FeedOutput]:
        return self.speaker.keep(self.speaker.inner.on_open(now_ns))

    def receive(self, data: bytes, recv_ns: int) -> list[FeedOutput]:
        return self.speaker.keep(self.speaker.inner.receive(data, recv_ns))

    def on_http(self, url: str, body: bytes, recv_ns: int) -> list[FeedOutput]:
        return self.speaker.keep(self.speaker.inner.on_http(url, body, recv_ns))

    def on_http_failed(self, url: str, reason: str, now_ns: int) -> list[FeedOutput]:
        return self.speaker.keep(self.speaker.inner.on_http_failed(url, reason, now_ns))

    def on_close(self, reason: str, now_ns: int) -> list[FeedOutput]:
        return self.speaker.keep(self.speaker.inner.on_close(reason, now_ns))

    def on_time(self, now_ns: int) -> list[FeedOutput]:
        """Let time pass for every venue: the engine's timers are nobody's in particular."""
        outputs: list[FeedOutput] = []
        for part in self.parts:
            outputs += part.keep(part.inner.on_time(now_ns))
        return outputs


class Part:
    """One venue of a joined run, as its socket sees it: it wears the face of its protocol.

    ``wear`` says who takes what comes; requests come back to the socket that can answer them.
    """

    def __init__(self, joined: Joined, protocol: FeedProtocol, first: int) -> None:
        self.inner = protocol
        self.venue = protocol.venue
        self.instruments = protocol.instruments
        self.first = first
        """Index of its first instrument in the run."""
        self._joined = joined
        self._taker: Taker | None = None
        self._requests: list[FeedRequest] = []

    @property
    def counters(self) -> FeedCounters:
        return self.inner.counters

    def wear(self, taker: Taker) -> None:
        """Give what comes to ``taker``, whose protocol is the joined one."""
        self._taker = taker

    def url(self) -> str:
        return self.inner.url()

    def on_open(self, now_ns: int) -> list[FeedOutput]:
        return self._answer(self._speak().on_open(now_ns))

    def receive(self, data: bytes, recv_ns: int) -> list[FeedOutput]:
        return self._answer(self._speak().receive(data, recv_ns))

    def on_http(self, url: str, body: bytes, recv_ns: int) -> list[FeedOutput]:
        return self._answer(self._speak().on_http(url, body, recv_ns))

    def on_http_failed(self, url: str, reason: str, now_ns: int) -> list[FeedOutput]:
        return self._answer(self._speak().on_http_failed(url, reason, now_ns))

    def on_close(self, reason: str, now_ns: int) -> list[FeedOutput]:
        outputs = self._answer(self._speak().on_close(reason, now_ns))
        self._requests.clear()
        return outputs

    def on_time(self, now_ns: int) -> list[FeedOutput]:
        return self._answer(self._speak().on_time(now_ns))

    def install(self, handover: Replacer, now_ns: int) -> list[FeedOutput]:
        """Go on with the protocol of a second connection; see ``core.feeds.handover``."""
        return self._answer(self._speak().install(_OfPart(self, handover), now_ns))

    def replace_inner(self, handover: Replacer, now_ns: int) -> list[FeedOutput]:
        """Change the protocol of this venue alone; return the events as of the run."""
        self.inner, outputs = handover.replace(self.inner, now_ns)
        self._requests.clear()
        return self.keep(outputs)

    def keep(self, outputs: list[FeedOutput]) -> list[FeedOutput]:
        """Keep the requests for this venue's socket; return the events as of the run."""
        if not outputs:
            return outputs
        events, requests = split(outputs)
        self._requests += requests
        return [*map(self._of_run, events)] if self.first else [*events]

    def _of_run(self, event: MarketEvent) -> MarketEvent:
        index = event.instrument + self.first
        if type(event) is BookMoved:
            return BookMoved(index, event.ts_event_ns, event.ts_recv_ns)
        return msgspec.structs.replace(event, instrument=index)

    def _speak(self) -> Taker:
        assert self._taker is not None, "nobody wears this part"
        self._joined.speaker = self
        return self._taker

    def _answer(self, left: list[FeedOutput]) -> list[FeedOutput]:
        requests, self._requests = self._requests, []
        return [*left, *requests] if left or requests else left


class _OfPart(msgspec.Struct, frozen=True):
    """A handover within one venue, to whoever wears them all."""

    part: Part
    handover: Replacer

    def replace(self, inner: FeedProtocol, now_ns: int) -> tuple[FeedProtocol, list[FeedOutput]]:
        return inner, self.part.replace_inner(self.handover, now_ns)


def _refuse_same_names(feeds: Sequence[InstrumentFeed]) -> None:
    venues: dict[str, str] = {}
    for feed in feeds:
        name, venue = feed.instrument.name, feed.instrument.venue
        if name in venues:
            raise UserError(
                f"{name} is a name at {venues[name]} and at {venue}; a run knows an instrument by "
                f"its name: watch one of the two, or run two engines, each with its own --state"
            )
        venues[name] = venue
