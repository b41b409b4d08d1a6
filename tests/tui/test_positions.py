"""The keys on positions under a pilot: what is asked first, what is sent, what is refused."""

from __future__ import annotations

import msgspec
import pytest
from textual.widgets import Input

from core.control import (
    Ack,
    FlattenAll,
    KillAll,
    ReducePosition,
    ReversePosition,
    SetExit,
)
from core.model.exits import ExitKind
from tests.tui import snapshots as made
from tests.tui.fakes import Rig, screen_text
from tests.tui.test_app import press, settle
from tui.screens.confirm import ConfirmScreen
from tui.screens.exit import ExitScreen

pytestmark = pytest.mark.slow


async def test_s_asks_for_the_stop_and_sends_what_was_typed() -> None:
    rig = Rig(made.normal())
    rig.source.ack = Ack(ok=True, text="SIM-USD: stop 99.9, target 100.49, time 43 s left")
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        await press(pilot, "s")
        assert isinstance(rig.app.screen, ExitScreen)
        words = screen_text(rig.app)
        assert "SIM-USD LONG 9.987 @ 100.08, mark 100.125" in words
        assert "The stop is 99.79 (-32.9 bps)." in words
        assert rig.app.screen.query_one(Input).value == "99.79"
        await press(pilot, "9", "9", "full_stop", "9", "0", "enter")
        assert rig.source.sent == [SetExit("SIM-USD", ExitKind.STOP, "99.90")]
        assert "stop 99.9, target 100.49" in screen_text(rig.app)


async def test_t_cancels_the_target_by_a_word_and_esc_leaves_it() -> None:
    rig = Rig(made.normal())
    async with rig.app.run_test(size=(80, 24)) as pilot:
        await settle(rig, pilot)
        await press(pilot, "t", "escape")
        await press(pilot, "t", "enter")  # unchanged
        assert rig.source.sent == []
        await press(pilot, "t", "end", *["backspace"] * 6, *"off", "enter")
        assert rig.source.sent == [SetExit("SIM-USD", ExitKind.TARGET, "off")]


async def test_e_asks_for_the_time_stop_and_sends_the_seconds() -> None:
    rig = Rig(made.normal())
    async with rig.app.run_test(size=(80, 24)) as pilot:
        await settle(rig, pilot)
        await press(pilot, "e")
        words = screen_text(rig.app)
        assert "TIME STOP SIM-USD" in words
        assert "The time stop is due in 43 s." in words
        assert "seconds from now · off: cancel it · auto" in words
        assert rig.app.screen.query_one(Input).value == ""
        await press(pilot, "enter")  # nothing typed leaves it
        await press(pilot, "e", *"90", "enter")
        assert rig.source.sent == [SetExit("SIM-USD", ExitKind.TIME, "90")]


async def test_a_time_stop_that_is_off_is_said_to_be_off() -> None:
    exits = msgspec.structs.replace(made.EXITS, left_s=None)
    rig = Rig(made.normal(positions=(made.position(exits=exits),)))
    async with rig.app.run_test(size=(80, 24)) as pilot:
        await settle(rig, pilot)
        await press(pilot, "e")
        assert "The time stop is off." in screen_text(rig.app)


async def test_a_refused_stop_is_an_error_on_the_screen() -> None:
    rig = Rig(made.normal())
    rig.source.ack = Ack(ok=False, text="stop: price 99.999 was off the 0.01 tick")
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        await press(pilot, "s", "9", "enter")
        assert "refused: stop: price 99.999 was off the 0.01 tick" in screen_text(rig.app)


async def test_h_halves_the_position_that_was_drawn() -> None:
    rig = Rig(made.normal())
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        await press(pilot, "h")
        assert rig.source.sent == [ReducePosition("SIM-USD", 9987)]


async def test_v_shows_both_orders_and_sends_only_on_y() -> None:
    rig = Rig(made.normal())
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        await press(pilot, "v")
        assert isinstance(rig.app.screen, ConfirmScreen)
        assert "2. SELL up to 9.987 more, through the gate: SHORT" in screen_text(rig.app)
        await press(pilot, "n")
        await press(pilot, "v", "escape")
        assert rig.source.sent == []
        await press(pilot, "v", "y")
        assert rig.source.sent == [ReversePosition("SIM-USD", 9987)]


async def test_x_names_all_that_is_open_and_sends_only_on_y() -> None:
    rig = Rig(made.normal())
    async with rig.app.run_test(size=(80, 24)) as pilot:
        await settle(rig, pilot)
        await press(pilot, "x")
        words = screen_text(rig.app)
        assert "SIM-USD: cancel 1 order, sell 9.987 to flat" in words
        assert "in auto mode a new entry may follow" in words
        await press(pilot, "n")
        assert rig.source.sent == []
        await press(pilot, "x", "y")
        assert rig.source.sent == [FlattenAll()]


@pytest.mark.parametrize("key", ["s", "t", "e", "h", "v", "x"])
async def test_without_a_position_nothing_is_sent_and_that_is_said(key: str) -> None:
    rig = Rig(made.halted())
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        await press(pilot, key)
        assert rig.app.screen is rig.app.desk
        assert rig.source.sent == []
        assert "nothing sent" in screen_text(rig.app)


@pytest.mark.parametrize("key", ["s", "e", "h", "v"])
async def test_a_picture_in_doubt_moves_no_position(key: str) -> None:
    rig = Rig(made.normal())
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        await press(pilot, "space", key)
        assert rig.source.sent == []
        assert "the picture cannot be believed (PAUSED)" in screen_text(rig.app)


@pytest.mark.parametrize("key", ["s", "e", "v", "x"])
async def test_f12_kills_from_each_of_the_new_sheets(key: str) -> None:
    rig = Rig(made.normal())
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        await press(pilot, key)
        assert rig.app.screen is not rig.app.desk
        await press(pilot, "f12")
        assert rig.source.sent == [KillAll()]


async def test_letters_typed_as_a_stop_trade_nothing() -> None:
    rig = Rig(made.normal())
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        await press(pilot, "s", *"ynkhvxe", "escape")
        assert rig.source.sent == []
