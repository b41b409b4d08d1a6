"""Payloads: what is too big for an event, kept as files under the digest of their content.

``payloads/ab/abcd....gz`` in the state directory holds, compressed, the bytes whose SHA-256 is
``abcd...``; the event that names the digest puts them under the chain. A payload is durable
before the event that names it, is never changed, and the same content is kept once. A look in
the background (``ledger.payload_bound``) later makes ``.xz`` of it: a quarter smaller, but too slow
for the thread that commits orders.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import re
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

from core.errors import Failed, ValueRefused
from core.model.event import DecisionsTaken

FOLDER = "payloads"
SUFFIX = ".gz"
PACKED_SUFFIX = ".xz"
SUFFIXES = (SUFFIX, PACKED_SUFFIX)
DRAFT_SUFFIX = ".new"
PAYLOAD_BYTES_MAX = 64 * 1024 * 1024
FREE_BYTES_MIN = 256 * 1024 * 1024
"""With less than this free on the disk no payload is kept: the rest is for the events."""
_LEVEL = 6
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


def is_digest(text: str) -> bool:
    return bool(_DIGEST.fullmatch(text))


def path_of(state_dir: Path, digest: str) -> Path:
    """Return where a payload is put. Errors: ``ValueRefused`` for what is no digest."""
    if not is_digest(digest):
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
    _write(path, gzip.compress(data, _LEVEL, mtime=0))
    return digest


def _write(path: Path, packed: bytes) -> None:
    # Of this process alone: a look that outlived its engine may pack beside the next one.
    draft = path.with_suffix(f".{os.getpid()}{DRAFT_SUFFIX}")
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        with open(file, "wb", closefd=False) as out:
            out.write(packed)
        os.fsync(file)
    finally:
        os.close(file)
    draft.replace(path)
    _sync_folder(path.parent)


def why_not_kept(state_dir: Path) -> str:
    """Return why the disk has no room for a payload now, or nothing."""
    try:
        free = shutil.disk_usage(state_dir).free
    except OSError:
        return ""  # the write itself will say what is wrong
    if free >= FREE_BYTES_MIN:
        return ""
    return f"disk: {free >> 20} MiB free, {FREE_BYTES_MIN >> 20} are left to the events"


def paths_of(state_dir: Path, digest: str) -> tuple[Path, Path]:
    """Return where a payload may be, as it was put and packed. Errors: as ``path_of``."""
    path = path_of(state_dir, digest)
    return path, path.with_suffix(PACKED_SUFFIX)


def is_there(state_dir: Path, digest: str) -> bool:
    return any(path.exists() for path in paths_of(state_dir, digest))


def get(state_dir: Path, digest: str) -> bytes:
    """Return the payload. Errors: ``Failed`` if it is missing or is not what the digest says."""
    put_at, packed_at = paths_of(state_dir, digest)
    try:
        # In this order: a look that packs it meanwhile removes the first after it made the second.
        data = _read(put_at, _unpack) or _read(packed_at, _unpack_xz)
    except OSError as error:
        raise Failed(f"payload {digest} cannot be read ({error.strerror})") from error
    if data is None:
        raise Failed(f"payload {digest} is missing")
    if hashlib.sha256(data[0]).hexdigest() != digest:
        raise Failed(f"payload {digest} was altered")
    return data[0]


def _read(path: Path, unpack: Callable[[bytes], bytes | None]) -> tuple[bytes] | None:
    """Return what a file holds, None if there is no file; nothing good is as if empty."""
    try:
        packed = path.read_bytes()
    except FileNotFoundError:
        return None
    return (unpack(packed) or b"",)


def pack(state_dir: Path, digest: str) -> None:
    """Make the smaller file of a payload, then remove the first one. Errors: ``OSError``.

    A payload that was altered stays as it is: ``verify`` is to find it.
    """
    path, packed_path = paths_of(state_dir, digest)
    try:
        data = get(state_dir, digest)
    except Failed:
        return
    _write(packed_path, lzma.compress(data))
    path.unlink(missing_ok=True)


def remove(state_dir: Path, digest: str) -> None:
    """Remove a payload of which an event says so. Errors: ``OSError``."""
    for path in paths_of(state_dir, digest):
        path.unlink(missing_ok=True)


def _unpack_xz(packed: bytes) -> bytes | None:
    """Return the content of one xz stream as ``pack`` writes it, or None."""
    inflate = lzma.LZMADecompressor(lzma.FORMAT_XZ)
    try:
        data = inflate.decompress(packed, PAYLOAD_BYTES_MAX)
    except lzma.LZMAError:
        return None
    return data if inflate.eof and not inflate.unused_data else None


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


def payload_problem(state_dir: Path, event: DecisionsTaken) -> str:
    """Return what is wrong with the payload that ``event`` names, or nothing."""
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
