"""Who can change what without being seen: every attack, with and without an older checkpoint."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import Failed, UserError
from core.model.event import KillTripped
from ledger import keys, witness
from ledger.checkpoint import sign
from ledger.coverage import Stored
from ledger.keys import KEY_NAME, PUBLIC_NAME
from ledger.recovery import REMEDY
from ledger.store import DB_NAME, NOTES_NAME
from ledger.verify import verify
from ledger.writer import LedgerWriter
from tests.ledger import attacker, factory

DOCS = Path(__file__).resolve().parents[2] / "docs" / "ledger.md"
KILL = KillTripped("all", "human:trader", "F12")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Two runs of 20 events, checkpoints at 1, 20, 21 and 40."""
    folder = tmp_path / "state"
    folder.mkdir()
    factory.write_day(folder)
    factory.write_day(folder, "run-2")
    return folder


@pytest.fixture
def older(state: Path) -> Path:
    """The checkpoint over the first run, kept elsewhere since."""
    path = state.parent / "kept.txt"
    path.write_text(attacker.rows(state)[1].note, encoding="utf-8")
    return path


def _texts(state_dir: Path, against: Path | None = None) -> list[str]:
    return [finding.text for finding in verify(state_dir, against).findings]


# --- attacks ------------------------------------------------------------------------------------


def _keep_seals(state: Path) -> dict[str, bytes]:
    return {name: (state / name).read_bytes() for name in (KEY_NAME, PUBLIC_NAME, NOTES_NAME)}


def _forge_and_keep_checkpoints(state: Path) -> None:
    kept, stored = _keep_seals(state), attacker.rows(state)
    attacker.forge(state, with_key=False)
    for name, data in kept.items():
        (state / name).write_bytes(data)
    attacker.put_rows(state, stored)


def _forge_and_sign_with_another_key(state: Path) -> None:
    kept = _keep_seals(state)
    attacker.forge(state, with_key=False)
    for name in (KEY_NAME, PUBLIC_NAME):
        (state / name).write_bytes(kept[name])


def _forge_and_replace_the_public_half(state: Path) -> None:
    kept = _keep_seals(state)
    attacker.forge(state, with_key=False)
    (state / KEY_NAME).write_bytes(kept[KEY_NAME])


def _forge_and_drop_checkpoints(state: Path) -> None:
    kept = _keep_seals(state)
    attacker.forge(state, with_key=False)
    for name in (KEY_NAME, PUBLIC_NAME):
        (state / name).write_bytes(kept[name])
    attacker.put_rows(state, [])
    (state / NOTES_NAME).unlink()


def _forge_and_call_it_unsigned(state: Path) -> None:
    kept = _keep_seals(state)
    attacker.forge(state, with_key=False)
    (state / KEY_NAME).write_bytes(kept[KEY_NAME])
    attacker.call_it_unsigned(state)


def _forge_and_drop_everything_signed(state: Path) -> None:
    attacker.forge(state, with_key=False)
    attacker.call_it_unsigned(state)
    for name in (KEY_NAME, PUBLIC_NAME, NOTES_NAME):
        (state / name).unlink()


def _forge_and_replace_both_halves(state: Path) -> None:
    attacker.forge(state, with_key=False)


def _forge_with_the_key(state: Path) -> None:
    attacker.forge(state, with_key=True)


def _put_back(*names: str) -> Callable[[Path], None]:
    """Put back what these files were before the second run."""

    def act(state: Path) -> None:
        before = state.parent / "before"
        before.mkdir()
        shutil.copy2(state / KEY_NAME, before)
        factory.write(before, factory.day())  # the same events under the same key: the same files
        for name in names:
            shutil.copy2(before / name, state)

    return act


def _drop_a_row(state: Path) -> None:
    attacker.run_sql(state, "DELETE FROM checkpoints WHERE seq = 20")


def _change_a_row(state: Path) -> None:
    attacker.run_sql(state, "UPDATE checkpoints SET note = replace(note, 'A', 'B') WHERE seq = 20")


