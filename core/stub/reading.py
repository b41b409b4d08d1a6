"""What a recorded frame says of the books, read plainly: json and Decimal, for the stub's own book.

Shares nothing with the protocols under test but ``Instrument``; what it cannot read it leaves out.
"""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from core.model.instrument import Instrument
from core.stub.truth import ASK, BID, Change

Rows = list[tuple[int, str, str]]
"""Side, price, quantity."""


class Told(msgspec.Struct):
    """One message of a book."""

    name: str
    rows: Rows
    is_anew: bool = False
    """Everything before it is gone."""
    last_id: int | None = None


def read_books(venue: str, data: bytes) -> list[Told]:
    """Return what a frame says of any book; nothing for what is no such frame."""
    try:
        message = json.loads(data)
        match venue:
            case "binance":
                return _binance(message.get("data", message))
            case "coinbase":
                return _coinbase(message)
            case "coinbase-exchange":
                return _coinbase_exchange(message)
            case _:
                return [one for each in message for one in _alpaca(each)]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


def read_depth(data: bytes) -> Told:
    """Return a Binance snapshot; it names no symbol. Errors: ``ValueError``, ``KeyError``."""
    body = json.loads(data)
    return Told("", _sides(body["bids"], body["asks"]), is_anew=True, last_id=body["lastUpdateId"])


def changes_of(one: Instrument, rows: Rows) -> list[Change]:
    """Return rows in ticks and lots; one that is not on the grid is left out."""
    out = []
    for side, price, qty in rows:
        try:
            ticks, off = divmod(Decimal(price), one.tick_size)
            lots = int(Decimal(qty) // one.lot_size)
        except InvalidOperation:
            continue
        if not off:
            out.append(Change(side, int(ticks), lots))
    return out


def _sides(bids: list[Any], asks: list[Any]) -> Rows:
    rows = [(BID, str(price), str(qty)) for price, qty in bids]
    return rows + [(ASK, str(price), str(qty)) for price, qty in asks]


def _binance(event: dict[str, Any]) -> list[Told]:
    if event.get("e") != "depthUpdate":
        return []
    return [Told(event["s"], _sides(event["b"], event["a"]), last_id=event["u"])]


def _coinbase(frame: dict[str, Any]) -> list[Told]:
    if frame.get("channel") != "l2_data":
        return []
    return [
        Told(
            event["product_id"],
            [
                (BID if row["side"] == "bid" else ASK, row["price_level"], row["new_quantity"])
                for row in event["updates"]
            ],
            is_anew=event["type"] == "snapshot",
        )
        for event in frame["events"]
    ]


def _coinbase_exchange(frame: dict[str, Any]) -> list[Told]:
    if frame.get("type") == "snapshot":
        return [Told(frame["product_id"], _sides(frame["bids"], frame["asks"]), is_anew=True)]
    if frame.get("type") != "l2update":
        return []
    rows = [(BID if word == "buy" else ASK, p, q) for word, p, q in frame["changes"]]
    return [Told(frame["product_id"], rows)]


def _alpaca(message: dict[str, Any]) -> list[Told]:
    if message.get("T") == "q" and "/" not in message["S"]:
        sides = ((BID, message["bp"], message["bs"]), (ASK, message["ap"], message["as"]))
        rows = [(side, repr(price), repr(size)) for side, price, size in sides if price]
        return [Told(message["S"], rows, is_anew=True)]
    if message.get("T") != "o":
        return []
    rows = [
        (side, repr(row["p"]), repr(row["s"]))
        for side, key in ((BID, "b"), (ASK, "a"))
        for row in message.get(key, [])
    ]
    return [Told(message["S"], rows, is_anew=bool(message.get("r")))]
