"""Capture files ``capture/1``: JSON Lines, gzip or plain; what the socket saw, line by line.

The reader streams: memory is bounded by one block and one line. A file that was cut (kill,
full disk) reads to its last whole line and says so; everything else wrong is one ``CaptureError``.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from core.errors import CaptureError, UnknownVenue, ValueRefused
from core.feeds.symbols import currencies
from core.model.instrument import Instrument, parse_decimal, plain

FORMAT = "capture/1"
VENUES = ("sim", "coinbase", "coinbase-exchange", "binance", "alpaca")
MAX_LINE_BYTES = 64 * 1024 * 1024
"""Longest line taken; the largest real frame seen is 5.1 MB."""
_BLOCK_BYTES = 1024 * 1024
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WINDOW = 31
_NEWLINE, _OPENS, _CLOSES = b"\n{}"
KINDS = frozenset({"open", "send", "recv", "http", "close"})


class Record(msgspec.Struct, gc=False, rename={"kind": "k", "text": "d"}):
    """One line after the first."""

    kind: str
    ns: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    """Our clock when it happened."""
    text: str = ""
    """Exact text of a frame, or the body of a reply."""
    url: str = ""
    why: str = ""

    @property
    def data(self) -> bytes:
        return self.text.encode()


class Increments(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the first line says of one instrument; base and quote are ours."""

    price_increment: str
    size_increment: str
    base: str = ""
    quote: str = ""


class _MetaLine(msgspec.Struct, omit_defaults=True):
    k: str = ""
    format: str = ""
    venue: str = ""
    symbols: list[str] = []
    instruments: dict[str, Increments] = {}
    note: str = ""


class CaptureMeta(msgspec.Struct, frozen=True):
    """The first line, with instruments made of it, in the order of ``symbols``."""

    venue: str
    symbols: tuple[str, ...]
    instruments: tuple[Instrument, ...]
    note: str = ""

    def line(self) -> bytes:
        """Return the first line of a capture file, newline included."""
        meta = _MetaLine("meta", FORMAT, self.venue, list(self.symbols), note=self.note)
        meta.instruments = {
            one.name: Increments(plain(one.tick_size), plain(one.lot_size), one.base, one.quote)
            for one in self.instruments
        }
        return msgspec.json.encode(meta) + b"\n"


