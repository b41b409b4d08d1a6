"""The verifier of a binder: every byte matters, and each of its checks finds what it is for.

Files changed by somebody without the key are found by the manifest. The checks behind it are for
an owner who cheats: there the changed binder is sealed again with the right key.
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from ledger import keys, tree
from ledger.binder import verify as verifier
from ledger.binder.forest import Forest
from ledger.binder.schemas import schema_files
from ledger.binder.seal import files_in, seal, zip_bytes_to
from ledger.canonical import encode
from ledger.chain import leaf_hash
from ledger.checkpoint import sign
from ledger.keys import SigningKey
from tests.ledger import binding, plain_tree
from tests.ledger.binding import Copies

RFC_8032 = (
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e3970"
        "1cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613"
        "d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760"
        "984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Copies:
    return binding.copies(tmp_path_factory.mktemp("binder"))


# --- its own arithmetic -----------------------------------------------------------------------


@pytest.mark.parametrize(("public", "message", "signature"), RFC_8032)
def test_published_signatures_hold_and_no_neighbour_does(
    public: str, message: str, signature: str
) -> None:
    key, text, signed = (bytes.fromhex(part) for part in (public, message, signature))
    assert verifier.is_signed(key, text, signed)
    assert not verifier.is_signed(key, text + b"x", signed)
    for place in (0, 31, 32, 63):
        spoilt = bytearray(signed)
        spoilt[place] ^= 1
        assert not verifier.is_signed(key, text, bytes(spoilt))
    scalar = int.from_bytes(signed[32:], "little") + verifier.L
    again = signed[:32] + scalar.to_bytes(32, "little")
    assert not verifier.is_signed(key, text, again), "one signature has one spelling"


@pytest.mark.slow
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=64))
def test_signatures_are_judged_as_by_the_library(secret: bytes, message: bytes) -> None:
    key = Ed25519PrivateKey.from_private_bytes(secret)
    public = key.public_key().public_bytes_raw()
    assert verifier.is_signed(public, message, key.sign(message))


@pytest.mark.parametrize(
    "key", [b"", b"\xff" * 32, bytes(31), (verifier.P + 1).to_bytes(32, "little")]
)
def test_bytes_that_are_no_key_sign_nothing(key: bytes) -> None:
    assert not verifier.is_signed(key, b"", bytes(64))


@pytest.mark.slow
@given(st.integers(1, 70), st.data())
def test_proofs_are_those_of_the_tree(size: int, data: st.DataObject) -> None:
    leaves = [leaf_hash(bytes([n])) for n in range(size)]
    forest, root = Forest(leaves), tree.root_of(leaves)
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    assert forest.root() == root
    assert forest.inclusion(index) == plain_tree.inclusion_proof(leaves, index)
    assert forest.consistency(old) == plain_tree.consistency_proof(leaves, old)
    assert verifier.is_included(leaves[index], index, size, forest.inclusion(index), root)
    old_root = tree.root_of(leaves[:old])
    assert verifier.is_consistent(old, size, old_root, root, forest.consistency(old))
    assert not verifier.is_consistent(old, size, root, old_root, forest.consistency(old)) or (
        old == size
    )
    grown = verifier.Frontier(old - 1, forest.frontier(old - 1))
    for leaf in leaves[old - 1 :]:
        grown.push(leaf)
    assert grown.root() == root


def test_every_event_type_has_a_schema_that_takes_its_events_and_nothing_else(
    copies: Copies,
) -> None:
    schemas = {name[:-5]: json.loads(data) for name, data in schema_files().items()}
    lines = (copies.one.folder / "events.jsonl").read_bytes().splitlines()
    for event in map(json.loads, lines):
        schema = schemas[event["type"]]
        assert not verifier.schema_fault(event["payload"], schema, schema["$defs"], "it")
        extra = event["payload"] | {"extra": 1}
        assert "not known" in verifier.schema_fault(extra, schema, schema["$defs"], "it")
        for name in schema["required"]:
            less = {key: each for key, each in event["payload"].items() if key != name}
            assert "missing" in verifier.schema_fault(less, schema, schema["$defs"], "it")


# --- any byte -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_one_byte_changed_in_any_file_is_caught(copies: Copies, tmp_path: Path) -> None:
    folder = copies.into(tmp_path)
    names = [name for name, size, _ in files_in(folder) if size]
    assert len(names) > 40
    for name in names:
        data = (folder / name).read_bytes()
        spoilt = bytearray(data)
        spoilt[len(data) // 2] ^= 1
        (folder / name).write_bytes(spoilt)
        assert binding.faults(folder)[0] > 0, name
        (folder / name).write_bytes(data)
    assert binding.faults(folder)[0] == 0


@pytest.mark.slow
def test_one_byte_changed_anywhere_in_the_zip_is_caught(copies: Copies, tmp_path: Path) -> None:
    data = copies.one.zip_file.read_bytes()
    random = np.random.default_rng(7)
    ends = [len(data) - 1 - n for n in range(0, 120, 9)]  # the directory at its end
    path = tmp_path / "spoilt.zip"
    for place in [*range(0, 60, 7), *ends, *random.integers(0, len(data), 12).tolist()]:
        spoilt = bytearray(data)
        spoilt[place] ^= 1 << int(random.integers(8))
        path.write_bytes(spoilt)
        assert binding.faults(path)[0] > 0, place


@pytest.mark.parametrize("kind", ["removed", "added", "linked", "cut"])
def test_file_removed_added_linked_or_cut_is_caught(
    copies: Copies, tmp_path: Path, kind: str
) -> None:
    folder = copies.into(tmp_path)
    target = folder / "trades.csv"
    data = target.read_bytes()
    if kind == "added":
        (folder / "extra.txt").write_text("x")
    elif kind == "cut":
        target.write_bytes(data[:-1])
    else:
        target.unlink()
        if kind == "linked":
            (tmp_path / "other").write_bytes(data)
            target.symlink_to(tmp_path / "other")
    assert binding.faults(folder)[0] > 0


# --- an owner who cheats ------------------------------------------------------------------------


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_bytes()
    assert text.count(old.encode()) >= 1, old
    path.write_bytes(text.replace(old.encode(), new.encode(), 1))


def _without_line(folder: Path) -> None:
    lines = (folder / "events.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "events.jsonl").write_bytes(b"".join(lines[:5] + lines[6:]))


def _swapped(folder: Path) -> None:
    lines = (folder / "events.jsonl").read_bytes().splitlines(keepends=True)
    lines[4], lines[5] = lines[5], lines[4]
    (folder / "events.jsonl").write_bytes(b"".join(lines))


def _shortened(folder: Path) -> None:
    """Leave out the last events and say that the range ends there."""
    lines = (folder / "events.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "events.jsonl").write_bytes(b"".join(lines[:-2]))
    _edit(folder / "proofs/range.json", '"last":28', '"last":26')


def _rehashed(folder: Path) -> None:
    """Change one event and make the chain after it right again."""
    path = folder / "events.jsonl"
    events = [json.loads(line) for line in path.read_bytes().splitlines()]
    events[1]["payload"]["reason"] = "other book"
    for before, event in pairwise(events[1:]):
        event["prev"] = leaf_hash(encode(before)).hex()
    path.write_bytes(b"".join(encode(event) + b"\n" for event in events))


def _proof_spoilt(folder: Path) -> None:
    path = folder / "proofs/inclusion.jsonl"
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    lines[0]["proof"][0] = "00" * 32
    path.write_bytes(b"".join(json.dumps(line).encode() + b"\n" for line in lines))


def _attested_other_weights(folder: Path) -> None:
    path = folder / "attest/ppo-sim.dsse.json"
    envelope = json.loads(path.read_bytes())
    statement = base64.b64decode(envelope["payload"]).replace(b"0.001", b"0.002")
    envelope["payload"] = base64.b64encode(statement).decode()
    path.write_bytes(json.dumps(envelope).encode())


def _context_added(folder: Path) -> None:
    """Tell of a fill from before the range, which the ledger does not have."""
    lines = (folder / "events.jsonl").read_bytes().splitlines()
    fill = json.loads(next(line for line in lines if b'"type":"FILL"' in line))
    (folder / "context.jsonl").write_bytes(encode(fill | {"seq": 29}) + b"\n")


def _context_doubled(folder: Path) -> None:
    """Tell a fill of the range again, with another price."""
    lines = (folder / "events.jsonl").read_bytes().splitlines()
    fill = json.loads(next(line for line in lines if b'"type":"FILL"' in line))
    fill["payload"]["price"] = "1"
    (folder / "context.jsonl").write_bytes(encode(fill) + b"\n")


def _checkpoint_of_another_history(folder: Path, state: Path) -> None:
    """Put in a checkpoint that was once given away, of events that were since rewritten."""
    key = keys.load(state)
    assert key is not None
    path = folder / "checkpoints.txt"
    path.write_text(path.read_text() + sign(key, 27, bytes(32)) + "\n")
    _edit(folder / "proofs/range.json", '"last":28', '"last":26')
    lines = (folder / "events.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "events.jsonl").write_bytes(b"".join(lines[:-2]))


def _checkpoint_doubled(folder: Path) -> None:
    path = folder / "checkpoints.txt"
    path.write_text(path.read_text() + path.read_text())


def _fill_left_out(folder: Path) -> None:
    lines = (folder / "trades.csv").read_bytes().splitlines(keepends=True)
    (folder / "trades.csv").write_bytes(b"".join(lines[:-1]))


CHEATS: dict[str, tuple[Callable[[Path], object], str]] = {
    "price in the spreadsheet": (
        lambda folder: _edit(folder / "trades.csv", "100.02", "100.01"), "the event says 100.02"
    ),
    "fill left out of the spreadsheet": (_fill_left_out, "is not in trades.csv"),
    "event changed": (
        lambda folder: _edit(folder / "events.jsonl", "first book", "worst book"),
        "does not name the hash of seq 2",
    ),
    "event changed and hashed again": (_rehashed, "not what the checkpoint over them signs"),
    "event left out": (_without_line, "stands where seq"),
    "events swapped": (_swapped, "stands where seq"),
    "last events left out": (_shortened, "does not contain these events"),
    "spaces in an event": (
        lambda folder: _edit(folder / "events.jsonl", '"cause":null', '"cause": null'),
        "not in canonical form",
    ),
    "number that JSON readers round": (
        lambda folder: _edit(folder / "events.jsonl", '"seed":7', '"seed":7.0'), "no number"
    ),
    "size of a checkpoint": (
        lambda folder: _edit(folder / "checkpoints.txt", "\n20\n", "\n21\n"), "is wrong"
    ),
    "proof of a fill": (_proof_spoilt, "does not lead to the newest checkpoint"),
    "card of other weights": (
        lambda folder: _edit(folder / "cards/ppo-sim.json", binding.WEIGHTS, "0" * 64),
        "of other weights than the runs used",
    ),
    "event from outside the range": (_context_added, "seq 29 is in context.jsonl without a proof"),
    "event told twice": (_context_doubled, "stands elsewhere too"),
    "checkpoint told twice": (_checkpoint_doubled, "two checkpoints over"),
    "attestation": (_attested_other_weights, "the signature does not hold"),
}  # fmt: skip


@pytest.mark.parametrize("cheat", CHEATS)
def test_owner_who_cheats_and_seals_again_is_found_by_the_check_for_it(
    copies: Copies, tmp_path: Path, cheat: str
) -> None:
    folder = copies.into(tmp_path)
    spoil, said = CHEATS[cheat]
    spoil(folder)
    _seal_again(copies.state, folder)
    count, lines = binding.faults(folder)
    assert lines[1].startswith("ok   files"), "the manifest is right: the check itself must see it"
    assert count > 0
    assert any(said in line for line in lines if line.startswith("BAD")), lines


def test_checkpoint_of_another_history_is_not_taken_for_one_of_this(
    copies: Copies, tmp_path: Path
) -> None:
    """Else a checkpoint kept elsewhere would seem to fit a history that was rewritten since."""
    folder = copies.into(tmp_path)
    _checkpoint_of_another_history(folder, copies.state)
    _seal_again(copies.state, folder)
    _, lines = binding.faults(folder)
    assert any("nothing shows that" in line and "27 events" in line for line in lines), lines


def test_payload_that_an_event_names_and_nobody_removed_is_missed(
    copies: Copies, tmp_path: Path
) -> None:
    source = verifier.Source(copies.into(tmp_path))
    binder = verifier.Binder(source, lambda text: None)
    binder.manifest = {"files": {}}
    binder._named.append("ab" * 32)
    lines: list[str] = []
    binder._say = lines.append
    assert not binder.check("payloads", binder.payloads)
    assert f"the payload {'ab' * 32} is missing" in lines[0]


def test_binder_of_another_key_is_right_in_itself_and_found_by_its_fingerprint(
    copies: Copies, tmp_path: Path
) -> None:
    folder = copies.into(tmp_path)
    other = SigningKey(Ed25519PrivateKey.generate())
    (folder / "ledger.pub").write_text(other.public.text)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for name in ("manifest.json", "manifest.sig"):
        (folder / name).unlink()
    seal(folder, other, {name: manifest[name] for name in ("since", "until", "program")})
    count, lines = binding.faults(folder)
    assert count > 0, "the checkpoints are still of the old key"
    assert any(line.startswith("BAD  checkpoints") for line in lines)
    lines = binding.faults(folder, copies.one.fingerprint)[1]
    assert any("no key of this ledger has the fingerprint" in line for line in lines)


def test_two_files_of_one_name_in_a_zip_are_caught(copies: Copies, tmp_path: Path) -> None:
    """Programs differ in which of the two they unpack."""
    path = tmp_path / "double.zip"
    entries = [("binder/a.txt", 1, 0xE8B7BE43), ("binder/a.txt", 1, 0x71BEEFF9)]
    headers, tail = verifier.zip_layout(entries)
    path.write_bytes(headers[0] + b"a" + headers[1] + b"b" + tail)
    assert any("two files of one name" in line for line in binding.faults(path)[1])


def test_text_of_a_binder_cannot_steer_the_terminal(copies: Copies, tmp_path: Path) -> None:
    folder = copies.into(tmp_path)
    (folder / "x\x1b[2J.txt").write_text("x")
    _, lines = binding.faults(folder)
    assert all(line.isprintable() for line in lines)


def test_schema_whose_pattern_is_none_and_a_zip_that_says_it_is_locked_are_faults(
    copies: Copies, tmp_path: Path
) -> None:
    folder = copies.into(tmp_path)
    for path in (folder / "schemas").iterdir():
        path.write_text(path.read_text().replace('"pattern": "', '"pattern": "[x-9]'))
    assert any("bad character range" in line for line in binding.faults(folder)[1])
    data = bytearray(copies.one.zip_file.read_bytes())
    place = data.index(b"PK\x01\x02")
    data[place + 8] ^= 1  # the first file's flag "encrypted", in the directory
    path = tmp_path / "locked.zip"
    path.write_bytes(data)
    count, lines = binding.faults(path)
    assert count > 0
    assert any("was changed" in line for line in lines)


@pytest.mark.parametrize("data", [b"", b"PK\x05\x06" + bytes(18), b"garbage" * 100])
def test_file_that_is_no_binder_is_a_fault_not_a_crash(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(data)
    count, lines = binding.faults(path)
    assert count > 0
    assert lines[0].startswith("BAD")
    (tmp_path / "empty").mkdir()
    assert binding.faults(tmp_path / "empty")[0] > 0
    assert binding.faults(tmp_path / "nowhere")[0] > 0


def _seal_again(state: Path, folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for name in ("manifest.json", "manifest.sig"):
        (folder / name).unlink()
    key = keys.load(state)
    assert key is not None
    facts = {
        name: each for name, each in manifest.items() if name not in {"files", "key", "format"}
    }
    seal(folder, key, facts)


def test_zip_is_the_same_wherever_it_is_packed(copies: Copies, tmp_path: Path) -> None:
    folder = copies.into(tmp_path)
    shutil.move(folder, tmp_path / "elsewhere")
    digest = zip_bytes_to(tmp_path / "elsewhere", folder.name, tmp_path / "again.zip")
    assert digest == copies.one.zip_sha256
