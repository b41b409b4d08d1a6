"""The writer: order, durability, determinism, and failures that stay."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from core.errors import Failed, InvariantError
from core.model.decision import AgentView
from core.model.event import Decided, KillTripped, ModeChanged, RunEnded
from core.ports import EventSink
from ledger import commit, witness, writer
from ledger.chain import Head, leaf_hash
from ledger.reading import read_head
from ledger.schema import SCHEMA_VERSION
from ledger.store import DB_NAME, open_for_writing
from ledger.verify import verify
from ledger.writer import LedgerWriter
from tests.ledger import factory

KILL = KillTripped("all", "human:trader", "F12")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[LedgerWriter]:
    opened = LedgerWriter(tmp_path)
    yield opened
    opened.close()


def _rows(state_dir: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(state_dir / DB_NAME)) as connection:
        return connection.execute(sql).fetchall()


def test_writer_is_an_event_sink(ledger: LedgerWriter) -> None:
    sink: EventSink = ledger
    assert sink.append(KILL, factory.START_NS) == 1


def test_flushed_events_are_in_the_file_with_their_hashes(
    ledger: LedgerWriter, tmp_path: Path
) -> None:
    for number, (event, ts_ns, cause) in enumerate(factory.day(), 1):
        assert ledger.append(event, ts_ns, cause) == number
    ledger.flush().result(10)
    rows = _rows(tmp_path, "SELECT seq, hash, body FROM events ORDER BY seq")
    assert [row[0] for row in rows] == list(range(1, 21))
    assert all(row[1] == leaf_hash(row[2]) for row in rows)  # type: ignore[arg-type]
    assert ledger.head() == (20, rows[-1][1].hex())  # type: ignore[attr-defined]
    ledger.close()
    assert witness.read(tmp_path) == Head(20, rows[-1][1])  # type: ignore[arg-type]


def test_flush_of_nothing_is_done_at_once(ledger: LedgerWriter) -> None:
    assert ledger.flush().done()


def test_flush_waits_for_every_event_before_it(tmp_path: Path) -> None:
    open_for_writing(tmp_path).close()
    commits = threading.Semaphore(0)

    class _Counted(sqlite3.Connection):
        def execute(self, sql: str, *rest: object) -> sqlite3.Cursor:
            if sql == "COMMIT":
                commits.acquire(timeout=10)
            return super().execute(sql, *rest)  # type: ignore[arg-type]

    ledger = LedgerWriter(
        tmp_path,
        group_events=1,
        connect=lambda path: sqlite3.connect(
            path / DB_NAME, isolation_level=None, check_same_thread=False, factory=_Counted
        ),
    )
    futures = []
    for _ in range(3):
        ledger.append(KILL, factory.START_NS)
        futures.append(ledger.flush())
    for number, future in enumerate(futures):
        assert not any(later.done() for later in futures[number:])
        commits.release()
        future.result(10)
    ledger.close()
    assert read_head(tmp_path).seq == 3


def test_connection_is_set_up_to_lose_nothing(tmp_path: Path) -> None:
    wanted = {
        "journal_mode": "wal",
        "synchronous": 2,  # FULL
        "wal_autocheckpoint": 0,
        "foreign_keys": 1,
        "trusted_schema": 0,
        "cell_size_check": 1,
    }
    for _ in ("new", "opened again"):
        with closing(open_for_writing(tmp_path)) as connection:
            found = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in wanted}
        assert found == wanted


def test_witness_is_synced_before_it_takes_its_place_and_its_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen_at_sync: list[Head | None] = []
    sync = os.fsync

    def look(file: int) -> None:
        seen_at_sync.append(witness.read(tmp_path))
        sync(file)

    head = Head(7, b"\x01" * 32)
    witness.write(tmp_path, witness.EMPTY)
    monkeypatch.setattr(witness.os, "fsync", look)
    witness.write(tmp_path, head)
    assert seen_at_sync == [witness.EMPTY, head]
    witness.write(tmp_path, head, is_lasting=False)
    assert len(seen_at_sync) == 3


def test_events_reach_the_disk_without_a_flush(tmp_path: Path) -> None:
    ledger = LedgerWriter(tmp_path)
    ledger.append(KILL, factory.START_NS)
    ledger.close()
    assert read_head(tmp_path).seq == 1


def test_same_events_give_the_same_hashes_whatever_the_groups(tmp_path: Path) -> None:
    heads = set()
    for name, group in (("a", 1), ("b", 64), ("c", 1024)):
        ledger = LedgerWriter(tmp_path / name, group_events=group)
        ledger.begin_run("run-1", 1_000 + group)
        for event, ts_ns, cause in factory.day():
            ledger.append(event, ts_ns, cause)
        ledger.end_run("run-1", 2_000 + group)
        ledger.close()
        heads.add(read_head(tmp_path / name))
    assert len(heads) == 1


def test_reopened_ledger_goes_on_where_it_stood(tmp_path: Path) -> None:
    head = factory.write_day(tmp_path)
    ledger = LedgerWriter(tmp_path)
    assert ledger.head() == head
    assert ledger.append(KILL, factory.START_NS) == 21
    ledger.close()
    assert verify(tmp_path).findings == ()


def test_run_and_venue_of_the_last_run_stay_in_force_after_a_restart(tmp_path: Path) -> None:
    book = factory.FifoBook(factory.INSTRUMENT)
    factory.write(tmp_path, [factory.Dated(factory.run_started(), factory.START_NS)])
    bought = factory.filled(book, "f-1", "o-1", "d-1", factory.Side.BUY, 10_000, 5)
    factory.write(tmp_path, [factory.Dated(bought, factory.START_NS)])
    sold = factory.filled(book, "f-2", "o-1", "d-1", factory.Side.SELL, 10_001, 5)
    factory.write(tmp_path, [factory.Dated(sold, factory.START_NS)])
    assert _rows(tmp_path, "SELECT run, venue, position FROM fills") == [
        ("run-1", "sim", "0.005"),
        ("run-1", "sim", "0"),
    ]
    assert verify(tmp_path).findings == ()


def test_run_clock_is_kept_outside_the_chain(tmp_path: Path) -> None:
    ledger = LedgerWriter(tmp_path)
    ledger.begin_run("run-1", 0)
    ledger.begin_run("run-2", 0)
    ledger.begin_run("run-2", 1)  # it died before its first event and was begun again
    ledger.end_run("run-1", 1_000_000_000)
    ledger.flush().result(10)
    ledger.close()
    assert read_head(tmp_path).seq == 0
    assert _rows(tmp_path, "SELECT * FROM run_clock ORDER BY run_id") == [
        ("run-1", "1970-01-01T00:00:00.000000000Z", "1970-01-01T00:00:01.000000000Z"),
        ("run-2", "1970-01-01T00:00:00.000000001Z", None),
    ]


def test_event_without_canonical_form_is_refused_and_leaves_the_chain_whole(
    ledger: LedgerWriter, tmp_path: Path
) -> None:
    ledger.append(KILL, factory.START_NS)
    head = ledger.head()
    with pytest.raises(InvariantError, match="canonical"):
        ledger.append(RunEnded("r", "x", {"bad": object()}), 0)  # type: ignore[dict-item]
    with pytest.raises(InvariantError, match="cause"):
        ledger.append(KILL, 0, cause=2)
    assert ledger.head() == head
    assert ledger.append(KILL, factory.START_NS) == 2
    ledger.flush().result(10)
    assert verify(tmp_path).findings == ()


def test_closed_ledger_takes_nothing(tmp_path: Path) -> None:
    ledger = LedgerWriter(tmp_path)
    ledger.close()
    ledger.close()
    with pytest.raises(InvariantError, match="closed"):
        ledger.append(KILL, 0)


def test_appends_from_several_threads_make_one_chain(tmp_path: Path) -> None:
    ledger = LedgerWriter(tmp_path)

    def produce() -> None:
        for _ in range(50):
            ledger.append(KILL, factory.START_NS)

    threads = [threading.Thread(target=produce) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger.close()
    report = verify(tmp_path)
    assert (report.head.seq, report.findings) == (200, ())


@pytest.mark.parametrize("group", [0, 1025])
def test_group_beyond_what_the_witness_may_lag_is_refused(tmp_path: Path, group: int) -> None:
    with pytest.raises(InvariantError, match="group"):
        LedgerWriter(tmp_path, group_events=group)


# --- failures -------------------------------------------------------------------------------------


def _small_disk(state_dir: Path) -> sqlite3.Connection:
    """Open a ledger whose database may not grow: SQLite itself says that the disk is full."""
    connection = open_for_writing(state_dir)
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    return connection


def _assert_failed_for_good(ledger: LedgerWriter, why: str) -> None:
    assert ledger.failure is not None
    assert why in ledger.failure
    with pytest.raises(InvariantError, match="ledger failed"):
        ledger.append(KILL, 0)
    with pytest.raises(InvariantError, match="ledger failed"):
        ledger.flush()
    with pytest.raises(InvariantError, match="ledger failed"):
        ledger.begin_run("r", 0)
    ledger.close()


def test_full_disk_fails_the_flush_and_every_call_after_it(tmp_path: Path) -> None:
    ledger = LedgerWriter(tmp_path, connect=_small_disk)
    large = KillTripped("all", "human:trader", "x" * 100_000)
    ledger.append(large, factory.START_NS)
    with pytest.raises(InvariantError, match="full"):
        ledger.flush().result(10)
    _assert_failed_for_good(ledger, "full")


def test_what_was_acknowledged_before_the_disk_was_full_is_there(tmp_path: Path) -> None:
    head = factory.write_day(tmp_path)
    ledger = LedgerWriter(tmp_path, connect=_small_disk)
    ledger.append(KillTripped("all", "human:trader", "x" * 200_000), factory.START_NS)
    with pytest.raises(InvariantError):
        ledger.flush().result(10)
    ledger.close()
    report = verify(tmp_path)
    assert (report.head.seq, report.head.hash.hex(), report.findings) == (*head, ())


class _FailingCommit(sqlite3.Connection):
    """A connection whose commits fail like a broken disk."""

    def execute(self, sql: str, *rest: object) -> sqlite3.Cursor:
        if sql == "COMMIT":
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(sql, *rest)  # type: ignore[arg-type]


def test_write_error_fails_waiting_futures(tmp_path: Path) -> None:
    open_for_writing(tmp_path).close()

    def connect(state_dir: Path) -> sqlite3.Connection:
        return sqlite3.connect(
            state_dir / DB_NAME,
            isolation_level=None,
            check_same_thread=False,
            factory=_FailingCommit,
        )

    ledger = LedgerWriter(tmp_path, connect=connect)
    ledger.append(KILL, factory.START_NS)
    future = ledger.flush()
    assert isinstance(future.exception(10), InvariantError)
    _assert_failed_for_good(ledger, "disk I/O error")
    assert read_head(tmp_path).seq == 0


def test_witness_that_cannot_be_written_fails_the_ledger(tmp_path: Path) -> None:
    ledger = LedgerWriter(tmp_path)
    (tmp_path / "ledger.head.new").mkdir()
    ledger.append(KILL, factory.START_NS)
    ledger.flush().result(10)  # the commit itself is durable
    ledger.close()
    _assert_failed_for_good(ledger, "IsADirectoryError")
    (tmp_path / "ledger.head.new").rmdir()
    assert LedgerWriter(tmp_path).head()[0] == 1  # committed, and the witness is put right


def test_event_the_tables_cannot_take_fails_the_ledger_and_is_not_stored(tmp_path: Path) -> None:
    factory.write_day(tmp_path)
    ledger = LedgerWriter(tmp_path)
    twice = factory.order("o-run-1-in", "d", factory.Side.BUY, 1)
    ledger.append(factory.OrderIntended(twice), factory.START_NS)
    assert isinstance(ledger.flush().exception(10), InvariantError)
    _assert_failed_for_good(ledger, "orders.client_order_id")
    assert verify(tmp_path).findings == ()


def test_full_queue_is_a_failure_but_what_was_accepted_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "QUEUE_EVENTS_MAX", 8)
    gate = threading.Event()

    class _Gated(sqlite3.Connection):
        def execute(self, sql: str, *rest: object) -> sqlite3.Cursor:
            if sql == "BEGIN IMMEDIATE":
                gate.wait(10)
            return super().execute(sql, *rest)  # type: ignore[arg-type]

    open_for_writing(tmp_path).close()
    ledger = LedgerWriter(
        tmp_path,
        connect=lambda path: sqlite3.connect(
            path / DB_NAME, isolation_level=None, check_same_thread=False, factory=_Gated
        ),
    )
    for _ in range(8):
        ledger.append(ModeChanged(factory.Mode.AUTO, "human:trader"), factory.START_NS)
    assert ledger.depth == 8
    with pytest.raises(InvariantError, match="queue was full at 8"):
        ledger.append(KILL, factory.START_NS)
    gate.set()
    _assert_failed_for_good(ledger, "queue was full")
    assert read_head(tmp_path).seq == 8


def test_second_writer_cannot_add_to_the_chain_of_the_first(tmp_path: Path) -> None:
    first, second = LedgerWriter(tmp_path), LedgerWriter(tmp_path)
    first.append(KILL, factory.START_NS)
    first.flush().result(10)
    second.append(KILL, factory.START_NS + 1)
    assert isinstance(second.flush().exception(10), InvariantError)
    _assert_failed_for_good(second, "next seq")
    first.close()
    assert verify(tmp_path).head.seq == 1


def test_long_burst_checkpoints_the_wal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit, "CHECKPOINT_COMMITS", 1)
    monkeypatch.setattr(commit, "CHECKPOINT_COMMITS_MAX", 2)
    ledger = LedgerWriter(tmp_path)
    for _ in range(20):
        ledger.append(KillTripped("all", "human:trader", "x" * 20_000), factory.START_NS)
        ledger.flush().result(10)
    # 400 kB went through a WAL that starts over after each checkpoint.
    assert (tmp_path / "ledger.db-wal").stat().st_size < 150_000
    ledger.close()
    assert not (tmp_path / "ledger.db-wal").exists()


def test_files_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    state = tmp_path / "new"
    LedgerWriter(state).close()
    assert state.stat().st_mode & 0o777 == 0o700
    for name in (DB_NAME, witness.NAME):
        assert (state / name).stat().st_mode & 0o777 == 0o600


def test_file_that_is_no_ledger_is_refused_and_left_alone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / DB_NAME)) as connection:
        connection.execute("CREATE TABLE notes(x)")
    before = (tmp_path / DB_NAME).read_bytes()
    with pytest.raises(Failed, match="not a Tapewright ledger"):
        LedgerWriter(tmp_path)
    assert (tmp_path / DB_NAME).read_bytes() == before


def test_ledger_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    factory.write_day(tmp_path)
    with closing(sqlite3.connect(tmp_path / DB_NAME)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(Failed, match=f"schema {SCHEMA_VERSION + 1}"):
        LedgerWriter(tmp_path)


def test_garbage_in_place_of_the_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / DB_NAME).write_bytes(b"not a database at all, " * 100)
    with pytest.raises(Failed, match="cannot be opened"):
        LedgerWriter(tmp_path)


def test_derived_floats_are_the_same_live_as_in_a_rebuild(tmp_path: Path) -> None:
    """A lean of cut probabilities is not the cut lean of whole ones; found in a live run."""
    agent = AgentView("ppo-sim", (0.12345678949, 0.5, 0.15849512609), 0.9)
    events = []
    for event, ts_ns, cause in factory.day():
        if isinstance(event, Decided):
            proposal = msgspec.structs.replace(event.proposal, agent=agent)
            event = msgspec.structs.replace(event, proposal=proposal)  # noqa: PLW2901 (the copy)
        events.append(factory.Dated(event, ts_ns, cause))
    factory.write(tmp_path, events)
    assert list(verify(tmp_path).findings) == []
