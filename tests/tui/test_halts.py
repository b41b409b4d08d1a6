"""The keys that halt one instrument or the strategy, and the re-arm that opens each again."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from core.control import Kill, Rearm
from core.latch import KillLatch
from core.snapshot import Snapshot
from tests.tui import snapshots as made
from tests.tui.fakes import Rig, screen_text
from tests.tui.test_app import press, settle
from tui.screens.rearm import RearmScreen

pytestmark = pytest.mark.slow


def halted(**halts: str) -> Snapshot:
    normal = made.normal()
    named = {key.replace("__", ":").replace("_", "-"): why for key, why in halts.items()}
    return made.normal(risk=msgspec.structs.replace(normal.risk, halts=named, blocked="halted"))


async def test_shift_k_halts_the_selected_instrument_and_shift_s_the_strategy() -> None:
    rig = Rig(made.normal())
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        await press(pilot, "2", "K")
        await press(pilot, "S")
        assert rig.source.sent == [
            Kill("instrument:ALT-USD", "key K"),
            Kill("strategy", "key S"),
        ]


async def test_a_halt_that_no_engine_takes_is_latched_in_its_scope(tmp_path: Path) -> None:
    latch = KillLatch(tmp_path)
    rig = Rig(made.normal(), latch=latch)
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        rig.source.lost = "the engine is gone"
        await press(pilot, "K")
        assert "halt instrument: NOT DONE, only latched: the engine is gone" in screen_text(rig.app)
    assert not latch.read().is_halted
    assert latch.of("instrument:SIM-USD").read().flattens


@pytest.mark.parametrize(
    ("snapshot", "scope", "shown"),
    [
        (halted(instrument__SIM_USD="odd prints", strategy="x"), "instrument:SIM-USD", "SIM-USD"),
        (halted(instrument__ALT_USD="odd prints"), "instrument:ALT-USD", "ALT-USD"),
        (halted(strategy="out of its depth"), "strategy", "the strategy"),
    ],
)
async def test_rearm_is_about_the_selected_instrument_else_about_what_is_halted(
    snapshot: Snapshot, scope: str, shown: str
) -> None:
    rig = Rig(snapshot)
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        await press(pilot, "r")
        assert isinstance(rig.app.screen, RearmScreen)
        assert f"Halted: {shown}" in screen_text(rig.app)
        await press(pilot, *"checked", "enter")
        assert rig.source.sent == [Rearm("checked", scope=scope)]


async def test_a_halt_of_everything_is_rearmed_first() -> None:
    both = made.halted()
    both = msgspec.structs.replace(
        both, risk=msgspec.structs.replace(both.risk, halts={"strategy": "x"})
    )
    rig = Rig(both)
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        await press(pilot, "r", *"checked", "enter")
        assert rig.source.sent == [Rearm("checked")]


async def test_profit_that_is_not_known_is_shown_as_that() -> None:
    normal = made.normal()
    pnl = msgspec.structs.replace(
        normal.pnl, realized="NaN", fees="NaN", total=None, unrealized=None, today=None, curve=()
    )
    held = tuple(
        msgspec.structs.replace(each, average_price="NaN", realized="NaN", mark=None,
                                unrealized=None)
        for each in normal.positions
    )  # fmt: skip
    rig = Rig(msgspec.structs.replace(normal, pnl=pnl, positions=held))
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        assert "NaN" in screen_text(rig.app)
