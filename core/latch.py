"""The kill latches: a file named ``KILL`` in the state directory; while it exists, nothing trades.

A halt of one instrument or of the strategy is a file in ``halts/``. They survive restarts and
SIGKILL, and doubt means halted: an empty, unreadable or foreign file counts. This module knows no
strategy, P&L, screen or ledger, so that the kill path has nothing to wait for. Re-arming without
an engine leaves a request (``REARM.json``) that the next engine journals and then carries out; it
names the very latch it answers, so that it cannot undo a later kill.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Annotated

import msgspec

from core import scopes
from core.clock import iso_ns
from core.errors import Failed

LATCH_NAME = "KILL"
REQUEST_NAME = "REARM.json"
HALTS_NAME = "halts"
_UNFINISHED = ".tmp"
_REQUEST = ".rearm"
REASON_CHARS_MAX = 200
_BYTES_MAX = 64 * 1024


class LatchState(msgspec.Struct, frozen=True):
    """What the latch says; the texts are printable and at most ``REASON_CHARS_MAX`` long."""

    is_halted: bool
    reason: str = ""
    actor: str = ""
    since_ns: int | None = None
    """When it was tripped; None when not halted or not known."""
    flattens: bool = False
    """The kill was to close positions too: a start goes on with that."""

    @property
    def since(self) -> str:
        """``since_ns`` as ISO 8601, UTC; empty when not known."""
        return "" if self.since_ns is None else iso_ns(self.since_ns)


class RearmRequest(msgspec.Struct, frozen=True):
    """A request to re-arm, made while no engine ran."""

    reason: str
    actor: str
    ts_ns: int
    answers: str
    """sha256 of the latch file it is about, in hex."""


class _Latch(msgspec.Struct, frozen=True):
    reason: str
    actor: str
    since_ns: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    flattens: bool = False


class KillLatch:
    """The latch of one state directory and one scope; see ``core.scopes``."""

    def __init__(self, state_dir: Path, scope: str = scopes.ALL) -> None:
        self.scope = scope
        self._state_dir = state_dir
        if scope == scopes.ALL:
            self.path, self._request = state_dir / LATCH_NAME, state_dir / REQUEST_NAME
        else:
            self.path = state_dir / HALTS_NAME / scopes.file_of(scope)
            self._request = self.path.with_name(self.path.name + _REQUEST)

    def of(self, scope: str) -> KillLatch:
        """Return the latch of another scope in the same state directory."""
        return KillLatch(self._state_dir, scope)

    def trip(self, reason: str, actor: str, ts_ns: int, *, flattens: bool = False) -> bool:
        """Halt the scope from now on; return whether that is durable on disk.

        Never raises for what the disk does: a kill goes on without its file. The first readable
        cause is kept, a later one goes to the ledger only, but a kill that closes positions adds
        that. Where the disk has no room for the text, an empty file does.
        """
        try:
            self._make_folder()
            known = self.read()
            is_kept = known.since_ns is not None and not self._request.exists()
            if is_kept and (known.flattens or not flattens):
                _sync_folder(self.path.parent)
                return True
            if is_kept and known.since_ns is not None:
                reason, actor, ts_ns = known.reason, known.actor, known.since_ns
            # First the request goes: it must not outlive the kill that comes after it.
            self._request.unlink(missing_ok=True)
            fields = {"reason": _plain(reason), "actor": _plain(actor), "since_ns": ts_ns,
                      "flattens": flattens}  # fmt: skip
            _replace_durably(self.path, json.dumps(fields).encode("ascii") + b"\n")
        except OSError:
            return self._trip_with_an_empty_file()
        return True

    def _make_folder(self) -> None:
        """Make ``halts/``; the state directory itself is not this module's to make."""
        folder = self.path.parent
        if folder != self._state_dir and not folder.exists():
            folder.mkdir(mode=0o700)
            _sync_folder(self._state_dir)

    def read(self) -> LatchState:
        """Return whether we are halted and why. Never raises for what is on the disk."""
        try:
            body = self._body()
            if body is None:
                return LatchState(is_halted=False)
            latch = msgspec.json.decode(body, type=_Latch)
        except OSError as error:
            return LatchState(
                is_halted=True, reason=f"{LATCH_NAME} cannot be read ({error.strerror})"
            )
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return LatchState(is_halted=True, reason=f"{LATCH_NAME} exists and is not readable")
        return LatchState(
            is_halted=True,
            reason=_plain(latch.reason),
            actor=_plain(latch.actor),
            since_ns=latch.since_ns,
            flattens=latch.flattens,
        )

    def is_set(self) -> bool:
        """Return whether there is anything of the latch's name; one system call, for a poll."""
        try:
            self.path.lstat()
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return True

    def rearm(self) -> None:
        """Remove the latch and any request, durably. Errors: ``OSError`` when they stay."""
        self.path.unlink(missing_ok=True)
        self._request.unlink(missing_ok=True)
        if self.path.parent.exists():
            _sync_folder(self.path.parent)

    def request_rearm(self, reason: str, actor: str, ts_ns: int) -> None:
        """Ask the next engine to journal ``reason`` and re-arm.

        Errors: ``Failed`` when there is no latch or no room for the request.
        """
        try:
            body = self._body()
            if body is None:
                raise Failed(f"{self.path} does not exist: nothing to re-arm")
            request = RearmRequest(_plain(reason), _plain(actor), ts_ns, _digest(body))
            _replace_durably(self._request, msgspec.json.encode(request))
        except OSError as error:
            raise Failed(f"{self._request} cannot be written ({error.strerror})") from error

    def rearm_request(self) -> RearmRequest | None:
        """Return the request that answers the present latch, or None.

        The engine journals it and calls ``rearm``. A request about another latch is ignored.
        """
        try:
            body = self._body()
            request = msgspec.json.decode(self._request.read_bytes(), type=RearmRequest)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None
        if body is None or request.answers != _digest(body) or not request.reason.strip():
            return None
        return request

    def _body(self) -> bytes | None:
        """Return the latch file's bytes, or None when there is no such name at all."""
        try:
            # A dangling link is a name: doubt, so halted. Only lstat sees it.
            self.path.lstat()
        except FileNotFoundError:
            return None
        except NotADirectoryError:
            # A file where ``halts/`` should be: ``latched_scopes`` halts everything for it.
            return None if self.scope != scopes.ALL else b""
        with self.path.open("rb") as file:
            return file.read(_BYTES_MAX)

    def _trip_with_an_empty_file(self) -> bool:
        try:
            os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600))
            _sync_folder(self.path.parent)
        except OSError:
            return False
        return True


