"""Attached exits as rules: where they lie, when one is due, what the trader may set. Pure.

Prices are touched by the side of the book at which the position can be closed: a long one by the
best bid, a short one by the best ask. Stop and target are rounded in the direction of the
position: no stop risks more than was said, no target takes less (docs/positions.md).
"""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import msgspec

from core.clock import NS_PER_S
from core.config import ExitSettings
from core.errors import ValueRefused
from core.lots import FifoBook
from core.model.exits import ExitKind, Exits, Touch
from core.model.instrument import Instrument

OFF, AUTO, EVEN = "off", "auto", "even"
_FULL_BPS = 10_000


def mean_ticks(book: FifoBook) -> Fraction:
    """Return the mean opening price of what is held, in ticks, exact. The book is not flat.

    Coins from another wallet count only where there is nothing else: what they cost years ago says
    nothing about where a trade of today goes wrong.
    """
    lots = [lot for lot in book.open_lots if not lot.is_moved] or list(book.open_lots)
    paid = sum(lot.price_ticks * lot.qty_lots for lot in lots)
    return Fraction(paid, sum(lot.qty_lots for lot in lots))


def exits_for(
    sign: int, mean: Fraction, opened_ns: int, settings: ExitSettings, before: Exits | None = None
) -> Exits:
    """Return the exits of a position that was opened at ``mean`` ticks.

    ``before`` are those it had: what the trader has set by hand stays as it is.
    """
    stop = _level(sign, mean, -_exact(settings.stop_bps))
    target = _level(sign, mean, _exact(settings.take_profit_bps))
    due_ns = opened_ns + int(settings.time_stop_s * NS_PER_S) if settings.time_stop_s else None
    kept = () if before is None else before.by_hand
    if before is not None:
        stop = before.stop_ticks if ExitKind.STOP in kept else stop
        target = before.target_ticks if ExitKind.TARGET in kept else target
        due_ns = before.due_ns if ExitKind.TIME in kept else due_ns
    return Exits(sign, stop, target, due_ns, kept)


def _exact(bps: float) -> Fraction:
    return Fraction(str(bps)) / _FULL_BPS


def _level(sign: int, mean: Fraction, gain: Fraction) -> int | None:
    """Return the price in ticks at which the position has gained ``gain``; None for no gain at all.

    It lies a tick from the entry at least, and at one tick at least.
    """
    if not gain:
        return None
    level = _toward(sign, mean * (1 + sign * gain))
    nearest = math.floor(mean) + 1 if sign * gain > 0 else math.ceil(mean) - 1
    is_beyond = level >= nearest if sign * gain > 0 else level <= nearest
    return max(1, level if is_beyond else nearest)


def _toward(sign: int, ticks: Fraction) -> int:
    """Return whole ticks, rounded in the direction in which the position gains."""
    return math.ceil(ticks) if sign > 0 else math.floor(ticks)


def kind_due(exits: Exits, bid_ticks: int, ask_ticks: int, now_ns: int) -> ExitKind | None:
    """Return the exit that is due on a believed book, the stop first; None if none is.

    Asked at every move of the book while a position is held: integers only.
    """
    sign, stop, target = exits.sign, exits.stop_ticks, exits.target_ticks
    seen = bid_ticks if sign > 0 else ask_ticks
    if stop is not None and sign * (seen - stop) <= 0:
        return ExitKind.STOP
    if target is not None and sign * (seen - target) >= 0:
        return ExitKind.TARGET
    if exits.due_ns is not None and now_ns >= exits.due_ns:
        return ExitKind.TIME
    return None


def touched(
    exits: Exits, instrument: Instrument, bid_ticks: int, ask_ticks: int, now_ns: int,
    opened_ns: int,
) -> Touch | None:  # fmt: skip
    """Return the exit that is due with what shows it, in words; None if none is."""
    kind = kind_due(exits, bid_ticks, ask_ticks, now_ns)
    if kind is None:
        return None
    if kind is ExitKind.TIME:
        assert exits.due_ns is not None
        allowed, held = (
            f"{max(0, ns) / NS_PER_S:.1f}" for ns in (exits.due_ns - opened_ns, now_ns - opened_ns)
        )
        words = f"time stop at {allowed} s: held {held} s"
        return Touch(ExitKind.TIME, allowed, held, words)
    level = exits.stop_ticks if kind is ExitKind.STOP else exits.target_ticks
    assert level is not None
    name, seen = ("bid", bid_ticks) if exits.sign > 0 else ("ask", ask_ticks)
    return _touch(kind, instrument, level, name, seen)


def _touch(kind: ExitKind, instrument: Instrument, level: int, name: str, seen: int) -> Touch:
    at, by = instrument.price_text(level), instrument.price_text(seen)
    return Touch(kind, at, by, f"{kind.value} at {at} touched by {name} {by}")


def set_by_hand(
    exits: Exits, kind: ExitKind, value: str, instrument: Instrument, mean: Fraction,
    settings: ExitSettings, opened_ns: int, now_ns: int,
) -> Exits:  # fmt: skip
    """Return the exits after the trader's word: a price, ``off``, ``auto`` or, a stop, ``even``.

    A time stop takes seconds from now. Errors: ``ValueError`` saying what is allowed.
    """
    value = value.strip().lower()
    if value == AUTO:
        return _automatic(exits, kind, mean, settings, opened_ns)
    by_hand = tuple(sorted({*exits.by_hand, kind}))
    if kind is ExitKind.TIME:
        due_ns = None if value == OFF else now_ns + _seconds(value)
        return msgspec.structs.replace(exits, due_ns=due_ns, by_hand=by_hand)
    ticks = None if value == OFF else _price(kind, value, instrument, exits.sign, mean)
    if kind is ExitKind.STOP:
        return msgspec.structs.replace(exits, stop_ticks=ticks, by_hand=by_hand)
    return msgspec.structs.replace(exits, target_ticks=ticks, by_hand=by_hand)


def _automatic(
    exits: Exits, kind: ExitKind, mean: Fraction, settings: ExitSettings, opened_ns: int
) -> Exits:
    by_hand = tuple(each for each in exits.by_hand if each is not kind)
    before = msgspec.structs.replace(exits, by_hand=by_hand)
    return exits_for(exits.sign, mean, opened_ns, settings, before)


def _seconds(value: str) -> int:
    try:
        seconds = Decimal(value)
    except ArithmeticError:
        seconds = Decimal(0)
    if not seconds.is_finite() or not 0 < seconds <= 86_400:
        raise ValueError(
            f"time was {value[:20]!r}, allowed is above 0 to 86400 seconds from now, off, auto"
        )
    return int(seconds * NS_PER_S)


def _price(kind: ExitKind, value: str, instrument: Instrument, sign: int, mean: Fraction) -> int:
    if value == EVEN and kind is ExitKind.STOP:
        return max(1, _toward(sign, mean))
    try:
        ticks = instrument.ticks(value)
    except ValueRefused as error:
        raise ValueError(f"{kind.value}: {error}") from error
    if ticks <= 0:
        raise ValueError(f"{kind.value} was {value}, allowed is above 0")
    return ticks
