"""What can happen to one frame or one reply between a venue and us, each by seeded chance."""

from __future__ import annotations

import re
from functools import cache

from core.clock import NS_PER_MS, NS_PER_S
from core.stub.site import Delivery, Reply, Site
from core.stub.venue import BOOK, OTHER, SNAPSHOT, Sent, dumps


def as_is(sent: Sent) -> list[Delivery]:
    """Return the frame as it was sent."""
    return [Delivery(sent.data, sent)]


def drop(site: Site, sent: Sent) -> list[Delivery]:
    if site.happens(0.1):
        site.harm()
        return []
    return as_is(sent)


def duplicate(site: Site, sent: Sent) -> list[Delivery]:
    return as_is(sent) * (2 if site.happens(0.2) else 1)


def reorder(site: Site, sent: Sent) -> list[Delivery]:
    held, site.held = site.held, None
    if held is not None:
        return [*as_is(sent), held]
    if site.happens(0.1):
        site.harm()
        site.held = Delivery(sent.data, sent)
        return []
    return as_is(sent)


def delay(site: Site, sent: Sent) -> list[Delivery]:
    longest_ms = site.lasts(3 * NS_PER_S) // NS_PER_MS
    extra_ns = site.below(longest_ms) * NS_PER_MS if site.happens(0.05) else 0
    return [Delivery(sent.data, sent, extra_ns=extra_ns)]


def garbage(site: Site, sent: Sent) -> list[Delivery]:
    if site.happens(0.1):
        site.harm()
        return [Delivery(site.bytes(site.below(400)), sent, is_intact=False)]
    return as_is(sent)


def only_garbage(site: Site, sent: Sent) -> list[Delivery]:
    site.harm()
    return [Delivery(site.bytes(40), sent, is_intact=False)]


def truncate(site: Site, sent: Sent) -> list[Delivery]:
    if site.happens(0.1):
        site.harm()
        return [Delivery(sent.data[: site.below(len(sent.data))], sent, is_intact=False)]
    return as_is(sent)


def cut_mid_frame(site: Site, sent: Sent) -> list[Delivery]:
    if site.happens(0.02):
        site.harm()
        cut_at = site.below(len(sent.data))
        return [Delivery(sent.data, sent, is_intact=False, cut_at=cut_at)]
    return as_is(sent)


_CLOSE_CODES = (1000, 1001, 1008, 1011, 1012, 1013, 4000)


def close(site: Site, sent: Sent) -> list[Delivery]:
    if site.happens(0.01):
        site.harm()
        code = _CLOSE_CODES[site.below(len(_CLOSE_CODES))]
        return [Delivery(sent.data, sent, is_intact=False, close_code=code)]
    return as_is(sent)


_LONG_BYTES = (5_000_000, 17 * 1024 * 1024)
"""A large snapshot's length, and more than the 16 MiB that many clients allow at most."""
_TOO_LONG_BYTES = 33 * 1024 * 1024


@cache
def _pad(count: int) -> bytes:
    return b'"pad":"' + b"x" * count + b'",'


def giant(site: Site, sent: Sent) -> list[Delivery]:
    """Make a frame very long: by a key nobody knows, or by rubbish."""
    if not site.happens(0.01):
        return as_is(sent)
    count = _LONG_BYTES[site.below(len(_LONG_BYTES))]
    if sent.data.startswith(b"{") and site.below(2):
        return [Delivery(b"{" + _pad(count) + sent.data[1:], sent)]
    site.harm()
    return [Delivery(sent.data + b"[" * count, sent, is_intact=False)]


def oversized(site: Site, sent: Sent) -> list[Delivery]:
    """Send a frame that no client takes: it closes the connection."""
    if not site.happens(0.01):
        return as_is(sent)
    site.harm()
    return [Delivery(sent.data + b" " * _TOO_LONG_BYTES, sent, is_intact=False)]


def late_snapshot(site: Site, sent: Sent) -> list[Delivery]:
    if sent.kind != SNAPSHOT:
        return as_is(sent)
    return [Delivery(sent.data, sent, extra_ns=_late_ns(site))]


def _late_ns(site: Site) -> int:
    site.n_acts += 1
    return site.lasts((2 + site.below(6)) * NS_PER_S)


