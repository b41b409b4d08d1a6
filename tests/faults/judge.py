"""Judges a protocol's books against the venue's own, at every step of a trial.

A book that is believed equals the venue's true book as of the version the protocol says it has; a
book that is not believed is empty; a suspected one is marked as not live and may be anything; no
live book is old. Where a venue proves no loss, truth can only be what the client was told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import eq
from typing import Any, Protocol

import msgspec
import numpy as np

from core.clock import NS_PER_S
from core.feeds.protocol import FeedProtocol
from core.feeds.states import BELIEVED
from core.model.market import BookMoved, FeedOutput, FeedState, FeedStateChanged, TradePrint
from core.stub.binance import BinanceModel
from core.stub.faults import Fault
from core.stub.truth import ASK, BID, Sides
from core.stub.venue import Session, VenueModel
from tests.core.feeds.wire import T0

WARM_NS = 2 * NS_PER_S
RECOVERY_NS = 75 * NS_PER_S
"""Longest time to be live again: half-open silence (15 s), a retry put off to the ceiling (30 s),
a time-out (10 s), and the way there."""
CALM_NS = 2 * NS_PER_S
"""How long everything must stay live at the end."""
OLD_NS = 9 * NS_PER_S
"""Age at which a live book is wrong by being old: stale time 5 s, longest delay 3 s, latency."""
REQUESTS_IN_10_S = 8
"""Five of a back-off from 0.5 s (0, 0.5, 1.5, 3.5, 7.5 s) and what new connections add."""
QUOTES_IN_10_S = 15
"""Alpaca's standing quotes, asked for anew with each refused quote: at most one a second, of the
200 requests a minute that its smallest plan has, and what new connections add."""
_NO_EDGE = (0, 2**62)


class Allowance(msgspec.Struct, frozen=True):
    """What a live book may be for a while under one fault, since nothing can show it earlier."""

    strange_id_ns: int = 0
    """How long it may say an id that the venue never gave."""
    touch_wrong_ns: int = 0
    """How long its best prices may be wrong before a ticker shows it."""
    judges_touch_only: bool = False
    """What arrives is wrong and well-formed: only the venue's own tickers can tell."""


ALLOWANCES = {
    "walk": Allowance(touch_wrong_ns=NS_PER_S),
    "id_too_high": Allowance(strange_id_ns=5 * NS_PER_S),
    "wrong_quantity": Allowance(touch_wrong_ns=2 * NS_PER_S, judges_touch_only=True),
}
_NONE = Allowance()
HARMLESS = frozenset({"none", "duplicate", "delay", "unknown", "clock_offset", "giant"})
"""Faults that lose nothing as long as they did no harm: then they may cost no book either."""


class Outcome(msgspec.Struct):
    """What came of one run; times in virtual ns."""

    venue: str
    fault: str
    seed: int
    wrong: list[str] = []
    """Findings of the judgement, the first of each kind; empty is a pass."""
    steps: int = 0
    harmed_ns: int | None = None
    detect_ns: int | None = None
    """From the first harm to the first book that was not live."""
    outages_ns: list[int] = []
    """From not live to live again, each instrument each time."""
    recover_ns: int | None = None
    """From the end of the fault window until all books were live for good."""
    n_unseen: int = 0
    """Books that were live at the end and not the venue's, where the venue proves no loss."""


class Harm(Protocol):
    """Knows when something was first done that a client ought to notice."""

    @property
    def harmed_ns(self) -> int | None: ...


