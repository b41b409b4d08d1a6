"""The tape file: a header, then chunks, then an end mark if the file was closed in order.

Header: magic, version, sizes, digest of the row layout, JSON with run, instruments and the number
of the first chunk, CRC. Chunk: magic, rows, number, bytes, CRC of these, CRC of the packed rows.
Chunk numbers go on from file to file of a run, so a missing file shows; an end mark has no rows.
"""

from __future__ import annotations

import hashlib
import struct
import zlib

import msgspec

from core.errors import UserError
from core.model.instrument import Instrument
from core.model.market import MARKET_STATE
from core.tape.rows import ROWS_MAX

SUFFIX = ".tape"
VERSION = 2

_MAGIC = b"TWTAPE\r\n"
_HEADER = struct.Struct("<8sIII32sI")
"""Magic, version, JSON bytes, bytes a row, sha256 of the row layout, and the CRC-32 of these
(with a CRC of 0) and of the JSON behind them."""
_CHUNK = struct.Struct("<4sIQII")
"""Magic, rows, number, packed bytes, CRC-32 of the packed bytes; the CRC-32 of these follows."""
_CRC = struct.Struct("<I")
CHUNK_MAGIC = b"CHNK"
CHUNK_HEAD = _CHUNK.size + _CRC.size
PACKED_MAX = ROWS_MAX * 160
"""No packing takes more: 8 bytes and a bit count for each column of a row."""
_MAX_JSON = 2**20
_LAYOUT = hashlib.sha256(msgspec.json.encode(MARKET_STATE.descr)).digest()


class TapeError(UserError):
    """A tape that cannot be read, naming file and place."""


class BadBytes(Exception):
    """What is wrong with the bytes of a header or a chunk, for the reader to place."""


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


class ChunkHead(msgspec.Struct, frozen=True, gc=False):
    """What stands before the packed rows of a chunk."""

    rows: int
    """0 for the end mark."""
    number: int
    size: int
    crc: int


def as_text(instrument: Instrument) -> TapeInstrument:
    """Return the instrument as the header holds it."""
    return TapeInstrument(
        venue=instrument.venue,
        name=instrument.name,
        base=instrument.base,
        quote=instrument.quote,
        tick_size=str(instrument.tick_size),
        lot_size=str(instrument.lot_size),
    )


def header(info: TapeInfo) -> bytes:
    """Return the first bytes of a tape file."""
    text = msgspec.json.encode(info)
    fields = (_MAGIC, VERSION, len(text), MARKET_STATE.itemsize, _LAYOUT)
    crc = zlib.crc32(text, zlib.crc32(_HEADER.pack(*fields, 0)))
    return _HEADER.pack(*fields, crc) + text


HEADER_MAX = _HEADER.size + _MAX_JSON


def read_header(data: bytes) -> tuple[TapeInfo, int]:
    """Return what the header says and where the chunks begin. Errors: ``BadBytes``."""
    if len(data) < _HEADER.size or data[: len(_MAGIC)] != _MAGIC:
        raise BadBytes("is not that of a tape")
    magic, version, length, row_bytes, layout, crc = _HEADER.unpack_from(data)
    if version != VERSION:
        raise BadBytes(f"says version {version}, this program reads {VERSION}")
    if length > _MAX_JSON or len(data) < _HEADER.size + length:
        raise BadBytes("is cut")
    text = data[_HEADER.size : _HEADER.size + length]
    blank = _HEADER.pack(magic, version, length, row_bytes, layout, 0)
    if zlib.crc32(text, zlib.crc32(blank)) != crc:
        raise BadBytes("is damaged: its checksum does not hold")
    if row_bytes != MARKET_STATE.itemsize or layout != _LAYOUT:
        raise BadBytes("names another row layout; it was written by another version")
    return msgspec.json.decode(text, type=TapeInfo), _HEADER.size + length


def chunk(number: int, rows: int, packed: bytes) -> bytes:
    """Return one chunk; ``rows`` 0 with nothing packed is the end mark."""
    head = _CHUNK.pack(CHUNK_MAGIC, rows, number, len(packed), zlib.crc32(packed))
    return head + _CRC.pack(zlib.crc32(head)) + packed


def read_chunk_head(data: bytes) -> ChunkHead:
    """Return what ``CHUNK_HEAD`` bytes say. Errors: ``BadBytes``."""
    magic, rows, number, size, crc = _CHUNK.unpack_from(data)
    (own_crc,) = _CRC.unpack_from(data, _CHUNK.size)
    if magic != CHUNK_MAGIC or zlib.crc32(data[: _CHUNK.size]) != own_crc:
        raise BadBytes("the checksum of its head does not hold")
    if rows > ROWS_MAX or size > PACKED_MAX or bool(rows) != bool(size):
        raise BadBytes(f"it says {rows} rows in {size} bytes")
    return ChunkHead(rows, number, size, crc)
