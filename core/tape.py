"""The tape: MarketState rows on disk, append-only, in chunks of one size with a checksum each.

A file is a header (magic, version, sizes, digest of the row layout, JSON with run, instruments
and the number of its first chunk, CRC) and then chunks: magic, number, rows used, CRC, rows. A
chunk is written by one ``write``; one that is cut is not read, one that is damaged is told.
Chunk numbers go on from file to file of a run, so a missing file shows.

Sync policy: nothing is synced while trading and ``close`` syncs the last file. A crash of the
process loses the rows of one chunk; a power failure what the system had not yet written
(about half a minute on Linux). The ledger, not the tape, is what must survive.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np

from core.errors import UserError
from core.model.instrument import Instrument
from core.model.market import MARKET_STATE

SUFFIX = ".tape"
VERSION = 1
CHUNK_ROWS = 128
MAX_AGE_NS = 5_000_000_000
"""A chunk is written when it is full or its rows span this long, by their receive times."""
MAX_BYTES = 512 * 2**20
FILES_A_RUN = 8
"""The disk bound is shared by this many files, so that the oldest eighth goes at a time."""

_MAGIC = b"TWTAPE\r\n"
_HEADER = struct.Struct("<8sIIII32sI")
"""Magic, version, JSON bytes, rows a chunk, bytes a row, sha256 of the row layout, and the CRC-32
of these (with a CRC of 0) and of the JSON behind them."""
_CHUNK = struct.Struct("<4sIQI")
"""Magic, rows used, chunk number, and the CRC-32 of these (with a CRC of 0) and of the rows."""
_CHUNK_MAGIC = b"CHNK"
_MAX_JSON = 2**20
_MAX_CHUNK_ROWS = 2**20
_LAYOUT = hashlib.sha256(msgspec.json.encode(MARKET_STATE.descr)).digest()


class TapeError(UserError):
    """A tape that cannot be read, naming file and place."""


class TapeInstrument(msgspec.Struct, frozen=True):
    """An instrument as it was when the tape was written; sizes as decimal text."""

    venue: str
    name: str
    base: str
    quote: str
    tick_size: str
    lot_size: str


class TapeInfo(msgspec.Struct, frozen=True):
    """What the header of a tape file says."""

    run_id: str
    first_chunk: int
    instruments: tuple[TapeInstrument, ...]
    """In the order of the rows' ``instrument`` index."""


class TapeCounters(msgspec.Struct):
    """What became of the rows; the writer alone changes them."""

    rows: int = 0
    chunks: int = 0
    files: int = 0
    bytes_on_disk: int = 0
    files_removed: int = 0
    """Oldest files of this run, removed to stay below the disk bound."""
    rows_lost: int = 0
    """Rows taken after a write failed: the tape ends there and trading goes on."""


def chunk_bytes(chunk_rows: int) -> int:
    """Return the size of one chunk on disk."""
    return _CHUNK.size + chunk_rows * MARKET_STATE.itemsize


class TapeWriter:
    """Appends rows of one run; keeps at most ``max_bytes`` of it on disk.

    Errors: ``TapeError`` when the first file cannot be made. Later failures (a full disk) end the
    tape, say why in ``failure`` and count in ``rows_lost``; they never raise.
    """

    def __init__(
        self,
        folder: Path,
        instruments: Sequence[Instrument],
        max_bytes: int = MAX_BYTES,
        *,
        run_id: str,
        chunk_rows: int = CHUNK_ROWS,
    ) -> None:
        self.counters = TapeCounters()
        self.failure = ""
        self._folder = folder
        self._run_id = run_id
        self._instruments = tuple(_as_text(each) for each in instruments)
        self._max_bytes = max_bytes
        self._files: list[tuple[Path, int]] = []
        """Closed files and their bytes, oldest first, then the open one."""
        self._file: int | None = None
        self._frame = bytearray(chunk_bytes(chunk_rows))
        self._rows = np.frombuffer(self._frame, MARKET_STATE, chunk_rows, _CHUNK.size)
        self._receive_ns = self._rows["ts_recv_ns"]
        self._used = 0
        try:
            self._open_next()
        except OSError as error:
            raise TapeError(f"{folder}: tape {run_id} cannot be made ({error})") from error

    def append(self, row: np.ndarray) -> None:
        """Take one row, MARKET_STATE[()]; it is copied."""
        if self._file is None:
            self.counters.rows_lost += 1
            return
        used = self._used
        self._rows[used] = row
        self._used = used = used + 1
        age_ns = self._receive_ns[used - 1] - self._receive_ns[0]
        if used == len(self._rows) or age_ns >= MAX_AGE_NS:
            self.flush()

    def flush(self) -> None:
        """Write the rows that wait, in a chunk that may be partly empty."""
        if self._used == 0 or self._file is None:
            return
        self._rows[self._used :] = 0
        _CHUNK.pack_into(self._frame, 0, _CHUNK_MAGIC, self._used, self.counters.chunks, 0)
        crc = zlib.crc32(self._frame)
        _CHUNK.pack_into(self._frame, 0, _CHUNK_MAGIC, self._used, self.counters.chunks, crc)
        try:
            self._write(self._frame)
            self.counters.chunks += 1
            self.counters.rows += self._used
            self._used = 0
            self._keep_bounds()
        except OSError as error:
            self._fail(error)

    def close(self) -> None:
        """Write what waits and sync the last file; the tape takes no more rows."""
        self.flush()
        if self._file is None:
            return
        try:
            os.fsync(self._file)
        except OSError as error:
            self.failure = str(error)
        os.close(self._file)
        self._file = None

    def _open_next(self) -> None:
        path = self._folder / f"{self._run_id}-{self.counters.files:06d}{SUFFIX}"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._files.append((path, 0))
        self.counters.files += 1
        info = TapeInfo(self._run_id, self.counters.chunks, self._instruments)
        self._write(_header(info, len(self._rows)))

    def _write(self, data: bytes | bytearray) -> None:
        """Append ``data`` whole; a part that got to a full disk is cut off again."""
        assert self._file is not None
        path, size = self._files[-1]
        written = os.write(self._file, data)
        if written != len(data):
            os.ftruncate(self._file, size)
            raise OSError(f"disk took {written} of {len(data)} bytes")
        self._files[-1] = (path, size + written)
        self.counters.bytes_on_disk += written

    def _keep_bounds(self) -> None:
        """Begin a new file when this one has its share; remove the oldest above the bound."""
        if self._files[-1][1] + len(self._frame) <= self._max_bytes // FILES_A_RUN:
            return
        assert self._file is not None
        os.close(self._file)
        self._file = None
        while len(self._files) >= FILES_A_RUN:
            path, size = self._files.pop(0)
            path.unlink(missing_ok=True)
            self.counters.files_removed += 1
            self.counters.bytes_on_disk -= size
        self._open_next()

    def _fail(self, error: OSError) -> None:
        self.failure = f"tape ended: {error}"
        self.counters.rows_lost += self._used
        self._used = 0
        if self._file is not None:
            os.close(self._file)
            self._file = None


