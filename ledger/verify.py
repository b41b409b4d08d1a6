"""Verification: one pass over the events that finds everything wrong with a ledger.

It checks form, schema, chain and witness of every event, makes the tables anew beside the file
and compares, and adds up fills and lots. Read-only: it never repairs, and an engine may be
writing meanwhile. What it cannot see without a checkpoint kept elsewhere: a rewrite by somebody
who has the key, or who replaced it together with everything else.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal, localcontext
from itertools import zip_longest
from pathlib import Path

import msgspec

from core.errors import Failed, TapewrightError, ValueRefused
from core.model.event import Filled, LedgerEvent, RunStarted
from ledger import witness
from ledger.chain import EMPTY_HEAD, ChainWalk, Head
from ledger.coverage import Coverage, Stored, is_boundary, older_problems, stored_notes
from ledger.envelope import Envelope, unseal
from ledger.lot_rows import Place
from ledger.projections import EXACT_DIGITS, Projector
from ledger.recovery import witness_problem
from ledger.schema import CHECKPOINTS, PROJECTION_KEYS, PROJECTIONS, TRUTH, UNSIGNED_VERSION
from ledger.seals import read_older, read_seals, seal_problems, signed_text
from ledger.store import reading, version_of

FINDINGS_MAX = 100
"""Findings kept; a ledger with more is wrong enough."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong; ``seq`` is None for what concerns no single event."""

    seq: int | None
    what: str

    @property
    def text(self) -> str:
        return self.what if self.seq is None else f"seq {self.seq}: {self.what}"


class Report(msgspec.Struct, frozen=True):
    """What a verification saw and found; in order when there are no findings."""

    head: Head
    runs: int
    fills: int
    findings: tuple[Finding, ...]
    """First bad seq first."""
    signed_text: str = ""
    """What the checkpoints add, in words."""

    @property
    def ok_text(self) -> str:
        return (
            f"ok seq {self.head.seq} hash {self.head.hash.hex()} runs {self.runs} fills "
            f"{self.fills}: form, chain, witness, tables and sums hold"
        )


def verify(state_dir: Path, against: Path | None = None) -> Report:
    """Return what is wrong with the ledger in ``state_dir``.

    ``against`` is a file of older checkpoints that it must extend. Errors: ``UserError`` if there
    is no ledger or no checkpoint in that file, ``Failed`` if SQLite cannot open the ledger.
    """
    older = read_older(against) if against is not None else None
    # The files first: while an engine writes, the database may only be ahead of them.
    seals = read_seals(state_dir)
    findings: list[Finding] = []
    seen: Head | None = None
    try:
        seen = witness.read(state_dir)
        is_witness_readable = True
    except Failed as error:
        findings.append(Finding(None, str(error)))
        is_witness_readable = False
    with reading(state_dir) as connection:
        stored, version = _stored_notes(connection, findings), version_of(connection)
        sizes = {seq for seq, _ in stored} | (older.sizes if older is not None else set())
        check = _Pass(connection, findings, seen, Coverage(sizes))
        try:
            check.run()
            if is_witness_readable:
                check.compare_witness()
            check.find_all(seal_problems(seals, version, stored, check.coverage))
            if older is not None:
                judged = older.judged_by(seals.key)
                check.find_all(older_problems(older.name, judged, check.coverage))
        except sqlite3.Error as error:
            check.find(None, f"SQLite cannot read on: {error}")
        finally:
            check.close()
    findings.sort(key=lambda finding: (finding.seq is None, finding.seq or 0))
    signed = signed_text(seals, version, stored, check.walk.head.seq, older)
    return Report(check.walk.head, check.runs, check.fills, tuple(findings), signed)


def _stored_notes(connection: sqlite3.Connection, findings: list[Finding]) -> list[Stored]:
    try:
        return stored_notes(connection)
    except Failed as error:
        findings.append(Finding(None, str(error)))
        return []


