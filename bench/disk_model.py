"""A disk that may lose power: what a process wrote, and what of it is left at a given instant.

``record`` runs the real program under strace and keeps every write, truncate, rename, unlink and
fsync below one folder, in order, with what the program said on stdout between them. ``Disk``
replays a prefix of that and makes the state a power cut could leave: what was synced stays; each
unsynced write is kept, dropped, or torn at 512 bytes with old, new or garbage sectors; of the
unsynced changes of a folder a random prefix stays, as a journaling file system would have it.
The shared memory of SQLite's WAL (``-shm``) does not survive and is left out.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

SECTOR = 512
GARBAGE_SHARE = 0.1
CALLS = (
    "openat,open,creat,write,pwrite64,writev,pwritev,ftruncate,truncate,fsync,fdatasync,"
    "rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,link,linkat,lseek"
)
_LINE = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+|0x[0-9a-f]+)(<.*>)?(?: .*)?$")
_UNFINISHED = re.compile(r"(\d+) +(\w+)\((.*) <unfinished \.\.\.>$")
_RESUMED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>(.*)$")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
_DESCRIPTOR = re.compile(r"^(\d+|AT_FDCWD)(?:<((?:\\x[0-9a-f]{2})*)>)?")


class Op(NamedTuple):
    """One thing the program did to the disk, or said."""

    call: str
    """``create write truncate sync sync_folder rename unlink mkdir said``."""
    path: str
    data: bytes = b""
    offset: int = 0
    """Of a write; the new length of a truncate; -1 for an append."""
    to: str = ""


def is_recordable() -> bool:
    """Tell whether strace is there and may be used."""
    return shutil.which("strace") is not None


def record(words: Sequence[str | Path], folder: Path, trace: Path) -> list[Op]:
    """Run a Python program and return what it did below ``folder``."""
    command = ["strace", "-f", "-xx", "-y", "-s", "16777216", "-e", f"trace={CALLS}",
               "-o", str(trace), sys.executable, *map(str, words)]  # fmt: skip
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=300)
    with trace.open(encoding="ascii", errors="replace") as lines:
        return _Reader(str(folder)).read(lines)


def _unhex(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


class _Reader:
    """Turns the lines of strace into operations."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._ops: list[Op] = []
        self._begun: dict[str, str] = {}
        self._places: dict[tuple[str, str], int] = {}
        """Offset of the plain writes to a descriptor of a path."""

    def read(self, lines: object) -> list[Op]:
        for line in lines:  # type: ignore[attr-defined]
            whole = self._whole(line.rstrip("\n"))
            match = _LINE.match(whole) if whole else None
            if match and not match.group(4).startswith("-"):
                self._take(match.group(2), match.group(3), int(match.group(4), 0))
        return self._ops

    def _whole(self, line: str) -> str:
        """Return a line once its call has returned: where two threads met, it is in two parts."""
        begun = _UNFINISHED.match(line)
        if begun:
            self._begun[begun.group(1)] = line.removesuffix(" <unfinished ...>")
            return ""
        resumed = _RESUMED.match(line)
        if resumed:
            return self._begun.pop(resumed.group(1), "") + resumed.group(3)
        return line

    def _take(self, call: str, args: str, result: int) -> None:
        texts = [_unhex(match.group(1)) for match in _TEXT.finditer(args)]
        found = _DESCRIPTOR.match(args)
        number, held = (found.group(1), found.group(2)) if found else ("", None)
        path = _unhex(held).decode() if held else ""
        if call in {"open", "openat", "creat"}:
            self._opened(texts[0].decode(), args, str(result))
        elif call == "write" and number == "1":
            self._ops.append(Op("said", "", texts[0][:result]))
        elif call in {"write", "pwrite64", "writev", "pwritev"}:
            self._written(call, number, path, args, b"".join(texts)[:result])
        elif call in {"fsync", "fdatasync"} and self._is_ours(path):
            kind = "sync_folder" if Path(path).is_dir() else "sync"
            self._ops.append(Op(kind, path))
        elif call == "ftruncate" and self._is_ours(path):
            self._ops.append(Op("truncate", path, offset=int(args.rsplit(", ", 1)[1])))
        elif call.startswith("rename") and self._is_ours(texts[1].decode()):
            self._ops.append(Op("rename", texts[0].decode(), to=texts[1].decode()))
        elif call.startswith("unlink") and self._is_ours(texts[0].decode()):
            self._ops.append(Op("unlink", texts[0].decode()))
        elif call.startswith("mkdir") and self._is_ours(texts[0].decode()):
            self._ops.append(Op("mkdir", texts[0].decode()))
        elif call.startswith("link") and self._is_ours(texts[1].decode()):
            raise AssertionError(f"a hard link: the model has none ({args[:80]})")

    def _is_ours(self, path: str) -> bool:
        return (path == self._root or path.startswith(self._root + "/")) and not path.endswith(
            "-shm"
        )

    def _opened(self, path: str, args: str, number: str) -> None:
        if not self._is_ours(path) or Path(path).is_dir():
            return
        self._places[number, path] = -1 if "O_APPEND" in args else 0
        if "O_CREAT" in args:
            self._ops.append(Op("create", path))
        if "O_TRUNC" in args:
            self._ops.append(Op("truncate", path, offset=0))

    def _written(self, call: str, number: str, path: str, args: str, data: bytes) -> None:
        if not self._is_ours(path):
            return
        if call.startswith("p"):
            self._ops.append(Op("write", path, data, int(args.rsplit(", ", 1)[1])))
            return
        place = self._places.get((number, path), 0)
        self._ops.append(Op("write", path, data, place))
        if place >= 0:
            self._places[number, path] = place + len(data)


