"""The receipt of a replay: what was compared with what, digest by digest, signed.

Canonical JSON (``ledger.canonical``), so the same replay gives the same bytes; the signature is
the ledger's key over the bytes of ``receipt``.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import msgspec

from core.clock import iso_ns
from core.errors import Failed, UserError
from ledger import canonical, keys
from ledger.recorded import RecordedRun
from ledger.replay import Pair, ReplaySink, Row, differences, time_of

FORMAT = "receipt/1"
FIELDS_SHOWN = 6
"""Fields named on the terminal; the file has more."""


class Fact(msgspec.Struct, frozen=True):
    """One thing that the manifest pins, then and now."""

    name: str
    recorded: str
    now: str

    @property
    def is_equal(self) -> bool:
        return self.recorded == self.now


class Receipt(msgspec.Struct, frozen=True):
    """What a replay showed."""

    run: RecordedRun
    facts: tuple[Fact, ...]
    """Code, lock file, versions, configuration, limits, models, input."""
    events: tuple[Row, ...]
    points: tuple[Row, ...]
    first: Pair | None
    """Where it parts, by engine time; None if nothing does."""
    notes: tuple[str, ...] = ()
    """What could not be done, and why."""

    @property
    def is_equal(self) -> bool:
        """Everything that was decided was decided again, and nothing was left out."""
        rows = (*self.events, *self.points)
        return all(row.is_equal for row in rows) and not self.notes

    @property
    def different_facts(self) -> list[Fact]:
        return [fact for fact in self.facts if not fact.is_equal]

    def tree(self) -> dict[str, Any]:
        """Return the receipt as canonical JSON's tree."""
        return {
            "format": FORMAT,
            "run": self.run.started.run_id,
            "verdict": "equal" if self.is_equal else "parted",
            "facts": [
                {"name": f.name, "recorded": f.recorded, "now": f.now, "equal": f.is_equal}
                for f in self.facts
            ],
            "notes": list(self.notes),
            "counts": {
                "events": len(self.events),
                "events_equal": sum(row.is_equal for row in self.events),
                "points": len(self.points),
                "points_equal": sum(row.is_equal for row in self.points),
            },
            "first": None if self.first is None else first_tree(self.first),
            "events": [list(row) for row in self.events],
            "points": [list(row) for row in self.points],
            "head": {
                "seq": self.run.events[-1].seq,
                "hash": self.run.events[-1].hash.hex(),
            },
        }


def first_tree(pair: Pair) -> dict[str, Any]:
    """Return where a replay parts, with the fields that differ."""
    found = differences(pair.expected, pair.got)
    return {
        "seq": pair.seq,
        "what": pair.what,
        "ts": iso_ns(time_of(pair)),
        "fields": [
            {"field": each.field, "expected": each.expected, "got": each.got} for each in found
        ],
    }


def receipt_of(run: RecordedRun, sink: ReplaySink, facts: list[Fact], notes: list[str]) -> Receipt:
    """Return the receipt of a replay that has been driven to its end."""
    sink.finish()
    points, first_point = sink.points()
    pairs = [pair for pair in (first_point, sink.first) if pair is not None]
    # At one instant the point comes first: it is the look that the event came of.
    first = min(pairs, key=time_of, default=None)
    notes = [*run.faults, *notes]
    return Receipt(run, tuple(facts), tuple(sink.rows), tuple(points), first, tuple(notes))


def write_receipt(state_dir: Path, receipt: Receipt, out: Path) -> str:
    """Write the receipt, signed where the key is at hand; return by whom, or why not.

    Errors: ``UserError`` if it cannot be written.
    """
    tree = receipt.tree()
    body = canonical.encode(tree, bytes_max=None)
    whole: dict[str, Any] = {"receipt": tree}
    try:
        key = keys.load(state_dir)
        why = "" if key is not None else "the ledger's key is not here"
    except (Failed, UserError) as error:
        key, why = None, str(error)
    if key is not None:
        whole["key"] = key.public.text.partition("\n")[0]
        whole["signature"] = base64.b64encode(key.sign(body)).decode()
    try:
        out.write_bytes(canonical.encode(whole, bytes_max=None) + b"\n")
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror})") from error
    return f"signed by {key.public.name}" if key is not None else f"not signed: {why}"


def words(receipt: Receipt) -> list[str]:
    """Return the verdict for people, plainly."""
    run = receipt.run
    lines = [f"run {run.started.run_id} ({run.started.mode.value}, source {run.started.source})"]
    lines += [
        f"not as recorded: {fact.name} was {fact.recorded:.80}, is {fact.now:.80}"
        for fact in receipt.different_facts
    ]
    lines += receipt.notes
    if run.removed:
        lines.append(
            f"{len(run.removed)} payload(s) of this run were removed by a rule on disk space: "
            "their decision points are compared by the digest that the ledger has of them"
        )
    for name, rows in (("decision points", receipt.points), ("events", receipt.events)):
        equal = sum(row.is_equal for row in rows)
        lines.append(f"{name}: {equal} of {len(rows)} equal")
    if receipt.first is not None:
        first = first_tree(receipt.first)
        lines.append(f"parts first at seq {first['seq']}, {first['what']}, {first['ts']}")
        lines += [
            f"  {each['field']}: recorded {each['expected']}, now {each['got']}"
            for each in first["fields"][:FIELDS_SHOWN]
        ]
    lines.append("equal" if receipt.is_equal else "NOT equal")
    return lines
