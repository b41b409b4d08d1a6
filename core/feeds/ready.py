"""Makes the frame kernels of a venue ready, so that the first frame does not wait for them.

A kernel is loaded (or compiled, where that was not done yet) by the first call with its types:
0.1 s for all that a frame needs, in which a live socket would stand still.
"""

from __future__ import annotations

from decimal import Decimal
from functools import cache

from core.config import Settings
from core.feeds.registry import protocol_for
from core.model.instrument import Instrument

_SNAPSHOT = b'{"lastUpdateId":1,"bids":[["99.00","1.0"]],"asks":[["101.00","1.0"]]}'
_DEPTH = (
    b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1700000000123,"s":"BTCUSDT",'
    b'"U":%d,"u":%d,"b":[["99.50000000","1.50000000"]],"a":[["100.50000000","2.00000000"]]}}'
)
_BINANCE = (
    _DEPTH % (2, 2),
    b'{"stream":"btcusdt@bookTicker","data":{"u":2,"s":"BTCUSDT","b":"99.50000000",'
    b'"B":"1.50000000","a":"100.50000000","A":"2.00000000"}}',
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1700000000123,"s":"BTCUSDT","t":1,'
    b'"p":"100.50000000","q":"0.50000000","T":1700000000123,"m":false,"M":true}}',
    _DEPTH % (3, 3),
)
_CHANGES = (
    b'{"channel":"l2_data","client_id":"","timestamp":"2026-08-09T21:05:48.5Z","sequence_num":%d,'
    b'"events":[{"type":"%s","product_id":"BTC-USD","updates":[{"side":"bid",'
    b'"event_time":"2026-08-09T21:05:48.5Z","price_level":"99.5","new_quantity":"1.5"},'
    b'{"side":"offer","event_time":"2026-08-09T21:05:48.5Z","price_level":"100.5",'
    b'"new_quantity":"2"}]}]}'
)
_COINBASE = (
    _CHANGES % (0, b"snapshot"),
    _CHANGES % (1, b"update"),
    b'{"channel":"market_trades","client_id":"","timestamp":"2026-08-09T21:05:48.5Z",'
    b'"sequence_num":2,"events":[{"type":"update","trades":[{"product_id":"BTC-USD",'
    b'"trade_id":"1","price":"100.5","size":"0.5","time":"2026-08-09T21:05:48.4Z",'
    b'"side":"BUY"}]}]}',
)
_FRAMES = {"binance": ("BTCUSDT", _BINANCE), "coinbase": ("BTC-USD", _COINBASE)}


@cache
def load_kernels(venue: str) -> None:
    """Read a few frames of the venue, as it writes them and as it never would.

    Of a venue without frame kernels those of Binance: the ones of book and features are the same.
    """
    name, frames = _FRAMES.get(venue, _FRAMES["binance"])
    venue = venue if venue in _FRAMES else "binance"
    instrument = Instrument(venue, name, "BTC", "USD", Decimal("0.01"), Decimal("0.00001"))
    protocol = protocol_for(venue, [instrument], Settings())
    protocol.on_open(0)
    protocol.on_http(f"/depth?symbol={name}", _SNAPSHOT, 1)
    for at, frame in enumerate(frames, 2):
        protocol.receive(frame, at)
        # Other spaces: kernels leave such a frame to the reader of any JSON.
        protocol.receive(frame.replace(b":[", b": ["), at)
