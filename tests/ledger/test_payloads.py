"""Payload files: durable, named by their content, and every change to one is found."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import msgspec
import pytest

from core.errors import Failed, ValueRefused
from core.model.event import DecisionsTaken
from ledger import payloads
from ledger.verify import verify
from ledger.writer import LedgerWriter
from tests.ledger import factory

LINES = b"".join(b'{"n":%d,"p_up":0.5%d}\n' % (n, n) for n in range(40))


def decisions(data: bytes = LINES, count: int = 40) -> DecisionsTaken:
    return DecisionsTaken(
        format="points/1",
        first=1,
        count=count,
        proposed=0,
        first_ns=factory.START_NS,
        last_ns=factory.START_NS,
        features=(),
        signals=(),
        agent="",
        digest=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
    )


def write(state: Path, event: DecisionsTaken, data: bytes = LINES) -> None:
    writer = LedgerWriter(state)
    writer.append(factory.run_started(), factory.START_NS)
    writer.keep(data)
    writer.append(event, factory.START_NS)
    writer.close()
    assert writer.failure is None


def the_file(state: Path) -> Path:
    (found,) = (state / payloads.FOLDER).rglob("*.gz")
    return found


def test_a_payload_comes_back_and_the_same_content_is_kept_once(tmp_path: Path) -> None:
    digest = payloads.put(tmp_path, LINES)
    before = the_file(tmp_path).stat()
    assert payloads.put(tmp_path, LINES) == digest == hashlib.sha256(LINES).hexdigest()
    assert payloads.get(tmp_path, digest) == LINES
    assert the_file(tmp_path).stat().st_ino == before.st_ino
    assert before.st_mode & 0o777 == 0o600


def test_a_spoilt_file_is_replaced_when_its_content_comes_again(tmp_path: Path) -> None:
    digest = payloads.put(tmp_path, LINES)
    the_file(tmp_path).write_bytes(b"")
    payloads.put(tmp_path, LINES)
    assert payloads.get(tmp_path, digest) == LINES


def test_a_digest_that_names_another_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueRefused, match="64 hex digits"):
        payloads.get(tmp_path, "../../etc/passwd")


def test_a_payload_is_on_disk_when_the_event_that_names_it_is_acknowledged(tmp_path: Path) -> None:
    writer = LedgerWriter(tmp_path)
    writer.append(factory.run_started(), factory.START_NS)
    writer.keep(LINES)
    writer.append(decisions(), factory.START_NS)
    writer.flush().result()
    assert payloads.get(tmp_path, decisions().digest) == LINES
    writer.close()


def test_a_payload_that_cannot_be_written_stops_the_ledger(tmp_path: Path) -> None:
    writer = LedgerWriter(tmp_path)
    writer.append(factory.run_started(), factory.START_NS)
    writer.flush().result()
    (tmp_path / payloads.FOLDER).write_text("in the way")
    writer.keep(LINES)
    writer.close()
    assert writer.failure is not None
    assert "NotADirectory" in writer.failure or "FileExists" in writer.failure


def test_verify_names_a_payload_that_is_missing(tmp_path: Path) -> None:
    write(tmp_path, decisions())
    assert not verify(tmp_path).findings
    the_file(tmp_path).unlink()
    (finding,) = verify(tmp_path).findings
    assert finding.text == f"seq 2: payload {decisions().digest} is missing"


@pytest.mark.parametrize(
    ("event", "says"),
    [
        (decisions(count=41), "has 40 lines"),
        (decisions(LINES + b"{}\n"), "is missing"),
        (msgspec.structs.replace(decisions(), size_bytes=1), f"has {len(LINES)} bytes"),
    ],
)
def test_verify_compares_what_the_event_says_of_it(
    tmp_path: Path, event: DecisionsTaken, says: str
) -> None:
    write(tmp_path, event)
    (finding,) = verify(tmp_path).findings
    assert says in finding.text


def test_every_changed_byte_of_a_payload_is_found(tmp_path: Path) -> None:
    digest = payloads.put(tmp_path, LINES)
    path = the_file(tmp_path)
    sound, draw = path.read_bytes(), random.Random(7)
    for place in range(len(sound)):
        changed = bytearray(sound)
        changed[place] ^= draw.randrange(1, 256)
        path.write_bytes(changed)
        with pytest.raises(Failed, match="altered"):
            payloads.get(tmp_path, digest)
    for more in (sound + b"\0", sound + sound, sound[:-1]):
        path.write_bytes(more)
        with pytest.raises(Failed, match="altered"):
            payloads.get(tmp_path, digest)
