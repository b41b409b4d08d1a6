"""The bound of the payloads: what goes is named by a durable event first, never what is held."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from core.clock import NS_PER_S
from core.errors import Failed
from core.model.event import FilesRemoved
from core.state import StateDir
from ledger import holds, payload_bound, payloads
from ledger.export.kinds import Period
from ledger.issue import sign_head
from ledger.payload_bound import PayloadBound, look
from ledger.payload_check import get_named
from ledger.verify import verify
from ledger.writer import LedgerWriter
from tests.ledger import binding, factory

DAY_NS = 86_400 * NS_PER_S
DAYS = 5
NOW_S = 4e9
"""Later than any file."""


def lines_of(day: int) -> bytes:
    """Return points that no compression makes small: each file has about 4 KB."""
    return (
        b"".join(b'{"n":"%s"}\n' % os.urandom(1000).hex().encode() for _ in range(4))
        + b"%d\n" % day
    )


def write(state: Path, contents: list[bytes]) -> list[str]:
    """Write a ledger of one payload a day; return the digests, oldest first."""
    writer = LedgerWriter(state)
    writer.append(factory.run_started(), factory.START_NS)
    for day, data in enumerate(contents):
        writer.keep(data)
        writer.append(factory.points_taken(data), factory.START_NS + day * DAY_NS)
    writer.close()
    assert writer.failure is None
    return [factory.points_taken(data).digest for data in contents]


def journal(state: Path, *events: FilesRemoved) -> None:
    writer = LedgerWriter(state)
    for event in events:
        writer.append(event, factory.START_NS + DAYS * DAY_NS)
    writer.close()
    assert writer.failure is None


def keep_bound(state: Path, max_bytes: int) -> PayloadBound:
    """Do what a run does until nothing is left to do."""
    bound = PayloadBound(state, max_bytes)
    events = bound.on_time(0)
    process = bound._process
    assert process is not None
    assert not events
    process.wait(30)
    while events := bound.on_time(1):
        journal(state, *events)
    return bound


@pytest.fixture
def digests(tmp_path: Path) -> list[str]:
    return write(tmp_path, [lines_of(day) for day in range(DAYS)])


def size_of(state: Path, digest: str) -> int:
    return payloads.path_of(state, digest).stat().st_size


def there(state: Path, digests: list[str]) -> list[int]:
    return [day for day, digest in enumerate(digests) if payloads.is_there(state, digest)]


@pytest.mark.slow
def test_oldest_points_go_after_an_event_that_names_them_and_verify_says_so(
    tmp_path: Path, digests: list[str]
) -> None:
    room_of_three = sum(size_of(tmp_path, digest) for digest in digests[2:])
    bound = keep_bound(tmp_path, round(room_of_three * 1.05))
    assert there(tmp_path, digests) == [2, 3, 4]
    assert bound.failure == ""
    assert bound.kept_bytes == room_of_three
    report = verify(tmp_path)
    assert report.findings == ()
    assert "2 payload(s) removed by rule" in report.ok_text
    with pytest.raises(Failed, match=r"was removed by rule, see seq 7$"):
        get_named(tmp_path, 2, digests[0])


def test_below_the_bound_nothing_goes(tmp_path: Path, digests: list[str]) -> None:
    assert look(tmp_path, 10**9, NOW_S).remove == ()
    assert there(tmp_path, digests) == [0, 1, 2, 3, 4]


def test_file_that_no_event_says_went_is_missing(tmp_path: Path, digests: list[str]) -> None:
    payloads.remove(tmp_path, digests[1])
    journal(tmp_path, FilesRemoved("payload", (digests[0],), 1, 1, "rule"))
    (finding,) = verify(tmp_path).findings
    assert finding.text == f"seq 3: payload {digests[1]} is missing"


def test_a_removal_before_an_equal_payload_was_named_again_excuses_nothing(tmp_path: Path) -> None:
    data = lines_of(0)
    (digest,) = write(tmp_path, [data])
    journal(tmp_path, FilesRemoved("payload", (digest,), 1, 1, "rule"))
    assert not payloads.is_there(tmp_path, digest)
    writer = LedgerWriter(tmp_path)
    writer.append(factory.run_started("run-2"), factory.START_NS)
    writer.keep(data)
    writer.append(factory.points_taken(data), factory.START_NS)
    writer.close()
    assert verify(tmp_path).findings == ()
    payloads.remove(tmp_path, digest)
    assert [each.text for each in verify(tmp_path).findings] == [
        f"seq 5: payload {digest} is missing"
    ]


def test_an_engine_that_removes_while_a_verification_runs_is_no_finding(
    tmp_path: Path, digests: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ledger import event_pass

    engine = LedgerWriter(tmp_path)

    def first_remove(*_: object) -> list[object]:
        engine.append(FilesRemoved("payload", tuple(digests[:2]), 1, 1, "rule"), factory.START_NS)
        engine.flush().result()
        while there(tmp_path, digests[:2]):  # the files go after the commit is acknowledged
            engine.sign_head()
            engine.flush().result()
        return []

    monkeypatch.setattr(event_pass, "file_problems", first_remove)
    report = verify(tmp_path)
    engine.close()
    assert report.head.seq == 1 + DAYS
    assert report.findings == ()


def test_what_is_held_stays_above_the_bound_and_the_trader_is_told(
    tmp_path: Path, digests: list[str]
) -> None:
    (tmp_path / holds.NAME).write_text("# dispute\n1970-01-01 9999-12-31 the whole of it\n")
    found = look(tmp_path, 1, NOW_S)
    assert found.remove == ()
    assert "payloads.hold holds them" in found.failure
    assert there(tmp_path, digests) == [0, 1, 2, 3, 4]


def test_a_hold_of_two_days_lets_the_others_go(tmp_path: Path, digests: list[str]) -> None:
    from core.clock import iso_ns

    since, until = (iso_ns(factory.START_NS + day * DAY_NS) for day in (1, 3))
    holds.add(tmp_path, Period(since, until), "audit")
    holds.add(tmp_path, Period(since, until), "audit")
    assert (tmp_path / holds.NAME).read_text() == f"{since} {until} audit\n"
    found = look(tmp_path, 1, NOW_S)
    assert [digest for digest, _ in found.remove] == [digests[0], digests[3], digests[4]]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("2026-13-01 2027-01-01 x", "allowed is a date"),
        ("2026-01-01", "not FROM UNTIL why"),
        ("2027-01-01 2026-01-01 x", "FROM is not before UNTIL"),
        ("2026-01-01 2027-01-01 \udcff", "cannot be read"),
    ],
)
def test_a_hold_that_cannot_be_read_holds_everything(
    tmp_path: Path, digests: list[str], line: str, says: str
) -> None:
    (tmp_path / holds.NAME).write_bytes(line.encode(errors="surrogateescape"))
    found = look(tmp_path, 1, NOW_S)
    assert found.remove == ()
    assert says in found.failure
    assert digests


def test_open_ended_binder_holds_what_is_to_come_too(tmp_path: Path) -> None:
    holds.add(tmp_path, Period(), "a binder was made of it")
    (hold,) = holds.read(tmp_path)
    assert hold.holds("2038-01-01T00:00:00.000000000Z")


def test_a_file_that_a_kill_left_after_its_event_is_removed_by_the_next_look(
    tmp_path: Path, digests: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payloads, "remove", _refuse)
    journal(tmp_path, FilesRemoved("payload", (digests[0],), 1, 1, "rule"))
    assert there(tmp_path, digests) == [0, 1, 2, 3, 4]
    assert verify(tmp_path).findings == ()
    monkeypatch.undo()
    look(tmp_path, sum(size_of(tmp_path, digest) for digest in digests) - 100, 0.0)
    assert there(tmp_path, digests) == [1, 2, 3, 4]


def _refuse(*_: object) -> None:
    raise OSError(30, "Read-only file system")


def test_payloads_that_lie_about_are_packed_and_say_the_same(
    tmp_path: Path, digests: list[str]
) -> None:
    before = [payloads.get(tmp_path, digest) for digest in digests]
    look(tmp_path, 10**9, 0.0)
    assert len(list((tmp_path / payloads.FOLDER).glob("*/*.gz"))) == DAYS  # too young
    look(tmp_path, 10**9, NOW_S)
    assert [payloads.get(tmp_path, digest) for digest in digests] == before
    assert not list((tmp_path / payloads.FOLDER).glob("*/*.gz"))
    assert verify(tmp_path).findings == ()


def test_one_look_packs_so_many_and_the_next_one_the_rest(
    tmp_path: Path, digests: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payload_bound, "PACKS_MAX", DAYS - 1)
    loose = (tmp_path / payloads.FOLDER).glob
    look(tmp_path, 10**9, NOW_S)
    assert len(list(loose("*/*.gz"))) == 1
    look(tmp_path, 10**9, NOW_S)
    assert list(loose("*/*.gz")) == []
    assert there(tmp_path, digests) == [0, 1, 2, 3, 4]


def test_what_a_killed_process_had_begun_to_write_goes_and_what_is_being_written_stays(
    tmp_path: Path, digests: list[str]
) -> None:
    begun = payloads.path_of(tmp_path, digests[0]).with_suffix(".4711.new")
    begun.write_bytes(b"half")
    look(tmp_path, 10**9, 0.0)
    assert begun.exists()
    look(tmp_path, 10**9, NOW_S)
    assert not begun.exists()
    assert there(tmp_path, digests) == [0, 1, 2, 3, 4]


def test_an_altered_payload_is_never_packed(tmp_path: Path, digests: list[str]) -> None:
    payloads.path_of(tmp_path, digests[2]).write_bytes(b"spoilt")
    look(tmp_path, 10**9, NOW_S)
    assert payloads.path_of(tmp_path, digests[2]).read_bytes() == b"spoilt"
    assert "altered" in verify(tmp_path).findings[0].text


@pytest.mark.parametrize("words", [["nonsense"], ["."]], ids=["no bound", "no program"])
def test_a_look_that_dies_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setattr(payload_bound.sys, "executable", "/bin/false" if words != ["."] else ".")
    bound = PayloadBound(tmp_path, 1)
    bound.on_time(0)
    if bound._process is not None:
        bound._process.wait(30)
    bound.on_time(1)
    assert bound.failure
    bound.close()


@pytest.mark.slow
def test_a_binder_lists_what_a_rule_removed_and_holds_the_rest_from_then_on(
    tmp_path: Path, digests: list[str]
) -> None:
    state = tmp_path
    journal(state, FilesRemoved("payload", (digests[0],), 1, 1, "rule"))
    period = Period("2025-12-31T00:00:00.000000000Z", "2026-01-03T00:00:00.000000000Z")
    sign_head(StateDir(state), factory.START_NS)
    made = binding.made(state, tmp_path / "out", period)
    count, lines = binding.faults(made.folder)
    assert count == 0, lines
    assert "ok   payloads: 1 payloads are what their names say" in lines
    (row,) = (made.folder / "payloads_removed.jsonl").read_text().splitlines()
    assert json.loads(row) == {"digest": digests[0], "removed_at_seq": 2 + DAYS}
    kept = [digest for digest, _ in look(state, 1, 0.0).remove]
    assert kept == digests[2:]  # the second is in the binder


def test_a_nearly_full_disk_takes_no_payload_and_the_ledger_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payloads, "FREE_BYTES_MIN", 2**62)
    data = lines_of(0)
    writer = LedgerWriter(tmp_path)
    writer.append(factory.run_started(), factory.START_NS)
    no_room = writer.keep(data)
    assert "MiB free" in no_room
    event = factory.points_taken(data)
    writer.append(event, factory.START_NS)
    writer.append(FilesRemoved("payload", (event.digest,), len(data), 0, no_room), factory.START_NS)
    writer.close()
    assert writer.failure is None
    assert not payloads.is_there(tmp_path, event.digest)
    assert "1 payload(s) removed by rule" in verify(tmp_path).ok_text


def test_every_changed_byte_of_a_packed_payload_is_found(tmp_path: Path) -> None:
    data = b'{"n":1}\n' * 40
    digest = payloads.put(tmp_path, data)
    payloads.pack(tmp_path, digest)
    path = payloads.paths_of(tmp_path, digest)[1]
    sound = path.read_bytes()
    for place in range(len(sound)):
        changed = bytearray(sound)
        changed[place] ^= 1 + place % 255
        path.write_bytes(changed)
        with pytest.raises(Failed, match="altered"):
            payloads.get(tmp_path, digest)
    for more in (sound + b"\0", sound + sound, sound[:-1], b""):
        path.write_bytes(more)
        with pytest.raises(Failed, match="altered"):
            payloads.get(tmp_path, digest)
