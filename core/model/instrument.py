"""An instrument: what is traded on one venue, with its tick and lot size.

Text becomes integer ticks and lots exactly, or is refused; integers become exact decimals.
"""

from __future__ import annotations

import re
from decimal import Decimal, localcontext
from functools import cached_property

import msgspec

from core.errors import OffLotQuantity, OffTickPrice, ValueRefused

_NUMBER = re.compile(r"-?(0|[1-9]\d{0,17})(\.\d{1,18})?", re.ASCII)
STEPS_MAX = 2**53
"""Most ticks or lots, as in the kernels (``core.kernels.book.MAX_STEPS``): float64 holds them."""
_NAME = re.compile(r"[A-Z0-9._/:-]{1,32}", re.ASCII)


def parse_decimal(text: str) -> Decimal:
    """Return the exact decimal of plain text.

    Errors: ``ValueRefused`` for exponents, NaN, spaces, underscores or non-ASCII digits.
    """
    if not _NUMBER.fullmatch(text):
        raise ValueRefused(f"number was {text[:40]!r}, allowed is plain decimal text like 12.50")
    return Decimal(text)


def plain(value: Decimal) -> str:
    """Return plain decimal text without exponent and without trailing zeros."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


class Instrument(msgspec.Struct, frozen=True, dict=True):
    """One instrument of one venue, as of one version of the venue's product list."""

    venue: str
    name: str
    """The venue's own spelling, such as ``BTC-USD`` or ``BTCUSDT``."""
    base: str
    quote: str
    tick_size: Decimal
    """Smallest price step in quote currency."""
    lot_size: Decimal
    """Smallest quantity step in base currency."""
    min_notional: Decimal = Decimal(0)
    """Smallest order value the venue takes, in quote currency."""
    version: int = 1
    min_qty: Decimal = Decimal(0)
    """Smallest order quantity the venue takes, in base currency; often more than a lot."""
    max_qty: Decimal | None = None
    """Largest order quantity, in base currency; None: the venue tells none."""
    max_notional: Decimal | None = None
    """Largest order value, in quote currency; None: the venue tells none."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueRefused(f"instrument name was {self.name[:40]!r}")
        for what, size in (("tick size", self.tick_size), ("lot size", self.lot_size)):
            if not size.is_finite() or size <= 0:
                raise ValueRefused(f"{what} of {self.name} was {size}, allowed is above zero")

    @cached_property
    def price_decimals(self) -> int:
        """Digits after the point that a price on the tick grid can have."""
        return max(0, -int(self.tick_size.normalize().as_tuple().exponent))

    @cached_property
    def tick_units(self) -> int:
        """Tick size in units of ``10**-price_decimals``; 5 for a tick of 0.05."""
        return int(self.tick_size.scaleb(self.price_decimals))

    @cached_property
    def qty_decimals(self) -> int:
        """Digits after the point that a quantity on the lot grid can have."""
        return max(0, -int(self.lot_size.normalize().as_tuple().exponent))

    @cached_property
    def lot_units(self) -> int:
        """Lot size in units of ``10**-qty_decimals``."""
        return int(self.lot_size.scaleb(self.qty_decimals))

    def ticks(self, price: str | Decimal) -> int:
        """Return ``price`` in ticks. Errors: ``OffTickPrice`` if it is not on the grid."""
        value = parse_decimal(price) if isinstance(price, str) else price
        return _steps(value, self.tick_size, OffTickPrice, "price", "tick")

    def lots(self, qty: str | Decimal) -> int:
        """Return ``qty`` in lots. Errors: ``OffLotQuantity`` if it is not on the grid."""
        value = parse_decimal(qty) if isinstance(qty, str) else qty
        return _steps(value, self.lot_size, OffLotQuantity, "quantity", "lot")

    def price(self, ticks: int) -> Decimal:
        """Return the exact price of ``ticks`` in quote currency."""
        return ticks * self.tick_size

    def qty(self, lots: int) -> Decimal:
        """Return the exact quantity of ``lots`` in base currency."""
        return lots * self.lot_size

    def notional(self, ticks: int, lots: int) -> Decimal:
        """Return price times quantity in quote currency, exact."""
        with localcontext() as context:
            context.prec = 60
            return self.price(ticks) * self.qty(lots)

    def price_text(self, ticks: int) -> str:
        return plain(self.price(ticks))

    def price_shown(self, ticks: int) -> str:
        """Return a price for the eye, with all decimals of the tick: 99.70 beside 99.68."""
        return f"{self.price(ticks):.{self.price_decimals}f}"

    def qty_text(self, lots: int) -> str:
        return plain(self.qty(lots))


def _steps(value: Decimal, step: Decimal, error: type[ValueRefused], what: str, grid: str) -> int:
    with localcontext() as context:
        context.prec = 60
        count = value / step
        if count != count.to_integral_value():
            raise error(f"{what} {value} was off the {step} {grid}")
        if abs(count) > STEPS_MAX:
            raise error(f"{what} {value} was beyond {STEPS_MAX} {grid}s of {step}")
        return int(count)
