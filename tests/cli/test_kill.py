from __future__ import annotations

import os

import pytest

from cli.main import main
from core.control import Ack, Kill, KillAll, Rearm, Stop
from core.latch import KillLatch
from core.state import EngineLock, StateDir
from tests.cli.conftest import FakeEngine


def run(state: StateDir, *words: str) -> int:
    return main([*words, "--state", str(state.path)])


def test_kill_goes_to_the_engine_with_its_reason(
    state: StateDir, engine: FakeEngine, latch: KillLatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(state, "kill", "--reason", "prices look wrong") == 0
    assert engine.seen == [KillAll(reason="prices look wrong", actor="human:trader")]
    assert "did KillAll" in capsys.readouterr().err
    assert not latch.read().is_halted, "the engine writes its own latch"


def test_kill_without_an_engine_writes_the_latch_and_says_so(
    state: StateDir, latch: KillLatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(state, "kill", "--reason", "going out") == 0
    assert latch.read().reason == "going out"
    assert latch.read().actor == "human:trader"
    said = capsys.readouterr().err
    assert "no engine answers" in said
    assert "starts halted" in said


def test_kill_makes_a_state_directory_that_is_not_there(state: StateDir) -> None:
    fresh = StateDir(state.path / "fresh")
    assert run(fresh, "kill") == 0
    assert KillLatch(fresh.path).read().is_halted


def test_kill_that_the_engine_refuses_writes_the_latch_and_fails(
    state: StateDir, engine: FakeEngine, latch: KillLatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.answers[KillAll] = Ack(ok=False, text="ledger is gone")
    assert run(state, "kill") == 1
    assert "ledger is gone" in capsys.readouterr().err
    assert latch.read().is_halted


def test_kill_of_an_engine_that_does_not_answer_names_it_and_fails(
    state: StateDir, held: EngineLock, latch: KillLatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(state, "kill") == 1
    assert f"kill -9 {os.getpid()}" in capsys.readouterr().err
    assert latch.read().is_halted


def test_kill_that_cannot_write_the_latch_fails_loudly(
    state: StateDir, latch: KillLatch, capsys: pytest.CaptureFixture[str]
) -> None:
    latch.path.mkdir()
    assert run(state, "kill") == 1
    assert "could NOT be written" in capsys.readouterr().err


def test_rearm_goes_to_the_engine_with_its_reason(
    state: StateDir, engine: FakeEngine, latch: KillLatch
) -> None:
    latch.trip("r", "a", 1)
    assert run(state, "rearm", "--reason", " checked ") == 0
    assert engine.seen == [Rearm(reason="checked", actor="human:trader")]
    assert latch.read().is_halted, "the engine opens it, after the ledger"


def test_rearm_that_the_engine_refuses_fails(
    state: StateDir, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.answers[Rearm] = Ack(ok=False, text="orders are still working")
    assert run(state, "rearm", "--reason", "x") == 1
    assert "orders are still working" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["rearm"], ["rearm", "--reason", ""], ["rearm", "--reason", " "]]
)
def test_rearm_needs_a_reason(
    state: StateDir, engine: FakeEngine, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(state, *words) == 2
    assert "--reason" in capsys.readouterr().err
    assert engine.seen == []


def test_rearm_without_an_engine_is_left_to_the_next_one(
    state: StateDir, latch: KillLatch, capsys: pytest.CaptureFixture[str]
) -> None:
    latch.trip("r", "a", 1)
    assert run(state, "rearm", "--reason", "checked") == 0
    assert "next start" in capsys.readouterr().err
    request = latch.rearm_request()
    assert request is not None
    assert request.reason == "checked"
    assert latch.read().is_halted


def test_rearm_without_an_engine_and_without_a_latch_does_nothing(
    state: StateDir, latch: KillLatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(state, "rearm", "--reason", "checked") == 0
    assert "not halted" in capsys.readouterr().err
    assert latch.rearm_request() is None


def test_rearm_behind_an_engine_that_does_not_answer_is_refused(
    state: StateDir, held: EngineLock, latch: KillLatch, capsys: pytest.CaptureFixture[str]
) -> None:
    latch.trip("r", "a", 1)
    assert run(state, "rearm", "--reason", "checked") == 3
    assert f"pid {os.getpid()}" in capsys.readouterr().err
    assert latch.rearm_request() is None


def test_stop_asks_the_engine(state: StateDir, engine: FakeEngine) -> None:
    assert run(state, "stop") == 0
    assert engine.seen == [Stop()]


def test_stop_without_an_engine_means_try_again(
    state: StateDir, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(state, "stop") == 3
    assert "no engine answers" in capsys.readouterr().err


def test_narration_goes_to_stderr_alone(
    state: StateDir, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["kill"], ["rearm", "--reason", "x"], ["stop"]):
        run(state, *words)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "scope"),
    [
        (["--instrument", "BTC/USD"], "instrument:BTC/USD"),
        (["--order", "cafe-o1"], "order:cafe-o1"),
        (["--strategy"], "strategy"),
    ],
)
def test_a_kill_of_one_scope_goes_to_the_engine(
    state: StateDir, engine: FakeEngine, words: list[str], scope: str
) -> None:
    assert run(state, "kill", "--reason", "odd prints", *words) == 0
    assert engine.seen == [Kill(scope=scope, reason="odd prints", actor="human:trader")]


def test_two_scopes_at_once_are_refused(
    state: StateDir, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(state, "kill", "--strategy", "--instrument", "X") == 2
    assert "name one" in capsys.readouterr().err
    assert engine.seen == []


def test_an_empty_instrument_is_refused(state: StateDir, engine: FakeEngine) -> None:
    assert run(state, "kill", "--instrument", "") == 2
    assert engine.seen == []


def test_one_scope_is_latched_without_an_engine(
    state: StateDir, latch: KillLatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(state, "kill", "--instrument", "BTCUSDT", "--reason", "odd prints") == 0
    assert "starts halted, for BTCUSDT" in capsys.readouterr().err
    assert not latch.read().is_halted
    assert latch.of("instrument:BTCUSDT").read().flattens
    assert run(state, "kill", "--strategy") == 0
    assert not latch.of("strategy").read().flattens, "a halted strategy keeps its position"


def test_an_order_cannot_be_killed_without_an_engine(state: StateDir, latch: KillLatch) -> None:
    assert run(state, "kill", "--order", "cafe-o1") == 3
    assert not latch.read().is_halted


def test_a_scoped_kill_of_an_engine_that_does_not_answer_says_how_to_stop_it(
    state: StateDir, held: EngineLock, latch: KillLatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(state, "kill", "--strategy") == 1
    assert "to stop it now: tapewright kill" in capsys.readouterr().err
    assert latch.of("strategy").read().is_halted


def test_a_scoped_kill_that_the_engine_refuses_latches_nothing(
    state: StateDir, engine: FakeEngine, latch: KillLatch
) -> None:
    engine.answers[Kill] = Ack(ok=False, text="NOPE is not traded in this run")
    assert run(state, "kill", "--instrument", "NOPE") == 1
    assert not latch.of("instrument:NOPE").read().is_halted


def test_one_scope_is_rearmed_by_the_engine_or_left_to_the_next(
    state: StateDir, latch: KillLatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(state, "rearm", "--reason", "looked", "--strategy") == 0
    assert "not halted" in capsys.readouterr().err
    strategy = latch.of("strategy")
    strategy.trip("x", "y", 1)
    assert run(state, "rearm", "--reason", "looked", "--strategy") == 0
    request = strategy.rearm_request()
    assert request is not None
    assert request.reason == "looked"


def test_rearming_one_scope_goes_to_the_engine(state: StateDir, engine: FakeEngine) -> None:
    assert run(state, "rearm", "--reason", "looked", "--instrument", "X") == 0
    assert engine.seen == [Rearm(reason="looked", actor="human:trader", scope="instrument:X")]
