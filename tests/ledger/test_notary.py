"""Signing as the ledger grows: when, durably, beside the events and never inside them."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from core.errors import Failed, InvariantError, TryAgain, UserError
from core.model.event import KillTripped, RunEnded
from core.state import EngineLock, StateDir
from ledger import keys
from ledger.checkpoint import ADOPTED, open_note, parse_text, split_notes
from ledger.coverage import SIGN_EVERY, file_text
from ledger.issue import newest_checkpoint, sign_head, write_note
from ledger.keys import KEY_NAME, PUBLIC_NAME
from ledger.schema import SCHEMA_VERSION
from ledger.store import DB_NAME, NOTES_NAME
from ledger.tree import root_of
from ledger.verify import verify
from ledger.writer import LedgerWriter
from tests.ledger import attacker, factory

KILL = KillTripped("all", "human:trader", "F12")


def _hashes(state_dir: Path) -> list[bytes]:
    with closing(sqlite3.connect(state_dir / DB_NAME)) as connection:
        return [row[0] for row in connection.execute("SELECT hash FROM events ORDER BY seq")]


def _seqs(state_dir: Path) -> list[int]:
    return [row.seq for row in attacker.rows(state_dir)]


def _add(state_dir: Path, count: int) -> None:
    writer = LedgerWriter(state_dir)
    for _ in range(count):
        writer.append(KILL, factory.START_NS)
    writer.close()
    assert writer.failure is None


@pytest.fixture
def unsigned(tmp_path: Path) -> Path:
    """A ledger of schema 1, as the program wrote it before there were checkpoints."""
    factory.write_day(tmp_path)
    attacker.call_it_unsigned(tmp_path)
    for name in (KEY_NAME, PUBLIC_NAME, NOTES_NAME):
        (tmp_path / name).unlink()
    return tmp_path


# --- when -----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("group", [1, 64, 1024])
def test_run_ends_and_every_256th_event_are_signed_whatever_the_groups(
    tmp_path: Path, group: int
) -> None:
    writer = LedgerWriter(tmp_path, group_events=group)
    writer.append(factory.run_started(), factory.START_NS)
    for _ in range(600):
        writer.append(KILL, factory.START_NS)
    writer.append(RunEnded("run-1", "x", {}), factory.START_NS)
    writer.append(KILL, factory.START_NS)
    writer.close()
    assert _seqs(tmp_path) == [1, SIGN_EVERY, 2 * SIGN_EVERY, 602]
    assert verify(tmp_path).findings == ()


def test_checkpoint_is_the_root_over_the_events_up_to_it(tmp_path: Path) -> None:
    factory.write_day(tmp_path)
    public = keys.read_public(tmp_path)
    assert public is not None
    hashes = _hashes(tmp_path)
    for seq, note in attacker.rows(tmp_path):
        assert open_note(note, public).root == root_of(hashes[:seq])


def test_tree_goes_on_after_a_restart(tmp_path: Path) -> None:
    for number, seqs in ((1, [1, 20]), (2, [1, 20, 21, 40]), (3, [1, 20, 21, 40, 41, 60])):
        factory.write(tmp_path, factory.day(f"run-{number}"))
        assert _seqs(tmp_path) == seqs
    assert verify(tmp_path).findings == ()


def test_signing_leaves_the_head_as_it_is(tmp_path: Path) -> None:
    """Two keys, one of them asked for more checkpoints: the same events, the same hashes."""
    heads, names = set(), set()
    for name, asks in (("a", False), ("b", True)):
        writer = LedgerWriter(tmp_path / name)
        for event, ts_ns, cause in factory.day():
            writer.append(event, ts_ns, cause)
            if asks:
                writer.sign_head()
        writer.close()
        heads.add(writer.head())
        names.add(keys.read_public(tmp_path / name))
        assert verify(tmp_path / name).findings == ()
    assert len(heads) == 1
    assert len(names) == 2
    assert _seqs(tmp_path / "b") == list(range(1, 21))


def test_checkpoint_is_in_the_commit_of_its_event(tmp_path: Path) -> None:
    writer = LedgerWriter(tmp_path)
    writer.append(factory.run_started(), factory.START_NS)
    writer.flush().result(10)
    assert _seqs(tmp_path) == [1]
    writer.close()


def test_head_is_signed_once(tmp_path: Path) -> None:
    writer = LedgerWriter(tmp_path)
    writer.sign_head()  # nothing to sign yet
    writer.append(KILL, factory.START_NS)
    writer.sign_head()
    writer.sign_head()
    writer.flush().result(10)
    assert _seqs(tmp_path) == [1]
    writer.close()
    with pytest.raises(InvariantError, match="closed"):
        writer.sign_head()
    writer = LedgerWriter(tmp_path)
    writer.sign_head()
    writer.close()
    assert _seqs(tmp_path) == [1]


def test_triggers_refuse_to_change_or_skip(tmp_path: Path) -> None:
    factory.write_day(tmp_path)
    with closing(sqlite3.connect(tmp_path / DB_NAME)) as connection:
        for act in (
            "UPDATE checkpoints SET note = 'x'",
            "DELETE FROM checkpoints",
            "INSERT INTO checkpoints VALUES(19, 'x')",
            "INSERT INTO checkpoints VALUES(20, 'x')",
            "INSERT INTO checkpoints VALUES(21, 'x')",
        ):
            with pytest.raises(sqlite3.IntegrityError, match="checkpoints are"):
                connection.execute(act)


# --- checkpoints.txt ------------------------------------------------------------------------------


def test_file_holds_every_checkpoint_for_others_to_read(tmp_path: Path) -> None:
    factory.write_day(tmp_path)
    text = (tmp_path / NOTES_NAME).read_text(encoding="utf-8")
    assert split_notes(text) == [row.note for row in attacker.rows(tmp_path)]
    assert (tmp_path / NOTES_NAME).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("left", range(0, 460, 23))
def test_file_that_a_kill_cut_short_is_put_right(tmp_path: Path, left: int) -> None:
    factory.write_day(tmp_path)
    whole = (tmp_path / NOTES_NAME).read_bytes()
    (tmp_path / NOTES_NAME).write_bytes(whole[:left])
    assert verify(tmp_path).findings == ()
    LedgerWriter(tmp_path).close()
    assert (tmp_path / NOTES_NAME).read_bytes() == whole == file_text(attacker.rows(tmp_path))


def test_file_that_was_never_begun_is_put_right(tmp_path: Path) -> None:
    factory.write_day(tmp_path)
    (tmp_path / NOTES_NAME).unlink()
    LedgerWriter(tmp_path).close()
    assert (tmp_path / NOTES_NAME).read_bytes() == file_text(attacker.rows(tmp_path))


def test_file_that_cannot_be_written_fails_the_ledger(tmp_path: Path) -> None:
    writer = LedgerWriter(tmp_path)
    (tmp_path / NOTES_NAME).mkdir()
    writer.append(factory.run_started(), factory.START_NS)
    writer.close()
    assert writer.failure is not None
    assert "IsADirectoryError" in writer.failure
    with pytest.raises(Failed, match="cannot be read"):
        LedgerWriter(tmp_path)
    (tmp_path / NOTES_NAME).rmdir()
    LedgerWriter(tmp_path).close()
    assert verify(tmp_path).findings == ()


# --- the key of a ledger --------------------------------------------------------------------------


def test_new_ledger_gets_a_key_before_its_first_event(tmp_path: Path) -> None:
    writer = LedgerWriter(tmp_path)
    made = keys.load(tmp_path)
    assert made is not None
    assert keys.read_public(tmp_path) == made.public
    writer.close()
    assert verify(tmp_path).findings == ()
    assert verify(tmp_path).signed_text == "no checkpoint yet"


@pytest.mark.parametrize("gone", [{PUBLIC_NAME}, {KEY_NAME, PUBLIC_NAME}])
def test_first_start_cut_short_is_gone_on_with(tmp_path: Path, gone: set[str]) -> None:
    LedgerWriter(tmp_path).close()
    for name in gone:
        (tmp_path / name).unlink()
    LedgerWriter(tmp_path).close()
    assert verify(tmp_path).findings == ()


def test_database_begun_anew_under_an_old_key_is_refused(tmp_path: Path) -> None:
    """Database and witness removed, so that nothing but the checkpoints remembers."""
    factory.write_day(tmp_path)
    (tmp_path / DB_NAME).unlink()
    (tmp_path / "ledger.head").unlink()
    with pytest.raises(Failed, match=r"checkpoints\.txt remembers checkpoints after seq 0"):
        LedgerWriter(tmp_path)


def test_key_of_another_ledger_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        factory.write(tmp_path / name, factory.day())
    shutil.copy2(tmp_path / "a" / KEY_NAME, tmp_path / "b")
    with pytest.raises(Failed, match=r"ledger\.pub is of tapewright/.*one of them was replaced"):
        LedgerWriter(tmp_path / "b")
    assert any("one of them was replaced" in f.text for f in verify(tmp_path / "b").findings)


# --- ledgers older than checkpoints ---------------------------------------------------------------


def test_older_ledger_verifies_with_a_note_and_stays_as_it_is(unsigned: Path) -> None:
    before = (unsigned / DB_NAME).read_bytes()
    report = verify(unsigned)
    assert report.findings == ()
    assert report.signed_text.startswith("not signed: it is older than checkpoints")
    assert (unsigned / DB_NAME).read_bytes() == before
    assert not any((unsigned / name).exists() for name in (KEY_NAME, PUBLIC_NAME, NOTES_NAME))


def test_older_ledger_is_signed_as_a_whole_by_the_next_start(unsigned: Path) -> None:
    factory.write(unsigned, factory.day("run-2"))
    stored = attacker.rows(unsigned)
    assert [row.seq for row in stored] == [20, 21, 40]
    public = keys.read_public(unsigned)
    assert public is not None
    assert open_note(stored[0].note, public).extensions == (ADOPTED,)
    report = verify(unsigned)
    assert report.findings == ()
    assert report.signed_text.startswith(f"3 checkpoints of {public.name} hold up to seq 40")


def test_older_ledger_without_events_is_brought_up_to_date(tmp_path: Path) -> None:
    LedgerWriter(tmp_path).close()
    attacker.call_it_unsigned(tmp_path)
    for name in (KEY_NAME, PUBLIC_NAME):
        (tmp_path / name).unlink()
    factory.write(tmp_path, factory.day())
    assert _seqs(tmp_path) == [1, 20]
    with closing(sqlite3.connect(tmp_path / DB_NAME)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    assert verify(tmp_path).findings == ()


@pytest.mark.parametrize("name", [KEY_NAME, PUBLIC_NAME, NOTES_NAME])
def test_ledger_that_only_looks_older_is_refused(unsigned: Path, name: str) -> None:
    (unsigned / name).touch(mode=0o600)
    with pytest.raises(Failed, match=f"never signed, but {name} is there"):
        LedgerWriter(unsigned)
    assert verify(unsigned).findings


# --- on request -----------------------------------------------------------------------------------


def _sign(state_dir: Path, *, adopts: bool = True) -> None:
    sign_head(StateDir(state_dir), 0, adopts=adopts)


def test_unsigned_tail_is_signed_on_request(tmp_path: Path) -> None:
    factory.write_day(tmp_path)
    _add(tmp_path, 3)
    assert _seqs(tmp_path) == [1, 20]
    _sign(tmp_path)
    assert newest_checkpoint(tmp_path).seq == 23
    assert verify(tmp_path).findings == ()


def test_signed_head_needs_no_lock_and_no_key(tmp_path: Path) -> None:
    factory.write_day(tmp_path)
    (tmp_path / KEY_NAME).unlink()
    _sign(tmp_path)
    assert parse_text(newest_checkpoint(tmp_path).note.split("\n\n")[0] + "\n").size == 20
    assert not (tmp_path / "engine.lock").exists()


def test_running_engine_signs_for_itself(tmp_path: Path) -> None:
    factory.write_day(tmp_path)
    _add(tmp_path, 1)
    with (
        EngineLock(StateDir(tmp_path), venue="sim", command="run", started_ns=0),
        pytest.raises(TryAgain),
    ):
        _sign(tmp_path)
    assert newest_checkpoint(tmp_path).seq == 20


def test_ledger_without_events_has_nothing_to_sign(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no ledger"):
        _sign(tmp_path)
    LedgerWriter(tmp_path).close()
    _sign(tmp_path)
    with pytest.raises(UserError, match="no checkpoint in"):
        newest_checkpoint(tmp_path)


def test_older_ledger_is_signed_only_when_asked_to(unsigned: Path) -> None:
    _sign(unsigned, adopts=False)
    assert not (unsigned / KEY_NAME).exists()
    _sign(unsigned)
    assert _seqs(unsigned) == [20]


def test_ledger_not_in_order_is_not_signed(tmp_path: Path) -> None:
    factory.write_day(tmp_path)
    _add(tmp_path, 1)
    attacker.run_sql(tmp_path, "UPDATE events SET body = x'7b7d' WHERE seq = 4")
    with pytest.raises(Failed, match="ledger refused: seq 4"):
        _sign(tmp_path)
    assert _seqs(tmp_path) == [1, 20]


def test_disk_that_takes_no_more_is_a_failure_not_a_signature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    factory.write_day(tmp_path)
    _add(tmp_path, 1)

    class _Full(LedgerWriter):
        def _write(self, group: object) -> None:  # type: ignore[override]
            raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("ledger.issue.LedgerWriter", _Full)
    with pytest.raises(Failed, match=r"could not be signed: .*disk is full"):
        _sign(tmp_path)


@pytest.mark.parametrize("name", [DB_NAME, KEY_NAME, PUBLIC_NAME, NOTES_NAME, "ledger.head"])
def test_checkpoint_is_never_written_over_the_ledger(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="the ledger itself"):
        write_note(tmp_path, "note", tmp_path / name)


def test_checkpoint_is_written_as_a_whole(tmp_path: Path) -> None:
    write_note(tmp_path, "note\n", tmp_path / "kept.txt")
    assert (tmp_path / "kept.txt").read_text() == "note\n"
    with pytest.raises(UserError, match="cannot be written"):
        write_note(tmp_path, "note\n", tmp_path / "no" / "folder.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept.txt"]


# --- wall time ------------------------------------------------------------------------------------


def test_newest_events_are_signed_after_a_while(tmp_path: Path) -> None:
    factory.write_day(tmp_path)
    writer = LedgerWriter(tmp_path, sign_age_s=0.0)
    seq = writer.append(KillTripped("all", "human:trader", "x"), 0)
    writer.flush().result(10)
    writer.close()
    assert _seqs(tmp_path) == [1, 20, seq]
    assert verify(tmp_path).findings == ()


def test_checkpoints_sign_when_a_run_began_and_ended(tmp_path: Path) -> None:
    writer = LedgerWriter(tmp_path)
    events = factory.day()
    writer.begin_run("run-1", factory.START_NS)
    for event, ts_ns, _ in events[:-1]:
        writer.append(event, ts_ns)
    writer.end_run("run-1", factory.START_NS + 1)
    writer.append(events[-1].event, 0)
    writer.close()
    notes = [row.note for row in attacker.rows(tmp_path)]
    assert "\nstarted 2026-01-01T00:00:00.000000000Z run-1\n" in notes[0]
    assert "\nended 2026-01-01T00:00:00.000000001Z run-1\n" in notes[1]
    assert verify(tmp_path).findings == ()
    attacker.run_sql(tmp_path, "UPDATE run_clock SET ended_wall = '2026-01-02T00:00:00Z'")
    (finding,) = verify(tmp_path).findings
    assert finding.what.startswith("run_clock: run-1 ended says 2026-01-02T00:00:00Z, signed was")


def test_wall_times_that_a_kill_left_unsigned_are_signed_by_the_next_checkpoint(
    tmp_path: Path,
) -> None:
    factory.write_day(tmp_path)
    attacker.run_sql(
        tmp_path, "INSERT INTO run_clock VALUES('run-1', '2026-01-01T00:00:00Z', NULL)"
    )
    assert verify(tmp_path).findings == ()
    _add(tmp_path, 1)
    _sign(tmp_path)
    assert "\nstarted 2026-01-01T00:00:00Z run-1\n" in attacker.rows(tmp_path)[-1].note
    attacker.run_sql(tmp_path, "DELETE FROM run_clock")
    assert "signed was 2026" in verify(tmp_path).findings[0].what


def test_append_that_a_power_cut_tore_is_cut_off_where_a_life_did_not_end(tmp_path: Path) -> None:
    """In the copy of a running engine, as a power cut leaves it; a closed ledger is refused."""
    running, cut, closed = tmp_path / "running", tmp_path / "cut", tmp_path / "closed"
    running.mkdir()
    writer = LedgerWriter(running)
    for event, ts_ns, _ in factory.day():
        writer.append(event, ts_ns)
    writer.flush().result(10)
    writer.sign_head()
    writer.flush().result(10)
    shutil.copytree(running, cut, ignore=shutil.ignore_patterns("*-shm", "*.new"))
    writer.close()
    shutil.copytree(running, closed)
    for state in (cut, closed):
        held = (running / NOTES_NAME).read_bytes()
        (state / NOTES_NAME).write_bytes(held[:300] + bytes(len(held) - 300))
    with pytest.raises(Failed, match="does not hold its checkpoint as the ledger does"):
        LedgerWriter(closed)
    LedgerWriter(cut).close()
    assert verify(cut).findings == ()
    assert (cut / NOTES_NAME).read_bytes() == (running / NOTES_NAME).read_bytes()
