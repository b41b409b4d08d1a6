"""Face over the market kernel: one simulated market of one instrument, in ticks, lots and ns."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import msgspec
import numpy as np

from core.errors import ValueRefused
from core.kernels import market as kernel
from core.kernels.rng import RNG_SIZE
from core.model.instrument import Instrument
from core.sim.params import SET_C, MarketParams, pack

START_TICKS = 10_000
LEAST_START_TICKS = 2 * kernel.WINDOW
_POST_ERRORS = {
    kernel.POST_FULL: f"{kernel.MAX_OWN} resting orders were open, the market's limit",
    kernel.POST_CROSSES: "the price would have crossed the book",
    kernel.POST_TOO_FAR: f"the price was more than {kernel.WINDOW // 2} ticks from the best",
}


class PostRefused(ValueRefused):
    """A resting order that the simulated market does not take."""


class Level(msgspec.Struct, frozen=True, gc=False):
    """The lots now shown at a price; 0 says the level is gone."""

    side: int
    """0 bid, 1 ask."""
    ticks: int
    lots: int


class Execution(msgspec.Struct, frozen=True, gc=False):
    """One price of a trade."""

    ticks: int
    lots: int


class RestingFill(msgspec.Struct, frozen=True, gc=False):
    """A resting order of ours traded, or was dropped (``lots`` 0) as the price left its window."""

    slot: int
    ticks: int
    lots: int


class MarketEvent(msgspec.Struct, frozen=True, gc=False):
    """What one event changed; empty lists are normal."""

    ts_ns: int
    aggressor: int
    """1 the buyer took, -1 the seller; 0 if nothing traded."""
    levels: list[Level]
    executions: list[Execution]
    resting_fills: list[RestingFill]


def sim_instrument(name: str = "SIM-USD") -> Instrument:
    """Return the instrument of the simulated venue: a cent a tick, a thousandth a lot."""
    base, _, quote = name.partition("-")
    return Instrument(
        venue="sim",
        name=name,
        base=base,
        quote=quote or "USD",
        tick_size=Decimal("0.01"),
        lot_size=Decimal("0.001"),
    )


class SimMarket:
    """One market; same instrument, seed, params and calls give the same market, bit for bit.

    ``start_ns`` is the time of market time 0, ``start_ticks`` about where the price then is.
    Errors: ``ValueRefused`` for a start too near zero.
    """

    def __init__(
        self,
        instrument: Instrument,
        seed: int,
        params: MarketParams = SET_C,
        start_ns: int = 0,
        start_ticks: int = START_TICKS,
    ) -> None:
        if start_ticks < LEAST_START_TICKS:
            raise ValueRefused(f"start was {start_ticks} ticks, the least is {LEAST_START_TICKS}")
        self.instrument = instrument
        self.start_ns = start_ns
        self._params = pack(params)
        self._ints = np.zeros(kernel.INTS_SIZE, np.int64)
        self._reals = np.zeros(kernel.REALS_SIZE, np.float64)
        self._rng = np.zeros(RNG_SIZE, np.uint64)
        self._queues = np.zeros((2, kernel.WINDOW), np.int64)
        self._event = np.zeros(kernel.EVENT_SIZE, np.int64)
        self._fills = np.zeros((kernel.MAX_TRADES, 2), np.int64)
        kernel.init(
            self._ints, self._reals, self._rng, self._queues, self._params, seed, start_ticks
        )

    @property
    def next_ns(self) -> int:
        """When the next event comes; it is drawn already."""
        return self.start_ns + int(kernel.next_time(self._ints, self._reals) * 1e9)

    @property
    def best_bid(self) -> tuple[int, int]:
        """Highest buy level as (ticks, lots)."""
        return self._best(0)

    @property
    def best_ask(self) -> tuple[int, int]:
        return self._best(1)

    def _best(self, side: int) -> tuple[int, int]:
        ticks = int(self._ints[kernel.BID + side])
        return ticks, self.lots_at(side, ticks)

    def lots_at(self, side: int, ticks: int) -> int:
        """Return the lots shown on ``side`` (0 bid, 1 ask) at a price."""
        return int(kernel.level_lots(self._ints, self._queues, side, ticks))

    def levels(self, side: int) -> Iterator[Level]:
        """Yield every level of ``side``, best first."""
        best = int(self._ints[kernel.BID + side])
        for away in range(kernel.WINDOW):
            ticks = best + (2 * side - 1) * away
            lots = self.lots_at(side, ticks)
            if lots:
                yield Level(side, ticks, lots)

    def step(self) -> MarketEvent:
        """Apply the next event and return what it changed."""
        kernel.step(self._ints, self._reals, self._rng, self._queues, self._params, self._event)
        return self._read_event(self.start_ns + int(self._event[kernel.E_T_NS]))

    def take(self, side: int, lots: int, limit_ticks: int, now_ns: int) -> MarketEvent:
        """Let our order (1 buys, -1 sells) walk the book up to its limit at ``now_ns``."""
        count = kernel.take(
            self._ints, self._reals, self._queues, self._params, side, lots, limit_ticks,
            self._fills,
        )  # fmt: skip
        rows = self._fills[:count].tolist()
        book_side = 1 if side > 0 else 0
        levels = [Level(book_side, t, self.lots_at(book_side, t)) for t, _ in rows]
        best_ticks, best_lots = self._best(book_side)
        if rows and (best_ticks - rows[-1][0]) * side > 0:
            # Said again because the kernel may just have put it there (see settle_best).
            levels.append(Level(book_side, best_ticks, best_lots))
        executions = [Execution(ticks, filled) for ticks, filled in rows]
        return MarketEvent(now_ns, side if rows else 0, levels, executions, [])

    def post(self, side: int, ticks: int, lots: int, now_ns: int) -> tuple[int, MarketEvent]:
        """Rest our order (1 bid, -1 ask); return its slot and what changed.

        Errors: ``PostRefused`` if it would cross, is too far off, or all slots are taken.
        """
        slot = int(
            kernel.post(self._ints, self._reals, self._queues, self._event, side, ticks, lots)
        )
        if slot < 0:
            raise PostRefused(_POST_ERRORS[slot])
        return slot, self._read_event(now_ns)

    def unpost(self, slot: int, now_ns: int) -> tuple[int, MarketEvent]:
        """Take our resting order out; return the lots it still had and what changed."""
        lots = kernel.unpost(self._ints, self._reals, self._queues, self._params, self._event, slot)
        return int(lots), self._read_event(now_ns)

    def has_resting(self, slot: int) -> bool:
        """Return whether our order in ``slot`` still rests."""
        return bool(self._ints[kernel.OWN + slot * kernel.OWN_FIELDS + kernel.OWN_LOTS])

    def _read_event(self, ts_ns: int) -> MarketEvent:
        event = self._event
        trades = _rows(event, kernel.E_TRADES, 2, int(event[kernel.E_N_TRADES]))
        levels = _rows(event, kernel.E_LEVELS, 3, int(event[kernel.E_N_LEVELS]))
        fills = _rows(event, kernel.E_OWN, 3, int(event[kernel.E_N_OWN]))
        return MarketEvent(
            ts_ns,
            int(event[kernel.E_SIDE]) if trades else 0,
            [Level(*row) for row in levels],
            [Execution(*row) for row in trades],
            [RestingFill(*row) for row in fills],
        )


def _rows(event: np.ndarray, start: int, width: int, count: int) -> list[list[int]]:
    rows: list[list[int]] = event[start : start + width * count].reshape(count, width).tolist()
    return rows
