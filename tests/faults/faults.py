"""What can go wrong between a venue and us, each seeded; ``tests.faults.running`` plays them.

A fault acts on frames as they leave the venue, on HTTP replies, or once when its window begins.
It says ``harm`` when it does something a reader ought to notice.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import msgspec
import numpy as np

from core.clock import NS_PER_MS, NS_PER_S
from tests.faults.market import BID
from tests.faults.venue_base import BOOK, OTHER, SNAPSHOT, Sent, dumps
from tests.faults.venue_model import BinanceModel

if TYPE_CHECKING:
    from tests.faults.running import Run


class Delivery(msgspec.Struct):
    """A frame as it will arrive."""

    data: bytes
    sent: Sent
    is_intact: bool = True
    extra_ns: int = 0


class Reply(msgspec.Struct):
    """What becomes of one HTTP request."""

    failure: str = ""
    extra_ns: int = 0
    is_old: bool = False
    """The body is the one served before."""
    silence_ns: int = 0
    """Retry-After of a 429."""


class OnFrame(Protocol):
    def __call__(self, run: Run, sent: Sent) -> list[Delivery]: ...


class Fault(msgspec.Struct, frozen=True):
    name: str
    on_frame: OnFrame | None = None
    on_reply: Callable[[Run], Reply] | None = None
    at_start: Callable[[Run], None] | None = None
    at_step: Callable[[Run], None] | None = None
    """Called before each flush inside the window."""
    venues: tuple[str, ...] = ("binance", "coinbase", "sim", "coinbase-exchange", "alpaca")
    cuts: bool = False
    """Connections are closed at random inside the window."""
    window_ns: int = 5 * NS_PER_S
    """How long it lasts: longer than what notices it."""
    strange_id_ns: int = 0
    """How long a live book may say an id that the venue never gave."""
    touch_wrong_ns: int = 0
    """How long the best prices of a live book may be wrong before a ticker shows it."""
    judges_touch_only: bool = False
    """What arrives is wrong and well-formed: only the venue's own tickers can tell."""


def _as_is(sent: Sent) -> list[Delivery]:
    return [Delivery(sent.data, sent)]


def _drop(run: Run, sent: Sent) -> list[Delivery]:
    if run.chance(0.1):
        run.harm()
        return []
    return _as_is(sent)


def _duplicate(run: Run, sent: Sent) -> list[Delivery]:
    return _as_is(sent) * (2 if run.chance(0.2) else 1)


def _reorder(run: Run, sent: Sent) -> list[Delivery]:
    held, run.held = run.held, None
    if held is not None:
        return [*_as_is(sent), held]
    if run.chance(0.1):
        run.harm()
        run.held = Delivery(sent.data, sent)
        return []
    return _as_is(sent)


def _delay(run: Run, sent: Sent) -> list[Delivery]:
    extra_ns = run.below(3_000) * NS_PER_MS if run.chance(0.05) else 0
    return [Delivery(sent.data, sent, extra_ns=extra_ns)]


def _freeze(run: Run) -> None:
    run.harm()
    run.frozen_connection = run.connection


def _stall(run: Run) -> None:
    """Hold every frame back, then let all through: a network that paused and lost nothing."""
    run.stalled_until_ns = run.now_ns + (6 + run.below(4)) * NS_PER_S


def _garbage(run: Run, sent: Sent) -> list[Delivery]:
    if run.chance(0.1):
        run.harm()
        return [Delivery(run.bytes(run.below(400)), sent, is_intact=False)]
    return _as_is(sent)


def _only_garbage(run: Run, sent: Sent) -> list[Delivery]:
    run.harm()
    return [Delivery(run.bytes(40), sent, is_intact=False)]


def _truncated(run: Run, sent: Sent) -> list[Delivery]:
    if run.chance(0.1):
        run.harm()
        return [Delivery(sent.data[: run.below(len(sent.data))], sent, is_intact=False)]
    return _as_is(sent)


_PAD = b'{"pad":"' + b"x" * 5_000_000 + b'",'


def _giant(run: Run, sent: Sent) -> list[Delivery]:
    """Make a frame 5 MB long: by a key nobody knows, or by rubbish."""
    if not run.chance(0.01):
        return _as_is(sent)
    if sent.data.startswith(b"{") and run.chance(0.5):
        return [Delivery(_PAD + sent.data[1:], sent)]
    run.harm()
    return [Delivery(sent.data + b"[" * 5_000_000, sent, is_intact=False)]


def _late_snapshot(run: Run, sent: Sent) -> list[Delivery]:
    late_ns = (2 + run.below(6)) * NS_PER_S if sent.kind == SNAPSHOT else 0
    return [Delivery(sent.data, sent, extra_ns=late_ns)]


