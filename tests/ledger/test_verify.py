"""Verification finds every kind of tampering, and opening refuses what it must not build on."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from core.errors import Failed, UserError
from core.lots import FifoBook
from core.model.event import KillTripped
from core.model.order import Side
from ledger import canonical, event_pass, payloads
from ledger.chain import GENESIS, leaf_hash
from ledger.envelope import unseal
from ledger.store import DB_NAME
from ledger.verify import verify
from ledger.writer import LedgerWriter
from tests.ledger import factory

Tamper = Callable[[sqlite3.Connection], None]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    factory.write_day(tmp_path)
    return tmp_path


def _tamper(state_dir: Path, *acts: Tamper | str) -> None:
    """Change a closed ledger as somebody with SQLite and no respect for triggers would.

    The triggers are put back, so that only the data shows what was done.
    """
    with closing(sqlite3.connect(state_dir / DB_NAME, isolation_level=None)) as connection:
        triggers = connection.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'"
        ).fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        for act in acts:
            connection.execute(act) if isinstance(act, str) else act(connection)
        for _, sql in triggers:
            connection.execute(sql)


def _body(connection: sqlite3.Connection, seq: int) -> bytes:
    body: bytes = connection.execute("SELECT body FROM events WHERE seq = ?", (seq,)).fetchone()[0]
    return body


def _edited(body: bytes) -> bytes:
    """Return the body with another price in it, still canonical and of the same schema."""
    assert b"100.02" in body
    return body.replace(b"100.02", b"100.01")


def _edit(connection: sqlite3.Connection) -> None:
    body = _edited(_body(connection, 9))
    connection.execute("UPDATE events SET body = ? WHERE seq = 9", (body,))


def _edit_and_rehash(connection: sqlite3.Connection) -> None:
    body = _edited(_body(connection, 9))
    connection.execute(
        "UPDATE events SET body = ?, hash = ? WHERE seq = 9", (body, leaf_hash(body))
    )


def _rechain(connection: sqlite3.Connection, first: int = 1) -> None:
    """Make the chain whole again from ``first`` on, as the writer's own code could."""
    row = connection.execute("SELECT hash FROM events WHERE seq = ?", (first - 1,)).fetchone()
    prev = row[0] if row else GENESIS
    rows = connection.execute(
        "SELECT seq, body FROM events WHERE seq >= ? ORDER BY seq", (first,)
    ).fetchall()
    for seq, body in rows:
        fresh = canonical.encode(json.loads(body) | {"prev": prev.hex(), "seq": seq})
        prev = leaf_hash(fresh)
        connection.execute("UPDATE events SET body = ?, hash = ? WHERE seq = ?", (fresh, prev, seq))
        connection.execute("UPDATE projected SET seq = ?, hash = ?", (seq, prev))


def _edit_and_rechain(connection: sqlite3.Connection) -> None:
    _edit(connection)
    _rechain(connection, 9)


