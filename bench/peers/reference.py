"""The naive reading that every final book is held against: ``json``, Decimals, two dicts.

It shares no code with ours. Two forms: exact, as the venue wrote it, and on the lot grid, with
the rule that ours has for quantities off the present lot size (docs/decisions/0005).
"""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal

from bench.peers.face import Side, Sides
from bench.peers.scenario import Scenario


def read(scenario: Scenario, *, on_lots: bool) -> dict[str, Sides]:
    """Return the book of each instrument after the last message."""
    lots = {one.name: one.lot_size if on_lots else Decimal(0) for one in scenario.instruments}
    books = {name: Sides({}, {}) for name in lots}
    for name, body in scenario.snapshots.items():
        reply = json.loads(body)
        for side, key in zip(books[name], ("bids", "asks"), strict=True):
            for price, qty in reply[key]:
                _set(side, price, qty, lots[name])
    for frame in [*scenario.stitched(), *scenario.messages]:
        message = json.loads(frame.data)
        if scenario.venue == "binance":
            _binance(books, message["data"], lots)
        else:
            _coinbase(books, message["events"], lots)
    return books


def _binance(books: dict[str, Sides], event: dict, lots: dict[str, Decimal]) -> None:
    for side, key in zip(books[event["s"]], "ba", strict=True):
        for price, qty in event[key]:
            _set(side, price, qty, lots[event["s"]])


def _coinbase(books: dict[str, Sides], events: list, lots: dict[str, Decimal]) -> None:
    for event in events:
        name = event["product_id"]
        if name not in books:
            continue
        if event["type"] == "snapshot":
            books[name] = Sides({}, {})
        for update in event["updates"]:
            side = books[name][0 if update["side"] == "bid" else 1]
            _set(side, update["price_level"], update["new_quantity"], lots[name])


def _set(side: Side, price: str, qty: str, lot: Decimal) -> None:
    quantity = Decimal(qty)
    if not quantity:
        side.pop(Decimal(price), None)
    elif lot:
        side[Decimal(price)] = max(quantity // lot, Decimal(1)) * lot
    else:
        side[Decimal(price)] = quantity


def digest(books: dict[str, Sides]) -> str:
    """Return SHA-256 over every level of every book, in one order and one spelling."""
    lines = [
        f"{name} {side} {price.normalize():f} {qty.normalize():f}"
        for name, sides in books.items()
        for side, levels in zip("ba", sides, strict=True)
        for price, qty in levels.items()
    ]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def difference(books: dict[str, Sides], reference: dict[str, Sides]) -> str:
    """Return in a few words how the books differ level by level; empty where they do not."""
    missing = extra = other = 0
    for name, sides in reference.items():
        for found, wanted in zip(books.get(name, Sides({}, {})), sides, strict=True):
            missing += len(wanted.keys() - found.keys())
            extra += len(found.keys() - wanted.keys())
            other += sum(found[price] != wanted[price] for price in found.keys() & wanted.keys())
    parts = ((missing, "missing"), (extra, "too many"), (other, "with another quantity"))
    return ", ".join(f"{count} levels {what}" for count, what in parts if count)
