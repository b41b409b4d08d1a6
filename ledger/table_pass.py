"""The tables, made anew beside the file from the events and compared; fills and lots added up.

The ``trail`` is compared by a keyed fingerprint of its rows instead of row by row: it has more
rows than all other tables together, and its order does not matter.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from decimal import Context, Decimal
from itertools import zip_longest

from core.errors import InvariantError, TapewrightError
from core.model.event import Filled, LedgerEvent, Transferred
from core.transfers import moved_lots, peek
from ledger import form
from ledger.chain import Head
from ledger.coverage import Problem
from ledger.lot_rows import Place
from ledger.projections import EXACT_DIGITS, SILENT, Projector
from ledger.schema import (
    PROJECTION_KEYS,
    PROJECTIONS,
    SCHEMA_VERSION,
    TABLES_VERSION,
    TRANSFERS_VERSION,
)
from ledger.store import version_of

_MOVED = ("transfers", "spent")
_WORD = 2**64 - 1
_EXACT = Context(prec=EXACT_DIGITS)


_PARTS = (
    ("fills", "came", "side", "quantity", "TRUE"),
    ("transfers", "came", "way", "quantity", "TRUE"),
    ("spent", "came", "'FEE'", "covered", "TRUE"),
    ("lots", "held", "side", "quantity", "close_seq IS NULL"),
)
"""What adds up: table, to which sum, column that says the sign, quantity, which rows."""


class _TrailPrint:
    """Count and sum of the hashes of rows; Python's text hash has a key of this process."""

    def __init__(self) -> None:
        self.count = self.total = 0

    def take(self, ref: str, seq: int) -> None:
        self.count += 1
        self.total = (self.total + hash((ref, seq))) & _WORD

    def is_as(self, other: _TrailPrint) -> bool:
        return (self.count, self.total) == (other.count, other.total)


