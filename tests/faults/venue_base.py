"""Venues in plain Python: each keeps the true books, speaks its wire form, answers requests.

A model is never damaged: faults lie between it and the protocol (``tests.faults.faults``), except
where the venue itself misbehaves, which the model is told to do. The protocol under test shares
no code with this but ``Instrument``.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np

from core.feeds.protocol import FeedProtocol
from tests.core.feeds.wire import instrument
from tests.faults.market import Change, Sides, TrueMarket

_FIRST_VERSION = 1_000_000
CONTROL, BOOK, SNAPSHOT, OTHER = "control", "book", "snapshot", "other"


class Sent(msgspec.Struct):
    """One frame on its way."""

    data: bytes
    kind: str
    index: int = -1
    """Instrument, -1 for a frame of the connection."""


def dumps(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


class VenueModel:
    """What the runner needs of a venue."""

    venue = ""
    names: tuple[str, ...] = ()
    proves_loss = True
    """Whether ids on the wire let a reader see that a book frame is missing."""
    has_http = False
    flush_ms = 100
    n_levels = 40
    lot = "0.00001"

    def __init__(self, generator: np.random.Generator, start_ns: int) -> None:
        self.generator = generator
        self.now_ns = start_ns
        self.offset_ns = 0
        """Venue clock less ours."""
        self.markets = [
            TrueMarket(
                instrument(self.venue, name, lot=self.lot), generator, self.n_levels, _FIRST_VERSION
            )
            for name in self.names
        ]
        self.pending: list[list[Change]] = [[] for _ in self.markets]
        self.trade_id = 0
        self.connection = 0

    # --- what happens

    def run(self, now_ns: int) -> list[Sent]:
        """Let a flush interval pass and return what the venue sends."""
        self.now_ns = now_ns
        for index, market in enumerate(self.markets):
            # The second instrument is quiet: most intervals bring nothing.
            if index and self.generator.random() < 0.6:
                continue
            for _ in range(int(self.generator.integers(1, 5))):
                self.pending[index] += market.move(now_ns)
        return self.flush()

    def flush(self) -> list[Sent]:
        raise NotImplementedError

    def connected(self, now_ns: int) -> list[Sent]:
        """Take a new connection."""
        self.now_ns = now_ns
        self.connection += 1
        return []

    def asked(self, text: str, now_ns: int) -> list[Sent]:
        """Take a message of the client."""
        self.now_ns = now_ns
        return []

    def heartbeat(self) -> list[Sent]:
        """Return what comes once a second whatever happens."""
        return []

    def fetch(self, url: str, old: bool) -> bytes:
        raise NotImplementedError

    # --- what is true

    def claim(self, protocol: FeedProtocol, index: int) -> int:
        """Return the version the protocol says its book is at."""
        raise NotImplementedError

    def truth(self, index: int, version: int) -> Sides | None:
        return self.markets[index].history.get(version)

    def known(self, index: int) -> tuple[int, int]:
        """Return the lowest bid and highest ask up to which every level must be held."""
        return 0, 2**62

    def iso(self) -> str:
        ns = self.now_ns + self.offset_ns
        return f"{np.datetime64(ns, 'ns')}Z"

    def next_trade(self) -> int:
        self.trade_id += 1
        return self.trade_id
