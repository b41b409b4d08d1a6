"""Tamper with a ledger in every way we can name, and say what finds it.

python bench/tamper.py classes            14 classes, by three attackers; prints the table
python bench/tamper.py bytes [N] [SEED]   N random single-byte edits over every file of a state
python bench/tamper.py binder [N] [SEED]  the same over the zip of a binder and its folder

Exit code 1 if a byte that carries meaning was changed unseen.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench.sqlite_map import region_of
from core.errors import TapewrightError
from core.model.event import Anchored
from core.state import StateDir
from ledger import (
    anchors,
    anchors_ots,
    anchors_rfc3161,
    canonical,
    keys,
    payloads,
    rotation,
    witness,
)
from ledger.binder import make_binder
from ledger.binder.verify import verify as verify_binder
from ledger.chain import GENESIS, Head, leaf_hash
from ledger.checkpoint import sign
from ledger.coverage import Stored, file_text, is_due
from ledger.envelope import seal
from ledger.export.kinds import Period
from ledger.issue import sign_head
from ledger.key_change import rotate
from ledger.projections import rebuild
from ledger.schema import PROJECTION_KEYS
from ledger.store import DB_NAME, NOTES_NAME
from ledger.tree import Frontier
from ledger.verify import verify
from ledger.writer import LedgerWriter
from tests.ledger import attacker, factory
from tests.ledger.authority import HAS_OPENSSL, Authority

POINTS = b'{"n":1,"p_up":"0.51"}\n{"n":2,"p_up":"0.49"}\n'
"""A payload: two decision points."""
OUTSIDE = "outside.txt"
"""The checkpoint over the first run, kept elsewhere."""


class Attacker(StrEnum):
    """How much is put right again after the change."""

    HAND = "by hand"
    """Nothing: SQLite's shell and an editor, triggers put back."""
    PROGRAM = "with this program"
    """Chain, witness and tables made anew with our own code; no key."""
    KEY = "with the stolen key"
    """And every checkpoint signed anew, in table and file."""


# --- the ledger under attack ----------------------------------------------------------------------


def make_evidence(root: Path) -> Path:
    """Write two runs with a payload, and the checkpoint over the first beside the state."""
    state = root / "state"
    points = factory.points_taken(POINTS)
    for number in (1, 2):
        events = factory.day(f"run-{number}")
        events.insert(3, factory.Dated(points, factory.START_NS))
        writer = LedgerWriter(state)
        writer.begin_run(f"run-{number}", factory.START_NS + number)
        for event, ts_ns, _ in events:
            if event is points:
                writer.keep(POINTS)
            if event is events[-1].event:
                writer.end_run(f"run-{number}", factory.START_NS + 10 * number)
            writer.append(event, ts_ns)
        writer.close()
        assert writer.failure is None, writer.failure
        if number == 1:
            shutil.copytree(state, root / "older")
            (root / OUTSIDE).write_bytes(attacker.rows(state)[-1].note.encode())
    return state


def make_witnessed(root: Path) -> Path:
    """Add to the evidence what has files of its own: a changed key, a time stamp, a proof."""
    state = make_evidence(root)
    rotate(StateDir(state), "a year has passed", factory.START_NS + 10**13)
    seq, note = attacker.rows(state)[-1]
    digest = hashlib.sha256(note.encode())
    stamp, tip = anchors_ots.begin(digest.digest(), b"n" * 16)
    tip.attested.add(anchors_ots.bitcoin(812_345))
    proof = anchors_ots.file_of(stamp)
    made = [Anchored("ots", seq, digest.hexdigest(), "https://calendar.example",
                     anchors.keep(state, proof, ".ots"), len(proof))]  # fmt: skip
    if HAS_OPENSSL and anchors_rfc3161.is_available():
        authority = Authority(root / "tsa")
        answer = authority.reply(anchors_rfc3161.query_for(note.encode()).data)
        roots = authority.ca.read_bytes()
        token = anchors_rfc3161.check(answer, digest.digest(), roots)
        made.append(
            Anchored("rfc3161", seq, digest.hexdigest(), "http://tsa.example",
                     anchors.keep(state, answer, ".tsr"), len(answer), at=token.at,
                     roots=anchors.keep(state, roots, ".pem"))
        )  # fmt: skip
    factory.write(state, [factory.Dated(each, factory.START_NS + 10**14) for each in made])
    sign_head(StateDir(state), factory.START_NS)
    return state


