"""Anchors in a binder: carried with what they need, read again by the verifier, told in words."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config import AnchorSettings
from core.errors import ValueRefused
from core.model.event import Anchored
from ledger import anchors_ots as ots
from ledger import anchors_rfc3161 as rfc3161
from ledger import keys
from ledger.anchors import Job, Recorded
from ledger.anchors_fetch import work
from ledger.binder import verify as verifier
from ledger.binder.anchors import anchors_of
from ledger.export.kinds import Period
from tests.ledger import binding, factory
from tests.ledger.authority import (
    HAS_OPENSSL,
    Authority,
    Calendar,
    Reply,
    calendar_answer,
    serving,
)
from tests.ledger.test_anchors_ots import OF_THE_REFERENCE, ROOT_OF_THE_REFERENCE
from tests.ledger.test_binder_keys import sealed

needs_authority = pytest.mark.skipif(
    not (HAS_OPENSSL and rfc3161.is_available()), reason="needs openssl and the extra `anchors`"
)
NS = factory.START_NS


class Anchor(NamedTuple):
    """A binder with a time stamp and a proof that was first a promise."""

    state: Path
    folder: Path
    ca: Path


@pytest.fixture(scope="module")
def anchored(tmp_path_factory: pytest.TempPathFactory) -> Anchor:
    root = tmp_path_factory.mktemp("anchored")
    authority, calendar, state = Authority(root / "tsa"), Calendar(), root / "state"
    factory.write(state, factory.day("run-1"))

    def answer(path: str, body: bytes) -> Reply:
        if path == "/tsr":
            return Reply(authority.reply(body))
        return calendar_answer(calendar)(path, body)

    with serving(answer) as url:
        calendar.address = url
        settings = AnchorSettings(
            rfc3161_url=f"{url}/tsr", rfc3161_ca=str(authority.ca), ots_calendars=(url,)
        )
        for block in (None, 812_345):
            calendar.block = block
            found = work(Job(str(state), settings, size=20, upgrades_only=block is not None))
            factory.write(state, [factory.Dated(each, NS + 10**15) for each in found])
    factory.write(state, factory.day("run-2"))
    made = binding.made(state, root / "out", Period(until="2026-01-02T00:00:00.000000000Z"))
    return Anchor(state, made.folder, authority.ca)


@needs_authority
def test_binder_holds_and_its_verifier_says_what_outsiders_attest(anchored: Anchor) -> None:
    count, lines = binding.faults(anchored.folder)
    assert count == 0, lines
    (line,) = [line for line in lines if line.startswith("ok   anchors")]
    assert "3 by somebody outside; seq 1 to 20 stamped 20" in line
    assert "seq 1 to 20 in Bitcoin block 812345 if its Merkle root is" in line
    words = line[line.index("openssl ts") :].partition(";")[0].split()
    done = subprocess.run(words, cwd=anchored.folder, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@needs_authority
def test_same_ledger_gives_the_same_bytes(anchored: Anchor, tmp_path: Path) -> None:
    period = Period(until="2026-01-02T00:00:00.000000000Z")
    again = binding.made(anchored.state, tmp_path, period)
    assert again.zip_sha256 == hashlib.sha256(
        anchored.folder.with_suffix(".zip").read_bytes()
    ).hexdigest()  # fmt: skip


@needs_authority
@pytest.mark.parametrize("suffix", [".tsr", ".ots", ".pem", ".txt"])
def test_owner_who_changes_or_leaves_out_an_answer_is_found(
    anchored: Anchor, tmp_path: Path, suffix: str
) -> None:
    key = keys.load(anchored.state)
    assert key is not None
    for change in ("cut", "gone"):
        folder = shutil.copytree(anchored.folder, tmp_path / change)
        for path in (folder / "anchors").glob(f"*{suffix}"):
            path.write_bytes(path.read_bytes()[:-1])
            if change == "gone":
                path.unlink()
        sealed(folder, key)
        _, lines = binding.faults(folder)
        assert lines[1].startswith("ok   files")
        assert any(line.startswith("BAD  anchors") for line in lines), lines


@needs_authority
def test_verifier_reads_of_a_token_what_the_library_reads(anchored: Anchor) -> None:
    (path,) = (anchored.folder / "anchors").glob("*.tsr")
    answer, roots = path.read_bytes(), anchored.ca.read_bytes()
    digest, at = verifier.stamped(answer)
    assert rfc3161.check(answer, bytes.fromhex(digest), roots).at == at
    random = np.random.default_rng(3)
    for place in random.integers(0, len(answer), 200).tolist():
        spoilt = bytearray(answer)
        spoilt[place] ^= int(random.integers(1, 256))
        try:
            said = verifier.stamped(bytes(spoilt))
            token = rfc3161.check(bytes(spoilt), bytes.fromhex(digest), roots)
        except (ValueRefused, *verifier._UNREADABLE):
            continue
        assert said == (digest, token.at)


def test_verifier_reads_a_proof_of_the_reference_library() -> None:
    proof = verifier.Ots(OF_THE_REFERENCE)
    assert proof.digest == bytes(range(32)).hex()
    assert proof.blocks == [(812_345, ROOT_OF_THE_REFERENCE)]
    assert len(proof.promises) == 2


@given(st.data())
def test_verifier_and_program_agree_on_spoilt_proofs(data: st.DataObject) -> None:
    spoilt = bytearray(OF_THE_REFERENCE)
    spoilt[data.draw(st.integers(0, len(spoilt) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        stamp = ots.parse_file(bytes(spoilt))
    except ValueRefused:
        return
    proof = verifier.Ots(bytes(spoilt))
    assert proof.digest == stamp.message.hex()
    assert proof.blocks == [
        (each.block, at.message[::-1].hex()) for at, each in stamp.walk() if each.block is not None
    ]


def _row(seq: int, method: str, size: int, *, is_pending: bool = False) -> Recorded:
    event = Anchored(method, size, "ab" * 32, "x", "cd" * 32, 1, is_pending=is_pending)
    return Recorded(seq, "", event)


def test_a_binder_takes_anchors_of_its_checkpoints_and_the_first_that_covers_all() -> None:
    rows = [
        _row(11, "rfc3161", 10), _row(21, "rfc3161", 20), _row(31, "ots", 30, is_pending=True),
        _row(41, "rfc3161", 40), _row(51, "rfc3161", 50), _row(52, "ots", 50, is_pending=True),
    ]  # fmt: skip
    assert anchors_of(rows, 15, 35) == [21, 41, 31, 52]
    assert anchors_of([*rows, _row(61, "ots", 50)], 15, 35) == [21, 41, 31, 61]
    assert anchors_of(rows, 60, 70) == []
