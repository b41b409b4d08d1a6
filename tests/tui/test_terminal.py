"""The real driver on a pseudo-terminal, the real socket, a loopback engine."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import struct
import sys
import termios
from pathlib import Path

import pytest

from core.control import AnyCommand, GetSnapshot, KillAll, Reply, Stop
from tests.tui.test_source import polite, running

pytestmark = pytest.mark.slow
PROGRAM = """
import sys
from pathlib import Path
from core.config import ScreenSettings
from tui.app import run_screen
sys.exit(run_screen(Path(sys.argv[1]), ScreenSettings(), owns_engine=True))
"""
F12, CTRL_Q = b"\x1b[24~", b"\x11"
PATIENCE_S = 30
ROOT = Path(__file__).resolve().parents[2]


class Terminal:
    """The other end of a pseudo-terminal; notes all that is written to it."""

    def __init__(self, width: int, height: int) -> None:
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        os.set_blocking(self.master, False)
        self.seen = bytearray()
        self._news = asyncio.Event()
        asyncio.get_running_loop().add_reader(self.master, self._read)

    def _read(self) -> None:
        try:
            self.seen += os.read(self.master, 65_536)
        except OSError:
            asyncio.get_running_loop().remove_reader(self.master)
        self._news.set()

    def write(self, keys: bytes) -> None:
        os.write(self.master, keys)

    async def until(self, words: bytes) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while words not in self.seen:
                self._news.clear()
                await self._news.wait()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.master)
        os.close(self.master)
        os.close(self.slave)


async def test_keys_reach_the_engine_and_the_terminal_is_given_back(tmp_path: Path) -> None:
    commands: list[AnyCommand] = []
    killed = asyncio.Event()

    async def answer(command: AnyCommand) -> Reply:
        if not isinstance(command, GetSnapshot):
            commands.append(command)
            killed.set()
        return await polite(command)

    terminal = Terminal(120, 40)
    try:
        async with running(tmp_path / "control.sock", answer):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", PROGRAM, str(tmp_path),
                stdin=terminal.slave, stdout=terminal.slave, stderr=terminal.slave,
                env={**os.environ, "TERM": "xterm-256color"},
                cwd=ROOT,
            )  # fmt: skip
            await terminal.until(b"LADDER SIM-USD")
            terminal.write(F12)
            async with asyncio.timeout(PATIENCE_S):
                await killed.wait()
            terminal.write(CTRL_Q)
            await terminal.until(b"LEAVE?")
            terminal.write(b"y")
            async with asyncio.timeout(PATIENCE_S):
                assert await process.wait() == 0
            await terminal.until(b"\x1b[?1049l")
    finally:
        terminal.close()
    assert commands[0] == KillAll()
    assert isinstance(commands[-1], Stop)
