"""The simulated venue: markets in, frames of a small JSON wire form out, orders taken.

Frames are what a venue would send, so recording, capture and replay work as for any other. One
frame an event: ``{"type":"snapshot"|"update","seq":n,"ts":ns,"instrument":"SIM-USD",
"bids":[["99.99","1.5"]],"asks":[],"trades":[["100","0.25","buy","17"]]}``. ``seq`` counts by
instrument without holes, quantities are absolute and "0" removes, a trade names its aggressor.
"""

from __future__ import annotations

import msgspec

from core.errors import InvariantError
from core.model.instrument import Instrument
from core.sim.market import Level, MarketEvent, SimMarket

FRAMES_MAX = 50_000
"""Frames made by one call; ten minutes of one market. The rest comes with the next call."""


class WireFrame(msgspec.Struct, frozen=True, gc=False):
    """One message of the simulated venue."""

    type: str
    seq: int
    ts: int
    instrument: str
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    trades: list[tuple[str, str, str, str]]


class OwnFill(msgspec.Struct, frozen=True, gc=False):
    """A resting order of ours traded; ``lots`` 0 says that the venue dropped it."""

    resting_id: int
    ticks: int
    lots: int
    ts_ns: int


class _Listing(msgspec.Struct):
    """One market of the venue and its counters."""

    market: SimMarket
    seq: int = 0
    trade_id: int = 0
    last_ns: int = 0
    resting_of_slot: dict[int, int] = msgspec.field(default_factory=dict)

    def present_ns(self, now_ns: int) -> int:
        """Return ``now_ns`` kept between the last frame and the next event of this market."""
        return max(self.last_ns, min(now_ns, self.market.next_ns))


Frame = tuple[int, bytes]
"""Time in ns and the bytes of one message."""


class SimVenue:
    """One connection to any number of simulated markets.

    Time is passed in. An order sent at ``now_ns`` first lets the markets run up to then; the
    frames of that wait for the next ``run_until`` together with what the order itself changed.
    """

    def __init__(self, markets: list[SimMarket]) -> None:
        self._listings = {market.instrument.name: _Listing(market) for market in markets}
        self._slot_of_resting: dict[int, tuple[str, int]] = {}
        self._next_resting_id = 1
        self._frames: list[Frame] = []
        self._own_fills: list[OwnFill] = []
        self._encoder = msgspec.json.Encoder()

    @property
    def instruments(self) -> list[Instrument]:
        return [listing.market.instrument for listing in self._listings.values()]

    def connect(self, now_ns: int) -> None:
        """Queue a snapshot of every book, as a venue does on a new connection."""
        self._run(now_ns)
        for listing in self._listings.values():
            sides = [list(listing.market.levels(side)) for side in (0, 1)]
            self._emit(listing, "snapshot", listing.present_ns(now_ns), sides[0] + sides[1], [])

    def next_ns(self) -> int:
        """Return when the next event of any market comes."""
        return min(listing.market.next_ns for listing in self._listings.values())

    def catch_up(self, now_ns: int) -> None:
        """Let the markets run to ``now_ns``; the frames wait for ``run_until``."""
        self._run(now_ns)

    def run_until(self, now_ns: int) -> list[Frame]:
        """Let the markets run to ``now_ns``; return (ns, frame) of all that is new, in order.

        At most FRAMES_MAX or so; the market then lags and catches up with the next call.
        """
        self._run(now_ns)
        frames, self._frames = self._frames, []
        return frames

    def take(
        self, name: str, side: int, lots: int, limit_ticks: int, now_ns: int
    ) -> list[tuple[int, int]]:
        """Let our order walk the book; return (ticks, lots) of each price it traded at."""
        self._run(now_ns)
        listing = self._listings[name]
        event = listing.market.take(side, lots, limit_ticks, listing.present_ns(now_ns))
        self._publish(listing, event)
        return [(execution.ticks, execution.lots) for execution in event.executions]

    def post(self, name: str, side: int, ticks: int, lots: int, now_ns: int) -> int:
        """Rest our order behind what is shown at its price; return its resting id.

        Errors: ``PostRefused``.
        """
        self._run(now_ns)
        listing = self._listings[name]
        slot, event = listing.market.post(side, ticks, lots, listing.present_ns(now_ns))
        resting_id = self._next_resting_id
        self._next_resting_id += 1
        listing.resting_of_slot[slot] = resting_id
        self._slot_of_resting[resting_id] = (name, slot)
        self._publish(listing, event)
        return resting_id

    def unpost(self, resting_id: int, now_ns: int) -> int:
        """Take our resting order out; return the lots it had, 0 if it was gone already."""
        self._run(now_ns)
        place = self._slot_of_resting.get(resting_id)
        if place is None:
            return 0
        name, slot = place
        listing = self._listings[name]
        lots, event = listing.market.unpost(slot, listing.present_ns(now_ns))
        self._forget(listing, slot)
        self._publish(listing, event)
        return lots

    def best(self, name: str) -> tuple[int, int]:
        """Return the best bid and the best ask in ticks."""
        market = self._listings[name].market
        return market.best_bid[0], market.best_ask[0]

    def take_own_fills(self) -> list[OwnFill]:
        """Return and forget what happened to our resting orders."""
        fills, self._own_fills = self._own_fills, []
        return fills

    def _run(self, now_ns: int) -> None:
        listings = list(self._listings.values())
        for _ in range(FRAMES_MAX):
            listing = min(listings, key=lambda each: each.market.next_ns)
            if listing.market.next_ns > now_ns:
                return
            self._publish(listing, listing.market.step())

    def _publish(self, listing: _Listing, event: MarketEvent) -> None:
        market = listing.market
        for fill in event.resting_fills:
            resting_id = listing.resting_of_slot[fill.slot]
            self._own_fills.append(OwnFill(resting_id, fill.ticks, fill.lots, event.ts_ns))
            if fill.lots == 0 or not market.has_resting(fill.slot):
                self._forget(listing, fill.slot)
        if not event.levels:
            return
        trades = []
        for execution in event.executions:
            listing.trade_id += 1
            trades.append(
                (
                    market.instrument.price_text(execution.ticks),
                    market.instrument.qty_text(execution.lots),
                    "buy" if event.aggressor > 0 else "sell",
                    str(listing.trade_id),
                )
            )
        self._emit(listing, "update", event.ts_ns, event.levels, trades)

    def _forget(self, listing: _Listing, slot: int) -> None:
        resting_id = listing.resting_of_slot.pop(slot)
        del self._slot_of_resting[resting_id]

    def _emit(
        self,
        listing: _Listing,
        kind: str,
        ts_ns: int,
        levels: list[Level],
        trades: list[tuple[str, str, str, str]],
    ) -> None:
        if ts_ns < listing.last_ns:
            raise InvariantError(f"frame time {ts_ns} was before the last, {listing.last_ns}")
        listing.seq += 1
        listing.last_ns = ts_ns
        instrument = listing.market.instrument
        sides: tuple[list[tuple[str, str]], list[tuple[str, str]]] = ([], [])
        for level in levels:
            text = (instrument.price_text(level.ticks), instrument.qty_text(level.lots))
            sides[level.side].append(text)
        frame = WireFrame(kind, listing.seq, ts_ns, instrument.name, *sides, trades)
        self._frames.append((ts_ns, self._encoder.encode(frame)))
