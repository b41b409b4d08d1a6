"""The fill sheet: shows at once what the screen has, then what the ledger tells."""

from __future__ import annotations

import threading

from textual.pilot import Pilot

from core.errors import UserError
from tests.tui import snapshots as made
from tests.tui.fakes import Rig, screen_text
from tests.tui.test_app import fills_focused, settle
from tui.screens.fill import wrapped


async def story_read(rig: Rig, pilot: Pilot[int]) -> None:
    for worker in [worker for worker in rig.app.workers if worker.group == "story"]:
        await worker.wait()
    await pilot.pause()


async def test_fill_tells_its_story_from_the_ledger() -> None:
    asked: list[int] = []

    def tell(seq: int) -> list[str]:
        asked.append(seq)
        return ["In short: bought, sold, a loss.", "  Limit max_spread_bps: 0.002 of 100, passed"]

    rig = Rig(made.normal())
    rig.app._tell_story = tell
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        await fills_focused(rig, pilot)
        await story_read(rig, pilot)
        text = screen_text(rig.app)
        assert asked == [20]
        assert "risk allowed 1 of 5 orders" in " ".join(text.split())
        assert "In short: bought, sold, a loss." in text
        assert "Limit max_spread_bps: 0.002 of 100, passed" in text


async def test_screen_goes_on_while_the_ledger_is_read_and_says_why_it_tells_nothing() -> None:
    gate = threading.Event()

    def tell(seq: int) -> list[str]:
        gate.wait(10)
        raise UserError(f"no ledger: seq {seq}")

    rig = Rig(made.normal())
    rig.app._tell_story = tell
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        await fills_focused(rig, pilot)
        assert "reading the ledger ..." in screen_text(rig.app)
        gate.set()
        await story_read(rig, pilot)
        assert "The ledger does not tell more: no ledger: seq 20" in screen_text(rig.app)


async def test_sheet_closed_while_the_ledger_is_read_leaves_nothing_behind() -> None:
    gate = threading.Event()

    def tell(seq: int) -> list[str]:
        gate.wait(10)
        return ["too late"]

    rig = Rig(made.normal())
    rig.app._tell_story = tell
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        await fills_focused(rig, pilot)
        await pilot.press("escape")
        await pilot.pause()
        gate.set()
        await pilot.pause()
        assert "too late" not in screen_text(rig.app)


def test_long_lines_of_a_story_are_cut_and_stay_as_far_in_as_they_were() -> None:
    lines = wrapped(["  " + "word " * 30, "", "short"])
    assert all(len(line) <= 68 for line in lines)
    assert lines[0].startswith("  word")
    assert lines[1].startswith("    word")
    assert lines[-2:] == ["", "short"]