class TapeReader:
    """Reads one tape file. Errors: ``TapeError`` for a file that is no tape of this layout."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_cut = False
        """Set when ``chunks`` has met the end: bytes of a last, unfinished chunk were there."""
        try:
            with path.open("rb") as file:
                self.info, self._chunk_rows, self._start = _read_header(file.read(_MAX_HEADER))
        except OSError as error:
            raise TapeError(f"{path}: cannot be read ({error.strerror})") from error
        except _BadHeader as error:
            raise TapeError(f"{path}: header {error}") from error

    def chunks(self) -> Iterator[np.ndarray]:
        """Yield the rows chunk by chunk, MARKET_STATE[n], read-only, in the order written.

        A cut last chunk ends the tape and sets ``is_cut``. Errors: ``TapeError`` at a chunk that
        is damaged or out of order; those before it have been yielded.
        """
        size = chunk_bytes(self._chunk_rows)
        number = self.info.first_chunk
        self.is_cut = False
        with self.path.open("rb") as file:
            file.seek(self._start)
            while data := file.read(size):
                if len(data) < size:
                    self.is_cut = True
                    return
                yield self._rows_of(data, number)
                number += 1

    def rows(self) -> np.ndarray:
        """Return all rows, MARKET_STATE[n]."""
        parts = list(self.chunks())
        return np.concatenate(parts) if parts else np.zeros(0, MARKET_STATE)

    def _rows_of(self, data: bytes, number: int) -> np.ndarray:
        magic, used, found, crc = _CHUNK.unpack_from(data)
        blank = _CHUNK.pack(magic, used, found, 0)
        where = f"{self.path}: chunk {number}"
        if magic != _CHUNK_MAGIC or zlib.crc32(data[_CHUNK.size :], zlib.crc32(blank)) != crc:
            raise TapeError(f"{where} is damaged: its checksum does not hold")
        if found != number or not 0 < used <= self._chunk_rows:
            raise TapeError(f"{where} is out of order: it says {found} with {used} rows")
        return np.frombuffer(data, MARKET_STATE, used, _CHUNK.size)


def tape_files(folder: Path, run_id: str) -> list[Path]:
    """Return the files of one run that are still there, oldest first."""
    return sorted(folder.glob(f"{run_id}-??????{SUFFIX}"))


class _BadHeader(Exception):
    pass


_MAX_HEADER = _HEADER.size + _MAX_JSON


def _as_text(instrument: Instrument) -> TapeInstrument:
    return TapeInstrument(
        venue=instrument.venue,
        name=instrument.name,
        base=instrument.base,
        quote=instrument.quote,
        tick_size=str(instrument.tick_size),
        lot_size=str(instrument.lot_size),
    )


def _header(info: TapeInfo, chunk_rows: int) -> bytes:
    text = msgspec.json.encode(info)
    fields = (_MAGIC, VERSION, len(text), chunk_rows, MARKET_STATE.itemsize, _LAYOUT)
    crc = zlib.crc32(text, zlib.crc32(_HEADER.pack(*fields, 0)))
    return _HEADER.pack(*fields, crc) + text


def _read_header(data: bytes) -> tuple[TapeInfo, int, int]:
    """Return what the header says, rows a chunk and where the chunks begin."""
    if len(data) < _HEADER.size or data[: len(_MAGIC)] != _MAGIC:
        raise _BadHeader("is not that of a tape")
    magic, version, length, chunk_rows, row_bytes, layout, crc = _HEADER.unpack_from(data)
    if version != VERSION:
        raise _BadHeader(f"says version {version}, this program reads {VERSION}")
    if length > _MAX_JSON or len(data) < _HEADER.size + length:
        raise _BadHeader("is cut")
    text = data[_HEADER.size : _HEADER.size + length]
    blank = _HEADER.pack(magic, version, length, chunk_rows, row_bytes, layout, 0)
    if zlib.crc32(text, zlib.crc32(blank)) != crc:
        raise _BadHeader("is damaged: its checksum does not hold")
    if row_bytes != MARKET_STATE.itemsize or layout != _LAYOUT:
        raise _BadHeader("names another row layout; it was written by another version")
    if not 0 < chunk_rows <= _MAX_CHUNK_ROWS:
        raise _BadHeader(f"says {chunk_rows} rows a chunk")
    return msgspec.json.decode(text, type=TapeInfo), chunk_rows, _HEADER.size + length
