"""Reads tape files: whole chunks only, damage named, and read past when that is asked for."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from core.model.market import MARKET_STATE
from core.tape.format import (
    CHUNK_HEAD,
    CHUNK_MAGIC,
    HEADER_MAX,
    SUFFIX,
    BadBytes,
    ChunkHead,
    TapeError,
    read_chunk_head,
    read_header,
)
from core.tape.rows import BadRows, unpack_rows

_SEEK_BYTES = 2**20

OnDamage = Callable[[str], None]
"""Takes one sentence that names file, chunk and what is wrong with it."""


class TapeReader:
    """Reads one tape file. Errors: ``TapeError`` for a file that is no tape of this layout."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_cut = False
        """Set when ``chunks`` has met the end: bytes of a last, unfinished chunk were there."""
        self.is_closed = False
        """Set when ``chunks`` has met the end mark: the writer closed the file in order."""
        try:
            with path.open("rb") as file:
                self.info, self._start = read_header(file.read(HEADER_MAX))
        except OSError as error:
            raise TapeError(f"{path}: cannot be read ({error.strerror})") from error
        except BadBytes as error:
            raise TapeError(f"{path}: header {error}") from error

    def chunks(self, on_damage: OnDamage | None = None) -> Iterator[np.ndarray]:
        """Yield the rows chunk by chunk, MARKET_STATE[n], read-only, in the order written.

        A cut last chunk ends the tape and sets ``is_cut``. Errors: ``TapeError`` at a chunk that
        is damaged or out of order; those before it have been yielded. With ``on_damage`` it is
        told instead and reading goes on at the next whole chunk.
        """
        tell = on_damage or self._refuse
        number = self.info.first_chunk
        self.is_cut = self.is_closed = False
        with self.path.open("rb") as file:
            file.seek(self._start)
            for head, packed in self._blocks(file, tell):
                if head.number != number:
                    tell(f"{self.path}: chunk {number} is not there, next is {head.number}")
                if self.is_closed:
                    tell(f"{self.path}: chunk {head.number} stands behind the end mark")
                number = head.number + bool(head.rows)
                if not head.rows:
                    self.is_closed = True
                    continue
                try:
                    rows = _unpacked(head, packed)
                except BadRows as error:
                    tell(f"{self.path}: chunk {head.number} is damaged: {error}")
                    continue
                yield rows

    def _blocks(self, file: BinaryIO, tell: OnDamage) -> Iterator[tuple[ChunkHead, bytes]]:
        """Yield the heads that hold with the bytes behind them, up to the end or the cut."""
        while data := file.read(CHUNK_HEAD):
            if len(data) < CHUNK_HEAD:
                self.is_cut = True
                return
            begin = file.tell() - CHUNK_HEAD
            try:
                head = read_chunk_head(data)
            except BadBytes as error:
                tell(f"{self.path}: chunk at byte {begin} is damaged: {error}")
                if not _seek_chunk(file, begin + 1):
                    return
                continue
            packed = file.read(head.size)
            if len(packed) < head.size:
                self.is_cut = True
                return
            yield head, packed

    def rows(self) -> np.ndarray:
        """Return all rows, MARKET_STATE[n]."""
        parts = list(self.chunks())
        return np.concatenate(parts) if parts else np.zeros(0, MARKET_STATE)

    def _refuse(self, what: str) -> None:
        raise TapeError(what)


def tape_files(folder: Path, run_id: str) -> list[Path]:
    """Return the files of one run that are still there, oldest first."""
    return sorted(folder.glob(f"{run_id}-??????{SUFFIX}"))


def _unpacked(head: ChunkHead, packed: bytes) -> np.ndarray:
    if zlib.crc32(packed) != head.crc:
        raise BadRows("its checksum does not hold")
    return unpack_rows(packed, head.rows)


def _seek_chunk(file: BinaryIO, begin: int) -> bool:
    """Move to the next bytes from ``begin`` on that look like a chunk; False if there are none."""
    while True:
        file.seek(begin)
        data = file.read(_SEEK_BYTES)
        place = data.find(CHUNK_MAGIC)
        if place >= 0:
            file.seek(begin + place)
            return True
        if len(data) < _SEEK_BYTES:
            return False
        begin += len(data) - len(CHUNK_MAGIC) + 1
