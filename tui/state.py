"""What the trader looks at, between two snapshots: selection, guard, pause, the last word said.

Plain state without a screen: it turns keys into commands or into a refusal with its reason.
The rule that matters: ``y`` answers the proposal that was drawn, never its replacement.
"""

from __future__ import annotations

from collections.abc import Sequence

from core import scopes
from core.clock import NS_PER_MS
from core.control import (
    AnyCommand,
    CancelOrder,
    CloseTrade,
    Confirm,
    Kill,
    ReducePosition,
    Reject,
)
from core.snapshot import FillView, PositionView, Snapshot
from tui.present.blotter import close_words, trade_instrument
from tui.present.scene import CONFIRM_GUARD_MS, Said, Scene

SAID_LIFE_MS = 8_000
SILENT_MS = 1_000
"""No answer for this long while one is asked for counts as a lost engine."""
PANES_WITH_ROWS = ("proposal", "positions", "orders", "fills")


class DeskState:
    """The screen's own state; ``now_ns`` comes from the caller's clock."""

    def __init__(self, now_ns: int, wanted_hz: int, min_labels: int | None = None) -> None:
        self._newest: Snapshot | None = None
        self._drawn: Snapshot | None = None
        self._answered_ns = now_ns
        self._is_lost = False
        self._lost_reason = ""
        self._decision_id = ""
        self._shown_ns = now_ns
        self._answers: set[str] = set()
        self._rows = dict.fromkeys(PANES_WITH_ROWS, 0)
        self._said: Said | None = None
        self._said_ns = now_ns
        self._min_labels = min_labels
        self.instrument = 0
        self.focus = PANES_WITH_ROWS[0]
        self.paused = False
        self.hz = wanted_hz
        self.cost_ms = 0.0

    # --- what comes in -----------------------------------------------------------------------

    def receive(self, snapshot: Snapshot, now_ns: int) -> None:
        """Take the newest snapshot."""
        self._newest = snapshot
        self._answered_ns = now_ns
        self._is_lost = False
        self._lost_reason = ""
        self._answers &= {proposal.decision_id for proposal in snapshot.proposals}

    def lose(self, reason: str) -> None:
        """Note that the engine did not answer."""
        self._is_lost = True
        self._lost_reason = reason

    def say(self, said: Said, now_ns: int) -> None:
        """Put a word in the banner; what sticks gives way only to what sticks or succeeds."""
        if self._said is not None and self._said.sticks and not said.sticks:
            return
        self._said, self._said_ns = said, now_ns

    def forget_said(self) -> None:
        """Take the last word back, also one that sticks."""
        self._said = None

    # --- what goes out -----------------------------------------------------------------------

    @property
    def newest(self) -> Snapshot | None:
        """The newest snapshot received, drawn or not."""
        return self._newest

    def draw(self, now_ns: int) -> Scene:
        """Return the scene for the panes, moving the selection to what is there now."""
        if not self.paused or self._drawn is None:
            self._drawn = self._newest
        self._choose_proposal(now_ns)
        return self._scene(self._drawn, now_ns)

    def chrome(self, now_ns: int) -> Scene:
        """Return the scene for header, banner and status: always the newest."""
        return self._scene(self._newest, now_ns)

    def _scene(self, snapshot: Snapshot | None, now_ns: int) -> Scene:
        if (
            self._said
            and not self._said.sticks
            and now_ns - self._said_ns > SAID_LIFE_MS * NS_PER_MS
        ):
            self._said = None
        return Scene(
            snapshot=snapshot,
            now_ns=now_ns,
            lost_ms=self._lost_ms(now_ns),
            lost_reason=self._lost_reason,
            instrument=self.instrument,
            decision_id=self._decision_id,
            is_armed=self.is_armed(now_ns),
            position_row=self._rows["positions"],
            order_row=self._rows["orders"],
            fill_row=self._rows["fills"],
            focus=self.focus,
            paused=self.paused,
            hz=self.hz,
            cost_ms=self.cost_ms,
            said=self._said,
            min_labels=self._min_labels,
        )

    def _lost_ms(self, now_ns: int) -> int | None:
        silent_ms = max(0, now_ns - self._answered_ns) // NS_PER_MS
        return silent_ms if self._is_lost or silent_ms > SILENT_MS else None

    # --- selection ---------------------------------------------------------------------------

    def is_armed(self, now_ns: int) -> bool:
        """Return True if the proposal on show has been there long enough to be answered."""
        return bool(self._decision_id) and now_ns - self._shown_ns >= CONFIRM_GUARD_MS * NS_PER_MS

    def _choose_proposal(self, now_ns: int) -> None:
        """Keep the proposal on show while it is open, else take the newest."""
        ids = self._ids()
        if self._decision_id in ids:
            return
        self._show(ids[-1] if ids else "", now_ns)

    def _ids(self) -> Sequence[str]:
        return () if self._drawn is None else [p.decision_id for p in self._drawn.proposals]

    def _show(self, decision_id: str, now_ns: int) -> None:
        if decision_id != self._decision_id:
            self._decision_id, self._shown_ns = decision_id, now_ns

    def select_instrument(self, index: int) -> bool:
        """Show instrument ``index`` (from 0); False when there is none."""
        count = 0 if self._newest is None else len(self._newest.instruments)
        if not 0 <= index < count:
            return False
        self.instrument = index
        return True

    def move(self, step: int, now_ns: int) -> None:
        """Move the selection of the focused pane by ``step`` rows, stopping at the ends."""
        if self.focus == "proposal":
            ids = list(self._ids())
            if self._decision_id in ids:
                at = min(len(ids) - 1, max(0, ids.index(self._decision_id) + step))
                self._show(ids[at], now_ns)
            return
        count = self._count(self.focus)
        self._rows[self.focus] = min(max(0, count - 1), max(0, self._rows[self.focus] + step))

    def _count(self, pane: str) -> int:
        if self._drawn is None:
            return 0
        rows = {
            "positions": self._drawn.positions,
            "orders": self._drawn.orders,
            "fills": self._drawn.fills,
        }
        return len(rows[pane])

    # --- keys to commands --------------------------------------------------------------------

    def answer(self, *, yes: bool, now_ns: int) -> AnyCommand | Said:
        """Return the answer to the proposal on show, or why there is none to give."""
        why_not = self._why_no_answer(now_ns) or (self._why_no_yes(now_ns) if yes else "")
        if why_not:
            return Said("warning", f"nothing sent: {why_not}")
        self._answers.add(self._decision_id)
        if yes:
            return Confirm(self._decision_id)
        return Reject(self._decision_id, "rejected on the screen")

    def _why_no_answer(self, now_ns: int) -> str:
        if not self._decision_id:
            return "there is no proposal"
        if not self.is_armed(now_ns):
            return "this proposal had just appeared; look, then press again"
        if self._decision_id in self._answers:
            return "this proposal was answered already"
        return ""

    def _why_no_yes(self, now_ns: int) -> str:
        if self.paused:
            return "the screen is paused; press space first"
        doubt = self._scene(self._newest, now_ns).doubt()
        return f"the picture cannot be believed ({doubt})" if doubt else ""

    def withdraw_answer(self, command: AnyCommand) -> None:
        """Allow another answer: this one did not arrive or was refused."""
        if isinstance(command, Confirm | Reject):
            self._answers.discard(command.decision_id)

    def close_trade(self, now_ns: int) -> AnyCommand | Said:
        """Return the command that kills the selected trade; the engine decides what is open."""
        instrument = trade_instrument(self._scene(self._drawn, now_ns))
        if not instrument:
            return Said("warning", "nothing sent: no instrument is known yet; F12 kills everything")
        return CloseTrade(instrument)

    def halt_instrument(self, now_ns: int) -> AnyCommand | Said:
        """Return the command that kills and halts the selected instrument."""
        instrument = trade_instrument(self._scene(self._drawn, now_ns))
        if not instrument:
            return Said("warning", "nothing sent: no instrument is known yet; F12 kills everything")
        return Kill(scopes.of_instrument(instrument), "key K")

    def halted(self, now_ns: int) -> tuple[str, str] | None:
        """Return the scope that a re-arm is about and why it is halted; None if nothing is."""
        if self.newest is None:
            return None
        risk = self.newest.risk
        if risk.is_halted:
            return scopes.ALL, risk.halt_reason
        shown = scopes.of_instrument(trade_instrument(self._scene(self._drawn, now_ns)))
        scope = shown if shown in risk.halts else next(iter(risk.halts), None)
        return None if scope is None else (scope, f"{scopes.words(scope)}: {risk.halts[scope]}")

    def position(self, now_ns: int) -> PositionView | Said:
        """Return the position that the keys are about, or why there is none to act on."""
        scene = self._scene(self._drawn, now_ns)
        name = trade_instrument(scene)
        positions = () if self._drawn is None else self._drawn.positions
        held = next((each for each in positions if each.instrument == name and each.lots), None)
        if held is None:
            return Said("info", f"nothing sent: no position in {name or 'any instrument'}")
        doubt = scene.doubt()
        if doubt:
            return Said("warning", f"nothing sent: the picture cannot be believed ({doubt})")
        return held

    def reduce(self, now_ns: int) -> AnyCommand | Said:
        """Return the command that closes half of the position that was drawn."""
        held = self.position(now_ns)
        return held if isinstance(held, Said) else ReducePosition(held.instrument, held.lots)

    def cancel_order(self) -> AnyCommand | Said:
        """Return the command that cancels the chosen order."""
        orders = () if self._drawn is None else self._drawn.orders
        if self.focus != "orders" or not orders:
            return Said("info", "nothing sent: choose an order first (tab to ORDERS)")
        return CancelOrder(orders[min(self._rows["orders"], len(orders) - 1)].client_order_id)

    def chosen_fill(self) -> FillView | None:
        """Return the chosen fill while the fills have the focus."""
        if self.focus != "fills" or self._drawn is None or not self._drawn.fills:
            return None
        return self._drawn.fills[min(self._rows["fills"], len(self._drawn.fills) - 1)]

    def open_words(self) -> list[str]:
        """Return what is open in words, one line an instrument."""
        if self._newest is None:
            return []
        names = [p.instrument for p in self._newest.positions if p.lots]
        names += [order.instrument for order in self._newest.orders]
        return [close_words(self._newest, name) for name in dict.fromkeys(names)]