def _delete_and_renumber(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM events WHERE seq = 3")
    connection.execute("UPDATE events SET seq = -(seq - 1) WHERE seq > 3")
    connection.execute("UPDATE events SET seq = -seq WHERE seq < 0")
    _rechain(connection, 3)


def _insert_and_renumber(connection: sqlite3.Connection) -> None:
    body = _body(connection, 3)
    connection.execute("UPDATE events SET seq = -(seq + 1) WHERE seq > 3")
    connection.execute("UPDATE events SET seq = -seq WHERE seq < 0")
    connection.execute("INSERT INTO events VALUES(4, ?, ?)", (leaf_hash(body), body))
    _rechain(connection, 4)


def _swap(connection: sqlite3.Connection) -> None:
    for old, new in ((5, -6), (6, -5), (-5, 5), (-6, 6)):
        connection.execute("UPDATE events SET seq = ? WHERE seq = ?", (new, old))


def _append_forged(connection: sqlite3.Connection) -> None:
    seq, prev = connection.execute("SELECT max(seq), hash FROM events").fetchone()
    forged = json.loads(_body(connection, 2)) | {"seq": seq + 1, "prev": prev.hex()}
    body = canonical.encode(forged | {"payload": forged["payload"] | {"extra": "x"}})
    connection.execute("INSERT INTO events VALUES(?, ?, ?)", (seq + 1, leaf_hash(body), body))


def _spell_otherwise(connection: sqlite3.Connection) -> None:
    """The same value in other bytes, with the hash of those: only the form is wrong."""
    body = json.dumps(json.loads(_body(connection, 20))).encode()
    connection.execute(
        "UPDATE events SET body = ?, hash = ? WHERE seq = 20", (body, leaf_hash(body))
    )


def _claim(**fields: object) -> Tamper:
    """Give the last event other fields and the hash of those: nothing after it can tell."""

    def act(connection: sqlite3.Connection) -> None:
        body = canonical.encode(json.loads(_body(connection, 20)) | fields)
        connection.execute(
            "UPDATE events SET body = ?, hash = ? WHERE seq = 20", (body, leaf_hash(body))
        )

    return act


EVENT_TAMPERING: dict[str, tuple[tuple[Tamper | str, ...], str]] = {
    "body edited": ((_edit,), "seq 9: the hash is not that of the body"),
    "hash edited": (
        ("UPDATE events SET hash = zeroblob(32) WHERE seq = 9",),
        "seq 9: the hash is not that of the body",
    ),
    "one event edited and hashed again": ((_edit_and_rehash,), "seq 9: price says 100.01"),
    "event deleted": (("DELETE FROM events WHERE seq = 6",), "seq 6: the event is missing"),
    "first event deleted": (("DELETE FROM events WHERE seq = 1",), "seq 1: the event is missing"),
    "event deleted, the rest renumbered and hashed again": ((_delete_and_renumber,), "seq 20"),
    "event inserted, the rest renumbered and hashed again": ((_insert_and_renumber,), "seq 20"),
    "events swapped": ((_swap,), "seq 5: prev does not name the hash of seq 4"),
    "edited and the whole rest hashed again": ((_edit_and_rechain,), "seq 9: price says 100.01"),
    "tail cut": (
        ("DELETE FROM events WHERE seq > 17",),
        "seq 18: the events up to seq 20 are lost: ledger.head remembers them",
    ),
    "everything deleted": (("DELETE FROM events",), "seq 1: the events up to seq 20 are lost"),
    "event of an unknown schema added": ((_append_forged,), "seq 21: a field of FEED_CHANGED"),
    "last event spelled otherwise": ((_spell_otherwise,), "seq 20"),
    "last event claims another seq": ((_claim(seq=99),), "seq 20: the body says it is seq 99"),
    "last event moved to another run": ((_claim(run="run-2"),), "seq 20: run is 'run-2'"),
    "body that is text": (("UPDATE events SET body = x'7b7d' WHERE seq = 4",), "seq 4"),
    "empty body": (("UPDATE events SET body = x'' WHERE seq = 4",), "seq 4"),
}


@pytest.mark.parametrize("name", EVENT_TAMPERING)
def test_tampering_with_events_is_found(state: Path, name: str) -> None:
    acts, what = EVENT_TAMPERING[name]
    _tamper(state, *acts)
    texts = [finding.text for finding in verify(state).findings]
    assert any(what in text for text in texts), texts
    assert texts[0].startswith("seq ")


@pytest.mark.parametrize(
    "name", sorted(EVENT_TAMPERING.keys() - {"event of an unknown schema added"})
)
def test_tampered_ledger_is_not_opened_for_trading(state: Path, name: str) -> None:
    _tamper(state, *EVENT_TAMPERING[name][0])
    with pytest.raises(Failed, match="ledger refused: seq"):
        LedgerWriter(state)


def test_rewritten_history_is_found_by_witness_and_checkpoint(state: Path) -> None:
    """A rewrite that is right in itself: another reason for the same kill, all hashed again."""

    def rewrite(connection: sqlite3.Connection) -> None:
        body = _body(connection, 2).replace(b"first book", b"other book")
        connection.execute("UPDATE events SET body = ? WHERE seq = 2", (body,))
        _rechain(connection, 2)

    _tamper(state, rewrite)
    assert [finding.text for finding in verify(state).findings] == [
        "seq 20: this is not the event that ledger.head remembers",
        "seq 20: history was rewritten: its checkpoint signs other events, the first of them in "
        "seq 2 to 20",
    ]
    with pytest.raises(Failed, match="ledger refused: seq 20: this is not the event"):
        LedgerWriter(state)


@pytest.mark.parametrize(
    ("act", "what"),
    [
        ("UPDATE fills SET realized_pnl = '99' WHERE seq = 18", "seq 18: realized_pnl is '99'"),
        ("UPDATE fills SET rationale = 'x' WHERE seq = 9", "seq 9: rationale is 'x'"),
        ("UPDATE orders SET status = 'CANCELED' WHERE seq = 7", "table orders: seq 7: status"),
        ("UPDATE decisions SET verdict = 'rejected' WHERE seq = 4", "table decisions: seq 4"),
        ("UPDATE lots SET quantity = '5' WHERE open_seq = 9", "table lots: open_seq 9: quantity"),
        ("DELETE FROM decisions WHERE seq = 13", "table decisions: lacks a row: seq 13"),
        ("DELETE FROM trail WHERE seq = 13", "table trail"),
        (
            "INSERT INTO orders SELECT 99, ts, run, venue, instrument, 'o-forged', decision_id, "
            "side, quantity, limit_price, tif, reduces, status, filled, reason, updated_seq, "
            "updated_ts FROM orders WHERE seq = 7",
            "table orders: has a row too many: seq 99",
        ),
        ("DROP TRIGGER events_never_go", "schema: events_never_go is missing"),
        ("DROP TABLE run_clock", "schema: run_clock is missing"),
        ("CREATE VIEW fills_view AS SELECT 1", "schema: fills_view is not as"),
    ],
)
def test_tampering_with_tables_is_found(state: Path, act: str, what: str) -> None:
    with closing(sqlite3.connect(state / DB_NAME)) as connection:
        connection.execute(act)
        connection.commit()
    texts = [finding.text for finding in verify(state).findings]
    assert any(what in text for text in texts), texts


def test_open_lots_must_be_what_the_fills_leave(tmp_path: Path) -> None:
    book = FifoBook(factory.INSTRUMENT)
    bought = factory.filled(book, "f-1", "o-1", "d-1", Side.BUY, 10_000, 5)
    factory.write(
        tmp_path,
        [factory.Dated(factory.run_started(), 0), factory.Dated(bought, 0)],
    )
    assert verify(tmp_path).findings == ()
    with closing(sqlite3.connect(tmp_path / DB_NAME)) as connection:
        connection.execute("UPDATE lots SET quantity = '0.006'")
        connection.commit()
    texts = [finding.text for finding in verify(tmp_path).findings]
    assert "SIM-USD on sim: fills add up to 0.005, open lots to 0.006" in texts


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("price", "100.03"),
        ("quantity", "4.001"),
        ("notional", "400.09"),
        ("realized_pnl", "0.01"),
        ("position_lots", 4001),
    ],
)
def test_fill_that_contradicts_itself_is_found(tmp_path: Path, field: str, value: object) -> None:
    events = factory.day()
    wrong = msgspec.structs.replace(events[8].event, **{field: value})
    events[8] = events[8]._replace(event=wrong)
    factory.write(tmp_path, events)
    findings = verify(tmp_path).findings
    assert [finding.seq for finding in findings if finding.seq] == [9]
    assert findings[0].what.startswith(f"{field} says {value}, the fills so far make it")


