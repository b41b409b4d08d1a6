"""What the report is made of."""

from __future__ import annotations

import msgspec

from ledger.binder.gather import Gathering
from ledger.binder.models import ModelFacts
from ledger.binder.tables import Traded


class Cover(msgspec.Struct, frozen=True):
    """What the binder is about."""

    since: str
    until: str
    first: int
    last: int
    first_ts: str
    last_ts: str
    size: int
    """Events covered by the newest checkpoint."""
    root: str
    fingerprint: str
    verdict: str
    signed: str
    program: str

    @property
    def span(self) -> str:
        """The days of the first and the last event."""
        first, last = self.first_ts[:10], self.last_ts[:10]
        return first if first == last else f"{first} to {last}"


class Contents(msgspec.Struct):
    """Everything that the report is made of."""

    cover: Cover
    gathered: Gathering
    traded: Traded
    models: list[ModelFacts]
    tax: list[tuple[int, tuple[str, ...]]]
    """Year and what there is to say of it."""
    anchored: list[tuple[int, str]]
    """Seq of each ANCHORED, and what it proves."""
    files: list[tuple[str, int, str]]
    """Name, bytes, SHA-256 of the other files."""
