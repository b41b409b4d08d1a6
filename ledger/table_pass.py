"""The tables, made anew beside the file from the events and compared; fills and lots added up.

The ``trail`` is compared by a keyed fingerprint of its rows instead of row by row: it has more
rows than all other tables together, and its order does not matter.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from decimal import Decimal, localcontext
from itertools import zip_longest

from core.errors import TapewrightError
from core.model.event import Filled, LedgerEvent
from ledger import form
from ledger.chain import Head
from ledger.coverage import Problem
from ledger.lot_rows import Place
from ledger.projections import EXACT_DIGITS, SILENT, Projector
from ledger.schema import PROJECTION_KEYS, PROJECTIONS, SCHEMA_VERSION, TABLES_VERSION
from ledger.store import version_of

_WORD = 2**64 - 1


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
        else:
            self._projector.apply(place, event)

    def _check_fill(self, place: Place, event: Filled) -> None:
        """Check what a fill says in text against its integers and against the FIFO lots."""
        fill = event.fill
        instrument = self._projector.instrument(fill.instrument)
        realized_before = self._projector.lots.book(instrument).realized
        self._projector.apply(place, event)
        book = self._projector.lots.book(instrument)
        with localcontext() as context:
            context.prec = EXACT_DIGITS
            wanted = {
                "price": instrument.price(fill.price_ticks),
                "quantity": instrument.qty(fill.qty_lots),
                "notional": instrument.notional(fill.price_ticks, fill.qty_lots),
                "realized_pnl": book.realized - realized_before,
                "position_lots": Decimal(book.position_lots),
            }
        for name, value in wanted.items():
            said = Decimal(getattr(event, name))
            if said != value:
                what = f"{name} says {said}, the fills so far make it {value}"
                self.problems.append((place.seq, what))

    def _compare_all(self) -> None:
        is_older = version_of(self._connection) < TABLES_VERSION
        for table, keys in PROJECTION_KEYS.items():
            if table == "trail":
                self._compare_trail()
            elif table != "carried" or not is_older:
                self._compare(table, keys)

    def _compare(self, table: str, keys: str) -> None:
        """Compare a table with its shadow, row by row; name the first difference.

        In a ledger of an older version the columns that both have are compared.
        """
        names = _columns(self._shadow, table)
        if version_of(self._connection) < SCHEMA_VERSION:
            there = set(_columns(self._connection, table))
            names = [name for name in names if name in there]
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
        """Add up the stored tables: open lots must be what the fills leave."""
        signs = {"BUY": 1, "SELL": -1, "LONG": 1, "SHORT": -1}
        sums: dict[str, dict[tuple[str, str], Decimal]] = {}
        for table, where in (("fills", "TRUE"), ("lots", "close_seq IS NULL")):
            sums[table] = defaultdict(Decimal)
            sql = f"SELECT venue, instrument, side, quantity FROM {table} WHERE {where}"  # noqa: S608 - our own names
            for venue, instrument, side, quantity in self._connection.execute(sql):
                try:
                    sums[table][venue, instrument] += signs.get(side, 0) * Decimal(quantity)
                except (ArithmeticError, TypeError, ValueError):
                    self.problems.append((None, f"table {table}: quantity {quantity!r:.40}"))
                    return
        for key in sorted(sums["fills"].keys() | sums["lots"].keys()):
            filled, held = sums["fills"][key], sums["lots"][key]
            if filled != held:
                what = f"{key[1]} on {key[0]}: fills add up to {filled}, open lots to {held}"
                self.problems.append((None, what))


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
