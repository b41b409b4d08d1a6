from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tui.actions import ACTIONS, ActionSpec, bindings, help_rows, key_table, refuse_duplicates
from tui.app import TapewrightApp
from tui.screens.desk import DeskScreen
from tui.screens.help import help_lines

DOCS = Path(__file__).resolve().parents[2] / "docs" / "screen.md"


@pytest.mark.parametrize("spec", ACTIONS, ids=lambda spec: spec.name)
def test_every_action_has_help_and_a_method(spec: ActionSpec) -> None:
    assert spec.help.endswith(".")
    assert spec.label
    place = TapewrightApp if spec.where == "everywhere" else DeskScreen
    assert callable(getattr(place, f"action_{spec.name.split('(')[0]}"))


def test_every_binding_comes_from_the_registry() -> None:
    bound = {b.id for b in (*bindings("desk"), *bindings("everywhere"))}
    assert bound == {spec.name for spec in ACTIONS}
    assert {b.key for b in TapewrightApp.BINDINGS} == {"f12", "ctrl+q"}


def test_what_works_everywhere_has_priority_and_no_letter() -> None:
    for binding in bindings("everywhere"):
        assert binding.priority
        assert len(binding.key) > 1


def test_every_action_is_in_the_help_sheet() -> None:
    sheet = " ".join(" ".join(help_lines()).split())
    for _, key, text in help_rows():
        assert key in sheet
        assert text in sheet


def test_the_key_table_of_the_docs_is_the_registry() -> None:
    assert key_table() in DOCS.read_text(encoding="utf-8")


def test_a_key_with_two_meanings_is_refused() -> None:
    twin = msgspec.structs.replace(ACTIONS[0], name="other")
    with pytest.raises(ValueError, match="key y was bound to confirm and to other"):
        refuse_duplicates((*ACTIONS, twin))
