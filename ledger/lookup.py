"""Rare questions to the ledger from the engine: does it hold this fill, this order?

Asked about orders that the engine has forgotten, where a second count would be a wrong position.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from core.model.order import Fill, OrderStatus
from ledger.store import DB_NAME, reading


class Lookup:
    """Reads the tables of the ledger in ``state_dir`` over a connection of its own."""

    def __init__(self, state_dir: Path, venues: Mapping[str, str]) -> None:
        """``venues``: venue of each instrument of the run, by name."""
        self._state_dir = state_dir
        self._venues = venues

    def knows_fill(self, fill: Fill) -> bool:
        """Tell whether the ledger holds this fill, by venue, instrument and fill id."""
        sql = "SELECT 1 FROM fills WHERE venue = ? AND instrument = ? AND fill_id = ?"
        venue = self._venues[fill.instrument]
        return self._first(sql, venue, fill.instrument, fill.fill_id) is not None

    def past_status(self, client_order_id: str) -> OrderStatus | None:
        """Return the status in which the ledger has this order; None if it was never intended."""
        found = self._first("SELECT status FROM orders WHERE client_order_id = ?", client_order_id)
        return None if found is None else OrderStatus(found)

    def _first(self, sql: str, *values: str) -> str | None:
        if not (self._state_dir / DB_NAME).is_file():
            return None  # a run lived through again has no ledger of its own
        with reading(self._state_dir) as connection:
            row = connection.execute(sql, values).fetchone()
        return None if row is None else str(row[0])
