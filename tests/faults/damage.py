"""Damaged frames into a protocol's ``receive``, its books held to a plain replay of what it took.

A message is taken when the protocol says that the book moved; then the plain replay (json and
Decimal, no code of ours) takes the same bytes whole. So a half-applied message, or one applied
without a word, shows as a difference, and bytes that the protocol understands but json does not
show as well. Where the protocol has a compiled path, a twin without it is given the same and must
say the same: every event, id, time and level.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import InvalidOperation

import msgspec

from core.config import Settings
from core.feeds.protocol import FeedProtocol
from core.feeds.registry import protocol_for
from core.feeds.states import BELIEVED
from core.model.market import BookMoved, FeedOutput, FeedStateChanged, Reconnect, TradePrint
from core.stub.truth import Sides
from tests.core.feeds.wire import MS, T0
from tests.faults.material import Frame, Material, Truth
from tests.faults.plain import read
from tests.faults.wounds import Draws, damage, damage_packed

_LARGE = 2_000
"""Levels from which a book is compared now and then, not at every refusal."""
_MAX_STEPS = 2**62
_SHARES = (0.1, 0.5, 0.9)
"""Share of damaged frames, drawn for a pass: few see long lives of a book, many see starts."""
_PATIENCE = (0, 0, 1, 5, 40)
"""Frames without a believed book after which the venue gives a snapshot, drawn for a pass."""
_OTHER_BYTES = 4096


class Tally(msgspec.Struct):
    """Counts of a hunt."""

    frames: int = 0
    damaged: int = 0
    refused: int = 0
    taken: int = 0
    """Book messages applied."""
    taken_damaged: int = 0
    compared: int = 0
    twins: int = 0
    """Frames that a twin without the compiled path read as well."""
    connections: int = 0
    snapshots: int = 0
    wrong: list[str] = []

    def add(self, other: Tally) -> None:
        """Add what another round counted."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class _Hunt:
    """One protocol, its twin, its plain replay, and what was found."""

    def __init__(self, given: Material, draws: Draws, tally: Tally) -> None:
        self.given = given
        self.draws = draws
        self.tally = tally
        self.protocol = protocol_for(given.venue, given.instruments, Settings())
        self.twin: FeedProtocol | None = None
        if getattr(self.protocol, "uses_kernel", False):
            self.twin = protocol_for(given.venue, given.instruments, Settings())
            self.twin.uses_kernel = False  # type: ignore[attr-defined]
        self.replays: list[Sides | None] = [None] * len(given.instruments)
        self.now_ns = T0
        self.asks_reconnect = False

    def damaged(self, data: bytes, other: bytes) -> bytes:
        wound = damage_packed if self.given.is_packed else damage
        return wound(data, other, self.draws)

    def connect(self, truth: Truth) -> None:
        self.tally.connections += 1
        self.asks_reconnect = False
        now_ns = self.now_ns
        self.give(lambda each: each.on_close("next", now_ns), None)
        self.give(lambda each: each.on_open(now_ns), None)
        self.heal(truth)

    def heal(self, truth: Truth) -> None:
        """Serve a snapshot of every book that is not believed; some come damaged."""
        now_ns = self.now_ns
        for index, feed in enumerate(self.protocol.instruments):
            one = None if feed.state in BELIEVED else truth.snapshot(index)
            if one is None:
                continue
            self.tally.snapshots += 1
            is_bad = self.draws.unit() < 0.1
            data = self.damaged(one.data, one.data) if is_bad else one.data
            if not one.url:
                self.receive(data, is_bad)
            else:
                url = one.url
                self.give(lambda each, u=url, d=data: each.on_http(u, d, now_ns), None)

    def receive(self, data: bytes, is_damaged: bool, whole: Frame | None = None) -> None:
        self.now_ns += MS
        now_ns = self.now_ns
        refused = self.protocol.counters.refused
        outputs = self.give(lambda each: each.receive(data, now_ns), whole, data)
        self.tally.frames += 1
        self.tally.damaged += is_damaged
        was_refused = self.protocol.counters.refused > refused
        self.tally.refused += was_refused
        if is_damaged and any(isinstance(each, BookMoved) for each in outputs):
            self.tally.taken_damaged += 1
            self.compare()
        elif was_refused or self.draws.unit() < 0.02:
            self.compare()

    def give(
        self,
        act: Callable[[FeedProtocol], list[FeedOutput]],
        whole: Frame | None,
        data: bytes = b"",
    ) -> list[FeedOutput]:
        """Let protocol and twin act, judge what came out, and let the plain replay follow."""
        outputs = act(self.protocol)
        if self.twin is not None:
            self.tally.twins += 1
            self.require(act(self.twin) == outputs, "the twin said otherwise", data)
            same = self.twin.counters == self.protocol.counters
            self.require(same, "the twin counted otherwise", data)
        moved = set()
        for each in outputs:
            if isinstance(each, BookMoved):
                moved.add(each.instrument)
                self.require(0 <= each.ts_event_ns < 2**63, "event time", data)
            elif isinstance(each, TradePrint):
                good = 0 < each.price_ticks < _MAX_STEPS and 0 < each.qty_lots < _MAX_STEPS
                self.require(good, "trade value", data)
                self.require(0 <= each.ts_event_ns < 2**63, "trade time", data)
                is_plain = each.trade_id.isascii() and each.trade_id.isprintable()
                self.require(is_plain and len(each.trade_id) <= 64, "trade id", data)
            elif isinstance(each, FeedStateChanged):
                self.require(each.reason.isascii() and each.reason.isprintable(), "reason", data)
            elif isinstance(each, Reconnect):
                self.asks_reconnect = True
        for index, feed in enumerate(self.protocol.instruments):
            if feed.state not in BELIEVED:
                self.replays[index] = None
                self.require(feed.book.size() == (0, 0), "levels nobody believes", data)
            elif index in moved:
                self.tally.taken += 1
                self.follow(index, data, whole)
        return outputs

    def follow(self, index: int, data: bytes, whole: Frame | None) -> None:
        replay = self.replays[index]
        if replay is None:
            # From here on it is followed; how a book begins is the fault runs' to judge.
            book = self.protocol.instruments[index].book
            self.replays[index] = (book.levels(0), book.levels(1))
            return
        try:
            if whole is not None:
                rows, is_fresh = whole.told[index]
            else:
                told = read(self.given.venue, self.given.instruments[index], data)
                rows, is_fresh = told or ([], False)
                self.require(told is not None, "taken, but it says nothing of this book", data)
        except (ValueError, KeyError, TypeError, AttributeError, InvalidOperation) as error:
            self.require(False, f"taken, but plain reading says {error!r}"[:90], data)
            self.replays[index] = None
            return
        if is_fresh:
            replay[0].clear()
            replay[1].clear()
        for side, ticks, lots in rows:
            if lots:
                replay[side][ticks] = lots
            else:
                replay[side].pop(ticks, None)

    def compare(self) -> None:
        for index, feed in enumerate(self.protocol.instruments):
            replay = self.replays[index]
            is_large = sum(feed.book.size()) > _LARGE
            if replay is None or (is_large and self.draws.unit() > 0.02):
                continue
            self.tally.compared += 1
            for side in (0, 1):
                held = feed.book.levels(side)
                if held != replay[side]:
                    wrong = {t for t in held.keys() | replay[side].keys()
                             if held.get(t) != replay[side].get(t)}  # fmt: skip
                    self.require(False, f"{len(wrong)} levels differ from the plain replay", b"")
                if held and (min(held) <= 0 or min(held.values()) <= 0):
                    self.require(False, "a level that is none", b"")
                if self.twin is not None:
                    same = self.twin.instruments[index].book.levels(side) == held
                    self.require(same, "the twin holds other levels", b"")

    def require(self, good: bool, what: str, data: bytes) -> None:
        if not good:
            self.tally.wrong.append(f"{what}: {data[:300]!r}")


