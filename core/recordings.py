"""What a run leaves on disk beside its ledger: tape and capture, within the bounds of all runs.

``on_time`` is called between messages: it lets the tape write what waits and, every
``LOOK_NS``, removes the oldest closed files above the bounds of ``[storage]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from core.clock import NS_PER_S
from core.config import StorageSettings
from core.feeds.recorder import CaptureWriter
from core.model.event import FilesRemoved
from core.retention import Removed, remove_oldest
from core.state import StateDir
from core.tape.format import SUFFIX
from core.tape.writer import TapeWriter

LOOK_NS = 10 * NS_PER_S
"""How often the folders are measured; they can be above their bound by what this long writes."""
CAPTURE_SUFFIXES = (".jsonl.gz", ".jsonl")
_MIB = 2**20


class Recordings:
    """Tape and capture of one run, and the bounds of their folders."""

    def __init__(
        self,
        state: StateDir,
        bounds: StorageSettings,
        tape: TapeWriter,
        captures: Mapping[str, CaptureWriter],
        capture_paths: list[Path] | None = None,
    ) -> None:
        self.tape = tape
        self.captures = dict(captures)
        """One a venue; none where recording is off."""
        self.capture_paths = capture_paths if capture_paths is not None else []
        """Every file that the captures made, in order; they may begin new ones as they go."""
        self.files_removed = 0
        """By this run, of any run."""
        self.tapes_bytes = 0
        """Of all tapes in the state directory, as last measured."""
        self.captures_bytes = 0
        self.tapes_bound = bounds.tapes_max_mib * _MIB
        self.captures_bound = bounds.captures_max_mib * _MIB
        self._state = state
        self._next_look_ns = 0
        self._bound_failure = ""

    def on_time(self, now_ns: int) -> list[FilesRemoved]:
        """Write what waits, keep the bounds; return what was removed, for the ledger."""
        self.tape.on_time(now_ns)
        if now_ns < self._next_look_ns:
            return []
        self._next_look_ns = now_ns + LOOK_NS
        tapes = self._keep(self._state.tapes, (SUFFIX,), self.tapes_bound)
        captures = self._keep(self._state.captures, CAPTURE_SUFFIXES, self.captures_bound)
        self.tapes_bytes, self.captures_bytes = tapes.kept_bytes, captures.kept_bytes
        self._bound_failure = tapes.failure or captures.failure
        self.files_removed += len(tapes.names) + len(captures.names)
        return [
            FilesRemoved(kind, removed.names, removed.size_bytes, bound)
            for kind, removed, bound in (
                ("tape", tapes, self.tapes_bound),
                ("capture", captures, self.captures_bound),
            )
            if removed.names
        ]

    def trouble(self) -> str:
        """Return why tape or recording has ended before the run, or nothing."""
        told = (
            ("the tape has ended", self.tape.failure),
            *(("the recording has ended", each.stopped) for each in self.captures.values()),
            ("the disk bound is not kept", self._bound_failure),
        )
        return "; ".join(f"{what}: {why}" for what, why in told if why)

    def close(self) -> None:
        """Write what waits and close all files."""
        self.tape.close()
        for capture in self.captures.values():
            capture.finish()

    def _keep(self, folder: Path, suffixes: tuple[str, ...], bound: int) -> Removed:
        open_now = {self.tape.path, *(each.path for each in self.captures.values())}
        return remove_oldest(folder, suffixes, bound, open_now)
