"""Attached exits: the stop, the target and the time stop that live with a position."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class ExitKind(StrEnum):
    STOP = "stop"
    """Protective: the price has gone against the position."""
    TARGET = "target"
    """Take-profit: the price has gone far enough for it."""
    TIME = "time"
    """The position has been held for long enough."""


class Exits(msgspec.Struct, frozen=True):
    """The exits of one position. They are all of its size, whatever that is when one acts."""

    sign: int
    """1 for a long position, -1 for a short one."""
    stop_ticks: int | None = None
    """None: off."""
    target_ticks: int | None = None
    """None: off."""
    due_ns: int | None = None
    """Engine time at which the position is closed; None: off."""
    by_hand: tuple[ExitKind, ...] = ()
    """What the trader has set: an entry that is added does not move it."""

    @property
    def is_empty(self) -> bool:
        """True if nothing protects the position."""
        return self.stop_ticks is None and self.target_ticks is None and self.due_ns is None


class Touch(msgspec.Struct, frozen=True):
    """An exit that is due, and what shows it."""

    kind: ExitKind
    level: str
    """Price of the stop or the target; of a time stop the seconds it allows."""
    seen: str
    """The price that touched it; of a time stop the seconds held."""
    words: str
    """The same as a sentence for ledger and screen."""
