"""Coins moved between the account and another wallet of the trader, and coins paid as fees."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import msgspec


class TransferWay(StrEnum):
    IN = "IN"
    OUT = "OUT"


class Transfer(msgspec.Struct, frozen=True):
    """One movement; nothing is bought or sold by it, save the coins that paid its fee."""

    transfer_id: str
    """Names the lot that came in: an order may choose it to be closed."""
    instrument: str
    way: TransferWay
    qty_lots: int
    wallet: str
    """The other end, in the trader's words."""
    ts_ns: int
    acquired_ns: int = 0
    """IN: when the coins were bought, which may be years ago."""
    basis: Decimal | None = None
    """IN: what all of them cost, fees included, in quote currency; of OUT the lots say it."""
    fee_lots: int = 0
    """Coins of this account that the transfer cost beside ``qty_lots``; they are disposed of."""
    fee_value: Decimal | None = None
    """What those were worth in quote currency; None: nobody knows."""
    fee_value_source: str = ""
    carried: Decimal = Decimal(0)
    """Unrealized gain that came (OUT: went, below zero) with the coins, at the mark of then.

    It was not made here, so no limit on losses counts it.
    """

    @property
    def sign(self) -> int:
        """1 for IN, -1 for OUT."""
        return 1 if self.way is TransferWay.IN else -1

    @property
    def change_lots(self) -> int:
        """Return by how much the position changes, the fee counted."""
        return self.sign * self.qty_lots - self.fee_lots


class Spent(msgspec.Struct, frozen=True):
    """Coins of one instrument that paid the fee of a fill in another one."""

    fill_id: str
    instrument: str
    quantity: Decimal
    value: Decimal | None
    """In quote currency; None: nobody knows."""
    ts_ns: int
