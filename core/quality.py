"""How well the orders of a backtest were filled: slippage against arrival, and markouts.

It adds up what the engine measured and wrote into the ledger (``core.costs``); it measures nothing.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from core.model.event import MarkedOut, SlippageMeasured
from core.model.instrument import Instrument


class Markout(msgspec.Struct, frozen=True):
    """Where the mid was a fixed time after the fills; above zero it went our way."""

    horizon_s: int
    fills: int
    """Fills with a book to believe at that moment."""
    gain: Decimal
    """In quote currency, fees left out."""
    sum_bps: float

    @property
    def mean_bps(self) -> float:
        return round(self.sum_bps / self.fills, 6)


class Quality(msgspec.Struct, frozen=True):
    """Slippage against the mid at arrival, and markouts; above zero slippage costs."""

    orders: int = 0
    """Orders that filled and were measured."""
    notional: Decimal = Decimal(0)
    """Their filled quantity at the mid of their arrival."""
    cost: Decimal = Decimal(0)
    """What the fills cost against that mid; fees are not in it."""
    expected_cost: Decimal = Decimal(0)
    """What the levels shown at arrival would have cost, cut to 1e-8."""
    markouts: tuple[Markout, ...] = ()

    @property
    def realized_bps(self) -> float | None:
        return self._bps(self.cost)

    @property
    def expected_bps(self) -> float | None:
        return self._bps(self.expected_cost)

    def _bps(self, money: Decimal) -> float | None:
        return round(float(money / self.notional) * 10_000, 6) if self.notional else None

    def then(self, other: Quality) -> Quality:
        """Return both together."""
        return Quality(
            self.orders + other.orders,
            self.notional + other.notional,
            self.cost + other.cost,
            self.expected_cost + other.expected_cost,
            _together((*self.markouts, *other.markouts)),
        )


class QualityTally:
    """Adds up the measurements of one quote currency."""

    def __init__(self) -> None:
        self._orders: dict[str, Quality] = {}
        """By client order id: an order that fills after its end is measured again."""
        self._markouts: list[Markout] = []

    def take_slippage(self, event: SlippageMeasured, instrument: Instrument) -> None:
        """Take what one order cost; the newest word on an order counts."""
        notional = Decimal(event.arrival_mid) * instrument.qty(event.filled_lots)
        expected = notional * Decimal(repr(event.expected_bps)) / 10_000
        self._orders[event.client_order_id] = Quality(
            1, notional, Decimal(event.cost), expected.quantize(Decimal("1e-8"))
        )

    def take_markout(self, event: MarkedOut) -> None:
        """Take where the mid was after a fill; nothing where there was no book to believe."""
        if event.gain is not None and event.markout_bps is not None:
            self._markouts.append(
                Markout(event.horizon_s, 1, Decimal(event.gain), event.markout_bps)
            )
            self._markouts = list(_together(tuple(self._markouts)))

    def result(self) -> Quality:
        """Return the sums."""
        total = Quality(markouts=tuple(self._markouts))
        for one in self._orders.values():
            total = total.then(one)
        return total


def _together(parts: tuple[Markout, ...]) -> tuple[Markout, ...]:
    found: dict[int, Markout] = {}
    for one in parts:
        old = found.get(one.horizon_s, Markout(one.horizon_s, 0, Decimal(0), 0.0))
        found[one.horizon_s] = Markout(
            one.horizon_s, old.fills + one.fills, old.gain + one.gain, old.sum_bps + one.sum_bps
        )
    return tuple(found[horizon] for horizon in sorted(found))
