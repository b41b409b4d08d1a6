"""``tapewright ledger anchor``: what it prints, what it records, how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.main import main
from core.state import EngineLock, StateDir
from ledger.anchors_fetch import work
from ledger.verify import verify
from tests.ledger import factory
from tests.ledger.authority import Calendar, Reply, calendar_answer, serving


@pytest.fixture
def state(tmp_path: Path) -> Path:
    factory.write_day(tmp_path / "state")
    return tmp_path / "state"


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask in this process; ``tests/journeys/test_anchors.py`` has the other."""
    monkeypatch.setattr("ledger.anchors_watch.ask_now", work)


def anchor(state: Path, *words: str) -> int:
    return main(["ledger", "anchor", *words, "--state", str(state)])


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_anchor_prints_what_it_proves_and_upgrade_asks_for_the_block(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calendar = Calendar()
    with serving(calendar_answer(calendar)) as url:
        calendar.address = url
        assert anchor(state, "--calendar", url) == 0
        shown = capsys.readouterr()
        assert shown.out.startswith(f"seq 1 to 20: promised by {url}; this proves nothing until")
        assert f"kept as {state}/anchors/" in shown.err
        assert "1 wait for a block (hours)" in shown.err
        calendar.block = 812_345
        assert anchor(state, "--upgrade", "--calendar", url) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("seq 1 to 20 existed when Bitcoin block 812345 was made")
    assert "wait" not in shown.err
    assert main(["ledger", "verify", "--state", str(state)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ok seq 22 hash ")
    assert lines[1].startswith("anchor: seq 1 to 20 existed when Bitcoin block 812345")
    assert main(["ledger", "show", "anchors", "--state", str(state)]) == 0
    assert capsys.readouterr().out.count('"type":"ANCHORED"') == 2


@pytest.mark.usefixtures("here")
def test_an_anchor_that_does_not_come_exits_with_one_and_is_recorded(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(lambda path, body: Reply(b"busy", 503)) as url:
        assert anchor(state, "--calendar", url) == 1
    assert f"ots {url}: it answered HTTP 503" in capsys.readouterr().err
    assert not verify(state).findings
    main(["ledger", "show", "anchors", "--state", str(state)])
    assert '"reason":"it answered HTTP 503"' in capsys.readouterr().out


def test_nobody_to_ask_or_an_address_that_is_none_is_a_mistake(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, said in (
        ((), "nobody to ask: --rfc3161 URL --ca FILE, --ots, or [anchors]"),
        (("--rfc3161", "http://tsa.example"), "--rfc3161 needs --ca FILE"),
        (("--calendar", "ftp://x"), "[anchors] ots_calendars was ['ftp://x']"),
        (("--calendar", "https://user:secret@x"), "[anchors] ots_calendars was"),
    ):
        assert anchor(state, *words) == 2
        assert said in capsys.readouterr().err
    assert not (state / "anchors").exists()


def test_anchor_while_an_engine_runs_is_for_later(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with EngineLock(StateDir(state), venue="sim", command="run", started_ns=0):
        assert anchor(state, "--calendar", "http://127.0.0.1:9") == 3
    assert "an engine already runs" in capsys.readouterr().err
