"""The app under a pilot: keys in, commands out, in every state of the screen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from core.config import ScreenSettings
from core.control import Ack, Confirm, KillAll, Rearm, Reject, SetMode, Stop
from core.latch import KillLatch
from core.model.decision import Mode
from core.snapshot import Snapshot
from tests.tui import snapshots as made
from tests.tui.fakes import Rig, screen_text
from tui.screens.help import HelpScreen
from tui.screens.leave import LeaveScreen
from tui.screens.rearm import RearmScreen

pytestmark = pytest.mark.slow


async def settle(rig: Rig, pilot: Pilot[int], ms: int = 400) -> None:
    """Let the clock move and one frame be drawn."""
    await pilot.pause()
    rig.wait(ms)
    await rig.app.pull_once()
    await pilot.pause()


async def press(pilot: Pilot[int], *keys: str) -> None:
    await pilot.press(*keys)
    await pilot.pause()


async def test_y_confirms_the_proposal_and_shows_the_answer() -> None:
    rig = Rig(made.normal())
    rig.source.ack = Ack(ok=True, text="order tw-1-8 sent")
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        await press(pilot, "y")
        assert rig.source.sent == [Confirm("d-000042")]
        assert "confirm: order tw-1-8 sent" in screen_text(rig.app)


async def test_y_within_the_guard_sends_nothing_and_says_so() -> None:
    rig = Rig(made.normal())
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        await press(pilot, "y")
        assert rig.source.sent == []
        assert "nothing sent: this proposal had just appeared" in screen_text(rig.app)


async def test_n_rejects() -> None:
    rig = Rig(made.normal())
    async with rig.app.run_test(size=(80, 24)) as pilot:
        await settle(rig, pilot)
        await press(pilot, "n")
        assert [type(command) for command in rig.source.sent] == [Reject]


async def test_a_refused_command_is_an_error_on_the_screen() -> None:
    rig = Rig(made.normal())
    rig.source.ack = Ack(ok=False, text="limit max_position_notional")
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        await press(pilot, "y")
        assert "confirm: refused: limit max_position_notional" in screen_text(rig.app)


async def test_k_kills_the_trade_of_the_selected_instrument() -> None:
    rig = Rig(made.normal())
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        await press(pilot, "2", "k")
        assert [command.instrument for command in rig.source.sent] == ["ALT-USD"]  # type: ignore[union-attr]


async def test_k_kills_the_focused_row() -> None:
    other = made.position(instrument="ALT-USD")
    rig = Rig(made.normal(positions=(made.position(), other)))
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        while rig.app.state.focus != "positions":
            await press(pilot, "tab")
        await press(pilot, "down", "k")
        assert [command.instrument for command in rig.source.sent] == ["ALT-USD"]  # type: ignore[union-attr]


async def plain(rig: Rig, pilot: Pilot[int]) -> None:
    del rig, pilot


async def help_sheet(rig: Rig, pilot: Pilot[int]) -> None:
    await press(pilot, "question_mark")
    assert isinstance(rig.app.screen, HelpScreen)


async def rearm_input(rig: Rig, pilot: Pilot[int]) -> None:
    await press(pilot, "r", "a", "b")
    assert isinstance(rig.app.screen, RearmScreen)
    assert isinstance(rig.app.focused, Input)


async def palette(rig: Rig, pilot: Pilot[int]) -> None:
    await press(pilot, "ctrl+p")
    assert rig.app.screen is not rig.app.desk


async def leave_sheet(rig: Rig, pilot: Pilot[int]) -> None:
    await press(pilot, "ctrl+q")
    assert isinstance(rig.app.screen, LeaveScreen)


async def mode_sheet(rig: Rig, pilot: Pilot[int]) -> None:
    await press(pilot, "m")
    assert rig.app.screen is not rig.app.desk


async def paused(rig: Rig, pilot: Pilot[int]) -> None:
    await press(pilot, "space")
    assert rig.app.state.paused


async def fills_focused(rig: Rig, pilot: Pilot[int]) -> None:
    while rig.app.state.focus != "fills":
        await press(pilot, "tab")
    await press(pilot, "enter")


def halted_with_position() -> Snapshot:
    """Return a state in which every sheet can be opened."""
    return made.normal(risk=made.halted().risk)


@pytest.mark.parametrize(
    "reach",
    [plain, help_sheet, rearm_input, palette, leave_sheet, mode_sheet, paused, fills_focused],
    ids=lambda reach: reach.__name__,
)
async def test_f12_kills_from_every_state(reach: Callable[[Rig, Pilot[int]], object]) -> None:
    rig = Rig(halted_with_position(), owns_engine=True)
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        await reach(rig, pilot)  # type: ignore[misc]
        await press(pilot, "f12")
        assert rig.source.sent == [KillAll()]


async def test_f12_kills_on_a_screen_that_is_too_small_and_without_any_picture() -> None:
    rig = Rig(None)
    async with rig.app.run_test(size=(40, 10)) as pilot:
        await pilot.pause()
        await press(pilot, "f12")
        assert rig.source.kinds() == ["KillAll"]


async def test_f12_goes_out_while_another_command_hangs() -> None:
    rig = Rig(made.normal())
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        rig.source.hold = asyncio.Event()
        await press(pilot, "y")
        await press(pilot, "f12")
        assert rig.source.kinds() == ["Confirm", "KillAll"]
        rig.source.hold.set()
        await pilot.pause()


async def test_a_kill_that_did_not_arrive_stays_in_the_banner() -> None:
    rig = Rig(made.normal())
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        rig.source.lost = "the engine is gone"
        await press(pilot, "f12")
        await settle(rig, pilot, 60_000)
        assert "KILL ALL: NOT DONE: the engine is gone" in screen_text(rig.app)
        rig.source.lost = ""
        await press(pilot, "f12")
        await settle(rig, pilot)
        assert "NOT DONE" not in screen_text(rig.app)


async def test_a_kill_that_no_engine_takes_is_latched_for_the_next_start(tmp_path: Path) -> None:
    latch = KillLatch(tmp_path)
    rig = Rig(made.normal(), latch=latch)
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        await press(pilot, "f12")
        assert not latch.read().is_halted
        rig.source.lost = "the engine is gone"
        await press(pilot, "f12")
        assert "KILL ALL: NOT DONE, only latched: the engine is gone" in screen_text(rig.app)
    assert latch.read().reason == "F12"


async def test_a_kill_that_cannot_be_latched_either_says_so(tmp_path: Path) -> None:
    rig = Rig(made.normal(), latch=KillLatch(tmp_path / "missing"))
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        rig.source.lost = "the engine is gone"
        await press(pilot, "f12")
        assert "KILL ALL: NOT DONE, NOT latched: the engine is gone" in screen_text(rig.app)


async def test_leaving_a_lost_engine_promises_nothing_of_it() -> None:
    rig = Rig(made.normal(), owns_engine=True)
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        rig.source.lost = "the engine is gone"
        await settle(rig, pilot)
        await press(pilot, "ctrl+q")
        words = screen_text(rig.app)
        assert "The engine does not answer. Open when it last did:" in words
        assert "SIM-USD: cancel 1 order, sell 9.987 to flat" in words
        assert "F12 closes" not in words


async def test_a_lost_engine_is_shown_with_its_age_and_never_crashes() -> None:
    rig = Rig(made.normal())
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        rig.source.lost = "the engine is gone"
        await settle(rig, pilot, 3_200)
        words = screen_text(rig.app)
        assert "ENGINE LOST 3.2 s: the engine is gone" in words
        assert words.count("ENGINE LOST 3.2 s") >= 5
        rig.source.lost = ""
        await settle(rig, pilot)
        assert "ENGINE LOST" not in screen_text(rig.app)


async def test_pause_freezes_the_panes_and_the_halt_still_shows() -> None:
    rig = Rig(made.normal())
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        await press(pilot, "space")
        rig.source.snapshot = made.halted()
        await settle(rig, pilot)
        words = screen_text(rig.app)
        assert "PAUSED" in words
        assert "HALTED since 14:13:17" in words
        assert "ENTER LONG" in words
        await press(pilot, "space")
        await settle(rig, pilot)
        assert "ENTER LONG" not in screen_text(rig.app)


async def test_rearm_needs_a_reason_and_sends_it() -> None:
    rig = Rig(made.halted())
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        await press(pilot, "r", "enter")
        assert isinstance(rig.app.screen, RearmScreen)
        assert rig.source.sent == []
        await press(pilot, *"checked", "enter")
        assert rig.source.sent == [Rearm("checked")]
        assert rig.app.screen is rig.app.desk


async def test_rearm_when_nothing_is_halted_says_so() -> None:
    rig = Rig(made.normal())
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        await press(pilot, "r")
        assert rig.app.screen is rig.app.desk
        assert "trading is not halted" in screen_text(rig.app)


async def test_letters_typed_as_a_reason_trade_nothing() -> None:
    rig = Rig(made.normal(risk=made.halted().risk))
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        await press(pilot, "r", *"yknmc1", "escape")
        assert rig.source.sent == []
        assert rig.app.screen is rig.app.desk


async def test_mode_is_chosen_by_letter_and_esc_keeps_it() -> None:
    rig = Rig(made.normal())
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        await press(pilot, "m", "escape")
        assert rig.source.sent == []
        await press(pilot, "m", "o")
        assert rig.source.sent == [SetMode(Mode.OBSERVE)]


async def test_ctrl_c_says_how_to_leave_and_does_nothing() -> None:
    rig = Rig(made.normal())
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        await press(pilot, "ctrl+c")
        assert "ctrl+q leaves" in screen_text(rig.app)
        assert rig.app.is_running
    assert rig.source.sent == []


async def test_an_attached_screen_just_leaves() -> None:
    rig = Rig(made.normal())
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        await press(pilot, "ctrl+q")
    assert rig.source.sent == []
    assert rig.app.return_value == 0


async def test_the_owner_asks_while_something_is_open_and_then_stops_the_engine() -> None:
    rig = Rig(made.normal(), owns_engine=True)
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        await press(pilot, "ctrl+q")
        assert "SIM-USD: cancel 1 order, sell 9.987 to flat" in screen_text(rig.app)
        await press(pilot, "n")
        assert rig.source.sent == []
        await press(pilot, "ctrl+q", "y")
        await pilot.pause()
    assert [type(command) for command in rig.source.sent] == [Stop]
    assert rig.app.return_value == 0


async def test_the_owner_of_a_flat_engine_leaves_without_a_question() -> None:
    rig = Rig(made.halted(), owns_engine=True)
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        await press(pilot, "ctrl+q")
        await pilot.pause()
    assert [type(command) for command in rig.source.sent] == [Stop]


async def test_leaving_reports_an_engine_that_could_not_be_stopped() -> None:
    rig = Rig(made.halted(), owns_engine=True)
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        rig.source.lost = "no answer in time"
        await press(pilot, "ctrl+q")
        await pilot.pause()
    assert rig.app.return_value == 1


async def test_a_fill_is_shown_with_its_whole_rationale() -> None:
    rig = Rig(made.normal())
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        await fills_focused(rig, pilot)
        words = " ".join(screen_text(rig.app).split())
        assert "ledger seq 20" in words
        assert "risk allowed 1 of 5 orders" in words


async def test_hostile_text_reaches_neither_sheets_nor_toasts_as_markup() -> None:
    evil = "[red]\x1b[31mboo[/red]\u202e"
    rig = Rig(made.normal(fills=(made.fill(1, rationale=evil),)))
    rig.source.ack = Ack(ok=False, text=evil)
    async with rig.app.run_test(size=(120, 40), notifications=True) as pilot:
        await settle(rig, pilot)
        await press(pilot, "y")
        await fills_focused(rig, pilot)
        words = screen_text(rig.app)
        assert "[red]" in words
        assert "\x1b" not in words
        assert "\u202e" not in words


async def test_too_small_a_terminal_says_what_it_needs() -> None:
    rig = Rig(made.normal())
    async with rig.app.run_test(size=(60, 20)) as pilot:
        await settle(rig, pilot)
        words = screen_text(rig.app)
        assert "needs 80×24" in words
        assert "LADDER" not in words


async def test_a_storm_of_resizes_leaves_exact_lines() -> None:
    rig = Rig(made.normal())
    async with rig.app.run_test(size=(80, 24)) as pilot:
        await settle(rig, pilot)
        for size in ((200, 60), (79, 23), (120, 40), (81, 25), (300, 90), (20, 5), (119, 36)):
            await pilot.resize_terminal(*size)
            await settle(rig, pilot)
            lines = screen_text(rig.app).splitlines()
            assert len(lines) == size[1]
        await pilot.resize_terminal(120, 40)
        await settle(rig, pilot)
        assert "LADDER SIM-USD" in screen_text(rig.app)


async def test_an_unchanged_snapshot_is_not_drawn_again() -> None:
    rig = Rig(made.normal())
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        drawn: list[object] = []
        rig.app.desk.show_panes = drawn.append  # type: ignore[method-assign]
        rig.source.pulls -= 1
        await rig.app.pull_once()
        assert drawn == []
        await rig.app.pull_once()
        assert len(drawn) == 1


@pytest.mark.parametrize("snapshot", [made.normal(), made.empty(), made.halted()])
async def test_ascii_glyphs_draw_only_ascii(snapshot: Snapshot) -> None:
    rig = Rig(snapshot, settings=ScreenSettings(hz=1, glyphs="ascii"))
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        assert screen_text(rig.app).isascii()


async def test_the_palette_offers_the_registry_s_actions() -> None:
    rig = Rig(made.normal())
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        titles = [command.title for command in rig.app.get_system_commands(rig.app.screen)]
        assert "KILL ALL (F12)" in titles
        assert not any("theme" in title.lower() for title in titles)


async def test_no_color_keeps_direction_and_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    rig = Rig(made.halted())
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        assert rig.app.no_color
        words = screen_text(rig.app)
        assert "■ HALTED" in words
        assert "▲" in words


async def test_leaving_twice_leaves_even_while_the_engine_is_silent() -> None:
    rig = Rig(made.halted(), owns_engine=True)
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        rig.source.hold = asyncio.Event()
        await press(pilot, "ctrl+q")
        assert rig.app.is_running
        await press(pilot, "ctrl+q")
    assert rig.app.return_value == 1
    assert rig.source.closed
