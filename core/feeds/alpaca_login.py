"""Alpaca's handshake and what its error codes ask for; no I/O.

``connected`` -> we authenticate -> ``authenticated`` -> we subscribe -> ``subscription``. Codes and
their treatment: Alpaca "WebSocket Stream", errors (copy of 2026-01-26); 411 from the Go SDK.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import msgspec

from core.clock import NS_PER_S
from core.feeds.times import printable
from core.model.market import GiveUp, Reconnect, SendText
from core.secrets import KEY_ID, KEY_SECRET


class Step(IntEnum):
    """How far the handshake is."""

    CLOSED = 0
    OPENED = 1
    """The socket is up; the venue's ``connected`` has not come."""
    AUTHENTICATING = 2
    SUBSCRIBING = 3
    SUBSCRIBED = 4


NEEDED = {False: ("trades", "quotes"), True: ("trades", "quotes", "orderbooks")}
"""Channels without which there is no feed; True for crypto."""
WANTED = {False: ("statuses", "lulds", "bars"), True: ("bars",)}
"""Channels asked for one by one once the feed runs; a feed that lacks one refuses it alone."""

_SLOW_S = {401: 10, 404: 10, 406: 30, 407: 10, 500: 10}
"""Seconds before the next attempt. 406: a session that has just ended still counts for tens of
seconds, and a client that hammers keeps it alive (alpaca-py issue 248)."""
_REMEDY = {
    402: "store the right ones with `tapewright secrets set alpaca`",
    405: "watch fewer symbols, or take a larger plan (Basic has 30)",
    409: 'take a feed of your plan, as [feed] alpaca_feed = "iex", or a larger plan',
    410: "this feed has no such channel: take another [feed] alpaca_feed",
    411: "the keys have no right to market data: make new ones at the venue",
}
"""Codes after which trying again cannot help, with what to do."""
_SAID = {
    402: "refused the keys",
    405: "refused so many symbols",
    409: "does not give this account the feed",
    410: "refused a subscription",
    411: "refused the keys for market data",
}


def auth_message() -> SendText:
    """Return the message that logs in; the socket puts the keys in."""
    return _send({"action": "auth", "key": KEY_ID, "secret": KEY_SECRET})


def subscribe_message(
    channels: Sequence[str], symbols: Sequence[str], action: str = "subscribe"
) -> SendText:
    """Return the message that adds (or removes) the channels for the symbols."""
    return _send({"action": action} | {channel: list(symbols) for channel in channels})


def verdict(
    code: int, message: str, *, is_subscribed: bool, now_ns: int
) -> GiveUp | Reconnect | None:
    """Return what an error frame asks for; None where it costs nothing but the thing refused."""
    said = f"{printable(message)} ({code})"
    if code in _SLOW_S:
        return Reconnect(f"the venue said: {said}", now_ns + _SLOW_S[code] * NS_PER_S)
    # Once the feed runs, such a refusal is of one of the channels that are only wanted.
    if code in _REMEDY and not is_subscribed:
        return GiveUp(f"alpaca {_SAID[code]}: {said}; {_REMEDY[code]}")
    return None


def _send(message: dict[str, object]) -> SendText:
    return SendText(msgspec.json.encode(message).decode())
