"""Kills at random instants while orders stream: nothing new leaves, and the end is flat.

``bench/kill_trials.py`` runs many more of the same and measures them.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec
import numpy as np
import pytest
from typing_extensions import override

from core.config import Settings, StrategySettings
from core.control import Confirm, KillAll, Rearm
from core.model.decision import Mode
from core.model.order import Order
from core.ports import Latch
from tests.core.test_strategy import FORECAST
from tests.properties.stage import MID, Stage

KILLS_A_STAGE = 20
"""Kills before a stage is thrown away: its ledger in memory grows."""
CALM_ROUNDS = 12


class Stream(Stage):
    """Two instruments traded without pause by a seeded hand, with a ledger that dawdles."""

    def __init__(self, seed: int, *, waits: bool, latch: Latch | None = None) -> None:
        super().__init__(latch)
        self.generator = np.random.default_rng(seed)
        self.waits = waits
        """The ledger takes its time; False: orders settle at once, as in replay."""
        self.is_gate_closed = False
        self.left = 0
        self.left_after = 0
        """Orders for new risk that left after the gate closed; must stay 0."""
        strategy = StrategySettings(hold_s=1.0, cooldown_s=0.0, cadence_ms=50)
        risk = msgspec.structs.replace(Settings().risk, max_orders_per_minute=10_000,
                                       max_daily_loss=Decimal(10**9))  # fmt: skip
        self.settings = Settings(strategy=strategy, risk=risk)
        self.start(Mode.AUTO)
        if not waits:
            self.session.wake = None

    @override
    def check_departure(self, order: Order) -> None:
        super().check_departure(order)
        self.left += 1
        self.left_after += self.is_gate_closed and not order.reduces

    def step(self) -> None:
        """Do one random thing that markets, venues, ledgers or traders do."""
        dice, venue = self.generator.random(), self.venue
        index = int(self.generator.integers(0, 2))
        if dice < 0.35:
            p_up = 0.62 if self.generator.random() < 0.5 else 0.38
            self.engine.desks[index].forecasts = (msgspec.structs.replace(FORECAST, p_up=p_up),)
            self.pass_ms(int(self.generator.integers(10, 120)))
            for pending in list(self.engine.proposals.pending.values()):
                self.command(Confirm(pending.proposal.decision_id))
        elif dice < 0.5:
            move = int(self.generator.integers(-500, 500))
            self.take(self.book(index, MID + move, 1))
        elif dice < 0.6:
            self.ledger.is_slow = self.waits and self.generator.random() < 0.7
        elif dice < 0.7:
            self.ledger.settle()
        elif dice < 0.8 and venue.traveling:
            venue.arrive(venue.traveling[0], refused=self.generator.random() < 0.2)
        elif dice < 0.9 and venue.working:
            ticket = venue.working[0]
            lots = int(self.generator.integers(1, ticket.rest_lots + 1))
            venue.fill(ticket, lots, MID, Decimal("0.1"))
        elif venue.outbox:
            venue.deliver(int(self.generator.integers(0, len(venue.outbox))))
            self.take()
        if self.generator.random() < 0.5:
            self.idle()

    def kill_somewhere(self, kill: Callable[[Stage], None]) -> None:
        """Stream for a while, kill without letting the loop turn first, go on until calm."""
        for _ in range(int(self.generator.integers(1, 25))):
            self.step()
        self.is_gate_closed = True
        kill(self)
        for _ in range(int(self.generator.integers(1, 10))):
            self.step()

    def calm(self) -> None:
        """Let ledger, feed and venue do their duty."""
        self.ledger.is_slow = False
        self.ledger.settle()
        for _ in range(CALM_ROUNDS):
            for index in range(2):
                self.feed_recovers(index)
            self.pass_ms(100)
            self.settle_venue()

    def is_flat(self) -> bool:
        engine = self.engine
        has_position = any(engine.account.position(name) for name in engine.by_name)
        return not has_position and not engine.execution.orders.open_states()

    def rearm(self) -> None:
        reply = self.command(Rearm("next trial"))
        assert reply.ok, reply.text
        self.is_gate_closed = False


def kill_by_command(stage: Stage) -> None:
    reply = stage.commands.carry_out(KillAll())
    assert "KILLED" in getattr(reply, "text", "")


def run_trials(
    count: int,
    seed: int,
    *,
    waits: bool,
    kill: Callable[[Stage], None] = kill_by_command,
    latch: Latch | None = None,
) -> tuple[int, int, int]:
    """Run ``count`` kills; return orders left, left after the gate closed, ends not flat."""
    left = left_after = not_flat = 0
    for first in range(0, count, KILLS_A_STAGE):
        stream = Stream(seed + first, waits=waits, latch=latch)
        for _ in range(min(KILLS_A_STAGE, count - first)):
            stream.kill_somewhere(kill)
            stream.calm()
            not_flat += not stream.is_flat()
            stream.rearm()
        left += stream.left
        left_after += stream.left_after
        stream.end()
    return left, left_after, not_flat


@pytest.mark.slow
@pytest.mark.parametrize("waits", [False, True])
def test_nothing_new_leaves_after_a_kill_and_the_end_is_flat(waits: bool) -> None:
    left, left_after, not_flat = run_trials(60, seed=7, waits=waits)
    assert left > 100
    assert (left_after, not_flat) == (0, 0)
