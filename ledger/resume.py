"""``ledger.resume``: where the next start may go on without walking the whole chain.

A long ledger (``RESUME_EVENTS_MIN``) gets this file at every end in order, and now and then while
it grows. It names an event, the roots of the tree up to it and, by one digest, every *carried*
event: those whose content a start needs (runs, fills, exits, recoveries, and all of orders still
open). The ledger's key signs it. A start that finds it right reads the carried events and all
events after it, and proves of those that they are the very ones that were signed. What it does
not prove is that no other old event was changed since: ``ledger.audit`` does, beside the engine.

The file may go at any time, or be an older one: the start then walks from further back.
"""

from __future__ import annotations

import base64
import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from core.errors import Failed
from core.model.order import OrderStatus
from ledger import keys, witness
from ledger.book_state import BookState
from ledger.chain import Head, leaf_hash
from ledger.coverage import Stored, file_text, stored_notes
from ledger.keys import PublicKey, SigningKey
from ledger.schema import SCHEMA_VERSION
from ledger.store import RESUME_NAME, UNREADABLE, version_of
from ledger.tree import Frontier

RESUME_EVENTS_MIN = 20_000
"""A shorter ledger is walked whole: that takes a fraction of a second."""
RESUME_EVENTS = 65_536
"""Events between two while the ledger grows."""
FORM = "tapewright-resume/2"
"""2 holds the lots; after an update the first start walks the chain once more."""
_HEAD = b'{"form":"%s",' % FORM.encode()
CARRIED = frozenset(
    {
        "RUN_STARTED", "RUN_ENDED", "FILL", "RECOVERED", "EXITS", "KEY_ROTATED", "DAY_MARKED",
        "TRANSFER",
    }
)  # fmt: skip
"""Types whose every event a start reads."""
CARRIED_WHILE_OPEN = frozenset({"ORDER_INTENT", "ORDER_STATUS"})
"""Types that it reads of orders still open."""
_BYTES_MAX = 1 << 20
LOTS_MAX = 2_000
"""Open lots in the file; one takes up to 300 bytes of it."""

Row = tuple[int, bytes, bytes]
"""Seq, hash and body of an event."""


