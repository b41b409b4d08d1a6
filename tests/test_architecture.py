"""Every function that the architecture page names exists."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "architecture.md").read_text("utf-8")
NAMES = sorted(
    set(re.findall(r"`((?:core|agents|ledger|tui|cli)(?:\.\w+)+)`", PAGE)) - {"tui.present"}
)


@pytest.mark.parametrize("name", NAMES)
def test_a_function_named_in_the_architecture_exists(name: str) -> None:
    parts = name.split(".")
    for size in range(len(parts) - 1, 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:size]))
        except ModuleNotFoundError:
            continue
        for part in parts[size:]:
            found = getattr(found, part)
        assert callable(found)
        return
    raise AssertionError(f"{name}: no module of that name")


def test_the_page_names_functions() -> None:
    assert len(NAMES) > 20
