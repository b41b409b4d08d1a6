"""Fills that the engine could not count into lots: in the ledger all the same, found by verify."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from core.lots import FifoBook
from core.model.event import Filled
from core.state import StateDir
from ledger.rebuild import rebuild_tables
from ledger.rows import load_history
from ledger.verify import verify
from ledger.writer import LedgerWriter
from tests.ledger import factory


def uncounted_day() -> list[factory.Dated]:
    """Return the day of the factory, its fills not counted from the second one on."""
    events, seen = [], 0
    for dated in factory.day():
        event = dated.event
        if isinstance(event, Filled):
            seen += 1
            if seen > 1:
                event = msgspec.structs.replace(event, realized_pnl="NaN")
        events.append(dated._replace(event=event))
    return events


def test_a_ledger_that_could_count_after_all_has_the_lots_and_verifies(tmp_path: Path) -> None:
    factory.write(tmp_path, uncounted_day())
    assert verify(tmp_path).findings == ()
    assert [past.realized_pnl for past in load_history(tmp_path).fills][1:] == ["NaN", "NaN"]


def test_where_it_cannot_either_the_fills_are_durable_and_verify_names_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = uncounted_day()
    apply = FifoBook.apply

    def broken(self: FifoBook, *given: Any) -> Any:
        if given[0].fill_id.endswith("in-1"):
            return apply(self, *given)
        self.open_lots.clear()
        raise ArithmeticError("a lot without a price")

    monkeypatch.setattr(FifoBook, "apply", broken)
    factory.write(tmp_path, days)
    assert len(load_history(tmp_path).fills) == 3
    found = verify(tmp_path)
    assert "counting lots failed: ArithmeticError: a lot without a price" in found.findings[0].what
    LedgerWriter(tmp_path).close()  # and it opens again
    monkeypatch.undo()
    rebuild_tables(StateDir(tmp_path), 1)
    assert verify(tmp_path).findings == ()
