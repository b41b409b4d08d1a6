"""Random histories of fills and transfers, given to the lots and to the oracle side by side."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction

import msgspec
import numpy as np

from core.lots import FifoBook
from core.model.lot import ClosedLot, LotMethod, OpenLot
from core.model.order import Fill, Side
from core.model.transfer import Transfer, TransferWay
from core.transfers import move
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
        self.quantities: list[Fraction] = []
        """Of the closed lots, in lots: each is counted on the grid that its book had then."""
        self.time_ns = 1
        self.ids = list(map(int, self.rng.permutation(200)))
        self.paid = Fraction(0)
        """Quote currency that went out less what came in, fees included."""
        self.kinds: set[str] = set()

    def play(self) -> None:
        for _ in range(int(self.rng.integers(5, 60))):
            self.time_ns += int(self.rng.choice([0, 0, 1, 1_000_000_000]))
            draw = self.rng.random()
            if draw < 0.15 and self.book.position_lots > 0:
                self.transfer()
            elif draw < 0.22 and self.book.held_parts >= 0 and self.time_ns > 2:
                self.arrive()
            elif draw < 0.30 and self.book.position_lots > 0:
                self.leave()
            elif draw < 0.40:
                self.pay()
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
        self.note(self.book.apply(fill))
        cost = Fraction(fee if value is None else value)
        self.keeper.deal(
            Deal(fill.fill_id, side is Side.BUY, lots, ticks * UNIT, cost, self.time_ns, closes)
        )
        self.paid += side.sign * lots * ticks * UNIT + cost
        if was * self.book.position_lots < 0:
            self.kinds.add("turned over")
        if self.book.position_lots < 0:
            self.kinds.add("short")

    def note(self, closed: Iterable[ClosedLot]) -> None:
        for lot in closed:
            self.closed.append(lot)
            self.quantities.append(Fraction(lot.qty_lots, self.book.parts))

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

    def arrive(self) -> None:
        """Coins come from outside, with a basis and a date of their own."""
        self.kinds.add("coins from outside")
        transfer = Transfer(
            f"t-{self.ids.pop()}", BTC.name, TransferWay.IN,
            int(self.rng.integers(1, 400)), "cold", self.time_ns,
            int(self.rng.integers(1, self.time_ns)), self.money(13),
        )  # fmt: skip
        assert transfer.basis is not None
        move(self.book, transfer)
        basis = Fraction(transfer.basis)
        self.keeper.arrive(
            transfer.transfer_id, transfer.qty_lots, basis, UNIT, transfer.acquired_ns
        )
        self.paid += basis

    def leave(self) -> None:
        """Coins go outside, and some of them pay for it."""
        self.kinds.add("coins to outside")
        held = self.book.position_lots
        lots = int(self.rng.integers(1, held + 1))
        fee_lots = int(self.rng.integers(0, held - lots + 1)) if self.rng.random() < 0.5 else 0
        value = self.money(11) if self.rng.random() < 0.8 else None
        name = f"w-{self.ids.pop()}"
        moved = move(self.book, Transfer(
            name, BTC.name, TransferWay.OUT, lots, "cold", self.time_ns, fee_lots=fee_lots,
            fee_value=value,
        ))  # fmt: skip
        gone = self.keeper.move_out(Fraction(lots))
        assert [told(parcel) for parcel in gone] == opened(self.book, moved.given)
        self.paid -= sum(
            (lot.unit_price * lot.qty + lot.fee_picos / PICO for lot in gone), Fraction(0)
        )
        if fee_lots:
            self.kinds.add("a transfer's fee in coins")
            self.note(moved.spent)
            worth = Fraction(value or 0)
            assert self.keeper.pay(name, Fraction(fee_lots), worth) == fee_lots
            self.paid -= worth

    def pay(self) -> None:
        """A fill of another instrument takes its fee in these coins, held or not."""
        self.kinds.add("fees of others paid in these coins")
        digits = int(self.rng.integers(3, 13))
        quantity = Decimal(int(self.rng.integers(1, 10**digits))).scaleb(-digits) * BTC.lot_size
        quantity *= int(self.rng.integers(1, 40))
        value = self.money(11) if self.rng.random() < 0.8 else None
        name = f"x-{self.ids.pop()}"
        spent = self.book.spend(name, quantity, value, self.time_ns)
        self.note(spent)
        wanted, worth = Fraction(quantity) / Fraction(BTC.lot_size), Fraction(value or 0)
        paid = self.keeper.pay(name, wanted, worth)
        assert sum((Fraction(lot.qty_lots, self.book.parts) for lot in spent), Fraction(0)) == paid
        self.paid += sum((Fraction(lot.close_fee) for lot in spent), Fraction(0))
        if paid < wanted:
            self.kinds.add("a fee in coins that were not all held")
        if self.book.parts > 1:
            self.kinds.add("parts of a lot")

    def money(self, digits: int) -> Decimal:
        return Decimal(int(self.rng.integers(0, 10**digits))).scaleb(-int(self.rng.integers(2, 9)))

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
        given = source.give_out(lots)
        target.take_in(on_grid(given, source, target))
        keepers[1].move_in(keepers[0].move_out(Fraction(lots)))

    def check(self) -> None:
        """Open parcels and everything closed so far, digit by digit."""
        assert opened(self.book) == list(map(told, self.keeper.parcels))
        assert opened(self.elsewhere) == list(map(told, self.keeper_elsewhere.parcels))
        assert len(self.closed) == len(self.keeper.matches)
        matches = zip(self.closed, self.quantities, self.keeper.matches, strict=True)
        for ours, quantity, theirs in matches:
            assert (ours.open_fill_id, ours.close_fill_id) == (theirs.open_id, theirs.close_id)
            assert (ours.sign > 0, quantity) == (theirs.is_long, theirs.qty)
            assert Fraction(ours.realized) == theirs.gain

    def check_sums(self) -> None:
        """What was paid is in the gains and in the open parcels, nothing beside."""
        gains = sum((match.gain for match in self.keeper.matches), Fraction(0))
        cost = fees = Fraction(0)
        for book in (self.book, self.elsewhere):
            for lot in book.open_lots:
                cost += lot.sign * lot.qty_lots * lot.price_ticks * UNIT / book.parts
                fees += Fraction(lot.fee)
            held = sum(lot.sign * lot.qty_lots for lot in book.open_lots)
            assert (book.held_parts, book.position_lots) == (held, int(Fraction(held, book.parts)))
        assert self.paid == cost + fees - gains
        assert Fraction(self.book.realized) == gains


def on_grid(lots: Iterable[OpenLot], source: FifoBook, target: FifoBook) -> list[OpenLot]:
    """Return lots of one book as another one counts them."""
    given = list(lots)
    for lot in given:
        target.refine(source.grid.qty(lot.qty_lots))
    step = target.grid.lot_size
    return [
        msgspec.structs.replace(lot, qty_lots=int(source.grid.qty(lot.qty_lots) / step))
        for lot in given
    ]


def opened(book: FifoBook, lots: Iterable[OpenLot] | None = None) -> list[tuple[object, ...]]:
    return [
        (lot.fill_id, lot.sign > 0, Fraction(lot.qty_lots, book.parts), lot.price_ticks * UNIT,
         Fraction(lot.fee), lot.ts_ns)
        for lot in (book.open_lots if lots is None else lots)
    ]  # fmt: skip


def told(parcel: Parcel) -> tuple[object, ...]:
    return (parcel.id, parcel.is_long, parcel.qty, parcel.unit_price, parcel.fee_picos / PICO,
            parcel.time)  # fmt: skip
