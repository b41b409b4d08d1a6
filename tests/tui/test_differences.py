"""Key d: where the broker says other than we, and the trader's typed word about it."""

from __future__ import annotations

import msgspec

from core.control import ResolveDifference
from core.model.difference import Remedy
from core.snapshot import DifferenceView, Snapshot
from tests.tui import snapshots as made
from tests.tui.fakes import Rig, screen_text
from tests.tui.test_app import press, settle
from tui.screens.difference import DifferenceScreen

VIEW = DifferenceView(
    "BTC-USD", "position BTC-USD: we say 0, the broker says 0.3 (adopt)", ("adopt",)
)


def differing(*views: DifferenceView) -> Snapshot:
    snapshot = made.normal()
    risk = msgspec.structs.replace(
        snapshot.risk, differences=views, blocked="; ".join(each.text for each in views)
    )
    return msgspec.structs.replace(snapshot, risk=risk)


async def test_a_difference_stands_on_the_screen_and_is_resolved_with_a_reason() -> None:
    rig = Rig(differing(VIEW))
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        assert "no new orders: position BTC-USD" in screen_text(rig.app)
        await press(pilot, "d")
        assert isinstance(rig.app.screen, DifferenceScreen)
        assert "the broker says 0.3" in screen_text(rig.app)
        await press(pilot, *"adopt", "enter")
        assert rig.source.sent == []
        await press(pilot, "space", *"web", "enter")
        assert rig.source.sent == [ResolveDifference("BTC-USD", Remedy.ADOPT, "web")]


async def test_another_word_than_a_remedy_sends_nothing_and_escape_leaves_it() -> None:
    rig = Rig(differing(VIEW))
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        await press(pilot, "d", *"keep", "space", *"because", "enter")
        assert isinstance(rig.app.screen, DifferenceScreen)
        await press(pilot, "escape")
        assert rig.app.screen is rig.app.desk
        assert rig.source.sent == []


async def test_without_a_difference_the_key_says_so() -> None:
    rig = Rig(made.normal())
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await settle(rig, pilot)
        await press(pilot, "d")
        assert rig.app.screen is rig.app.desk
        assert "the broker agrees with us" in screen_text(rig.app)
