"""Changing the key: both keys sign the place, verification follows, a cut leaves no half key."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from core.errors import Failed, TryAgain, UserError
from core.model.event import KeyRotated
from core.state import EngineLock, StateDir
from ledger import keys, rotation
from ledger.checkpoint import parse_note, parse_text
from ledger.coverage import stored_notes
from ledger.key_change import key_facts, rotate
from ledger.keys import SigningKey
from ledger.rotation import Turns
from ledger.store import reading
from ledger.verify import verify
from ledger.writer import LedgerWriter
from tests.ledger import factory

PREV = "ab" * 32
NS = factory.START_NS


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    factory.write_day(tmp_path)
    return StateDir(tmp_path)


class MemoryStore:
    """A keyring in memory."""

    def __init__(self) -> None:
        self.texts: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, name: str, /) -> str | None:
        return self.texts.get((service, name))

    def set_password(self, service: str, name: str, text: str, /) -> None:
        self.texts[service, name] = text

    def delete_password(self, service: str, name: str, /) -> None:
        self.texts.pop((service, name), None)


def origins(state: StateDir) -> list[tuple[int, str]]:
    with reading(state.path) as connection:
        found = stored_notes(connection)
    return [(row.seq, parse_text(parse_note(row.note).text).origin) for row in found]


def test_verify_follows_a_rotation_and_the_next(state: StateDir, tmp_path: Path) -> None:
    first = keys.read_public(state.path)
    assert first is not None
    older = tmp_path / "older.txt"
    older.write_bytes((state.path / "checkpoints.txt").read_bytes())
    seq, second = rotate(state, "the laptop was lost", NS)
    factory.write_day(state.path, "run-2")
    again, third = rotate(state, "once more", NS)
    report = verify(state.path, older)
    assert not report.findings
    assert third.name in report.signed_text
    assert "as signed in older.txt" in report.signed_text
    for size, origin in origins(state):
        expected = first if size < seq else second if size < again else third
        assert origin == expected.name
    assert (seq, again) == (21, 42)
    assert {size for size, _ in origins(state)} >= {seq, again}
    facts = key_facts(state.path)
    assert facts.public == third
    assert [(row.since_seq, row.reason) for row in facts.rows] == [
        (seq, "the laptop was lost"), (again, "once more"),
    ]  # fmt: skip


def test_a_checkpoint_of_the_old_key_after_its_time_is_refused(state: StateDir) -> None:
    old = keys.load(state.path)
    assert old is not None
    rotate(state, "stolen", NS)
    (state.path / keys.KEY_NAME).unlink()
    keys.write_secret(state.path / keys.KEY_NAME, old.pem())
    keys.write_public(state.path, old.public)
    texts = [finding.text for finding in verify(state.path).findings]
    assert any("the key became" in text for text in texts)
    with pytest.raises(Failed, match="the key became"):
        LedgerWriter(state.path)


def made(seq: int = 7, prev: str = PREV) -> tuple[SigningKey, SigningKey, KeyRotated]:
    old, new = (SigningKey.made() for _ in range(2))
    return old, new, rotation.rotate(seq, prev, old, new, "why")


def problems(seq: int, prev: str, event: KeyRotated, new: SigningKey) -> list[str]:
    turns = Turns()
    turns.take(seq, prev, event)
    return [what for _, what in turns.problems(new.public)]


@pytest.mark.parametrize(
    ("what", "seq", "prev", "change"),
    [
        ("another place", 8, PREV, {}),
        ("another history", 7, "ac" * 32, {}),
        ("another reason", 7, PREV, {"reason": "because"}),
        ("no signature", 7, PREV, {"old_signature": ""}),
    ],
)
def test_a_rotation_fits_one_place_in_one_history(
    what: str, seq: int, prev: str, change: dict[str, str]
) -> None:
    _, new, event = made()
    assert problems(7, PREV, event, new) == []
    found = problems(seq, prev, msgspec.structs.replace(event, **change), new)
    assert any("does not hold" in text for text in found), what


def test_who_does_not_have_the_key_cannot_rotate_it() -> None:
    old, new, _ = made()
    thief = SigningKey.made()
    event = rotation.rotate(7, PREV, thief, new, "why")
    forged = msgspec.structs.replace(event, old_key=old.public.vkey)
    assert any(old.public.name in text for text in problems(7, PREV, forged, new))
    turns = Turns()
    turns.take(3, PREV, rotation.rotate(3, PREV, old, new, "first"))
    turns.take(7, PREV, rotation.rotate(7, PREV, thief, thief, "mine now"))
    assert any("but the key was" in what for _, what in turns.problems(thief.public))


def test_a_cut_between_the_commit_and_the_key_files_is_ended_by_the_next_start(
    state: StateDir,
) -> None:
    writer = LedgerWriter(state.path)
    new = keys.create(state.path, keys.DRAFT_NAME)
    writer.rotate_key(new, "cut", NS)
    writer.close()
    assert verify(state.path).findings
    LedgerWriter(state.path).close()
    assert not verify(state.path).findings
    assert keys.read_public(state.path) == new.public
    assert not (state.path / keys.DRAFT_NAME).exists()


def test_a_new_key_that_the_ledger_never_took_is_forgotten(state: StateDir) -> None:
    before = keys.read_public(state.path)
    keys.create(state.path, keys.DRAFT_NAME)
    LedgerWriter(state.path).close()
    assert not (state.path / keys.DRAFT_NAME).exists()
    assert keys.read_public(state.path) == before
    assert not verify(state.path).findings


def test_a_rotation_needs_a_reason_a_ledger_and_no_engine(state: StateDir, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="reason"):
        rotate(state, "  ", NS)
    with pytest.raises(UserError, match="no ledger"):
        rotate(StateDir(tmp_path / "none"), "x", NS)
    with (
        EngineLock(state, venue="sim", command="run", started_ns=NS),
        pytest.raises(TryAgain),
    ):
        rotate(state, "x", NS)


def test_the_secret_half_moves_to_the_keyring_and_back(state: StateDir) -> None:
    store = MemoryStore()
    public = keys.to_keyring(state.path, store)
    assert keys.load(state.path) is None
    kept = keys.load_kept(state.path, store)
    assert kept is not None
    assert public.is_signed(b"x", kept.sign(b"x"))
    assert keys.to_file(state.path, store) == public
    assert not store.texts
    assert (state.path / keys.KEY_NAME).stat().st_mode & 0o777 == 0o600
    LedgerWriter(state.path).close()


def test_a_keyring_that_does_not_give_the_key_back_costs_nothing(state: StateDir) -> None:
    store = MemoryStore()
    store.get_password = lambda *_: None  # type: ignore[method-assign]
    with pytest.raises(Failed, match="stays in its file"):
        keys.to_keyring(state.path, store)
    assert keys.load(state.path) is not None
