"""Which signals a realized gain or loss is put down to.

A closed lot's realized P&L is split over what spoke *for* its entry: the signal shares (and the
bias) that pointed to the side that was taken, in proportion. What pointed the other way gets
nothing. The parts are between nothing and all of it and add up to the whole, to the last digit.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, Context, Decimal, localcontext

import msgspec

from core.model.decision import Forecast
from core.model.order import Side

BIAS = "bias"
"""Stands for the base rate and what the regression says without any signal."""
UNKNOWN = "no decision"
"""Stands for entries that no decision of this run asked for."""
PART_STEP = Decimal("1e-12")
_CUT = Context(prec=60, rounding=ROUND_DOWN)


class SignalPart(msgspec.Struct, frozen=True):
    """One signal that spoke for an entry and its part of all that did."""

    name: str
    part: float
    """Above 0; the parts of one entry add up to 1."""


def entry_parts(forecast: Forecast, side: Side) -> tuple[SignalPart, ...]:
    """Return who spoke for ``side`` and how much; empty if nothing did."""
    shares = [(share.name, share.share) for share in forecast.shares]
    shares.append((BIAS, forecast.bias_share))
    toward = [(name, side.sign * share) for name, share in shares if side.sign * share > 0]
    total = sum(share for _, share in toward)
    return tuple(SignalPart(name, share / total) for name, share in toward)


def split(realized: Decimal, parts: tuple[SignalPart, ...]) -> list[tuple[str, Decimal]]:
    """Return ``realized`` divided among ``parts``; the largest takes what rounding leaves."""
    if not parts:
        return [(UNKNOWN, realized)]
    with localcontext(_CUT):
        cut = [(one.name, (realized * Decimal(one.part)).quantize(PART_STEP)) for one in parts]
        rest = realized - sum((part for _, part in cut), Decimal(0))
        largest = max(range(len(parts)), key=lambda place: parts[place].part)
        name, part = cut[largest]
        cut[largest] = (name, part + rest)
    return cut
