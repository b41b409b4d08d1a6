"""How a fill turned out, from the lots: what it closed at once, what became of what it opened."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

_TO_THE_MICROSECOND = len("2026-01-31T09:30:00.123456")


class Outcome(NamedTuple):
    """What a fill closed, and what became of what it opened."""

    at_once: list[str]
    later: list[str]
    gains: list[Decimal]
    """Realized, net of the fees of both legs, of every lot that it closed or opened."""


def outcome_of(connection: sqlite3.Connection, seq: int) -> Outcome:
    """Return the outcome of the fill at ``seq``, in words, one line a lot."""
    gains: list[Decimal] = []
    at_once, later = [], []
    for side, quantity, price, open_seq, realized, name, closed_by in connection.execute(
        "SELECT side, quantity, open_price, open_seq, realized_pnl, instrument, closed_by FROM lots"
        " WHERE close_seq = ? ORDER BY closed_by DESC, open_seq",
        (seq,),
    ):
        if closed_by == "FEE":  # a sale of its own, of other coins perhaps
            what = f"{quantity} of {name} opened at {price} (seq {open_seq})"
            at_once.append(f"  its fee was paid with {what}: {realized}")
            continue
        at_once.append(f"  closed {quantity} {side} opened at {price} (seq {open_seq}): {realized}")
        gains.append(Decimal(realized))
    for (
        side,
        quantity,
        price,
        opened,
        close_seq,
        closed,
        close_price,
        realized,
        closed_by,
    ) in connection.execute(
        "SELECT side, quantity, open_price, opened_ts, close_seq, closed_ts, close_price,"
        " realized_pnl, closed_by FROM lots WHERE open_seq = ?"
        " ORDER BY close_seq IS NULL, close_seq",
        (seq,),
    ):
        what = f"{quantity} {side} opened by seq {seq} at {price}"
        if close_seq is None:
            later.append(f"{what}: still open")
            continue
        how = "paid as a fee" if closed_by == "FEE" else f"closed at {close_price}"
        later.append(
            f"{what}: {how} after {_between(opened, closed)} (seq {close_seq}): {realized}"
        )
        gains.append(Decimal(realized))
    return Outcome(at_once, later, gains)


def _between(opened: str, closed: str) -> str:
    """Return how long a lot was held, in the unit that people use for it."""
    start, end = (datetime.fromisoformat(ts[:_TO_THE_MICROSECOND]) for ts in (opened, closed))
    seconds = (end - start).total_seconds()
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