class _File:
    """The content of one file: what is synced, and what came after."""

    def __init__(self, durable: bytes = b"") -> None:
        self.durable = durable
        self.pending: list[Op] = []
        self.length = len(durable)
        """As the running program sees it."""

    def take(self, op: Op) -> None:
        if op.call == "truncate":
            self.length = op.offset
        else:
            offset = self.length if op.offset < 0 else op.offset
            op = op._replace(offset=offset)
            self.length = max(self.length, offset + len(op.data))
        self.pending.append(op)

    def sync(self) -> None:
        content = bytearray(self.durable)
        for op in self.pending:
            _apply(content, op)
        self.durable, self.pending = bytes(content), []

    def left(self, chance: np.random.Generator) -> bytes:
        """Return what a power cut leaves."""
        content = bytearray(self.durable)
        for op in self.pending:
            fate = chance.integers(3)
            if fate == 0 or op.call == "truncate":
                if fate != 1:
                    _apply(content, op)
            elif fate == 2:
                _tear(content, op, chance)
        return bytes(content)


def _apply(content: bytearray, op: Op) -> None:
    if op.call == "truncate":
        del content[op.offset :]
        content.extend(bytes(op.offset - len(content)))
        return
    if len(content) < op.offset:
        content.extend(bytes(op.offset - len(content)))
    content[op.offset : op.offset + len(op.data)] = op.data


def _tear(content: bytearray, op: Op, chance: np.random.Generator) -> None:
    """Write some sectors of ``op``, leave some, and fill some with garbage."""
    start = op.offset
    while start < op.offset + len(op.data):
        end = min((start // SECTOR + 1) * SECTOR, op.offset + len(op.data))
        part = op.data[start - op.offset : end - op.offset]
        roll = chance.random()
        if roll < GARBAGE_SHARE:
            part = chance.bytes(len(part))
        if roll < 0.5 + GARBAGE_SHARE / 2:
            _apply(content, op._replace(data=part, offset=start))
        start = end


class Disk:
    """Files and folders below a root, as operations come in."""

    def __init__(self, root: Path) -> None:
        """Begin with what is there now, all of it durable."""
        self._root = str(root)
        self._files: list[_File] = []
        self._now: dict[str, int] = {}
        """File number by path, as the running program sees it."""
        for path in sorted(root.rglob("*")):
            if path.is_file() and not path.name.endswith("-shm"):
                self._files.append(_File(path.read_bytes()))
                self._now[str(path)] = len(self._files) - 1
        self._durable = dict(self._now)
        self._pending: dict[str, list[Op]] = {}
        """Unsynced changes by folder."""

    def take(self, op: Op) -> None:
        """Do what the program did."""
        if op.call == "create":
            if op.path not in self._now:
                self._files.append(_File())
                self._now[op.path] = len(self._files) - 1
                self._change(op._replace(offset=len(self._files) - 1))
        elif op.call in {"write", "truncate"}:
            self._files[self._now[op.path]].take(op)
        elif op.call == "sync":
            if op.path in self._now:
                self._files[self._now[op.path]].sync()
        elif op.call == "sync_folder":
            for change in self._pending.pop(op.path, []):
                _change(self._durable, change)
        elif op.call in {"rename", "unlink"}:
            _change(self._now, op)
            self._change(op)

    def _change(self, op: Op) -> None:
        self._pending.setdefault(str(Path(op.path).parent), []).append(op)

    def write_image(self, target: Path, chance: np.random.Generator) -> None:
        """Write below ``target`` what a power cut at this instant could leave."""
        there = dict(self._durable)
        for changes in self._pending.values():
            for change in changes[: int(chance.integers(len(changes) + 1))]:
                _change(there, change)
        for path, number in there.items():
            place = target / Path(path).relative_to(self._root)
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            place.touch(mode=0o600)
            place.write_bytes(self._files[number].left(chance))


def _change(entries: dict[str, int], op: Op) -> None:
    if op.call == "create":
        entries[op.path] = op.offset
    elif op.call == "unlink":
        entries.pop(op.path, None)
    elif op.path in entries:
        entries[op.to] = entries.pop(op.path)
