"""Anchors in a binder: which ones, and their files under the digests that the events name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from core.model.event import Anchored
from ledger.anchors import FOLDER, ROOTS_SUFFIX, SUFFIXES, Recorded, read
from ledger.anchors_check import proof_text
from ledger.keys import parse_vkey


def anchors_of(rows: list[Recorded], first: int, last: int) -> list[int]:
    """Return the seqs of the ANCHORED events that tell something of the range ``first``-``last``.

    Those of its own checkpoints; and of each kind the first of a later checkpoint, which contains
    it, or while all of them are promises the newest.
    """
    chosen: list[int] = []
    for method in SUFFIXES:
        found = [
            (row.seq, row.event)
            for row in rows
            if isinstance(row.event, Anchored) and row.event.method == method
        ]
        chosen += [seq for seq, event in found if first <= event.size <= last]
        later = [(seq, event) for seq, event in found if event.size > last]
        done = [seq for seq, event in later if not event.is_pending]
        chosen += done[:1] or [seq for seq, _ in later[-1:]]
    return chosen


def write_anchors(
    state_dir: Path, folder: Path, notes: Mapping[int, str], anchored: list[dict[str, Any]]
) -> list[tuple[int, str]]:
    """Write what ``anchored`` names; return the seq of each and what it proves, oldest first.

    The ledger verified: every anchor is right. Errors: ``Failed`` for a file gone since.
    """
    said = []
    for tree in sorted(anchored, key=lambda each: int(each["seq"])):
        event = msgspec.convert(
            {name: each for name, each in tree["payload"].items() if name != "type"}, Anchored
        )
        files = {
            f"{event.note_digest}.txt": notes[event.size].encode(),
            event.digest + SUFFIXES[event.method]: read(
                state_dir, event.digest, SUFFIXES[event.method]
            ),
        }
        if event.roots:
            files[event.roots + ROOTS_SUFFIX] = read(state_dir, event.roots, ROOTS_SUFFIX)
        for name, data in files.items():
            path = folder / FOLDER / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        said.append((tree["seq"], proof_text(state_dir, event, notes[event.size])))
    return said


def fingerprint_of(vkey: str) -> str:
    """Return the fingerprint of the key in a verifier-key line."""
    return parse_vkey(vkey).fingerprint
