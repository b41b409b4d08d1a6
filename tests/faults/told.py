"""What a venue without proof of loss has told us: the plain replay of the frames that came whole.

A frame that came damaged may have been any book frame, so after it nothing told is complete:
``None`` until the next snapshot (or quote) of the instrument.
"""

from __future__ import annotations

import json
from typing import Any

from core.stub.site import Delivery
from core.stub.truth import ASK, BID, Sides
from core.stub.venue import BOOK, SNAPSHOT, VenueModel

Told = list[Sides | None]


def tell(told: Told, model: VenueModel, delivery: Delivery, also: Told) -> None:
    """Follow one delivered frame; ``also`` is what an answer told beside the stream."""
    if not delivery.is_intact:
        known = _known_index(model, delivery.data)
        for index in range(len(told)) if known is None else [known]:
            told[index] = None
        return
    if delivery.sent.kind not in {BOOK, SNAPSHOT}:
        return
    message = json.loads(delivery.data)
    index = delivery.sent.index
    also[index] = None
    if model.venue == "alpaca":
        for each in message:
            _alpaca(told, index, each, is_crypto="/" in model.names[0])
    elif delivery.sent.kind == SNAPSHOT:
        rows = [[(p, q) for p, q in message[key]] for key in ("bids", "asks")]
        told[index] = (_levels(rows[BID]), _levels(rows[ASK]))
    elif (sides := told[index]) is not None:
        for word, price, qty in message["changes"]:
            _put(sides[BID if word == "buy" else ASK], price, qty)


def _alpaca(told: Told, index: int, message: dict[str, Any], *, is_crypto: bool) -> None:
    if message["T"] == "o":
        if message.get("r"):
            told[index] = ({}, {})
        sides = told[index]
        for side, key in ((BID, "b"), (ASK, "a")):
            for row in message[key] if sides is not None else ():
                _put(sides[side], row["p"], row["s"])
    elif message["T"] == "q" and not is_crypto:
        told[index] = _quote(message)


def tell_answer(also: Told, model: VenueModel, body: bytes) -> None:
    """Follow an answer with standing quotes, which fill in for quotes that did not come."""
    for name, quote in json.loads(body).get("quotes", {}).items():
        also[model.names.index(name)] = _quote(quote)


def _quote(message: dict[str, Any]) -> Sides:
    bid, ask = ({round(message[p] * 100): message[q]} for p, q in (("bp", "bs"), ("ap", "as")))
    return bid, ask


def _put(side: dict[int, int], price: str | float, qty: str | float) -> None:
    side.update(_levels([(price, qty)]))
    if not float(qty):
        side.pop(round(float(price) * 100), None)


def _levels(rows: list[tuple[str | float, str | float]]) -> dict[int, int]:
    return {round(float(p) * 100): round(float(q) * 100_000) for p, q in rows}


def _known_index(model: VenueModel, data: bytes) -> int | None:
    """Return the instrument that a damaged frame still names, if it can be read at all."""
    try:
        message = json.loads(data)
    except ValueError:
        return None
    if isinstance(message, list) and len({each.get("S") for each in message}) == 1:
        message = message[0]
    name = message.get("product_id", message.get("S")) if isinstance(message, dict) else None
    return model.index_of(name) if isinstance(name, str) else None
