"""Keeps a folder of recordings within its share of the disk: the oldest closed file goes first."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import msgspec


class Removed(msgspec.Struct, frozen=True):
    """What ``remove_oldest`` did."""

    names: tuple[str, ...] = ()
    """Files removed, oldest first."""
    size_bytes: int = 0
    """Of the files removed."""
    kept_bytes: int = 0
    """Of the files that are left."""
    failure: str = ""
    """Why a file could not be removed; empty when all could."""


class _File(NamedTuple):
    changed_ns: int
    name: str
    path: Path
    size: int


def remove_oldest(
    folder: Path, suffixes: tuple[str, ...], max_bytes: int, keep: Collection[Path]
) -> Removed:
    """Remove files of ``folder`` until those that are left fit in ``max_bytes``.

    Oldest is what was last changed first. Only files that end with one of ``suffixes`` count and
    go; those in ``keep`` (still being written) count and stay. Never raises: what cannot be
    removed stays and is told.
    """
    files = sorted(_files(folder, suffixes))
    left = sum(file.size for file in files)
    names: list[str] = []
    gone, failure = 0, ""
    for file in files:
        if left <= max_bytes:
            break
        if file.path in keep:
            continue
        try:
            file.path.unlink(missing_ok=True)
        except OSError as error:
            failure = f"{file.path}: cannot be removed ({error.strerror})"
            continue
        names.append(file.name)
        gone += file.size
        left -= file.size
    return Removed(tuple(names), gone, left, failure)


def _files(folder: Path, suffixes: tuple[str, ...]) -> list[_File]:
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name.endswith(suffixes) and path.is_file() and not path.is_symlink():
            seen = path.stat()
            found.append(_File(seen.st_mtime_ns, path.name, path, seen.st_size))
    return found
