"""FIFO lots of one instrument: position, cost basis and realized P&L, exact.

A lot keeps the fee of the fill that opened it; a close carries its share of that fee and of its
own. Shares are cut to ``FEE_SHARE_STEP`` and the last part takes the rest, so that
sum(realized) = sum(sells) - sum(buys) - sum(fees) whenever the position is flat, to the last digit.
The rules stand in ``docs/lots.md``; the tests hold them against a second implementation.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from decimal import ROUND_DOWN, Context, Decimal, Inexact, localcontext
from enum import StrEnum

import msgspec

from core.errors import InvariantError, ValueRefused
from core.model.instrument import Instrument
from core.model.order import Fill

FEE_SHARE_STEP = Decimal("1e-12")
_EXACT = Context(prec=60, traps=[Inexact])
_CUT = Context(prec=60, rounding=ROUND_DOWN)
_DIGITS = re.compile(r"\d+")


class LotMethod(StrEnum):
    """Which lots an order closes."""

    FIFO = "fifo"
    LIFO = "lifo"
    HIFO = "hifo"


class OpenLot(msgspec.Struct, frozen=True):
    """A parcel of position with its cost."""

    fill_id: str
    """Its name in this book: the fill id, or what ``FifoBook.apply`` was given."""
    sign: int
    """1 bought, -1 sold short."""
    qty_lots: int
    price_ticks: int
    fee: Decimal
    """Opening fee still carried by this parcel, quote currency."""
    ts_ns: int
    """When it was acquired; a transfer keeps it."""
    venue_fill_id: str = ""
    """The venue's own id of the fill; a choice of lots names it."""


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

    def apply(self, fill: Fill, lot_id: str = "") -> list[ClosedLot]:
        """Take one fill; return what it closed, in the order it was closed.

        The lots that its order had chosen are closed first, then the oldest. ``lot_id`` names what
        it opens or closes, instead of the fill id.
        Errors: ``InvariantError`` for a fill of another instrument, without quantity, or with a
        fee in another currency whose value nobody told.
        """
        if fill.instrument != self.instrument.name or fill.qty_lots <= 0:
            raise InvariantError(f"fill {fill.fill_id} did not fit {self.instrument.name}")
        name = lot_id or fill.fill_id
        fee = fee_in_quote(fill, self.instrument)
        with localcontext(_EXACT):
            closed = self._close(fill, name, fee)
            left = fill.qty_lots - sum(lot.qty_lots for lot in closed)
            if left:
                open_fee = fee - sum((lot.close_fee for lot in closed), Decimal(0))
                self._open(fill, name, left, open_fee)
            self.fees += fee
            self.realized += sum((lot.realized for lot in closed), Decimal(0))
        self.position_lots += fill.side.sign * fill.qty_lots
        if not self.open_lots:
            self.opened_ns = 0
        return closed

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
        left, fee_left = fill.qty_lots, fee
        if not self.open_lots or self.open_lots[0].sign == fill.side.sign:
            return closed
        for lot, lots, open_fee in self._take_out(left, fill.closes):
            close_fee = _share(fee_left, lots, left)
            move = (fill.price_ticks - lot.price_ticks) * lot.sign
            realized = self.instrument.notional(1, 1) * (move * lots) - open_fee - close_fee
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
        lots = list(reversed(self.open_lots))
        if method is LotMethod.HIFO:
            # Highest cost of a purchase, lowest proceeds of a short sale: the smallest gain.
            lots.sort(key=lambda lot: -lot.sign * self._unit_cost(lot))
        picked: list[str] = []
        for lot in lots:
            if qty_lots <= 0:
                break
            picked.append(lot.venue_fill_id)
            qty_lots -= lot.qty_lots
        return tuple(picked)

    def _unit_cost(self, lot: OpenLot) -> Decimal:
        fee = lot.sign * lot.fee / self.instrument.qty(lot.qty_lots)
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
                for lot, lots, fee in self._take_out(qty_lots, chosen)
            ]
        self.position_lots -= qty_lots
        if not self.open_lots:
            self.opened_ns = 0
        return given

    def take_in(self, lots: Iterable[OpenLot]) -> None:
        """Put lots in that were transferred here, by when they were acquired, not moved.

        Errors: ``ValueRefused`` for lots that are not bought ones, or into a short position.
        """
        for lot in lots:
            if lot.sign != 1 or lot.qty_lots <= 0 or self.position_lots < 0:
                raise ValueRefused("only bought lots can be moved, and not into a short position")
            place = len(self.open_lots)
            while place and self.open_lots[place - 1].ts_ns > lot.ts_ns:
                place -= 1
            self.open_lots.insert(place, lot)
            self.position_lots += lot.qty_lots
            self.opened_ns = self.opened_ns or lot.ts_ns

    # --- marks ----------------------------------------------------------------------------------

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


def fee_in_quote(fill: Fill, instrument: Instrument) -> Decimal:
    """Return a fill's fee in quote currency; one in another currency at the value told with it.

    Errors: ``InvariantError`` if nobody told: a basis without its fee would be invented.
    """
    if fill.fee_currency == instrument.quote or not fill.fee:
        return fill.fee
    if fill.fee_value is None:
        raise InvariantError(f"fill {fill.fill_id}: fee in {fill.fee_currency} came without value")
    return fill.fee_value


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
