"""The state directory and the lock that lets one engine at a time own it.

The lock is ``flock`` on ``engine.lock``: the kernel frees it when its holder dies, SIGKILL
included, so there are no stale pid files. The text in the file is only for people. The file is
never removed: a removed lock file lets two processes lock two files of one name.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import platformdirs
from typing_extensions import override

from core.clock import iso_ns
from core.errors import TryAgain, UserError

LOCK_NAME = "engine.lock"
LOCK_TRIES = 20
LOCK_WAIT_S = 0.01
"""``running_engine`` holds the lock for microseconds while it looks; a start waits that out."""
_HOLDER_BYTES_MAX = 4096


def resolve_state_dir(path: Path | None) -> Path:
    """Return the absolute state directory: ``path``, or the platform's place for user state.

    Errors: ``UserError`` when ``path`` starts with ``~`` and names no home.
    """
    if path is None:
        return platformdirs.user_state_path("tapewright")
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:
        raise UserError(f"state directory {path} cannot be used: {error}") from error


class StateDir(msgspec.Struct, frozen=True):
    """Names in the state directory; ``create`` makes the folders."""

    path: Path

    @property
    def ledger_db(self) -> Path:
        return self.path / "ledger.db"

    @property
    def ledger_head(self) -> Path:
        """The witness: the head of the ledger as last made durable."""
        return self.path / "ledger.head"

    @property
    def tapes(self) -> Path:
        return self.path / "tapes"

    @property
    def captures(self) -> Path:
        return self.path / "captures"

    @property
    def models(self) -> Path:
        return self.path / "models"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def lock_file(self) -> Path:
        return self.path / LOCK_NAME

    def create(self) -> Self:
        """Make the directory and its folders, readable by their owner alone (0700).

        A directory that exists keeps its mode (``tapewright doctor`` warns of a loose one).
        Errors: ``UserError`` naming the path, the reason and the remedy.
        """
        for folder in (self.path, self.tapes, self.captures, self.models, self.logs):
            try:
                folder.mkdir(mode=0o700, parents=folder is self.path, exist_ok=True)
            except OSError as error:
                raise _unusable(self.path, folder, error) from error
        return self


class EngineHolder(msgspec.Struct, frozen=True):
    """Who holds the lock, in the holder's own words."""

    pid: int
    started: str
    """ISO 8601, UTC."""
    venue: str
    command: str

    @override
    def __str__(self) -> str:
        return f"pid {self.pid} ({self.command}, venue {self.venue}, since {self.started})"


class EngineLock:
    """The right to be the engine of one state directory; use it as a context manager.

    A forked child would share the lock: start children with closed descriptors (the default of
    ``subprocess``), else the lock outlives the engine.
    """

    def __init__(self, state: StateDir, *, venue: str, command: str, started_ns: int) -> None:
        self._state = state
        self._holder = EngineHolder(
            pid=os.getpid(), started=iso_ns(started_ns), venue=venue, command=command
        )
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock and write who we are.

        Errors: ``TryAgain`` naming the engine that has it; ``UserError`` when the lock file
        cannot be written.
        """
        path = self._state.lock_file
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise _unusable(self._state.path, path, error) from error
        try:
            if not _lock(fd):
                raise TryAgain(_refusal(self._state.path, _read_holder(fd)))
            os.ftruncate(fd, 0)
            os.pwrite(fd, msgspec.json.encode(self._holder) + b"\n", 0)
        except OSError as error:
            os.close(fd)
            raise _unusable(self._state.path, path, error) from error
        except TryAgain:
            os.close(fd)
            raise
        self._fd = fd

    def release(self) -> None:
        """Give the lock back; a second call does nothing."""
        if self._fd is None:
            return
        fd, self._fd = self._fd, None
        try:
            os.ftruncate(fd, 0)
        finally:
            os.close(fd)

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def running_engine(state: StateDir) -> EngineHolder | None:
    """Return who holds the engine lock now, or None when nobody does."""
    try:
        fd = os.open(state.lock_file, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_holder(fd) or EngineHolder(pid=0, started="?", venue="?", command="?")
    else:
        return None
    finally:
        os.close(fd)


def _lock(fd: int) -> bool:
    for _ in range(LOCK_TRIES):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_WAIT_S)
        else:
            return True
    return False


def _read_holder(fd: int) -> EngineHolder | None:
    """Return what the lock file says; None when it is empty or not ours."""
    try:
        return msgspec.json.decode(os.pread(fd, _HOLDER_BYTES_MAX, 0), type=EngineHolder)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _refusal(path: Path, holder: EngineHolder | None) -> str:
    named = f"{holder}" if holder else "one that has not said its name yet"
    return (
        f"an engine already runs on {path}: {named}; "
        f"put a screen on it with: tapewright attach --state {path}"
    )


def _unusable(root: Path, place: Path, error: OSError) -> UserError:
    reason = error.strerror or str(error)
    if error.errno == errno.EEXIST:
        reason = "a file of that name is in the way"
    at = "" if place == root else f" at {place.name}"
    return UserError(
        f"state directory {root} cannot be used{at}: {reason}; choose another with --state DIR"
    )
