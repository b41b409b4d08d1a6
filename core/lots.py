"""FIFO lots of one instrument: position, cost basis and realized P&L, exact.

A lot keeps the fee of the fill that opened it; a close carries its share of that fee and of its
own. Shares are cut to ``FEE_SHARE_STEP`` and the last part takes the rest, so that
sum(realized) = sum(sells) - sum(buys) - sum(fees) whenever the position is flat, to the last digit.
"""

from __future__ import annotations

from collections import deque
from decimal import ROUND_DOWN, Context, Decimal, Inexact, localcontext

import msgspec

from core.errors import InvariantError
from core.model.instrument import Instrument
from core.model.order import Fill

FEE_SHARE_STEP = Decimal("1e-12")
_EXACT = Context(prec=60, traps=[Inexact])
_CUT = Context(prec=60, rounding=ROUND_DOWN)


class OpenLot(msgspec.Struct, frozen=True):
    """A parcel of position with its cost."""

    fill_id: str
    sign: int
    """1 bought, -1 sold short."""
    qty_lots: int
    price_ticks: int
    fee: Decimal
    """Opening fee still carried by this parcel, quote currency."""
    ts_ns: int


class ClosedLot(msgspec.Struct, frozen=True):
    """A parcel bought and sold (or sold and bought back)."""

    open_fill_id: str
    close_fill_id: str
    sign: int
    qty_lots: int
    open_ticks: int
    close_ticks: int
    open_fee: Decimal
    close_fee: Decimal
    realized: Decimal
    """Gain net of both fees, quote currency."""
    opened_ns: int
    closed_ns: int


class FifoBook:
    """Open lots of one instrument, oldest first.

    Invariant: all open lots have one sign, and their lots add up to ``position_lots``.
    """

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.open_lots: deque[OpenLot] = deque()
        self.position_lots = 0
        self.realized = Decimal(0)
        self.fees = Decimal(0)
        self.opened_ns = 0
        """When the present position was opened; 0 while flat."""

    def apply(self, fill: Fill) -> list[ClosedLot]:
        """Take one fill; return what it closed, oldest first.

        Errors: ``InvariantError`` for a fill of another instrument or without quantity.
        """
        if fill.instrument != self.instrument.name or fill.qty_lots <= 0:
            raise InvariantError(f"fill {fill.fill_id} did not fit {self.instrument.name}")
        with localcontext(_EXACT):
            closed = self._close(fill)
            left = fill.qty_lots - sum(lot.qty_lots for lot in closed)
            if left:
                fee = fill.fee - sum((lot.close_fee for lot in closed), Decimal(0))
                self._open(fill, left, fee)
            self.fees += fill.fee
            self.realized += sum((lot.realized for lot in closed), Decimal(0))
        self.position_lots += fill.side.sign * fill.qty_lots
        if not self.open_lots:
            self.opened_ns = 0
        return closed

    def _open(self, fill: Fill, lots: int, fee: Decimal) -> None:
        if not self.open_lots:
            self.opened_ns = fill.ts_ns
        self.open_lots.append(
            OpenLot(fill.fill_id, fill.side.sign, lots, fill.price_ticks, fee, fill.ts_ns)
        )

    def _close(self, fill: Fill) -> list[ClosedLot]:
        closed: list[ClosedLot] = []
        left, fee_left = fill.qty_lots, fill.fee
        while left and self.open_lots and self.open_lots[0].sign != fill.side.sign:
            lot = self.open_lots.popleft()
            lots = min(left, lot.qty_lots)
            open_fee = _share(lot.fee, lots, lot.qty_lots)
            close_fee = _share(fee_left, lots, left)
            move = (fill.price_ticks - lot.price_ticks) * lot.sign
            realized = self.instrument.notional(1, 1) * (move * lots) - open_fee - close_fee
            closed.append(
                ClosedLot(
                    open_fill_id=lot.fill_id,
                    close_fill_id=fill.fill_id,
                    sign=lot.sign,
                    qty_lots=lots,
                    open_ticks=lot.price_ticks,
                    close_ticks=fill.price_ticks,
                    open_fee=open_fee,
                    close_fee=close_fee,
                    realized=realized,
                    opened_ns=lot.ts_ns,
                    closed_ns=fill.ts_ns,
                )
            )
            if lots < lot.qty_lots:
                rest = msgspec.structs.replace(
                    lot, qty_lots=lot.qty_lots - lots, fee=lot.fee - open_fee
                )
                self.open_lots.appendleft(rest)
            left -= lots
            fee_left -= close_fee
        return closed

    def average_price(self) -> Decimal | None:
        """Return the mean opening price without fees, or None while flat; for the screen."""
        if not self.open_lots:
            return None
        ticks = sum(lot.price_ticks * lot.qty_lots for lot in self.open_lots)
        return self.instrument.tick_size * ticks / abs(self.position_lots)

    def unrealized(self, mark2_ticks: int) -> Decimal:
        """Return the open gain at a mark in half ticks, opening fees included, exact."""
        with localcontext(_EXACT):
            half = self.instrument.notional(1, 1) / 2
            total = Decimal(0)
            for lot in self.open_lots:
                move = (mark2_ticks - 2 * lot.price_ticks) * lot.sign * lot.qty_lots
                total += half * move - lot.fee
            return total


def _share(fee: Decimal, part: int, whole: int) -> Decimal:
    """Return the fee of ``part`` out of ``whole`` lots; the whole gets all of it."""
    if part == whole:
        return fee
    with localcontext(_CUT):
        return (fee * part / whole).quantize(FEE_SHARE_STEP)