def test_sound_ledger_gives_one_line(state: Path) -> None:
    report = verify(state)
    assert report.findings == ()
    assert report.ok_text == (
        f"ok seq 20 hash {report.head.hash.hex()} runs 1 fills 3: "
        "form, chain, witness, tables and sums hold"
    )


def test_empty_ledger_is_sound(tmp_path: Path) -> None:
    LedgerWriter(tmp_path).close()
    assert verify(tmp_path).ok_text.startswith("ok seq 0 hash 000")
    assert verify(tmp_path).findings == ()


def test_verify_changes_nothing(state: Path) -> None:
    before = {path.name: path.read_bytes() for path in state.iterdir()}
    verify(state)
    after = {path.name: path.read_bytes() for path in state.iterdir()}
    assert {name: after.get(name) for name in before} == before
    assert not any(after.keys() - before.keys() - {"ledger.db-wal", "ledger.db-shm"})


def test_verify_works_while_an_engine_writes(state: Path) -> None:
    ledger = LedgerWriter(state)
    kill = KillTripped("all", "human:trader", "F12")
    for _ in range(5):
        ledger.append(kill, factory.START_NS)
        ledger.flush().result(10)
        assert verify(state).findings == ()
    assert verify(state).head.seq == 25
    ledger.close()


def test_missing_ledger_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no ledger in"):
        verify(tmp_path)


