"""The scene: the snapshot plus what the trader is looking at. Input of every present function.

Frozen and complete: equal scenes draw equal pictures, so a pane is tested by value.
"""

from __future__ import annotations

import msgspec

from core.clock import NS_PER_MS, short_time
from core.model.market import FeedState
from core.snapshot import InstrumentView, Notice, ProposalView, Snapshot

PICTURE_STALE_MS = 2_000
"""A snapshot older than this is drawn grey: the engine makes one whenever it is asked."""
CONFIRM_GUARD_MS = 300
"""A proposal must have been on the screen this long before ``y`` or ``n`` counts."""


class Said(msgspec.Struct, frozen=True):
    """What the screen itself has to say: the answer to a command, a refused key."""

    severity: str
    """``info``, ``warning``, ``error``."""
    text: str
    sticks: bool = False
    """Stays until something newer is said; the rest goes after a few seconds."""


class Scene(msgspec.Struct, frozen=True):
    snapshot: Snapshot | None
    now_ns: int
    lost_ms: int | None = None
    """Since the last answer of the engine, while it does not answer; None when it does."""
    lost_reason: str = ""
    instrument: int = 0
    decision_id: str = ""
    """The proposal on show; empty when there is none."""
    is_armed: bool = False
    """The proposal on show has been there for ``CONFIRM_GUARD_MS``."""
    position_row: int = 0
    order_row: int = 0
    fill_row: int = 0
    focus: str = ""
    paused: bool = False
    hz: int = 10
    cost_ms: float = 0.0
    said: Said | None = None
    min_labels: int | None = None
    """Labels a skill needs, where the screen was told."""

    def view(self) -> InstrumentView | None:
        """Return the selected instrument; None while there is none."""
        if self.snapshot is None or not self.snapshot.instruments:
            return None
        return self.snapshot.instruments[min(self.instrument, len(self.snapshot.instruments) - 1)]

    def proposal(self) -> ProposalView | None:
        """Return the proposal on show, else None."""
        if self.snapshot is None:
            return None
        return next((p for p in self.snapshot.proposals if p.decision_id == self.decision_id), None)

    def age_ms(self) -> int:
        """Return the age of the snapshot; 0 without one or with the clocks out of step."""
        if self.snapshot is None:
            return 0
        return max(0, (self.now_ns - self.snapshot.made_ns) // NS_PER_MS)

    def doubt(self) -> str:
        """Return why the whole picture may not be believed; empty when it may."""
        if self.snapshot is None:
            return "NO ENGINE"
        if self.lost_ms is not None:
            return f"ENGINE LOST {short_time(self.lost_ms)}"
        if self.paused:
            return "PAUSED"
        if self.age_ms() > PICTURE_STALE_MS:
            return f"OLD {short_time(self.age_ms())}"
        return "FINISHED" if self.snapshot.finished else ""

    def market_doubt(self) -> str:
        """Return why the market panes may not be believed: the picture's doubt or the feed's."""
        view = self.view()
        doubt = self.doubt()
        if doubt or view is None or view.feed.state is FeedState.LIVE:
            return doubt
        age = "" if view.feed.age_ms is None else f" {short_time(view.feed.age_ms)}"
        return f"{view.feed.state.value.upper()}{age}"

    def newest_notice(self) -> Notice | None:
        """Return the engine's newest notice."""
        if self.snapshot is None or not self.snapshot.notices:
            return None
        return max(self.snapshot.notices, key=lambda notice: notice.number)
