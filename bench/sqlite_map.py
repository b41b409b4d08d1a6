"""What a byte of an SQLite database or WAL file is for, by the file format alone.

Names the region of an offset: a header field, a structure in use, or space that nothing refers to.
Source: sqlite.org/fileformat2.html, read 2026-11-23.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

UNUSED = "unused space"
_FIELDS = (
    (16, "magic"), (18, "page size"), (20, "format version"), (21, "reserved space"),
    (24, "payload fractions"), (28, "change counter"), (32, "page count"), (36, "first free page"),
    (40, "free page count"), (44, "schema cookie"), (48, "schema format"), (52, "cache size"),
    (56, "largest root"), (60, "encoding"), (64, "user version"), (68, "incremental vacuum"),
    (72, "application id"), (92, "expansion"), (96, "valid-for counter"),
    (100, "version of the library that wrote last"),
)  # fmt: skip
"""Where each header field ends."""
_INNER = {2: True, 5: True, 10: False, 13: False}
_TABLE_LEAF, _TABLE_INNER, _INDEX_INNER = 13, 5, 2
_WAL_HEADER, _FRAME_HEADER = 32, 24


class _Span(NamedTuple):
    start: int
    end: int


def region_of(data: bytes, offset: int, *, is_wal: bool = False, wal: bytes = b"") -> str:
    """Return in words what the byte at ``offset`` is for; ``wal`` is that of a database."""
    if is_wal:
        return _wal_region(data, offset)
    size = _page_size(data)
    page, place = divmod(offset, size)
    if page + 1 in _newer_in(wal):
        return "page that the WAL has a newer copy of"
    if page == 0 and place < 100:
        return "header: " + next(name for end, name in _FIELDS if place < end)
    if page + 1 in _free_pages(data, size):
        return "free page"
    kind = data[page * size + (100 if page == 0 else 0)]
    if kind not in _INNER:
        return "overflow page: " + (UNUSED if _is_slack(data, size, page, place) else "in use")
    used = any(span.start <= place < span.end for span in _used(data, size, page))
    return "b-tree page: " + ("in use" if used else UNUSED)


def _newer_in(wal: bytes) -> set[int]:
    if len(wal) <= _WAL_HEADER:
        return set()
    step = struct.unpack_from(">I", wal, 8)[0] + _FRAME_HEADER
    starts = range(_WAL_HEADER, len(wal) - _FRAME_HEADER, step)
    return {
        struct.unpack_from(">I", wal, start)[0]
        for start in starts
        if wal[start + 8 : start + 16] == wal[16:24]
    }


def _page_size(data: bytes) -> int:
    size = struct.unpack_from(">H", data, 16)[0]
    return 65_536 if size == 1 else int(size)


def _free_pages(data: bytes, size: int) -> set[int]:
    found, trunk = set(), struct.unpack_from(">I", data, 32)[0]
    while trunk and trunk not in found:
        found.add(trunk)
        following, count = struct.unpack_from(">II", data, (trunk - 1) * size)
        found.update(struct.unpack_from(f">{count}I", data, (trunk - 1) * size + 8))
        trunk = following
    return found


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Return value and length."""
    value = 0
    for length in range(1, 10):
        byte = data[place + length - 1]
        if length == 9:
            return value << 8 | byte, 9
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            break
    return value, length


def _used(data: bytes, size: int, page: int) -> Iterator[_Span]:
    """Yield the bytes of a b-tree page that mean something."""
    base, start = page * size, 100 if page == 0 else 0
    kind = data[base + start]
    header = 12 if _INNER[kind] else 8
    count = struct.unpack_from(">H", data, base + start + 3)[0]
    yield _Span(start, start + header + 2 * count)
    for number in range(count):
        place = struct.unpack_from(">H", data, base + start + header + 2 * number)[0]
        yield _Span(place, place + _cell_bytes(data, base + place, kind, size))
    block = struct.unpack_from(">H", data, base + start + 1)[0]
    while block:  # a free block's own four bytes chain it
        yield _Span(block, block + 4)
        block = struct.unpack_from(">H", data, base + block)[0]


def _cell_bytes(data: bytes, place: int, kind: int, size: int) -> int:
    start = place
    if _INNER[kind]:
        place += 4
    if kind == _TABLE_INNER:
        return place + _varint(data, place)[1] - start
    payload, length = _varint(data, place)
    place += length
    if kind == _TABLE_LEAF:
        place += _varint(data, place)[1]
    kept = _local_bytes(payload, kind, size)
    return place + kept + (4 if kept < payload else 0) - start


def _local_bytes(payload: int, kind: int, size: int) -> int:
    """Return how much of a payload its cell holds; the rest is on overflow pages."""
    most = size - 35 if kind == _TABLE_LEAF else (size - 12) * 64 // 255 - 23
    if payload <= most:
        return payload
    least = (size - 12) * 32 // 255 - 23
    kept = least + (payload - least) % (size - 4)
    return kept if kept <= most else least


def _is_slack(data: bytes, size: int, page: int, place: int) -> bool:
    """Tell whether a byte of an overflow page is behind the end of its payload."""
    for start in range(0, len(data), size):
        kind = data[start + (100 if start == 0 else 0)]
        if kind not in _INNER or kind == _TABLE_INNER:
            continue
        for first, payload in _overflows(data, size, start // size, kind):
            number, left = first, payload
            while number:
                if number - 1 == page:
                    return place >= 4 + left
                left -= size - 4
                number = struct.unpack_from(">I", data, (number - 1) * size)[0] if left > 0 else 0
    return False


def _overflows(data: bytes, size: int, page: int, kind: int) -> Iterator[tuple[int, int]]:
    """Yield the first overflow page of each cell that has one, and the bytes that are there."""
    base, start = page * size, 100 if page == 0 else 0
    header = 12 if _INNER[kind] else 8
    count = struct.unpack_from(">H", data, base + start + 3)[0]
    for number in range(count):
        place = base + struct.unpack_from(">H", data, base + start + header + 2 * number)[0]
        place += 4 if _INNER[kind] else 0
        payload, length = _varint(data, place)
        place += length
        if kind == _TABLE_LEAF:
            place += _varint(data, place)[1]
        kept = _local_bytes(payload, kind, size)
        if kept < payload:
            yield struct.unpack_from(">I", data, place + kept)[0], payload - kept


def _wal_region(data: bytes, offset: int) -> str:
    """Tell frames of this round of the WAL from those that an earlier round left behind."""
    if offset < _WAL_HEADER:
        return "WAL header"
    size = struct.unpack_from(">I", data, 8)[0]
    frame = (offset - _WAL_HEADER) // (size + _FRAME_HEADER)
    start = _WAL_HEADER + frame * (size + _FRAME_HEADER)
    if data[start + 8 : start + 16] != data[16:24]:
        return "WAL frame of an earlier round"
    return "WAL frame in use"
