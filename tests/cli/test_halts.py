"""What a start finds about kills on the disk."""

from __future__ import annotations

from pathlib import Path

from cli.halts import find
from core.clock import ManualClock
from core.latch import KillLatch
from core.model.halt import PastHalt, RearmAsked
from core.scopes import STRATEGY, of_instrument
from core.state import StateDir
from core.watchdog.acts import Voice


def test_an_empty_directory_halts_nothing(tmp_path: Path) -> None:
    assert find(tmp_path) == ((), (), ())
    assert find(tmp_path).halted == ""


def test_every_latch_every_request_and_the_watchdogs_report_are_found(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "s").create()
    latch = KillLatch(state.path)
    latch.trip("F12", "human:trader", 5, flattens=True)
    latch.of(STRATEGY).trip("out of its depth", "human:trader", 6)
    latch.of(of_instrument("BTC/USD")).trip("odd prints", "human:trader", 7, flattens=True)
    latch.of(STRATEGY).request_rearm("looked", "human:trader", 8)
    Voice(state.path, ManualClock(9)).report("sent SIGKILL")
    found = find(state.path)
    assert found.halted == "F12"
    assert found.halts == (
        PastHalt("all", "F12", "human:trader", flattens=True),
        PastHalt("instrument:BTC/USD", "odd prints", "human:trader", flattens=True),
        PastHalt("strategy", "out of its depth", "human:trader"),
    )
    assert found.rearms == (RearmAsked("strategy", "looked", "human:trader"),)
    assert found.watchdog[0].endswith("sent SIGKILL")


def test_a_latch_that_cannot_be_read_halts_and_says_that_it_cannot(tmp_path: Path) -> None:
    (tmp_path / "KILL").touch()
    (halt,) = find(tmp_path).halts
    assert not halt.is_readable
    assert not halt.flattens
    assert "not readable" in halt.reason
