"""What the parts of one run share: identity, engine time, the halt, the ledger, the notices.

One task owns it; nothing in it waits or reads a clock.
"""

from __future__ import annotations

from collections import deque

from core import scopes
from core.border import Border
from core.clock import iso_ns
from core.errors import InvariantError, LedgerDown
from core.model.difference import Difference
from core.model.event import LedgerEvent
from core.ports import EventSink
from core.snapshot import Notice

NOTICES_KEPT = 50
DECISIONS_KEPT = 500
RUN_DIGITS = 16
"""Hex digits of the run in every id: 64 bits, and an order id stays below 36 characters."""


class RunContext:
    """Shared state of a run; see the module docstring."""

    def __init__(self, run_id: str, sink: EventSink, halted: str = "") -> None:
        self.run_id = run_id
        self.now_ns = 0
        """Engine time: of the last event, timer or report taken."""
        self.floor_ns = 0
        """No stamp is earlier: the ledger's time never goes back while a past is lived through."""
        self.halted = halted
        """Why no new risk may be taken; empty when it may."""
        self.halted_since_ns = 0
        self.halts: dict[str, str] = {}
        """Why single scopes are halted (``core.scopes``), besides ``halted``, which is for all."""
        self.unguarded = ""
        """Why no watchdog guards the run though one must; no new risk then. Empty while it may."""
        self.strategy_decisions: deque[str] = deque(maxlen=DECISIONS_KEPT)
        """Ids of what the strategy proposed, the newest: a halt of the strategy is about them."""
        self.pnl = Border("P&L")
        """Around all that counts profit: a failure there halts, and stands in no kill's way."""
        self.hold_back = ""
        """Why nothing is proposed for now, such as a past being lived through; empty if nothing."""
        self.differences: tuple[Difference, ...] = ()
        """Where the broker says other than we; while there is one, nothing new is traded."""
        self.ledger_failure = ""
        """Why the ledger takes nothing any more; empty while it does."""
        self.unwritten = 0
        """Events that a broken ledger did not take."""
        self.notices: deque[Notice] = deque(maxlen=NOTICES_KEPT)
        self._sink = sink
        self.newest_ids: dict[str, str] = {}
        """The newest id of each kind."""
        self._ids = 0
        self._notice_count = 0

    def new_id(self, kind: str) -> str:
        """Return a new id, unique over runs: the run's first digits, a letter, a number.

        Ids are text and nothing reads them apart: those of older ledgers have 8 digits.
        """
        self._ids += 1
        made = f"{self.run_id[:RUN_DIGITS]}-{kind}{self._ids}"
        self.newest_ids[kind] = made
        return made

    def why_closed(self, instrument: str, decision_id: str = "") -> str:
        """Return why no order for new risk may leave; empty when one may.

        ``decision_id``: of the order, where there is one; a halt of the strategy knows its own.
        """
        is_strategys = decision_id in self.strategy_decisions
        return (
            self.halted
            or self.halts.get(scopes.of_instrument(instrument), "")
            or (self.halts.get(scopes.STRATEGY, "") if is_strategys else "")
            or self.unguarded
        )

    def is_own_id(self, key: str) -> bool:
        """Tell whether this run made the id."""
        return key.startswith(f"{self.run_id[:RUN_DIGITS]}-")

    @property
    def stamp_ns(self) -> int:
        """Engine time as it goes to the ledger, the latch and the notices."""
        return max(self.now_ns, self.floor_ns)

    def move_to(self, now_ns: int) -> None:
        """Move engine time forward; an earlier time is ignored."""
        self.now_ns = max(self.now_ns, now_ns)

    def write(self, event: LedgerEvent, cause: int | None = None) -> int:
        """Append to the ledger as of engine time and return the sequence number.

        Errors: ``LedgerDown`` when the ledger is broken; then everything is halted.
        """
        try:
            return self._sink.append(event, self.stamp_ns, cause)
        except InvariantError as error:
            self.lose_ledger(str(error))
            raise LedgerDown(str(error)) from error

    def journal(self, event: LedgerEvent, cause: int | None = None) -> int:
        """Append what a broken ledger must not stop; return 0 for what could not be written."""
        try:
            return self.write(event, cause)
        except LedgerDown:
            self.unwritten += 1
            return 0

    def keep(self, data: bytes) -> str:
        """Keep a payload for the next event; return why the disk has no room for it, or nothing.

        A broken ledger loses it and halts the run.
        """
        try:
            return self._sink.keep(data)
        except InvariantError as error:
            self.lose_ledger(str(error))
            return ""

    def lose_ledger(self, why: str) -> None:
        """Halt: without a ledger nothing new may be traded."""
        if self.ledger_failure:
            return
        self.ledger_failure = why
        self.halted = self.halted or f"no ledger: {why}"
        self.halted_since_ns = self.halted_since_ns or self.stamp_ns
        self.notify("error", f"HALTED, the ledger cannot be written: {why}")

    def notify(self, severity: str, text: str) -> None:
        """Add a notice for the screen; ``info``, ``warning`` or ``error``."""
        self._notice_count += 1
        self.notices.append(Notice(self._notice_count, iso_ns(self.stamp_ns), severity, text))
