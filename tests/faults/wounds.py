"""Seeded damage to bytes: what a bad line, a bad venue or a bad day does to a frame."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np

_WORDS = (
    b'"sNaN"', b'"NaN"', b'"Infinity"', b"9" * 4_000,
    b"NaN", b"sNaN", b"-NaN", b"Infinity", b"-Infinity", b"1e400", b"1e-400", b"-1", b"-0", b"0",
    b"0.00000000", b"", b" 1", b"1 ", b"+1", b"1_0", b"0x10", b"1e5", b"1.", b".5", b"00001.00",
    b"9" * 18, b"9" * 40, b"9" * 5_000, b"0." + b"0" * 300 + b"1", b"null", b"true", b"[]", b"{}",
    b'"', b"\\u0000", b"\\ud800", "\u0661".encode(), b"\xff", b"\x1b[2J", b"[" * 3_000,
    b"9223372036854775807", b"9223372036854775808", b"18446744073709551616", b"snapshot",
    b"update", b"bid", b"offer", b"buy", b"sell", b"depthUpdate", b"error", b"l2_data",
)  # fmt: skip
_TOKEN = re.compile(rb"-?\d+(?:\.\d+)?|[A-Za-z_@-]{2,}")
_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 2**63 - 1, 2**64 - 1, -(2**63), 0.0, -0.0, 1e-300, 1e300, float("nan"),
    float("inf"), -float("inf"), "", "NaN", "1", "x" * 300, "\x1b[2J", "\u0661", b"", b"\xff",
    [], {}, [[]], {"T": "q"}, msgspec.msgpack.Ext(5, b"\x00" * 12),
)  # fmt: skip
_Item = TypeVar("_Item")


class Draws:
    """Draws of a seeded generator, made by the thousand: one at a time costs microseconds."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)
        self._left: list[float] = []

    def unit(self) -> float:
        """Return a number in [0, 1)."""
        if not self._left:
            self._left = self._generator.random(4096).tolist()
        return self._left.pop()

    def below(self, count: int) -> int:
        return int(self.unit() * count)

    def pick(self, items: Sequence[_Item]) -> _Item:
        return items[self.below(len(items))]


_Wound = Callable[[bytes, bytes, Draws], bytes]


def damage(data: bytes, other: bytes, draws: Draws) -> bytes:
    """Return the text frame with one wound, or a few; ``other`` is material for a splice."""
    return _wounded(_WOUNDS, data, other, draws)


def damage_packed(data: bytes, other: bytes, draws: Draws) -> bytes:
    """Return the msgpack frame with one wound, or a few."""
    return _wounded(_WOUNDS_PACKED, data, other, draws)


def _wounded(wounds: Sequence[_Wound], data: bytes, other: bytes, draws: Draws) -> bytes:
    for _ in range(1 if draws.unit() < 0.7 else 2 + draws.below(3)):
        data = draws.pick(wounds)(data, other, draws)
    return data


def _at(data: bytes, draws: Draws) -> int:
    return draws.below(len(data) + 1)


def _flip(data: bytes, _: bytes, draws: Draws) -> bytes:
    at = _at(data, draws)
    return data[:at] + bytes((draws.below(256),)) + data[at + 1 :]


def _digit(data: bytes, _: bytes, draws: Draws) -> bytes:
    at = _at(data, draws)
    digit = b"0123456789.-"[draws.below(12) :][:1]
    return data[:at] + digit + data[at + draws.below(2) :]


def _cut(data: bytes, _: bytes, draws: Draws) -> bytes:
    return data[: _at(data, draws)]


def _hole(data: bytes, _: bytes, draws: Draws) -> bytes:
    at = _at(data, draws)
    return data[:at] + data[at + 1 + draws.below(29) :]


def _again(data: bytes, _: bytes, draws: Draws) -> bytes:
    at, size = _at(data, draws), 1 + draws.below(59)
    return data[: at + size] + data[at:]


def _splice(data: bytes, other: bytes, draws: Draws) -> bytes:
    return data[: _at(data, draws)] + other[_at(other, draws) :]


def _number(data: bytes, _: bytes, draws: Draws) -> bytes:
    """Change one digit for another: the frame stays whole and says something else."""
    begin = _at(data, draws)
    for at in (*range(begin, len(data)), *range(begin)):
        if 48 <= data[at] <= 57:
            return data[:at] + bytes((48 + draws.below(10),)) + data[at + 1 :]
    return data


def _word(data: bytes, _: bytes, draws: Draws) -> bytes:
    """Put a word of ill repute where a number or a name was."""
    found = _TOKEN.search(data, _at(data, draws)) or _TOKEN.search(data)
    if found is None:
        return data
    return data[: found.start()] + draws.pick(_WORDS) + data[found.end() :]


def _value(data: bytes, _: bytes, draws: Draws) -> bytes:
    """Put a value of another type somewhere into a packed message."""
    try:
        message = msgspec.msgpack.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError):
        return data
    place: Any = message
    while isinstance(place, list | dict) and place:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = draws.pick(keys)
        inner = place[key]
        if not isinstance(inner, list | dict) or not inner or draws.unit() < 0.2:
            place[key] = draws.pick(_VALUES)
            break
        place = inner
    return msgspec.msgpack.encode(message)


_WOUNDS: tuple[_Wound, ...] = (
    _flip, _digit, _cut, _hole, _again, _splice, _number, _number, _number, _word, _word, _word,
)  # fmt: skip
_WOUNDS_PACKED: tuple[_Wound, ...] = (
    _flip, _flip, _cut, _hole, _again, _splice, _word, _value, _value, _value,
)  # fmt: skip