def _take_a_row_from_elsewhere(state: Path) -> None:
    attacker.run_sql(
        state, "UPDATE checkpoints SET note = (SELECT note FROM checkpoints WHERE seq = 1)"
        " WHERE seq = 20"
    )  # fmt: skip


def _change_the_file(state: Path) -> None:
    data = (state / NOTES_NAME).read_bytes()
    (state / NOTES_NAME).write_bytes(data.replace(b"\n20\n", b"\n19\n"))


def _drop_a_row_and_its_lines(state: Path) -> None:
    attacker.put_rows(state, [row for row in attacker.rows(state) if row.seq != 21])


def _change_the_unsigned_tail(state: Path) -> None:
    """Events after the newest checkpoint, with chain, witness and tables made again."""
    other = state.parent / "tail"
    shutil.copytree(state, other)
    for folder, reason in ((state, "F12"), (other, "changed")):
        writer = LedgerWriter(folder)
        writer.append(KillTripped("all", "human:trader", reason), factory.START_NS)
        writer.close()
    for name in (DB_NAME, witness.NAME):
        shutil.copy2(other / name, state)


ATTACKS: dict[str, tuple[Callable[[Path], None], bool, bool]] = {
    "history rewritten, the old checkpoints left": (_forge_and_keep_checkpoints, True, True),
    "... signed with another key": (_forge_and_sign_with_another_key, True, True),
    "... and `ledger.pub` replaced by that key's": (_forge_and_replace_the_public_half, True, True),
    "... all checkpoints removed": (_forge_and_drop_checkpoints, True, True),
    "... the database made to look never signed": (_forge_and_call_it_unsigned, True, True),
    "... and key and checkpoints removed": (_forge_and_drop_everything_signed, False, True),
    "... both key files and all signatures replaced": (_forge_and_replace_both_halves, False, True),
    "history rewritten by somebody who has the key": (_forge_with_the_key, False, True),
    "older `ledger.db` put back": (_put_back(DB_NAME), True, True),
    "... with its `ledger.head`": (_put_back(DB_NAME, witness.NAME), True, True),
    "... and its `checkpoints.txt`": (_put_back(DB_NAME, witness.NAME, NOTES_NAME), False, False),
    "a checkpoint changed in the table": (_change_a_row, True, True),
    "... replaced by another one of this ledger": (_take_a_row_from_elsewhere, True, True),
    "... removed from the table": (_drop_a_row, True, True),
    "... removed from table and file": (_drop_a_row_and_its_lines, True, True),
    "`checkpoints.txt` changed": (_change_the_file, True, True),
    "events after the newest checkpoint rewritten": (_change_the_unsigned_tail, False, False),
}
"""Act; whether ``verify`` finds it; whether it does ``--against`` the checkpoint over seq 20."""


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_is_found_where_the_documentation_says_so(
    state: Path, older: Path, name: str
) -> None:
    act, by_verify, against_older = ATTACKS[name]
    assert (_texts(state), _texts(state, older)) == ([], [])
    act(state)
    assert bool(_texts(state)) == by_verify, _texts(state)
    assert bool(_texts(state, older)) == against_older, _texts(state, older)


def test_documentation_tells_every_attack_and_what_finds_it() -> None:
    text = DOCS.read_text(encoding="utf-8").split("### What finds what")[1].split("\n## ")[0]
    told = dict(
        re.findall(
            r"^\| (.+?) \| ((?:yes|\*\*no\*\*) \| (?:yes|\*\*no\*\*)) \|$", text, re.MULTILINE
        )
    )
    words = {True: "yes", False: "**no**"}
    assert told == {
        name: f"{words[by_verify]} | {words[older]}"
        for name, (_, by_verify, older) in ATTACKS.items()
    }


@pytest.mark.parametrize("name", [name for name, found in ATTACKS.items() if found[1]])
def test_ledger_under_attack_is_not_opened_and_not_signed(state: Path, name: str) -> None:
    """Else the next start would put a good signature over a bad history."""
    ATTACKS[name][0](state)
    before = {path.name: path.read_bytes() for path in state.iterdir()}
    with pytest.raises(Failed) as refusal:
        LedgerWriter(state)
    text = str(refusal.value).removeprefix("ledger refused: ").removesuffix(f" ({REMEDY})")
    assert text in _texts(state) or "says that it was never signed" in text
    after = {path.name: path.read_bytes() for path in state.iterdir() if path.suffix != ".db-shm"}
    for kept in (NOTES_NAME, KEY_NAME, PUBLIC_NAME):
        assert after.get(kept) == before.get(kept)


