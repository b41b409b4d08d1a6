"""What a manifest holds can be read back exactly, and names what was before the run."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from core.config import PaperSettings, RiskSettings, RunSettings, Settings, StrategySettings
from core.errors import Failed
from ledger.checkpoint import parse_note, parse_text
from ledger.coverage import stored_notes
from ledger.envelope import unseal
from ledger.manifest import (
    note_input_file,
    noted_input_file,
    previous_checkpoint,
    settings_of,
    settings_tree,
)
from ledger.store import reading
from tests.ledger import factory

ODD = Settings(
    run=RunSettings(symbols=("BTC-USD", "ETH-USD")),
    strategy=StrategySettings(threshold=0.1 + 0.2, min_edge_bps=-1e-7, hold_s=12345.678901234567),
    risk=RiskSettings(max_order_notional=Decimal("2000.00")),
    paper=PaperSettings(),
)


def stored(settings: Settings, state: Path) -> dict[str, object]:
    """Return the settings as they come back from a ledger."""
    started = msgspec.structs.replace(factory.run_started(), settings=settings_tree(settings))
    factory.write(state, [factory.Dated(started, factory.START_NS)])
    with reading(state) as connection:
        (body,) = connection.execute("SELECT body FROM events").fetchone()
    event = unseal(body)[1]
    tree: dict[str, object] = msgspec.structs.asdict(event)["settings"]
    return tree


@pytest.mark.parametrize("settings", [Settings(), ODD])
def test_settings_come_back_from_a_ledger_bit_for_bit(settings: Settings, tmp_path: Path) -> None:
    again = settings_of(stored(settings, tmp_path))
    assert again == settings
    assert again.digest() == settings.digest()


def test_settings_of_another_program_are_refused_with_the_reason() -> None:
    tree = settings_tree(Settings())
    tree["risk"]["of_tomorrow"] = "1"
    with pytest.raises(Failed, match="of_tomorrow"):
        settings_of(tree)


def test_the_checkpoint_before_is_the_newest_one_without_its_key(tmp_path: Path) -> None:
    assert previous_checkpoint(tmp_path) == {}
    factory.write_day(tmp_path)
    with reading(tmp_path) as connection:
        newest = parse_text(parse_note(stored_notes(connection)[-1].note).text)
    assert previous_checkpoint(tmp_path) == {
        "size": str(newest.size), "root": newest.root.hex(),
    }  # fmt: skip


def test_where_the_input_was_is_a_note_that_may_be_missing_or_spoilt(tmp_path: Path) -> None:
    assert noted_input_file(tmp_path, "cafe") is None
    note_input_file(tmp_path, "cafe", tmp_path / "x.jsonl.gz")
    assert noted_input_file(tmp_path, "cafe") == tmp_path / "x.jsonl.gz"
    (tmp_path / "runs" / "cafe.json").write_text("[]")
    assert noted_input_file(tmp_path, "cafe") is None
