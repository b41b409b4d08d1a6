"""What a venue's socket counts, for the screen and the metrics."""

from __future__ import annotations

import msgspec


class FeedLink(msgspec.Struct):
    """Counts of one venue's connections; ``run_feed`` alone writes them."""

    is_connected: bool = False
    connects: int = 0
    """Connections made."""
    attempts: int = 0
    """Attempts in a row that failed or did not last."""
    next_attempt_ns: int | None = None
    """When the next attempt is made; None while connected."""
    last_error: str = ""
    fetches: int = 0
    fetch_failures: int = 0
    handovers: int = 0
    """Connections that took over from one that still delivered."""
    handovers_failed: int = 0
    """Connections opened to take over that were given up; the old one went on."""
