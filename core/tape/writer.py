"""Writes the tape of one run: rows wait in memory, are packed and appended a chunk at a time.

A chunk is one ``write``. ``append`` only copies, until the buffer is full; packing is done by
``on_time``, between messages. A file is closed, with an end mark, when it is big or the UTC day is
over, and another one begun.

Sync policy: nothing is synced while trading and ``close`` syncs the last file. A crash of the
process loses the rows that waited (``MAX_AGE_NS``); a power failure what the system had not yet
written (about half a minute on Linux). The ledger, not the tape, is what must survive.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from core.clock import NS_PER_S
from core.model.instrument import Instrument
from core.model.market import MARKET_STATE
from core.tape.format import SUFFIX, TapeError, TapeInfo, as_text, chunk, header
from core.tape.rows import pack_rows

CHUNK_ROWS = 256
"""Rows at which a chunk is written; packing them takes about half a millisecond."""
BUFFER_CHUNKS = 4
"""``append`` packs by itself when this many chunks wait: over 50,000 rows/s, or no ``on_time``."""
MAX_AGE_NS = 5 * NS_PER_S
"""The longest that a row waits in memory."""
SEGMENT_BYTES = 16 * 2**20
_DAY_NS = 86_400 * NS_PER_S


class TapeCounters(msgspec.Struct):
    """What became of the rows; the writer alone changes them."""

    rows: int = 0
    """Rows on disk."""
    chunks: int = 0
    files: int = 0
    bytes_on_disk: int = 0
    """Bytes written in this run, whatever was removed since."""
    rows_lost: int = 0
    """Rows that no file took: the tape ended at a failed write and trading went on."""


class TapeWriter:
    """Appends rows of one run.

    Errors: ``TapeError`` when the first file cannot be made. Later failures (a full disk) end the
    tape, say why in ``failure`` and count in ``rows_lost``; they never raise.
    """

    def __init__(
        self,
        folder: Path,
        instruments: Sequence[Instrument],
        *,
        run_id: str,
        chunk_rows: int = CHUNK_ROWS,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self.counters = TapeCounters()
        self.failure = ""
        self.path = folder
        """The file that is open, or was last."""
        self._folder = folder
        self._run_id = run_id
        self._instruments = tuple(as_text(each) for each in instruments)
        self._segment_bytes = segment_bytes
        self._file: int | None = None
        self._size = 0
        self._day: int | None = None
        self._chunk_rows = chunk_rows
        self._rows = np.zeros(BUFFER_CHUNKS * chunk_rows, MARKET_STATE)
        self._room = len(self._rows)
        self._used = 0
        self._waits_since_ns: int | None = None
        """When ``on_time`` first found the oldest row that waits."""
        try:
            self._open_next()
        except OSError as error:
            raise TapeError(f"{folder}: tape {run_id} cannot be made ({error})") from error

    def append(self, row: np.ndarray) -> None:
        """Take one row, MARKET_STATE[()]; it is copied."""
        if self._file is None:
            self.counters.rows_lost += 1
            return
        self._rows[self._used] = row
        self._used += 1
        if self._used == self._room:
            self.flush()

    def on_time(self, now_ns: int) -> None:
        """Write what has waited long or is enough for a chunk; begin a new file at a new day."""
        if self._used >= self._chunk_rows:
            self._flush_some(self._chunk_rows)
            self._waits_since_ns = now_ns
        elif self._used == 0:
            self._waits_since_ns = None
        elif self._waits_since_ns is None:
            self._waits_since_ns = now_ns
        elif now_ns - self._waits_since_ns >= MAX_AGE_NS:
            self.flush()
        day = now_ns // _DAY_NS
        if self._day is not None and day > self._day:
            self.flush()
            self._begin_next()
        self._day = day

    def flush(self) -> None:
        """Write all rows that wait, the last ones in a chunk that may be small."""
        while self._used and self._file is not None:
            self._flush_some(min(self._used, self._chunk_rows))
        self._waits_since_ns = None

    def close(self) -> None:
        """Write what waits, mark the end and sync the file; the tape takes no more rows."""
        self.flush()
        self._end_file(is_synced=True)

    def _flush_some(self, count: int) -> None:
        packed = pack_rows(self._rows[:count])
        if not self._write(chunk(self.counters.chunks, count, packed)):
            return
        self._rows[: self._used - count] = self._rows[count : self._used].copy()
        self._used -= count
        self.counters.chunks += 1
        self.counters.rows += count
        if self._size >= self._segment_bytes:
            self._begin_next()

    def _begin_next(self) -> None:
        """Close the file and open the next one of the run."""
        self._end_file(is_synced=False)
        if self.failure:
            return
        try:
            self._open_next()
        except OSError as error:
            self._fail(error)

    def _open_next(self) -> None:
        path = self._folder / f"{self._run_id}-{self.counters.files:06d}{SUFFIX}"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self.path, self._size = path, 0
        self.counters.files += 1
        self._put(header(TapeInfo(self._run_id, self.counters.chunks, self._instruments)))

    def _end_file(self, *, is_synced: bool) -> None:
        if self._file is None or not self._write(chunk(self.counters.chunks, 0, b"")):
            return
        file, self._file = self._file, None
        try:
            if is_synced:
                os.fsync(file)
        except OSError as error:
            self.failure = f"tape perhaps not on disk: {error}"
        finally:
            os.close(file)

    def _write(self, data: bytes) -> bool:
        """Append ``data``; return whether it is there, else the tape has ended."""
        try:
            self._put(data)
        except OSError as error:
            self._fail(error)
            return False
        return True

    def _put(self, data: bytes) -> None:
        """Append ``data`` whole; a part that got to a full disk is cut off again."""
        assert self._file is not None
        written = os.write(self._file, data)
        if written != len(data):
            os.ftruncate(self._file, self._size)
            raise OSError(f"disk took {written} of {len(data)} bytes")
        self._size += written
        self.counters.bytes_on_disk += written

    def _fail(self, error: OSError) -> None:
        self.failure = f"tape ended: {error}"
        self.counters.rows_lost += self._used
        self._used = 0
        if self._file is not None:
            os.close(self._file)
            self._file = None
