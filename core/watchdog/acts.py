"""What the watchdog can do by itself: latch, ask the engine, cancel at the venue, tell.

The simplest code that does it, on purpose a second time: an error in the engine's latch or in its
control client must not be one here too. Tests hold the formats equal.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from pathlib import Path
from typing import Protocol

import msgspec

from core.clock import Clock, iso_ns

ACTOR = "watchdog"
LATCH_NAME = "KILL"
SOCKET_NAME = "control.sock"
LOG_NAME = "watchdog.log"
REPORT_NAME = "watchdog.did"
REPORT_BYTES = 16 * 1024
"""Room kept on the disk for the acts, so that they can be told when it is full."""
LOG_BYTES_MAX = 1024 * 1024
_REPLY_BYTES_MAX = 64 * 1024


def latch(state_dir: Path, reason: str, now_ns: int) -> str:
    """Write the kill latch, unless there is one; return what came of it, in words."""
    path = state_dir / LATCH_NAME
    text = json.dumps(
        {"reason": reason, "actor": ACTOR, "since_ns": now_ns, "flattens": True}
    ).encode("ascii")
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return f"the latch {LATCH_NAME} was there already"
    except OSError as error:
        return f"the latch {LATCH_NAME} could NOT be written ({error.strerror})"
    done = f"the latch {LATCH_NAME} is written"
    try:
        os.write(fd, text)
        os.fsync(fd)
    except OSError as error:
        # An empty latch halts as well as a full one.
        done = f"the latch {LATCH_NAME} is there without its reason ({error.strerror})"
    finally:
        os.close(fd)
    with contextlib.suppress(OSError):
        folder = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    return done


def ask_to_kill(state_dir: Path, reason: str, timeout_s: float) -> tuple[bool, str]:
    """Ask the engine over its control socket; return whether it did, and its words."""
    body = msgspec.msgpack.encode({"c": "kill", "reason": reason, "actor": ACTOR})
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(state_dir / SOCKET_NAME))
            connection.sendall(len(body).to_bytes(4, "big") + body)
            size = int.from_bytes(_receive(connection, 4), "big")
            reply = msgspec.msgpack.decode(_receive(connection, min(size, _REPLY_BYTES_MAX)))
            return reply["ok"] is True, str(reply["text"])
    except OSError as error:
        return False, f"no answer ({error.strerror or error})"
    except (msgspec.DecodeError, KeyError, TypeError):
        return False, "an answer that cannot be read"


def _receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = connection.recv(size - len(data))
        if not chunk:
            raise ConnectionError("the engine closed the connection")
        data += chunk
    return data


class EmergencyBroker(Protocol):
    """A way to the venue that needs no engine: cancels, and nothing else."""

    def cancel_all(self, timeout_s: float) -> str:
        """Cancel every order of the engine that is gone; return in words what the venue said.

        Of that engine alone: the next one may have started already. Errors: ``OSError``.
        """


class PaperEmergency:
    """Paper and simulated orders live in the engine's memory and nowhere else."""

    def cancel_all(self, timeout_s: float) -> str:
        """Return why there is nothing to cancel once the engine is gone."""
        del timeout_s
        return "paper orders ended with the engine, none is at a venue; positions stay open"


class Voice:
    """Tells what was done: in a log for people, and in a report for the next start's ledger.

    Never raises: telling must not keep from doing.
    """

    def __init__(self, state_dir: Path, clock: Clock) -> None:
        self._clock = clock
        self._log = state_dir / "logs" / LOG_NAME
        self._report: int | None = None
        self._place = 0
        with contextlib.suppress(OSError):
            fd = os.open(state_dir / REPORT_NAME, os.O_RDWR | os.O_CREAT, 0o600)
            self._report = fd
            self._place = len(os.pread(fd, REPORT_BYTES, 0).rstrip(b"\n\0"))
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(fd, 0, REPORT_BYTES)

    def say(self, text: str) -> None:
        """Write a line to the log."""
        line = f"{iso_ns(self._clock.now_ns())} {text}\n".encode()
        with contextlib.suppress(OSError):
            if self._log.exists() and self._log.stat().st_size > LOG_BYTES_MAX:
                self._log.replace(self._log.with_suffix(".1.log"))
            fd = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(fd, line)
            finally:
                os.close(fd)

    def report(self, text: str) -> None:
        """Write a line to the log and to the report."""
        self.say(text)
        line = f"\n{iso_ns(self._clock.now_ns())} {text}".encode()
        if self._report is None or self._place + len(line) > REPORT_BYTES:
            return
        with contextlib.suppress(OSError):
            os.pwrite(self._report, line, self._place)
            os.fsync(self._report)
            self._place += len(line)


def take_report(state_dir: Path) -> tuple[str, ...]:
    """Return the lines of the report, oldest first; ``forget_report`` once they are safe."""
    try:
        data = (state_dir / REPORT_NAME).read_bytes()
    except OSError:
        return ()
    text = data.replace(b"\0", b"").decode("utf-8", "replace")
    shown = "".join(c if c.isprintable() or c == "\n" else "�" for c in text)
    return tuple(line for line in shown.split("\n") if line.strip())


def forget_report(state_dir: Path) -> None:
    """Remove the report: the ledger has it."""
    with contextlib.suppress(OSError):
        (state_dir / REPORT_NAME).unlink()
