"""Payloads: what is too big for an event, kept as files under the digest of their content.

``payloads/ab/abcd....gz`` in the state directory holds, compressed, the bytes whose SHA-256 is
``abcd...``; the event that names the digest puts them under the chain. A payload is durable
before the event that names it, is never changed, and the same content is kept once.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import zlib
from pathlib import Path

from core.errors import Failed, ValueRefused
from core.model.event import DecisionsTaken, LedgerEvent

FOLDER = "payloads"
SUFFIX = ".gz"
PAYLOAD_BYTES_MAX = 64 * 1024 * 1024
_LEVEL = 6
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


def path_of(state_dir: Path, digest: str) -> Path:
    """Return where a payload is kept. Errors: ``ValueRefused`` for what is no digest."""
    if not _DIGEST.fullmatch(digest):
        raise ValueRefused(f"digest was {digest!r:.80}, allowed are 64 hex digits")
    return state_dir / FOLDER / digest[:2] / (digest + SUFFIX)


def put(state_dir: Path, data: bytes) -> str:
    """Keep ``data`` durably and return its digest. Errors: ``OSError``.

    The file appears whole or not at all; one that is there already is kept if it is right.
    """
    digest = hashlib.sha256(data).hexdigest()
    path = path_of(state_dir, digest)
    if _is_kept(state_dir, digest):
        return digest
    for folder in (path.parent.parent, path.parent):
        if not folder.is_dir():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sync_folder(folder.parent)
    draft = path.with_suffix(".new")
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        with open(file, "wb", closefd=False) as out:
            out.write(gzip.compress(data, _LEVEL, mtime=0))
        os.fsync(file)
    finally:
        os.close(file)
    draft.replace(path)
    _sync_folder(path.parent)
    return digest


def get(state_dir: Path, digest: str) -> bytes:
    """Return the payload. Errors: ``Failed`` if it is missing or is not what the digest says."""
    try:
        packed = path_of(state_dir, digest).read_bytes()
    except FileNotFoundError as error:
        raise Failed(f"payload {digest} is missing") from error
    except OSError as error:
        raise Failed(f"payload {digest} cannot be read ({error.strerror})") from error
    data = _unpack(packed)
    if data is None or hashlib.sha256(data).hexdigest() != digest:
        raise Failed(f"payload {digest} was altered")
    return data


def _unpack(packed: bytes) -> bytes | None:
    """Return the content of one gzip member as ``put`` writes it, or None."""
    if packed[:10] != gzip.compress(b"", _LEVEL, mtime=0)[:10]:
        return None
    inflate = zlib.decompressobj(31)
    try:
        data = inflate.decompress(packed, PAYLOAD_BYTES_MAX)
    except zlib.error:
        return None
    return data if inflate.eof and not inflate.unused_data else None


def payload_problem(state_dir: Path, event: LedgerEvent) -> str:
    """Return what is wrong with the payload that ``event`` names, or nothing."""
    if not isinstance(event, DecisionsTaken):
        return ""
    try:
        data = get(state_dir, event.digest)
    except (Failed, ValueRefused) as error:
        return str(error)
    if len(data) != event.size_bytes:
        return f"payload {event.digest} has {len(data)} bytes, the event says {event.size_bytes}"
    lines = data.count(b"\n")
    return "" if lines == event.count else f"payload {event.digest} has {lines} lines"


def _is_kept(state_dir: Path, digest: str) -> bool:
    try:
        get(state_dir, digest)
    except Failed:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