class Judge:
    """Follows one run. ``session`` is the connection that the protocol hears."""

    def __init__(
        self,
        protocol: FeedProtocol,
        venue: VenueModel,
        harm: Harm,
        fault: Fault,
        outcome: Outcome,
        now: Callable[[], int],
    ) -> None:
        self.protocol = protocol
        self.venue = venue
        self.session: Session | None = None
        self.outcome = outcome
        self.told: list[Sides | None] = [None] * len(venue.books)
        self.also: list[Sides | None] = [None] * len(venue.books)
        """What an answer over HTTP told, until the stream tells more."""
        self.begin_ns, self.end_ns = T0 + WARM_NS, T0 + WARM_NS + fault.window_ns
        self._harm = harm
        self._now = now
        self._allowance = ALLOWANCES.get(fault.name, _NONE)
        self._edges: dict[int, tuple[int, int]] = {}
        self._down_ns: dict[int, int] = {}
        self._was_up = False
        self._live_since_ns: int | None = None
        self._odd_since_ns: dict[tuple[str, int], int] = {}
        self._asked_ns: dict[str, list[int]] = {}
        if isinstance(venue, BinanceModel):
            self._watch(venue)

    # --- what happens

    def took(self, outputs: Iterable[FeedOutput]) -> None:
        """Take what the protocol said to something, and judge the books it touched."""
        moved = set()
        for each in outputs:
            match each:
                case FeedStateChanged():
                    self._changed(each)
                    moved.add(each.instrument)
                case BookMoved() | TradePrint():
                    moved.add(each.instrument)
                case _:
                    pass
        self.judge(moved)

    def begin(self) -> None:
        """The fault begins: all must be well."""
        for feed in self.protocol.instruments:
            if feed.state is not FeedState.LIVE:
                self.find("not live before the fault", f"{feed.state.value}: {feed.reason}")

    def asked(self, what: str) -> None:
        """Count a request of the client."""
        self._asked_ns.setdefault(what, []).append(self._now())

    def is_over(self) -> bool:
        """Follow since when all is live; return whether the run may end."""
        now_ns = self._now()
        if self.outcome.wrong:
            return True
        for each in self.protocol.instruments:
            if each.state is not FeedState.LIVE:
                self._live_since_ns = None
                if now_ns > self.end_ns + RECOVERY_NS:
                    shown = [(one.state.value, one.reason) for one in self.protocol.instruments]
                    self.find("not live again", f"after {RECOVERY_NS // NS_PER_S} s: {shown}")
                    return True
                return False
        if self._live_since_ns is None:
            self._live_since_ns = now_ns
        if now_ns < max(self.end_ns, self._live_since_ns) + CALM_NS:
            return False
        self.outcome.recover_ns = max(0, self._live_since_ns - self.end_ns)
        return True

    def end(self) -> Outcome:
        """Take stock: request storms, and live books that are not the venue's own."""
        self._find_storms()
        self.outcome.harmed_ns = self._harm.harmed_ns
        self.outcome.n_unseen = sum(map(self._is_unseen, range(len(self.venue.books))))
        if self.venue.proves_loss and not self.outcome.wrong:
            for index, book in enumerate(self.venue.books):
                if self._claim(index) != book.version:
                    text = f"live at {self._claim(index)}, the venue's own is at {book.version}"
                    self.find("behind at the end", text)
        return self.outcome

    def closed(self) -> None:
        """The connection is gone and the protocol knows: nothing may be live."""
        for feed in self.protocol.instruments:
            if feed.state in BELIEVED:
                self.find("believed without a connection", feed.state.value)

    def find(self, kind: str, text: str) -> None:
        at = (self._now() - T0) / NS_PER_S
        self.outcome.wrong.append(f"{kind}: at {at:.2f} s {text}")

    # --- the judgement

    def judge(self, indices: Iterable[int]) -> None:
        for index in indices:
            feed = self.protocol.instruments[index]
            if feed.state not in BELIEVED:
                if feed.book.size() != (0, 0):
                    self.find("levels nobody believes", feed.state.value)
                self._lasts("touch", index, False, 0)
            elif feed.state is FeedState.SUSPECT:
                # Marked not live because something speaks against it: it may well be wrong.
                self._lasts("touch", index, False, 0)
            elif self._allowance.judges_touch_only:
                self._judge_touch(index)
            elif self.venue.proves_loss:
                self._judge_proved(index)
            else:
                self._judge_told(index)

    def _judge_proved(self, index: int) -> None:
        feed, book = self.protocol.instruments[index], self.venue.books[index]
        version = self._claim(index)
        truth = None if version is None else book.truth(version)
        self._lasts("strange id", index, truth is None, self._allowance.strange_id_ns)
        if truth is None or version is None:
            return
        low, high = self._edges.get(index, _NO_EDGE)
        for side in (BID, ASK):
            held, true = feed.book.levels(side), truth[side]
            if held == true:
                continue
            missing = [t for t in true.keys() - held.keys() if low <= t <= high]
            if missing or not all(map(eq, map(true.get, held), held.values())):
                want = {t: q for t, q in true.items() if t in held or t in missing}
                self.find("book", f"{feed.state} side {side} at {version}: {_diff(held, want)}")
        if feed.state is FeedState.LIVE:
            self._judge_touch(index)
            age_ns = self._now() - (book.ceased_ns(version) or self._now())
            if age_ns > OLD_NS:
                self.find("old", f"live book is {age_ns / NS_PER_S:.1f} s old")

    def _judge_touch(self, index: int) -> None:
        feed = self.protocol.instruments[index]
        version = self._claim(index)
        truth = None if version is None else self.venue.books[index].truth(version)
        if truth is None or feed.state is not FeedState.LIVE:
            return
        bid, ask = max(truth[BID]), min(truth[ASK])
        right = feed.book.touch()[:4] == (bid, truth[BID][bid], ask, truth[ASK][ask])
        self._lasts("touch", index, not right, self._allowance.touch_wrong_ns)

    def _judge_told(self, index: int) -> None:
        """Compare with what was told: that nothing of it is missing nobody can see."""
        feed, told = self.protocol.instruments[index], self.told[index]
        also = self.also[index]
        if also is not None and [feed.book.levels(side) for side in (BID, ASK)] == list(also):
            return
        if told is None:
            self.find("book", f"{feed.state} though what was told is known to be incomplete")
            return
        for side in (BID, ASK):
            held = feed.book.levels(side)
            if held != told[side]:
                self.find("book", f"{feed.state} side {side}: {_diff(held, told[side])}")

    def _is_unseen(self, index: int) -> bool:
        """Return whether a live book is not what its venue's book is, and nothing showed it."""
        feed, book = self.protocol.instruments[index], self.venue.books[index]
        if self.venue.proves_loss or feed.state is not FeedState.LIVE:
            return False
        held = [feed.book.levels(side) for side in (BID, ASK)]
        if self.venue.venue == "alpaca" and "/" not in self.venue.names[0]:
            return [list(each) for each in held] != [[book.best(side)] for side in (BID, ASK)]
        return held != list(book.sides)

    def _claim(self, index: int) -> int | None:
        """Return the version that the protocol says its book is at."""
        protocol: Any = self.protocol
        match self.venue.venue:
            case "binance":
                return int(protocol._symbols[index].chain.last_id)
            case "coinbase":
                assert self.session is not None
                return self.session.version_at(protocol._sequence, index)
            case _:
                assert self.session is not None
                return self.session.version_at(protocol._last_seq[index], index)

    def _watch(self, venue: BinanceModel) -> None:
        """Learn which of the snapshots served each book is made of: that is where it ends."""
        protocol: Any = self.protocol
        for index, symbol in enumerate(protocol._symbols):
            symbol.chain.build = self._learning(venue, index, symbol.chain.build)

    def _learning(self, venue: BinanceModel, index: int, build: Any) -> Any:
        def learn(snapshot: Any) -> None:
            self._edges[index] = venue.served[index].get(snapshot.last_id, _NO_EDGE)
            build(snapshot)

        return learn

    def _changed(self, change: FeedStateChanged) -> None:
        index, now_ns = change.instrument, self._now()
        if change.state is FeedState.LIVE:
            self._was_up = True
            if index in self._down_ns:
                self.outcome.outages_ns.append(now_ns - self._down_ns.pop(index))
        elif self._was_up and now_ns >= self.begin_ns:
            self._down_ns.setdefault(index, now_ns)
            is_harmless = self._harm.harmed_ns is None and self.outcome.fault in HARMLESS
            # The simulated venue's client takes every repeated number for a loss.
            if is_harmless and change.state not in BELIEVED and self.venue.venue != "sim":
                self.find("lost for nothing", f"{change.state.value}: {change.reason}")
            harmed_ns = self._harm.harmed_ns
            if harmed_ns is not None and self.outcome.detect_ns is None:
                self.outcome.detect_ns = now_ns - harmed_ns

    def _lasts(self, what: str, index: int, is_odd: bool, allowed_ns: int) -> None:
        if not is_odd:
            self._odd_since_ns.pop((what, index), None)
            return
        now_ns = self._now()
        since_ns = self._odd_since_ns.setdefault((what, index), now_ns)
        if now_ns - since_ns >= allowed_ns:
            self.find(what, f"wrong for {(now_ns - since_ns) / NS_PER_S:.1f} s while live")

    def _find_storms(self) -> None:
        for what, times in self._asked_ns.items():
            # A connection brings up to three subscriptions, a repair of two books four messages.
            allowed = REQUESTS_IN_10_S * (5 if what == "text" else 1)
            allowed = QUOTES_IN_10_S if "/quotes/latest" in what else allowed
            asked = np.array(times)
            until = np.searchsorted(asked, asked + 10 * NS_PER_S)
            most = int((until - np.arange(len(asked))).max())
            if most > allowed:
                self.find("storm", f"{most} times {what} in 10 s")


def _diff(held: dict[int, int], want: dict[int, int]) -> str:
    wrong = sorted(t for t in held.keys() | want.keys() if held.get(t) != want.get(t))
    shown = ", ".join(f"{t}: {held.get(t)} not {want.get(t)}" for t in wrong[:3])
    return f"{len(wrong)} levels, {shown}"