def test_file_sqlite_cannot_read_is_a_failure(state: Path) -> None:
    (state / DB_NAME).write_bytes(b"x" * 8192)
    with pytest.raises(Failed, match="cannot be read"):
        verify(state)


def test_damaged_page_is_a_finding_or_a_failure_never_ok(state: Path) -> None:
    data = bytearray((state / DB_NAME).read_bytes())
    for page in range(1, len(data) // 4096):
        damaged = data.copy()
        damaged[page * 4096 : page * 4096 + 4096] = bytes(4096)
        (state / DB_NAME).write_bytes(damaged)
        with suppress(Failed):
            assert verify(state).findings, f"page {page + 1}"


# --- every byte -----------------------------------------------------------------------------------


def test_every_flipped_byte_of_every_body_is_found(tmp_path: Path) -> None:
    """In memory, against the same checks: hash first, then the form and schema behind it."""
    events = factory.day()[:4]
    factory.write(tmp_path, events)
    with closing(sqlite3.connect(tmp_path / DB_NAME)) as connection:
        rows = connection.execute("SELECT hash, body FROM events").fetchall()
    count = 0
    for stored_hash, body in rows:
        unseal(body)
        for place in range(len(body)):
            flipped = bytearray(body)
            flipped[place] ^= 1 << (place % 8)
            assert leaf_hash(bytes(flipped)) != stored_hash
            count += 1
    assert count > 2500


@pytest.mark.slow
def test_every_flipped_byte_on_disk_is_found_by_verify(tmp_path: Path) -> None:
    factory.write(tmp_path, factory.day()[:3])
    path = tmp_path / DB_NAME
    data = path.read_bytes()
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT seq, body FROM events").fetchall()
    for seq, body in rows:
        start = data.index(body)
        for place in range(len(body)):
            damaged = bytearray(data)
            damaged[start + place] ^= 1 << (place % 8)
            path.write_bytes(damaged)
            findings = verify(tmp_path).findings
            assert findings, (seq, place)
            assert findings[0].seq == seq


def test_total_of_realized_is_the_engines_to_the_last_digit(state: Path) -> None:
    book = FifoBook(factory.INSTRUMENT)
    factory.trade(book, "x", Side.BUY, 20_003, ((10_002, 4_000), (10_003, 6_000)))
    factory.trade(book, "y", Side.SELL, 20_021, ((10_009, 10_000),))
    with closing(sqlite3.connect(state / DB_NAME)) as connection:
        stored = [Decimal(row[0]) for row in connection.execute("SELECT realized_pnl FROM fills")]
    assert sum(stored) == book.realized == Decimal("0.6199884")


# --- a long ledger, checked by two processes ------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("acts", [(), (_edit,), (_delete_and_renumber,), ("DELETE FROM fills",)])
def test_two_processes_find_what_one_finds(
    state: Path, monkeypatch: pytest.MonkeyPatch, acts: tuple[Tamper | str, ...]
) -> None:
    _tamper(state, *acts)
    alone = verify(state)
    monkeypatch.setattr(event_pass, "APART_EVENTS", 1)
    assert verify(state) == alone
    assert bool(alone.findings) == bool(acts)


def _die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_second_process_that_dies_is_a_failure_never_ok(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_pass, "APART_EVENTS", 1)
    monkeypatch.setattr(event_pass, "_check_apart", _die)
    with pytest.raises(Failed, match="second process of the verification died"):
        verify(state)


# --- payloads -------------------------------------------------------------------------------------


def test_altered_or_missing_payload_is_told_at_the_event_that_names_it(tmp_path: Path) -> None:
    points = factory.points_taken(b"one\n")
    writer = LedgerWriter(tmp_path)
    writer.append(factory.run_started(), 0)
    writer.keep(b"one\n")
    writer.append(points, 0)
    writer.close()
    assert verify(tmp_path).findings == ()
    path = payloads.path_of(tmp_path, points.digest)
    path.write_bytes(b"x")
    assert verify(tmp_path).findings[0].text.startswith("seq 2: payload")
    path.unlink()
    assert "is missing" in verify(tmp_path).findings[0].text