class _Pass:
    """One pass over one ledger, with a shadow of its tables made from the events."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        findings: list[Finding],
        seen: Head | None,
        coverage: Coverage,
    ) -> None:
        self.walk = ChainWalk()
        self.coverage = coverage
        self.runs = self.fills = 0
        self._connection, self._findings, self._seen = connection, findings, seen
        self._at_witness = EMPTY_HEAD if seen is not None and seen.seq == 0 else None
        self._run = ""
        self._shadow = sqlite3.connect("", isolation_level=None)  # a temporary file of SQLite's
        self._shadow.executescript("PRAGMA synchronous = OFF;" + PROJECTIONS + "BEGIN;")
        self._projector = Projector(self._shadow)
        self._is_projecting = True

    def close(self) -> None:
        self._shadow.close()

    def find(self, seq: int | None, what: str) -> None:
        if len(self._findings) < FINDINGS_MAX:
            self._findings.append(Finding(seq, what))

    def find_all(self, problems: Iterable[tuple[int | None, str]]) -> None:
        for seq, what in problems:
            self.find(seq, what)

    def run(self) -> None:
        self._check_file()
        for row in self._connection.execute("SELECT seq, hash, body FROM events ORDER BY seq"):
            self._check_event(*row)
        if self._is_projecting:
            for table, keys in PROJECTION_KEYS.items():
                self._compare(table, keys)
            self._check_sums()

    def compare_witness(self) -> None:
        problem = witness_problem(self._seen, self._at_witness, self.walk.head)
        if problem is not None:
            self.find(*problem)

    def _check_file(self) -> None:
        """Check SQLite's own structures, and that nobody took the triggers away."""
        for (text,) in self._connection.execute("PRAGMA integrity_check(5)"):
            if text != "ok":
                self.find(None, f"SQLite integrity: {text}")
        is_signed = version_of(self._connection) != UNSIGNED_VERSION
        with sqlite3.connect(":memory:") as model:
            model.executescript(TRUTH + (CHECKPOINTS if is_signed else "") + PROJECTIONS)
            wanted = _schema_of(model)
        model.close()
        found = _schema_of(self._connection)
        for name in sorted(wanted.keys() | found.keys()):
            if wanted.get(name) != found.get(name):
                state = "missing" if name not in found else "not as this program made it"
                self.find(None, f"schema: {name} is {state}")

    def _check_event(self, seq: int, stored_hash: bytes, body: bytes) -> None:
        problem = self.walk.step(seq, stored_hash, body)
        self.coverage.take(seq, stored_hash, is_boundary=is_boundary(self.walk.tail))
        if self._seen is not None and seq == self._seen.seq:
            self._at_witness = self.walk.head
        if problem is not None:
            self._find_bad_event(*problem)
        try:
            envelope, event = unseal(body)
        except ValueRefused as error:
            self._find_bad_event(seq, str(error))
            return
        if isinstance(event, RunStarted):
            self._run = event.run_id
            self.runs += 1
        if envelope.run != self._run:
            self._find_bad_event(
                seq, f"run is {envelope.run!r:.60}, in force was {self._run!r:.60}"
            )
        if self._is_projecting:
            self._project(seq, envelope, event)

    def _find_bad_event(self, seq: int, what: str) -> None:
        """Tables made from bad events say nothing, so they are not compared."""
        self._is_projecting = False
        self.find(seq, what)

    def _project(self, seq: int, envelope: Envelope, event: LedgerEvent) -> None:
        place = Place(seq, envelope.ts, envelope.run)
        try:
            if isinstance(event, Filled):
                self.fills += 1
                self._check_fill(place, event)
            else:
                self._projector.apply(place, event)
        except (TapewrightError, ArithmeticError, sqlite3.IntegrityError) as error:
            self._find_bad_event(seq, f"the tables cannot take it: {error}")

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
                self.find(place.seq, f"{name} says {said}, the fills so far make it {value}")

    def _compare(self, table: str, keys: str) -> None:
        """Compare a table with its shadow, row by row; name the first difference."""
        sql = f"SELECT * FROM {table} ORDER BY {keys}"  # noqa: S608 - our own names
        stored, made = self._connection.execute(sql), self._shadow.execute(sql)
        names = [column[0] for column in made.description]
        for row, wanted in zip_longest(stored, made):
            if row != wanted:
                self.find(None, f"table {table}: {_difference(names, row, wanted)}")
                return

    def _check_sums(self) -> None:
        """Add up the stored tables: open lots must be what the fills leave."""
        signs = {"BUY": 1, "SELL": -1, "LONG": 1, "SHORT": -1}
        sums: dict[str, dict[tuple[str, str], Decimal]] = {}
        for table, where in (("fills", "TRUE"), ("lots", "close_seq IS NULL")):
            sums[table] = defaultdict(Decimal)
            sql = f"SELECT venue, instrument, side, quantity FROM {table} WHERE {where}"  # noqa: S608 - our own names
            for venue, instrument, side, quantity in self._connection.execute(sql):
                sums[table][venue, instrument] += signs.get(side, 0) * Decimal(quantity)
        for key in sorted(sums["fills"].keys() | sums["lots"].keys()):
            filled, held = sums["fills"][key], sums["lots"][key]
            if filled != held:
                self.find(
                    None, f"{key[1]} on {key[0]}: fills add up to {filled}, open lots to {held}"
                )


def _schema_of(connection: sqlite3.Connection) -> dict[str, str]:
    rows = connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL")
    return dict(rows.fetchall())


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
