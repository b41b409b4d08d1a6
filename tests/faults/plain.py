"""The plain reading of book frames: json and Decimal, no code of ours but ``Instrument``."""

from __future__ import annotations

import json
import struct
import sys
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np

from core.model.instrument import Instrument

Row = tuple[int, int, int]
"""Side (0 bid, 1 ask), ticks, lots (0 removes)."""
_TIME = "2026-08-09T21:05:48.167634Z"
Told = tuple[list[Row], bool]
"""The rows of a message, and whether the book starts anew with them."""


def read(venue: str, one: Instrument, data: bytes) -> Told | None:
    """Return what a frame says of the instrument's book; None where that is nothing.

    Errors: ``ValueError``, ``KeyError``, ``TypeError`` and their like for what cannot be read.
    """
    if venue == "alpaca":
        return _alpaca(one, data)
    # Bytes that are no UTF-8 may lie in what nobody reads.
    message = json.loads(data.decode("utf-8", "replace"), parse_int=_whole)
    match venue:
        case "binance":
            return _binance(one, message)
        case "coinbase":
            return _coinbase(one, message)
        case "coinbase-exchange":
            return _coinbase_exchange(one, message)
        case _ if message.get("instrument") == one.name:
            rows = [*_rows(one, 0, message["bids"]), *_rows(one, 1, message["asks"])]
            return rows, message["type"] == "snapshot"
        case _:
            return None


def number_of(venue: str, data: bytes) -> int | None:
    """Return the number that the venue gives a frame, which the next one follows."""
    message = json.loads(data, parse_int=_whole) if venue in {"binance", "coinbase", "sim"} else {}
    if venue == "binance":
        number = message.get("data", message).get("u") if b"depthUpdate" in data else None
    else:
        number = message.get("sequence_num" if venue == "coinbase" else "seq")
    return number if isinstance(number, int) else None


def _whole(digits: str) -> int | Decimal:
    """Return a whole number of any length; Python reads no more than 4,300 digits as int."""
    return int(digits) if len(digits) < sys.get_int_max_str_digits() else Decimal(digits)


def _rows(one: Instrument, side: int, rows: list[Any]) -> list[Row]:
    return [(side, *_steps(one, price, qty)) for price, qty in rows]


def _binance(one: Instrument, message: Any) -> Told | None:
    event = message.get("data", message)
    if event.get("s") != one.name or "U" not in event:
        return None
    return [*_rows(one, 0, event["b"]), *_rows(one, 1, event["a"])], False


def _coinbase(one: Instrument, message: Any) -> Told | None:
    rows: list[Row] = []
    is_fresh = is_told = False
    for event in message["events"] if message.get("channel") == "l2_data" else []:
        if event["product_id"] != one.name or event["type"] not in {"snapshot", "update"}:
            continue
        is_told = True
        if event["type"] == "snapshot":
            rows, is_fresh = [], True
        for each in event["updates"]:
            steps = _steps(one, each["price_level"], each["new_quantity"])
            rows.append(({"bid": 0, "offer": 1}[each["side"]], *steps))
    return (rows, is_fresh) if is_told else None


def _coinbase_exchange(one: Instrument, message: Any) -> Told | None:
    if message.get("product_id") != one.name:
        return None
    if message["type"] == "snapshot":
        return [*_rows(one, 0, message["bids"]), *_rows(one, 1, message["asks"])], True
    if message["type"] != "l2update":
        return None
    sides = {"buy": 0, "sell": 1}
    return [(sides[s], *_steps(one, p, q)) for s, p, q in message["changes"]], False


def _alpaca(one: Instrument, data: bytes) -> Told | None:
    if data[:1] == b"[" or data[:1].isspace():
        text = data.decode("utf-8", "replace")
        messages = json.loads(text, parse_float=str, parse_int=str)
    else:
        # The shortest text of a double is the decimal that it was made of.
        messages = _texts(msgspec.msgpack.decode(data))
    mine = [each for each in messages if isinstance(each, dict) and each.get("S") == one.name]
    if is_crypto(one):
        return _alpaca_book(one, [each for each in mine if each.get("T") == "o"])
    quotes = [each for each in mine if each.get("T") == "q"]
    if not quotes:
        return None
    newest = quotes[-1]
    sides = ((0, newest["bp"], newest["bs"]), (1, newest["ap"], newest["as"]))
    rows = [(side, *_steps(one, price, qty)) for side, price, qty in sides if Decimal(price) != 0]
    return rows, True


