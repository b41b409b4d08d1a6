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
from ledger import keys, resume
from ledger.book_state import BookState
from ledger.chain import Head
from ledger.checkpoint import ADOPTED, sign
from ledger.coverage import Stored, file_problem, file_text, is_due, problems, whole_part
from ledger.keys import SigningKey
from ledger.recovery import Recovered, refusal
from ledger.resume import Carried
from ledger.run_clock import unsigned_lines
from ledger.schema import UNSIGNED_VERSION
from ledger.store import DB_NAME, NOTES_NAME, add_checkpoints, version_of
from ledger.tree import Frontier
from ledger.witness import sync_folder

LINES_MAX = 32
"""Lines beside the root in one checkpoint; further ones wait for the next."""


class Notary:
    """Signs the ledger of one connection as it grows."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        state_dir: Path,
        key: SigningKey,
        tree: Frontier,
        stored: list[Stored],
    ) -> None:
        """Go on from ``tree`` and the checkpoints so far."""
        self._connection, self._state_dir, self._key = connection, state_dir, key
        self._tree, self._signed_seq = tree, stored[-1].seq if stored else 0
        self.signed = list(stored)
        """Every checkpoint, oldest first."""
        self._unpublished: list[Stored] = []
        self._lines: list[str] = []

    def take(self, seq: int, leaf: bytes, *, is_boundary: bool) -> None:
        """Add an event of the open transaction, and sign where that is due."""
        self._tree.push(leaf)
        if is_due(seq, is_boundary=is_boundary):
            self.sign_head()

    def change_key(self, key: SigningKey) -> None:
        """Sign with ``key`` from the next event on, which is its rotation."""
        self._key = key

    @property
    def key(self) -> SigningKey:
        """What signs now."""
        return self._key

    def note(self, *lines: str) -> None:
        """Have the next checkpoint sign these lines too."""
        self._lines += lines

    def sign_head(self) -> None:
        """Sign the newest event, inside the open transaction, unless it is signed."""
        size = self._tree.size
        if size == self._signed_seq:
            return
        lines, self._lines = self._lines[:LINES_MAX], self._lines[LINES_MAX:]
        row = Stored(size, sign(self._key, size, self._tree.root(), *lines))
        self._connection.execute("INSERT INTO checkpoints VALUES(?, ?)", row)
        self._signed_seq = size
        self._unpublished.append(row)
        self.signed.append(row)

    def write_resume(
        self, head: Head, run: str, carried: Carried, books: tuple[BookState, ...] | None
    ) -> None:
        """Write where the next start may go on; ``head`` is what was committed last."""
        made = resume.make(self._connection, head, run, self._tree, carried, self.signed, books)
        resume.write(self._state_dir, self._key, made)

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
        keys.settle_draft(state_dir, found.coverage.turns.newest)
        key = _load_key(state_dir, found)
        _check_public(state_dir, key)
        for problem in problems(key.public, stored, found.coverage):
            raise refusal(problem)
    held = _held_whole(state_dir, stored, found.head.seq)
    if keys.read_public(state_dir) is None:
        keys.write_public(state_dir, key.public)
    missing = file_text(stored)[len(held) :]
    if missing:
        _append(state_dir, missing)
    tree = found.coverage.tree
    notary = Notary(connection, state_dir, key, tree, stored)
    notary.note(*unsigned_lines(connection, stored))
    return notary


def _load_key(state_dir: Path, found: Recovered) -> SigningKey:
    key = keys.load(state_dir) or keys.load_kept(state_dir)
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


def _held_whole(state_dir: Path, stored: list[Stored], head_seq: int) -> bytes:
    """Return what ``checkpoints.txt`` holds in order; an append that was cut short is cut off.

    Only after a life that did not end in order, which is when SQLite has left its WAL: in a ledger
    that was closed, no byte of the file may differ. Errors: ``Failed``.
    """
    held = _held(state_dir) or b""
    spoilt = file_problem(held, stored, head_seq)
    if spoilt is None:
        return held
    wal = state_dir / f"{DB_NAME}-wal"
    was_cut_short = wal.exists() and wal.stat().st_size > 0
    whole = whole_part(held, stored, head_seq) if was_cut_short else None
    if whole is None:
        raise refusal(spoilt)
    os.truncate(state_dir / NOTES_NAME, len(whole))
    return whole


def _held(state_dir: Path) -> bytes | None:
    try:
        return (state_dir / NOTES_NAME).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Failed(f"{state_dir / NOTES_NAME}: cannot be read ({error.strerror})") from error


def _append(state_dir: Path, text: bytes) -> None:
    is_new = not (state_dir / NOTES_NAME).exists()
    file = os.open(state_dir / NOTES_NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        if os.write(file, text) != len(text):
            raise OSError(f"{NOTES_NAME} took only a part of a checkpoint")
        os.fsync(file)
    finally:
        os.close(file)
    if is_new:
        sync_folder(state_dir)
