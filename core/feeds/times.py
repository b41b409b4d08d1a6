"""Venue time text to integer nanoseconds, exact; text of the venue made safe to show."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

NS_PER_S = 1_000_000_000
_SECONDS_CHARS = len("2026-08-09T21:05:48")
_MAX_NS = 2**63 - 1
_MAX_REASON = 120
_NO_MARKUP = str.maketrans("[]", "()")


@lru_cache(maxsize=256)
def _seconds(head: str, offset: str) -> int:
    # A feed repeats the same second many times; the cache is what makes this fast.
    moment = datetime.fromisoformat(head + offset)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def rfc3339_ns(text: str) -> int:
    """Return Unix nanoseconds of RFC 3339 text with 0 to 9 fraction digits.

    Returns 0, "the venue gives none", for text that is no such time: a price is worth more than
    its time stamp. Source: Coinbase trims trailing zeros, so every count of digits occurs.
    """
    head, rest = text[:_SECONDS_CHARS], text[_SECONDS_CHARS:]
    fraction, nanos = "", 0
    if rest.startswith("."):
        digits = len(rest) - 1 - len(rest[1:].lstrip("0123456789"))
        fraction, rest = rest[1 : digits + 1], rest[digits + 1 :]
        if not 1 <= digits <= 9:
            return 0
        nanos = int(fraction.ljust(9, "0"))
    try:
        ns = _seconds(head, "+00:00" if rest in {"Z", "z"} else rest) * NS_PER_S + nanos
    except (ValueError, OverflowError):
        return 0
    return ns if 0 <= ns <= _MAX_NS else 0


def epoch_ns(stamp: int) -> int:
    """Return nanoseconds of a Unix time in ms or us; 0 where it is no possible time.

    Below 10**14 it is ms (until the year 5138), from there us (since 1973): Binance sends us
    where the request asked for them, and a capture does not say what was asked.
    """
    ns = stamp * 1_000_000 if stamp < 10**14 else stamp * 1_000
    return ns if 0 <= ns <= _MAX_NS else 0


def printable(text: str) -> str:
    """Return venue text that is safe on a terminal: one line, no control character, no markup."""
    shown = "".join(c if c.isascii() and c.isprintable() else "?" for c in text[:_MAX_REASON])
    return shown.translate(_NO_MARKUP)