def _alpaca_book(one: Instrument, messages: list[Any]) -> Told | None:
    rows: list[Row] = []
    is_fresh, failure = False, None
    for each in messages:
        try:
            more = [
                (side, *_steps(one, level["p"], level["s"]))
                for side, key in ((0, "b"), (1, "a"))
                for level in each.get(key) or ()
            ]
        except (ArithmeticError, ValueError, LookupError, TypeError) as error:
            failure = error
            continue
        if each.get("r") is True:
            rows, is_fresh, failure = [], True, None
        rows += more
    if failure is not None:
        raise failure
    return (rows, is_fresh) if messages else None


def is_crypto(one: Instrument) -> bool:
    return one.venue == "alpaca" and "/" in one.name


def _texts(value: Any) -> Any:
    """Return a packed value with every number as text."""
    if isinstance(value, dict):
        return {key: _texts(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_texts(each) for each in value]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return repr(value) if is_number else value


def pack(data: bytes) -> bytes:
    """Return a JSON frame of Alpaca's as msgpack, times as timestamps of 64 bits."""
    messages = json.loads(data)
    for each in messages:
        if "t" in each:
            ns = int(np.datetime64(each["t"].rstrip("Z"), "ns").astype(np.int64))
            stamp = struct.pack(">Q", ns % 10**9 << 34 | ns // 10**9)
            each["t"] = msgspec.msgpack.Ext(-1, stamp)
    return msgspec.msgpack.encode(messages)


def _steps(one: Instrument, price: str, qty: str) -> tuple[int, int]:
    ticks, lots = Decimal(price) / one.tick_size, Decimal(qty) / one.lot_size
    is_floored = one.venue == "binance" or is_crypto(one)
    if ticks != int(ticks) or (lots != int(lots) and not is_floored):
        raise ValueError(f"{price} x {qty} is off the grid")
    # Public books have old orders off the lot grid: whole lots, at least one (docs/decisions/0005).
    return int(ticks), max(int(lots), 1) if lots else 0


class Given(msgspec.Struct):
    """A snapshot as a venue would give it: a frame, or the body of a reply."""

    data: bytes
    url: str = ""
    """Address that was asked; empty for a frame."""


def snapshot(venue: str, one: Instrument, levels: list[Row], number: int) -> Given | None:
    """Return the book of one instrument in the venue's own words, true after ``number``."""
    sides: list[list[list[str]]] = [[], []]
    for side, ticks, lots in levels:
        sides[side].append([one.price_text(ticks), one.qty_text(lots)])
    bids, asks = sides
    match venue:
        case "binance":
            url = f"https://x/api/v3/depth?symbol={one.name}&limit=1000"
            return Given(dumps({"lastUpdateId": number, "bids": bids, "asks": asks}), url)
        case "coinbase":
            updates = [
                {"side": name, "event_time": _TIME, "price_level": price, "new_quantity": qty}
                for name, rows in (("bid", bids), ("offer", asks))
                for price, qty in rows
            ]
            event = {"type": "snapshot", "product_id": one.name, "updates": updates}
            # Without a number, so that the frames around it keep theirs.
            head = {"channel": "l2_data", "timestamp": _TIME}
            return Given(dumps({**head, "events": [event]}))
        case "coinbase-exchange":
            body = {"type": "snapshot", "product_id": one.name, "bids": bids, "asks": asks}
            return Given(dumps(body))
        case "sim":
            head = {"type": "snapshot", "seq": number, "ts": 1, "instrument": one.name}
            return Given(dumps({**head, "bids": bids, "asks": asks, "trades": []}))
        case _ if is_crypto(one):
            rows = [[{"p": float(p), "s": float(q)} for p, q in side] for side in sides]
            book = {"T": "o", "S": one.name, "t": _TIME, "b": rows[0], "a": rows[1], "r": True}
            return Given(dumps([book]))
        case _ if bids and asks:
            quote = {"T": "q", "S": one.name, "bp": float(bids[0][0]), "bs": int(bids[0][1])}
            quote |= {"ap": float(asks[0][0]), "as": int(asks[0][1]), "t": _TIME}
            return Given(dumps([quote]))
        case _:
            return None


def dumps(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
