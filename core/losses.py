"""The watch on losses: the day's, the run's, the fall from its peak, and losses in a row.

Pure: it says when a limit is reached, the engine acts. What is realized counts at once; a mark
must stand ``LOOKS`` looks, for one bad quote is no loss. Money of two currencies is never added.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal

import msgspec

from core.account import Account, QuoteAccount
from core.clock import NS_PER_S
from core.config import RiskSettings
from core.model.instrument import plain
from core.model.order import Fill

LOOKS = 3
"""Looks at the marks, a second apart, that must all be over the limit."""
ZERO = Decimal(0)


class LossFacts(msgspec.Struct, frozen=True):
    """The losses in one quote currency as they stand; None where a mark is missing."""

    today: Decimal | None
    session: Decimal | None
    """Realized plus unrealized since the start of the run."""
    drawdown: Decimal | None
    """How far ``session`` lies below its peak."""
    in_a_row: int


NO_FACTS = LossFacts(None, None, None, 0)
"""What is known when the losses cannot be counted."""


class _Purse(msgspec.Struct):
    """What is remembered of one quote currency since the start of the run."""

    realized_start: Decimal
    open_start: Decimal | None
    """Open gain when the run started; None until a look has found all its positions marked."""
    carried_start: Decimal = ZERO
    """``QuoteAccount.carried`` of coins that were gone again when the run started."""
    realized_peak: Decimal = ZERO
    peak: Decimal = ZERO
    newest: deque[Decimal] = msgspec.field(default_factory=lambda: deque(maxlen=LOOKS))
    looks_over: dict[str, int] = {}
    in_a_row: int = 0
    row_over_ns: int = 0
    """When the pause after too many losses in a row is over, and the count starts anew."""


class LossWatch:
    """The losses of one run, by quote currency. Re-armed with a loss still there, it says so."""

    def __init__(self, account: Account, limits: RiskSettings) -> None:
        self._account = account
        self._limits = limits
        self._trips: dict[str, Decimal] = {}
        """Realized by the round trip on its way, by instrument."""
        self._purses = {
            quote: _Purse(
                money.realized,
                None if _holds(money) else ZERO,
                ZERO if _holds_moved(money) else money.carried,
            )
            for quote, money in account.by_quote.items()
        }

    def facts(self, money: QuoteAccount, now_ns: int) -> LossFacts:
        """Return how the losses stand at the marks of this moment."""
        purse = self._purses[money.quote]
        session = self._session(purse, money)
        self._end_pause(purse, now_ns)
        return LossFacts(
            today=money.today(now_ns),
            session=session,
            drawdown=None if session is None else max(ZERO, purse.peak - session),
            in_a_row=purse.in_a_row,
        )

    def _session(self, purse: _Purse, money: QuoteAccount) -> Decimal | None:
        gain = money.open_gain()
        if gain is None or purse.open_start is None:
            return None
        return money.realized - purse.realized_start + gain - purse.open_start

    def note_fill(self, fill: Fill, realized: Decimal, now_ns: int) -> str:
        """Take what a fill realized; return what the trader must know, or nothing.

        A round trip that ends is a gain or a loss; one that earned exactly nothing is a gain.
        """
        name = fill.instrument
        trip = self._trips.get(name, ZERO) + realized
        self._trips[name] = trip
        if self._account.position(name):
            return ""
        del self._trips[name]
        purse = self._purses[self._account.of(name).quote]
        self._end_pause(purse, now_ns)
        if trip >= 0:
            purse.in_a_row = purse.row_over_ns = 0
            return ""
        purse.in_a_row += 1
        if purse.in_a_row == self._limits.max_consecutive_losses:
            purse.row_over_ns = now_ns + int(self._limits.loss_pause_s * NS_PER_S)
            return (
                f"{purse.in_a_row} round trips in a row lost: "
                f"no entry for {self._limits.loss_pause_s:g} s"
            )
        return ""

    def _end_pause(self, purse: _Purse, now_ns: int) -> None:
        if purse.row_over_ns and now_ns >= purse.row_over_ns:
            purse.in_a_row = purse.row_over_ns = 0

    def realized_reached(self, money: QuoteAccount, now_ns: int) -> str:
        """Return why trading must stop by what is realized alone, or nothing; after each fill."""
        purse, limits = self._purses[money.quote], self._limits
        realized = money.realized - purse.realized_start
        purse.realized_peak = max(purse.realized_peak, realized)
        # A loss that was open when the run started is not lost by it, if closed at the same price;
        # neither is one that came with coins from another wallet.
        moved = money.carried - purse.carried_start
        carried = min((purse.open_start or ZERO) + moved, ZERO)
        session, fallen = realized - carried, purse.realized_peak - realized + carried
        today = money.realized_today(now_ns) - min(moved, ZERO)
        reached = (
            (today <= -limits.max_daily_loss, "daily loss", today, -limits.max_daily_loss),
            (session <= -limits.max_session_loss, "session loss", session,
             -limits.max_session_loss),
            (fallen >= limits.max_drawdown, "drawdown", fallen, limits.max_drawdown),
        )  # fmt: skip
        return _first(reached, money.quote)

    def look(self, money: QuoteAccount, now_ns: int) -> str:
        """Return why trading must stop, or nothing; once a second."""
        purse, limits = self._purses[money.quote], self._limits
        if purse.open_start is None:
            purse.open_start = money.open_gain()
        facts = self.facts(money, now_ns)
        today, session, fallen = facts.today, facts.session, facts.drawdown
        reached = tuple(
            (self._stands(purse, what, is_over=value is not None and is_over), what, value, limit)
            for is_over, what, value, limit in (
                (today is not None and today <= -limits.max_daily_loss,
                 "daily loss", today, -limits.max_daily_loss),
                (session is not None and session <= -limits.max_session_loss,
                 "session loss", session, -limits.max_session_loss),
                (fallen is not None and fallen >= limits.max_drawdown,
                 "drawdown", fallen, limits.max_drawdown),
            )
        )  # fmt: skip
        if session is not None:
            # One good quote is no peak either: only what stood for as many looks.
            purse.newest.append(session)
            if len(purse.newest) == LOOKS:
                purse.peak = max(purse.peak, min(purse.newest))
        return self.realized_reached(money, now_ns) or _first(reached, money.quote)

    def _stands(self, purse: _Purse, what: str, *, is_over: bool) -> bool:
        looks = purse.looks_over.get(what, 0) + 1 if is_over else 0
        purse.looks_over[what] = looks
        return looks >= LOOKS


def _holds(money: QuoteAccount) -> bool:
    return any(book.position_lots for book in money.books.values())


def _holds_moved(money: QuoteAccount) -> bool:
    return any(lot.is_moved for book in money.books.values() for lot in book.open_lots)


_Reached = tuple[tuple[bool, str, Decimal | None, Decimal], ...]


def _first(reached: _Reached, quote: str) -> str:
    for applies, what, value, limit in reached:
        if applies:
            assert value is not None
            return f"{what} {plain(value)} {quote} reached its limit {plain(limit)}"
    return ""
