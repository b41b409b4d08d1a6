"""A ledger that an earlier program wrote stays evidence: it verifies, and the next start goes on.

``ledger-schema-2.tar.xz`` was written by the program of commit 50fff82 (schema 2): two runs of the
simulated market in auto mode, 67 fills. Its key is in it, and signs nothing else.
"""

from __future__ import annotations

import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from core.errors import Failed
from core.state import StateDir
from ledger import schema
from ledger.rebuild import rebuild_tables
from ledger.rows import load_history
from ledger.store import DB_NAME
from ledger.verify import verify
from ledger.writer import LedgerWriter
from tests.ledger import attacker, factory

ARCHIVE = Path(__file__).with_name("ledger-schema-2.tar.xz")
HEAD = "d53d6f7e4b30933996aa51bf824c7f1a16846e26fc456c7fdaf7571939562d1b"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    (tmp_path / "ledger.key").chmod(0o600)
    return tmp_path


def _version(state_dir: Path) -> int:
    with closing(sqlite3.connect(state_dir / DB_NAME)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def test_ledger_of_schema_2_verifies_and_stays_as_it_is(state: Path) -> None:
    before = (state / DB_NAME).read_bytes()
    report = verify(state)
    assert report.findings == ()
    assert (report.head.seq, report.head.hash.hex(), report.fills) == (415, HEAD, 67)
    assert (state / DB_NAME).read_bytes() == before


def test_next_start_goes_on_and_gives_the_tables_their_present_shape(state: Path) -> None:
    assert (_version(state), len(load_history(state).fills)) == (2, 67)
    factory.write(state, [factory.Dated(factory.run_started("run-later"), factory.START_NS)])
    assert _version(state) == schema.SCHEMA_VERSION
    report = verify(state)
    assert report.findings == ()
    assert (report.head.seq, report.fills, report.runs) == (416, 67, 3)


def test_older_tables_are_compared_as_well(state: Path) -> None:
    attacker.run_sql(state, "UPDATE fills SET price = '1' WHERE seq = (SELECT min(seq) FROM fills)")
    assert "table fills: seq" in verify(state).findings[0].text
    rebuild_tables(StateDir(state), 0)
    assert verify(state).findings == ()


def test_older_ledger_that_was_edited_is_refused_and_not_brought_up(state: Path) -> None:
    attacker.run_sql(state, "UPDATE events SET hash = zeroblob(32) WHERE seq = 200")
    assert [finding.seq for finding in verify(state).findings][:1] == [200]
    with pytest.raises(Failed, match="seq 200"):
        LedgerWriter(state)
    assert _version(state) == 2