class TablePass:
    """Makes the tables anew from the events; ``problems`` says where the stored ones differ."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.problems: list[Problem] = []
        self.fills = 0
        self._connection = connection
        self._trail = _TrailPrint()
        self._shadow = sqlite3.connect("", isolation_level=None)  # a temporary file of SQLite's
        self._shadow.executescript("PRAGMA synchronous = OFF;" + PROJECTIONS + "BEGIN;")
        self._projector = Projector(self._shadow, self._trail.take)

    def close(self) -> None:
        self._shadow.close()

    def run(self, last_seq: int) -> None:
        """Project every event up to ``last_seq`` and compare.

        Stops at the first event that the tables cannot take: what follows would say nothing.
        """
        head_hash = bytes(32)
        for seq, stored_hash, body in self._connection.execute(
            "SELECT seq, hash, body FROM events WHERE seq <= ? ORDER BY seq", (last_seq,)
        ):
            if type(body) is not bytes:
                return  # the pass over the events says so
            head_hash = stored_hash
            kind = form.kind_of(body)
            if kind in SILENT:
                continue
            try:
                located = form.read(body, kind)
                self._project(Place(seq, located.ts, located.run), located.payload)
            except (TapewrightError, ArithmeticError, sqlite3.IntegrityError) as error:
                self.problems.append((seq, f"the tables cannot take it: {error}"))
                return
        self._compare_all()
        self._check_sums()
        self._check_place(Head(last_seq, head_hash))

    def _project(self, place: Place, event: LedgerEvent) -> None:
        if isinstance(event, Filled):
            self.fills += 1
            self._check_fill(place, event)
        elif isinstance(event, Transferred):
            self._check_transfer(place, event)
        else:
            self._projector.apply(place, event)

    def _check_fill(self, place: Place, event: Filled) -> None:
        """Check what a fill says in text against its integers and against the FIFO lots."""
        fill = event.fill
        instrument = self._projector.instrument(fill.instrument)
        book = self._projector.lots.book(instrument)
        realized_before = book.realized
        self._projector.apply(place, event)
        if self._projector.lots.counting.failure:
            raise InvariantError(self._projector.lots.counting.failure)
        # By the context's own methods: to enter it for each fill costs more than all of this.
        price = _EXACT.multiply(instrument.tick_size, fill.price_ticks)
        quantity = _EXACT.multiply(instrument.lot_size, fill.qty_lots)
        wanted = {
            "price": price,
            "quantity": quantity,
            "notional": _EXACT.multiply(price, quantity),
            "realized_pnl": _EXACT.subtract(book.realized, realized_before),
            "position_lots": Decimal(book.position_lots),
        }
        self._compare_said(place, event, wanted)

    def _check_transfer(self, place: Place, event: Transferred) -> None:
        """Check what a transfer says in text against its integers and against the lots it moved."""
        transfer = event.transfer
        instrument = self._projector.instrument(transfer.instrument)
        book = self._projector.lots.book(instrument)
        after, moved = peek(book, transfer)
        lots = moved_lots(book, moved.given)
        if event.lots != lots:
            what = f"lots says {len(event.lots)} parcels, the fills so far make it {len(lots)}"
            self.problems.append((place.seq, f"{what}, or others"))
        self._projector.apply(place, event)
        wanted = {
            "quantity": instrument.qty(transfer.qty_lots),
            "fee_quantity": instrument.qty(transfer.fee_lots),
            "realized_pnl": moved.realized,
            "position_lots": Decimal(after.position_lots),
        }
        self._compare_said(place, event, wanted)

    def _compare_said(
        self, place: Place, event: Filled | Transferred, wanted: dict[str, Decimal]
    ) -> None:
        for name, value in wanted.items():
            said = Decimal(getattr(event, name))
            if name == "realized_pnl" and said.is_nan():
                continue  # the engine could not count it then, halted and said so
            if said != value:
                what = f"{name} says {said}, the fills so far make it {value}"
                self.problems.append((place.seq, what))

    def _compare_all(self) -> None:
        version = version_of(self._connection)
        later = {"carried": TABLES_VERSION} | dict.fromkeys(_MOVED, TRANSFERS_VERSION)
        for table, keys in PROJECTION_KEYS.items():
            if table == "trail":
                self._compare_trail()
            elif version >= later.get(table, 0):
                self._compare(table, keys)

    def _compare(self, table: str, keys: str) -> None:
        """Compare a table with its shadow, row by row; name the first difference.

        In a ledger of an older version the columns that both have are compared.
        """
        names = _columns(self._shadow, table)
        if version_of(self._connection) < SCHEMA_VERSION:
            there = set(_columns(self._connection, table))
            names = [name for name in names if name in there]
            keys = ", ".join(key for key in keys.split(", ") if key in there)
        sql = f"SELECT {', '.join(names)} FROM {table} ORDER BY {keys}"  # noqa: S608 - our own names
        stored, made = self._connection.execute(sql), self._shadow.execute(sql)
        for row, wanted in zip_longest(stored, made):
            if row != wanted:
                self.problems.append((None, f"table {table}: {_difference(names, row, wanted)}"))
                return

    def _compare_trail(self) -> None:
        found = _TrailPrint()
        for ref, seq in self._connection.execute("SELECT ref, seq FROM trail"):
            found.take(ref, seq)
        if not found.is_as(self._trail):
            what = f"{found.count} rows, the events make {self._trail.count} or others"
            self.problems.append((None, f"table trail: {what}"))

    def _check_place(self, head: Head) -> None:
        """Check that the tables say of which event they are."""
        if version_of(self._connection) < TABLES_VERSION:
            return
        row = self._connection.execute("SELECT seq, hash FROM projected").fetchone()
        if row != (tuple(head) if head.seq else None):
            said = f"seq {row[0]} with hash {row[1].hex()[:8]}" if row else "no event"
            what = f"table projected: says {said}, the head is {head.seq} {head.hash.hex()[:8]}"
            self.problems.append((None, what))

    def _check_sums(self) -> None:
        """Add up the stored tables: open lots must be what fills, transfers and fees leave."""
        signs = {"BUY": 1, "SELL": -1, "LONG": 1, "SHORT": -1, "IN": 1, "OUT": -1, "FEE": -1}
        came: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        held: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        for table, sums, side, quantity, where in _PARTS:
            if table in _MOVED and version_of(self._connection) < TRANSFERS_VERSION:
                continue
            sql = f"SELECT venue, instrument, {side}, {quantity} FROM {table} WHERE {where}"  # noqa: S608 - our own names
            for venue, instrument, way, count in self._connection.execute(sql):
                try:
                    total = came if sums == "came" else held
                    total[venue, instrument] += signs.get(way, 0) * Decimal(count)
                except (ArithmeticError, TypeError, ValueError):
                    self.problems.append((None, f"table {table}: quantity {count!r:.40}"))
                    return
        for key in sorted(came.keys() | held.keys()):
            if came[key] != held[key]:
                what = f"fills add up to {came[key]}, open lots to {held[key]}"
                self.problems.append((None, f"{key[1]} on {key[0]}: {what}"))


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]


def _difference(
    names: list[str], row: tuple[object, ...] | None, wanted: tuple[object, ...] | None
) -> str:
    if row is None or wanted is None:
        there = row if row is not None else wanted
        word = "has a row too many" if wanted is None else "lacks a row"
        return f"{word}: {names[0]} {there[0] if there else ''!r:.60}"
    for name, has, should in zip(names, row, wanted, strict=True):
        if has != should:
            return f"{names[0]} {wanted[0]!r:.60}: {name} is {has!r:.60}, events say {should!r:.60}"
    return "has rows of another shape"
