"""Fills and transfers as Koinly and CoinTracker import them; both want UTC and no sign.

The quantities are those before the fee, which has columns of its own. Columns read at
support.koinly.io (article 9489976) and support.cointracker.io (article 4413071299729).
"""

from __future__ import annotations

from datetime import UTC
from typing import NamedTuple

from core.errors import UserError
from core.model.instrument import plain
from ledger.export.formats import Row
from ledger.export.kinds import Kind
from ledger.tax_form import PAPER
from ledger.tax_values import TaxFill, TaxTransfer
from ledger.tax_year import moment

_T, _D = Kind.TEXT, Kind.DECIMAL
KOINLY = {
    "Date": _T, "Sent Amount": _D, "Sent Currency": _T, "Received Amount": _D,
    "Received Currency": _T, "Fee Amount": _D, "Fee Currency": _T, "Net Worth Amount": _D,
    "Net Worth Currency": _T, "Label": _T, "Description": _T, "TxHash": _T,
}  # fmt: skip
COINTRACKER = {
    "Date": _T, "Received Quantity": _D, "Received Currency": _T, "Sent Quantity": _D,
    "Sent Currency": _T, "Fee Amount": _D, "Fee Currency": _T, "Tag": _T,
}  # fmt: skip


class _Side(NamedTuple):
    """What went out, came in, or was paid: a quantity and its currency, both None for nothing."""

    quantity: str | None
    currency: str | None


_NOTHING = _Side(None, None)


def koinly_row(fill: TaxFill) -> Row:
    """Return a fill in the order of ``KOINLY``. No net worth: a trade has its price; no hash.

    Errors: ``UserError`` for a rebate.
    """
    sent, received, fee = _sides(fill)
    side = "buy" if fill.is_buy else "sell"
    date = moment(fill.ts, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    told = f"{PAPER} {side} {fill.instrument.name} on {fill.instrument.venue}"
    told += f", fill {fill.fill_id}, ledger seq {fill.seq}"
    return (date, *sent, *received, *fee, None, None, None, told, None)


def cointracker_row(fill: TaxFill) -> Row:
    """Return a fill in the order of ``COINTRACKER``; its only column for words is the tag.

    Errors: ``UserError`` for a rebate.
    """
    sent, received, fee = _sides(fill)
    date = moment(fill.ts, UTC).strftime("%m/%d/%Y %H:%M:%S")
    return (date, *received, *sent, *fee, PAPER)


def koinly_transfer(transfer: TaxTransfer) -> Row:
    """Return a transfer in the order of ``KOINLY``: one side only, which makes it a transfer."""
    sent, received, fee = _ends(transfer)
    date = moment(transfer.ts, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    told = f"{PAPER} transfer {'from' if transfer.is_in else 'to'} {transfer.wallet}, basis "
    told += f"{plain(transfer.basis)} {transfer.instrument.quote}"
    told += f", acquired {transfer.acquired_ts[:10]}" if transfer.acquired_ts else ""
    return (date, *sent, *received, *fee, None, None, None, f"{told}, ledger seq {transfer.seq}",
            None)  # fmt: skip


def cointracker_transfer(transfer: TaxTransfer) -> Row:
    """Return a transfer in the order of ``COINTRACKER``."""
    sent, received, fee = _ends(transfer)
    date = moment(transfer.ts, UTC).strftime("%m/%d/%Y %H:%M:%S")
    return (date, *received, *sent, *fee, PAPER)


def _ends(transfer: TaxTransfer) -> tuple[_Side, _Side, _Side]:
    base = transfer.instrument.base
    moved = _Side(plain(transfer.quantity), base)
    fee = _Side(plain(transfer.fee), base) if transfer.fee else _NOTHING
    return (_NOTHING, moved, fee) if transfer.is_in else (moved, _NOTHING, fee)


def opens_short(fill: TaxFill) -> bool:
    """Tell whether the fill sold what was not held, which no importer can match to a purchase."""
    return not fill.is_buy and fill.position < 0


def _sides(fill: TaxFill) -> tuple[_Side, _Side, _Side]:
    if fill.fee < 0:
        raise UserError(f"seq {fill.seq}: the fee is a rebate, which importers have no column for")
    base = _Side(plain(fill.quantity), fill.instrument.base)
    quote = _Side(plain(fill.notional), fill.instrument.quote)
    fee = _Side(plain(fill.fee), fill.fee_currency) if fill.fee else _NOTHING
    return (quote, base, fee) if fill.is_buy else (base, quote, fee)
