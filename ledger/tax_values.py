"""What tax files are made of, as exact values: closed lots, fills, transfers, uncovered coins."""

from __future__ import annotations

from decimal import Context, Decimal, localcontext
from typing import NamedTuple

from core.model.instrument import Instrument
from ledger.projections import EXACT_DIGITS

_EXACT = Context(prec=EXACT_DIGITS)


class TaxLot(NamedTuple):
    """A parcel that was closed: bought and sold or paid as a fee, or sold short and bought back."""

    open_seq: int
    close_seq: int
    opened_ts: str
    closed_ts: str
    is_long: bool
    quantity: Decimal
    open_price: Decimal
    close_price: Decimal
    open_fee: Decimal
    close_fee: Decimal
    realized: Decimal
    instrument: Instrument
    is_fee: bool = False
    """It paid a fee: its proceeds are what it was worth then."""
    is_moved: bool = False
    """It came by a transfer, with the trader's own basis and date."""
    unknown: str = ""
    """What has no price, so that proceeds or basis are not known; empty if they are."""
    is_chosen: bool = False
    """Its order chose the lots to close before it left; else it was first in, first out."""

    @property
    def proceeds(self) -> Decimal:
        """What the sale brought, less its fee; quote currency, exact."""
        with localcontext(_EXACT):
            if self.is_long:
                return self.quantity * self.close_price - self.close_fee
            return self.quantity * self.open_price - self.open_fee

    @property
    def basis(self) -> Decimal:
        """What the purchase cost, its fee included; quote currency, exact."""
        with localcontext(_EXACT):
            if self.is_long:
                return self.quantity * self.open_price + self.open_fee
            return self.quantity * self.close_price + self.close_fee

    @property
    def gain(self) -> Decimal:
        """Proceeds less basis; quote currency, exact."""
        with localcontext(_EXACT):
            return self.proceeds - self.basis


class TaxFill(NamedTuple):
    """A fill, as the importers of others ask for it."""

    seq: int
    ts: str
    is_buy: bool
    quantity: Decimal
    notional: Decimal
    fee: Decimal
    position: Decimal
    """Base currency, signed, after it."""
    fee_currency: str
    fill_id: str
    instrument: Instrument


class TaxTransfer(NamedTuple):
    """Coins moved between the account and another wallet."""

    seq: int
    ts: str
    is_in: bool
    quantity: Decimal
    basis: Decimal
    acquired_ts: str | None
    wallet: str
    fee: Decimal
    instrument: Instrument


class Uncovered(NamedTuple):
    """Coins that paid a fee and that the ledger has no lots of: their basis is not known."""

    seq: int
    ts: str
    quantity: Decimal
    coin: str
    instrument: Instrument
    """Of the fill whose fee they paid."""
