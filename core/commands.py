"""What a command from screen or command line does to a running engine, and the reply to it.

Called in the engine's loop. Everything is answered; a refusal is journalled with its reason.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from core.clock import Clock
from core.control import (
    Ack,
    AnyCommand,
    CancelOrder,
    CloseTrade,
    Compare,
    Confirm,
    FlattenAll,
    GetSnapshot,
    Kill,
    KillAll,
    MoveCoins,
    Picture,
    Rearm,
    ReducePosition,
    Reject,
    Reply,
    ResolveDifference,
    ReversePosition,
    SetExit,
    SetMode,
    Stop,
)
from core.errors import Failed, InvariantError, LedgerDown
from core.model import event as ev
from core.model.decision import Mode, Verdict
from core.moves import Moves
from core.picture import RunFacts, build
from core.picture_feed import FrameRate
from core.session import Session
from core.snapshot import ClientsView, Snapshot

TRADER = "human:trader"
DURABLE_S = 0.25
"""How long the engine may stand still for a moved exit to reach the disk; 5 to 15 ms is usual."""


class Commands:
    """Carries out commands on one session."""

    def __init__(
        self,
        session: Session,
        facts: RunFacts,
        clock: Clock,
        ledger_head: Callable[[], tuple[int, str]],
        stop: Callable[[str], None],
    ) -> None:
        self.session = session
        self.engine = session.engine
        self.facts = facts
        self._clock = clock
        self._ledger_head = ledger_head
        self._stop = stop
        self._moves = Moves(self.engine, session.broker, self._if_not_durable)
        self._pictures = 0
        self._rate = FrameRate()
        self.clients: Callable[[], ClientsView] = ClientsView
        """What the control socket counts; whoever serves it says so."""

    def look(self) -> float | None:
        """Count frames; return how many a second of late. Called between pictures too."""
        return self._rate.look(self._clock.now_ns(), self.session.counters.frames)

    def snapshot(self) -> Snapshot:
        """Return a new picture of the engine."""
        self._pictures += 1
        now_ns = self._clock.now_ns()
        return build(
            self.session, self.facts, self._pictures, now_ns, self._ledger_head(),
            self.clients(), self.look(),
        )  # fmt: skip

    def carry_out(self, command: AnyCommand) -> Reply:
        """Do what ``command`` says and return the reply."""
        if isinstance(command, GetSnapshot):
            return Picture(self.snapshot())
        if isinstance(command, Stop):
            self._stop(command.reason)
            return Ack(ok=True, text="stopping")
        if not isinstance(command, KillAll | Kill):  # it waits for nothing that is due
            self.session.catch_up()
            self._note(command)
        try:
            text = self._act(command)
        except (ValueError, LedgerDown, Failed) as error:
            self.engine.context.journal(
                ev.CommandRefused(command=type(command).__name__, actor=TRADER, reason=str(error))
            )
            return Ack(ok=False, text=str(error))
        finally:
            if isinstance(command, KillAll | Kill):  # nothing comes before its cancels
                self._note(command)
            self.session.hand_over()
        return Ack(ok=True, text=text)

    def _note(self, command: AnyCommand) -> None:
        actor = command.actor if isinstance(command, KillAll | Kill | Rearm) else TRADER
        self.session.note_input("command", msgspec.json.encode(command).decode(), actor)

    def _act(self, command: AnyCommand) -> str:
        engine = self.engine
        match command:
            case Confirm(decision_id=key):
                return engine.proposals.answer(key, Verdict.APPROVED, TRADER)
            case Reject(decision_id=key, reason=reason):
                return engine.proposals.answer(key, Verdict.REJECTED, TRADER, reason)
            case (
                CloseTrade() | ReducePosition() | ReversePosition() | SetExit() | FlattenAll()
                | MoveCoins()
            ):  # fmt: skip
                return self._act_on_positions(command)
            case CancelOrder(client_order_id=key):
                return engine.cancel_order(key, TRADER)
            case KillAll() | Kill() | Rearm():
                return self._act_on_halts(command)
            case SetMode(mode=mode):
                return engine.set_mode(mode, TRADER)
            case Compare():
                found = self.session.reconciler.compare()
                return "; ".join(each.text for each in found) or "the broker agrees with us"
            case ResolveDifference(key=key, remedy=remedy, actor=actor, reason=reason):
                return self.session.reconciler.resolve(key, remedy, actor, reason)
            case GetSnapshot() | Stop():
                raise InvariantError(f"{type(command).__name__} was answered before")

    def _act_on_halts(self, command: KillAll | Kill | Rearm) -> str:
        engine = self.engine
        match command:
            case KillAll(actor=actor, reason=reason):
                return engine.kill_all(actor, reason)
            case Kill(scope=scope, actor=actor, reason=reason):
                return engine.kills.kill(scope, actor, reason)
            case Rearm(actor=actor, reason=reason, scope=scope):
                return engine.rearm(actor, reason, scope)

    def _act_on_positions(
        self,
        command: (CloseTrade | ReducePosition | ReversePosition | SetExit | FlattenAll | MoveCoins),
    ) -> str:
        engine = self.engine
        match command:
            case CloseTrade(instrument=name):
                return engine.close_trade(name, TRADER, "closed by hand")
            case ReducePosition(instrument=name, seen_lots=lots):
                return engine.positions.reduce(name, TRADER, lots)
            case ReversePosition(instrument=name, seen_lots=lots):
                return engine.positions.reverse(name, TRADER, lots, engine.mode)
            case SetExit(instrument=name, kind=kind, value=value):
                told = engine.exits.set_by_hand(name, kind, value, TRADER)
                return told + self._if_not_durable()
            case FlattenAll():
                return engine.close_all(TRADER, "all closed by hand")
            case MoveCoins():
                return self._moves.move(command, TRADER)

    def _if_not_durable(self) -> str:
        """Wait for the disk, not for long; return the warning when it has not answered.

        What the trader has said must hold after a crash too: a stop that was moved, a transfer.
        """
        try:
            self.session.sink.flush().result(DURABLE_S)
        except TimeoutError:
            return "; NOT on disk yet: a crash now would forget it"
        except (InvariantError, OSError) as error:
            self.engine.context.lose_ledger(str(error))
            return "; NO LEDGER: a restart forgets it"
        return ""

    def on_screen_lost(self) -> None:
        """Follow ``[run] on_screen_lost``: the last screen is gone."""
        policy = self.engine.settings.run.on_screen_lost
        self.engine.context.notify("warning", f"the last screen is gone: {policy}")
        if policy == "hold":
            return
        self.session.catch_up()
        self.session.note_input("screen_lost")
        self.engine.execution.cancel_orders("system", "screen lost")
        if policy == "flatten":
            # Nobody looks: what is closed now must not be opened again a moment later.
            self.engine.set_mode(Mode.OBSERVE, "system")
            self.engine.flatten("system", "screen lost")
        self.session.hand_over()
