"""Checking stored anchors, offline: that each is of its checkpoint, and what it proves."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

import msgspec

from core.errors import Failed, ValueRefused
from core.model.event import Anchored
from ledger import anchors_ots as ots
from ledger import anchors_rfc3161 as rfc3161
from ledger.anchors import OTS, ROOTS_SUFFIX, SUFFIXES, digest_of, read, recorded
from ledger.coverage import Problem, Stored

LINES_MAX = 20
"""Anchors told one by one; the rest is counted."""


class Judged(msgspec.Struct, frozen=True):
    """What is wrong with the anchors of a ledger, and what those that hold prove."""

    problems: list[Problem]
    lines: tuple[str, ...]


def judge_anchors(
    connection: sqlite3.Connection, state_dir: Path, stored: Iterable[Stored], roots: bytes = b""
) -> Judged:
    """Judge the anchors that the events speak of.

    ``roots``: PEM of the CA that time stamps must lead to; without, that kept beside each.
    """
    notes = {row.seq: row.note for row in stored}
    problems: list[Problem] = []
    lines: dict[tuple[str, str], str] = {}  # a later proof says all that the earlier did
    for row in recorded(connection):
        anchor = row.event
        if not isinstance(anchor, Anchored):
            continue
        try:
            said = proof_text(state_dir, anchor, notes.get(anchor.size), roots)
        except (ValueRefused, Failed) as error:
            problems.append((row.seq, f"the anchor of seq 1 to {anchor.size}: {error}"))
            continue
        place = (anchor.method, anchor.note_digest)
        lines.pop(place, None)
        lines[place] = said
    told = list(reversed(lines.values()))
    more = len(told) - LINES_MAX
    return Judged(problems, (*told[:LINES_MAX], *([f"and {more} older ones"] if more > 0 else [])))


def proof_text(state_dir: Path, anchor: Anchored, note: str | None, roots: bytes = b"") -> str:
    """Return in words what an anchor proves.

    Errors: ``ValueRefused`` for one that does not hold, ``Failed`` for a spoilt answer.
    """
    if note is None or digest_of(note.encode()) != anchor.note_digest:
        raise ValueRefused("it is of another checkpoint than the one stored")
    if anchor.method not in SUFFIXES:
        raise ValueRefused(f"the method {anchor.method!r:.40} is not known")
    data = read(state_dir, anchor.digest, SUFFIXES[anchor.method])
    if len(data) != anchor.size_bytes:
        raise ValueRefused(f"its answer has {len(data)} bytes, the event says {anchor.size_bytes}")
    if anchor.method == OTS:
        return _ots_text(anchor, data)
    return _stamp_text(anchor, data, roots or read(state_dir, anchor.roots, ROOTS_SUFFIX))


def _stamp_text(anchor: Anchored, data: bytes, roots: bytes) -> str:
    span = f"seq 1 to {anchor.size}"
    if not rfc3161.is_available():
        return (
            f"{span}: a token of {anchor.source} says {anchor.at}; its signature is not checked: "
            f"{rfc3161.MISSING}"
        )
    token = rfc3161.check(data, bytes.fromhex(anchor.note_digest), roots)
    if token.at != anchor.at:
        raise ValueRefused(f"the token says {token.at}, the event {anchor.at}")
    return (
        f"{span} existed on {token.at}: signed by {token.authority}, whose certificate ends on "
        f"{token.until}, of the CA with SHA-256 {rfc3161.fingerprint_of(roots)}"
    )


def _ots_text(anchor: Anchored, data: bytes) -> str:
    span = f"seq 1 to {anchor.size}"
    stamp = ots.parse_file(data)
    if stamp.message.hex() != anchor.note_digest:
        raise ValueRefused("the proof is of another digest")
    found = list(stamp.walk())
    blocks = [(each.block, at.message[::-1].hex()) for at, each in found if each.block is not None]
    if anchor.is_pending == bool(blocks):
        raise ValueRefused("the proof and the event differ in whether it is pending")
    if not blocks:
        calendars = ", ".join(each.calendar for _, each in found if each.calendar)
        return f"{span}: promised by {calendars}; this proves nothing until it is in a block"
    height, root = min(blocks)
    return (
        f"{span} existed when Bitcoin block {height} was made, if its Merkle root is {root} (look "
        "it up); that does not end"
    )
