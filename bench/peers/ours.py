"""Ours, by the product's own path: the venue's protocol, then the desk of the instrument."""

from __future__ import annotations

from collections.abc import Sequence

from bench.peers.face import Side, Sides
from bench.peers.scenario import Frame, Scenario
from core.config import Settings
from core.desk import Desk
from core.feeds.protocol import FeedProtocol
from core.feeds.registry import protocol_for
from core.feeds.replaying import give
from core.model.market import BookMoved, FeedState


class Ours:
    """A live protocol and one desk an instrument; the desk needs no engine and no agent."""

    name = "ours"
    does = "frame, sequence check, decode, whole book, touch, depth 10, features, MARKET_STATE row"

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self._protocol: FeedProtocol
        self._desks: list[Desk] = []

    def inputs(self, frames: Sequence[Frame]) -> list[Frame]:
        return list(frames)

    def start(self, scenario: Scenario) -> None:
        self._protocol = protocol_for(scenario.venue, scenario.instruments, self._settings)
        feeds = self._protocol.instruments
        self._desks = [Desk(at, feed, self._settings, None) for at, feed in enumerate(feeds)]
        self._protocol.on_open(scenario.opening[0].ns)
        for record in scenario.opening:
            if record.kind != "open":
                give(self._protocol, record)
        for feed in feeds:
            assert feed.state is FeedState.LIVE, f"{feed.instrument.name}: {feed.reason}"

    def receive(self, one: Frame) -> None:
        for output in self._protocol.receive(one.data, one.ns):
            if isinstance(output, BookMoved):
                self._desks[output.instrument].on_book(output)

    def books(self) -> dict[str, Sides]:
        books = {}
        for feed in self._protocol.instruments:
            assert feed.state is FeedState.LIVE, f"{feed.instrument.name}: {feed.reason}"
            sides: list[Side] = [
                {
                    feed.instrument.price(ticks): feed.instrument.qty(lots)
                    for ticks, lots in feed.book.levels(side).items()
                }
                for side in (0, 1)
            ]
            books[feed.instrument.name] = Sides(*sides)
        return books
