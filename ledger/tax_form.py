"""Rows of Form 8949 from closed lots: which box, which dates, dollars and cents.

Cents appear here and nowhere else: proceeds and basis are rounded half-up, the gain is their
difference, as the form's own column h. So a line is within one cent of the ledger's exact gain.
"""

from __future__ import annotations

from datetime import date, tzinfo
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import NamedTuple

from core.errors import UserError
from core.model.instrument import plain
from ledger.export.formats import Row
from ledger.export.kinds import Kind
from ledger.projections import EXACT_DIGITS
from ledger.tax_values import TaxLot, Uncovered
from ledger.tax_year import is_long_term, moment

PAPER = "PAPER"
"""What every row says, so that nobody files it."""
STABLECOINS = frozenset({"USDT", "USDC", "BUSD", "FDUSD", "TUSD"})
"""Quote currencies counted as one US dollar each."""
EQUITY_VENUES = frozenset({"alpaca"})
"""Venues whose instruments are stocks; those of all others are digital assets."""
DIGITAL_BOXES_SINCE = 2025
"""First tax year whose form has boxes G to L."""

_T, _D = Kind.TEXT, Kind.DECIMAL
COLUMNS = {
    "Box": _T, "Description": _T, "Date Acquired": _T, "Date Sold": _T, "Proceeds": _D,
    "Cost Basis": _D, "Code": _T, "Adjustment": _D, "Gain": _D, "Wallet": _T, "Lot IDs": _T,
    "Ledger Seq": Kind.INTEGER,
}  # fmt: skip
_CENT = Decimal("0.01")
_ROUNDING = Context(prec=EXACT_DIGITS, rounding=ROUND_HALF_UP)


class FormLine(NamedTuple):
    """One line of the form; dollars are whole cents."""

    box: str
    description: str
    acquired: date
    sold: date
    proceeds: Decimal
    basis: Decimal
    wallet: str
    lot_id: str
    seq: int
    is_long_term: bool
    realized: Decimal
    """The ledger's gain, exact."""
    refused: str = ""
    """Why the line has no numbers and counts in no total; empty if it has."""

    @property
    def gain(self) -> Decimal:
        return self.proceeds - self.basis

    @property
    def row(self) -> Row:
        """The line in the order of ``COLUMNS``; there is no code and no adjustment yet."""
        dates = (self.acquired.strftime("%m/%d/%Y"), self.sold.strftime("%m/%d/%Y"))
        ids = (self.wallet, self.lot_id, self.seq)
        if self.refused:
            told = f"{self.description} - NOT COUNTED: {self.refused}"
            return (self.box, told, *dates, None, None, "", None, None, *ids)
        money = (f"{self.proceeds:f}", f"{self.basis:f}", "", None, f"{self.gain:f}")
        return (self.box, self.description, *dates, *money, *ids)


def form_line(lot: TaxLot, zone: tzinfo) -> FormLine:
    """Return a closed lot as a line of the form.

    A short sale is reported when it is closed: property delivered on the day it was bought back
    was acquired and disposed of that day, so both dates are it, and the gain is short-term.
    A line whose proceeds or basis hang on a price that nobody knows has no numbers.
    Errors: ``UserError`` for a quote that is not in dollars.
    """
    _check_dollars(lot)
    sold = moment(lot.closed_ts, zone).date()
    acquired = moment(lot.opened_ts, zone).date() if lot.is_long else sold
    long_term = is_long_term(acquired, sold)
    kind = ", paid as a fee" if lot.is_fee else "" if lot.is_long else ", short sale"
    return FormLine(
        box=box_of(lot.instrument.venue, sold.year, long_term=long_term),
        description=f"{PAPER} {plain(lot.quantity)} {lot.instrument.base}{kind}",
        acquired=acquired,
        sold=sold,
        proceeds=cents(lot.proceeds),
        basis=cents(lot.basis),
        wallet=lot.instrument.venue,
        # Not 9-18 or 9/18: a spreadsheet would read a date.
        lot_id=f"L{lot.open_seq}-{lot.close_seq}" + ("-fee" if lot.is_fee else ""),
        seq=lot.close_seq,
        is_long_term=long_term,
        realized=lot.realized,
        refused=lot.unknown,
    )


def uncovered_line(spent: Uncovered, zone: tzinfo) -> FormLine:
    """Return the line of coins that paid a fee and that the ledger never saw bought.

    Neither basis nor date of purchase is known, so it says only what is missing.
    """
    sold = moment(spent.ts, zone).date()
    return FormLine(
        box=box_of(spent.instrument.venue, sold.year, long_term=False),
        description=f"{PAPER} {plain(spent.quantity)} {spent.coin}, paid as a fee",
        acquired=sold,
        sold=sold,
        proceeds=cents(Decimal(0)),
        basis=cents(Decimal(0)),
        wallet=spent.instrument.venue,
        lot_id=f"L-{spent.seq}-fee",
        seq=spent.seq,
        is_long_term=False,
        realized=Decimal(0),
        refused=f"no {spent.coin} was held in this ledger, so its basis is not known",
    )


def box_of(venue: str, year: int, *, long_term: bool) -> str:
    """Return the box for a sale that no 1099-DA or 1099-B was received for."""
    if venue in EQUITY_VENUES or year < DIGITAL_BOXES_SINCE:
        return "F" if long_term else "C"
    return "L" if long_term else "I"


def cents(value: Decimal) -> Decimal:
    """Return dollars rounded half-up (away from zero) to cents; never a negative zero."""
    return value.quantize(_CENT, context=_ROUNDING) + 0


def _check_dollars(lot: TaxLot) -> None:
    name, quote = lot.instrument.name, lot.instrument.quote
    if quote != "USD" and quote not in STABLECOINS:
        raise UserError(
            f"seq {lot.close_seq}: {name} is traded in {quote}, Form 8949 is in USD, and the "
            "ledger keeps no rates; the formats koinly and cointracker take it"
        )
