from __future__ import annotations

import json
import os

import msgspec
import pytest

from cli.main import main
from core.control import Ack, GetSnapshot, Picture
from core.latch import KillLatch
from core.model.event import Anchored, AnchorFailed
from core.snapshot import Snapshot
from core.state import EngineLock, StateDir
from tests.cli.conftest import FakeEngine
from tests.core.sample import NOON_NS, SNAPSHOT
from tests.ledger import factory


def status(state: StateDir, *words: str) -> int:
    return main(["status", *words, "--state", str(state.path)])


def test_status_shows_what_the_engine_holds(
    state: StateDir, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(state) == 0
    shown = capsys.readouterr().out.splitlines()
    for wanted in (
        "SIM  sim  sim  mode confirm  run r-1  up 60 s",
        "latch     open",
        "SIM-USD  live  bid 99.99  ask 100.01  age 40 ms  gaps 3",
        "NEW-USD  connecting (first connection)  bid not known  ask not known  "
        "age not known  gaps 0",
        "position  SIM-USD  5 at 99.90  unrealized 0.50",
        "order     o-1  SIM-USD  SELL 5 at 99.97  filled 0  ACCEPTED",
        "proposal  d-1  ENTER_LONG SIM-USD 10 at 100.03  8.5 s left",
        "fill      12:00:48  SIM-USD  BUY 5 at 99.90  fee 0.01",
        "P&L       total -0.75  realized -1.25  unrealized 0.50  fees 0.03  USD",
        "ledger    seq 42  0123456789ab",
    ):
        assert wanted in shown
    assert engine.seen == [GetSnapshot()], "status is no screen"


def test_flat_and_unmarked_is_said(
    state: StateDir, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    pnl = msgspec.structs.replace(SNAPSHOT.pnl, total=None, unrealized=None)
    snapshot = msgspec.structs.replace(SNAPSHOT, positions=(), pnl=pnl, finished="end of capture")
    engine.answers[GetSnapshot] = Picture(snapshot=snapshot)
    assert status(state) == 0
    shown = capsys.readouterr().out.splitlines()
    assert "position  flat" in shown
    assert "finished  end of capture" in shown
    assert any("total not known" in line and "unrealized not known" in line for line in shown)


def test_halt_and_block_are_shown(
    state: StateDir, engine: FakeEngine, latch: KillLatch, capsys: pytest.CaptureFixture[str]
) -> None:
    latch.trip("daily loss", "system", 1_767_268_800_000_000_000)
    risk = msgspec.structs.replace(SNAPSHOT.risk, blocked="the book is stale")
    engine.answers[GetSnapshot] = Picture(snapshot=msgspec.structs.replace(SNAPSHOT, risk=risk))
    assert status(state) == 0
    shown = capsys.readouterr().out.splitlines()
    assert "latch     HALTED since 2026-01-01T12:00:00.000000000Z by system: daily loss" in shown
    assert "engine    says open" in shown
    assert "blocked   the book is stale" in shown


def test_without_an_engine_the_latch_is_shown_and_the_code_is_3(
    state: StateDir, latch: KillLatch, capsys: pytest.CaptureFixture[str]
) -> None:
    latch.path.write_text("halt")
    assert status(state) == 3
    shown = capsys.readouterr()
    assert shown.out.startswith("latch     HALTED: KILL exists")
    assert shown.err == f"tapewright: no engine runs on {state.path}\n"


def test_engine_that_does_not_answer_is_named(
    state: StateDir, held: EngineLock, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(state) == 3
    assert f"does not answer: pid {os.getpid()}" in capsys.readouterr().err


def test_json_is_the_snapshot_and_the_latch(
    state: StateDir, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(state, "--json") == 0
    table = json.loads(capsys.readouterr().out)
    assert msgspec.convert(table["engine"], Snapshot) == SNAPSHOT
    assert table["latch"]["is_halted"] is False


def test_json_without_an_engine_has_the_same_shape(
    state: StateDir, latch: KillLatch, capsys: pytest.CaptureFixture[str]
) -> None:
    latch.trip("r", "a", 0)
    assert status(state, "--json") == 3
    table = json.loads(capsys.readouterr().out)
    assert table == {
        "engine": None,
        "latch": {
            "is_halted": True,
            "reason": "r",
            "actor": "a",
            "since_ns": 0,
            "flattens": False,
            "since": "1970-01-01T00:00:00.000000000Z",
        },
        "halts": {},
        "anchors": "",
    }


def test_what_outsiders_attest_is_shown_with_and_without_an_engine(
    state: StateDir, capsys: pytest.CaptureFixture[str]
) -> None:
    factory.write_day(state.path)
    (state.path / "anchors").mkdir()
    anchored = Anchored("ots", 20, "ab" * 32, "https://a.example", "cd" * 32, 135, is_pending=True)
    failed = AnchorFailed("rfc3161", 20, "http://tsa.example", "it did not answer\x1b[2J in time")
    factory.write(state.path, [factory.Dated(each, NOON_NS) for each in (anchored, failed)])
    assert status(state) == 3
    shown = capsys.readouterr().out
    assert "anchored  seq 1 to 20 ots pending; 1 wait for a block; 1 failed since, last" in shown
    assert "\x1b" not in shown
    status(state, "--json")
    assert json.loads(capsys.readouterr().out)["anchors"].startswith("seq 1 to 20 ots pending")


def test_status_makes_no_directory(state: StateDir) -> None:
    nowhere = StateDir(state.path / "nowhere")
    assert status(nowhere) == 3
    assert not nowhere.path.exists()


def test_control_characters_of_a_snapshot_do_not_reach_the_terminal(
    state: StateDir, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = msgspec.structs.replace(SNAPSHOT.instruments[0], name="A\x1b[2J\nB\u202e")
    engine.answers[GetSnapshot] = Picture(
        snapshot=msgspec.structs.replace(SNAPSHOT, instruments=(hostile,))
    )
    assert status(state) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "A\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}B" in shown


def test_word_in_place_of_a_snapshot_fails(
    state: StateDir, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.answers[GetSnapshot] = Ack(ok=False, text="still starting")
    assert status(state) == 1
    assert "still starting" in capsys.readouterr().err


def test_a_halt_of_one_scope_is_told_with_and_without_an_engine(
    state: StateDir, latch: KillLatch, capsys: pytest.CaptureFixture[str]
) -> None:
    latch.of("instrument:BTCUSDT").trip("odd prints", "human:trader", NOON_NS)
    assert main(["status", "--state", str(state.path)]) == 3
    out = capsys.readouterr().out
    assert "latch     open" in out
    assert "by human:trader: odd prints (BTCUSDT alone)" in out
    main(["status", "--json", "--state", str(state.path)])
    told = json.loads(capsys.readouterr().out)
    assert told["halts"]["instrument:BTCUSDT"]["reason"] == "odd prints"
    assert not told["latch"]["is_halted"]
