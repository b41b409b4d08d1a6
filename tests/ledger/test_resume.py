"""Starting from ``ledger.resume``: as good as walking everything, and never better than signed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import msgspec
import pytest

from core.errors import Failed
from core.lots import FifoBook
from core.model.order import Side
from core.state import StateDir
from ledger import commit, keys, recovery, resume, rows, witness, writer
from ledger.book_state import BookState, book_of, states_of
from ledger.coverage import stored_notes
from ledger.issue import sign_head
from ledger.projections import Projector
from ledger.recovery import recover
from ledger.store import DB_NAME, RESUME_NAME, open_for_writing
from ledger.verify import verify
from ledger.writer import LedgerWriter
from tests.ledger import attacker, factory

WAIT_S = 30


class _Quiet:
    """An audit that finds nothing."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir

    def check(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two whole days and one that was cut short with an order open; a start may be quick."""
    for module in (resume, commit):
        monkeypatch.setattr(module, "RESUME_EVENTS_MIN", 10)
    monkeypatch.setattr(writer, "Audit", _Quiet)
    for name in ("run-1", "run-2"):
        factory.write(tmp_path, factory.day(name))
    factory.write(tmp_path, factory.day("run-3")[:7])
    return tmp_path


def _walked_from(state_dir: Path) -> int:
    with closing(open_for_writing(state_dir)) as connection:
        return recover(connection, state_dir, Projector(connection)).walked_from


def _walk_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (recovery, resume):
        monkeypatch.setattr(module, "find_start", _refuse)


def _refuse(*_: object) -> None:
    raise resume.Refused("the test says so")


def test_short_ledger_has_no_resume(tmp_path: Path) -> None:
    factory.write_day(tmp_path)
    assert not (tmp_path / RESUME_NAME).exists()


def test_start_goes_on_from_the_end_that_was_in_order(state: Path) -> None:
    assert _walked_from(state) == 48


def test_quick_start_finds_what_a_walk_finds(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> tuple[object, ...]:
        with closing(open_for_writing(state)) as connection:
            projector = Projector(connection)
            got = recover(connection, state, projector)
            books = [
                (b.instrument, tuple(b.open_lots), b.position_lots, b.realized, b.fees, b.opened_ns)
                for b in projector.lots.books()
            ]
            return (
                got.head, got.run, got.coverage.tree.root(), got.coverage.tree.size,
                got.carried.count, got.carried.digest, projector.venue, books,
                rows.load_history(state),
            )  # fmt: skip

    quick = found()
    _walk_all(monkeypatch)
    assert found() == quick
    history = rows.load_history(state)
    assert list(history.open_orders) == ["o-run-3-in"]
    assert len(history.fills) == 6


def test_ledger_goes_on_after_a_quick_start(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    factory.write(state, factory.day("run-4"))
    report = verify(state)
    assert report.findings == ()
    assert report.head.seq == 67
    quick = _walked_from(state)
    _walk_all(monkeypatch)
    assert (_walked_from(state), quick) == (1, 68)


def test_checkpoint_that_is_signed_afterwards_leaves_the_start_quick(state: Path) -> None:
    made = resume.read(state, _public(state))
    assert made is not None
    with closing(open_for_writing(state)) as connection:
        newest = stored_notes(connection)[-1].seq
    assert newest < made.seq, "the end of this ledger was not signed, as the end of a kill is not"
    sign_head(StateDir(state), factory.START_NS)
    with closing(open_for_writing(state)) as connection:
        assert stored_notes(connection)[-1].seq == made.seq
    assert _walked_from(state) == made.seq + 1
    assert verify(state).findings == ()


def _public(state_dir: Path) -> keys.PublicKey:
    public = keys.read_public(state_dir)
    assert public is not None
    return public


def test_events_after_the_resume_are_walked(state: Path) -> None:
    held = (state / RESUME_NAME).read_bytes()
    factory.write(state, factory.day("run-4"))
    (state / RESUME_NAME).write_bytes(held)  # the older one, as a kill leaves it
    assert _walked_from(state) == 48
    attacker.run_sql(state, "UPDATE events SET hash = zeroblob(32) WHERE seq = 50")
    with pytest.raises(Failed, match="seq 50"):
        LedgerWriter(state)


def test_resume_that_is_gone_or_spoilt_means_a_walk(state: Path) -> None:
    path = state / RESUME_NAME
    held = path.read_bytes()
    for place in range(0, len(held), 7):
        damaged = bytearray(held)
        damaged[place] ^= 0x20
        path.write_bytes(damaged)
        assert _walked_from(state) == 1, place
    path.unlink()
    assert _walked_from(state) == 1


def test_resume_of_another_key_means_a_walk(state: Path, tmp_path: Path) -> None:
    public = keys.read_public(state)
    assert public is not None
    found = resume.read(state, public)
    assert found is not None
    other = tmp_path / "other"
    other.mkdir()
    resume.write(state, keys.create(other), msgspec.structs.replace(found, carried_count=1))
    assert _walked_from(state) == 1


@pytest.mark.parametrize(
    ("act", "why"),
    [
        (lambda path: path.unlink(), "it cannot be read (No such file or directory)"),
        (lambda path: path.write_bytes(b""), "it is not as the ledger's key signed it"),
        (lambda path: path.write_bytes(b"{}\n\n"), "it is not as the ledger's key signed it"),
        (lambda path: path.with_name(witness.NAME).unlink(), "there is no witness"),
    ],
)
def test_refused_resume_is_told_with_the_reason(
    state: Path, monkeypatch: pytest.MonkeyPatch, act: Callable[[Path], object], why: str
) -> None:
    monkeypatch.setattr(recovery, "RESUME_EVENTS_MIN", 10)
    act(state / RESUME_NAME)
    with closing(open_for_writing(state)) as connection, suppress(Failed):
        found = recover(connection, state, Projector(connection))
        assert found.resume_refused == why
        return
    assert why == "there is no witness"  # and so the ledger is refused for that


@pytest.mark.parametrize("is_quick", [True, False])
def test_history_gathered_on_the_way_is_what_the_ledger_says_when_read_again(
    state: Path, *, is_quick: bool
) -> None:
    LedgerWriter(state).close()
    if not is_quick:
        (state / RESUME_NAME).unlink()
    gathering = rows.Gathering()
    LedgerWriter(state, gathering=gathering).close()
    history = gathering.history()
    assert history == rows.load_history(state)
    assert len(history.fills) == 6
    assert history.open_orders


def _books_after(state_dir: Path) -> list[dict[str, object]]:
    with closing(open_for_writing(state_dir)) as connection:
        projector = Projector(connection)
        recover(connection, state_dir, projector)
        return [vars(book) for book in projector.lots.books()]


@pytest.mark.parametrize("lots_max", [2_000, 0])
def test_lots_of_a_quick_start_are_those_of_a_walk(
    state: Path, monkeypatch: pytest.MonkeyPatch, lots_max: int
) -> None:
    """Also where there were too many for the file: then it has none, and fills are counted."""
    monkeypatch.setattr(resume, "LOTS_MAX", lots_max)
    held = factory.day("run-4")[:10]  # bought and not sold yet
    factory.write(state, held)
    (state / RESUME_NAME).unlink()
    LedgerWriter(state).close()
    found = resume.read(state, _public(state))
    assert (found.books is None) is (lots_max == 0)
    assert _walked_from(state) > 1
    quick = _books_after(state)
    _walk_all(monkeypatch)
    walked = _books_after(state)
    assert quick == walked
    assert [book["position_lots"] for book in quick] != [0]


def test_a_book_state_holds_all_of_a_book() -> None:
    book = FifoBook(factory.INSTRUMENT)
    assert set(BookState.__struct_fields__) == vars(book).keys()
    book.apply(factory.filled(book, "f", "o", "d", Side.BUY, 10_002, 10_000).fill)
    (state,) = states_of([book])
    again = msgspec.json.decode(msgspec.json.encode(state), type=BookState)
    assert vars(book_of(again)) == vars(book)


def test_resume_of_another_version_means_a_walk_that_says_so(state: Path) -> None:
    path = state / RESUME_NAME
    path.write_bytes(path.read_bytes().replace(resume.FORM.encode(), b"tapewright-resume/1", 1))
    with pytest.raises(resume.Refused, match="it is of another version of this program"):
        resume.read(state, _public(state))


def test_start_tells_of_a_refused_resume_in_one_line_and_of_a_good_one_nothing(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "RESUME_EVENTS_MIN", 10)
    quick = LedgerWriter(state)
    quick.close()
    assert quick.start_text == ""
    (state / RESUME_NAME).write_bytes(b"x")
    walked = LedgerWriter(state)
    walked.close()
    assert walked.start_text == (
        "the start walked all 47 events: ledger.resume was refused, it is not as the ledger's key "
        "signed it"
    )


@pytest.mark.parametrize(
    "act",
    [
        "UPDATE events SET body = CAST(replace(CAST(body AS TEXT), '100.02', '100.01') AS BLOB)"
        " WHERE seq = 9",  # a fill
        "UPDATE events SET hash = zeroblob(32) WHERE seq = 21",  # a run
        "DELETE FROM carried WHERE seq = 9",
        "INSERT INTO carried VALUES(3)",
        "UPDATE events SET hash = zeroblob(32) WHERE seq = 46",  # of the open order
        "UPDATE events SET hash = zeroblob(32) WHERE seq = 47",  # the one it goes on from
        "UPDATE checkpoints SET note = note || ' ' WHERE seq = 21",
    ],
)
def test_change_of_what_a_start_uses_is_never_passed_over(state: Path, act: str) -> None:
    """It falls back to the walk, which refuses, or (for tables alone) reads the events."""
    attacker.run_sql(state, act)
    assert verify(state).findings
    if "carried" in act:
        assert _walked_from(state) == 1
    else:
        with pytest.raises(Failed, match="ledger refused"):
            LedgerWriter(state)


@pytest.mark.slow
def test_change_that_a_quick_start_does_not_see_fails_the_writer_by_its_audit(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    for module in (resume, commit):
        monkeypatch.setattr(module, "RESUME_EVENTS_MIN", 10)
    attacker.run_sql(state, "UPDATE events SET hash = zeroblob(32) WHERE seq = 4")  # a decision
    monkeypatch.setattr(writer, "LOOK_UP_S", 0.02)
    ledger = LedgerWriter(state)
    try:
        failure = _failure_of(ledger)
        assert failure.startswith(
            "the ledger does not verify: seq 4: the hash is not that of the body"
        )
        assert failure.endswith(
            "; run: tapewright ledger verify, then put back a copy that verifies"
        )
    finally:
        ledger.close()


def _failure_of(ledger: LedgerWriter) -> str:
    """Wait for the other process as long as it takes."""
    thread = ledger._thread
    thread.join(WAIT_S)
    assert ledger.failure is not None
    return ledger.failure


def test_resume_never_stands_before_the_witness_it_needs(state: Path) -> None:
    """An older witness, as a power cut may bring back, means a walk."""
    with closing(sqlite3.connect(state / DB_NAME)) as connection:
        head = connection.execute("SELECT seq, hash FROM events WHERE seq = 40").fetchone()
    witness.write(state, witness.Head(*head))
    assert _walked_from(state) == 1
