"""Writes capture files that can be cut at any instant and still read to the last whole line."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from core.errors import CaptureError
from core.feeds.capture import CaptureMeta

_GZIP_WINDOW = 31
_LEVEL = 6
FLUSH_BYTES = 256 * 1024
"""Text given to the compressor between two flushes."""
FLUSH_NS = 1_000_000_000
ROLL_SHARE = 4
"""A new connection begins a new file once the last one has this part of its bound."""
FULL_SHARE = 0.9
"""A file that has this much of its bound wants a new connection for the next one."""
_DAY_NS = 86_400 * 1_000_000_000
_SECRET = re.compile(r'("(?:key|secret|jwt|signature|passphrase)"\s*:\s*)"[^"]*"')
_encode = msgspec.json.Encoder().encode


class _Line(msgspec.Struct, omit_defaults=True):
    k: str
    ns: int
    url: str = ""
    d: str = ""
    why: str = ""


class CaptureWriter:
    """Appends records to a new file; never overwrites one, never grows past its bound.

    At the bound, or when the disk fails, recording stops, ``dropped`` counts and ``stopped``
    says why: a recording that fails must not stop the trading beside it.

    With ``next_path`` a connection may begin a new file: when the one before is big or stopped, or
    a UTC day is over. Nowhere else, so that each file replays by itself: the books of a connection
    come with its first messages.

    Args:
        path: File to make, with mode 0600.
        meta: The first line.
        max_bytes: Bound of a compressed file.
        next_path: Names the next file from a receive time; None keeps to one file.

    Errors: ``CaptureError`` if the file exists or cannot be made.
    """

    def __init__(
        self,
        path: Path,
        meta: CaptureMeta,
        max_bytes: int = 512 * 1024 * 1024,
        next_path: Callable[[int], Path] | None = None,
    ) -> None:
        self.path = path
        """The file that is open, or was last."""
        self.written = 0
        """Records taken, into all files."""
        self.dropped = 0
        self.stopped = ""
        self.n_bytes = 0
        """Of the file that is open, or was last."""
        self.files = 0
        self._meta = meta
        self._max_bytes = max_bytes
        self._next_path = next_path
        self._day: int | None = None
        self._file = -1
        self._is_broken = False
        """A write has failed: what would come after it could not be read."""
        self._is_finished = False
        try:
            self._begin(path)
        except FileExistsError as error:
            raise CaptureError(f"{path}: exists; a capture is never overwritten") from error
        except OSError as error:
            raise CaptureError(f"{path}: cannot be made ({error.strerror})") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.finish()

    @property
    def wants_connection(self) -> bool:
        """True if the file is nearly full and the next connection would begin another one."""
        is_going_on = self._next_path is not None and not self._is_finished and not self._is_broken
        return is_going_on and self.n_bytes >= self._max_bytes * FULL_SHARE

    def opened(self, ns: int, url: str) -> None:
        """Record a new connection, in a new file where one is due."""
        if self._is_next_due(ns):
            self._begin_next(ns)
        self._append(_Line("open", ns, url=url), ns)

    def sent(self, ns: int, text: str) -> None:
        """Record what we sent, keys and signatures replaced."""
        self._append(_Line("send", ns, d=_SECRET.sub(r'\1"<SECRET>"', text)), ns)

    def received(self, ns: int, data: bytes) -> None:
        self._append(_Line("recv", ns, d=data.decode("utf-8", "replace")), ns)

    def fetched(self, ns: int, url: str, body: bytes) -> None:
        self._append(_Line("http", ns, url=url, d=body.decode("utf-8", "replace")), ns)

    def closed(self, ns: int, why: str) -> None:
        self._append(_Line("close", ns, why=why), ns)
        self.flush()

    def flush(self) -> None:
        """Hand everything so far to the file system, whole lines only."""
        self._write(self._deflate.flush(zlib.Z_SYNC_FLUSH))
        self._unflushed = 0

    def finish(self) -> None:
        """End the file and the recording; more calls are ignored."""
        self._is_finished = True
        self._end_file()

    def _end_file(self) -> None:
        if self._file < 0:
            return
        if not self._is_broken:  # the end is written even at the bound, so that the file is whole
            self._put(self._deflate.flush(zlib.Z_FINISH))
        os.close(self._file)
        self._file = -1

    def _begin(self, path: Path) -> None:
        """Make a file with its first line. Errors: ``OSError``."""
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self.path = path
        self.files += 1
        self.stopped = ""
        self.n_bytes = 0
        self._is_broken = False
        self._deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
        self._unflushed = 0
        self._flushed_ns = 0
        self._put(self._deflate.compress(self._meta.line()))
        self.flush()

    def _is_next_due(self, ns: int) -> bool:
        day, last = ns // _DAY_NS, self._day
        self._day = day
        if self._next_path is None or self._is_finished:
            return False
        is_big = self.n_bytes >= self._max_bytes // ROLL_SHARE
        return bool(self.stopped) or is_big or (last is not None and day > last)

    def _begin_next(self, ns: int) -> None:
        assert self._next_path is not None
        self._end_file()
        path = self._next_path(ns)
        try:
            self._begin(path)
        except OSError as error:
            self.stopped = f"{path}: the recording stopped ({error.strerror})"

    def _append(self, line: _Line, ns: int) -> None:
        if self.stopped or self._file < 0:
            self.dropped += 1
            return
        if self.n_bytes >= self._max_bytes:
            self.stopped = (
                f"{self.path}: the recording reached its bound of {self._max_bytes} bytes"
            )
            self.dropped += 1
            return
        text = _encode(line) + b"\n"
        self._write(self._deflate.compress(text))
        self.written += 1
        self._unflushed += len(text)
        if self._unflushed >= FLUSH_BYTES or ns - self._flushed_ns >= FLUSH_NS:
            self._flushed_ns = ns
            self.flush()

    def _write(self, data: bytes) -> None:
        if self._file >= 0 and not self.stopped:
            self._put(data)

    def _put(self, data: bytes) -> None:
        try:
            while data:
                count = os.write(self._file, data)
                self.n_bytes += count
                data = data[count:]
        except OSError as error:
            self._is_broken = True
            self.stopped = f"{self.path}: the recording stopped ({error.strerror})"
