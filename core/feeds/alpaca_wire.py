"""Alpaca's frames as typed messages: JSON or msgpack, numbers by their text.

A frame is an array of mixed messages; ``T`` tells them apart. Prices are JSON numbers: the text of
one becomes ticks, never a binary float. A msgpack frame holds doubles; each is read by its shortest
decimal text, which is what the JSON stream prints, and the frame becomes the same JSON bytes.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw

from core.errors import ValueRefused
from core.feeds.times import NS_PER_S

_PLAIN = re.compile(rb"[0-9]{1,18}(\.[0-9]{1,18})?")
_MAX_EXPONENT = 18
_TIMESTAMP_EXT = -1
"""Code of the msgpack timestamp extension. Source: msgpack specification, "Timestamp"."""
_JSON_ARRAY = b"["

_Id = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Code = Annotated[str, Meta(max_length=16)]


class Told(msgspec.Struct, frozen=True, gc=False):
    """One message of an instrument that is watched."""

    index: int
    raw: Raw
    ts_event_ns: int
    ts_recv_ns: int


class Head(msgspec.Struct, gc=False):
    """What every message has; ``code`` and ``msg`` of success and error alone."""

    kind: str = msgspec.field(name="T")
    S: str = ""
    t: str = ""
    code: int = 0
    msg: str = ""


class Trade(msgspec.Struct, gc=False):
    """``t`` of stocks and of crypto, and one row of the REST history."""

    p: Raw
    s: Raw
    i: _Id | None = None
    x: _Code = ""
    c: list[_Code] | None = None
    z: _Code = ""
    t: str = ""
    tks: _Code = ""


class Quote(msgspec.Struct, gc=False):
    """``q``, and one row of the REST latest quotes."""

    bp: Raw
    bs: Raw
    ap: Raw
    ask_size: Raw = msgspec.field(name="as")
    t: str = ""


class Level(msgspec.Struct, gc=False):
    p: Raw
    s: Raw


class OrderBook(msgspec.Struct, gc=False):
    """``o``: with ``r`` the whole book, else absolute changes."""

    b: list[Level] | None = None
    a: list[Level] | None = None
    r: bool = False


class BarMessage(msgspec.Struct, gc=False):
    """``b``: a minute; its prices are those of the prints, its volume is a check of them."""

    v: Raw


class Correction(msgspec.Struct, gc=False):
    """``c``: print ``oi`` was wrong and is now ``ci``."""

    oi: _Id
    ci: _Id
    cp: Raw
    cs: Raw
    cc: list[_Code] | None = None
    x: _Code = ""
    z: _Code = ""


class Cancel(msgspec.Struct, gc=False):
    """``x``: print ``i`` does not stand."""

    i: _Id
    x: _Code = ""


class Bands(msgspec.Struct, gc=False):
    """``l``: limit up and limit down prices."""

    u: Raw
    d: Raw


class Subscriptions(msgspec.Struct, gc=False):
    """``subscription``: all that is subscribed now."""

    trades: list[str] | None = None
    quotes: list[str] | None = None
    orderbooks: list[str] | None = None


class TradesPage(msgspec.Struct, gc=False):
    """REST ``/trades``: rows by symbol, and the token of the next page."""

    trades: dict[str, list[Trade] | None] | None = None
    next_page_token: str | None = None


class LatestQuotes(msgspec.Struct, gc=False):
    """REST ``/quotes/latest``."""

    quotes: dict[str, Quote] | None = None


class _Stamp(msgspec.Struct, gc=False):
    t: msgspec.msgpack.Ext


_FRAME = msgspec.json.Decoder(list[Raw])
_PACKED = msgspec.msgpack.Decoder(list[Raw])
_PACKED_MESSAGE = msgspec.msgpack.Decoder(dict[str, Any])
_PACKED_STAMP = msgspec.msgpack.Decoder(_Stamp)


def messages_of(frame: bytes) -> list[Raw]:
    """Return the messages of a frame, each as JSON bytes.

    Errors: what ``msgspec`` raises for a frame that is no array; ``ValueRefused`` for a msgpack
    message that no JSON can hold.
    """
    if frame[:1] == _JSON_ARRAY or frame[:1].isspace():
        return _FRAME.decode(frame)
    return [Raw(_json_of(message)) for message in _PACKED.decode(frame)]


def _json_of(packed: Raw) -> bytes:
    message = _PACKED_MESSAGE.decode(packed)
    if isinstance(message.get("t"), datetime):
        # The decoder's own time has microseconds; the extension has nanoseconds.
        message["t"] = _time_text(_PACKED_STAMP.decode(packed).t)
    if any(isinstance(each, float) and not math.isfinite(each) for each in message.values()):
        # JSON would say null, which stands for a side that does not change.
        raise ValueRefused("a msgpack message held a number that is not finite")
    try:
        return msgspec.json.encode(message)
    except (TypeError, ValueError) as error:
        raise ValueRefused(f"a msgpack message cannot be read ({error})") from error


def _time_text(stamp: msgspec.msgpack.Ext) -> str:
    """Return RFC 3339 text of a timestamp of 4, 8 or 12 bytes."""
    data = bytes(stamp.data)
    number = int.from_bytes(data, "big")
    if stamp.code != _TIMESTAMP_EXT or len(data) not in {4, 8, 12}:
        raise ValueRefused("a msgpack time was no timestamp")
    if len(data) == 4:
        seconds, nanos = number, 0
    elif len(data) == 8:
        seconds, nanos = number & (2**34 - 1), number >> 34
    else:
        nanos = int.from_bytes(data[:4], "big")
        seconds = int.from_bytes(data[4:], "big", signed=True)
    if nanos >= NS_PER_S:
        raise ValueRefused("a msgpack time had more than a second of nanoseconds")
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError) as error:
        raise ValueRefused("a msgpack time was beyond the calendar") from error
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanos:09d}Z"


def number_text(raw: Raw) -> bytes:
    """Return plain decimal text of a JSON number.

    Errors: ``ValueRefused`` for what is no number, and beyond 18 places.
    """
    text = bytes(raw)
    if _PLAIN.fullmatch(text):
        return text
    return format(number(raw), "f").encode()


def number(raw: Raw) -> Decimal:
    """Return the exact decimal of a JSON number. Errors: as ``number_text``."""
    text = bytes(raw)
    try:
        # A JSON string begins with a quote, which no decimal does; null and true are none either.
        value = Decimal(text.decode("ascii"))
    except (InvalidOperation, UnicodeDecodeError) as error:
        shown = text[:40].decode("ascii", "backslashreplace")
        raise ValueRefused(f"number was {shown!r}") from error
    if not value.is_finite() or (value and abs(value.adjusted()) > _MAX_EXPONENT):
        raise ValueRefused("number was beyond 18 places")
    return value


def pair_text(price: Raw, qty: Raw) -> bytes:
    """Return a price and a quantity as the level list ``[["p","q"]]``."""
    return b"".join((b'[["', number_text(price), b'","', number_text(qty), b'"]]'))


def levels_text(levels: list[Level] | None) -> bytes:
    """Return crypto levels as the level list ``[["p","q"],...]``."""
    rows = [
        b"".join((b'["', number_text(one.p), b'","', number_text(one.s), b'"]'))
        for one in levels or ()
    ]
    return b"[" + b",".join(rows) + b"]"
