"""Rotating the key of a ledger that no engine has, and what there is to tell about its key."""

from __future__ import annotations

from pathlib import Path

import msgspec

from core.errors import Failed, UserError
from core.model.event import KeyRotated
from core.state import EngineLock, StateDir
from ledger import form, keys
from ledger.envelope import unseal
from ledger.keys import PublicKey
from ledger.reading import read_head
from ledger.store import reading
from ledger.writer import LedgerWriter


class KeyRow(msgspec.Struct, frozen=True):
    """One key of the ledger and from which event on it signs."""

    name: str
    since_seq: int
    since_ts: str
    reason: str


class KeyFacts(msgspec.Struct, frozen=True):
    """What is to be told of a ledger's keys."""

    public: PublicKey | None
    place: str
    """Where the secret half is, in words."""
    rows: tuple[KeyRow, ...]
    """Every rotation, oldest first."""


def key_facts(state_dir: Path) -> KeyFacts:
    """Return what is known of the keys. Errors: ``UserError`` without a ledger."""
    rows = []
    with reading(state_dir) as connection:
        for seq, body in connection.execute("SELECT seq, body FROM events ORDER BY seq"):
            if form.kind_of(body) != "KEY_ROTATED":
                continue
            envelope, event = unseal(body)
            if isinstance(event, KeyRotated):
                name = keys.parse_vkey(event.new_key).name
                rows.append(KeyRow(name, seq, envelope.ts, event.reason))
    public = keys.read_public(state_dir)
    path = state_dir / keys.KEY_NAME
    place = f"the file {path}" if path.exists() else _place_elsewhere(state_dir)
    return KeyFacts(public, place, tuple(rows))


def _place_elsewhere(state_dir: Path) -> str:
    try:
        is_kept = keys.load_kept(state_dir) is not None
    except UserError as error:
        return f"not known: {error}"
    return "the OS keyring" if is_kept else "not here: nothing can be signed until it is put back"


def rotate(state: StateDir, reason: str, now_ns: int) -> tuple[int, PublicKey]:
    """Give the ledger a new key; return the seq of its rotation and the key.

    Errors: ``TryAgain`` while an engine runs, ``UserError`` without a reason or a ledger,
    ``Failed`` for a ledger not in order.
    """
    if not reason.strip():
        raise UserError("a rotation needs a reason")
    if read_head(state.path).seq == 0:
        raise UserError("the ledger is empty: its first start gives it a key")
    with EngineLock(state, venue="none", command="ledger keys rotate", started_ns=now_ns):
        was_kept = not (state.path / keys.KEY_NAME).exists()
        writer = LedgerWriter(state.path)
        try:
            key = keys.create(state.path, keys.DRAFT_NAME)
            old = keys.read_public(state.path)
            seq = writer.rotate_key(key, reason.strip(), now_ns)
        finally:
            writer.close()
        if writer.failure is not None:
            raise Failed(f"the rotation could not be written: {writer.failure}")
        keys.settle_draft(state.path, key.public)
        if old is not None and was_kept:
            keys.forget_kept(old)
    return seq, key.public
