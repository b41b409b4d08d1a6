"""FIFO lots of one instrument: position, cost basis and realized P&L, exact.

A lot keeps the fee of the fill that opened it; a close carries its share of that fee and of its
own. Shares are cut to ``FEE_SHARE_STEP`` and the last part takes the rest, so that
sum(realized) = sum(sells) - sum(buys) - sum(fees) whenever the position is flat, to the last digit.
A fee paid in coins is a disposal of them and need not be whole lots: the book then counts in parts
of a lot. The rules stand in ``docs/lots.md``; the tests hold them against a second implementation.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from decimal import ROUND_DOWN, Context, Decimal, Inexact, localcontext
from fractions import Fraction

import msgspec

from core.errors import InvariantError, ValueRefused
from core.model.instrument import Instrument
from core.model.lot import ClosedLot, LotMethod, OpenLot
from core.model.order import Fill

FEE_SHARE_STEP = Decimal("1e-12")
_EXACT = Context(prec=60, traps=[Inexact])
_CUT = Context(prec=60, rounding=ROUND_DOWN)
_DIGITS = re.compile(r"\d+")


class FifoBook:
    """Open lots of one instrument, oldest first.

    Invariant: all open lots have one sign, and their whole lots add up to ``position_lots``.
    """

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.grid = instrument
        """The instrument with the lot size on which quantities are counted in here."""
        self.parts = 1
        """How many of them are a lot of ``instrument``."""
        self.held_parts = 0
        """Signed quantity on the grid: lots and parts of a lot."""
        self.open_lots: deque[OpenLot] = deque()
        self.position_lots = 0
        self.realized = Decimal(0)
        self.fees = Decimal(0)
        self.spent = Decimal(0)
        """Worth of the coins that transfers cost; it is in no lot, and in no ``realized``."""
        self.opened_ns = 0
        """When the present position was opened; 0 while flat."""

    def apply(self, fill: Fill, lot_id: str = "") -> list[ClosedLot]:
        """Take one fill; return what it closed, in the order it was closed.

        The lots that its order had chosen are closed first, then the oldest. ``lot_id`` names what
        it opens or closes, instead of the fill id.
        Errors: ``InvariantError`` for a fill of another instrument or without quantity.
        """
        if fill.instrument != self.instrument.name or fill.qty_lots <= 0:
            raise InvariantError(f"fill {fill.fill_id} did not fit {self.instrument.name}")
        name = lot_id or fill.fill_id
        fee = fee_in_quote(fill, self.instrument)
        with localcontext(_EXACT):
            closed = self._close(fill, name, fee)
            left = fill.qty_lots * self.parts - sum(lot.qty_lots for lot in closed)
            if left:
                open_fee = fee - sum((lot.close_fee for lot in closed), Decimal(0))
                self._open(fill, name, left, open_fee)
            self.fees += fee
            self.realized += sum((lot.realized for lot in closed), Decimal(0))
        self._change(fill.side.sign * fill.qty_lots * self.parts)
        return closed

    def _change(self, parts: int) -> None:
        """Count a change of what is held; parts of a lot cannot be traded and are no position."""
        self.held_parts += parts
        self._count_lots()

    def count(self) -> None:
        """Count what is held anew, from the open lots."""
        self.held_parts = sum(lot.sign * lot.qty_lots for lot in self.open_lots)
        self._count_lots()

    @property
    def held(self) -> Fraction:
        """Signed lots, parts of a lot included."""
        return Fraction(self.held_parts, self.parts)

    def hold(self, lots: Fraction) -> None:
        """Hold so much from here on, of which no lot is known: they could not be counted."""
        self.held_parts, self.parts = lots.numerator, lots.denominator
        self.open_lots.clear()
        self._count_lots()

    def _count_lots(self) -> None:
        lots = abs(self.held_parts) // self.parts
        self.position_lots = lots if self.held_parts > 0 else -lots
        if not self.open_lots:
            self.opened_ns = 0

    def _open(self, fill: Fill, name: str, lots: int, fee: Decimal) -> None:
        if not self.open_lots:
            self.opened_ns = fill.ts_ns
        lot = OpenLot(
            name, fill.side.sign, lots, fill.price_ticks, fee, fill.ts_ns, fill.fill_id
        )  # fmt: skip
        # Reports of one instant come in any order: by fill id, they stand the same way always.
        place = len(self.open_lots)
        while place and _is_after(self.open_lots[place - 1], lot):
            place -= 1
        self.open_lots.insert(place, lot)

    def _close(self, fill: Fill, name: str, fee: Decimal) -> list[ClosedLot]:
        closed: list[ClosedLot] = []
        left, fee_left = fill.qty_lots * self.parts, fee
        if not self.open_lots or self.open_lots[0].sign == fill.side.sign:
            return closed
        for lot, lots, open_fee in self._take_out(left, fill.closes):
            close_fee = _share(fee_left, lots, left)
            move = (fill.price_ticks - lot.price_ticks) * lot.sign
            realized = self.grid.notional(1, 1) * (move * lots) - open_fee - close_fee
            closed.append(
                ClosedLot(
                    open_fill_id=lot.fill_id,
                    close_fill_id=name,
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
            left -= lots
            fee_left -= close_fee
        return closed

    def _take_out(self, lots: int, chosen: Sequence[str]) -> Iterator[tuple[OpenLot, int, Decimal]]:
        """Take lots out of the book: (parcel, its lots taken, their share of its fee)."""
        wanted = deque(chosen)
        while lots and self.open_lots:
            place = 0
            while wanted:
                found = self._place_of(wanted[0])
                if found is not None:
                    place = found
                    break
                wanted.popleft()
            lot = self.open_lots[place]
            part = min(lots, lot.qty_lots)
            fee = _share(lot.fee, part, lot.qty_lots)
            if part < lot.qty_lots:
                self.open_lots[place] = msgspec.structs.replace(
                    lot, qty_lots=lot.qty_lots - part, fee=lot.fee - fee
                )
            else:
                del self.open_lots[place]
            lots -= part
            yield lot, part, fee

    def _place_of(self, venue_fill_id: str) -> int | None:
        places = (i for i, lot in enumerate(self.open_lots) if lot.venue_fill_id == venue_fill_id)
        return next(places, None)

    def pick(self, method: LotMethod, qty_lots: int) -> tuple[str, ...]:
        """Return the venue fill ids of the lots that ``method`` closes, for an order to choose.

        Empty for FIFO, which is what happens without a choice.
        """
        if method is LotMethod.FIFO:
            return ()
        left = qty_lots * self.parts
        lots = list(reversed(self.open_lots))
        if method is LotMethod.HIFO:
            # Highest cost of a purchase, lowest proceeds of a short sale: the smallest gain.
            lots.sort(key=lambda lot: -lot.sign * self._unit_cost(lot))
        picked: list[str] = []
        for lot in lots:
            if left <= 0:
                break
            picked.append(lot.venue_fill_id)
            left -= lot.qty_lots
        return tuple(picked)

    def _unit_cost(self, lot: OpenLot) -> Decimal:
        fee = lot.sign * lot.fee / self.grid.qty(lot.qty_lots)
        return self.instrument.price(lot.price_ticks) + fee

    # --- transfers ------------------------------------------------------------------------------

    def give_out(self, qty_lots: int, chosen: Sequence[str] = ()) -> list[OpenLot]:
        """Take lots out that were transferred away: nothing is realized, basis and date go along.

        Errors: ``ValueRefused`` if fewer are held; a short position cannot be moved.
        """
        if not 0 < qty_lots <= self.position_lots:
            raise ValueRefused(
                f"transfer of {qty_lots} lots was not within the {self.position_lots} lots held"
            )
        with localcontext(_EXACT):
            given = [
                msgspec.structs.replace(lot, qty_lots=lots, fee=fee)
                for lot, lots, fee in self._take_out(qty_lots * self.parts, chosen)
            ]
        self._change(-qty_lots * self.parts)
        return given

    def take_in(self, lots: Iterable[OpenLot], now_ns: int = 0) -> None:
        """Put lots in, counted on this ``grid``, by when they were acquired, not moved.

        A position that begins so is held since ``now_ns``.
        Errors: ``ValueRefused`` for lots that are not bought ones, or into a short position.
        """
        for lot in lots:
            if lot.sign != 1 or lot.qty_lots <= 0 or self.held_parts < 0:
                raise ValueRefused("only bought lots can be moved, and not into a short position")
            place = len(self.open_lots)
            while place and self.open_lots[place - 1].ts_ns > lot.ts_ns:
                place -= 1
            self.open_lots.insert(place, lot)
            self.opened_ns = self.opened_ns or now_ns or lot.ts_ns
            self._change(lot.qty_lots)

    # --- fees paid in coins ---------------------------------------------------------------------

    def spend(
        self, name: str, quantity: Decimal, value: Decimal | None, ts_ns: int
    ) -> list[ClosedLot]:
        """Dispose of the coins that paid a fee, oldest first; return the lots that they were.

        ``value`` in quote currency is what they brought, for that much of a fee was paid with them;
        None counts as nothing. What is not held is left out, and so is its share of the value.
        """
        self.refine(quantity)
        wanted = int(quantity / self.grid.lot_size)
        taken = left = min(wanted, max(0, self.held_parts))
        closed: list[ClosedLot] = []
        with localcontext(_EXACT):
            worth = _share(value or Decimal(0), left, wanted) if left else Decimal(0)
            for lot, lots, open_fee in self._take_out(left, ()):
                part = _share(worth, lots, left)
                cost = self.grid.notional(1, 1) * (lot.price_ticks * lots)
                closed.append(
                    ClosedLot(
                        open_fill_id=lot.fill_id,
                        close_fill_id=name,
                        sign=lot.sign,
                        qty_lots=lots,
                        open_ticks=lot.price_ticks,
                        close_ticks=0,
                        open_fee=open_fee,
                        close_fee=-part,
                        realized=part - cost - open_fee,
                        opened_ns=lot.ts_ns,
                        closed_ns=ts_ns,
                    )
                )
                left -= lots
                worth -= part
            self.realized += sum((lot.realized for lot in closed), Decimal(0))
        self._change(-taken)
        return closed

    def refine(self, quantity: Decimal) -> None:
        """Count on a grid fine enough for ``quantity`` from here on; what is held stays equal."""
        digits = -int(quantity.normalize().as_tuple().exponent)
        if not quantity % self.grid.lot_size:
            return
        step = Decimal(1).scaleb(-max(digits, self.grid.qty_decimals))
        finer = int(self.grid.lot_size / step)
        self.grid = msgspec.structs.replace(self.grid, lot_size=step)
        self.parts *= finer
        self.held_parts *= finer
        for place, lot in enumerate(self.open_lots):
            self.open_lots[place] = msgspec.structs.replace(lot, qty_lots=lot.qty_lots * finer)

    # --- marks ----------------------------------------------------------------------------------

    def average_price(self) -> Decimal | None:
        """Return the mean opening price without fees, or None while flat; for the screen."""
        if not self.open_lots:
            return None
        ticks = sum(lot.price_ticks * lot.qty_lots for lot in self.open_lots)
        return self.instrument.tick_size * ticks / abs(self.held_parts)

    def unrealized(self, mark2_ticks: int) -> Decimal:
        """Return the open gain at a mark in half ticks, opening fees included, exact."""
        with localcontext(_EXACT):
            half = self.grid.notional(1, 1) / 2
            total = Decimal(0)
            for lot in self.open_lots:
                move = (mark2_ticks - 2 * lot.price_ticks) * lot.sign * lot.qty_lots
                total += half * move - lot.fee
            return total


def fee_in_quote(fill: Fill, instrument: Instrument) -> Decimal:
    """Return a fill's fee in quote currency; one in another currency at the value told with it.

    Where nobody told, it is left out of basis and proceeds, for a value would be invented: the
    realized gain is then too high, and whoever reads the lot is told (``ledger.tax``).
    """
    if fill.fee_currency == instrument.quote or not fill.fee:
        return fill.fee
    return fill.fee_value or Decimal(0)


def _is_after(lot: OpenLot, other: OpenLot) -> bool:
    """Whether ``lot`` belongs behind ``other``, of the same instant and a lower fill id."""
    return lot.ts_ns == other.ts_ns and _rank(lot) > _rank(other)


def _rank(lot: OpenLot) -> str:
    """Return the venue's fill id with its numbers comparable: o2-1 before o10-1."""
    return _DIGITS.sub(lambda found: found[0].zfill(20), lot.venue_fill_id)


def _share(fee: Decimal, part: int, whole: int) -> Decimal:
    """Return the fee of ``part`` out of ``whole`` lots; the whole gets all of it."""
    if part == whole:
        return fee
    with localcontext(_CUT):
        return (fee * part / whole).quantize(FEE_SHARE_STEP)