class Ledger:
    """The events of a state, to be changed and written back as an attacker would."""

    def __init__(self, state: Path) -> None:
        self.state = state
        with closing(sqlite3.connect(state / DB_NAME)) as connection:
            self.rows: list[tuple[bytes, bytes]] = connection.execute(
                "SELECT hash, body FROM events ORDER BY seq"
            ).fetchall()

    def body(self, seq: int) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.rows[seq - 1][1])
        return found

    def write_back(self, level: Attacker, bodies: list[bytes], hashes: list[bytes] | None) -> None:
        """Put these events in place of the stored ones, and put right what ``level`` can."""
        if level is not Attacker.HAND:
            bodies, hashes = _chained(bodies)
        assert hashes is not None
        rows = [(seq, *pair) for seq, pair in enumerate(zip(hashes, bodies, strict=True), 1)]
        attacker.run_sql(
            self.state,
            "DELETE FROM events",
            *(("INSERT INTO events VALUES(?, ?, ?)", row) for row in rows),
        )
        if level is Attacker.HAND:
            return
        with closing(sqlite3.connect(self.state / DB_NAME, isolation_level=None)) as connection:
            connection.execute("BEGIN")
            rebuild(connection)
            connection.execute("COMMIT")
        witness.write(self.state, Head(len(rows), hashes[-1]))
        if level is Attacker.KEY:
            self._sign_anew(rows)

    def _sign_anew(self, rows: list[tuple[int, bytes, bytes]]) -> None:
        key = keys.load(self.state)
        assert key is not None
        tree, notes = Frontier(), []
        for seq, leaf, body in rows:
            tree.push(leaf)
            kind = json.loads(body)["type"]
            if is_due(seq, is_boundary=kind in {"RUN_STARTED", "RUN_ENDED"}):
                notes.append(Stored(seq, sign(key, seq, tree.root())))
        attacker.put_rows(self.state, notes)

    def sign_after(self, seq: int, new: keys.SigningKey, old: keys.SigningKey | None) -> None:
        """Sign every checkpoint from ``seq`` on with ``new``; those before stay, or are of ``old``.

        Old ones fit as they are where nothing before ``seq`` was changed.
        """
        before = {row.seq: row for row in attacker.rows(self.state) if row.seq < seq}
        tree, notes = Frontier(), []
        for place, (leaf, body) in enumerate(self.rows, 1):
            tree.push(leaf)
            kind = json.loads(body)["type"]
            if not is_due(place, is_boundary=kind in {"RUN_STARTED", "RUN_ENDED", "KEY_ROTATED"}):
                continue
            if place >= seq:
                notes.append(Stored(place, sign(new, place, tree.root())))
            elif old is not None:
                notes.append(Stored(place, sign(old, place, tree.root())))
            else:
                notes.append(before[place])
        attacker.put_rows(self.state, notes)


