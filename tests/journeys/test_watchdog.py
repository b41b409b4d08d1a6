"""The watchdog as a user meets it: real processes, real signals, the state directory between."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen

import pytest

from core.latch import KillLatch
from core.snapshot import Snapshot
from core.watchdog.beat import BeatFile
from tests.journeys.program import practice, start, tapewright, wait_for

pytestmark = pytest.mark.slow

QUICK = "[sim]\nhistory_s = 120\nspeed = 20\n[watchdog]\nstall_ms = 1500\nsignal_ms = 200\n"


class Run:
    """An engine in auto mode, always ended by the test."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "s"
        self.config = practice(folder)
        self.config.write_text(self.config.read_text("utf-8") + QUICK, encoding="utf-8")
        self.process: Popen[str] | None = None
        self.start()

    def start(self) -> None:
        self.process = start("run", "--headless", "--mode", "auto", "--state", self.state,
                             "--config", self.config)  # fmt: skip

    def wait(self, seen: Callable[[Snapshot], object]) -> Snapshot:
        assert self.process is not None
        return wait_for(self.state, self.process, seen)

    def rearm(self) -> None:
        """Wait until all is flat and open the gate again."""
        self.wait(lambda p: not p.orders and not any(view.lots for view in p.positions))
        done = tapewright("rearm", "--reason", "flat", "--state", self.state)
        assert done.returncode == 0, done.stderr

    def log(self) -> str:
        return (self.state / "logs" / "watchdog.log").read_text("utf-8")

    def watchdog_pid(self) -> int:
        beats = BeatFile.open(self.state)
        beat = beats.watchdog()
        beats.close()
        return 0 if beat is None else beat.pid

    def stop(self) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        self.process.communicate(timeout=60)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    one = Run(tmp_path)
    yield one
    one.stop()


def until(seen: Callable[[], object], wait_s: float = 60) -> None:
    end = time.monotonic() + wait_s
    while not seen():
        assert time.monotonic() < end, "not seen in time"
        time.sleep(0.05)


def started(state: Path) -> list[dict]:
    """Return the manifests of all runs in the ledger."""
    done = tapewright("ledger", "export", "--table", "events", "--format", "jsonl", "--out", "-",
                      "--state", state)  # fmt: skip
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    payloads = [row["payload"] for row in rows if row["type"] == "RUN_STARTED"]
    return [json.loads(each) if isinstance(each, str) else each for each in payloads]


def test_a_stopped_engine_is_ended_and_the_next_start_is_halted_flat_and_tells_the_ledger(
    run: Run,
) -> None:
    run.wait(lambda picture: any(view.lots for view in picture.positions))
    assert run.process is not None
    run.process.send_signal(signal.SIGSTOP)
    until(lambda: run.process.poll() is not None)  # type: ignore[union-attr]
    until(lambda: "cancel all" in run.log())
    run.process.communicate()
    assert run.process.returncode == -signal.SIGKILL
    state = KillLatch(run.state).read()
    assert state.actor == "watchdog"
    assert "has not turned" in state.reason
    run.start()
    run.wait(lambda p: p.instruments[0].bids and not any(view.lots for view in p.positions))
    assert run.wait(lambda _: True).risk.is_halted
    run.stop()
    told = started(run.state)[-1]
    assert "sent SIGKILL" in "\n".join(told["watchdog"])
    assert told["halts"][0]["scope"] == "all"
    assert tapewright("ledger", "verify", "--state", run.state).returncode == 0


def test_a_watchdog_that_dies_is_replaced_and_file_and_signals_kill(run: Run) -> None:
    run.wait(lambda picture: picture.instruments[0].forecasts)
    until(run.watchdog_pid)
    first = run.watchdog_pid()
    os.kill(first, signal.SIGKILL)
    run.wait(lambda p: any("no watchdog" in note.text for note in p.notices))
    until(lambda: run.watchdog_pid() != first)
    run.wait(lambda p: "no watchdog" not in p.risk.blocked)
    (run.state / "KILL").touch()
    halted = run.wait(lambda picture: picture.risk.is_halted)
    assert "KILL" in halted.risk.halt_reason
    run.rearm()
    assert run.process is not None
    run.process.send_signal(signal.SIGUSR1)
    assert run.wait(lambda p: p.risk.is_halted).risk.halt_reason == "signal SIGUSR1"
    run.rearm()
    os.kill(run.watchdog_pid(), signal.SIGUSR1)
    assert "SIGUSR1 to the watchdog" in run.wait(lambda p: p.risk.is_halted).risk.halt_reason
    second = tapewright("watchdog", "--state", run.state)
    assert second.returncode == 3
    assert "another watchdog" in second.stderr
    run.stop()
    until(lambda: "the engine has ended in order" in run.log())


def test_nothing_to_watch_is_said(tmp_path: Path) -> None:
    done = tapewright("watchdog", "--state", tmp_path / "s")
    assert done.returncode == 3
    assert "no engine runs" in done.stderr
