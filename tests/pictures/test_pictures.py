"""Golden text pictures of the desk in five states, and of the feed sheet, at three sizes.

After a change that is meant to change them:
``UPDATE_PICTURES=1 python -m pytest tests/pictures`` and read the diff before it is committed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.cells import cell_len

from core.snapshot import Snapshot
from tests.core.sample import SNAPSHOT
from tests.tui import snapshots as made
from tests.tui.fakes import Rig, screen_text

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent
STATES = (made.normal, made.empty, made.stale, made.halted, made.near_exits)
SIZES = ((80, 24), (120, 40), (200, 60))


def hold_to_picture(name: str, text: str) -> None:
    """Compare with the golden file, or write it when UPDATE_PICTURES is set."""
    path = HERE / f"{name}.txt"
    kept = "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
    if os.environ.get("UPDATE_PICTURES"):
        path.write_text(kept, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == kept


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_the_feed_sheet_looks_as_it_did(size: tuple[int, int]) -> None:
    rig = Rig(SNAPSHOT)
    async with rig.app.run_test(size=size) as pilot:
        await pilot.pause()
        await rig.app.pull_once()
        await pilot.press("f")
        await pilot.pause()
        text = screen_text(rig.app)
    assert {cell_len(line) for line in text.splitlines()} == {size[0]}
    hold_to_picture(f"feeds_{size[0]}x{size[1]}", text)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("make", STATES, ids=lambda make: make.__name__)
async def test_the_desk_looks_as_it_did(
    make: Callable[[], Snapshot], size: tuple[int, int]
) -> None:
    rig = Rig(make())
    async with rig.app.run_test(size=size) as pilot:
        await pilot.pause()
        rig.wait(400)
        await rig.app.pull_once()
        await pilot.pause()
        text = screen_text(rig.app)
    lines = text.splitlines()
    assert len(lines) == size[1]
    assert {cell_len(line) for line in lines} == {size[0]}
    hold_to_picture(f"{make.__name__}_{size[0]}x{size[1]}", text)