def hunt(given: Material, seed: int, n_damaged: int, tally: Tally) -> None:
    """Feed damaged frames among whole ones, over as many connections as it takes.

    Args:
        given: Whole frames.
        seed: Of every draw.
        n_damaged: Damaged frames to feed; ends earlier at the first thing found wrong.
        tally: Counts are added to it.
    """
    draws = Draws(seed)
    one = _Hunt(given, draws, tally)
    truth = Truth(given)
    until = tally.damaged + n_damaged
    while tally.damaged < until and not tally.wrong:
        truth.restart()
        one.connect(truth)
        _pass(one, truth, until)
    one.compare()


def _pass(one: _Hunt, truth: Truth, until: int) -> None:
    """Go through the frames once, damaging some."""
    draws, tally, frames = one.draws, one.tally, one.given.frames
    share, patience = draws.pick(_SHARES), draws.pick(_PATIENCE)
    waited = 0
    for frame in frames:
        # What says nothing of a book is most of a recording and least of what can go wrong.
        is_hurt = draws.unit() < (share if frame.told else share / 4)
        if is_hurt:
            other = draws.pick(frames).data
            source = frame.data if draws.unit() < 0.7 else other
            one.receive(one.damaged(source, other[:_OTHER_BYTES]), True)
        truth.follow(frame)
        # A damaged frame comes before the whole one, or instead of it.
        if not is_hurt or draws.unit() < 0.7:
            one.receive(frame.data, False, frame)
        if all(each.state in BELIEVED for each in one.protocol.instruments):
            waited = 0
        elif (waited := waited + 1) > patience:
            waited = 0
            if one.asks_reconnect or draws.unit() < 0.05:
                one.connect(truth)
            else:
                one.heal(truth)
        if tally.damaged >= until or tally.wrong:
            return
