"""A second keeper of lots, written from the rules in ``docs/lots.md`` alone: the oracle.

It shares no code with ``core.lots`` and works another way: no ticks, lots or decimals but whole
numbers of picos (1e-12 of a quote unit) and fractions of a lot, a plain list of parcels, and gains
as proceeds less basis. Slow, and plain enough to be read against the rules.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction

PICO = 10**12


@dataclass
class Deal:
    """A fill in plain numbers: quantity in lots, price of a lot and fee exact, in quote."""

    id: str
    is_buy: bool
    qty: int
    unit_price: Fraction
    fee: Fraction
    """In quote currency: of a fee in another one, what it was worth."""
    time: int
    closes: tuple[str, ...] = ()


@dataclass(eq=False)
class Parcel:
    id: str
    is_long: bool
    qty: Fraction
    unit_price: Fraction
    fee_picos: Fraction
    time: int


@dataclass
class Match:
    """What one sale (or buy-back, or fee paid in coins) closed of one parcel."""

    open_id: str
    close_id: str
    is_long: bool
    qty: Fraction
    proceeds: Fraction
    basis: Fraction

    @property
    def gain(self) -> Fraction:
        return self.proceeds - self.basis


@dataclass
class Keeper:
    parcels: list[Parcel] = field(default_factory=list)
    matches: list[Match] = field(default_factory=list)

    def deal(self, deal: Deal) -> None:
        """Rules 1 to 7."""
        left, fee_left = Fraction(deal.qty), deal.fee * PICO
        while left and self.parcels and self.parcels[0].is_long != deal.is_buy:
            parcel = self._next(deal.closes)
            qty = min(left, parcel.qty)
            fee_part = part(fee_left, qty, left)
            open_part = part(parcel.fee_picos, qty, parcel.qty)
            worth, cost = deal.unit_price * qty, parcel.unit_price * qty
            fees = (fee_part / PICO, open_part / PICO)
            if parcel.is_long:
                proceeds, basis = worth - fees[0], cost + fees[1]
            else:
                proceeds, basis = cost - fees[1], worth + fees[0]
            self.matches.append(Match(parcel.id, deal.id, parcel.is_long, qty, proceeds, basis))
            self._take(parcel, qty, open_part)
            left -= qty
            fee_left -= fee_part
        if left:
            self.parcels.append(
                Parcel(deal.id, deal.is_buy, left, deal.unit_price, fee_left, deal.time)
            )
            # A stable sort by time and, of one instant, by number-aware id: only ties may move.
            last = [p for p in self.parcels if p.time == deal.time]
            rest = [p for p in self.parcels if p.time != deal.time]
            if self.parcels[-len(last) :] == last:
                self.parcels = rest + sorted(last, key=lambda p: numbers(p.id))

    def pay(self, name: str, qty: Fraction, value: Fraction) -> Fraction:
        """Rule 9: return what was paid of ``qty`` and is booked at its share of ``value``."""
        held = sum((parcel.qty for parcel in self.parcels if parcel.is_long), Fraction(0))
        paid = left = min(qty, held)
        worth = part(value * PICO, paid, qty) if paid else Fraction(0)
        while left:
            parcel = self.parcels[0]
            take = min(left, parcel.qty)
            brought, fee = part(worth, take, left), part(parcel.fee_picos, take, parcel.qty)
            basis = parcel.unit_price * take + fee / PICO
            self.matches.append(Match(parcel.id, name, True, take, brought / PICO, basis))
            self._take(parcel, take, fee)
            left -= take
            worth -= brought
        return paid

    def arrive(self, name: str, qty: int, basis: Fraction, step: Fraction, time: int) -> None:
        """Rule 8: from outside, with its own basis: whole steps of price, the rest as a fee."""
        price = basis // (step * qty) * step
        rest = (basis - price * qty) * PICO
        self.move_in([Parcel(name, True, Fraction(qty), price, rest, time)])

    def move_out(self, qty: Fraction, closes: tuple[str, ...] = ()) -> list[Parcel]:
        """Rule 8: basis and date go along."""
        out = []
        while qty:
            parcel = self._next(closes)
            take = min(qty, parcel.qty)
            fee = part(parcel.fee_picos, take, parcel.qty)
            out.append(Parcel(parcel.id, True, take, parcel.unit_price, fee, parcel.time))
            self._take(parcel, take, fee)
            qty -= take
        return out

    def move_in(self, parcels: list[Parcel]) -> None:
        """Rule 8: by when they were acquired, behind those of the same instant."""
        for parcel in parcels:
            older = [i for i, other in enumerate(self.parcels) if other.time <= parcel.time]
            self.parcels.insert(max(older, default=-1) + 1, parcel)

    def _next(self, closes: tuple[str, ...]) -> Parcel:
        for wanted in closes:
            for parcel in self.parcels:
                if parcel.id == wanted:
                    return parcel
        return self.parcels[0]

    def _take(self, parcel: Parcel, qty: Fraction, fee: Fraction) -> None:
        parcel.qty -= qty
        parcel.fee_picos -= fee
        if not parcel.qty:
            self.parcels.remove(parcel)


def part(fee_picos: Fraction, qty: Fraction, whole: Fraction) -> Fraction:
    """Rule 4: the share of a fee, cut to whole picos towards zero; the whole gets all of it."""
    if qty == whole:
        return fee_picos
    share = fee_picos * qty / whole
    return Fraction(int(share))


def numbers(text: str) -> list[object]:
    return [int(bit) if bit.isdigit() else bit for bit in re.split(r"(\d+)", text)]
