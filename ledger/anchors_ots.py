"""OpenTimestamps proofs: reading, writing and joining ``.ots`` files.

A proof is a tree: from the digest of a file, operations (append, prepend, SHA-256) lead to digests
that somebody attests. A calendar attests "pending": it promises to put the digest into Bitcoin.
A Bitcoin attestation says that the digest is the Merkle root of one block. Own code, for the
reference library is LGPL and brings two more packages for these lines; the tests hold files that
it wrote. Source: ``python-opentimestamps`` 0.4.5, ``core/{timestamp,op,notary,serialize}.py``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

import msgspec

from core.errors import ValueRefused

MAGIC = b"\x00OpenTimestamps\x00\x00Proof\x00\xbf\x89\xe2\xe8\x84\xe8\x92\x94"
_VERSION, _SHA256, _ATTESTATION, _FORK = b"\x01", b"\x08", b"\x00", b"\xff"
_APPEND, _PREPEND = b"\xf0", b"\xf1"
_PENDING, _BITCOIN = bytes.fromhex("83dfe30d2ef90c8e"), bytes.fromhex("0588960d73d71901")
_TAG_BYTES, _DIGEST_BYTES = 8, 32
FILE_BYTES_MAX = 65_536
_MESSAGE_BYTES_MAX, _PAYLOAD_BYTES_MAX, _ADDRESS_BYTES_MAX = 4_096, 8_192, 1_000
_DEPTH_MAX = 256
_ADDRESS = re.compile(rb"[A-Za-z0-9._/:-]+")
"""As the reference: no parameters, no login, nothing that could steer a request."""


class Attested(msgspec.Struct, frozen=True, order=True):
    """One statement about a digest, as it stands in the file."""

    tag: bytes
    payload: bytes

    @property
    def calendar(self) -> str:
        """Address of the calendar that promised; empty for another kind."""
        if self.tag != _PENDING:
            return ""
        reader = _Reader(self.payload)
        text = reader.text(_ADDRESS_BYTES_MAX)
        reader.end()
        if not _ADDRESS.fullmatch(text):
            raise ValueRefused("the address of a calendar has characters that it may not have")
        return text.decode("ascii")

    @property
    def block(self) -> int | None:
        """Height of the Bitcoin block; None for another kind."""
        if self.tag != _BITCOIN:
            return None
        reader = _Reader(self.payload)
        height = reader.number()
        reader.end()
        return height


class Stamp(msgspec.Struct):
    """A digest, what attests it, and what operations make of it."""

    message: bytes
    attested: set[Attested] = msgspec.field(default_factory=set)
    steps: dict[bytes, Stamp] = {}
    """By operation, its argument behind it."""

    def walk(self) -> Iterator[tuple[Stamp, Attested]]:
        """Yield every attestation with the stamp it stands at."""
        for each in sorted(self.attested):
            yield self, each
        for step in sorted(self.steps):
            yield from self.steps[step].walk()

    def join(self, other: Stamp) -> None:
        """Add what ``other`` says of the same digest. Errors: ``ValueRefused``."""
        if self.message != other.message:
            raise ValueRefused("the proof is of another digest")
        self.attested |= other.attested
        for step, stamp in other.steps.items():
            if step in self.steps:
                self.steps[step].join(stamp)
            else:
                self.steps[step] = stamp


def pending(calendar: str) -> Attested:
    """Return a calendar's promise."""
    return Attested(_PENDING, _sized(calendar.encode()))


def bitcoin(height: int) -> Attested:
    """Return the statement that a digest is the Merkle root of a block."""
    return Attested(_BITCOIN, _number(height))


def begin(digest: bytes, nonce: bytes) -> tuple[Stamp, Stamp]:
    """Return the stamp of ``digest`` and, under it, the one to submit.

    The nonce hides the digest from the calendar, which sees only their common hash.
    """
    root = Stamp(digest)
    tip = _step(_step(root, _APPEND + _sized(nonce)), _SHA256)
    return root, tip


