"""One process, held so that a signal can never hit another one that got its number.

A pidfd names the process itself; the start time read after it was opened says that it is the one
that wrote the heartbeat. Linux 5.3 and later.
"""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path


def start_ticks(pid: int) -> int:
    """Return when a process began, in clock ticks since boot; proc(5), field 22 of ``stat``.

    Errors: ``OSError`` when there is no such process or no /proc.
    """
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    # The command name may hold blanks and brackets: fields are counted from its last bracket.
    return int(text.rpartition(")")[2].split()[19])


class ProcessHandle:
    """A live process; see the module docstring."""

    def __init__(self, pid: int, ticks: int) -> None:
        """Take hold of it. Errors: ``OSError`` when that very process is not there (any more)."""
        self.pid = pid
        if not hasattr(os, "pidfd_open"):
            raise OSError("this system has no pidfd_open; the watchdog needs Linux")
        self._fd = os.pidfd_open(pid)
        try:
            if start_ticks(pid) != ticks:
                raise ProcessLookupError(f"pid {pid} is another process by now")
        except OSError:
            os.close(self._fd)
            raise
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)

    def wait(self, timeout_ms: int) -> bool:
        """Wait until the process is gone; return whether it is."""
        return bool(self._poll.poll(timeout_ms))

    def send(self, number: signal.Signals) -> bool:
        """Send a signal; return whether there was still a process to send it to."""
        try:
            signal.pidfd_send_signal(self._fd, number)
        except ProcessLookupError:
            return False
        return True

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)
