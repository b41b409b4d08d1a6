"""Anchors asked for, kept, recorded and verified; outsiders are loopback servers of the test."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from core.clock import NS_PER_S
from core.config import AnchorSettings
from core.errors import Failed, UserError
from core.model.event import Anchored, AnchorFailed
from ledger import anchors_rfc3161 as rfc3161
from ledger import anchors_watch
from ledger.anchors import FOLDER, OTS, RFC3161, Job, Outcome, read_status, recorded
from ledger.anchors_fetch import work
from ledger.anchors_watch import AnchorWatch
from ledger.coverage import Stored, stored_notes
from ledger.store import reading
from ledger.verify import verify
from ledger.writer import LedgerWriter
from tests.ledger import attacker, factory
from tests.ledger.authority import (
    HAS_OPENSSL,
    Authority,
    Calendar,
    Reply,
    calendar_answer,
    serving,
)

NS = factory.START_NS
needs_authority = pytest.mark.skipif(
    not (HAS_OPENSSL and rfc3161.is_available()), reason="needs openssl and the extra `anchors`"
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tsa"))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    factory.write_day(tmp_path / "state")
    return tmp_path / "state"


def notes(state: Path) -> list[Stored]:
    with reading(state) as connection:
        return stored_notes(connection)


def record(state: Path, outcomes: list[Outcome]) -> None:
    factory.write(state, [factory.Dated(each, NS) for each in outcomes])


def asking(state: Path, url: str, authority: Authority, timeout_s: float = 5) -> Job:
    return Job(
        str(state),
        AnchorSettings(rfc3161_url=url, rfc3161_ca=str(authority.ca), timeout_s=timeout_s),
    )


def submitting(state: Path, *urls: str, upgrades_only: bool = False) -> Job:
    settings = AnchorSettings(ots_calendars=urls, timeout_s=5)
    return Job(str(state), settings, upgrades_only=upgrades_only)


def texts(state: Path) -> list[str]:
    return [finding.text for finding in verify(state).findings]


# --- RFC 3161 ------------------------------------------------------------------------------------


@needs_authority
def test_newest_checkpoint_is_stamped_kept_recorded_and_verified(
    state: Path, authority: Authority
) -> None:
    seen: list[bytes] = []

    def answer(path: str, body: bytes) -> Reply:
        seen.append(body)
        return Reply(authority.reply(body))

    newest = notes(state)[-1]
    with serving(answer) as url:
        (found,) = work(asking(state, url, authority))
    assert isinstance(found, Anchored)
    assert (found.method, found.size, found.source) == (RFC3161, newest.seq, url)
    digest = hashlib.sha256(newest.note.encode())
    assert found.note_digest == digest.hexdigest()
    assert digest.digest() in seen[0]
    assert newest.note.encode() not in seen[0], "only a digest leaves"
    record(state, [found])
    report = verify(state)
    assert not report.findings
    assert (
        f"seq 1 to {newest.seq} existed on {found.at}: signed by CN=Test TSA" in report.anchors[0]
    )
    assert "CN=Test TSA root" in report.anchors[0]
    assert read_status(state) == f"seq 1 to {newest.seq} rfc3161 at {found.at}"
    assert not verify(state, ca=authority.ca).findings
    stranger = Authority(state.parent / "stranger", name="Stranger")
    (finding,) = verify(state, ca=stranger.ca).findings
    assert (
        f"seq {newest.seq + 1}: the anchor of seq 1 to {newest.seq}: the token does not hold"
        in (finding.text)
    )


@needs_authority
@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("refusal", "the authority refused: status 2"),
        ("garbage", "not an RFC 3161 response"),
        ("error page", "HTTP 503"),
        ("huge", "more than 65536 bytes"),
        ("wrong imprint", "of another text"),
        ("wrong nonce", "its nonce is not ours"),
        ("sleeping", "did not answer in time"),
        ("dripping", "not there after 0.3 s"),
        ("gone", "refused"),
    ],
)
@pytest.mark.slow
def test_an_authority_that_misbehaves_is_a_failure_with_its_reason(
    state: Path, authority: Authority, what: str, said: str
) -> None:
    newest = notes(state)[-1].note.encode()
    answers: dict[str, Callable[[bytes], Reply | None]] = {
        "refusal": lambda body: Reply(authority.reply(b"no query")),
        "garbage": lambda body: Reply(b"\x30\x03\x02\x01\x00garbage"),
        "error page": lambda body: Reply(b"<html>busy</html>", 503),
        "huge": lambda body: Reply(b"x" * 70_000),
        "wrong imprint": lambda body: Reply(
            authority.reply(authority.query(b"x", "-sha256", "-cert"))
        ),
        "wrong nonce": lambda body: Reply(
            authority.reply(authority.query(newest, "-sha256", "-cert"))
        ),
        "sleeping": lambda body: None,
        "dripping": lambda body: Reply(b"x" * 200, drips=True),
        "gone": lambda body: None,
    }
    with serving(lambda path, body: answers[what](body)) as url:
        address = "http://127.0.0.1:9" if what == "gone" else url
        (found,) = work(asking(state, address, authority, 0.3 if "ing" in what else 5))
    assert isinstance(found, AnchorFailed)
    assert said in found.reason
    assert not list((state / FOLDER).iterdir()), "what does not hold is not kept"
    record(state, [found])
    assert not texts(state)
    assert "1 failed since" in read_status(state)


@needs_authority
def test_a_ca_file_that_cannot_be_used_is_said(
    state: Path, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "empty.pem").write_text("")
    for name, said in (("none.pem", "No such file"), ("empty.pem", "no certificates")):
        settings = AnchorSettings(rfc3161_url="http://127.0.0.1:9", rfc3161_ca=str(tmp_path / name))
        (found,) = work(Job(str(state), settings))
        assert isinstance(found, AnchorFailed)
        assert said in found.reason


@needs_authority
def test_an_answer_that_was_altered_or_is_gone_is_found(state: Path, authority: Authority) -> None:
    with serving(lambda path, body: Reply(authority.reply(body))) as url:
        record(state, work(asking(state, url, authority)))
    seq = notes(state)[-1].seq + 1
    for path in sorted((state / FOLDER).iterdir()):
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        assert any(f"seq {seq}" in text and "was altered" in text for text in texts(state))
        path.unlink()
        assert any("is missing" in text for text in texts(state))
        path.write_bytes(data)
    assert not texts(state)


@needs_authority
def test_the_whole_history_made_anew_no_longer_fits_its_anchor(
    state: Path, authority: Authority
) -> None:
    """The key is stolen, every checkpoint signed anew; the token is over the old one."""
    with serving(lambda path, body: Reply(authority.reply(body))) as url:
        record(state, work(asking(state, url, authority)))
    rows = attacker.rows(state)
    place = next(number for number, row in enumerate(rows) if row.seq == 20)
    rows[place] = Stored(20, rows[place].note.replace("\n\n—", "\nother words\n\n—"))
    attacker.put_rows(state, rows)
    assert any("another checkpoint than the one stored" in text for text in texts(state))


@needs_authority
def test_without_the_extra_a_token_is_kept_and_not_called_checked(
    state: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(lambda path, body: Reply(authority.reply(body))) as url:
        record(state, work(asking(state, url, authority)))
        monkeypatch.setattr(rfc3161, "is_available", lambda: False)
        (found,) = work(msgspec.structs.replace(asking(state, url, authority), is_scheduled=False))
    assert isinstance(found, AnchorFailed)
    assert "pip install" in found.reason
    report = verify(state)
    assert not report.findings
    assert "its signature is not checked" in report.anchors[0]


# --- OpenTimestamps ------------------------------------------------------------------------------


def test_a_promise_is_kept_and_later_made_good(state: Path) -> None:
    calendar = Calendar()
    newest = notes(state)[-1]
    with serving(calendar_answer(calendar)) as url:
        calendar.address = url
        (promise,) = work(submitting(state, url))
        assert isinstance(promise, Anchored)
        assert promise.is_pending
        assert calendar.asked[0].hex() != promise.note_digest, "hidden behind a nonce"
        record(state, [promise])
        assert "proves nothing until it is in a block" in verify(state).anchors[0]
        assert "1 wait for a block" in read_status(state)
        assert work(submitting(state, url, upgrades_only=True)) == [], "no block is no failure"
        calendar.block = 812_345
        (done,) = work(submitting(state, url, upgrades_only=True))
    assert isinstance(done, Anchored)
    assert (done.method, done.size, done.is_pending) == (OTS, newest.seq, False)
    record(state, [done])
    (line,) = verify(state).anchors
    assert f"seq 1 to {newest.seq} existed when Bitcoin block 812345 was made" in line
    assert "in a block" in read_status(state)
    assert "wait" not in read_status(state)


def test_one_calendar_of_two_is_enough_and_the_other_is_told(state: Path) -> None:
    calendar = Calendar()
    with serving(calendar_answer(calendar)) as url:
        calendar.address = url
        missed, kept = work(submitting(state, "http://127.0.0.1:9", url))
    assert isinstance(missed, AnchorFailed)
    assert isinstance(kept, Anchored)
    assert kept.source == url


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(b"garbage"), "0x67 is not known"),
        (Reply(b""), "cut short"),
        (Reply(b"slow down", 429), "HTTP 429"),
    ],
)
def test_a_calendar_that_answers_nonsense_is_a_failure(
    state: Path, reply: Reply, said: str
) -> None:
    with serving(lambda path, body: reply) as url:
        (found,) = work(submitting(state, url))
    assert isinstance(found, AnchorFailed)
    assert said in found.reason


def test_a_proof_cannot_make_us_ask_an_address_that_nobody_named(state: Path) -> None:
    calendar, asked = Calendar(), list[str]()

    def trap(path: str, body: bytes) -> Reply:
        asked.append(path)
        return Reply(b"")

    with serving(trap) as elsewhere, serving(calendar_answer(calendar)) as url:
        calendar.address = elsewhere
        record(state, work(submitting(state, url)))
        assert work(submitting(state, url, upgrades_only=True)) == []
    assert asked == []


# --- which, and when -----------------------------------------------------------------------------


def test_what_is_anchored_already_is_left_out_on_schedule(state: Path) -> None:
    calendar = Calendar()
    with serving(calendar_answer(calendar)) as url:
        calendar.address = url
        job = submitting(state, url)
        first = work(job)
        record(state, first)
        size = notes(state)[-1].seq
        again = work(msgspec.structs.replace(job, size=size))
        assert again == []
        assert work(msgspec.structs.replace(job, size=size, is_scheduled=False))
        with pytest.raises(UserError, match=r"no checkpoint over seq 1 to 7; the nearest is"):
            work(msgspec.structs.replace(job, size=7))


class Scripted:
    """Stands for the process: is over when the test says so."""

    def __init__(self, job: Job) -> None:
        self.job, self.is_over, self.is_closed = job, False, False
        self.answer: list[Outcome] | Failed = []

    def outcomes(self, timeout_s: float | None = None) -> list[Outcome]:
        if isinstance(self.answer, Failed):
            raise self.answer
        return self.answer

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Scripted]:
    made: list[Scripted] = []

    def begin(job: Job) -> Scripted:
        made.append(Scripted(job))
        return made[-1]

    monkeypatch.setattr(anchors_watch, "Asking", begin)
    return made


MISSED = AnchorFailed(OTS, 20, "https://calendar.example", "busy")
SETTINGS = AnchorSettings(ots_calendars=("https://calendar.example",), every_s=86_400)


def test_the_schedule_asks_at_the_start_and_then_daily(
    begun: list[Scripted], tmp_path: Path
) -> None:
    watch = AnchorWatch(tmp_path, SETTINGS)
    assert watch.look(NS) == []
    assert watch.look(NS + 1) == [], "it runs"
    begun[0].is_over = True
    assert watch.look(NS + 2) == []
    assert watch.look(NS + 3_600 * NS_PER_S) == []
    assert len(begun) == 1
    watch.look(NS + 86_400 * NS_PER_S)
    assert len(begun) == 2
    watch.close()
    assert begun[1].is_closed


def test_a_failure_is_told_and_tried_again_within_the_hour(
    begun: list[Scripted], tmp_path: Path
) -> None:
    watch = AnchorWatch(tmp_path, SETTINGS)
    watch.look(NS)
    begun[0].is_over, begun[0].answer = True, [MISSED]
    assert watch.look(NS + 1) == [MISSED]
    watch.look(NS + 3_599 * NS_PER_S)
    assert len(begun) == 1
    watch.look(NS + 3_601 * NS_PER_S)
    assert len(begun) == 2
    begun[1].is_over, begun[1].answer = True, Failed("nobody could be asked: killed")
    (found,) = watch.look(NS + 3_602 * NS_PER_S)
    assert isinstance(found, AnchorFailed)
    assert (found.size, found.reason) == (0, "nobody could be asked: killed")


def test_a_process_that_does_not_end_is_ended(begun: list[Scripted], tmp_path: Path) -> None:
    watch = AnchorWatch(tmp_path, SETTINGS)
    watch.look(NS)
    begun[0].answer = Failed("nobody could be asked: it ended with -9")
    assert watch.look(NS + 300 * NS_PER_S) == []
    assert watch.look(NS + 311 * NS_PER_S)


def test_anchors_in_the_middle_of_a_run_leave_the_ledger_in_order(state: Path) -> None:
    calendar = Calendar()
    with serving(calendar_answer(calendar)) as url:
        calendar.address = url
        outcomes = work(submitting(state, url))
    writer = LedgerWriter(state)
    for event, ts_ns, _ in factory.day("run-2"):
        writer.append(event, ts_ns)
        for each in outcomes:
            writer.append(each, ts_ns)
        outcomes = []
    writer.close()
    assert writer.failure is None
    assert not texts(state)
    with reading(state) as connection:
        (row,) = recorded(connection)
    assert row.seq == 22
