"""The watchdog's process: what it loads, and what it does to an engine made for the test."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.latch import KillLatch
from core.state import StateDir
from core.watchdog.acts import take_report

pytestmark = pytest.mark.slow

LIST_MODULES = """
import sys
import core.watchdog.__main__
print("\\n".join(sys.modules))
"""
ENGINE = """
import os, signal, sys, time
from pathlib import Path
from core.watchdog.beat import BeatFile, EngineBeat, Phase
from core.watchdog.handle import start_ticks
state, phase = Path(sys.argv[1]), Phase[sys.argv[2]]
beats = BeatFile.create(state)
turned_ns = time.monotonic_ns()
def say(closed):
    me = os.getpid()
    beats.write_engine(EngineBeat(me, start_ticks(me), phase, turned_ns, closed))
signal.signal(signal.SIGUSR1, lambda *_: say(True))
say(False)
print("ready", flush=True)
while sys.argv[3] == "beats":
    time.sleep(0.02)
    turned_ns = time.monotonic_ns()
    say(False)
while sys.argv[3] == "waits":
    signal.pause()
"""
LIMITS = ("--stall-ms", "500", "--answer-ms", "50", "--signal-ms", "200", "--end-after-s", "0")


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    return StateDir(tmp_path / "s").create()


@pytest.fixture
def engines() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for engine in started:
        engine.kill()
        engine.communicate()


def start(
    state: StateDir, phase: str, how: str, engines: list[subprocess.Popen[str]]
) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", ENGINE, str(state.path), phase, how]
    engine = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    engines.append(engine)
    assert engine.stdout is not None
    assert engine.stdout.readline() == "ready\n"
    return engine


def watch(state: StateDir, *more: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "core.watchdog", "--state", str(state.path), *LIMITS, *more]
    return subprocess.Popen(words, stderr=subprocess.PIPE, text=True)


def test_it_loads_nothing_that_trades_draws_or_remembers() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIST_MODULES], check=True, capture_output=True, timeout=60
    )
    loaded = set(done.stdout.decode().split())
    ours = {name for name in loaded if name.partition(".")[0] in
            {"core", "agents", "ledger", "tui", "cli"}}  # fmt: skip
    assert ours - {name for name in ours if name.startswith("core.watchdog")} == {
        "core", "core.clock",
    }  # fmt: skip
    assert not loaded & {"numpy", "numba", "textual", "rich", "typer", "sqlite3", "asyncio"}


def test_a_blocked_engine_is_latched_and_ended(
    state: StateDir, engines: list[subprocess.Popen[str]]
) -> None:
    engine = start(state, "TRADING", "waits", engines)
    watchdog = watch(state)
    assert watchdog.communicate(timeout=60) == (None, "")
    assert watchdog.returncode == 0
    assert engine.wait(60) == -signal.SIGTERM
    assert KillLatch(state.path).read().actor == "watchdog"
    report = "\n".join(take_report(state.path))
    for told in ("triggered", "SIGUSR1", "the gate is closed", "SIGTERM", "cancel all"):
        assert told in report


def test_a_kill_file_beside_a_deaf_engine_ends_it(
    state: StateDir, engines: list[subprocess.Popen[str]]
) -> None:
    engine = start(state, "TRADING", "beats", engines)
    KillLatch(state.path).trip("by hand", "human:trader", 1)
    watchdog = watch(state)
    watchdog.communicate(timeout=60)
    assert engine.wait(60) == -signal.SIGTERM
    assert KillLatch(state.path).read().reason == "by hand"


def test_an_engine_that_dies_is_a_kill_only_where_that_is_wanted(
    state: StateDir, engines: list[subprocess.Popen[str]]
) -> None:
    for more, is_halted in (((), False), (("--halt-when-gone",), True)):
        engine = start(state, "TRADING", "beats", engines)
        watchdog = watch(state, *more)
        while "watches engine" not in _log(state, engine.pid):
            assert watchdog.poll() is None
        engine.kill()
        engine.wait()
        watchdog.communicate(timeout=60)
        assert KillLatch(state.path).read().is_halted == is_halted


def _log(state: StateDir, pid: int) -> str:
    path = state.logs / "watchdog.log"
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return "\n".join(line for line in lines if line.endswith(f"engine pid {pid}"))


def test_no_engine_a_dead_one_and_a_second_watchdog_are_refused(
    state: StateDir, engines: list[subprocess.Popen[str]]
) -> None:
    assert "no engine to watch" in watch(state).communicate(timeout=60)[1]
    dead = start(state, "TRADING", "ends", engines)
    dead.wait()
    assert "no engine to watch" in watch(state).communicate(timeout=60)[1]
    engine = start(state, "TRADING", "beats", engines)
    first = watch(state)
    while "watches engine" not in _log(state, engine.pid):
        assert first.poll() is None
    second = watch(state)
    assert "another watchdog" in second.communicate(timeout=60)[1]
    assert second.returncode == 3
    first.terminate()
    first.communicate(timeout=60)
