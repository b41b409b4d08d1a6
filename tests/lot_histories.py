"""Random histories of fills and transfers, given to the lots and to the oracle side by side."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np

from core.lots import ClosedLot, FifoBook, LotMethod
from core.model.order import Fill, Side
from tests.fakes import BTC
from tests.lot_oracle import PICO, Deal, Keeper, Parcel

UNIT = Fraction(BTC.tick_size) * Fraction(BTC.lot_size)
"""Quote currency of one tick times one lot."""


class History:
    """One history, told twice: to ``FifoBook`` and to the oracle. ``check`` compares them."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.book, self.keeper = FifoBook(BTC), Keeper()
        self.elsewhere = FifoBook(BTC)
        self.keeper_elsewhere = Keeper()
        self.closed: list[ClosedLot] = []
        self.time_ns = 1
        self.ids = list(map(int, self.rng.permutation(200)))
        self.paid = Fraction(0)
        """Quote currency that went out less what came in, fees included."""
        self.kinds: set[str] = set()

    def play(self) -> None:
        for _ in range(int(self.rng.integers(5, 60))):
            self.time_ns += int(self.rng.choice([0, 0, 1, 1_000_000_000]))
            if self.rng.random() < 0.15 and self.book.position_lots > 0:
                self.transfer()
            else:
                self.trade()
            self.check()
        self.check_sums()

    def trade(self) -> None:
        rng = self.rng
        side = Side.BUY if rng.random() < 0.5 else Side.SELL
        lots, ticks = int(rng.integers(1, 500)), int(rng.integers(1, 10**7))
        fee = Decimal(int(rng.integers(-10, 10**9))).scaleb(-8)
        closes = self.choice(side, lots)
        value = None
        if rng.random() < 0.3:
            value = Decimal(int(rng.integers(0, 10**15))).scaleb(-14)
            self.kinds.add("fee in a third currency")
        fill = Fill(
            f"o{self.ids.pop()}-1", "o", BTC.name, side, ticks, lots, fee,
            "USDT" if value is None else "BNB", is_maker=False, ts_ns=self.time_ns,
            fee_value=value, fee_value_source="" if value is None else "test", closes=closes,
        )  # fmt: skip
        was = self.book.position_lots
        self.closed += self.book.apply(fill)
        cost = Fraction(fee if value is None else value)
        self.keeper.deal(
            Deal(fill.fill_id, side is Side.BUY, lots, ticks * UNIT, cost, self.time_ns, closes)
        )
        self.paid += side.sign * lots * ticks * UNIT + cost
        if was * self.book.position_lots < 0:
            self.kinds.add("turned over")
        if self.book.position_lots < 0:
            self.kinds.add("short")

    def choice(self, side: Side, lots: int) -> tuple[str, ...]:
        """Choose lots to close now and then, some of which may not be there."""
        if self.rng.random() > 0.3 or self.book.position_lots * side.sign >= 0:
            return ()
        self.kinds.add("lots chosen")
        if self.rng.random() < 0.5:
            method = LotMethod.LIFO if self.rng.random() < 0.5 else LotMethod.HIFO
            return self.book.pick(method, lots)
        held = [lot.venue_fill_id for lot in self.book.open_lots] + ["gone-1"]
        picked = self.rng.permutation(held)[: int(self.rng.integers(1, 4))]
        return tuple(map(str, picked))

    def transfer(self) -> None:
        """Move lots to another wallet, or back from it."""
        if self.elsewhere.position_lots and self.rng.random() < 0.6:
            source, target = self.elsewhere, self.book
            keepers = self.keeper_elsewhere, self.keeper
            self.kinds.add("transfer in")
        else:
            source, target = self.book, self.elsewhere
            keepers = self.keeper, self.keeper_elsewhere
            self.kinds.add("transfer out")
        lots = int(self.rng.integers(1, source.position_lots + 1))
        target.take_in(source.give_out(lots))
        keepers[1].move_in(keepers[0].move_out(lots))

    def check(self) -> None:
        """Open parcels and everything closed so far, digit by digit."""
        assert opened(self.book) == list(map(told, self.keeper.parcels))
        assert opened(self.elsewhere) == list(map(told, self.keeper_elsewhere.parcels))
        assert len(self.closed) == len(self.keeper.matches)
        for ours, theirs in zip(self.closed, self.keeper.matches, strict=True):
            assert (ours.open_fill_id, ours.close_fill_id) == (theirs.open_id, theirs.close_id)
            assert (ours.sign > 0, ours.qty_lots) == (theirs.is_long, theirs.qty)
            assert Fraction(ours.realized) == theirs.gain

    def check_sums(self) -> None:
        """What was paid is in the gains and in the open parcels, nothing beside."""
        gains = sum((match.gain for match in self.keeper.matches), Fraction(0))
        held = [*self.book.open_lots, *self.elsewhere.open_lots]
        cost = sum((lot.sign * lot.qty_lots * lot.price_ticks * UNIT for lot in held), Fraction(0))
        fees = sum((Fraction(lot.fee) for lot in held), Fraction(0))
        assert self.paid == cost + fees - gains
        assert Fraction(self.book.realized) == gains


def opened(book: FifoBook) -> list[tuple[object, ...]]:
    return [
        (lot.fill_id, lot.sign > 0, lot.qty_lots, lot.price_ticks * UNIT, Fraction(lot.fee),
         lot.ts_ns)
        for lot in book.open_lots
    ]  # fmt: skip


def told(parcel: Parcel) -> tuple[object, ...]:
    return (parcel.id, parcel.is_long, parcel.qty, parcel.unit_price, parcel.fee_picos / PICO,
            parcel.time)  # fmt: skip
