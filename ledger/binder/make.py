"""Writing the files of a binder, from one moment of one ledger, event by event."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import msgspec

from core.errors import Failed, UserError
from ledger import canonical, payloads
from ledger.anchors import recorded
from ledger.binder import verify
from ledger.binder.anchors import anchors_of, write_anchors
from ledger.binder.contents import Contents, Cover
from ledger.binder.forest import Forest
from ledger.binder.gather import Gathering
from ledger.binder.models import FindModel, agents_of, lineage, model_files
from ledger.binder.report import report
from ledger.binder.schemas import schema_files
from ledger.binder.seal import files_in
from ledger.binder.tables import traded_in
from ledger.binder.words import CONTENTS
from ledger.chain import EMPTY_HEAD
from ledger.coverage import Stored, file_text, stored_notes
from ledger.envelope import tail_of
from ledger.export.formats import write_csv
from ledger.export.kinds import Period
from ledger.export.tables import TABLES, rows_of
from ledger.keys import SigningKey
from ledger.payload_check import is_removed, removals
from ledger.tax import tax_file
from ledger.verify import Report

PROOFS_MAX = 10_000
"""Fills with a proof of their own; the range as a whole proves the others too."""
_SHEETS = {
    "trades.csv": "fills", "decisions.csv": "decisions", "orders.csv": "orders",
    "lots.csv": "lots", "orders_rts24.csv": "order-events",
}  # fmt: skip
_TAX_FORMATS = ("8949", "koinly", "cointracker")


class Span(msgspec.Struct, frozen=True):
    """The events of a binder: all from the first to the last of the time asked for."""

    first: int
    last: int
    first_ts: str
    last_ts: str


class Maker:
    """Writes everything but manifest and zip into a folder."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        state_dir: Path,
        folder: Path,
        key: SigningKey,
        find_model: FindModel,
        say: Callable[[str], object],
    ) -> None:
        self._connection, self._state_dir, self._folder = connection, state_dir, folder
        self._key, self._find_model, self._say = key, find_model, say
        self._gathered = Gathering()
        self._period = Period()
        self._notes: list[Stored] = []
        self._years: list[int] = []
        self._rotations: list[int] = []
        self._forest = Forest(())
        self.span = Span(0, 0, "", "")
        self.verifier_sha256 = ""

    @property
    def name(self) -> str:
        """Name of the folder and, with .zip, of the archive."""
        return f"binder-{self.span.first_ts[:10]}-{self.span.last_ts[:10]}"

    def facts(self, program: str) -> dict[str, Any]:
        """Return what the manifest says beside the files."""
        return {
            "program": program, "since": self._period.since, "until": self._period.until,
            "first": self.span.first, "last": self.span.last, "size": self._forest.size,
        }  # fmt: skip

    def run(self, period: Period, checked: Report, program: str) -> None:
        """Write all files. Errors: ``UserError`` for a time without events."""
        self._period = period
        self._say("hashing the tree")
        self._find_span()
        self._notes = self._signed_notes(checked)
        self._write("checkpoints.txt", file_text(self._notes))
        self._write("ledger.pub", self._key.public.text.encode())
        self._say(f"writing seq {self.span.first} to {self.span.last}")
        context = self._write_context()
        self._write_events()
        self._write_proofs(context)
        for name, data in schema_files().items():
            self._write(f"schemas/{name}", data)
        for run in self._gathered.runs.values():
            self._write(f"runs/{run.run_id}.json", run.file)
        self._write_payloads()
        self._gathered.rotated = [canonical.read(self._body(seq)) for seq in self._rotations]
        anchored = write_anchors(
            self._state_dir, self._folder, dict(self._notes), self._gathered.anchored
        )
        self._say("writing the spreadsheets")
        self._write_sheets()
        tax = self._write_tax()
        runs = list(self._gathered.runs.values())
        files, models = model_files(agents_of(runs), self._find_model, self._key)
        for name, data in files.items():
            self._write(name, data)
        self._write("datasets/lineage.json", lineage(runs, models, self._gathered.recorded))
        self._write("README.txt", CONTENTS.encode())
        self._write_verifier()
        self._say("writing the report")
        traded = traded_in(self._connection, period, _currencies(self._gathered))
        contents = Contents(
            self._cover(checked, program), self._gathered, traded, models, tax, anchored,
            [("#checkpoints", len(self._notes), ""), *files_in(self._folder)],
        )  # fmt: skip
        self._write("report.pdf", report(contents))

    def _write(self, name: str, data: bytes) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def _find_span(self) -> None:
        """Hash all events into the tree, and find those of the time asked for."""
        first, last, first_ts, last_ts = 0, 0, "", ""
        whole = ["", ""]

        def leaves() -> Iterator[bytes]:
            nonlocal first, last, first_ts, last_ts
            for seq, leaf, body in self._connection.execute(
                "SELECT seq, hash, body FROM events ORDER BY seq"
            ):
                tail = tail_of(body)
                ts = "" if tail is None else tail.ts.decode()
                whole[:] = [whole[0] or ts, ts]
                if tail is not None and tail.type == b"KEY_ROTATED":
                    self._rotations.append(seq)
                if self._period.since <= ts < self._period.until:
                    first, first_ts = first or seq, first_ts or ts
                    last, last_ts = seq, ts
                yield leaf

        self._forest = Forest(leaves())
        if not first:
            there = f"it has {whole[0]} to {whole[1]}" if self._forest.size else "it is empty"
            raise UserError(f"no event of this ledger lies in that time; {there}")
        self.span = Span(first, last, first_ts, last_ts)

    def _signed_notes(self, checked: Report) -> list[Stored]:
        notes = stored_notes(self._connection)
        is_signed = notes and notes[-1].seq == self._forest.size
        if not is_signed or checked.head == EMPTY_HEAD:
            raise Failed("the newest event is not signed: stop the engine that writes, and repeat")
        return notes

    def _write_events(self) -> None:
        with (self._folder / "events.jsonl").open("wb") as file:
            for (body,) in self._connection.execute(
                "SELECT body FROM events WHERE seq BETWEEN ? AND ? ORDER BY seq",
                (self.span.first, self.span.last),
            ):
                file.write(body + b"\n")
                self._gathered.take(canonical.read(body))

    def _write_context(self) -> list[int]:
        """Write events from outside that the range leans on.

        Starts of runs, openings of lots, changes of key, anchors of its checkpoints.
        """
        seqs: set[int] = set()
        runs = self._connection.execute(
            "SELECT DISTINCT run FROM decisions WHERE seq BETWEEN ? AND ? UNION"
            " SELECT DISTINCT run FROM fills WHERE seq BETWEEN ? AND ?",
            (self.span.first, self.span.last) * 2,
        ).fetchall()
        first_body = self._body(self.span.first)
        for run in {canonical.read(first_body)["run"], *(run for (run,) in runs)}:
            found = self._connection.execute("SELECT min(seq) FROM trail WHERE ref = ?", (run,))
            seqs |= {seq for (seq,) in found if seq is not None}
        opened = self._connection.execute(
            "SELECT DISTINCT open_seq FROM lots WHERE close_seq BETWEEN ? AND ?",
            (self.span.first, self.span.last),
        )
        seqs |= {seq for (seq,) in opened}
        seqs |= set(self._rotations)
        seqs |= set(anchors_of(recorded(self._connection), self.span.first, self.span.last))
        wanted = sorted(seq for seq in seqs if not self.span.first <= seq <= self.span.last)
        lines = []
        for seq in wanted:
            body = self._body(seq)
            tree = canonical.read(body)
            if tree["type"] == "RUN_STARTED":
                self._gathered.begin(tree)
            elif tree["type"] == "ANCHORED":
                self._gathered.anchor(tree)
            lines.append(body + b"\n")
        self._write("context.jsonl", b"".join(lines))
        return wanted

    def _body(self, seq: int) -> bytes:
        row = self._connection.execute("SELECT body FROM events WHERE seq = ?", (seq,)).fetchone()
        body: bytes = row[0]
        return body

    def _write_proofs(self, context: list[int]) -> None:
        first, last, forest = self.span.first, self.span.last, self._forest
        span = {
            "first": first,
            "last": last,
            "before": _hex(forest.frontier(first - 1)),
            "consistency": _hex([] if last == forest.size else forest.consistency(last)),
        }
        self._write("proofs/range.json", _line(span))
        outside = [
            note.seq
            for note in self._notes
            if not first <= note.seq <= last and note.seq != forest.size
        ]
        self._write(
            "proofs/consistency.jsonl",
            b"".join(
                _line({"size": size, "proof": _hex(forest.consistency(size))}) for size in outside
            ),
        )
        fills = self._connection.execute(
            "SELECT seq FROM fills WHERE seq BETWEEN ? AND ? ORDER BY seq LIMIT ?",
            (first, last, PROOFS_MAX),
        )
        seqs = [*context, *(seq for (seq,) in fills)]
        self._write(
            "proofs/inclusion.jsonl",
            b"".join(_line({"seq": seq, "proof": _hex(forest.inclusion(seq - 1))}) for seq in seqs),
        )

    def _write_payloads(self) -> None:
        """Write what events name; what a rule removed is listed with the event that says so."""
        gone = self._gathered.payloads_removed
        removed = removals(self._connection)
        for digest, seq in self._gathered.payloads.items():
            removed_at = removed.get(digest, 0)
            if is_removed(seq, removed_at) and not payloads.is_there(self._state_dir, digest):
                gone[digest] = removed_at
            else:
                self._write(f"payloads/{digest}.jsonl", payloads.get(self._state_dir, digest))
        if gone:
            rows = ({"digest": digest, "removed_at_seq": seq} for digest, seq in gone.items())
            self._write("payloads_removed.jsonl", b"".join(map(_line, rows)))

    def _write_sheets(self) -> None:
        for name, table in _SHEETS.items():
            with (self._folder / name).open("w", encoding="utf-8", newline="") as file:
                rows = rows_of(self._connection, table, self._period)
                write_csv(file, TABLES[table].columns, rows)

    def _write_tax(self) -> list[tuple[int, tuple[str, ...]]]:
        """Write the tax files of every year that the range touches; return what to say of each."""
        said = []
        for year in range(int(self.span.first_ts[:4]), int(self.span.last_ts[:4]) + 1):
            notes: list[str] = []
            for file_format in _TAX_FORMATS:
                try:
                    made = tax_file(self._state_dir, year=year, file_format=file_format, zone=UTC)
                except UserError as error:
                    notes.append(f"{file_format}: not made: {error}")
                    continue
                self._write(f"tax/{file_format}-{year}.csv", made.text.encode())
                new = [note for note in made.notes if note not in notes]
                notes += [f"{file_format}: {made.rows} rows of the whole year {year}, UTC", *new]
            said.append((year, tuple(notes)))
        return said

    def _write_verifier(self) -> None:
        source = Path(verify.__file__)
        shutil.copyfile(source, self._folder / "verify.py")
        self.verifier_sha256 = hashlib.sha256(source.read_bytes()).hexdigest()

    def _cover(self, checked: Report, program: str) -> Cover:
        return Cover(
            since=self._period.since,
            until=self._period.until,
            first=self.span.first,
            last=self.span.last,
            first_ts=self.span.first_ts,
            last_ts=self.span.last_ts,
            size=self._forest.size,
            root=self._forest.root().hex(),
            fingerprint=self._key.public.fingerprint,
            verdict=checked.ok_text,
            signed=checked.signed_text,
            program=program,
        )


def _currencies(gathered: Gathering) -> dict[str, str]:
    return {
        each["name"]: each["quote"]
        for run in gathered.runs.values()
        for each in run.started["instruments"]
    }


def _hex(hashes: list[bytes]) -> list[str]:
    return [each.hex() for each in hashes]


def _line(tree: dict[str, Any]) -> bytes:
    return json.dumps(tree, sort_keys=True, separators=(",", ":")).encode() + b"\n"