class Resume(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file says."""

    form: str
    schema: int
    seq: int
    hash: str
    run: str
    roots: tuple[str, ...]
    """Of the complete subtrees up to ``seq``, largest first."""
    notes: str
    """Sha256 of all checkpoints before ``seq``: one at ``seq`` itself may still be signed, as an
    export does, and its root is that of ``roots``."""
    carried_count: int
    carried: str
    open_events: tuple[tuple[int, str], ...]
    """Seq and hash of every event of an order that was open."""
    books: tuple[BookState, ...] | None
    """The lots at ``seq``; None where they are too many for this file: then all fills are counted.
    """

    @property
    def head(self) -> Head:
        return Head(self.seq, bytes.fromhex(self.hash))

    @property
    def tree(self) -> Frontier:
        return Frontier.at(self.seq, [bytes.fromhex(root) for root in self.roots])


class Carried:
    """Count and digest of the carried events so far."""

    def __init__(self, count: int = 0, digest: bytes = bytes(32)) -> None:
        self.count, self.digest = count, digest

    def take(self, leaf: bytes) -> None:
        self.count += 1
        self.digest = hashlib.sha256(self.digest + leaf).digest()


class Refused(Exception):
    """Why the file is of no use to this start: not an error, the whole chain is walked instead."""


class Start(NamedTuple):
    """Where a start begins to walk, and what it takes over from before."""

    resume: Resume
    rows: list[Row]
    """The carried events and those of open orders, by seq."""


def make(
    connection: sqlite3.Connection,
    head: Head,
    run: str,
    tree: Frontier,
    carried: Carried,
    stored: list[Stored],
    books: tuple[BookState, ...] | None,
) -> Resume:
    """Return what a start at ``head`` would need."""
    return Resume(
        form=FORM,
        schema=SCHEMA_VERSION,
        seq=head.seq,
        hash=head.hash.hex(),
        run=run,
        roots=tuple(root.hex() for root in tree.roots),
        notes=_digest_of(stored, head.seq),
        carried_count=carried.count,
        carried=carried.digest.hex(),
        open_events=tuple(_open_events(connection)),
        books=None if books is None or _lots_in(books) > LOTS_MAX else books,
    )


def _lots_in(books: tuple[BookState, ...]) -> int:
    return sum(len(book.open_lots) for book in books)


def _digest_of(stored: list[Stored], seq: int) -> str:
    return hashlib.sha256(file_text(row for row in stored if row.seq < seq)).hexdigest()


def _open_events(connection: sqlite3.Connection) -> Iterator[tuple[int, str]]:
    closed = [status.value for status in OrderStatus if status.is_closed]
    marks = ", ".join("?" * len(closed))
    rows = connection.execute(
        "SELECT DISTINCT e.seq, e.hash FROM orders o JOIN trail t ON t.ref = o.client_order_id"  # noqa: S608 - marks only
        f" JOIN events e ON e.seq = t.seq WHERE o.status NOT IN ({marks}) ORDER BY e.seq",
        closed,
    )
    return ((seq, leaf.hex()) for seq, leaf in rows)


def write(state_dir: Path, key: SigningKey, resume: Resume) -> None:
    """Replace the file as one act. Errors: ``OSError``."""
    text = msgspec.json.encode(resume)
    signature = base64.b64encode(key.sign(_signed_text(text)))
    draft = state_dir / (RESUME_NAME + ".new")
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(file, text + b"\n" + signature + b"\n")
        os.fsync(file)
    finally:
        os.close(file)
    draft.replace(state_dir / RESUME_NAME)


def _signed_text(text: bytes) -> bytes:
    """No checkpoint reads like this, so a signature of one kind is none of the other."""
    return FORM.encode() + b"\n" + text + b"\n"


def read(state_dir: Path, public: PublicKey) -> Resume:
    """Return what the file says. Errors: ``Refused`` unless it is there and the key signed it."""
    try:
        with (state_dir / RESUME_NAME).open("rb") as file:
            data = file.read(_BYTES_MAX)
    except OSError as error:
        raise Refused(f"it cannot be read ({error.strerror})") from error
    text, _, rest = data.partition(b"\n")
    if text.startswith(b'{"form":"tapewright-resume/') and not text.startswith(_HEAD):
        raise Refused("it is of another version of this program")
    try:
        signature = base64.b64decode(rest)
        is_whole = data == text + b"\n" + base64.b64encode(signature) + b"\n"
        if not is_whole or not public.is_signed(_signed_text(text), signature):
            raise Refused("it is not as the ledger's key signed it")
        resume = msgspec.json.decode(text, type=Resume)
    except ValueError as error:
        raise Refused(f"it cannot be read ({error})") from error
    if resume.schema != SCHEMA_VERSION:
        raise Refused("it is of another version of this program")
    if resume.seq < RESUME_EVENTS_MIN:
        raise Refused(f"it goes on from seq {resume.seq}, too early to be of use")
    return resume


def find_start(
    connection: sqlite3.Connection, state_dir: Path, stored: list[Stored], witness_seq: int | None
) -> Start:
    """Return where the start may begin.

    Errors: ``Refused`` where the whole chain is to be walked; whatever is not as it was signed is
    told by the walk.
    """
    if witness_seq is None:
        raise Refused("there is no witness")
    if version_of(connection) != SCHEMA_VERSION:
        raise Refused("the ledger is of an older program")
    try:
        public = keys.read_public(state_dir)
        if public is None:
            raise Refused("there is no key to check it with")
        resume = read(state_dir, public)
        if witness_seq < resume.seq:
            raise Refused(f"it is of seq {resume.seq}, the witness of {witness_seq}")
        rows = _rows(connection, resume)
    except (Failed, *UNREADABLE) as error:
        raise Refused(f"what it goes on from cannot be read ({error})") from error
    if _digest_of(stored, resume.seq) != resume.notes:
        raise Refused("the checkpoints before it are not those it was signed with")
    return Start(resume, rows)


def events_to_read(
    connection: sqlite3.Connection, state_dir: Path, before_seq: int | None = None
) -> Iterator[Row]:
    """Yield what a start reads, by seq: every event, or what ``find_start`` names and all after.

    With ``before_seq`` every event before it: for a look into the past.
    """
    start = None
    if before_seq is None:
        seen = witness.read(state_dir)
        stored = stored_notes(connection)
        with suppress(Refused):  # the writer has told why
            start = find_start(connection, state_dir, stored, seen.seq if seen else None)
    after = 0
    if start is not None:
        yield from start.rows
        after = start.resume.seq
        if not start.rows or start.rows[-1][0] != after:
            yield from connection.execute(
                "SELECT seq, hash, body FROM events WHERE seq = ?", (after,)
            )
    yield from connection.execute(
        "SELECT seq, hash, body FROM events WHERE seq > ?1 AND (?2 IS NULL OR seq < ?2)"
        " ORDER BY seq",
        (after, before_seq),
    )


def _rows(connection: sqlite3.Connection, resume: Resume) -> list[Row]:
    """Return the events that a start needs.

    Errors: ``Refused`` naming the first that is not the one that was signed.
    """
    last = connection.execute("SELECT hash, body FROM events WHERE seq = ?", (resume.seq,))
    row = last.fetchone()
    if row is None or row[0].hex() != resume.hash or leaf_hash(row[1]) != row[0]:
        raise Refused(f"seq {resume.seq} is not the event it was signed with")
    carried, rows = Carried(), []
    for found in connection.execute(
        "SELECT e.seq, e.hash, e.body FROM carried c JOIN events e ON e.seq = c.seq"
        " WHERE c.seq <= ? ORDER BY c.seq",
        (resume.seq,),
    ):
        if leaf_hash(found[2]) != found[1]:
            raise Refused(f"seq {found[0]} is not the event it was signed with")
        carried.take(found[1])
        rows.append(found)
    if (carried.count, carried.digest.hex()) != (resume.carried_count, resume.carried):
        raise Refused("the runs and fills before it are not those it was signed with")
    there = {row[0] for row in rows}
    for seq, leaf in resume.open_events:
        found = connection.execute(
            "SELECT seq, hash, body FROM events WHERE seq = ?", (seq,)
        ).fetchone()
        if found is None or found[1].hex() != leaf or leaf_hash(found[2]) != found[1]:
            raise Refused(f"seq {seq} is not the event it was signed with")
        if seq not in there:
            rows.append(found)
    return sorted(rows)
