"""The engine's side of the watchdog."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import guard as module
from cli.guard import Guard, watchdog_words
from core.clock import NS_PER_MS
from core.config import WatchdogSettings
from core.errors import UserError
from core.watchdog.beat import BeatFile, EngineBeat, Phase, WatchdogBeat
from core.watchdog.handle import start_ticks

ALONE = WatchdogSettings(enabled=False)


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[Guard]:
    one = Guard(tmp_path, ALONE)
    one.start()
    yield one
    one.close()


def said(folder: Path) -> EngineBeat:
    beats = BeatFile.open(folder)
    beat = beats.engine()
    beats.close()
    assert beat is not None
    return beat


def test_the_first_beat_names_this_very_process_and_that_it_starts(
    guard: Guard, tmp_path: Path
) -> None:
    del guard
    beat = said(tmp_path)
    assert (beat.pid, beat.start_ticks) == (os.getpid(), start_ticks(os.getpid()))
    assert beat.phase is Phase.STARTING
    assert not beat.is_closed


def test_it_beats_ten_times_a_second_and_at_once_when_there_is_news(
    guard: Guard, tmp_path: Path
) -> None:
    now_ns = said(tmp_path).beat_ns + 100 * NS_PER_MS
    assert guard.turn(now_ns, is_closed=False, is_trading=False)
    assert said(tmp_path).beat_ns == now_ns
    assert not guard.turn(now_ns + 99 * NS_PER_MS, is_closed=False, is_trading=False)
    assert guard.turn(now_ns + 1, is_closed=False, is_trading=True)
    assert said(tmp_path).phase is Phase.TRADING
    assert guard.turn(now_ns + 2, is_closed=True, is_trading=True)
    assert said(tmp_path).is_closed
    assert not guard.turn(now_ns + 3, is_closed=True, is_trading=False)
    assert said(tmp_path).phase is Phase.TRADING, "there is no way back to the start"


def test_a_gate_closed_by_a_signal_is_told_without_a_beat(guard: Guard, tmp_path: Path) -> None:
    before = said(tmp_path)
    guard.tell_closed()
    after = said(tmp_path)
    assert after.is_closed
    assert after.beat_ns == before.beat_ns, "the loop has not turned"


@pytest.mark.parametrize(("in_order", "phase"), [(True, Phase.ENDING), (False, Phase.FAILED)])
def test_the_end_says_whether_it_was_in_order(
    guard: Guard, tmp_path: Path, in_order: bool, phase: Phase
) -> None:
    guard.end(in_order=in_order)
    assert said(tmp_path).phase is phase


def test_without_a_watchdog_the_trouble_is_named_and_one_started_by_hand_ends_it(
    guard: Guard, tmp_path: Path
) -> None:
    assert guard.trouble() == "no watchdog: [watchdog] enabled is false"
    beats = BeatFile.open(tmp_path)
    beats.write_watchdog(WatchdogBeat(1, 2**62))
    assert guard.trouble() == ""
    beats.write_watchdog(WatchdogBeat(1, 1))
    assert guard.trouble() != ""
    beats.close()


def test_a_watchdog_that_ends_at_once_is_started_four_times_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[int] = []

    def words(*_: object) -> list[str]:
        starts.append(1)
        return [sys.executable, "-c", ""]

    monkeypatch.setattr(module, "watchdog_words", words)
    guard = Guard(tmp_path, WatchdogSettings())
    guard.start()
    for _ in range(6):
        assert guard._watchdog is not None
        guard._watchdog.wait()
        told = guard.trouble()
    assert len(starts) == module.STARTS_MAX
    assert not guard.is_awaited
    assert told == "no watchdog: it has ended 4 times; `tapewright watchdog` starts one"
    guard.end(in_order=False)
    guard.close()


def test_a_watchdog_that_says_nothing_is_no_watchdog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = [sys.executable, "-c", "import signal; signal.pause()"]
    monkeypatch.setattr(module, "watchdog_words", lambda *_: silent)
    guard = Guard(tmp_path, WatchdogSettings())
    guard.start()
    assert guard.is_awaited
    assert guard.trouble() == "no watchdog: no word from it yet"
    monkeypatch.setattr(module, "SILENT_NS", -1)
    assert not guard.is_awaited
    assert guard.trouble() == "no watchdog: it does not answer"
    guard.end(in_order=True)
    guard.close()
    assert guard._watchdog is not None
    assert guard._watchdog.poll() is not None, "it is not left behind"


def test_a_state_directory_without_room_for_a_heartbeat_is_no_place_to_trade(
    tmp_path: Path,
) -> None:
    with pytest.raises(UserError, match="no heartbeat can be written"):
        Guard(tmp_path / "missing", ALONE)


def test_the_settings_become_the_watchdogs_words() -> None:
    words = watchdog_words(Path("/s"), WatchdogSettings(stall_ms=1500, when_engine_dies="halt"))
    text = " ".join(words)
    assert "-m core.watchdog --state /s --stall-ms 1500 --answer-ms 500" in text
    assert words[-1] == "--halt-when-gone"
    assert "--halt-when-gone" not in watchdog_words(Path("/s"), WatchdogSettings())
