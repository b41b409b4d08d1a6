"""A run lived through again: takes what the pinned code says now and compares it with the ledger.

``ReplaySink`` stands in the place of the ledger's writer. Every event that comes is sealed with
the seq and the previous hash of the event it should be, so that equal means: the very hash that
stands in the chain. Decision points are compared line by line. What only the world could say
(clock, files, inputs) is not asked of the code; see ``WORLD``.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import Future
from typing import NamedTuple

import msgspec

from core.model.event import (
    Anchored,
    AnchorFailed,
    ClockRead,
    DecisionsTaken,
    FileRecorded,
    FilesRemoved,
    InputTaken,
    KeyRotated,
    LedgerEvent,
    RunEnded,
    RunStarted,
)
from ledger.chain import leaf_hash
from ledger.envelope import actor_of, seal, tail_of, type_of
from ledger.recorded import Kept, RecordedRun

_WORLD = (
    RunStarted, RunEnded, InputTaken, ClockRead, FileRecorded, FilesRemoved, KeyRotated,
    DecisionsTaken, Anchored, AnchorFailed,
)  # fmt: skip
WORLD = frozenset(str(kind.__struct_config__.tag) for kind in _WORLD)
"""Events that a replay does not make, or that are compared in another way: the manifest as a
whole, decision points by their lines."""


class Row(NamedTuple):
    """One comparison; an empty digest says that there was nothing on that side."""

    seq: int
    what: str
    """Type of the event, or ``POINT n``."""
    expected: str
    got: str

    @property
    def is_equal(self) -> bool:
        return self.expected == self.got


class Pair(NamedTuple):
    """The first that differ on both sides, as JSON; None where nothing was on that side."""

    seq: int
    what: str
    expected: bytes | None
    got: bytes | None


class ReplaySink:
    """An ``EventSink`` that compares; also has what a run asks of the writer besides."""

    def __init__(self, run: RecordedRun) -> None:
        self.rows: list[Row] = []
        self.first: Pair | None = None
        """The first event that differed."""
        self._run = run
        self._wanted = [kept for kept in run.events if kept.type not in WORLD]
        self._seq = run.start_seq
        self._extra_seq = run.events[-1].seq
        self._payload = b""
        self._lines: list[bytes] = []
        self._by_digest: dict[str, list[bytes]] = {}
        """The same lines, by the digest that the DECISIONS event of this replay has."""
        self.failure: str | None = None
        """It writes nothing, so nothing can fail."""
        self.start_text = ""

    # --- the writer's face ----------------------------------------------------------------------

    def append(self, event: LedgerEvent, ts_ns: int, cause: int | None = None) -> int:
        """Compare an event with the next one of the ledger; return that one's seq."""
        kind = type_of(event)
        if isinstance(event, DecisionsTaken):
            lines = self._payload.splitlines(keepends=True)
            self._lines += lines
            self._by_digest[event.digest] = lines
        if kind in WORLD:
            return self._seq
        place = len(self.rows)
        if place >= len(self._wanted):
            return self._take_extra(event, ts_ns, kind)
        kept = self._wanted[place]
        self._seq = kept.seq
        body = self._seal(event, ts_ns, cause, kept)
        got = leaf_hash(body)
        if got != kept.hash and self.first is None:
            self.first = Pair(kept.seq, kept.type, kept.body, body)
        self.rows.append(Row(kept.seq, kept.type, kept.hash.hex(), got.hex()))
        return kept.seq

    def _take_extra(self, event: LedgerEvent, ts_ns: int, kind: str) -> int:
        self._extra_seq += 1
        self._seq = self._extra_seq
        body = self._seal(event, ts_ns, None, self._run.events[-1])
        if self.first is None:
            self.first = Pair(self._seq, kind, None, body)
        self.rows.append(Row(self._seq, kind, "", leaf_hash(body).hex()))
        return self._seq

    def _seal(self, event: LedgerEvent, ts_ns: int, cause: int | None, kept: Kept) -> bytes:
        tail = tail_of(kept.body)
        assert tail is not None  # the run was read by its schema
        started = self._run.started
        return seal(
            event,
            seq=kept.seq,
            ts_ns=ts_ns,
            run=started.run_id,
            # After a parting a cause may lie behind; then nothing is equal any more.
            cause=cause if cause is None or cause < kept.seq else None,
            actor=actor_of(event, started.venue),
            prev=tail.prev.decode(),
        )

    def keep(self, data: bytes) -> str:
        self._payload = data
        return ""

    def flush(self) -> Future[None]:
        future: Future[None] = Future()
        future.set_result(None)
        return future

    def head(self) -> tuple[int, str]:
        last = self._run.events[-1]
        return last.seq, last.hash.hex()

    def begin_run(self, run_id: str, wall_ns: int) -> None: ...

    def end_run(self, run_id: str, wall_ns: int) -> None: ...

    def close(self) -> None: ...

    # --- what came of it ------------------------------------------------------------------------

    def finish(self) -> None:
        """The run is over: what is still wanted was not said again."""
        for kept in self._wanted[len(self.rows) :]:
            if self.first is None:
                self.first = Pair(kept.seq, kept.type, kept.body, None)
            self.rows.append(Row(kept.seq, kept.type, kept.hash.hex(), ""))
        if self._run.ended is None:
            self._forget_tail()

    def _forget_tail(self) -> None:
        """A killed process did not write all that it would have: more is not different."""
        while self.rows and not self.rows[-1].expected:
            self.rows.pop()
        if self.first is not None and self.first.expected is None:
            self.first = None

    def points(self) -> tuple[list[Row], Pair | None]:
        """Return the comparison of the decision points, and the first pair that differs.

        Of a payload that a rule removed the digest stands in the chain: what has it now is equal
        line by line, what has another is not, and nobody can say where.
        """
        rows: list[Row] = []
        first: Pair | None = None
        kept, lines = self._kept_points(), self._lines
        count = len(kept) if self._run.ended is None else max(len(kept), len(lines))
        for place in range(count):
            seq, expected = kept[place] if place < len(kept) else (self._seq, None)
            got = lines[place] if place < len(lines) else None
            known = (
                "removed" if seq in self._run.removed and expected is None else _digest(expected)
            )
            row = Row(seq, f"POINT {place + 1}", known, _digest(got))
            rows.append(row)
            if expected is None and got is None:
                continue
            if first is None and not row.is_equal:
                first = Pair(seq, row.what, expected, got)
        return rows, first

    def _kept_points(self) -> list[tuple[int, bytes | None]]:
        """Return the recorded points, those of removed payloads where the digest proves them."""
        proved = {
            seq: iter(self._by_digest.get(digest, ())) for seq, digest in self._run.removed.items()
        }
        return [
            (seq, next(proved[seq], None) if line is None else line)
            for seq, line in self._run.points
        ]