# --- what the findings say -----------------------------------------------------------------------


def test_rewriting_without_the_key_is_told_with_the_place(state: Path) -> None:
    _forge_and_keep_checkpoints(state)
    assert _texts(state) == [
        "seq 20: history was rewritten: its checkpoint signs other events, the first of them in "
        "seq 2 to 20"
    ]


def test_rewriting_with_the_key_is_told_with_the_file_that_shows_it(
    state: Path, older: Path
) -> None:
    _forge_with_the_key(state)
    assert _texts(state, older) == [
        "seq 20: history was rewritten: kept.txt signs other events, the first of them in "
        "seq 1 to 20"
    ]


def test_all_checkpoints_of_a_ledger_narrow_the_place_down(state: Path) -> None:
    kept = state.parent / "all.txt"
    shutil.copy2(state / NOTES_NAME, kept)
    _forge_with_the_key(state)
    assert "all.txt signs other events, the first of them in seq 2 to 20" in _texts(state, kept)[0]


def test_replaced_key_is_told_by_its_name(state: Path, older: Path) -> None:
    was = keys.read_public(state)
    _forge_and_replace_both_halves(state)
    now = keys.read_public(state)
    assert was is not None
    assert now is not None
    report = verify(state)
    assert now.name in report.signed_text  # the fingerprint is there to be compared
    texts = _texts(state, older)
    assert any(f"is of '{was.name}', this ledger is {now.name}" in text for text in texts)


def test_newer_checkpoint_kept_elsewhere_shows_a_whole_state_put_back(state: Path) -> None:
    kept = state.parent / "newer.txt"
    kept.write_text(attacker.rows(state)[-1].note, encoding="utf-8")
    _put_back(DB_NAME, witness.NAME, NOTES_NAME)(state)
    assert _texts(state) == []
    assert _texts(state, kept) == [
        "seq 21: the events up to seq 40 are lost: newer.txt signs seq 1 to 40, the ledger ends "
        "at seq 20"
    ]


def test_older_files_put_back_are_told_by_checkpoints_txt(state: Path) -> None:
    _put_back(DB_NAME, witness.NAME)(state)
    assert _texts(state) == [
        "seq 21: checkpoints.txt remembers checkpoints after seq 20 that the ledger does not have: "
        "an older copy was put back, or text was added to the file"
    ]


def test_unsigned_tail_is_told_in_the_line(state: Path) -> None:
    _change_the_unsigned_tail(state)
    assert verify(state).signed_text.endswith("hold up to seq 40, seq 41 to 41 are not signed yet")


@pytest.mark.slow
def test_every_changed_letter_of_a_row_is_found(state: Path) -> None:
    row = attacker.rows(state)[1]
    for place in range(len(row.note)):
        other = row.note[:place] + chr(ord(row.note[place]) ^ 1) + row.note[place + 1 :]
        attacker.run_sql(state, ("UPDATE checkpoints SET note = ? WHERE seq = 20", (other,)))
        assert any(text.startswith("seq 20: its checkpoint") for text in _texts(state)), place


def test_signature_added_to_a_row_is_found(state: Path) -> None:
    stored = attacker.rows(state)
    stored[1] = Stored(20, stored[1].note + "— witness.example AAAAAAAAAAAA\n")
    attacker.put_rows(state, stored)
    assert _texts(state) == ["seq 20: its checkpoint is not in order: a signature was added to it"]


def test_checkpoint_in_the_place_of_another_size_is_found(state: Path) -> None:
    """Signed with the key and right in itself, but over 19 events."""
    key = keys.load(state)
    assert key is not None
    stored = attacker.rows(state)
    stored[1] = Stored(20, sign(key, 19, bytes(32)))
    attacker.put_rows(state, stored)
    assert "seq 20: its checkpoint is not in order: it covers 19 events" in _texts(state)


