"""F12 from every state of the screen, with a real engine behind it and a venue that takes seconds.

The screen's commands go to the engine as they do over the socket; orders, cancels and reports
travel until the test lets them arrive. The end is flat, with no order at work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal

import msgspec
import pytest
from textual.pilot import Pilot
from typing_extensions import override

from core.control import Ack, AnyCommand
from core.model.decision import Mode
from core.model.order import Order, OrderStatus
from core.snapshot import Snapshot
from tests.core.test_strategy import FORECAST
from tests.properties.stage import MID, Stage
from tests.tui import test_app as states
from tests.tui.fakes import Rig
from tui.screens.feed import FeedScreen

pytestmark = pytest.mark.slow

SLOW_MS = 4_000
"""How long an order, a cancel or a report travels."""


class SlowStage(Stage):
    """A position in the first instrument, an entry on its way in the second."""

    def __init__(self, *, is_halted: bool) -> None:
        super().__init__()
        self.has_killed = False
        self.left_after = 0
        self.start(Mode.AUTO)
        self.enter(0)
        self.settle_venue()
        self.enter(1)
        assert self.engine.account.position("BTCUSDT") > 0
        (self.entry,) = self.engine.execution.orders.open_states("ETHUSDT")
        assert self.entry.status is OrderStatus.SUBMITTED
        if is_halted:  # else there is nothing to type a reason for
            self.engine.context.halted = "an earlier halt"

    @override
    def check_departure(self, order: Order) -> None:
        super().check_departure(order)
        self.left_after += self.has_killed and not order.reduces

    def enter(self, index: int) -> None:
        desk = self.engine.desks[index]
        desk.forecasts = (msgspec.structs.replace(FORECAST, p_up=0.7),)
        self.pass_ms(300)
        desk.forecasts = ()

    def answer(self, command: AnyCommand) -> Ack:
        self.has_killed = True
        return self.command(command)

    def travel(self) -> None:
        """Let seconds pass, then let arrive what is on its way, in the order of the worst case.

        The entry reaches the venue and fills in part before the cancel that was sent after it.
        """
        for index in range(2):
            self.feed_recovers(index)
        self.pass_ms(SLOW_MS)
        venue = self.venue
        for ticket in venue.traveling:
            venue.arrive(ticket)
        for ticket in venue.working:
            lots = ticket.rest_lots if ticket.order.reduces else ticket.rest_lots // 2
            venue.fill(ticket, lots, MID, Decimal("0.1"))
        while venue.cancels:
            venue.cancel_arrives(0)
        while venue.outbox:
            venue.deliver(0)
        self.take()
        self.idle()

    def is_flat(self) -> bool:
        engine = self.engine
        held = [engine.account.position(name) for name in engine.by_name]
        return not any(held) and not engine.execution.orders.open_states()


class EngineSource:
    """The engine in place of the socket; in a thread, for the stage has a loop of its own."""

    def __init__(self, stage: SlowStage) -> None:
        self.stage = stage
        self.sent: list[AnyCommand] = []
        self.answered = asyncio.Event()

    async def pull(self) -> Snapshot:
        return await asyncio.to_thread(self.stage.commands.snapshot)

    async def send(self, command: AnyCommand) -> Ack:
        self.sent.append(command)
        ack = await asyncio.to_thread(self.stage.answer, command)
        self.answered.set()
        return ack

    async def close(self) -> None: ...

    def kinds(self) -> list[str]:
        return [type(command).__name__ for command in self.sent]


async def feeds_sheet(rig: Rig, pilot: Pilot[int]) -> None:
    await states.press(pilot, "f")
    assert isinstance(rig.app.screen, FeedScreen)


async def palette_typing(rig: Rig, pilot: Pilot[int]) -> None:
    await states.palette(rig, pilot)
    await states.press(pilot, "r", "e")


async def orders_focused(rig: Rig, pilot: Pilot[int]) -> None:
    while rig.app.state.focus != "orders":
        await states.press(pilot, "tab")


async def sheet_over_sheet(rig: Rig, pilot: Pilot[int]) -> None:
    await states.help_sheet(rig, pilot)
    await states.press(pilot, "ctrl+p")


async def too_small(rig: Rig, pilot: Pilot[int]) -> None:
    await pilot.resize_terminal(40, 10)
    await pilot.pause()


Reach = Callable[[Rig, Pilot[int]], Awaitable[None]]
STATES: tuple[Reach, ...] = (
    states.plain, states.help_sheet, states.rearm_input, states.palette, palette_typing,
    states.leave_sheet, states.mode_sheet, states.paused, orders_focused, feeds_sheet,
    sheet_over_sheet, too_small,
)  # fmt: skip


@pytest.mark.parametrize("reach", STATES, ids=lambda reach: reach.__name__)
async def test_f12_ends_flat_against_a_venue_that_takes_seconds(reach: Reach) -> None:
    stage = await asyncio.to_thread(SlowStage, is_halted=reach is states.rearm_input)
    source = EngineSource(stage)
    rig = Rig(None, owns_engine=True)
    rig.source = source  # type: ignore[assignment]
    rig.app._source = source
    async with rig.app.run_test(size=(120, 40)) as pilot:
        await states.settle(rig, pilot)
        await reach(rig, pilot)
        await states.press(pilot, "f12")
        await asyncio.wait_for(source.answered.wait(), 30)
        assert source.kinds() == ["KillAll"]
        assert stage.engine.context.halted == "F12"
        assert "F12" in stage.latch.reason  # type: ignore[attr-defined]
        for _ in range(5):
            await asyncio.to_thread(stage.travel)
        assert stage.entry.filled_lots > 0, "the slow entry filled before its cancel"
        assert stage.is_flat()
        assert stage.left_after == 0
        await states.settle(rig, pilot)
    await asyncio.to_thread(stage.end)
