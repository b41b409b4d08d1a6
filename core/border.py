"""A border that a failure in one part of the engine does not cross.

For work that trading can do without: what the profit is must never keep a cancel, a kill or a
closing order from leaving (hummingbot issue 2534: the switch fired, then crashed in its own profit
calculation, and orders went on). The first failure is kept, and nothing of the part is asked
again; the engine halts by it, so nobody trades without it either.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Border:
    """Around one part; see the module docstring."""

    def __init__(self, name: str) -> None:
        self.failure = ""
        """What broke, in one line; empty while nothing did."""
        self.trace = ""
        """The traceback of it."""
        self._name = name

    def fail(self, because_of: Border) -> None:
        """Fail as another part has, on which this one rests."""
        if not self.failure:
            self.failure, self.trace = because_of.failure, because_of.trace

    def ask(self, work: Callable[[], T], otherwise: T) -> T:
        """Return what ``work`` returns, or ``otherwise`` once anything in the part has failed."""
        if self.failure:
            return otherwise
        try:
            return work()
        except Exception as error:  # noqa: BLE001 (the border of the part: the engine halts by it)
            self.failure = f"{self._name} failed: {type(error).__name__}: {error}"
            self.trace = "".join(traceback.format_exception(error))
            return otherwise