def _chained(bodies: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Return the bodies with seq and prev put right, and their hashes."""
    prev, fresh, hashes = GENESIS, [], []
    for seq, body in enumerate(bodies, 1):
        tree = json.loads(body) | {"seq": seq, "prev": prev.hex()}
        fresh.append(canonical.encode(tree))
        prev = leaf_hash(fresh[-1])
        hashes.append(prev)
    return fresh, hashes


# --- the 14 classes -------------------------------------------------------------------------------

Act = Callable[[Path, Attacker, int], int | None]
"""Changes a state; takes the first seq of the run to be attacked, returns the first bad seq."""


def _edited(body: bytes, run: int) -> bytes:
    """Return the NO_TRADE of a run with another reason in it."""
    assert b"does not pay" in body, run
    return body.replace(b"does not pay", b"did not pay!")


def _bodies_changed(
    change: Callable[[list[bytes], list[bytes], int], int], *, rehashed: bool
) -> Act:
    """Make an act of a change of bodies and hashes; ``rehashed``: those changed by hand fit."""

    def act(state: Path, level: Attacker, run: int) -> int:
        ledger = Ledger(state)
        hashes = [row[0] for row in ledger.rows]
        bodies = [row[1] for row in ledger.rows]
        first = change(bodies, hashes, run)
        if rehashed:
            hashes = [leaf_hash(body) for body in bodies]
        ledger.write_back(level, bodies, hashes)
        return first

    return act


def _edit(bodies: list[bytes], _: list[bytes], run: int) -> int:
    bodies[run + 1] = _edited(bodies[run + 1], run)
    return run + 2


def _truncate(bodies: list[bytes], hashes: list[bytes], run: int) -> int:
    """Cut everything from the middle of the attacked run on."""
    del bodies[run + 9 :], hashes[run + 9 :]
    return run + 10


def _delete(bodies: list[bytes], hashes: list[bytes], run: int) -> int:
    del bodies[run + 1], hashes[run + 1]
    return run + 2


def _insert(bodies: list[bytes], hashes: list[bytes], run: int) -> int:
    forged = json.loads(bodies[run]) | {"seq": run + 2}
    bodies.insert(run + 1, canonical.encode(forged))
    hashes.insert(run + 1, leaf_hash(bodies[run + 1]))
    return run + 2


def _swap(bodies: list[bytes], hashes: list[bytes], run: int) -> int:
    for rows in (bodies, hashes):
        rows[run], rows[run + 1] = rows[run + 1], rows[run]
    return run + 1


def _duplicate(bodies: list[bytes], hashes: list[bytes], run: int) -> int:
    for rows in (bodies, hashes):
        rows.insert(run + 2, rows[run + 1])
    return run + 3


def _backdate(bodies: list[bytes], hashes: list[bytes], run: int) -> int:
    tree = json.loads(bodies[run + 1])
    bodies[run + 1] = canonical.encode(
        tree | {"ts": tree["ts"].replace("2026-01-01", "2025-12-31")}
    )
    hashes[run + 1] = leaf_hash(bodies[run + 1])
    return run + 2


def _rewrite_all(bodies: list[bytes], _: list[bytes], run: int) -> int:
    """Every event from the attacked run on is of another actor's making."""
    for place in range(run - 1, len(bodies)):
        tree = json.loads(bodies[place])
        tree["actor"] = tree["actor"] + "2"
        bodies[place] = canonical.encode(tree)
    return run


def _swap_projections(state: Path, level: Attacker, run: int) -> None:
    """Give the ledger the tables of an older state, or with fills of another price."""
    if level is Attacker.HAND:
        acts = [f"UPDATE fills SET price = '1' WHERE seq > {run}"]
    else:
        older = state.parent / "older" / DB_NAME
        acts = [f"ATTACH '{older}' AS older"]
        acts += [f"DELETE FROM {table}" for table in reversed(PROJECTION_KEYS)]
        acts += [f"INSERT INTO {table} SELECT * FROM older.{table}" for table in PROJECTION_KEYS]
    with closing(sqlite3.connect(state / DB_NAME, isolation_level=None)) as connection:
        for act in acts:
            connection.execute(act)


def _roll_back(state: Path, level: Attacker, _: int) -> int:
    """Put back the files of the end of run 1: the database, then what tells of it."""
    names = [DB_NAME]
    if level is not Attacker.HAND:
        names.append(witness.NAME)
    if level is Attacker.KEY:
        names.append(NOTES_NAME)
    for name in names:
        shutil.copy2(state.parent / "older" / name, state / name)
    return 22


def _alter_payload(state: Path, level: Attacker, run: int) -> int:
    digest = hashlib.sha256(POINTS).hexdigest()
    altered = POINTS.replace(b"0.51", b"0.61")
    if level is Attacker.HAND:
        path = payloads.path_of(state, digest)
        path.unlink()
        made = payloads.path_of(state, payloads.put(state, altered))
        made.replace(path)
        return 4  # the first event that names it, whichever run is meant
    fresh = payloads.put(state, altered)
    ledger = Ledger(state)
    bodies = [row[1] for row in ledger.rows]
    bodies[run + 2] = bodies[run + 2].replace(digest.encode(), fresh.encode())
    ledger.write_back(level, bodies, None)
    return run + 3


def _alter_checkpoint(state: Path, level: Attacker, run: int) -> int:
    """Give the checkpoint at the start of a run another root: in the row, the file, signed anew."""
    stored = attacker.rows(state)
    place = next(number for number, row in enumerate(stored) if row.seq == run)
    seq, note = stored[place]
    root = hashlib.sha256(b"another").digest()
    if level is Attacker.KEY:
        key = keys.load(state)
        assert key is not None
        stored[place] = Stored(seq, sign(key, seq, root))
    else:
        lines = note.split("\n")
        lines[2] = lines[2][::-1].replace("=", "A", 1)[:43] + "="
        stored[place] = Stored(seq, "\n".join(lines))
    held = (state / NOTES_NAME).read_bytes()
    attacker.put_rows(state, stored)
    if level is Attacker.HAND:
        (state / NOTES_NAME).write_bytes(held)
    return seq


def _forge_rotation(state: Path, level: Attacker, run: int) -> int:
    """Hand the ledger over to a key of the attacker's, in the middle of a run.

    Only who has the key can sign that in its name; the others sign with what they have. All but
    the first sign what follows with the new key, and put it in the place of the old one.
    """
    ledger, new, old = Ledger(state), keys.SigningKey.made(), keys.load(state)
    assert old is not None
    seq = run + 10
    prev = ledger.rows[seq - 2][0].hex()
    signer = old if level is Attacker.KEY else new
    event = rotation.rotate(seq, prev, signer, new, "mine now")
    event = msgspec.structs.replace(event, old_key=old.public.vkey)
    said = rotation.statement(seq, prev, old.public, new.public, event.reason)
    event = msgspec.structs.replace(
        event, old_signature=base64.b64encode(signer.sign(said)).decode()
    )
    tail = json.loads(ledger.rows[seq - 2][1])
    body = seal(
        event, seq=seq, ts_ns=factory.START_NS, run=tail["run"], cause=None, actor="system",
        prev=prev,
    )  # fmt: skip
    body = canonical.encode(json.loads(body) | {"ts": tail["ts"]})
    bodies = [row[1] for row in ledger.rows]
    bodies.insert(seq - 1, body)
    ledger.write_back(level, bodies, [leaf_hash(each) for each in bodies])
    if level is not Attacker.HAND:
        (state / keys.KEY_NAME).unlink()
        keys.write_secret(state / keys.KEY_NAME, new.pem())
        keys.write_public(state, new.public)
        Ledger(state).sign_after(seq, new, old if level is Attacker.KEY else None)
    return seq


CLASSES: dict[str, Act] = {
    "edit an event": _bodies_changed(_edit, rehashed=False),
    "edit an event and hash it again": _bodies_changed(_edit, rehashed=True),
    "truncate the tail": _bodies_changed(_truncate, rehashed=False),
    "delete an event": _bodies_changed(_delete, rehashed=False),
    "insert an event": _bodies_changed(_insert, rehashed=False),
    "swap two events": _bodies_changed(_swap, rehashed=False),
    "duplicate an event": _bodies_changed(_duplicate, rehashed=False),
    "backdate an event": _bodies_changed(_backdate, rehashed=False),
    "rewrite everything": _bodies_changed(_rewrite_all, rehashed=True),
    "swap the tables": _swap_projections,
    "roll back the whole database": _roll_back,
    "alter a payload": _alter_payload,
    "alter a checkpoint": _alter_checkpoint,
    "forge a change of key": _forge_rotation,
}


class Verdict(NamedTuple):
    """What one verification said of one attack."""

    found: bool
    first_seq: int | None
    text: str


def judge(state: Path, against: Path | None = None) -> Verdict:
    try:
        findings = verify(state, against).findings
    except TapewrightError as error:
        return Verdict(True, None, str(error))
    if not findings:
        return Verdict(False, None, "")
    return Verdict(True, findings[0].seq, findings[0].text)


class Trial(NamedTuple):
    """One class by one attacker: expected first bad seq, verdict alone and with a checkpoint."""

    expected: int | None
    alone: Verdict
    against: Verdict


RUNS = {"before": 1, "after": 22}
"""The first seq of a run that the outside checkpoint covers, and of one after it."""


def attack(origin: Path, name: str, level: Attacker, run: int) -> Trial:
    """Attack a copy of the evidence at ``origin`` and verify it."""
    with tempfile.TemporaryDirectory(dir=_fast_folder()) as folder:
        root = Path(folder) / "copy"
        shutil.copytree(origin, root)
        state = root / "state"
        first = CLASSES[name](state, level, run)
        return Trial(first, judge(state), judge(state, root / OUTSIDE))


def _fast_folder() -> str | None:
    """Memory where there is some: thousands of copies need no disk."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def table(origin: Path) -> list[str]:
    """Return the table of all classes, as it stands in docs/ledger.md."""
    lines = [
        "| class | by hand | with this program | key stolen | key stolen, checkpoint outside |"
        " the same, after that checkpoint |",
        "|---|---|---|---|---|---|",
    ]
    for name in CLASSES:
        hand = attack(origin, name, Attacker.HAND, RUNS["before"])
        program = attack(origin, name, Attacker.PROGRAM, RUNS["before"])
        stolen = attack(origin, name, Attacker.KEY, RUNS["before"])
        after = attack(origin, name, Attacker.KEY, RUNS["after"])
        cells = [_cell(hand.alone), _cell(program.alone), _cell(stolen.alone),
                 _cell(stolen.against), _cell(after.against)]  # fmt: skip
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _cell(verdict: Verdict) -> str:
    if not verdict.found:
        return "missed"
    return f"seq {verdict.first_seq}" if verdict.first_seq is not None else "found"


# --- single bytes ---------------------------------------------------------------------------------


class Edit(NamedTuple):
    """One byte changed: where, and what it meant."""

    kind: str
    path: Path
    offset: int
    flip: int


def make_live(root: Path) -> Path:
    """Copy the state of an engine that is writing: half of it stands in the WAL."""
    source = root / "live-source"
    writer = LedgerWriter(source)
    for event, ts_ns, _ in factory.day("run-1"):
        writer.append(event, ts_ns)
    writer.flush().result()
    head = Head(writer.head()[0], bytes.fromhex(writer.head()[1]))
    while witness.read(source) != head or not _is_published(source):
        time.sleep(0.001)  # both follow the acknowledgement
    state = root / "live"
    shutil.copytree(source, state, ignore=shutil.ignore_patterns("*-shm", "*.new"))
    writer.close()
    return state


def _is_published(state: Path) -> bool:
    held = state / NOTES_NAME
    return held.exists() and held.read_bytes() == file_text(attacker.rows(state))


def content(state: Path) -> bytes:
    """Return everything that can be read of a state, as one digest."""
    found = hashlib.sha256()
    uri = (state / DB_NAME).absolute().as_uri() + "?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        names = [row[0] for row in connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
        )]  # fmt: skip
        for pragma in ("application_id", "user_version", "encoding"):
            found.update(repr(connection.execute(f"PRAGMA {pragma}").fetchall()).encode())
        schema = connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name")
        found.update(repr(schema.fetchall()).encode())
        for name in names:
            rows = connection.execute(f"SELECT * FROM {name}")
            found.update("\n".join(sorted(map(repr, rows))).encode())
    key, public = keys.load(state), keys.read_public(state)
    found.update(repr((key and key.public, public, witness.read(state))).encode())
    return found.digest()


class Tally:
    """Counts of what happened to the edits."""

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()
        self.without_meaning: Counter[tuple[str, str]] = Counter()
        self.unseen: list[str] = []


class ByteEditor:
    """Changes one byte of one file of a state, verifies, and puts it back."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.before = {path: path.read_bytes() for path in _files(state)}
        self._content = content(state)

    def try_one(self, edit: Edit, tally: Tally) -> None:
        data = self.before[edit.path]
        changed = bytearray(data)
        changed[edit.offset] ^= edit.flip
        edit.path.write_bytes(changed)
        try:
            if judge(self.state).found:
                tally.found[edit.kind] += 1
            elif self._is_same():
                tally.without_meaning[edit.kind, self._region(edit, data)] += 1
            else:
                where = f"{edit.path.name} {edit.offset} ^ {edit.flip}: {self._region(edit, data)}"
                tally.unseen.append(where)
        finally:
            edit.path.write_bytes(data)
            for name in (f"{DB_NAME}-shm",):
                (self.state / name).unlink(missing_ok=True)

    def _region(self, edit: Edit, data: bytes) -> str:
        if edit.kind == "WAL":
            return region_of(data, edit.offset, is_wal=True)
        if edit.kind == "database":
            wal = self.before.get(edit.path.with_name(f"{DB_NAME}-wal"), b"")
            return region_of(data, edit.offset, wal=wal)
        return "spelling of the same value"

    def _is_same(self) -> bool:
        try:
            return content(self.state) == self._content
        except (sqlite3.Error, TapewrightError):
            return False


def _files(state: Path) -> list[Path]:
    return sorted(path for path in state.rglob("*") if path.is_file() and path.stat().st_size)


def _kind_of(path: Path) -> str:
    if path.name.startswith(DB_NAME):
        return "WAL" if path.name.endswith("-wal") else "database"
    if path.parent.parent.name == payloads.FOLDER:
        return "payload"
    if path.parent.name == anchors.FOLDER:
        return "anchor"
    return {witness.NAME: "witness", NOTES_NAME: "checkpoints.txt"}.get(path.name, path.name)


def byte_edits(count: int, seed: int) -> Tally:
    """Make ``count`` random single-byte edits over all files of a closed and a live ledger."""
    chance, tally = random.Random(seed), Tally()
    with tempfile.TemporaryDirectory(dir=_fast_folder()) as folder:
        root = Path(folder)
        editors = [ByteEditor(make_witnessed(root)), ByteEditor(make_live(root))]
        places = [(editor, path) for editor in editors for path in editor.before]
        # Half of the edits go to the large files by size, half to every file alike.
        sizes = [len(editor.before[path]) for editor, path in places]
        for number in range(count):
            (editor, path) = (
                chance.choices(places, sizes)[0] if number % 2 else chance.choice(places)
            )
            offset = chance.randrange(len(editor.before[path]))
            editor.try_one(Edit(_kind_of(path), path, offset, chance.randrange(1, 256)), tally)
    return tally


def binder_edits(count: int, seed: int) -> Tally:
    """Make random single-byte edits over a binder, half of them in its zip."""
    chance, tally = random.Random(seed), Tally()
    with tempfile.TemporaryDirectory(dir=_fast_folder()) as folder:
        state = make_witnessed(Path(folder))
        made = make_binder(
            state, Period(), Path(folder) / "out", find_model=lambda _: None, program="0",
            say=lambda _: None,
        )  # fmt: skip
        inside = sorted(path for path in made.folder.rglob("*") if path.is_file())
        sizes = [path.stat().st_size for path in inside]
        assert verify_binder(made.folder, _unsaid) == verify_binder(made.zip_file, _unsaid) == 0
        for number in range(count):
            path = chance.choices(inside, sizes)[0] if number % 2 else made.zip_file
            whole = made.folder if number % 2 else made.zip_file
            data = path.read_bytes()
            changed, offset = bytearray(data), chance.randrange(len(data))
            changed[offset] ^= chance.randrange(1, 256)
            path.write_bytes(changed)
            if verify_binder(whole, _unsaid):
                tally.found["file of a binder" if number % 2 else "zip of a binder"] += 1
            else:
                tally.unseen.append(f"{path.name} {offset}")
            path.write_bytes(data)
    return tally


def _unsaid(_: str) -> None:
    """The faults are counted, not told."""


def _tell(tally: Tally, count: int) -> int:
    print(
        f"{count} edits: {sum(tally.found.values())} found,"
        f" {sum(tally.without_meaning.values())} without meaning, {len(tally.unseen)} UNSEEN"
    )
    for kind, number in sorted(tally.found.items()):
        print(f"  found in {kind}: {number}")
    for (kind, region), number in sorted(tally.without_meaning.items()):
        print(f"  without meaning in {kind}: {number} in {region}")
    for text in tally.unseen[:50]:
        print(f"  UNSEEN {text}")
    return 1 if tally.unseen else 0


def main(words: list[str]) -> int:
    what = words[0] if words else "classes"
    if what in {"bytes", "binder"}:
        count, seed = ([int(word) for word in words[1:]] + [10_000, 1][len(words) - 1 :])[:2]
        edits = byte_edits if what == "bytes" else binder_edits
        return _tell(edits(count, seed), count)
    with tempfile.TemporaryDirectory(dir=_fast_folder()) as folder:
        make_evidence(Path(folder))
        for line in table(Path(folder)):
            print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
