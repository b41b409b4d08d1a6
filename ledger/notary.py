"""The writer's side of signing: keeps the tree, signs it when due, writes ``checkpoints.txt``.

Everything here runs in the writer thread. A checkpoint is a row of the same commit as its event;
the file is told after the commit, like the witness. Nothing signed is inside a hashed event, so
two equal replays under different keys have the same head.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from core.errors import Failed
from ledger import keys
from ledger.checkpoint import ADOPTED, sign
from ledger.coverage import Stored, file_problem, file_text, is_due, problems
from ledger.keys import SigningKey
from ledger.recovery import Recovered, refusal
from ledger.schema import UNSIGNED_VERSION
from ledger.store import NOTES_NAME, add_checkpoints, version_of
from ledger.tree import Frontier


class Notary:
    """Signs the ledger of one connection as it grows."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        state_dir: Path,
        key: SigningKey,
        tree: Frontier,
        signed_seq: int,
    ) -> None:
        """Go on from ``tree``; ``signed_seq`` is the newest event with a checkpoint, or 0."""
        self._connection, self._state_dir, self._key = connection, state_dir, key
        self._tree, self._signed_seq = tree, signed_seq
        self._unpublished: list[Stored] = []

    def take(self, seq: int, leaf: bytes, *, is_boundary: bool) -> None:
        """Add an event of the open transaction, and sign where that is due."""
        self._tree.push(leaf)
        if is_due(seq, is_boundary=is_boundary):
            self.sign_head()

    def sign_head(self) -> None:
        """Sign the newest event, inside the open transaction, unless it is signed."""
        size = self._tree.size
        if size == self._signed_seq:
            return
        row = Stored(size, sign(self._key, size, self._tree.root()))
        self._connection.execute("INSERT INTO checkpoints VALUES(?, ?)", row)
        self._signed_seq = size
        self._unpublished.append(row)

    def publish(self) -> None:
        """Append what the last commit signed to ``checkpoints.txt``, durably."""
        if self._unpublished:
            _append(self._state_dir, file_text(self._unpublished))
            self._unpublished.clear()


def open_notary(connection: sqlite3.Connection, state_dir: Path, found: Recovered) -> Notary:
    """Check key and checkpoints of a recovered ledger and return its notary.

    A new ledger gets its key here, and one of schema 1 its key and a first checkpoint. Errors:
    ``Failed`` naming what is not in order, ``UserError`` for a key that others can read.
    """
    stored = found.stored
    if version_of(connection) == UNSIGNED_VERSION:
        key, stored = _adopt(connection, state_dir, found)
    else:
        key = _load_key(state_dir, found)
        _check_public(state_dir, key)
        for problem in problems(key.public, stored, found.coverage):
            raise refusal(problem)
    held = _held(state_dir)
    spoilt = file_problem(held, stored, found.head.seq)
    if spoilt is not None:
        raise refusal(spoilt)
    if keys.read_public(state_dir) is None:
        keys.write_public(state_dir, key.public)
    missing = file_text(stored)[len(held or b"") :]
    if missing:
        _append(state_dir, missing)
    tree = found.coverage.tree
    return Notary(connection, state_dir, key, tree, stored[-1].seq if stored else 0)


def _load_key(state_dir: Path, found: Recovered) -> SigningKey:
    key = keys.load(state_dir)
    if key is not None:
        return key
    if found.head.seq > 0 or found.stored or (state_dir / keys.PUBLIC_NAME).exists():
        raise Failed(
            f"{state_dir / keys.KEY_NAME} is missing: put it back, or begin a new ledger with "
            "--state DIR (this one stays readable and verifiable)"
        )
    return keys.create(state_dir)


def _adopt(
    connection: sqlite3.Connection, state_dir: Path, found: Recovered
) -> tuple[SigningKey, list[Stored]]:
    """Give an older ledger its key. One that shows traces of having had one is refused."""
    for name in (keys.KEY_NAME, keys.PUBLIC_NAME, NOTES_NAME):
        if (state_dir / name).exists():
            raise Failed(
                f"ledger refused: the database says that it was never signed, but {name} is there; "
                f"if it never was (a start was cut short), move {name} away"
            )
    key = keys.create(state_dir)
    size = found.head.seq
    stored = []
    if size > 0:
        stored = [Stored(size, sign(key, size, found.coverage.tree.root(), ADOPTED))]
    add_checkpoints(connection, stored[0] if stored else None)
    return key, stored


def _check_public(state_dir: Path, key: SigningKey) -> None:
    public = keys.read_public(state_dir)
    if public is not None and public != key.public:
        raise refusal((None, keys.mismatch_text(public, key.public)))


def _held(state_dir: Path) -> bytes | None:
    try:
        return (state_dir / NOTES_NAME).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Failed(f"{state_dir / NOTES_NAME}: cannot be read ({error.strerror})") from error


def _append(state_dir: Path, text: bytes) -> None:
    file = os.open(state_dir / NOTES_NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        if os.write(file, text) != len(text):
            raise OSError(f"{NOTES_NAME} took only a part of a checkpoint")
        os.fsync(file)
    finally:
        os.close(file)
