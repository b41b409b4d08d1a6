"""What a venue without proof of loss has told us: the plain replay of the frames that came whole.

A frame that came damaged may have been any book frame, so after it nothing told is complete:
``None`` until the next snapshot (or quote) of the instrument.
"""

from __future__ import annotations

import json

from tests.faults.faults import Delivery
from tests.faults.market import ASK, BID, Sides
from tests.faults.venue_base import BOOK, SNAPSHOT, VenueModel


def tell(told: list[Sides | None], model: VenueModel, delivery: Delivery) -> None:
    """Follow one delivered frame."""
    if not delivery.is_intact:
        known = _known_index(model, delivery.data)
        for index in range(len(told)) if known is None else [known]:
            told[index] = None
        return
    if delivery.sent.kind not in {BOOK, SNAPSHOT}:
        return
    message = json.loads(delivery.data)
    index = delivery.sent.index
    if model.venue == "alpaca":
        quote = message[0]
        told[index] = (
            {round(quote["bp"] * 100): quote["bs"]},
            {round(quote["ap"] * 100): quote["as"]},
        )
    elif delivery.sent.kind == SNAPSHOT:
        rows = [[(p, q) for p, q in message[key]] for key in ("bids", "asks")]
        told[index] = (_levels(rows[BID]), _levels(rows[ASK]))
    elif (sides := told[index]) is not None:
        for word, price, qty in message["changes"]:
            side = sides[BID if word == "buy" else ASK]
            side.update(_levels([(price, qty)]))
            if not float(qty):
                side.pop(round(float(price) * 100), None)


def _levels(rows: list[tuple[str, str]]) -> dict[int, int]:
    return {round(float(p) * 100): round(float(q) * 100_000) for p, q in rows}


def _known_index(model: VenueModel, data: bytes) -> int | None:
    """Return the instrument that a damaged frame still names, if it can be read at all."""
    try:
        message = json.loads(data)
    except ValueError:
        return None
    if isinstance(message, list) and len(message) == 1:
        message = message[0]
    name = message.get("product_id", message.get("S")) if isinstance(message, dict) else None
    return model.names.index(name) if name in model.names else None
