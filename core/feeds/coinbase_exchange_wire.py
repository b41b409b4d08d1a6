"""Messages of Coinbase Exchange as msgspec reads them; fields that nobody uses are skipped."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Raw

TradeId = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Frame(msgspec.Struct, gc=False):
    type: str = ""
    product_id: str = ""
    time: str = ""
    message: str = ""
    reason: str = ""


class Snapshot(msgspec.Struct, gc=False):
    bids: Raw
    asks: Raw


class Update(msgspec.Struct, gc=False):
    changes: Raw


class Match(msgspec.Struct, gc=False):
    trade_id: TradeId
    side: str
    size: Raw
    price: Raw


class LastMatch(msgspec.Struct, gc=False):
    trade_id: TradeId


class Ticker(msgspec.Struct, gc=False):
    trade_id: TradeId = 0
    best_bid: str = ""
    best_ask: str = ""


class Beat(msgspec.Struct, gc=False):
    last_trade_id: TradeId = 0


FRAME = msgspec.json.Decoder(Frame)
SNAPSHOT = msgspec.json.Decoder(Snapshot)
UPDATE = msgspec.json.Decoder(Update)
MATCH = msgspec.json.Decoder(Match)
LAST_MATCH = msgspec.json.Decoder(LastMatch)
TICKER = msgspec.json.Decoder(Ticker)
BEAT = msgspec.json.Decoder(Beat)
