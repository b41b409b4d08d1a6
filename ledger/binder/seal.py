"""Sealing a binder: the list of all files with their digests, its signature, the zip.

The zip has no times of its own and its files are stored, not compressed, so that its bytes do not
depend on which compressor a machine has.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zlib
from pathlib import Path
from typing import Any

from core.errors import UserError
from ledger.binder.verify import FORMAT, MANIFEST, SIGNATURE, zip_layout
from ledger.keys import SigningKey

_FILES_MAX, _BYTES_MAX = 60_000, 4_000_000_000
"""What a zip without extensions holds, and a little room."""


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_in(folder: Path) -> list[tuple[str, int, str]]:
    """Return name, bytes and SHA-256 of every file, by name."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return [
        (path.relative_to(folder).as_posix(), path.stat().st_size, sha256_of(path))
        for path in paths
    ]


def seal(folder: Path, key: SigningKey, facts: dict[str, Any]) -> None:
    """Write ``manifest.json`` over all files in ``folder`` and sign it."""
    listed = {name: {"bytes": size, "sha256": digest} for name, size, digest in files_in(folder)}
    manifest = {"format": FORMAT, "key": key.public.name, **facts, "files": listed}
    data = (json.dumps(manifest, sort_keys=True, indent=1) + "\n").encode()
    (folder / MANIFEST).write_bytes(data)
    (folder / SIGNATURE).write_bytes(key.sign(data))


def zip_bytes_to(folder: Path, name: str, out: Path) -> str:
    """Write the files of ``folder`` under ``name/`` into the zip ``out``; return its SHA-256.

    Errors: ``UserError`` for more than a zip without extensions can hold.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    entries = [
        (f"{name}/{path.relative_to(folder).as_posix()}", path.stat().st_size, _crc(path))
        for path in paths
    ]
    if len(entries) >= _FILES_MAX or sum(size for _, size, _ in entries) >= _BYTES_MAX:
        raise UserError("this is too much for one zip: ask for a shorter time (--from, --to)")
    headers, tail = zip_layout(entries)
    draft = out.with_name(f".{out.name}.new")
    try:
        with draft.open("wb") as target:
            for header, path in zip(headers, paths, strict=True):
                target.write(header)
                with path.open("rb") as source:
                    shutil.copyfileobj(source, target, 1 << 20)
            target.write(tail)
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)
    return sha256_of(out)


def _crc(path: Path) -> int:
    crc = 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            crc = zlib.crc32(chunk, crc)
    return crc
