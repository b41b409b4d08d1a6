"""Scripts in which nobody says how it stands with an order; judged after every step.

Four families, each with its own seeded hand: the reply is lost and the order lives; the reply is
lost and the order never arrived; fills are told long after the end; a cancel races a fill. The
venue of ``venue_model`` is the truth. ``bench/unknown_scripts.py`` runs a thousand of them.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec
import numpy as np

from core.config import Settings, StrategySettings
from core.control import CancelOrder, Confirm
from core.model.decision import Mode
from core.model.order import OrderStatus
from tests.core.test_strategy import FORECAST
from tests.properties.stage import MID, Stage
from tests.properties.venue_model import ARRIVES_WITHIN_NS, Ticket

FEE = Decimal("0.02")
END_MS = 90_000
"""By then every script is resolved: the longest pause between questions is 32 s."""


class Tally(msgspec.Struct):
    """What one script came to, counted over all its steps."""

    guessed: int = 0
    """Orders closed while the venue had said nothing that ends them."""
    doubled: int = 0
    """Fills that stand in the ledger more than once."""
    understated: int = 0
    """Steps at which less counted as open than might still come."""
    was_unknown: bool = False
    resolved_ms: int | None = None
    """From the order's leaving to its end here; None if it has none."""
    is_right: bool = False
    """In the end position and status are the venue's."""


class Script(Stage):
    """One order of ours and a venue that does not speak; see the module docstring."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.generator = np.random.default_rng(seed)
        self.settings = Settings(strategy=StrategySettings(hold_s=10_000.0))
        self.tally = Tally()
        self.start(Mode.CONFIRM)
        self.ticket = self._send()
        self.sent_ns = self.now_ns

    def _send(self) -> Ticket:
        self.engine.desks[0].forecasts = (msgspec.structs.replace(FORECAST, p_up=0.62),)
        self.pass_ms(250)
        (pending,) = self.engine.proposals.pending.values()
        self.command(Confirm(pending.proposal.decision_id))
        self.engine.desks[0].forecasts = (msgspec.structs.replace(FORECAST, p_up=0.5),)
        (ticket,) = self.venue.tickets.values()
        return ticket

    # --- steps ----------------------------------------------------------------------------------

    def wait(self, most_ms: int) -> None:
        """Let a random time pass, with a look at everything now and then."""
        for _ in range(int(self.generator.integers(1, 6))):
            self.pass_ms(int(self.generator.integers(1, max(2, most_ms // 3))))
            self.judge()

    def part(self) -> None:
        """Fill a random part of what is left, at the venue."""
        if self.ticket.rest_lots and not self.ticket.is_closed:
            lots = int(self.generator.integers(1, self.ticket.rest_lots + 1))
            self.venue.fill(self.ticket, lots, MID, FEE)

    def deliver(self, *, at_random: bool = True) -> None:
        """Tell one report, perhaps twice."""
        if not self.venue.outbox:
            return
        place = int(self.generator.integers(0, len(self.venue.outbox))) if at_random else 0
        if self.generator.random() < 0.3:
            self.venue.deliver(place, twice=True)
        self.venue.deliver(place)
        self.take()
        self.judge()

    def lose_reports(self) -> None:
        while self.venue.outbox:
            self.venue.lose_report(0)

    def cancel(self) -> None:
        self.command(CancelOrder(self.ticket.key))

    # --- the families ---------------------------------------------------------------------------

    def reply_lost_order_live(self) -> None:
        self.venue.arrive(self.ticket)
        for _ in range(int(self.generator.integers(0, 3))):
            self.part()
        self.lose_reports()
        self.wait(6_000)
        if self.generator.random() < 0.3:
            self.lose_reports()  # the first answers too

    def reply_lost_order_not_there(self) -> None:
        self.venue.lose(self.ticket)
        self.wait(6_000)
        if self.generator.random() < 0.5:
            self.cancel()

    def late_fill(self) -> None:
        self.venue.arrive(self.ticket)
        self.part()
        if not self.ticket.is_closed:
            self.venue.expire(self.ticket)
        fills = [report for report in self.venue.outbox if report.fill is not None]
        for report in [each for each in self.venue.outbox if each.fill is None]:
            self.venue.deliver(self.venue.outbox.index(report))
            self.take()
            self.judge()
        assert fills
        self.wait(9_000)

    def cancel_races_fill(self) -> None:
        self.venue.arrive(self.ticket)
        if self.generator.random() < 0.5:
            self.deliver(at_random=False)
        self.wait(500)
        self.cancel()
        self.part()
        while self.venue.cancels:
            self.venue.cancel_arrives(0)
        if self.venue.outbox and self.generator.random() < 0.4:
            self.venue.deliver(-1)  # the end before the fill
            self.take()
        self.judge()

    # --- the end and the judgement --------------------------------------------------------------

    def settle(self) -> None:
        """The venue answers from now on, in any order; whatever it fills or ends is told."""
        if not self.ticket.is_closed and self.ticket.has_arrived:
            if self.generator.random() < 0.5:
                self.part()
            if not self.ticket.is_closed:
                self.venue.expire(self.ticket)
        for _ in range(END_MS // 500):
            while self.venue.cancels:
                self.venue.cancel_arrives(0)
            while self.venue.outbox:
                self.deliver()
            self.pass_ms(500)
            self.judge()
            if self.tally.resolved_ms is not None and not self.venue.outbox:
                break
        state = self.engine.execution.orders.states[self.ticket.key]
        held = self.engine.account.position(self.ticket.order.instrument)
        filled_lots = self.ticket.order.qty_lots - self.ticket.rest_lots
        ends = {OrderStatus.REJECTED} if self.ticket.is_lost else set(OrderStatus)
        if filled_lots == self.ticket.order.qty_lots:
            ends = {OrderStatus.FILLED}
        self.tally.is_right = (
            state.status.is_closed
            and state.status in ends
            and held == self.venue.positions().get(self.ticket.order.instrument, 0)
        )

    def judge(self) -> None:
        """Look at the one order as it stands now."""
        state = self.engine.execution.orders.states[self.ticket.key]
        tally, written = self.tally, self.ledger.fills()
        ids = {fill.fill_id for fill in written}
        tally.doubled = max(tally.doubled, len(written) - len(ids))
        untold = sum(f.qty_lots for f in self.venue.made if f.fill_id not in ids)
        tally.understated += state.open_lots < self.ticket.may_fill_lots + untold
        tally.was_unknown |= state.status is OrderStatus.UNKNOWN
        if state.status.is_closed and tally.resolved_ms is None:
            tally.resolved_ms = (self.now_ns - self.sent_ns) // 1_000_000
            tally.guessed += not self._was_said()

    def _was_said(self) -> bool:
        """True if the venue's own words, as they were told us, end the order."""
        if not self.ticket.has_arrived:
            return self.ticket.is_lost and self.now_ns - self.sent_ns >= ARRIVES_WITHIN_NS
        told_lots = sum(fill.qty_lots for fill in self.venue.fills)
        return self.ticket.key in self.venue.told_ends or (told_lots == self.ticket.order.qty_lots)


FAMILIES: dict[str, Callable[[Script], None]] = {
    "reply lost, order live": Script.reply_lost_order_live,
    "reply lost, order not there": Script.reply_lost_order_not_there,
    "late fill": Script.late_fill,
    "cancel races fill": Script.cancel_races_fill,
}


def play(family: str, seed: int) -> Tally:
    """Play one script to its end and return its tally."""
    script = Script(seed)
    try:
        FAMILIES[family](script)
        script.judge()
        script.settle()
    finally:
        script.end()
    return script.tally