def _lost_snapshot(run: Run, sent: Sent) -> list[Delivery]:
    """Lose the snapshot, in whole or behind its beginning; ids may show it or not."""
    if sent.kind != SNAPSHOT:
        return _as_is(sent)
    run.harm()
    if run.chance(0.5):
        return []
    return [Delivery(sent.data[: len(sent.data) // 2], sent, is_intact=False)]


def _late_reply(run: Run) -> Reply:
    return Reply(extra_ns=(2 + run.below(6)) * NS_PER_S)


def _failed_reply(run: Run) -> Reply:
    if run.chance(0.1):
        return Reply()
    if run.mode == 0:
        return Reply("HTTP 429", silence_ns=5 * NS_PER_S)
    if run.mode == 1:
        return Reply("TimeoutError", extra_ns=10 * NS_PER_S)
    return Reply("HTTP 500" if run.mode == 2 else "ConnectError")


def _old_reply(run: Run) -> Reply:
    return Reply(is_old=True)


_FIRST_PRICE = re.compile(rb'("price_level":|"bp":|\[\[(?:"(?:buy|sell)",)?)("?)(\d+\.\d\d)("?)')
_BAD = (b"1000.005", b"-1.00", b"0", b"NaN", b"1e400", b"1E5", b"", b"9" * 40, b" 1.00", b"1,5")


_GOOD_NUMBERS = (b"0", b"1E5", b" 1.00")
"""Not as text but as JSON numbers; price zero says that there is no quote."""


def _off_grid(run: Run, sent: Sent) -> list[Delivery]:
    """Put a price that is none where the first price of a book frame is."""
    if sent.kind not in {BOOK, SNAPSHOT} or not run.chance(0.05):
        return _as_is(sent)
    bad = _BAD[run.below(len(_BAD))]
    data, count = _FIRST_PRICE.subn(lambda m: m[1] + m[2] + bad + m[4], sent.data, count=1)
    if run.model.venue == "alpaca" and bad in _GOOD_NUMBERS:
        return _as_is(sent)
    if count:
        run.harm()
    return [Delivery(data, sent, is_intact=not count)]


_STRANGE = {
    "binance": (
        dumps({"stream": "btcusdt@blockTrade", "data": {"e": "blockTrade", "s": "BTCUSDT"}}),
        dumps({"stream": "dogeusdt@depth@100ms", "data": {"e": "depthUpdate", "s": "DOGEUSDT"}}),
        dumps({"stream": "btcusdt@depth20", "data": {"lastUpdateId": 9, "bids": [], "asks": []}}),
        dumps({"result": None, "id": 1}),
        dumps({"e": "newKind", "s": "BTCUSDT"}),
    ),
    "coinbase": (
        dumps({"channel": "novelty", "events": []}),
        dumps({"channel": "l2_data", "events": [{"type": "update", "product_id": "DOGE-USD",
                                                 "updates": []}]}),
        dumps({"channel": "status", "events": [{"type": "snapshot", "products": []}]}),
    ),
    "sim": (
        dumps({"type": "novelty", "seq": 1, "ts": 1, "instrument": "SIM-USD", "bids": [],
               "asks": [], "trades": []}),
        dumps({"type": "update", "seq": 1, "ts": 1, "instrument": "DOGE", "bids": [],
               "asks": [], "trades": []}),
    ),
    "coinbase-exchange": (
        dumps({"type": "novelty", "product_id": "BTC-USD"}),
        dumps({"type": "l2update", "product_id": "DOGE-USD", "changes": [["buy", "1.00", "1"]]}),
        dumps({"type": "ticker", "product_id": "BTC-USD", "price": "1.005"}),
    ),
    "alpaca": (
        b'[{"T":"novelty","S":"IBM"}]',
        b'[{"T":"q","S":"DOGE","bp":1.00,"bs":1,"ap":1.01,"as":1}]',
        b'[{"T":"b","S":"IBM","o":1}]',
    ),
}  # fmt: skip


def _unknown(run: Run, sent: Sent) -> list[Delivery]:
    """Put frames of strange kinds and instruments between; none of them means anything to us."""
    out = _as_is(sent)
    if run.chance(0.2):
        strange = _STRANGE[run.model.venue]
        other = Sent(strange[run.below(len(strange))], OTHER)
        out.insert(run.below(2), Delivery(other.data, other))
    return out


def _clock_offset(run: Run) -> None:
    hours = (-1, 1, -24 * 365 * 50, 24 * 365 * 200)[run.below(4)]
    run.model.offset_ns = hours * 3_600 * NS_PER_S


def _cross(run: Run) -> None:
    """Let the venue itself show a bid above its best ask, for as long as it stays."""
    if run.chance(0.05):
        for index, market in enumerate(run.model.markets):
            best = min(market.sides[1])
            if best not in market.sides[BID]:
                run.model.pending[index].append(market.set(BID, best, 5, run.now_ns))


def _walk(run: Run) -> None:
    """Let the market fall through all that a snapshot of bounded depth knew."""
    if run.chance(0.3):
        market = run.model.markets[0]
        run.model.pending[0] += market.jump(5 + run.below(60), run.now_ns)


def _book_stream_freezes(run: Run, sent: Sent) -> list[Delivery]:
    """Lose every book frame while tickers, trades and heartbeats go on."""
    if sent.kind in {BOOK, SNAPSHOT}:
        run.harm()
        return []
    return _as_is(sent)


def _ids_go_back(run: Run) -> None:
    model = run.model
    assert isinstance(model, BinanceModel)
    run.harm()
    model.restart_ids(-500_000)


_LAST_ID = re.compile(rb'"u":(\d+),"b":\[')


def _id_too_high(run: Run, sent: Sent) -> list[Delivery]:
    """Damage a digit of the last id of an event: all that follows looks old."""
    if sent.kind != BOOK or not run.chance(0.05):
        return _as_is(sent)
    run.harm()
    data = _LAST_ID.sub(rb'"u":9\1,"b":[', sent.data)
    return [Delivery(data, sent, is_intact=False)]


_FIRST_QTY = re.compile(rb'("b":\[\["[\d.]+",")([\d.]+)(")')


def _wrong_quantity(run: Run, sent: Sent) -> list[Delivery]:
    """Change a quantity to another good one: no id, no grid shows it."""
    if sent.kind != BOOK or not run.chance(0.2):
        return _as_is(sent)
    return [Delivery(_FIRST_QTY.sub(rb"\g<1>7.77777\g<3>", sent.data), sent, is_intact=False)]


_FRAME_FAULTS: tuple[OnFrame, ...] = (
    _drop, _duplicate, _reorder, _delay, _garbage, _truncated, _late_snapshot, _lost_snapshot,
    _off_grid, _unknown,
)  # fmt: skip


def _mixed(run: Run, sent: Sent) -> list[Delivery]:
    """Let any fault happen to any frame: what two of them do together one does not show."""
    return _FRAME_FAULTS[run.below(len(_FRAME_FAULTS))](run, sent)


def _mixed_reply(run: Run) -> Reply:
    return (_late_reply, _failed_reply, _old_reply, lambda run: Reply())[run.below(4)](run)


_SOCKETS = ("binance", "coinbase", "coinbase-exchange", "alpaca")
_LONG_NS = 20 * NS_PER_S
_SOCKET_SNAPSHOT = ("coinbase", "sim", "coinbase-exchange")

FAULTS: dict[str, Fault] = {
    each.name: each
    for each in (
        Fault("none"),
        Fault("drop", _drop),
        Fault("duplicate", _duplicate),
        Fault("reorder", _reorder),
        Fault("delay", _delay),
        Fault("cut", cuts=True),
        # The simulated venue runs in our process: there is no socket that could be half open.
        Fault("freeze", at_start=_freeze, venues=_SOCKETS),
        Fault("stall", at_start=_stall),
        Fault("garbage", _garbage),
        Fault("only_garbage", _only_garbage, window_ns=_LONG_NS),
        Fault("truncated", _truncated),
        Fault("giant", _giant),
        Fault("late_snapshot", _late_snapshot, _late_reply, cuts=True),
        Fault("lost_snapshot", _lost_snapshot, cuts=True, venues=_SOCKET_SNAPSHOT),
        Fault("failed_http", on_reply=_failed_reply, cuts=True, venues=("binance",)),
        Fault("old_snapshot", on_reply=_old_reply, cuts=True, venues=("binance",)),
        Fault("off_grid", _off_grid),
        Fault("unknown", _unknown),
        Fault("clock_offset", at_start=_clock_offset),
        Fault("crossed", at_step=_cross, window_ns=_LONG_NS),
        Fault("walk", at_step=_walk, touch_wrong_ns=NS_PER_S),
        Fault("mixed", _mixed, _mixed_reply, cuts=True, window_ns=_LONG_NS),
        Fault("book_freezes", _book_stream_freezes, venues=("binance",), window_ns=_LONG_NS),
        Fault("ids_go_back", at_start=_ids_go_back, venues=("binance",), window_ns=_LONG_NS),
        Fault("id_too_high", _id_too_high, venues=("binance",), strange_id_ns=5 * NS_PER_S),
        Fault(
            "wrong_quantity",
            _wrong_quantity,
            venues=("binance",),
            window_ns=_LONG_NS,
            touch_wrong_ns=2 * NS_PER_S,
            judges_touch_only=True,
        ),
    )
}
"""By name; ``none`` proves that the model and the checks themselves are sound."""


def generator_for(venue: str, fault: str, seed: int) -> np.random.Generator:
    """Return the one source of chance of a run."""
    return np.random.default_rng([seed, *venue.encode(), *fault.encode()])