_DECODER = msgspec.json.Decoder(Record)
_MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class CaptureReader:
    """Iterates over the records of one file; ``meta`` is read when it is made.

    Iterating again starts anew. ``was_cut`` is known once an iteration has ended.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.was_cut = False
        """The file ended inside a line or inside the compressed data."""
        self.n_records = 0
        """Records read by the iteration so far, the first line not counted."""
        self.bytes_read = 0
        """Bytes of the file that the records so far lie in, about: for a progress bar."""
        self.skipped = 0
        """Lines of a kind that ``capture/1`` does not have."""
        first = next(self._chunks(), b"").partition(b"\n")[0]
        self.meta = _read_meta(first, path)

    def cut_text(self) -> str:
        """Return one line that says where a cut file ended."""
        return f"{self.path}: the file is cut after {self.n_records + 1} whole lines"

    def __iter__(self) -> Iterator[Record]:
        """Yield the records in order. Errors: ``CaptureError`` with file and line number."""
        self.was_cut, self.n_records, self.skipped = False, 0, 0
        number = 1
        for chunk in self._chunks():
            lines = chunk
            if number == 1:
                lines, number = chunk.partition(b"\n")[2], 2
            ends = np.flatnonzero(np.frombuffer(lines, np.uint8) == _NEWLINE)
            for record in self._records(lines, ends, number):
                self.n_records += 1
                if record.kind in KINDS:
                    yield record
                else:
                    self.skipped += 1
            number += len(ends) + 1

    def _records(self, lines: bytes, ends: np.ndarray, number: int) -> Iterator[Record]:
        """Yield the records of whole lines, the first of which has that line number.

        One record a line, exactly: what lines decoded together give is taken where it is proved
        to be what each of them gives alone, and else they are decoded singly, which takes twice
        as long and names the line that is wrong. An empty line holds nothing.
        """
        try:
            records = _DECODER.decode_lines(lines)
        except _MALFORMED:
            records = None
        if records is not None and _is_one_a_line(lines, ends, len(records)):
            yield from records
            return
        for at, line in enumerate(lines.split(b"\n"), number):
            if not line:
                continue
            try:
                record = _DECODER.decode(line)
            except _MALFORMED as error:
                where = f"{self.path} line {at}"
                raise CaptureError(f"{where}: was not a capture record ({error})") from error
            yield record

    def _chunks(self) -> Iterator[bytes]:
        """Yield runs of whole lines, the newline after the last one taken off."""
        rest = b""
        for block in self._blocks():
            whole, newline, tail = block.rpartition(b"\n")
            if newline:
                yield rest + whole
                rest = tail
            else:
                rest += block
            if len(rest) > MAX_LINE_BYTES:
                raise CaptureError(f"{self.path}: a line was longer than {MAX_LINE_BYTES} bytes")
        if rest and not self.was_cut:
            yield from self._last_line(rest)

    def _last_line(self, line: bytes) -> Iterator[bytes]:
        # Without a newline at its end a plain file may be whole or cut; JSON itself can tell.
        try:
            msgspec.json.decode(line)
        except _MALFORMED:
            self.was_cut = True
            return
        yield line

    def _blocks(self) -> Iterator[bytes]:
        try:
            with self.path.open("rb") as file:
                head = file.read(_BLOCK_BYTES)
                if not head:
                    raise CaptureError(f"{self.path}: the file is empty")
                is_gzip = head.startswith(_GZIP_MAGIC)
                reader = _Inflate() if is_gzip else None
                self.bytes_read = 0
                while head:
                    end = self.bytes_read + len(head)
                    for block in reader.feed(head) if reader else (head,):
                        self.bytes_read = end - (reader.left_bytes if reader else 0)
                        yield block
                    self.bytes_read = end
                    head = file.read(_BLOCK_BYTES)
                if reader:
                    yield reader.rest()
                self.was_cut = reader is not None and not reader.is_complete
        except OSError as error:
            raise CaptureError(f"{self.path}: cannot be read ({error.strerror})") from error


def _is_one_a_line(lines: bytes, ends: np.ndarray, n_records: int) -> bool:
    """Return whether each of the decoded lines holds one record, whole; ``ends``: the newlines.

    Where every newline stands right between ``}`` and ``{`` no record goes on behind one: JSON has
    no place for the two side by side inside a value, nor for a newline inside a string. So every
    line begins and ends a record, and as many records as lines are one each. False may also be
    said of good lines, as of those with a space at the end.
    """
    is_whole = lines[:1] == b"{" and lines[-1:] == b"}" and n_records == len(ends) + 1
    if not is_whole:
        return False
    text = np.frombuffer(lines, np.uint8)
    return bool((text[ends - 1] == _CLOSES).all() and (text[ends + 1] == _OPENS).all())


class _Inflate:
    """Gzip members one after another; damaged data ends the file like a cut."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(_GZIP_WINDOW)
        self._is_damaged = False
        self.left_bytes = 0
        """Of what it was fed, not inflated yet."""

    @property
    def is_complete(self) -> bool:
        return self._inflate.eof and not self._is_damaged

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data and not self._is_damaged:
            if self._inflate.eof:
                self._inflate = zlib.decompressobj(_GZIP_WINDOW)
            saved = self._inflate.copy()
            try:
                block = self._inflate.decompress(data, _BLOCK_BYTES)
            except zlib.error:
                self._is_damaged = True
                yield _salvage(saved, data)
                return
            data = self._inflate.unused_data or self._inflate.unconsumed_tail
            self.left_bytes = len(data)
            if block:
                yield block

    def rest(self) -> bytes:
        """Return what the inflater still holds at the end of a cut file."""
        return b"" if self._is_damaged else self._inflate.flush()


def _salvage(inflate: zlib._Decompress, data: bytes) -> bytes:
    """Return what comes out before the damage, which zlib keeps to itself when it finds any."""
    block = bytearray()
    try:
        for at in range(len(data)):
            block += inflate.decompress(data[at : at + 1])
    except zlib.error:
        pass
    return bytes(block)


def read_capture(path: Path) -> CaptureReader:
    """Open a capture and read its first line.

    Errors: ``CaptureError`` for a file that is missing, empty or no ``capture/1``;
    ``UnknownVenue`` for a venue this program does not know.
    """
    return CaptureReader(path)


def _read_meta(line: bytes, path: Path) -> CaptureMeta:
    where = f"{path} line 1"
    try:
        meta = msgspec.json.decode(line, type=_MetaLine)
    except _MALFORMED as error:
        raise CaptureError(f"{where}: was not a capture's meta line ({error})") from error
    if meta.k != "meta":
        raise CaptureError(f"{where}: was not the meta line that a capture begins with")
    if meta.format != FORMAT:
        raise CaptureError(f"{where}: format was {meta.format[:40]!r}, allowed is {FORMAT!r}")
    if meta.venue not in VENUES:
        raise UnknownVenue(
            f"{where}: venue was {meta.venue[:40]!r}, allowed are {', '.join(VENUES)}"
        )
    missing = [name for name in meta.symbols if name not in meta.instruments]
    if missing or not meta.symbols:
        what = f"no instrument for {missing[0][:40]!r}" if missing else "no symbols"
        raise CaptureError(f"{where}: there was {what}")
    if len(set(meta.symbols)) < len(meta.symbols):
        raise CaptureError(f"{where}: a symbol was named twice")
    try:
        instruments = [_instrument(meta.venue, s, meta.instruments[s]) for s in meta.symbols]
    except ValueRefused as error:
        raise CaptureError(f"{where}: {error}") from error
    return CaptureMeta(meta.venue, tuple(meta.symbols), tuple(instruments), meta.note)


def _instrument(venue: str, symbol: str, increments: Increments) -> Instrument:
    tick_size, lot_size = (
        Decimal(plain(parse_decimal(text)))
        for text in (increments.price_increment, increments.size_increment)
    )
    base, quote = increments.base, increments.quote
    if not (base and quote):
        base, quote = currencies(venue, symbol)
    fields: dict[str, Any] = {"venue": venue, "name": symbol, "base": base, "quote": quote}
    return Instrument(**fields, tick_size=tick_size, lot_size=lot_size)
