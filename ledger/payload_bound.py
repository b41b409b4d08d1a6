"""Keeps the payloads within ``[storage] payloads_max_mib``: the oldest decision points go first.

A look runs in a process of its own at low priority: it packs what lies about, measures the folder,
and names what should go. The engine journals that as FILES_REMOVED; once that event is durable the
writer's thread removes the files. So a file that went without such an event is missing, and
``ledger verify`` says so. What a hold names (``ledger.holds``) stays, also above the bound.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from core.clock import NS_PER_S
from core.errors import TapewrightError
from core.model.event import DecisionsTaken, FilesRemoved
from ledger import holds, payloads
from ledger.envelope import unseal
from ledger.payload_check import KIND, is_removed, removals
from ledger.store import UNREADABLE, reading

LOOK_NS = 3_600 * NS_PER_S
"""Between two looks; the folder can be above its bound by what is written in this time."""
NAMES_MAX = 256
"""Digests in one event, and files that the writer's thread removes at once."""
ROOM_SHARE = 0.02
"""Share of the bound that is freed beyond it, so that not every look finds one file too many."""
PACK_AGE_S = 600.0
"""A payload is packed when nobody has put it for this long."""
PACKS_MAX = 500
"""Files packed in one look: a minute or two of one core, also where thousands were never packed."""
NICENESS = 15
RULE = "[storage] payloads_max_mib"


class Look(msgspec.Struct, frozen=True):
    """What a look found."""

    kept_bytes: int = 0
    """Of all payloads on the disk, those named here left out."""
    remove: tuple[tuple[str, int], ...] = ()
    """Digest and bytes of what should go, oldest first."""
    failure: str = ""
    """Why something could not be done; empty where all could."""


class PayloadBound:
    """The bound of the payloads of one state directory, as a run keeps it."""

    def __init__(self, state_dir: Path, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.kept_bytes = 0
        """As last measured."""
        self.failure = ""
        """Why the bound is not kept; empty while it is."""
        self._state_dir = state_dir
        self._next_look_ns = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._due: list[tuple[str, int]] = []

    def on_time(self, now_ns: int) -> list[FilesRemoved]:
        """Return what is to be removed next, for the ledger; begin a look when one is due."""
        if self._process is not None:
            self._take_look(self._process)
        elif now_ns >= self._next_look_ns and not self._due:
            self._next_look_ns = now_ns + LOOK_NS
            self._begin_look()
        if not self._due:
            return []
        part, self._due = self._due[:NAMES_MAX], self._due[NAMES_MAX:]
        removed = FilesRemoved(
            kind=KIND,
            names=tuple(digest for digest, _ in part),
            size_bytes=sum(size for _, size in part),
            bound_bytes=self.max_bytes,
            rule=f"{RULE} = {self.max_bytes >> 20}",
        )
        return [removed]

    def _begin_look(self) -> None:
        words = [sys.executable, "-m", "ledger.payload_bound", str(self._state_dir)]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - ourselves
                [*words, str(self.max_bytes)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            self.failure = f"the look at the payloads cannot be started ({error.strerror})"

    def _take_look(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            return
        self._process = None
        assert process.stdout is not None
        with process.stdout as pipe:
            said = pipe.read()
        try:
            look = msgspec.json.decode(said, type=Look)
        except ValueError:
            self.failure = f"the look at the payloads died (exit code {process.returncode})"
            return
        self.kept_bytes, self.failure, self._due = look.kept_bytes, look.failure, list(look.remove)

    def close(self) -> None:
        """End a look that still runs; what it was about is done by the next one."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def look(state_dir: Path, max_bytes: int, now_s: float) -> Look:
    """Pack, measure, and return what should go. ``now_s`` is Unix time, for the age of files."""
    failures: list[str] = []
    try:
        held = holds.read(state_dir)
        sizes = _measure(state_dir, now_s, failures)
        kept = sum(sizes.values())
        if kept <= max_bytes:
            return Look(kept, failure="; ".join(failures))
        with reading(state_dir) as connection:
            removed, named = removals(connection), _named(connection)
    except (TapewrightError, OSError, *UNREADABLE) as error:
        return Look(failure=f"the payloads cannot be kept within their bound: {error}")
    remove, wanted = [], max_bytes * (1 - ROOM_SHARE)
    for digest, (seq, ts) in sorted(named.items(), key=lambda item: item[1]):
        size = sizes.get(digest)
        if size is None or kept <= wanted:
            continue
        if is_removed(seq, removed.get(digest, 0)):
            _remove_left_over(state_dir, digest, failures)
        elif any(each.holds(ts) for each in held):
            continue
        else:
            remove.append((digest, size))
        kept -= size
    if kept > max_bytes:
        failures.append(
            f"the payloads take {kept >> 20} MiB and {max_bytes >> 20} are allowed, "
            f"but {holds.NAME} holds them"
            if held
            else f"the payloads take {kept >> 20} MiB of files that no event names"
        )
    return Look(kept, tuple(remove), "; ".join(failures))


def _measure(state_dir: Path, now_s: float, failures: list[str]) -> dict[str, int]:
    """Return the bytes of every payload by digest; pack those that lie about."""
    sizes: dict[str, int] = {}
    packs_left = PACKS_MAX
    folder = state_dir / payloads.FOLDER
    for path in sorted(folder.glob("??/*")):
        digest, suffix = path.stem, path.suffix
        if suffix == payloads.DRAFT_SUFFIX:
            _remove_old_draft(path, now_s)
        if not payloads.is_digest(digest) or suffix not in payloads.SUFFIXES:
            continue
        try:
            is_loose = suffix == payloads.SUFFIX and path.stat().st_mtime < now_s - PACK_AGE_S
            if is_loose and packs_left:
                packs_left -= 1
                payloads.pack(state_dir, digest)
            sizes[digest] = sum(
                each.stat().st_size
                for each in payloads.paths_of(state_dir, digest)
                if each.exists()
            )
        except OSError as error:
            failures.append(f"{path}: cannot be packed or measured ({error.strerror})")
    return sizes


def _remove_old_draft(path: Path, now_s: float) -> None:
    """Remove what a process that was killed had begun to write."""
    with suppress(OSError):
        if path.stat().st_mtime < now_s - PACK_AGE_S:
            path.unlink()


def _named(connection: sqlite3.Connection) -> dict[str, tuple[int, str]]:
    """Return seq and time of the newest event that names a payload, by digest."""
    found = {}
    for (body,) in connection.execute(
        "SELECT body FROM events WHERE instr(body, CAST(? AS BLOB)) ORDER BY seq",
        ('"type":"DECISIONS","v":',),
    ):
        envelope, event = unseal(body)
        if isinstance(event, DecisionsTaken):
            found[event.digest] = (envelope.seq, envelope.ts)
    return found


def _remove_left_over(state_dir: Path, digest: str, failures: list[str]) -> None:
    """Remove a file that an event says went, and that a kill or a full disk left."""
    try:
        payloads.remove(state_dir, digest)
    except OSError as error:
        failures.append(f"payload {digest} cannot be removed ({error.strerror})")


def main(state_dir: Path, max_bytes: int) -> int:
    """Look, and print what was found as JSON."""
    os.nice(NICENESS)
    found = look(state_dir, max_bytes, time.time())  # noqa: TID251 - age of files, not of events
    sys.stdout.buffer.write(msgspec.json.encode(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