@pytest.mark.parametrize(
    ("held", "what"),
    [
        (b"", "seq 1: checkpoints.txt does not hold"),
        (None, "seq 1: checkpoints.txt does not hold"),
        (b"x", "seq 1: checkpoints.txt does not hold"),
    ],
)
def test_lost_file_of_a_long_ledger_is_found(tmp_path: Path, held: bytes | None, what: str) -> None:
    writer = LedgerWriter(tmp_path)
    writer.append(factory.run_started(), factory.START_NS)
    for _ in range(1100):
        writer.append(KILL, factory.START_NS)
    writer.close()
    path = tmp_path / NOTES_NAME
    whole = path.read_bytes()
    path.unlink()
    if held is not None:
        path.write_bytes(held)
    assert _texts(tmp_path)[0].startswith(what)
    with pytest.raises(Failed, match="does not hold its checkpoint"):
        LedgerWriter(tmp_path)
    # The remedy in the text, as the sqlite3 program does it: each value and a line end.
    path.write_bytes(b"".join(row.note.encode() + b"\n" for row in attacker.rows(tmp_path)))
    assert path.read_bytes() == whole
    assert _texts(tmp_path) == []


def test_missing_public_half_is_found_and_made_again_by_the_next_start(state: Path) -> None:
    before = (state / PUBLIC_NAME).read_bytes()
    (state / PUBLIC_NAME).unlink()
    assert _texts(state) == ["ledger.pub is missing; the next start writes it from ledger.key"]
    LedgerWriter(state).close()
    assert (state / PUBLIC_NAME).read_bytes() == before
    assert _texts(state) == []


def test_copy_for_an_auditor_needs_no_secret(state: Path, older: Path) -> None:
    (state / KEY_NAME).unlink()
    assert _texts(state, older) == []
    with pytest.raises(Failed, match=r"ledger\.key is missing: put it back"):
        LedgerWriter(state)


def test_key_that_others_can_read_is_found(state: Path) -> None:
    (state / KEY_NAME).chmod(0o644)
    assert any("was open to others (mode 0644)" in text for text in _texts(state))


def test_files_that_cannot_be_read_are_found(state: Path) -> None:
    (state / PUBLIC_NAME).write_text("nonsense")
    (state / NOTES_NAME).unlink()
    (state / NOTES_NAME).mkdir()
    texts = _texts(state)
    assert any("checkpoints.txt cannot be read" in text for text in texts)
    assert any("public key cannot be read" in text for text in texts)


def test_table_that_is_gone_is_found(state: Path) -> None:
    attacker.run_sql(state, "ALTER TABLE checkpoints RENAME TO old")
    texts = _texts(state)
    assert any("the checkpoints cannot be read" in text for text in texts)
    with pytest.raises(Failed, match="checkpoints cannot be read"):
        LedgerWriter(state)


@pytest.mark.parametrize(
    "data", [b"", b"hello\n", b"\xff\xfe", b"a\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n"
             b"\xe2\x80\x94 a AAAAAAAAAAAA\n"],
)  # fmt: skip
def test_file_that_is_no_checkpoint_is_the_users_mistake(state: Path, data: bytes) -> None:
    path = state.parent / "nonsense.txt"
    path.write_bytes(data)
    with pytest.raises(UserError, match="nonsense"):
        verify(state, path)
    with pytest.raises(UserError, match="cannot be read"):
        verify(state, state.parent / "nowhere.txt")


def test_forged_older_checkpoint_is_found(state: Path, older: Path) -> None:
    older.write_text(
        older.read_text(encoding="utf-8").replace("\n20\n", "\n19\n"), encoding="utf-8"
    )
    texts = _texts(state, older)
    assert any("the signature of tapewright/" in text for text in texts)


def test_older_checkpoint_says_what_it_covers(state: Path, older: Path) -> None:
    report = verify(state, older)
    assert report.findings == ()
    assert report.signed_text.endswith("hold up to seq 40; seq 1 to 20 are as signed in kept.txt")
