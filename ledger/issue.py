"""Checkpoints on request: signing the newest event where no engine does, and handing them out."""

from __future__ import annotations

from pathlib import Path

from core.errors import Failed, UserError
from core.state import EngineLock, StateDir
from ledger.coverage import Stored, stored_notes
from ledger.export.formats import path_for_draft
from ledger.reading import read_head
from ledger.schema import UNSIGNED_VERSION
from ledger.store import OWN_FILES, reading, version_of
from ledger.writer import LedgerWriter


def newest_checkpoint(state_dir: Path) -> Stored:
    """Return the newest stored checkpoint.

    Errors: ``UserError`` without a ledger or a checkpoint, ``Failed`` if it cannot be read.
    """
    newest = _newest(state_dir)
    if newest is None:
        raise UserError(f"no checkpoint in {state_dir} yet: it has no signed events")
    return newest


def _newest(state_dir: Path) -> Stored | None:
    with reading(state_dir) as connection:
        stored = stored_notes(connection)
    return stored[-1] if stored else None


def sign_head(state: StateDir, now_ns: int, *, adopts: bool = True) -> None:
    """Sign the newest event of a ledger that no engine has, unless it is signed or there is none.

    The ledger is checked as at a start first: one that is not in order is not signed. One that is
    older than checkpoints gets its key only where ``adopts``. Errors: ``TryAgain`` while an engine
    runs, ``Failed`` for a ledger not in order, ``UserError`` without a ledger.
    """
    head, newest = read_head(state.path), _newest(state.path)
    if head.seq == (newest.seq if newest is not None else 0):
        return
    if not adopts and _is_unsigned(state.path):
        return
    with EngineLock(state, venue="none", command="ledger checkpoint", started_ns=now_ns):
        writer = LedgerWriter(state.path)
        try:
            writer.sign_head()
        finally:
            writer.close()
        if writer.failure is not None:
            raise Failed(f"the newest event could not be signed: {writer.failure}")


def _is_unsigned(state_dir: Path) -> bool:
    with reading(state_dir) as connection:
        return version_of(connection) == UNSIGNED_VERSION


def is_readable(state_dir: Path) -> bool:
    """Tell whether there is a ledger that can be read at all."""
    try:
        read_head(state_dir)
    except (Failed, UserError):
        return False
    return True


def write_note(state_dir: Path, note: str, out: Path) -> None:
    """Write a note to ``out``, which appears whole or stays what it was. Errors: ``UserError``."""
    if out.resolve() in {(state_dir / name).resolve() for name in OWN_FILES}:
        raise UserError(f"{out} is the ledger itself; choose another file")
    draft = path_for_draft(out)
    try:
        draft.write_bytes(note.encode())
        draft.replace(out)
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror})") from error
    finally:
        draft.unlink(missing_ok=True)
