"""``tapewright position``: what is printed, what is sent, what is asked first."""

from __future__ import annotations

import msgspec
import pytest

from cli.main import main
from core.control import (
    Ack,
    CloseTrade,
    Command,
    FlattenAll,
    GetSnapshot,
    Picture,
    ReducePosition,
    ReversePosition,
    SetExit,
)
from core.model.exits import ExitKind
from core.snapshot import ExitsView, PositionView
from core.state import StateDir
from tests.cli.conftest import FakeEngine
from tests.core.sample import SNAPSHOT

EXITS = ExitsView("99.60", None, 43.2, -39.9, None, by_hand=("target",))


def position(state: StateDir, *words: str) -> int:
    return main(["position", *words, "--state", str(state.path)])


def hold(engine: FakeEngine, **changes: object) -> PositionView:
    held = msgspec.structs.replace(SNAPSHOT.positions[0], **{"exits": EXITS, **changes})
    engine.answers[GetSnapshot] = Picture(msgspec.structs.replace(SNAPSHOT, positions=(held,)))
    return held


def test_list_shows_each_position_with_its_exits_and_dashes_for_the_unknown(
    state: StateDir, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    hold(engine)
    assert position(state, "list") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("SIM-USD LONG 5 @ 99.90, mark ")
    assert "stop 99.60 (-39.9 bps), target off, time 43 s" in shown
    blind = msgspec.structs.replace(EXITS, stop_bps=None, left_s=None, blind="feed stale: quiet")
    hold(engine, exits=blind, mark=None, unrealized=None, doing="closing")
    position(state, "list")
    shown = capsys.readouterr().out
    assert "mark -, unrealized -" in shown
    assert "stop 99.60 (-), target off, time off" in shown
    assert "EXITS CANNOT ACT: feed stale: quiet, closing" in shown


def test_an_older_engine_without_exits_is_shown_with_a_dash(
    state: StateDir, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert position(state, "list") == 0
    assert capsys.readouterr().out.rstrip().endswith("exits -")


def test_flat_is_said_and_is_no_data(
    state: StateDir, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.answers[GetSnapshot] = Picture(msgspec.structs.replace(SNAPSHOT, positions=()))
    assert position(state, "list") == 0
    told = capsys.readouterr()
    assert (told.out, "flat: no position" in told.err) == ("", True)
    assert position(state, "reverse", "SIM-USD", "--yes") == 1


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (("close", "SIM-USD"), CloseTrade("SIM-USD")),
        (("half", "SIM-USD"), ReducePosition("SIM-USD")),
        (("stop", "SIM-USD", "99.80"), SetExit("SIM-USD", ExitKind.STOP, "99.80")),
        (("target", "SIM-USD", "off"), SetExit("SIM-USD", ExitKind.TARGET, "off")),
        (("time", "SIM-USD", "30"), SetExit("SIM-USD", ExitKind.TIME, "30")),
        (("flatten", "--yes"), FlattenAll()),
    ],
)
def test_each_command_is_sent_and_its_answer_told(
    state: StateDir,
    engine: FakeEngine,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    command: Command,
) -> None:
    engine.answers[type(command)] = Ack(ok=True, text="what was done")
    assert position(state, *words) == 0
    assert engine.seen == [command]
    assert "what was done" in capsys.readouterr().err


def test_reversing_names_the_position_that_was_shown(state: StateDir, engine: FakeEngine) -> None:
    held = hold(engine)
    engine.answers[ReversePosition] = Ack(ok=True, text="closing")
    assert position(state, "reverse", "SIM-USD", "--yes") == 0
    assert engine.seen == [GetSnapshot(), ReversePosition("SIM-USD", held.lots)]


@pytest.mark.parametrize("words", [("flatten",), ("reverse", "SIM-USD")])
def test_without_anybody_to_ask_nothing_dangerous_is_sent(
    state: StateDir,
    engine: FakeEngine,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
) -> None:
    hold(engine)
    assert position(state, *words) == 2
    assert "say it with --yes" in capsys.readouterr().err
    assert not any(isinstance(each, FlattenAll | ReversePosition) for each in engine.seen)


def test_a_refusal_is_an_error(
    state: StateDir, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.answers[SetExit] = Ack(ok=False, text="stop: price 1.001 was off the 0.01 tick")
    assert position(state, "stop", "SIM-USD", "1.001") == 1
    assert "off the 0.01 tick" in capsys.readouterr().err


def test_status_shows_the_exits_too(
    state: StateDir, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    hold(engine)
    assert main(["status", "--state", str(state.path)]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "position" in line)
    assert line.endswith("stop 99.60  target off  time 43 s left")