def latched_scopes(state_dir: Path) -> dict[str, LatchState]:
    """Return every scope that is halted on disk, ``all`` first.

    What cannot be read in ``halts/``, or says no scope by its name, halts everything.
    """
    found = {scopes.ALL: KillLatch(state_dir).read()}
    doubt = ""
    try:
        names = sorted(path.name for path in (state_dir / HALTS_NAME).iterdir())
    except FileNotFoundError:
        names = []
    except OSError as error:
        names, doubt = [], f"{HALTS_NAME}/ cannot be read ({error.strerror})"
    for name in names:
        scope = scopes.of_file(name)
        if scope is not None:
            found[scope] = KillLatch(state_dir, scope).read()
        elif not name.endswith((_UNFINISHED, _REQUEST)):
            doubt = f"{HALTS_NAME}/{_plain(name)} is no latch of ours: what it halts is not known"
    if doubt and not found[scopes.ALL].is_halted:
        found[scopes.ALL] = LatchState(is_halted=True, reason=doubt)
    return {scope: state for scope, state in found.items() if state.is_halted}


def _replace_durably(path: Path, body: bytes) -> None:
    """Write ``body`` so that after a power cut there is the old file or the new one."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}{_UNFINISHED}")
    try:
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(fd, "wb") as file:  # noqa: PTH123 (a descriptor, not a path)
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _plain(text: str) -> str:
    """Return ``text`` without what a terminal would obey, cut to a bound."""
    return "".join(c if c.isprintable() else "�" for c in text[:REASON_CHARS_MAX])
