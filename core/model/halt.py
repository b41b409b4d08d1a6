"""What a start found on the disk about kills: halts, requests to re-arm. See ``core.scopes``."""

from __future__ import annotations

import msgspec


class PastHalt(msgspec.Struct, frozen=True):
    """A latch that a start found."""

    scope: str
    """``all``, ``strategy`` or ``instrument:NAME``."""
    reason: str
    actor: str = ""
    flattens: bool = False
    """The kill was to close positions; False too where the latch cannot be read."""
    is_readable: bool = True


class RearmAsked(msgspec.Struct, frozen=True):
    """A request to re-arm, made while no engine ran."""

    scope: str
    reason: str
    actor: str