def lose_snapshot(site: Site, sent: Sent) -> list[Delivery]:
    """Lose the snapshot, in whole or behind its beginning; ids may show it or not."""
    if sent.kind != SNAPSHOT or not site.happens(1.0):
        return as_is(sent)
    site.harm()
    if site.below(2):
        return []
    return [Delivery(sent.data[: len(sent.data) // 2], sent, is_intact=False)]


def lose_book_frames(site: Site, sent: Sent) -> list[Delivery]:
    """Lose every book frame while tickers, trades and heartbeats go on."""
    if sent.kind in {BOOK, SNAPSHOT}:
        site.harm()
        return []
    return as_is(sent)


_FIRST_PRICE = re.compile(
    rb'("price_level":|"bp":|\{"p":|\[\[(?:"(?:buy|sell)",)?)("?)(\d+(?:\.\d+)?)("?)'
)
_BAD = (b"1000.005", b"-1.00", b"0", b"NaN", b"1e400", b"1E5", b"", b"9" * 40, b" 1.00", b"1,5")
_GOOD_NUMBERS = (b"0", b"1E5", b" 1.00")
"""Not as text but as JSON numbers; price zero says that there is no quote."""


def off_grid(site: Site, sent: Sent) -> list[Delivery]:
    """Put a price that is none where the first price of a book frame is."""
    if sent.kind not in {BOOK, SNAPSHOT} or not site.happens(0.05):
        return as_is(sent)
    bad = _BAD[site.below(len(_BAD))]
    if site.venue.venue == "alpaca" and bad in _GOOD_NUMBERS:
        return as_is(sent)
    data, count = _FIRST_PRICE.subn(lambda m: m[1] + m[2] + bad + m[4], sent.data, count=1)
    if count:
        site.harm()
    return [Delivery(data, sent, is_intact=not count)]


_STRANGE = {
    "binance": (
        {"stream": "btcusdt@blockTrade", "data": {"e": "blockTrade", "s": "BTCUSDT"}},
        {"stream": "dogeusdt@depth@100ms", "data": {"e": "depthUpdate", "s": "DOGEUSDT"}},
        {"stream": "btcusdt@depth20", "data": {"lastUpdateId": 9, "bids": [], "asks": []}},
        {"result": None, "id": 1},
        {"e": "newKind", "s": "BTCUSDT"},
    ),
    "coinbase": (
        {"channel": "novelty", "events": []},
        {"channel": "l2_data", "events": [{"type": "update", "product_id": "DOGE-USD",
                                           "updates": []}]},
        {"channel": "status", "events": [{"type": "snapshot", "products": []}]},
    ),
    "sim": (
        {"type": "novelty", "seq": 1, "ts": 1, "instrument": "SIM-USD", "bids": [], "asks": [],
         "trades": []},
        {"type": "update", "seq": 1, "ts": 1, "instrument": "DOGE", "bids": [], "asks": [],
         "trades": []},
    ),
    "coinbase-exchange": (
        {"type": "novelty", "product_id": "BTC-USD"},
        {"type": "l2update", "product_id": "DOGE-USD", "changes": [["buy", "1.00", "1"]]},
        {"type": "status", "products": [], "currencies": []},
    ),
    "alpaca": (
        [{"T": "novelty", "S": "IBM"}],
        [{"T": "q", "S": "DOGE", "bp": 1.00, "bs": 1, "ap": 1.01, "as": 1}],
        [{"T": "b", "S": "IBM", "o": 1}],
    ),
}  # fmt: skip


def strange(site: Site, sent: Sent) -> list[Delivery]:
    """Put frames of strange kinds and instruments between; none of them means anything to us."""
    out = as_is(sent)
    if site.happens(0.2):
        frames = _STRANGE[site.venue.venue]
        other = Sent(dumps(frames[site.below(len(frames))]), OTHER)
        out.insert(site.below(2), Delivery(other.data, other))
    return out


_LAST_ID = re.compile(rb'"u":(\d+),"b":\[')


def id_too_high(site: Site, sent: Sent) -> list[Delivery]:
    """Damage a digit of the last id of an event: all that follows looks old."""
    if sent.kind != BOOK or not site.happens(0.05):
        return as_is(sent)
    site.harm()
    data = _LAST_ID.sub(rb'"u":9\1,"b":[', sent.data)
    return [Delivery(data, sent, is_intact=False)]


_FIRST_QTY = re.compile(rb'("b":\[\["[\d.]+",")([\d.]+)(")')


def wrong_quantity(site: Site, sent: Sent) -> list[Delivery]:
    """Change a quantity to another good one: no id, no grid shows it."""
    if sent.kind != BOOK or not site.happens(0.2):
        return as_is(sent)
    data, count = _FIRST_QTY.subn(rb"\g<1>7.77777\g<3>", sent.data)
    if count:
        site.harm()
    return [Delivery(data, sent, is_intact=False)]


_ANY = (
    drop, duplicate, reorder, delay, garbage, truncate, late_snapshot, lose_snapshot, off_grid,
    strange,
)  # fmt: skip


def mixed(site: Site, sent: Sent) -> list[Delivery]:
    """Let any fault happen to any frame: what two of them do together one does not show."""
    return _ANY[site.below(len(_ANY))](site, sent)


# --- replies


def late_reply(site: Site) -> Reply:
    return Reply(extra_ns=_late_ns(site))


def failed_reply(site: Site) -> Reply:
    if not site.happens(0.9):
        return Reply()
    site.harm()
    if site.mode == 0:
        return slow_down(site)
    if site.mode == 1:
        return Reply("TimeoutError", extra_ns=10 * NS_PER_S)
    return Reply("HTTP 500" if site.mode == 2 else "ConnectError")


def slow_down(site: Site) -> Reply:
    """Answer 429 and ask for silence."""
    site.harm()
    return Reply("HTTP 429", silence_ns=site.lasts(5 * NS_PER_S))


def sometimes_slow_down(site: Site) -> Reply:
    return slow_down(site) if site.happens(0.7) else Reply()


def old_reply(site: Site) -> Reply:
    site.n_acts += 1
    return Reply(is_old=True)


def mixed_reply(site: Site) -> Reply:
    return (late_reply, failed_reply, old_reply, lambda _: Reply())[site.below(4)](site)