def parse_file(data: bytes) -> Stamp:
    """Return the stamp in an ``.ots`` file. Errors: ``ValueRefused``."""
    reader = _Reader(data)
    if reader.take(len(MAGIC)) != MAGIC or reader.take(1) != _VERSION:
        raise ValueRefused("it is not an OpenTimestamps proof of version 1")
    if reader.take(1) != _SHA256:
        raise ValueRefused("the file was not hashed with SHA-256")
    stamp = _read(reader, reader.take(_DIGEST_BYTES), _DEPTH_MAX)
    reader.end()
    return stamp


def parse_answer(data: bytes, digest: bytes) -> Stamp:
    """Return what a calendar answered for ``digest``. Errors: ``ValueRefused``."""
    reader = _Reader(data)
    stamp = _read(reader, digest, _DEPTH_MAX)
    reader.end()
    return stamp


def file_of(stamp: Stamp) -> bytes:
    """Return the ``.ots`` file of a stamp, as the reference client writes it."""
    return MAGIC + _VERSION + _SHA256 + stamp.message + answer_of(stamp)


def answer_of(stamp: Stamp) -> bytes:
    """Return a stamp without its digest, as calendars send it."""
    parts = [_ATTESTATION + each.tag + _sized(each.payload) for each in sorted(stamp.attested)]
    parts += [step + answer_of(stamp.steps[step]) for step in sorted(stamp.steps)]
    if not parts:
        raise ValueRefused("nobody attests this digest")
    return b"".join(_FORK + part for part in parts[:-1]) + parts[-1]


def _step(stamp: Stamp, step: bytes) -> Stamp:
    kind, argument = step[:1], step[1:]
    if kind == _SHA256:
        message = hashlib.sha256(stamp.message).digest()
    else:
        text = _Reader(argument).text(_MESSAGE_BYTES_MAX)
        message = stamp.message + text if kind == _APPEND else text + stamp.message
    if len(message) > _MESSAGE_BYTES_MAX:
        raise ValueRefused("an operation makes too long a text")
    return stamp.steps.setdefault(step, Stamp(message))


def _read(reader: _Reader, message: bytes, depth_left: int) -> Stamp:
    if not depth_left:
        raise ValueRefused("the proof is too deep")
    stamp = Stamp(message)
    while True:
        tag = reader.take(1)
        is_last = tag != _FORK
        _read_one(reader, stamp, tag if is_last else reader.take(1), depth_left)
        if is_last:
            return stamp


def _read_one(reader: _Reader, stamp: Stamp, tag: bytes, depth_left: int) -> None:
    if tag == _ATTESTATION:
        found = Attested(reader.take(_TAG_BYTES), reader.text(_PAYLOAD_BYTES_MAX))
        _ = found.block, found.calendar  # refuses what cannot be read, now and not later
        stamp.attested.add(found)
        return
    if tag in (_APPEND, _PREPEND):
        tag += _sized(reader.text(_MESSAGE_BYTES_MAX, at_least=1))
    elif tag != _SHA256:
        raise ValueRefused(f"the operation 0x{tag.hex()} is not known here")
    if tag in stamp.steps:
        raise ValueRefused("the proof has one operation twice")
    under = _step(stamp, tag)
    stamp.steps[tag] = _read(reader, under.message, depth_left - 1)


def _number(value: int) -> bytes:
    """Return little-endian base 128, the only form of a number in the format."""
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _sized(data: bytes) -> bytes:
    return _number(len(data)) + data


class _Reader:
    """Takes a proof apart from its beginning. Errors: ``ValueRefused`` for one cut short."""

    def __init__(self, data: bytes) -> None:
        if len(data) > FILE_BYTES_MAX:
            raise ValueRefused(f"the proof has {len(data)} bytes, allowed are {FILE_BYTES_MAX}")
        self._data, self._place = data, 0

    def take(self, count: int) -> bytes:
        found = self._data[self._place : self._place + count]
        if len(found) != count:
            raise ValueRefused("the proof is cut short")
        self._place += count
        return found

    def number(self) -> int:
        value = 0
        for place in range(0, 63, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << place
            if not byte & 0x80:
                return value
        raise ValueRefused("a number of the proof is too large")

    def text(self, at_most: int, *, at_least: int = 0) -> bytes:
        count = self.number()
        if not at_least <= count <= at_most:
            raise ValueRefused(f"a text of the proof has {count} bytes")
        return self.take(count)

    def end(self) -> None:
        if self._place != len(self._data):
            raise ValueRefused("something follows the proof")
