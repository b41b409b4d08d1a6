"""The screen that starts its own engine, on a real pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli import screen
from core.control import Stop
from core.errors import Failed
from core.state import StateDir
from tests.cli.conftest import FakeEngine
from tests.journeys.program import command, sim_capture

pytestmark = pytest.mark.slow
PATIENCE_S = 60
TRY_AGAIN = 3
CTRL_Q = b"\x11"


class Terminal:
    """A program on a pseudo-terminal of 120x40."""

    def __init__(self, words: list[str]) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.seen = b""
        self.process = subprocess.Popen(
            words, stdin=slave, stdout=slave, stderr=slave,
            env={**os.environ, "TERM": "xterm-256color"},
        )  # fmt: skip
        os.close(slave)

    def until(self, words: bytes) -> None:
        """Read until ``words`` were written, or the program has ended."""
        deadline = time.monotonic() + PATIENCE_S
        while words not in self.seen:
            assert time.monotonic() < deadline, self.seen[-2000:]
            if select.select([self.master], [], [], 1.0)[0]:
                try:
                    self.seen += os.read(self.master, 65_536)
                except OSError:  # the other end is closed
                    break
        assert words in self.seen, self.seen[-2000:]

    def code(self) -> int:
        """Return the exit code; what is still written meanwhile is read away."""
        deadline = time.monotonic() + PATIENCE_S
        while self.process.poll() is None and time.monotonic() < deadline:
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.master, 65_536)
                except OSError:
                    break
        return self.process.wait(PATIENCE_S)


@contextmanager
def terminal(*words: str | Path) -> Iterator[Terminal]:
    made = Terminal(command(*words))
    try:
        yield made
    finally:
        made.process.kill()
        made.process.wait()
        os.close(made.master)


def test_second_start_is_refused_and_leaves_the_first_engine_alone(
    state: StateDir, engine: FakeEngine
) -> None:
    with terminal("run", "--state", state.path) as second:
        second.until(b"tapewright attach")
        assert second.code() == TRY_AGAIN
    assert f"pid {os.getpid()}".encode() in second.seen
    assert not any(isinstance(command, Stop) for command in engine.seen)


def test_engine_that_neither_answers_nor_ends_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen, "STOP_S_MAX", 0.1)
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE) as engine:
        assert engine.stdout is not None
        engine.stdout.readline()
        try:
            with pytest.raises(Failed, match=f"kill -9 {engine.pid}"):
                screen._end(engine, tmp_path)
        finally:
            engine.kill()


def test_replay_that_ends_while_looked_at_is_finished_and_not_lost(tmp_path: Path) -> None:
    capture = sim_capture(tmp_path / "sim.jsonl.gz", seconds=5)
    words = ("replay", capture, "--speed", "max", "--state", tmp_path / "state")
    with terminal(*words) as shown:
        shown.until(b"FINISHED: the feed has ended")
        os.write(shown.master, CTRL_Q)
        assert shown.code() == 0
    assert b"ENGINE LOST" not in shown.seen
