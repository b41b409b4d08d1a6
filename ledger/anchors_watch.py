"""Anchors on a schedule: a process is started, looked at now and then, and its outcomes taken.

Nothing here waits: the engine calls ``look`` from its tick, which starts a process, asks whether
it has ended, or does nothing.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from core.clock import NS_PER_S
from core.config import AnchorSettings
from core.errors import Failed, UserError
from core.model.event import AnchorFailed
from ledger.anchors import OTS, PROCESS_S_MAX, RFC3161, Job, Outcome

RETRY_NS = 3_600 * NS_PER_S
"""After a failure, at the latest."""
_TEXT_BYTES_MAX = 500
_NS_MAX = (PROCESS_S_MAX + 10) * NS_PER_S
"""When a process that did not end itself is ended."""


class Asking:
    """One process that asks outsiders."""

    def __init__(self, job: Job) -> None:
        self._job = job
        # Files, no pipes: neither side waits for the other to read. ``close`` closes them.
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - as above
        self._wrong = tempfile.TemporaryFile()  # noqa: SIM115 - as above
        with tempfile.TemporaryFile() as asked:
            asked.write(msgspec.json.encode(job))
            asked.seek(0)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ledger.anchors_fetch"],
                stdin=asked,
                stdout=self._said,
                stderr=self._wrong,
            )

    @property
    def is_over(self) -> bool:
        """Tell whether it has ended."""
        return self._process.poll() is not None

    def outcomes(self, timeout_s: float | None = None) -> list[Outcome]:
        """Return what came of it, once it is over; ``timeout_s``: wait for that, and then end it.

        Errors: ``Failed`` with what it said instead.
        """
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        try:
            if self._process.returncode != 0:
                self._wrong.seek(0)
                lines = self._wrong.read()[-_TEXT_BYTES_MAX:].decode(errors="replace").strip()
                said = lines.rpartition("\n")[2] or f"it ended with {self._process.returncode}"
                raise Failed(f"nobody could be asked: {said}")
            self._said.seek(0)
            return msgspec.json.decode(self._said.read(), type=list[Outcome])
        finally:
            self.close()

    def close(self) -> None:
        """End it if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._said.close()
        self._wrong.close()


class AnchorWatch:
    """Asks when that is due: at the start of a run, then every ``every_s``."""

    def __init__(self, state_dir: Path, settings: AnchorSettings) -> None:
        self._job = Job(str(state_dir), settings)
        self._asking: Asking | None = None
        self._next_ns = self._end_by_ns = 0

    def look(self, now_ns: int) -> list[Outcome]:
        """Return what came since the last look; never waits."""
        if self._asking is None:
            if now_ns >= self._next_ns:
                self._begin(now_ns)
            return []
        if not self._asking.is_over and now_ns < self._end_by_ns:
            return []
        asking, self._asking = self._asking, None
        try:
            found = asking.outcomes(0)
        except Failed as error:
            found = self._missed(str(error))
        if any(isinstance(each, AnchorFailed) for each in found):
            self._next_ns = min(self._next_ns, now_ns + RETRY_NS)
        return found

    def _begin(self, now_ns: int) -> None:
        self._next_ns = now_ns + self._job.settings.every_s * NS_PER_S
        self._end_by_ns = now_ns + _NS_MAX
        self._asking = Asking(self._job)

    def _missed(self, reason: str) -> list[Outcome]:
        settings = self._job.settings
        asked = [(RFC3161, settings.rfc3161_url)] if settings.rfc3161_url else []
        asked += [(OTS, " ".join(settings.ots_calendars))] if settings.ots_calendars else []
        return [AnchorFailed(method, 0, source, reason) for method, source in asked]

    def close(self) -> None:
        """End what still runs."""
        if self._asking is not None:
            self._asking.close()
            self._asking = None


def ask_now(job: Job) -> list[Outcome]:
    """Ask and wait for the outcomes. Errors: ``UserError`` with what went wrong."""
    try:
        return Asking(job).outcomes(PROCESS_S_MAX + 10)
    except Failed as error:
        raise UserError(str(error)) from error
