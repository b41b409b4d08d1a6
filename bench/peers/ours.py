"""Ours, by the product's own path: the venue's protocol, which brings book, features and row."""

from __future__ import annotations

from collections.abc import Sequence

from bench.peers.face import Side, Sides
from bench.peers.scenario import Frame, Scenario
from core.config import Settings
from core.feeds.protocol import FeedProtocol
from core.feeds.registry import protocol_for
from core.feeds.replaying import give
from core.model.market import FeedState


class Ours:
    """A live protocol; it needs no engine."""

    name = "ours"
    does = "frame, sequence check, decode, whole book, touch, depth 10, features, MARKET_STATE row"

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self._protocol: FeedProtocol

    def inputs(self, frames: Sequence[Frame]) -> list[Frame]:
        return list(frames)

    def start(self, scenario: Scenario) -> None:
        self._protocol = protocol_for(scenario.venue, scenario.instruments, self._settings)
        feeds = self._protocol.instruments
        self._protocol.on_open(scenario.opening[0].ns)
        for record in scenario.opening:
            if record.kind != "open":
                give(self._protocol, record)
        for feed in feeds:
            assert feed.state is FeedState.LIVE, f"{feed.instrument.name}: {feed.reason}"

    def receive(self, one: Frame) -> None:
        self._protocol.receive(one.data, one.ns)

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
