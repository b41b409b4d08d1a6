"""The SQLite file itself: its own structures, its header, and that nobody changed the schema.

SQLite forgives much in the first 100 bytes of a file (it sets most of them and reads few). What
this program never writes there is not forgiven here, so that a changed byte is found.
Source: sqlite.org/fileformat2.html, section 1.3, read 2026-11-23.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ledger.coverage import Problem
from ledger.schema import (
    APPLICATION_ID,
    CHECKPOINTS,
    PROJECTION_KEYS,
    PROJECTIONS,
    SCHEMA_VERSION,
    TABLES_VERSION,
    TRANSFERS_VERSION,
    TRUTH,
    UNSIGNED_VERSION,
    schema_of,
)  # fmt: skip
from ledger.store import DB_NAME, version_of

INTEGRITY_MAX = 5
"""Problems that SQLite tells of at most."""
_HEADER = struct.Struct(">16sHBBBBBBIIIIIIIIIIII20sII")


class _Header(NamedTuple):
    """The first 100 bytes."""

    magic: bytes
    page_size: int
    write_version: int
    read_version: int
    reserved: int
    payload_max: int
    payload_min: int
    payload_leaf: int
    change_counter: int
    pages: int
    first_free_page: int
    free_pages: int
    schema_cookie: int
    schema_format: int
    cache_size: int
    largest_root: int
    encoding: int
    user_version: int
    is_incremental: int
    application_id: int
    expansion: bytes
    valid_for: int
    library: int


_ALWAYS = {
    "magic": (b"SQLite format 3\x00",),
    "page_size": (4096,),
    "write_version": (2,),  # WAL
    "read_version": (2,),
    "reserved": (0,),
    "payload_max": (64,),
    "payload_min": (32,),
    "payload_leaf": (32,),
    "schema_format": (0, 4),  # 0 until the first table has left the WAL
    "cache_size": (0,),
    "largest_root": (0,),
    "encoding": (0, 1),
    "user_version": tuple(range(SCHEMA_VERSION + 1)),
    "is_incremental": (0,),
    "application_id": (0, APPLICATION_ID),
    "expansion": (bytes(20),),
}
"""What the file itself says whenever it is read, whatever is in the WAL."""


def file_problems(connection: sqlite3.Connection, state_dir: Path) -> Iterator[Problem]:
    """Yield what is wrong with the file, its header and its schema."""
    yield from _header_problems(state_dir / DB_NAME)
    for (text,) in connection.execute(f"PRAGMA integrity_check({INTEGRITY_MAX})"):
        if text != "ok":
            yield None, f"SQLite integrity: {text}"
    yield from _schema_problems(connection)


def _header_problems(path: Path) -> Iterator[Problem]:
    with path.open("rb") as file:
        data = file.read(_HEADER.size)
    if len(data) < _HEADER.size:
        return  # a new ledger that is in its WAL as yet
    header = _Header(*_HEADER.unpack(data))
    for name, allowed in _ALWAYS.items():
        if getattr(header, name) not in allowed:
            yield None, f"file header: {name} is {getattr(header, name)!r}, never so in a ledger"
    if header.valid_for != header.change_counter:
        yield (
            None,
            (
                f"file header: change counter {header.change_counter} was valid for "
                f"{header.valid_for}: something other than this program wrote to the file"
            ),
        )


def _schema_problems(connection: sqlite3.Connection) -> Iterator[Problem]:
    """Yield tables, indexes and triggers that are missing, changed or too many.

    The tables of an older version may have another shape; the next start makes them anew.
    """
    version = version_of(connection)
    wanted = made_schema(version)
    found = schema_of(connection)
    is_current = version == SCHEMA_VERSION
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) == found.get(name):
            continue
        if name in found and found[name][1] in PROJECTION_KEYS and not is_current:
            continue
        state = "missing" if name not in found else "not as this program made it"
        yield None, f"schema: {name} is {state}"


def made_schema(version: int) -> dict[str, tuple[str, str, str | None]]:
    """Return what ``schema_of`` finds in a ledger of ``version`` that this program made."""
    parts = [TRUTH, PROJECTIONS]
    if version != UNSIGNED_VERSION:
        parts.append(CHECKPOINTS)
    model = sqlite3.connect(":memory:")
    try:
        model.executescript("".join(parts))
        wanted = schema_of(model)
    finally:
        model.close()
    if version < TABLES_VERSION:
        del wanted["projected"], wanted["carried"]
    if version < TRANSFERS_VERSION:
        for name in [key for key, made in wanted.items() if made[1] in {"transfers", "spent"}]:
            del wanted[name]
    return wanted
