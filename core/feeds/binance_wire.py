"""What Binance puts on the wire, as far as it is used; unknown keys are skipped.

Level lists and prices stay ``Raw``: they go to the level reader, which is exact.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

TradeId = Annotated[int, Meta(ge=0, le=2**63 - 1)]
UpdateId = Annotated[int, Meta(ge=0, le=2**63 - 2)]
"""The chain holds ids, and the one after, as int64."""


class Frame(msgspec.Struct, gc=False):
    stream: str = ""
    data: Raw | UnsetType = UNSET
    e: str = ""
    s: str = ""
    code: int | UnsetType = UNSET
    msg: str = ""
    error: Raw | UnsetType = UNSET


class Kind(msgspec.Struct, gc=False):
    e: str = ""


class Depth(msgspec.Struct, gc=False):
    s: str
    U: UpdateId
    u: UpdateId
    b: Raw
    a: Raw
    E: int = 0


class Trade(msgspec.Struct, gc=False):
    s: str
    p: Raw
    q: Raw
    m: bool
    t: TradeId
    T: int = 0


class AggTrade(msgspec.Struct, gc=False):
    s: str
    p: Raw
    q: Raw
    m: bool
    a: TradeId
    f: TradeId
    last: TradeId = msgspec.field(name="l")
    T: int = 0


class Ticker(msgspec.Struct, gc=False):
    s: str
    u: UpdateId
    b: Raw
    B: Raw
    a: Raw
    A: Raw


class Depths(msgspec.Struct, gc=False):
    last_update_id: UpdateId = msgspec.field(name="lastUpdateId")
    bids: Raw
    asks: Raw


FRAME = msgspec.json.Decoder(Frame)
KIND = msgspec.json.Decoder(Kind)
DEPTH_EVENT = msgspec.json.Decoder(Depth)
TRADE = msgspec.json.Decoder(Trade)
AGG_TRADE = msgspec.json.Decoder(AggTrade)
TICKER = msgspec.json.Decoder(Ticker)
SNAPSHOT = msgspec.json.Decoder(Depths)


def payload_of(text: bytes) -> bytes | Raw:
    """Return what a frame of a combined stream holds, or the text itself. Errors: msgspec's."""
    data = FRAME.decode(text).data
    return text if data is UNSET else data
