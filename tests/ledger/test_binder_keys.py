"""A binder of a ledger whose key changed twice: every key is followed, no forged one is."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from core.clock import iso_ns
from core.state import StateDir
from ledger import keys
from ledger.binder.seal import seal
from ledger.canonical import encode
from ledger.export.kinds import Period
from ledger.key_change import rotate
from ledger.keys import SigningKey
from ledger.rotation import rotate as rotation
from tests.ledger import binding, factory

Tree = dict[str, Any]


class Rotated(NamedTuple):
    """A binder of the first run, and the keys of its ledger in their order."""

    state: Path
    folder: Path
    keys: tuple[SigningKey, ...]


@pytest.fixture(scope="module")
def rotated(tmp_path_factory: pytest.TempPathFactory) -> Rotated:
    root = tmp_path_factory.mktemp("rotated")
    state, ns, held = root / "state", factory.day()[-1].ts_ns, []
    factory.write(state, factory.day("run-1"))
    for number, why in enumerate(("the laptop was lost", "a year has passed"), 1):
        held.append(keys.load(state))
        rotate(StateDir(state), why, ns + number)
    held.append(keys.load(state))
    made = binding.made(state, root / "out", Period(until=iso_ns(ns + 1)))
    assert made.last == 20
    return Rotated(state, made.folder, tuple(key for key in held if key is not None))


def copy(rotated: Rotated, tmp_path: Path) -> Path:
    return shutil.copytree(rotated.folder, tmp_path / "copy")


def sealed(folder: Path, key: SigningKey) -> None:
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for name in ("manifest.json", "manifest.sig"):
        (folder / name).unlink()
    facts = {
        name: each for name, each in manifest.items() if name not in {"files", "key", "format"}
    }
    seal(folder, key, facts)


def context(folder: Path) -> list[Tree]:
    return [json.loads(line) for line in (folder / "context.jsonl").read_bytes().splitlines()]


def write_context(folder: Path, events: list[Tree]) -> None:
    (folder / "context.jsonl").write_bytes(b"".join(encode(each) + b"\n" for each in events))


def test_every_key_of_the_history_checks_the_binder(rotated: Rotated) -> None:
    assert len({key.public.name for key in rotated.keys}) == 3
    for place, key in enumerate(rotated.keys):
        count, lines = binding.faults(rotated.folder, key.public.fingerprint)
        assert count == 0, lines
        assert "the key changed 2 times" in lines[2]
        assert ("handed over" in lines[2]) is (place < 2)
    assert binding.faults(rotated.folder, "ab" * 16)[0] == 1


def test_the_same_ledger_gives_the_same_bytes(rotated: Rotated, tmp_path: Path) -> None:
    again = binding.made(rotated.state, tmp_path, Period(until=iso_ns(factory.day()[-1].ts_ns + 1)))
    for path in rotated.folder.rglob("*"):
        if path.is_file():
            name = path.relative_to(rotated.folder)
            assert path.read_bytes() == (again.folder / name).read_bytes(), name


def _with(event: Tree, old: SigningKey, new: SigningKey, **changed: object) -> Tree:
    """Return the payload of a rotation of these keys at the place of ``event``."""
    made = rotation(event["seq"], event["prev"], old, new, event["payload"]["reason"])
    payload = json.loads(encode({name: getattr(made, name) for name in made.__struct_fields__}))
    return {**event["payload"], **payload, **changed}


FORGERIES = (
    "new key not signed by the old", "not agreed by the new key", "signed for another place",
    "another reason", "left out", "a third key at the end", "handed over by a key before it",
)  # fmt: skip


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_change_of_key_is_refused_by_the_check_for_it(
    rotated: Rotated, tmp_path: Path, forgery: str
) -> None:
    """The thief has the binder and keys of his own, and seals it again; he has no key of the ledger
    (or, where he does, the first one, which was handed over)."""
    folder, thief = copy(rotated, tmp_path), SigningKey.made()
    first, second, third = rotated.keys
    events = context(folder)
    places = [n for n, each in enumerate(events) if each["type"] == "KEY_ROTATED"]
    event, later = events[places[0]], events[places[1]]
    signer = third
    if forgery == "new key not signed by the old":
        payload = _with(event, thief, thief, old_key=first.public.vkey)
        events[places[0]] = {**event, "payload": payload}
        signer = thief
    elif forgery == "not agreed by the new key":
        bad = base64.b64encode(thief.sign(b"x")).decode()
        events[places[0]] = {**event, "payload": {**event["payload"], "new_signature": bad}}
    elif forgery == "signed for another place":
        moved = {**event, "seq": event["seq"] + 1}
        events[places[0]] = {**event, "payload": _with(moved, first, second)}
    elif forgery == "another reason":
        events[places[0]] = {**event, "payload": {**event["payload"], "reason": "no reason"}}
    elif forgery == "left out":
        del events[places[0]]
    elif forgery == "a third key at the end":
        last = {**later, "seq": later["seq"] + 1}
        events.append({**last, "payload": _with(last, third, thief, old_signature="AA==")})
        signer = thief
    else:
        events[places[1]] = {**later, "payload": _with(later, first, thief)}
        signer = thief
    write_context(folder, events)
    if signer is thief:
        (folder / "ledger.pub").write_text(thief.public.text)
    sealed(folder, signer)
    count, lines = binding.faults(folder)
    assert lines[1].startswith("ok   files")
    bad_checks = {line.split(":")[0] for line in lines if line.startswith("BAD")}
    assert count > 0
    assert bad_checks & {"BAD  keys", "BAD  checkpoints"}, lines
    assert not any(line.startswith("ok   events") for line in lines), "nothing is built on it"
