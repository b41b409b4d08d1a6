"""Anchors: what outsiders attested of checkpoints, as the ledger has it.

An anchor is an ANCHORED event that names a checkpoint by its digest and the answer by another. The
answer itself is a file that other tools read, ``anchors/<digest>.tsr`` or ``.ots``, durable before
its event. A newer checkpoint contains the older ones, so only the newest is ever anchored, and a
failure needs no queue: the next anchor covers it too.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from pathlib import Path

import msgspec

from core.config import AnchorSettings
from core.errors import Failed, UserError, ValueRefused
from core.model.event import Anchored, AnchorFailed, LedgerEvent
from ledger import form
from ledger.coverage import Stored, stored_notes
from ledger.references import ANCHORS
from ledger.store import UNREADABLE, reading
from ledger.witness import sync_folder

RFC3161, OTS = "rfc3161", "ots"
FOLDER = "anchors"
SUFFIXES = {RFC3161: ".tsr", OTS: ".ots"}
ROOTS_SUFFIX = ".pem"
FILE_BYTES_MAX = 1_048_576
PROCESS_S_MAX = 300
"""However many are asked, the process that asks ends itself after this long."""
Outcome = Anchored | AnchorFailed
"""What comes of asking one outsider: the event that says so."""


class Job(msgspec.Struct, frozen=True):
    """What to ask for."""

    state_dir: str
    settings: AnchorSettings
    size: int = 0
    """Which checkpoint; 0: the newest."""
    is_scheduled: bool = True
    """Leave out what is anchored already."""
    upgrades_only: bool = False


def digest_of(data: bytes) -> str:
    """Return the SHA-256 of ``data``, hex."""
    return hashlib.sha256(data).hexdigest()


def keep(state_dir: Path, data: bytes, suffix: str) -> str:
    """Keep an answer durably under its digest, which is returned. Errors: ``Failed``."""
    digest = digest_of(data)
    path = state_dir / FOLDER / (digest + suffix)
    draft = path.with_suffix(".new")
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        sync_folder(path.parent)
        sync_folder(state_dir)
    except OSError as error:
        raise Failed(f"{path}: the answer cannot be kept ({error.strerror})") from error
    return digest


def read(state_dir: Path, digest: str, suffix: str) -> bytes:
    """Return a kept answer. Errors: ``Failed`` if it is missing or not what the digest says."""
    name = f"{FOLDER}/{digest}{suffix}"
    if len(digest) != 64 or not digest.isalnum():
        raise Failed(f"{digest!r:.80} is no digest")
    try:
        with (state_dir / name).open("rb") as file:
            data = file.read(FILE_BYTES_MAX)
    except FileNotFoundError as error:
        raise Failed(f"{name} is missing") from error
    except OSError as error:
        raise Failed(f"{name} cannot be read ({error.strerror})") from error
    if digest_of(data) != digest:
        raise Failed(f"{name} was altered")
    return data


class Recorded(msgspec.Struct, frozen=True):
    """One event about anchors, as it stands in the ledger."""

    seq: int
    ts: str
    event: LedgerEvent


def recorded(connection: sqlite3.Connection) -> list[Recorded]:
    """Return every ANCHORED and ANCHOR_FAILED, oldest first."""
    rows = connection.execute(
        "SELECT seq, body FROM events WHERE seq IN (SELECT seq FROM trail WHERE ref = ?)"
        " ORDER BY seq",
        (ANCHORS,),
    )
    found = []
    for seq, body in rows:
        try:
            located = form.read(body, form.kind_of(body))
        except ValueRefused:
            continue  # the pass over the events says what is wrong with it
        found.append(Recorded(seq, located.ts, located.payload))
    return found


def pending_of(rows: list[Recorded]) -> list[Anchored]:
    """Return the promises of calendars that no later proof has kept, newest first."""
    by_note: dict[str, Anchored] = {}
    for row in rows:
        if isinstance(row.event, Anchored) and row.event.method == OTS:
            by_note[row.event.note_digest] = row.event
    return [each for each in reversed(by_note.values()) if each.is_pending]


def status_of(rows: list[Recorded]) -> str:
    """Return in a line what is anchored and what failed since; empty where nothing was tried."""
    if not rows:
        return ""
    held = [row for row in rows if isinstance(row.event, Anchored)]
    parts = []
    if held:
        newest = held[-1].event
        assert isinstance(newest, Anchored)
        how = f"at {newest.at}" if newest.at else "pending" if newest.is_pending else "in a block"
        parts.append(f"seq 1 to {newest.size} {newest.method} {how}")
    else:
        parts.append("none yet")
    waiting = len(pending_of(rows))
    if waiting:
        parts.append(f"{waiting} wait for a block")
    after = held[-1].seq if held else 0
    failed = [row.event for row in rows if row.seq > after and isinstance(row.event, AnchorFailed)]
    if failed:
        parts.append(f"{len(failed)} failed since, last {failed[-1].method}: {failed[-1].reason}")
    return "; ".join(parts)


def read_status(state_dir: Path) -> str:
    """Return ``status_of`` the ledger in ``state_dir``; empty without one that can be read."""
    try:
        with reading(state_dir) as connection:
            return status_of(recorded(connection))
    except (UserError, Failed, *UNREADABLE):
        return ""  # whoever writes it says so


class Task(msgspec.Struct, frozen=True):
    """What there is to do: a checkpoint to anchor, promises to have kept."""

    checkpoint: Stored | None
    anchored: frozenset[str]
    """Methods by which this checkpoint is anchored already."""
    pending: tuple[tuple[Anchored, bytes], ...]
    """With the proof so far."""


def read_task(state_dir: Path, size: int, pending_max: int) -> Task:
    """Return the checkpoint over ``size`` events (0: the newest) and the newest promises.

    Errors: ``UserError`` without a ledger or that checkpoint, ``Failed`` for a spoilt answer.
    """
    with reading(state_dir) as connection:
        stored, rows = stored_notes(connection), recorded(connection)
    wanted = stored[-1:] if not size else [each for each in stored if each.seq == size]
    if size and not wanted:
        near = min((each.seq for each in stored), key=lambda seq: abs(seq - size), default=0)
        raise UserError(f"there is no checkpoint over seq 1 to {size}; the nearest is {near}")
    note_digest = digest_of(wanted[0].note.encode()) if wanted else ""
    done = {
        row.event.method
        for row in rows
        if isinstance(row.event, Anchored) and row.event.note_digest == note_digest
    }
    pending = tuple(
        (each, read(state_dir, each.digest, SUFFIXES[OTS]))
        for each in pending_of(rows)[:pending_max]
    )
    return Task(wanted[0] if wanted else None, frozenset(done), pending)