def _digest(line: bytes | None) -> str:
    return "" if line is None else hashlib.sha256(line).hexdigest()


def time_of(pair: Pair) -> int:
    """Return the engine time at which a pair parted, the earlier of both sides."""
    from ledger.recorded import ns_of

    found = []
    for side in (pair.expected, pair.got):
        if side is not None:
            tree = msgspec.json.decode(side)
            found.append(int(tree["ts_ns"]) if "ts_ns" in tree else ns_of(tree["ts"]))
    return min(found)


class Difference(NamedTuple):
    """One field that differs; ``absent`` where a side does not have it."""

    field: str
    expected: str
    got: str


DIFFERENCES_MAX = 20
_TEXT_MAX = 200


def differences(expected: bytes | None, got: bytes | None) -> list[Difference]:
    """Return the fields in which two JSON objects differ, the first ``DIFFERENCES_MAX``."""
    sides = [_leaves(side) for side in (expected, got)]
    found = []
    for name in dict.fromkeys([*sides[0], *sides[1]]):
        texts = [side.get(name, "absent") for side in sides]
        if texts[0] != texts[1]:
            found.append(Difference(name, texts[0][:_TEXT_MAX], texts[1][:_TEXT_MAX]))
    return found[:DIFFERENCES_MAX]


def _leaves(side: bytes | None) -> dict[str, str]:
    found: dict[str, str] = {}

    def walk(name: str, value: object) -> None:
        if isinstance(value, dict) and value:
            for key, item in value.items():
                walk(f"{name}.{key}" if name else key, item)
        elif isinstance(value, list) and value:
            for place, item in enumerate(value):
                walk(f"{name}[{place}]", item)
        else:
            found[name] = msgspec.json.encode(value).decode()

    if side is not None:
        walk("", msgspec.json.decode(side))
    return found
