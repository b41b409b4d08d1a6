"""Opening: the witness notices what SQLite does not, and ``verify`` says the same."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from core.errors import Failed
from core.model.event import KillTripped
from ledger import witness
from ledger.chain import GENESIS, Head
from ledger.recovery import REMEDY
from ledger.store import DB_NAME
from ledger.verify import verify
from ledger.writer import LedgerWriter
from tests.ledger import factory


@pytest.fixture
def state(tmp_path: Path) -> Path:
    factory.write_day(tmp_path)
    return tmp_path


def _head(state_dir: Path) -> Head:
    found = witness.read(state_dir)
    assert found is not None
    return found


def _refused(state_dir: Path) -> str:
    """Return why opening refuses, and check that verify says the same."""
    with pytest.raises(Failed) as refusal:
        LedgerWriter(state_dir)
    text = str(refusal.value).removeprefix("ledger refused: ").removesuffix(f" ({REMEDY})")
    assert text in [finding.text for finding in verify(state_dir).findings]
    return text


def test_edited_witness_is_found(state: Path) -> None:
    head = _head(state)
    witness.write(state, Head(head.seq, GENESIS))
    assert "seq 20: this is not the event" in _refused(state)
    witness.write(state, Head(head.seq + 1, head.hash))
    assert "seq 21: the events up to seq 21 are lost" in _refused(state)
    witness.write(state, Head(0, head.hash))
    assert "seq 0: this is not the event" in _refused(state)


@pytest.mark.parametrize(
    "text", ["", "{}", "null", '{"seq":1,"hash":"zz"}', '{"seq":-1,"hash":""}']
)
def test_unreadable_witness_is_found(state: Path, text: str) -> None:
    (state / witness.NAME).write_text(text, encoding="utf-8")
    assert "witness" in _refused(state)


def test_missing_witness_is_refused_with_the_remedy(state: Path) -> None:
    head = _head(state)
    (state / witness.NAME).unlink()
    text = _refused(state)
    assert f'write {{"seq":20,"hash":"{head.hash.hex()}"}} into it' in text
    witness.write(state, head)
    LedgerWriter(state).close()


def test_older_copy_put_back_is_refused(state: Path, tmp_path: Path) -> None:
    old = (state / DB_NAME).read_bytes()
    factory.write_day(state, "run-2")
    (state / DB_NAME).write_bytes(old)
    assert "seq 21: the events up to seq 40 are lost" in _refused(state)


def test_lost_database_is_not_begun_anew(state: Path) -> None:
    (state / DB_NAME).unlink()
    with pytest.raises(Failed, match=r"is missing, but ledger\.head remembers seq 20"):
        LedgerWriter(state)
    assert not (state / DB_NAME).exists()


@pytest.mark.parametrize("damage", ["missing", "cut", "flipped"])
def test_damaged_wal_is_noticed_though_sqlite_says_nothing(tmp_path: Path, damage: str) -> None:
    live = tmp_path / "live"
    ledger = LedgerWriter(live)
    for event, ts_ns, cause in factory.day():
        ledger.append(event, ts_ns, cause)
        ledger.flush().result(10)
    ledger.begin_run("run-1", 0)
    ledger.flush().result(10)  # by now the group before has reached the witness
    copy = tmp_path / "copy"
    shutil.copytree(live, copy, ignore=shutil.ignore_patterns("*-shm"))
    ledger.close()
    wal = copy / "ledger.db-wal"
    data = bytearray(wal.read_bytes())
    assert len(data) > 100_000
    if damage == "missing":
        wal.unlink()
        with pytest.raises(Failed):  # not even the schema had left the WAL
            verify(copy)
        return
    if damage == "cut":
        wal.write_bytes(data[: len(data) * 2 // 3])
    else:
        data[len(data) * 2 // 3] ^= 1
        wal.write_bytes(data)
    with closing(sqlite3.connect(copy / DB_NAME)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert "the events up to seq 20 are lost" in _refused(copy)


def test_witness_that_lags_by_a_group_is_put_right(state: Path) -> None:
    head = _head(state)
    with closing(sqlite3.connect(state / DB_NAME)) as connection:
        before = connection.execute("SELECT hash FROM events WHERE seq = 18").fetchone()[0]
    witness.write(state, Head(18, before))
    assert verify(state).findings == ()
    LedgerWriter(state).close()
    assert _head(state) == head


def test_witness_that_lags_by_more_than_a_group_is_refused(tmp_path: Path) -> None:
    ledger = LedgerWriter(tmp_path)
    for _ in range(1025):
        ledger.append(KillTripped("all", "human:trader", "F12"), factory.START_NS)
    ledger.close()
    witness.write(tmp_path, witness.EMPTY)
    assert "more than one commit group" in _refused(tmp_path)
