"""The table of faults: what can go wrong between a venue and us, by name.

One definition of each serves the trials without sockets (``bench/fuzz.py faults``), those with
sockets (``bench/fuzz.py sockets``) and the command ``tapewright stub --fault``.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec
import numpy as np

from core.clock import NS_PER_MS, NS_PER_S
from core.errors import ValueRefused
from core.stub import damage
from core.stub.binance import BinanceModel
from core.stub.site import FOREVER_NS, Delivery, Reply, Site
from core.stub.truth import ASK, BID, Change
from core.stub.venue import Sent

ALL_VENUES = ("binance", "coinbase", "sim", "coinbase-exchange", "alpaca")
SOCKET_VENUES = ("binance", "coinbase", "coinbase-exchange", "alpaca")
_SNAPSHOT_VENUES = ("coinbase", "sim", "coinbase-exchange")
_LONG_NS = 20 * NS_PER_S
_TOO_MANY_REQUESTS = 429


class Fault(msgspec.Struct, frozen=True):
    """One thing that goes wrong; every part may be there or not."""

    name: str
    about: str
    """What it does, in a few words."""
    on_frame: Callable[[Site, Sent], list[Delivery]] | None = None
    """What becomes of a frame as it leaves the venue."""
    on_reply: Callable[[Site], Reply] | None = None
    at_open: Callable[[Site], int] | None = None
    """HTTP status with which a new connection is refused, 0 to take it."""
    at_start: Callable[[Site], None] | None = None
    """Done once, when the fault begins."""
    at_step: Callable[[Site], None] | None = None
    """Done before each flush; changes the book itself."""
    at_end: Callable[[Site], None] | None = None
    """Done once, when the fault ends."""
    venues: tuple[str, ...] = ALL_VENUES
    cuts: bool = False
    """Connections are closed at random while it lasts."""
    window_ns: int = 5 * NS_PER_S
    """How long a trial lets it last: longer than what notices it."""


class Asked(msgspec.Struct, frozen=True):
    """A fault as somebody asked for it."""

    fault: Fault
    share: float | None = None
    lasts_ns: int | None = None


def _freeze(site: Site) -> None:
    site.harm()
    site.n_acts += 1
    site.frozen_until_ns = site.now_ns + site.lasts(FOREVER_NS)


def _stall(site: Site) -> None:
    """Hold every frame back, then let all through: a network that paused and lost nothing."""
    site.n_acts += 1
    site.stalled_until_ns = site.now_ns + site.lasts((6 + site.below(4)) * NS_PER_S)


def _set_clock_off(site: Site) -> None:
    hours = (-1, 1, -24 * 365 * 50, 24 * 365 * 200)[site.below(4)]
    site.n_acts += 1
    site.venue.offset_ns = site.lasts(hours * 3_600 * NS_PER_S)


def _cross(site: Site) -> None:
    """Let the venue itself show a bid above its best ask, for as long as it stays."""
    if site.happens(0.05):
        for index, book in enumerate(site.venue.books):
            best = book.best(ASK)
            if best not in book.sides[BID]:
                site.venue.changed(index, [book.set(BID, best, 5, site.now_ns)])


def _uncross(site: Site) -> None:
    for index, book in enumerate(site.venue.books):
        bids = [ticks for ticks in book.sides[BID] if ticks >= book.best(ASK)]
        gone = [book.set(BID, ticks, 0, site.now_ns) for ticks in bids]
        site.venue.changed(index, gone)


def _walk(site: Site) -> None:
    """Let the market fall through all that a snapshot of bounded depth knew."""
    if not site.happens(0.3):
        return
    book, now_ns = site.venue.books[0], site.now_ns
    changes: list[Change] = []
    for _ in range(5 + site.below(60)):
        ticks = book.best(BID)
        changes.append(book.set(BID, min(book.sides[BID]) - 1, 7, now_ns))
        changes.append(book.set(BID, ticks, 0, now_ns))
        changes.append(book.set(ASK, ticks + 1, 9, now_ns))
        changes.append(book.set(ASK, max(book.sides[ASK]), 0, now_ns))
    site.venue.changed(0, changes)


def _ids_go_back(site: Site) -> None:
    assert isinstance(site.venue, BinanceModel)
    site.harm()
    site.n_acts += 1
    site.venue.renumber(-500_000)


def _refuse_handshake(site: Site) -> int:
    if not site.happens(0.7):
        return 0
    site.harm()
    return _TOO_MANY_REQUESTS


FAULTS: dict[str, Fault] = {
    each.name: each
    for each in (
        Fault("none", "nothing: proves that venue and judge are sound"),
        Fault("drop", "frames are lost", damage.drop),
        Fault("duplicate", "frames come twice", damage.duplicate),
        Fault("reorder", "a frame comes after the one behind it", damage.reorder),
        Fault("delay", "frames come late, in order", damage.delay),
        Fault("cut", "the connection breaks between frames", cuts=True),
        Fault(
            "cut_mid_frame",
            "the connection breaks inside a frame",
            damage.cut_mid_frame,
            venues=SOCKET_VENUES,
        ),
        Fault("close", "the venue closes with a code", damage.close, venues=SOCKET_VENUES),
        # The simulated venue runs in our process: there is no socket that could be half open.
        Fault(
            "freeze", "nothing comes and the socket is open", at_start=_freeze, venues=SOCKET_VENUES
        ),
        Fault("stall", "all waits, then comes at once", at_start=_stall),
        Fault("garbage", "random bytes in place of frames", damage.garbage),
        Fault("only_garbage", "nothing but such", damage.only_garbage, window_ns=_LONG_NS),
        Fault("truncated", "frames that end early", damage.truncate),
        Fault("giant", "frames of 5 MB and of 17 MiB", damage.giant),
        Fault(
            "oversized", "frames longer than we take", damage.oversized, venues=SOCKET_VENUES
        ),
        Fault(
            "late_snapshot", "snapshots come late", damage.late_snapshot, damage.late_reply,
            cuts=True,
        ),
        Fault(
            "lost_snapshot", "snapshots do not come", damage.lose_snapshot, cuts=True,
            venues=_SNAPSHOT_VENUES,
        ),
        Fault(
            "failed_http", "REST fails", on_reply=damage.failed_reply, cuts=True,
            venues=("binance",),
        ),
        Fault(
            "429", "REST and connections answer 429", on_reply=damage.sometimes_slow_down,
            at_open=_refuse_handshake, cuts=True, venues=SOCKET_VENUES,
        ),
        Fault(
            "old_snapshot", "REST serves an old snapshot", on_reply=damage.old_reply, cuts=True,
            venues=("binance",),
        ),
        Fault("off_grid", "prices that are none", damage.off_grid),
        Fault("unknown", "frames of kinds nobody knows", damage.strange),
        Fault("clock_offset", "the venue's clock is off", at_start=_set_clock_off),
        Fault("crossed", "the venue's book is crossed", at_step=_cross, at_end=_uncross,
              window_ns=_LONG_NS),
        Fault("walk", "the market leaves a snapshot's depth", at_step=_walk),
        Fault(
            "mixed", "any of these to any frame", damage.mixed, damage.mixed_reply, cuts=True,
            window_ns=_LONG_NS,
        ),
        Fault(
            "book_freezes", "book frames stop, the rest goes on", damage.lose_book_frames,
            venues=("binance",), window_ns=_LONG_NS,
        ),
        Fault(
            "ids_go_back", "update ids begin anew", at_start=_ids_go_back, venues=("binance",),
            window_ns=_LONG_NS,
        ),
        Fault("id_too_high", "an update id is damaged", damage.id_too_high, venues=("binance",)),
        Fault(
            "wrong_quantity", "a quantity is damaged", damage.wrong_quantity, venues=("binance",),
            window_ns=_LONG_NS,
        ),
    )
}  # fmt: skip
"""By name."""

_LENGTH = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)", re.ASCII)
_UNIT_NS = {"ms": NS_PER_MS, "s": NS_PER_S, "m": 60 * NS_PER_S}


def read_fault(text: str, venue: str) -> Asked:
    """Read ``NAME``, ``NAME:SHARE`` or ``NAME:LENGTH``, as ``drop:0.01`` and ``freeze:30s``.

    Errors: ``ValueRefused``.
    """
    name, _, value = text.partition(":")
    fault = FAULTS.get(name.replace("-", "_"))
    known = [each for each, one in FAULTS.items() if venue in one.venues and one.at_step is None]
    if fault is None or fault.name not in known:
        raise ValueRefused(
            f"fault was {name[:40]!r}, allowed for {venue} are {', '.join(known[1:])}"
        )
    if not value:
        return Asked(fault)
    length = _LENGTH.fullmatch(value)
    if length:
        return Asked(fault, lasts_ns=int(float(length[1]) * _UNIT_NS[length[2]]))
    try:
        share = float(value)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ValueRefused(
            f"value of fault {name} was {value[:20]!r}, allowed is a share like 0.01 or a length "
            "like 500ms, 30s or 2m"
        )
    return Asked(fault, share=share)


def generator_for(venue: str, fault: str, seed: int) -> np.random.Generator:
    """Return the one source of chance of a run."""
    return np.random.default_rng([seed, *venue.encode(), *fault.encode()])
